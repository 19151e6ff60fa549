"""Decks of every format, read back by others where they are installed."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.deck import FACES, Deck, Material
from bonekit.fem.deck_step import Step
from bonekit.fem.deck_text import digits, reals, wrapped
from bonekit.fem.decks import WRITERS, write_deck
from bonekit.fem.model import Constraint, Load

KINDS = (4, 8, 10)
EDGES = np.array([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)])  # with a node in the middle
MODULI = np.array([5000.0, 2000.0, 500.0])  # of the sample, in the order of its materials
Sample = Callable[..., Deck]


def plastic(E_MPa: float) -> tuple[tuple[float, float], ...]:
    return ((E_MPa / 100, 0.0), (E_MPa / 80, 0.02))


def written(deck: Deck, path: Path) -> str:
    write_deck(deck, path)
    return path.read_text(encoding="ascii")


def test_digits_are_those_of_python() -> None:
    values = np.array([[0, 7], [10, 9999], [10_000, 12_345_678], [99_999_999, 4_294_967_294]])
    text = digits(values, 11).tobytes().decode()
    assert text == "".join(f"{x:11d}" for x in values.ravel().tolist())
    assert wrapped(np.arange(9, 14), 3, separator=",") == b"9,10,11\n12,13\n"
    numbers = np.random.default_rng(1).normal(size=(5, 2)) * 10.0 ** np.arange(-50, 50, 20)[:, None]
    assert reals(numbers, "% .12e").shape == (5, 38)


@pytest.mark.parametrize("suffix", WRITERS)
def test_decks_are_written_alike_each_time_and_say_their_units(
    tmp_path: Path, suffix: str, sample: Sample
) -> None:
    deck = sample(4)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_deck(deck, first)
    write_deck(deck, second)
    if suffix == ".med":  # HDF5 keeps times
        first, second = first.with_suffix(".comm"), second.with_suffix(".comm")
        assert second.read_text().replace("b.med", "a.med") == first.read_text()
    else:
        assert first.read_bytes() == second.read_bytes()
    assert "mm, N, MPa" in first.read_text()
    assert len(list(tmp_path.iterdir())) == (4 if suffix == ".med" else 2)  # no left-overs


@pytest.mark.parametrize("n_nodes", KINDS)
def test_inp_is_read_by_meshio(tmp_path: Path, n_nodes: int, sample: Sample) -> None:
    deck = sample(n_nodes)
    write_deck(deck, tmp_path / "deck.inp")
    back = meshio.read(tmp_path / "deck.inp")
    np.testing.assert_allclose(back.points, deck.nodes_mm, rtol=1e-12)
    np.testing.assert_array_equal(back.cells[0].data, deck.elements)
    np.testing.assert_array_equal(
        np.sort(back.point_sets["TOP_PLATE"]), deck.all_node_sets["TOP_PLATE"]
    )
    for number, members in enumerate(deck.members, start=1):
        np.testing.assert_array_equal(back.cell_sets[f"MAT{number}"][0], members)


@pytest.mark.parametrize("n_nodes", KINDS)
def test_cdb_is_read_by_mapdl_archive(tmp_path: Path, n_nodes: int, sample: Sample) -> None:
    archive = pytest.importorskip("mapdl_archive")
    deck = sample(n_nodes, hardening=plastic)
    write_deck(deck, tmp_path / "deck.cdb")
    back = archive.Archive(str(tmp_path / "deck.cdb"))
    np.testing.assert_allclose(back.nodes, deck.nodes_mm, rtol=1e-12)
    (rows,) = back.grid.cells_dict.values()
    np.testing.assert_array_equal(rows, deck.elements)
    np.testing.assert_array_equal(back.grid["ansys_material_type"], deck.material + 1)
    for name, nodes in deck.all_node_sets.items():
        np.testing.assert_array_equal(back.node_components[name], nodes + 1)
    np.testing.assert_array_equal(
        back.element_components["R_LESION"], deck.element_sets["R_lesion"] + 1
    )


def test_cdb_has_materials_and_load_steps(tmp_path: Path, sample: Sample) -> None:
    text = written(sample(4, hardening=plastic), tmp_path / "deck.cdb")
    moduli = [float(x) for x in re.findall(r"^MP,EX,\d+,(.*)$", text, re.M)]
    assert moduli == MODULI.tolist()
    assert "TB,PLASTIC,2,1,2,MISO\nTBTEMP,0\nTBPT,DEFI,0.000000000000e+00,2.0000" in text
    first, second = text.split("/SOLU")[1].split("LSWRITE,1\n")
    assert len(re.findall(r"^D,\d+,UZ,-2\.0+e-02$", first, re.M)) == 9
    assert not re.search(r"^F,", first, re.M)
    assert second.index("DDELE,ALL,ALL") < second.index("D,")
    assert len(re.findall(r"^F,\d+,F[XYZ],", second, re.M)) == 27
    single = written(sample(4, 1), tmp_path / "single.cdb")
    assert "/SOLU" not in single
    assert single.index("D,1,UX") < single.index("FINISH")


READ_BDF = """
import sys, json
from pyNastran.bdf.bdf import read_bdf
m = read_bdf(sys.argv[1], debug=False)
ids = range(1, len(m.elements) + 1)
print(json.dumps({
    "nodes": [m.nodes[i + 1].get_position().tolist() for i in range(len(m.nodes))],
    "elements": [m.elements[i].node_ids for i in ids],
    "E": [m.elements[i].pid_ref.mid_ref.e for i in ids],
    "volume": min(m.elements[i].Volume() for i in ids),
    "sets": {k: sorted(v.ids) for k, v in m.sets.items()},
    "cards": m.card_count,
    "limit": [m.MATS1[i].limit1 for i in sorted(m.MATS1)],
    "tables": [[m.tables[i].x.tolist(), m.tables[i].y.tolist()] for i in sorted(m.tables)],
    "force": {f.node: (f.mag * f.xyz).tolist() for v in m.loads.values() for f in v},
    "moved": {s.nodes[0]: s.enforced[0] for v in m.spcs.values() for s in v if s.type == "SPC"},
}))
"""


@pytest.mark.parametrize("n_nodes", KINDS)
def test_bdf_is_read_by_pynastran(tmp_path: Path, n_nodes: int, sample: Sample) -> None:
    import json

    python = Path(sys.prefix) / "nastran" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"pyNastran wants numpy 1, so it lives in {python.parents[1]}: make setup")
    deck = sample(n_nodes, hardening=plastic)
    write_deck(deck, tmp_path / "deck.bdf")
    done = subprocess.run(
        [python, "-c", READ_BDF, "deck.bdf"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    back: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(back["nodes"], deck.nodes_mm, rtol=1e-9)
    np.testing.assert_array_equal(np.array(back["elements"]) - 1, deck.elements)
    np.testing.assert_allclose(back["E"], MODULI[deck.material], rtol=1e-9)
    assert back["volume"] > 0
    names = [*deck.all_node_sets, "TOP_FACE", "R_LESION"]
    lesion = str(names.index("R_LESION") + 1)
    assert back["sets"][lesion] == (deck.element_sets["R_lesion"] + 1).tolist()
    assert back["limit"] == (MODULI / 100).tolist()
    np.testing.assert_allclose(back["tables"][0], [[0, 0.01, 0.0325, 1.0325], [0, 50, 62.5, 62.5]])
    nodes, force = deck.steps[1].forces()
    np.testing.assert_allclose([back["force"][str(n + 1)] for n in nodes], force, rtol=1e-9)
    assert set(back["moved"].values()) == {-0.02}


def test_bdf_fields_stand_in_their_columns(tmp_path: Path, sample: Sample) -> None:
    deck = sample(8)
    text = written(deck, tmp_path / "deck.bdf")
    lines = text.split("BEGIN BULK\n")[1].splitlines()
    assert max(map(len, lines)) <= 80
    grid = [(a, b) for a, b in pairwise(lines) if a.startswith("GRID*")]
    x = [[float(a[40:56]), float(a[56:72]), float(b[8:24])] for a, b in grid]
    np.testing.assert_allclose(x, deck.nodes_mm, rtol=1e-9)
    bricks = [(a, b) for a, b in pairwise(lines) if a.startswith("CHEXA")]
    found = [
        [int(s[i : i + 8]) for s in (a[24:72], b[8:]) for i in range(0, len(s), 8)]
        for a, b in bricks
    ]
    np.testing.assert_array_equal(np.array(found) - 1, deck.elements)
    assert [int(a[16:24]) - 1 for a, _ in bricks] == deck.material.tolist()
    assert "SUBCASE 2\n  SUBTITLE = pull\n  SPC = 2\n  LOAD = 2" in text
    assert "TWO" in text
    assert "TWO" not in written(sample(4), tmp_path / "tetra.bdf")


@pytest.mark.parametrize("n_nodes", KINDS)
def test_feb_holds_the_deck(tmp_path: Path, n_nodes: int, sample: Sample) -> None:
    deck = sample(n_nodes)
    root = ET.fromstring(written(deck, tmp_path / "deck.feb"))
    assert root.attrib == {"version": "4.0"}
    sections = [child.tag for child in root]
    expected = "Module Material Mesh MeshDomains MeshData Step LoadData Output"
    assert sections == expected.split()
    numbers = lambda node: [float(x) for x in (node.text or "").split(",")]  # noqa: E731
    points = [numbers(node) for node in root.iterfind("Mesh/Nodes/node")]
    np.testing.assert_allclose(points, deck.nodes_mm, rtol=1e-12)
    for part, members, E in zip(
        root.iterfind("Mesh/Elements"), deck.members, MODULI.tolist(), strict=True
    ):
        assert part.get("type") == {4: "tet4", 8: "hex8", 10: "tet10"}[n_nodes]
        np.testing.assert_array_equal([int(e.get("id", 0)) - 1 for e in part], members)
        np.testing.assert_array_equal([numbers(e) for e in part], deck.elements[members] + 1)
        assert float(root.findtext(f"Material/material[@name='{part.get('name')}']/E", "")) == E
    faces = [numbers(face) for face in root.iterfind("Mesh/Surface/*")]
    np.testing.assert_array_equal(faces, deck.face_nodes("top face") + 1)
    _check_feb_steps(root, deck)


def _check_feb_steps(root: ET.Element, deck: Deck) -> None:
    sets = {s.get("name"): (s.text or "").split(",") for s in root.iterfind("Mesh/NodeSet")}
    boundary = root.findall("Step/step/Boundary/bc")
    named = {bc.get("node_set") for bc in boundary}
    named |= {load.get("node_set") for load in root.iterfind("Step/step/Loads/nodal_load")}
    assert named <= set(sets)
    moved = next(bc for bc in boundary if bc.get("type") == "prescribed displacement")
    assert float(moved.findtext("value", "")) == -0.02
    nodes, force = deck.steps[1].forces()
    table = root.find("MeshData/NodeData[@name='STEP2_FORCE']")
    assert table is not None
    assert [int(n) - 1 for n in sets["STEP2_FORCE"]] == nodes.tolist()
    values = [[float(x) for x in (node.text or "").split(",")] for node in table]
    np.testing.assert_allclose(values, force, rtol=1e-12)
    assert [node.get("lid") for node in table] == [str(i + 1) for i in range(len(nodes))]


def test_feb_mesh_is_read_by_pyfebio(tmp_path: Path, sample: Sample) -> None:
    pyfebio = pytest.importorskip("pyfebio")
    deck = sample(10)
    text = written(deck, tmp_path / "deck.feb")
    # pyfebio 0.3 reads neither maps nor the 0 and 1 of its own boundary conditions
    text = re.sub(r"<(MeshData|Step|LoadData|Output)>.*</\1>\n", "", text, flags=re.S)
    model = pyfebio.model.Model.from_xml(text.split("?>")[1].strip())
    rows = {e.id: e.text for part in model.mesh_.elements for e in part.all_elements}
    assert {s.name for s in model.mesh_.node_sets} >= set(deck.all_node_sets)
    found = [[int(n) - 1 for n in rows[i + 1].split(",")] for i in range(len(deck.elements))]
    np.testing.assert_array_equal(found, deck.elements)


def test_feb_knows_one_slope(tmp_path: Path, sample: Sample) -> None:
    root = ET.fromstring(written(sample(4, hardening=plastic), tmp_path / "deck.feb"))
    first = root.find("Material/material")
    assert first is not None
    assert first.get("type") == "von-Mises plasticity"
    assert float(first.findtext("H", "")) == pytest.approx(12.5 / 0.02)
    bent = sample(4, hardening=lambda E: ((10.0, 0.0), (12.0, 0.01), (13.0, 0.02)))
    with pytest.raises(InputError, match=r"one slope.*\.inp"):
        write_deck(bent, tmp_path / "bent.feb")
    assert not (tmp_path / "bent.feb").exists()


@pytest.mark.parametrize("n_nodes", KINDS)
def test_med_is_turned_and_has_groups(tmp_path: Path, n_nodes: int, sample: Sample) -> None:
    h5py = pytest.importorskip("h5py")
    deck = sample(n_nodes)
    write_deck(deck, tmp_path / "deck.med")
    back = meshio.read(tmp_path / "deck.med")
    np.testing.assert_allclose(back.points, deck.nodes_mm)
    rows = back.cells[0].data
    assert (np.sort(rows, axis=1) == np.sort(deck.elements, axis=1)).all()
    a, b, c, d = np.moveaxis(back.points[rows[:, [0, 1, 2, 4 if n_nodes == 8 else 3]]], 1, 0)
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0).all()  # MED's orientation
    if n_nodes == 10:
        middle = back.points[rows[:, EDGES]].mean(axis=2)
        np.testing.assert_allclose(back.points[rows[:, 4:]], middle)
    groups = _groups(back.point_tags, back.point_data["point_tags"])
    for name, nodes in deck.all_node_sets.items():
        assert groups[name] == nodes.tolist()
    cells = _groups(back.cell_tags, back.cell_data["cell_tags"][0])
    assert cells["R_LESION"] == deck.element_sets["R_lesion"].tolist()
    assert cells["MAT2"] == deck.members[1].tolist()
    with h5py.File(tmp_path / "deck.med") as file:
        (step,) = file["ENS_MAA/mesh"].values()
        (kind,) = step["MAI"].values()
        assert kind.attrs["GEO"] == 300 + n_nodes


def _groups(tags: dict[int, list[str]], family: np.ndarray) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for i, number in enumerate(family.tolist()):
        for name in tags.get(number, []):
            out.setdefault(name, []).append(i)
    return out


@pytest.mark.parametrize("hardening", [None, plastic], ids=["elastic", "plastic"])
def test_comm_is_python_that_names_groups_of_the_mesh(
    tmp_path: Path, hardening: Callable[[float], object] | None, sample: Sample
) -> None:
    pytest.importorskip("h5py")
    write_deck(sample(4, hardening=hardening), tmp_path / "deck.med")
    back = meshio.read(tmp_path / "deck.med")
    text = (tmp_path / "deck.comm").read_text()
    ast.parse(text)
    assert set(re.findall(r"GROUP_NO='(\w+)'", text)) <= set(
        _groups(back.point_tags, back.point_data["point_tags"])
    )
    assert set(re.findall(r"GROUP_MA='(\w+)'", text)) == {"MAT1", "MAT2", "MAT3"}
    assert ("STAT_NON_LINE" in text) == (hardening is not None)
    assert len(re.findall(r"GROUP_NO='STEP2_F\d+'", text)) == 9


def test_inp_has_plasticity_surfaces_and_a_second_step(tmp_path: Path, sample: Sample) -> None:
    text = written(sample(8, hardening=plastic), tmp_path / "deck.inp")
    assert "*PLASTIC\n5.000000000000e+01,0.000000000000e+00\n6.250000000000e+01,2.0" in text
    surface = text.split("*SURFACE, NAME=TOP_FACE, TYPE=ELEMENT\n")[1].split("*")[0]
    assert surface.split() == ["9,S2", "10,S2", "11,S2", "12,S2"]
    assert text.count("*BOUNDARY, OP=NEW") == text.count("*CLOAD, OP=NEW") == 1


@pytest.mark.parametrize("n_nodes", KINDS)
def test_faces_look_outwards(n_nodes: int, block: Callable[[int], tuple[Any, Any]]) -> None:
    nodes, elements = block(n_nodes)
    centre = nodes[elements].mean(axis=1)
    for face in FACES[n_nodes]:
        corner = nodes[elements[:, face]]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 1])
        outwards = corner[:, :3].mean(axis=1) - centre
        assert (np.einsum("ij,ij->i", normal, outwards) > 0).all()
        if n_nodes == 10:
            ends = corner[:, [[0, 1], [1, 2], [2, 0]]].mean(axis=2)
            np.testing.assert_allclose(corner[:, 3:], ends)


def test_a_step_counts_what_is_prescribed_twice_once() -> None:
    low = Constraint("low", np.array([3, 1]), (0, 1), np.array([[0.1, 0.2], [0.0, 0.0]]))
    again = Constraint("again", np.array([3]), (1,), 0.2)
    node, component, value = Step("s", (low, again)).held()
    assert node.tolist() == [1, 1, 3, 3]
    assert component.tolist() == [0, 1, 0, 1]
    assert value.tolist() == [0.0, 0.0, 0.1, 0.2]
    with pytest.raises(
        InputError, match=r"prescribes 0\.2 mm and 0\.3 mm for component 1 of node 3"
    ):
        Step("s", (low, Constraint("other", np.array([3]), (1,), 0.3))).held()


def test_bad_decks_are_refused(
    tmp_path: Path, block: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> None:
    nodes, elements = block(4)
    bone = (Material(1000.0, 0.3),)
    one = np.zeros(len(elements), dtype=np.int64)
    with pytest.raises(InputError, match=r"deck\.k'; known: \.inp, \.cdb, \.feb, \.bdf, \.med"):
        write_deck(Deck(nodes, elements, one, bone), tmp_path / "deck.k")
    with pytest.raises(InputError, match="surface 'top' names 1 that the mesh does not have"):
        Deck(nodes, elements, one, bone, surfaces={"top": np.array([[10_000, 0]])})
    with pytest.raises(InputError, match="faces of surface 'top' names 1"):
        Deck(nodes, elements, one, bone, surfaces={"top": np.array([[0, 4]])})
    with pytest.raises(InputError, match="node set 'few' names 1"):
        Deck(nodes, elements, one, bone, node_sets={"few": np.array([-1])})
    with pytest.raises(InputError, match="1 materials have no element"):
        Deck(nodes, elements, one, (*bone, *bone))
    with pytest.raises(InputError, match="clash in the deck: HEAD"):
        Deck(nodes, elements, one, bone, {"head": one[:1]}, {"Head": one[:1]})
    with pytest.raises(InputError, match="clash with those of the deck"):
        Deck(nodes, elements, one, bone, {"mat12": one[:1]})
    with pytest.raises(InputError, match="no constraint"):
        Step("free", (), (Load("head", one[:1], np.ones((1, 3))),))
    with pytest.raises(InputError, match="strains must rise from 0"):
        Material(1000.0, 0.3, ((10.0, 0.1),))
    long = Deck(nodes, elements, one, bone, {"a" * 33: one[:1]})
    with pytest.raises(InputError, match="Ansys reads 32"):
        write_deck(long, tmp_path / "long.cdb")
    with pytest.raises(InputError, match="Code_Aster reads 24"):
        write_deck(long, tmp_path / "long.med")
    assert not list(tmp_path.iterdir())

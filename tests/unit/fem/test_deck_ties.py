"""Rigid caps and springs in decks of every format, read back by others where they are installed."""

import ast
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import meshio
import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.deck import Deck
from bonekit.fem.deck_reading import read_deck
from bonekit.fem.deck_step import Step
from bonekit.fem.decks import WRITERS, write_deck
from bonekit.fem.model import Constraint

Tied = Callable[[int], Deck]
KINDS = (4, 8, 10)


def springs_of(deck: Deck) -> list[tuple[int, int, float]]:
    """Node, component from 1 and stiffness of every spring."""
    nodes, stiffness = deck.steps[0].springs()
    row, axis = np.nonzero(stiffness)
    return sorted(zip(nodes[row] + 1, axis + 1, stiffness[row, axis], strict=True))


@pytest.mark.parametrize("n_nodes", KINDS)
def test_equations_of_the_inp_move_nodes_as_a_rigid_body(
    tmp_path: Path, n_nodes: int, tied: Tied
) -> None:
    deck = tied(n_nodes)
    write_deck(deck, tmp_path / "deck.inp")
    text = (tmp_path / "deck.inp").read_text()
    (tie,) = deck.ties
    shift, turn = np.array([0.1, -0.2, 0.3]), np.array([1e-3, 2e-3, -3e-3])
    expected = shift + np.cross(turn, deck.nodes_mm[tie.nodes] - tie.pivot_mm)
    motion = {(deck.n_nodes + 1, i + 1): shift[i] for i in range(3)}
    motion |= {(deck.n_nodes + 2, i + 1): turn[i] for i in range(3)}
    found = {}
    rows = text.split("*EQUATION\n")[1].split("*")[0].splitlines()
    for count, row in zip(rows[::2], rows[1::2], strict=True):
        terms = np.array(row.split(","), dtype=float).reshape(-1, 3)
        assert int(count) == len(terms) == 4
        node, component, factor = terms[0]
        others = sum(c * motion[int(n), int(d)] for n, d, c in terms[1:])
        found[int(node), int(component)] = -others / factor
    assert found == {
        (n + 1, c + 1): pytest.approx(expected[i, c])
        for i, n in enumerate(tie.nodes.tolist())
        for c in range(3)
    }
    listed = re.findall(
        r"SPRING1, ELSET=(\w+)\n((?:\d+,\d+\n)+)\*SPRING, ELSET=\1\n(.)\n(.*)", text
    )
    own = [
        (int(row.split(",")[1]), int(component), float(k))
        for _, members, component, k in listed
        for row in members.split()
    ]
    assert sorted(own) == springs_of(deck)
    step = text.split("*STEP")[1]
    pivot, spin = deck.n_nodes + 1, deck.n_nodes + 2
    zero = "0.000000000000e+00"
    held = step.split("*BOUNDARY\n")[1].split("*")[0].split()
    assert held == [
        f"{pivot},1,1,{zero}",
        f"{pivot},2,2,-2.000000000000e-02",
        f"{spin},2,2,1.000000000000e-03",
    ]
    # the force along x goes into the support of the pivot: no solver takes it there
    pushed = step.split("*CLOAD\n")[1].split("*")[0].split()
    assert pushed == [f"{pivot},3,-1.000000000000e+02", f"{spin},1,3.000000000000e+01"]


READ_BDF = """
import sys, json
from pyNastran.bdf.bdf import read_bdf
m = read_bdf(sys.argv[1], debug=False)
(rigid,) = m.rigid_elements.values()
springs = [e for e in m.elements.values() if e.type == "CELAS2"]
print(json.dumps({
    "pivot": m.nodes[rigid.gn].get_position().tolist(),
    "gn": rigid.gn, "cm": rigid.cm, "nodes": rigid.Gmi,
    "springs": sorted([e.node_ids[0], e.c1, e.k] for e in springs),
    "far_ends": sorted({e.node_ids[1] for e in springs}, key=str),
    "held": [[s.components, s.node_ids] for v in m.spcs.values() for s in v if s.type == "SPC1"],
    "moved": [[s.components[0], s.nodes[0], s.enforced[0]]
              for v in m.spcs.values() for s in v if s.type == "SPC"],
    "loads": [[f.type, f.node, (f.mag * f.xyz).tolist()] for v in m.loads.values() for f in v],
    "eids": sorted([*m.elements, *m.rigid_elements]),
}))
"""


@pytest.mark.parametrize("n_nodes", KINDS)
def test_bdf_is_read_by_pynastran(tmp_path: Path, n_nodes: int, tied: Tied) -> None:
    python = Path(sys.prefix) / "nastran" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"pyNastran wants numpy 1, so it lives in {python.parents[1]}: make setup")
    deck = tied(n_nodes)
    write_deck(deck, tmp_path / "deck.bdf")
    text = (tmp_path / "deck.bdf").read_text()
    assert max(map(len, text.split("BEGIN BULK")[1].splitlines())) <= 80
    assert "  LOAD = 1" in text
    done = subprocess.run(
        [python, "-c", READ_BDF, "deck.bdf"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    back = json.loads(done.stdout.splitlines()[-1])
    (tie,) = deck.ties
    pivot = deck.n_nodes + 1
    np.testing.assert_allclose(back["pivot"], tie.pivot_mm, rtol=1e-9)
    assert (back["gn"], back["cm"]) == (pivot, "123")
    assert back["nodes"] == (tie.nodes + 1).tolist()
    assert [tuple(s) for s in back["springs"]] == springs_of(deck)
    assert len(back["far_ends"]) == 1  # the ground
    assert back["held"] == [["1", [pivot]]]
    assert back["moved"] == [["2", pivot, -0.02], ["5", pivot, 0.001]]
    assert back["loads"] == [["FORCE", pivot, [0, 0, -100]], ["MOMENT", pivot, [30, 0, 0]]]
    assert back["eids"] == list(range(1, len(back["eids"]) + 1))


@pytest.mark.parametrize("n_nodes", KINDS)
def test_cdb_is_read_by_mapdl_archive(tmp_path: Path, n_nodes: int, tied: Tied) -> None:
    archive = pytest.importorskip("mapdl_archive")
    deck = tied(n_nodes)
    path = tmp_path / "deck.cdb"
    write_deck(deck, path)
    back = archive.Archive(str(path))
    (tie,) = deck.ties
    rows = [np.array(row).tolist() for row in back.elem]
    solids, others = rows[: deck.n_elements], rows[deck.n_elements :]
    assert {row[1] for row in solids} == {1}
    mass, *springs = others
    assert mass[1:3] == [2, 2]
    assert mass[10:] == [deck.n_nodes + 1]
    np.testing.assert_allclose(back.nodes[deck.n_nodes], tie.pivot_mm, rtol=1e-12)
    text = path.read_text()
    real = {int(n): float(k) for n, k in re.findall(r"^R,(\d+),([^,\n]*)$", text, re.M)}
    axis = {int(n): int(a) for n, a in re.findall(r"^KEYOPT,(\d+),2,(\d)$", text, re.M)}
    assert all(f"ET,{n},14\n" in text for n in axis)
    found = sorted((row[10], axis[row[1]], real[row[2]]) for row in springs)
    assert found == springs_of(deck)
    ends = np.array([row[10:] for row in springs])
    np.testing.assert_allclose(back.nodes[ends[:, 0] - 1], back.nodes[ends[:, 1] - 1], rtol=1e-12)
    assert re.findall(r"^D,(\d+),ALL,0\.$", text, re.M) == [str(n) for n in sorted(ends[:, 1])]
    np.testing.assert_array_equal(back.node_components["HEAD"], tie.nodes + 1)
    assert f"CMSEL,S,HEAD\nCERIG,{deck.n_nodes + 1},ALL,UXYZ\nALLSEL\n" in text
    own = re.findall(rf"^([DF]),{deck.n_nodes + 1},(\w+),(.*)$", text, re.M)
    assert [(a, b, float(c)) for a, b, c in own] == [
        ("D", "UX", 0.0),
        ("D", "UY", -0.02),
        ("D", "ROTY", 0.001),
        ("F", "FZ", -100.0),
        ("F", "MX", 30.0),
    ]
    mesh = read_deck(path)  # and by ourselves
    assert mesh.n_elements == deck.n_elements
    assert mesh.n_others == len(others)


@pytest.mark.parametrize("n_nodes", KINDS)
def test_feb_sections_are_read_by_pyfebio(tmp_path: Path, n_nodes: int, tied: Tied) -> None:
    pyfebio = pytest.importorskip("pyfebio")
    deck = tied(n_nodes)
    write_deck(deck, tmp_path / "deck.feb")
    text = (tmp_path / "deck.feb").read_text()
    (tie,) = deck.ties
    section = lambda tag: re.findall(rf"<{tag}>.*?</{tag}>", text, re.S)[-1]  # noqa: E731
    assert '"rigid_fixed"><rb>PIVOT_HEAD</rb><Rx_dof>1</Rx_dof></rigid_bc>' in text
    # pyfebio 0.3 does not read the 0 and 1 of its own boundary conditions
    plain = re.sub(r"<(\w+)>[01]</\1>", "", section("Rigid"))
    rigid = pyfebio.rigid.Rigid.from_xml(plain)
    fixed, *moved = rigid.all_rigid_bcs
    assert fixed.rb == "PIVOT_HEAD"
    assert [(bc.type, bc.dof, bc.value.text) for bc in moved] == [
        ("rigid_displacement", "y", -0.02),
        ("rigid_rotation", "Rv", 0.001),
    ]
    assert [(load.type, load.dof, load.value.text) for load in rigid.all_rigid_loads] == [
        ("rigid_force", "Rz", -100.0),
        ("rigid_moment", "Ru", 30.0),
    ]
    discrete = pyfebio.discrete.Discrete.from_xml(section("Discrete"))
    stiffness = {m.name: m.E for m in discrete.discrete_materials}
    assert [d.discrete_set for d in discrete.discrete_elements] == list(stiffness)
    mesh = pyfebio.mesh.Mesh.from_xml(section("Mesh"))
    point = {
        n.id: np.array(n.text.split(","), float) for part in mesh.nodes for n in part.all_nodes
    }
    found = []
    for one in mesh.discrete_sets:
        for near, far in (map(int, e.text.split(",")) for e in one.elements):
            along = point[far] - point[near]
            axis = int(np.argmax(along))
            np.testing.assert_allclose(along, 1e5 * np.eye(3)[axis], atol=1e-6)
            found.append((near, axis + 1, stiffness[one.name]))
    assert sorted(found) == springs_of(deck)
    body = ET.fromstring(text.split("?>")[1]).find("Material/material[@type='rigid body']")
    assert body is not None
    centre = [float(x) for x in body.findtext("center_of_mass", "").split(",")]
    np.testing.assert_allclose(centre, tie.pivot_mm, rtol=1e-12)
    boundary = re.findall(r'<bc name="PIVOT_HEAD" type="rigid" node_set="(\w+)">', text)
    assert boundary == ["HEAD"]
    ground = {s.name: s.text for s in mesh.node_sets}["GROUND_HELD"]
    assert len(ground.split(",")) == len(found)
    assert 'type="zero displacement" node_set="GROUND_HELD"' in text


@pytest.mark.parametrize("n_nodes", KINDS)
def test_med_and_comm_hold_discrete_elements(tmp_path: Path, n_nodes: int, tied: Tied) -> None:
    pytest.importorskip("h5py")
    deck = tied(n_nodes)
    write_deck(deck, tmp_path / "deck.med")
    back = meshio.read(tmp_path / "deck.med")
    (tie,) = deck.ties
    np.testing.assert_allclose(back.points[deck.n_nodes], tie.pivot_mm)
    family = back.point_data["point_tags"]
    groups: dict[str, list[int]] = {}
    for i, number in enumerate(family.tolist()):
        for name in back.point_tags.get(number, []):
            groups.setdefault(name, []).append(i)
    assert groups["PIVOT_HEAD"] == [deck.n_nodes]
    assert groups["HEAD"] == tie.nodes.tolist()
    text = (tmp_path / "deck.comm").read_text()
    ast.parse(text)
    rows = re.findall(
        r"GROUP_MA='(SPRING\d)', REPERE='GLOBAL', CARA='K_T_D_N', VALE=\((.*)\)\)", text
    )
    found = [
        (node + 1, axis, k)
        for name, values in rows
        for node in groups[name]
        for axis, k in enumerate(map(float, values.split(",")), start=1)
        if k
    ]
    assert sorted(found) == springs_of(deck)
    assert "LIAISON_SOLIDE=(\n        _F(GROUP_NO=('PIVOT_HEAD', 'HEAD'))," in text
    assert "_F(GROUP_NO='PIVOT_HEAD', DX=0.000000000000e+00, DY=-2.0" in text
    assert "DRY=1.000000000000e-03)," in text
    assert "FZ=-1.000000000000e+02, MX=3.000000000000e+01)," in text
    assert text.count("CARA_ELEM=points") == 1
    made = set(re.findall(r"NOM_GROUP_MA='(\w+)'", text)) | {"MAT1", "MAT2", "MAT3"}
    assert set(re.findall(r"GROUP_MA='(\w+)'", text)) <= made
    assert set(re.findall(r"GROUP_NO='(\w+)'", text)) <= set(groups)


@pytest.mark.parametrize("suffix", WRITERS)
def test_pivots_and_springs_need_no_other_support(tmp_path: Path, suffix: str, tied: Tied) -> None:
    deck = tied(4)
    write_deck(deck, tmp_path / f"deck{suffix}")
    assert deck.steps[0].held()[0].size == 0


def test_ties_that_clash_are_refused(tied: Tied) -> None:
    deck = tied(4)
    (step,) = deck.steps
    (cap,), (bed,) = step.caps, step.supports
    with pytest.raises(InputError, match=r"holds one step, this one has 2: write a deck for each"):
        replace(deck, steps=(step, step))
    with pytest.raises(InputError, match=r"1 nodes of cap 'head' are also of 'side'"):
        Step("s", (Constraint("side", cap.nodes[:1]),), caps=(cap,))
    with pytest.raises(InputError, match="also of 'bed'"):
        Step("s", (), (), (replace(bed, nodes=cap.nodes, stiffness_N_mm=1.0),), (cap,))
    with pytest.raises(InputError, match="no constraint: the bone would drift"):
        Step("s", ())
    with pytest.raises(InputError, match="clash in the deck: PIVOT_HEAD"):
        replace(deck, element_sets={"pivot head": np.array([0])})
    in_line = replace(cap, nodes=cap.nodes[:2])
    with pytest.raises(InputError, match="lie in one line"):
        replace(deck, steps=(Step("s", (), (), step.supports, (in_line,)),))

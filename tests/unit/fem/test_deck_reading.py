"""Decks made elsewhere: read, and given our materials with everything else as it was."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.deck import Deck
from bonekit.fem.deck_reading import read_deck
from bonekit.fem.deck_rewriting import with_materials
from bonekit.fem.decks import write_deck

Sample = Callable[..., Deck]

# Written by hand after what Abaqus/CAE and pre-processors write: numbers with gaps, mixed case,
# a header over two lines, comments, generated and nested sets, a shell, keywords we don't know.
FOREIGN = """\
*Heading
 femur of a user
** PARTS
*Node, nset=ALLNODES
 10, 0., 0., 0.
 20, 20., 0, 0.
 30, 20., 20., 0.
 40, 0., 20., 0.
 11, 0., 0., 2.0D+1
 21, 20., 0., 20.
 31, 20., 20., 20.
 41, 0., 20., 20.
 50, 10., 10., 40.
** a remark, amid
*ELEMENT, TYPE=C3D8R,
 ELSET=Bone
7, 10, 20, 30, 40,
 11, 21, 31, 41
*Element, type=c3d4, elset=Bone
5, 11, 21, 31, 50
3, 11, 31, 41, 50
*Element, type=S4R, elset=Skin
90, 10, 20, 30, 40
*Nset, nset=feet, generate
 10, 40, 10
*Nset, nset=most
 feet, 11
*Elset, elset="Both"
 Bone, 90,
*Material, name=Old
*Elastic
 17000., 0.3
*Shell Section, elset=Skin, material=Old
 0.5,
*Solid Section, elset=Bone, controls=EC-1, material=Old
,
*Hourglass stiffness
 5.,
** between
*Surface interaction, name=unknown-1
1.,
*Contact Damping, definition=none
*Step, name=load, nlgeom=YES
*Static
0.1, 1.
*Boundary
feet, 1, 3
*Cload
50, 3, -100.
*End Step
"""
SOLIDS = np.array([3, 5, 7])


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.inp"
    path.write_text(FOREIGN)
    return path


def test_inp_of_others_is_read(foreign: Path) -> None:
    mesh = read_deck(foreign)
    assert mesh.node_ids.tolist() == [10, 11, 20, 21, 30, 31, 40, 41, 50]
    assert mesh.nodes_mm[mesh.node_ids == 11].tolist() == [[0, 0, 20]]
    assert mesh.element_ids["tetra"].tolist() == [5, 3]
    assert mesh.node_ids[mesh.elements["tetra"]].tolist() == [[11, 21, 31, 50], [11, 31, 41, 50]]
    assert mesh.node_ids[mesh.elements["hexahedron"]].tolist() == [[10, 20, 30, 40, 11, 21, 31, 41]]
    assert mesh.node_sets["MOST"].tolist() == [10, 11, 20, 30, 40]
    assert mesh.element_sets["BOTH"].tolist() == [3, 5, 7, 90]
    assert mesh.n_others == 1


def test_inp_keeps_every_other_byte(foreign: Path, tmp_path: Path) -> None:
    foreign.write_bytes(FOREIGN.replace("\n", "\r\n").encode())
    out = tmp_path / "out.inp"
    bins = with_materials(foreign, out, SOLIDS, np.array([100.0, 900.0, 500.0]), 0.4, 50.0)
    assert bins.E_MPa.tolist() == [900.0, 500.0, 100.0]
    text = out.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n")
    text = text.replace("\r\n", "\n")
    block = re.search(r"\*\* bonekit materials: begin.*: end\n", text, re.DOTALL)
    assert block is not None
    assert text[block.end() :].startswith("*Step, name=load")
    assert "*ELSET, ELSET=BONEKIT_1\n5\n*MATERIAL, NAME=BONEKIT_1\n*ELASTIC\n9.0" in block[0]
    dropped = FOREIGN.index("*Solid Section"), FOREIGN.index("** between")
    assert text.replace(block[0], "") == FOREIGN[: dropped[0]] + FOREIGN[dropped[1] :]
    again = tmp_path / "again.inp"
    with_materials(out, again, SOLIDS, np.array([100.0, 900.0, 500.0]), 0.4, 50.0)
    assert again.read_bytes() == out.read_bytes()


def in_a_part() -> str:
    """The same as Abaqus/CAE writes it by default: a part, its instance, more in the assembly."""
    mesh, rest = FOREIGN.split("*Material", 1)
    material, rest = ("*Material" + rest).split("*Shell Section", 1)
    sections, rest = ("*Shell Section" + rest).split("** between", 1)
    assembly = """\
*End Part
*Part, name=Plate
*Node
1, 0., 0., 0.
*End Part
*Assembly, name=Assembly
*Instance, name=Femur-1, part=Femur
** nothing moves it
*End Instance
*Node
10, 0., 0., 90.
*Nset, nset=feet, instance=Femur-1, generate
10, 80, 10
*End Assembly
"""
    mesh = mesh.replace("** PARTS", "*Part, name=femur")
    return mesh + sections + assembly + material + "** between" + rest


def test_a_part_is_read_and_given_materials(tmp_path: Path) -> None:
    path, out, again = (tmp_path / f"{name}.inp" for name in ("part", "out", "again"))
    path.write_text("\ufeff" + in_a_part(), encoding="utf-8", newline="\r\n")
    mesh = read_deck(path)
    assert mesh.node_ids.tolist() == [10, 11, 20, 21, 30, 31, 40, 41, 50]
    assert mesh.node_sets["FEET"].tolist() == [10, 20, 30, 40]
    with_materials(path, out, SOLIDS, np.array([100.0, 900.0, 500.0]), 0.4, 50.0)
    raw = out.read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n")
    text = out.read_text(encoding="utf-8")
    first, second = re.findall(r"\*\* bonekit materials: begin.*?: end\n", text, re.DOTALL)
    assert "*ELSET, ELSET=BONEKIT_1\n5\n*SOLID SECTION, ELSET=BONEKIT_1, MATERIAL=" in first
    assert "*MATERIAL" not in first
    assert "*MATERIAL, NAME=BONEKIT_1\n*ELASTIC\n9.0" in second
    assert "SECTION" not in second
    assert text.split(first)[1].startswith("*End Part\n*Part, name=Plate")
    assert text.split(second)[1].startswith("*Step, name=load")
    before = path.read_text(encoding="utf-8")
    dropped = before.index("*Solid Section"), before.index("*End Part")
    kept = text.replace(first, "").replace(second, "")
    assert kept == before[: dropped[0]] + before[dropped[1] :]
    with_materials(out, again, SOLIDS, np.array([100.0, 900.0, 500.0]), 0.4, 50.0)
    assert again.read_bytes() == raw


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "** nothing moves it",
            "10., 0., 0.",
            r"line \d+: can't use \*INSTANCE.*moves the part FEMUR",
        ),
        (
            "*End Instance",
            "*End Instance\n*Instance, name=F-2, part=Femur\n*End Instance",
            r"\*INSTANCE.*the part FEMUR is used twice.*without parts",
        ),
        (
            "1, 0., 0., 0.\n",
            "1, 0., 0., 0.\n*Element, type=C3D4\n1, 1, 1, 1, 1\n",
            r"\*PART.*two parts have solid elements",
        ),
        (
            "*End Assembly",
            "*Element, type=C3D4\n1, 10, 10, 10, 10\n*End Assembly",
            r"\*ELEMENT.*solids stand outside of the parts",
        ),
        ("*Heading", "*Heading\n*Include, input=more.inp", None),
    ],
)
def test_parts_that_are_more_than_one_mesh_are_refused(
    tmp_path: Path, old: str, new: str, message: str | None
) -> None:
    path = tmp_path / "part.inp"
    assert in_a_part().count(old) == 1
    path.write_text(in_a_part().replace(old, new))
    if message is None:  # what is included outside of the part is not of its mesh
        assert read_deck(path).n_elements == 3
        return
    with pytest.raises(InputError, match=message):
        read_deck(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FOREIGN.encode("utf-16"), "no plain text"),
        (FOREIGN.replace("\n", "\r").encode(), "old Macintosh"),
        (b"", "no element that can get a material"),
        (b"*NODE\n1, 0, 0, 0\n", "no element that can get a material"),
    ],
)
def test_files_that_are_no_decks_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.inp"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_deck(path)


@pytest.mark.parametrize("suffix", [".inp", ".cdb", ".msh"])
def test_damaged_decks_are_read_or_refused(tmp_path: Path, suffix: str, sample: Sample) -> None:
    """Lines cut, lost, doubled, letters changed: never another error than one that says so."""
    path, rng = tmp_path / f"deck{suffix}", np.random.default_rng(1)
    if suffix == ".msh":
        deck = sample(4)
        tag = np.ones(len(deck.elements), int)
        data = {"gmsh:physical": [tag], "gmsh:geometrical": [tag]}
        made = meshio.Mesh(deck.nodes_mm, [("tetra", deck.elements)], cell_data=data)
        made.write(path, file_format="gmsh22")
    else:
        write_deck(sample(8), path)
    lines = path.read_bytes().split(b"\n")
    refused = 0
    for _ in range(60):
        at, kind = rng.integers(len(lines)), rng.integers(4)
        row = lines[at]
        cut = row[: rng.integers(len(row) + 1)]
        damaged = [[], [row, row], [cut], [cut + b"x" + row[len(cut) + 1 :]]][kind]
        path.write_bytes(b"\n".join([*lines[:at], *damaged, *lines[at + 1 :]]))
        try:
            mesh = read_deck(path)
            if suffix != ".msh":
                (ids,) = mesh.element_ids.values()
                with_materials(path, tmp_path / f"o{suffix}", ids, np.full(len(ids), 9.0), 0.3)
        except InputError:
            refused += 1
    assert 10 < refused < 60


@pytest.mark.skipif(shutil.which("ccx") is None, reason="CalculiX not found")
def test_calculix_takes_the_new_moduli(foreign: Path, tmp_path: Path) -> None:
    """Twice as stiff an element, half the displacement."""
    plain = re.sub(r"\*Element, type=S4R.*\n.*\n|\*Shell Section.*\n.*\n", "", FOREIGN)
    plain = re.sub(r" Bone, 90,", " Bone,", plain).replace("C3D8R,\n", "C3D8,")
    plain = re.sub(r"\*Surface inter(.*\n)*\*Contact.*\n", "", plain).replace(", nlgeom=YES", "")
    foreign.write_text(plain.replace("*End Step", "*Node print, nset=ALLNODES\nU\n*End Step"))
    moved = []
    for number, E in enumerate((1000.0, 2000.0)):
        deck = tmp_path / f"run{number}.inp"
        with_materials(foreign, deck, SOLIDS, np.full(3, E), 0.3)
        subprocess.run(
            ["ccx", deck.stem], cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
        rows = [line.split() for line in deck.with_suffix(".dat").read_text().splitlines()]
        moved.append(next(float(row[3]) for row in rows if row[:1] == ["50"]))
    assert moved[0] < 0
    assert moved[1] == pytest.approx(moved[0] / 2, rel=1e-5)


def test_cdb_changes_the_material_field_alone(tmp_path: Path, sample: Sample) -> None:
    deck, path, out = sample(10), tmp_path / "deck.cdb", tmp_path / "out.cdb"
    write_deck(deck, path)
    mesh = read_deck(path)
    np.testing.assert_allclose(mesh.nodes_mm, deck.nodes_mm, rtol=1e-12)
    np.testing.assert_array_equal(mesh.elements["tetra10"], deck.elements)
    np.testing.assert_array_equal(mesh.node_sets["TOP_PLATE"], deck.all_node_sets["TOP_PLATE"] + 1)
    chosen = np.array([12, 4, 30])
    with_materials(path, out, chosen, np.array([10.0, 20.0, 10.0]), 0.3, 0.0)
    before, after = path.read_text().splitlines(), out.read_text().splitlines()
    begin = next(i for i, line in enumerate(after) if "materials: begin" in line)
    end = next(i for i, line in enumerate(after) if "materials: end" in line)
    assert after[begin - 1] == f"{-1:9d}"
    assert "MP,EX,4,2.000000000000e+01" in after[begin:end]
    kept = after[:begin] + after[end + 1 :]
    assert len(kept) == len(before)
    changed = [(a, b) for a, b in zip(before, kept, strict=True) if a != b]
    assert {int(b[90:99]): int(b[:9]) for _, b in changed} == {12: 5, 4: 4, 30: 5}
    assert all(a[9:] == b[9:] for a, b in changed)
    twice = tmp_path / "twice.cdb"
    with_materials(out, twice, chosen, np.array([10.0, 20.0, 10.0]), 0.3, 0.0)
    assert twice.read_bytes() == out.read_bytes()


def test_cdb_of_ansys_itself_is_read(tmp_path: Path) -> None:
    archive = pytest.importorskip("mapdl_archive")
    folder = Path(archive.__file__).parent / "examples"
    for name, kind in (("TetBeam", "tetra"), ("academic_rotor", "hexahedron")):
        path = folder / f"{name}.cdb"
        mesh, theirs = read_deck(path), archive.Archive(str(path))
        (rows,) = theirs.grid.cells_dict.values()
        np.testing.assert_array_equal(mesh.element_ids[kind], theirs.grid["ansys_elem_num"])
        named = np.asarray(theirs.grid["ansys_node_num"])[rows]
        np.testing.assert_array_equal(mesh.node_ids[mesh.elements[kind]], named)
    with_materials(path, tmp_path / "out.cdb", mesh.element_ids[kind], np.full(524, 7.0), 0.3)
    back = archive.Archive(str(tmp_path / "out.cdb"))
    assert len(np.unique(back.grid["ansys_material_type"])) == 1


def test_degenerate_bricks_are_tetrahedra(tmp_path: Path, sample: Sample) -> None:
    deck = sample(4)
    write_deck(deck, tmp_path / "deck.cdb")
    np.testing.assert_array_equal(read_deck(tmp_path / "deck.cdb").elements["tetra"], deck.elements)


@pytest.mark.parametrize("suffix", [".vtu", ".msh"])
@pytest.mark.parametrize("n_nodes", [4, 8, 10])
def test_vtu_and_msh_are_read(tmp_path: Path, suffix: str, n_nodes: int, sample: Sample) -> None:
    deck = sample(n_nodes)
    kind = {4: "tetra", 8: "hexahedron", 10: "tetra10"}[n_nodes]
    tag = np.where(np.isin(np.arange(len(deck.elements)), deck.element_sets["R_lesion"]), 3, 1)
    data = {"gmsh:physical": [tag], "gmsh:geometrical": [tag]} if suffix == ".msh" else {}
    mesh = meshio.Mesh(
        deck.nodes_mm,
        [(kind, deck.elements)],
        cell_data=data,
        field_data={"lesion": np.array([3, 3])} if data else {},
    )
    path = tmp_path / f"mesh{suffix}"
    mesh.write(path, file_format="gmsh22" if data else "vtu")
    back = read_deck(path)
    np.testing.assert_allclose(back.nodes_mm, deck.nodes_mm)
    np.testing.assert_array_equal(back.elements[kind], deck.elements)
    if data:
        assert back.element_sets["lesion"].tolist() == (deck.element_sets["R_lesion"] + 1).tolist()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("*Heading", "*Include, input=mesh.inp", r"\*INCLUDE.*several files"),
        ("*Heading", "*Part, name=P", r"line 1: .*\*PART.*\*END PART.*cut off"),
        ("*Heading", "*Assembly, name=A", r"line 1: can't use \*ASSEMBLY.*without parts"),
        ("*Node, nset=ALLNODES", "*Node, input=a.txt", r"\*NODE.*another file"),
        ("*Heading", "*Ngen", r"\*NGEN.*one by one"),
        (" 10, 40, 10", " 10, 60, 10", r"line 24: node set FEET names 1 nodes.*\[60\]"),
        (" Bone, 90,", " Bone, 91,", r"element set BOTH names 1 elements.*\[91\]"),
        (" feet, 11", " hands, 11", "line 26: a set names the set HANDS, which is not defined"),
        (
            "5, 11, 21, 31, 50",
            "5, 11, 21, 31, 51",
            r"line 19: elements \(tetra\) names 1 nodes.*\[51\]",
        ),
        (
            "5, 11, 21, 31, 50",
            "3, 11, 21, 31, 50",
            "inp, line 21: element 3 is defined more than once, first in line 20; give it another",
        ),
        (
            "90, 10, 20, 30, 40",
            "7, 10, 20,\n30, 40",
            "line 23: element 7 is defined more than once, first in line 17",
        ),
        (
            "90, 10, 20, 30, 40",
            "90, 10, 20,\n** on\n 90, 40\n90, 10, 20, 30, 40",
            "line 26: element 90 is defined more than once, first in line 23",
        ),
        (
            " 50, 10., 10., 40.",
            "**\n\n 50, 10., 10., 40.\n20, 1., 1.,",
            "line 16: node 20 is defined more than once, first in line 6",
        ),
        (
            "5, 11, 21, 31, 50",
            "5, 21, 11, 31, 50",
            r"inp, line 20: element 5 \(tetra\) near \(12.5, 7.5, 25.0\) mm is inverted or flat, "
            "one of 1 among 2; give its nodes in the order of Abaqus",
        ),
        (
            "7, 10, 20, 30, 40,\n",
            "7, 10, 40, 30, 20,\n",
            r"line 17: element 7 \(hexahedron\) .* is inverted",
        ),
        (" 20, 20., 0, 0.", " 20, 20., nan, 0.", r"line 6: node 20 is at \[20.0, nan, 0.0\]"),
        ("5, 11, 21, 31, 50", "5, 11, 21, 31", "line 19: .*9 numbers, which are not rows of 5"),
        (" 20, 20., 0, 0.", " 20, 20., x, 0.", r"line 6: \*NODE has a line that is no"),
        (" 10, 40, 10", " 40, 10, 10", r"line 24: a generated set has the line '40, 10, 10'"),
        (" 10, 40, 10", " 10", r"line 24: a generated set has the line '10'"),
        ("7, 10, 20,", "-7, 10, 20,", r"line 15: \*ELEMENT has -7 for a number"),
        ("3, 11, 31, 41, 50", "3, 11, 31, 41, 50.5", r"line 19: \*ELEMENT has 50.5 for a number"),
        ("5, 11, 21, 31, 50\n3,", "5, 11, 21, 31\n50, 3,", "each on lines of its own"),
    ],
)
def test_bad_decks_are_refused(foreign: Path, old: str, new: str, message: str) -> None:
    assert FOREIGN.count(old) == 1
    foreign.write_text(FOREIGN.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_deck(foreign)


@pytest.mark.parametrize("n_nodes", [4, 10])
def test_lines_of_a_cdb_are_named(tmp_path: Path, sample: Sample, n_nodes: int) -> None:
    """A number given twice and an element turned inside out, with rows of one and of two lines."""
    write_deck(sample(n_nodes), tmp_path / "deck.cdb")
    lines = (tmp_path / "deck.cdb").read_text().split("\n")
    nodes = next(i for i, row in enumerate(lines) if row.startswith("NBLOCK")) + 2
    cells = next(i for i, row in enumerate(lines) if row.startswith("EBLOCK")) + 2
    step = 1 if n_nodes == 4 else 2
    path = tmp_path / "bad.cdb"

    def refused(changes: dict[int, str], message: str) -> None:
        path.write_text("\n".join(changes.get(i, row) for i, row in enumerate(lines)))
        with pytest.raises(InputError, match=message):
            read_deck(path)

    again = f"{2:9d}" + lines[nodes + 4][9:]
    refused(
        {nodes + 4: again},
        f"bad.cdb, line {nodes + 5}: node 2 is defined more than once, first in line {nodes + 2};",
    )
    third = cells + 2 * step
    again = lines[third][:90] + lines[cells][90:99] + lines[third][99:]
    refused(
        {third: again},
        f"line {third + 1}: element 1 is defined more than once, first in line {cells + 1};",
    )
    a, b = lines[third][99:108], lines[third][108:117]
    turned = lines[third][:99] + b + a + lines[third][117:]
    refused({third: turned}, rf"line {third + 1}: element 3 \(tetra.*inverted.*order of Ansys")


def test_inverted_elements_of_a_msh_are_named(tmp_path: Path, sample: Sample) -> None:
    deck = sample(4)
    cells = deck.elements.copy()
    cells[6] = cells[6][[1, 0, 2, 3]]
    meshio.Mesh(deck.nodes_mm, [("tetra", cells)]).write(tmp_path / "bad.vtu")
    with pytest.raises(InputError, match=r"bad.vtu: element 7 \(tetra\) near .*order of VTK"):
        read_deck(tmp_path / "bad.vtu")


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "metres"), (1e3, "micrometres")])
def test_other_units_are_refused(tmp_path: Path, sample: Sample, factor: float, unit: str) -> None:
    deck = sample(4)
    path = tmp_path / "mesh.vtu"
    meshio.Mesh(deck.nodes_mm * factor, [("tetra", deck.elements)]).write(path)
    with pytest.raises(InputError, match=f"looks like {unit}.*Scale its coordinates"):
        read_deck(path)


def test_what_stands_in_the_way_is_named(foreign: Path, tmp_path: Path, sample: Sample) -> None:
    out = tmp_path / "out.inp"
    with pytest.raises(InputError, match="only 2 of the 3 elements of the solid section of BONE"):
        with_materials(foreign, out, SOLIDS[:2], np.ones(2), 0.3)
    with pytest.raises(InputError, match="no solid element 90"):
        with_materials(foreign, out, np.array([3, 90]), np.ones(2), 0.3)
    with pytest.raises(InputError, match="given twice"):
        with_materials(foreign, out, np.array([3, 3]), np.ones(2), 0.3)
    with pytest.raises(InputError, match=r"allowed: \.inp to \.inp"):
        with_materials(foreign, tmp_path / "out.feb", SOLIDS, np.ones(3), 0.3)
    foreign.write_text(FOREIGN.replace("name=Old", "name=Bonekit_9"))
    with pytest.raises(InputError, match="BONEKIT_9"):
        with_materials(foreign, out, SOLIDS, np.ones(3), 0.3)
    with pytest.raises(InputError, match=r"known: \.inp, \.cdb, \.vtu, \.msh"):
        read_deck(tmp_path / "deck.bdf")
    with pytest.raises(InputError, match="not found"):
        read_deck(tmp_path / "absent.inp")
    write_deck(sample(4), tmp_path / "deck.cdb")
    text = (tmp_path / "deck.cdb").read_text()
    (tmp_path / "cut.cdb").write_text(text[: text.index("EBLOCK") + 400])
    with pytest.raises(InputError, match="cut off"):
        read_deck(tmp_path / "cut.cdb")
    (tmp_path / "open.cdb").write_text(re.sub(r"NBLOCK(.*\n)*N,R5.*\n", "N,1,0,0,0\n", text))
    with pytest.raises(InputError, match="blocked"):
        read_deck(tmp_path / "open.cdb")
    assert not out.exists()

"""Finished runs for other solvers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.deck_reading import read_deck
from bonekit.fem.decks import deck_of, export_mesh, write_deck
from bonekit.meshing.interchange import read_mesh
from bonekit.meshing.tetra import tetra_mesh
from bonekit.pipeline import exporting
from bonekit.pipeline.exporting import bone_in, export_run, export_tetrahedra, map_onto
from bonekit.pipeline.kept import case_of, problem_of
from bonekit.runfolder import RunFolder
from bonekit.segmentation.base import PARTS


@pytest.fixture(scope="module")
def deck(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mesh of the run as a deck of somebody else: one material for each region."""
    path = tmp_path_factory.mktemp("deck") / "theirs.inp"
    mesh, _, _ = read_mesh(finished / "mesh.vtu")
    export_mesh(mesh, 1000.0 * mesh.element_region, 0.3, path)
    return path


@pytest.mark.parametrize("suffix", [".inp", ".cdb"])
def test_a_run_goes_out_with_its_supports(finished: Path, tmp_path: Path, suffix: str) -> None:
    bins = export_run(finished, tmp_path / f"run{suffix}")
    mesh, cells, points = read_mesh(finished / "mesh.vtu")
    back = read_deck(tmp_path / f"run{suffix}")
    assert back.n_elements == mesh.n_elements == len(bins.material)
    np.testing.assert_allclose(bins.E_MPa[bins.material], cells["E_MPa"], atol=50.0)
    held = {name.lower(): members for name, members in back.node_sets.items()}
    assert len(held["distal_shaft"]) == np.count_nonzero(points["constraint"])


def test_somebody_elses_deck_gets_the_moduli_of_the_run(
    finished: Path, deck: Path, tmp_path: Path
) -> None:
    _, cells, _ = read_mesh(finished / "mesh.vtu")
    mesh, bins = map_onto(finished, deck, tmp_path / "mapped.inp", bins_MPa=20.0)
    assert mesh.n_elements == len(cells["E_MPa"])
    # the same bricks, integrated as hexahedra of any shape
    np.testing.assert_allclose(bins.E_MPa[bins.material], cells["E_MPa"], rtol=0.02, atol=20.0)
    again = read_deck(tmp_path / "mapped.inp")
    np.testing.assert_array_equal(again.nodes_mm, read_deck(deck).nodes_mm)
    assert "*ELASTIC" in (tmp_path / "mapped.inp").read_text()


def test_only_a_set_of_the_deck_is_bone(finished: Path, deck: Path, tmp_path: Path) -> None:
    theirs = read_deck(deck)
    members = {name.lower(): ids for name, ids in theirs.element_sets.items()}["r_trabecular"]
    _, bins = map_onto(finished, deck, tmp_path / "mapped.inp", element_set="r_trabecular")
    assert len(bins.material) == len(members) < theirs.n_elements
    with pytest.raises(InputError, match=r"no element set 'implant'; it has: .*R_"):
        map_onto(finished, deck, tmp_path / "other.inp", element_set="implant")
    assert not (tmp_path / "other.inp").exists()


def test_a_deck_in_another_frame_is_refused(finished: Path, deck: Path, tmp_path: Path) -> None:
    theirs = read_deck(deck)
    cells = theirs.elements["hexahedron"]
    aside = theirs.nodes_mm + np.array([40.0, 0.0, 0.0])
    moved, _ = deck_of(aside, cells, np.full(len(cells), 1e3), 0.3)
    write_deck(moved, tmp_path / "moved.inp")
    with pytest.raises(InputError, match=r"elements lie more than 5 mm from the bone .* \(LPS"):
        map_onto(finished, tmp_path / "moved.inp", tmp_path / "mapped.inp")


def only_outer(monkeypatch: pytest.MonkeyPatch, *regions: str) -> None:
    """Let the tetrahedra conform to the outer surface and a part only: a tenth of the time."""
    monkeypatch.setattr(exporting, "tetra_mesh", partial(tetra_mesh, interfaces=regions))


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_a_run_goes_out_as_tetrahedra(finished: Path, tmp_path: Path, order: int) -> None:
    mesh, E, bins = export_tetrahedra(
        finished, tmp_path / "run.inp", 6.0, order, load=False, surface_voxels=2.0
    )  # type: ignore[arg-type]
    np.testing.assert_allclose(read_deck(tmp_path / "run.inp").nodes_mm, mesh.nodes_mm, atol=1e-9)
    assert "*STEP" not in (tmp_path / "run.inp").read_text()
    assert mesh.elements.shape[1] == (4 if order == 1 else 10)
    back = read_deck(tmp_path / "run.inp")
    assert back.n_elements == mesh.n_elements
    assert bins.largest_error >= 0
    _, cells, _ = read_mesh(finished / "mesh.vtu")
    volume = np.abs(mesh.volumes_mm3)
    assert np.average(E, weights=volume) == pytest.approx(cells["E_MPa"].mean(), rel=0.06)


@pytest.mark.slow
def test_tetrahedra_go_out_as_fields_that_are_not_binned(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_outer(monkeypatch)
    mesh, E, _ = export_tetrahedra(finished, tmp_path / "run.vtu", 8.0, load=False)
    back, cells, _ = read_mesh(tmp_path / "run.vtu")
    np.testing.assert_array_equal(back.elements, mesh.elements)
    np.testing.assert_array_equal(cells["E_MPa"], E)
    assert len(np.unique(E)) > 0.9 * len(E)


@pytest.mark.slow
def test_tetrahedra_with_a_cup_carry_the_load_of_the_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_outer(monkeypatch, PARTS[20])
    mesh, E, bins = export_tetrahedra(finished, tmp_path / "cup.inp", 7.0, parts=["cup"])
    back = read_deck(tmp_path / "cup.inp")
    cup = mesh.region == 20
    assert (E[cup] == 2500.0).all()
    assert (bins.E_MPa[bins.material[cup]] == 2500.0).all()
    assert len(back.element_sets["R_CUP"]) == np.count_nonzero(cup) > 100
    assert {"FEMORAL_HEAD", "DISTAL_SHAFT", "N_CUP_FACE"} <= set(back.node_sets)
    text = (tmp_path / "cup.inp").read_text()
    force = np.zeros(3)
    for row in text.split("*CLOAD\n")[1].split("*")[0].split():
        _, axis, value = row.split(",")
        force[int(axis) - 1] += float(value)
    case = problem_of(RunFolder.of(finished, ("mesh",)), case_of(RunFolder.of(finished, ())))
    axes = case.model.mesh.grid.direction
    np.testing.assert_allclose(axes @ force, 1000.0 * case.load.direction, atol=1e-6)
    np.testing.assert_allclose(back.nodes_mm @ axes.T, mesh.nodes_mm, atol=1e-9)
    top = mesh.centres_mm[cup].mean(axis=0)
    head = bone_in(finished).segmentation.anatomy.head_centre_mm  # type: ignore[union-attr]
    away = (top - head) / np.linalg.norm(top - head)
    assert away @ -case.load.direction > 0.99


@pytest.mark.slow
def test_tetrahedra_carry_the_load_that_is_named(
    finished: Path,
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fall of a run in stance: the pad rests, the head moves along the first axis."""
    only_outer(monkeypatch, PARTS[23])
    out = tmp_path / "fall.inp"
    code, _, error = command(
        "export", finished, out, "--tetra", "--edge", "7", "--pad",
        "--load", "sideways_fall", "--distal", "sliding",
    )  # fmt: skip
    assert (code, error) == (0, "")
    back = read_deck(out)
    assert {"FEMORAL_HEAD", "GREATER_TROCHANTER", "DISTAL_SHAFT"} <= set(back.node_sets)
    text = out.read_text().split("*BOUNDARY\n")[1].split("*")[0]
    rows = [row.split(",") for row in text.splitlines()]
    moved = {(axis, float(value)) for _, axis, _, value in rows if float(value)}
    assert moved in ({("1", 1.0)}, {("1", -1.0)})
    count = sum(bool(float(value)) for *_, value in rows)
    assert count == len(back.node_sets["FEMORAL_HEAD"])
    assert "load case sideways_fall" in out.read_text()


def test_a_load_that_a_deck_cannot_hold_is_named(
    finished: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    for words, said in (
        (("--load", "falling"), "falling"),
        (("--load", "endplate_compression"), "endplate_compression is for a vertebra"),
        (("--distal", "sliding"), "--distal goes with --load NAME"),
        (("--no-load", "--load", "sideways_fall"), "--no-load without"),
    ):
        code, _, error = command("export", finished, tmp_path / "x.inp", "--tetra", *words)
        assert code == 2
        assert said in error
        assert not (tmp_path / "x.inp").exists()


def test_an_unfinished_run_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "density.nii.gz").unlink()
    with pytest.raises(InputError, match="no finished stage 'density'"):
        export_run(folder, tmp_path / "run.inp")
    with pytest.raises(InputError, match="is not a run folder"):
        export_run(tmp_path, tmp_path / "run.inp")
    with pytest.raises(InputError, match=r"can't write a deck as 'run.xyz'; known: .inp, .cdb"):
        export_run(folder, tmp_path / "run.xyz")

import re
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.decks import _check_bins, bin_moduli, export_deck, export_mesh, write_calculix
from bonekit.fem.model import Constraint, Load, Model
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

MIRROR = np.diag([-1.0, 1.0, 1.0])


def bar(direction: np.ndarray | None = None) -> VoxelMesh:
    region = np.ones((2, 2, 20), dtype=np.uint8)
    region[:, :, 5:8] = 3
    grid = Grid.of(region.shape, 1 / 3, (-123.456789, 1e-7, 1234.5), direction)
    return VoxelMesh(region, grid, {1: "cortex", 3: "lesion"})


def sections(path: Path) -> dict[str, list[list[float]]]:
    """Rows of numbers under each keyword line."""
    found: dict[str, list[list[float]]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("**"):
            continue
        if line.startswith("*"):
            rows = found.setdefault(line, [])
        elif re.fullmatch(r"[-+0-9.e, ]+", line):
            rows.append([float(x) for x in line.rstrip(",").split(",")])
    return found


def test_bins_keep_the_gap_and_the_mean() -> None:
    E = np.random.default_rng(3).uniform(10, 20_000, 5000)
    bins = bin_moduli(E, 100.0)
    for number, modulus in enumerate(bins.E_MPa):
        members = E[bins.material == number]
        assert np.ptp(members) <= 100.0
        assert modulus == pytest.approx(members.mean())
    assert (np.diff(bins.E_MPa) < 0).all()
    assert len(bins.E_MPa) < 210
    assert bins.largest_error == pytest.approx(np.abs(bins.E_MPa[bins.material] / E - 1).max())
    exact = bin_moduli(np.array([5.0, 7.0, 5.0]), 0.0)
    assert exact.E_MPa.tolist() == [7.0, 5.0]
    assert exact.material.tolist() == [1, 0, 1]


def test_bins_may_take_their_largest_modulus() -> None:
    E = np.random.default_rng(5).uniform(10, 20_000, 5000)
    mean, largest = (bin_moduli(E, 100.0, of) for of in ("mean", "max"))
    np.testing.assert_array_equal(largest.material, mean.material)
    for number, modulus in enumerate(largest.E_MPa):
        assert modulus == E[largest.material == number].max()
    assert (largest.E_MPa[largest.material] >= E).all()
    assert largest.mean_error > 1.5 * mean.mean_error
    with pytest.raises(InputError, match="mean or max, got 'min'"):
        bin_moduli(E, 100.0, "min")


@pytest.mark.parametrize("representative", ["mean", "max"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_materials_and_moduli_are_numbered_alike(shift: int, representative: str) -> None:
    """A known defect: bins counted from 1, the table of moduli from 0."""
    E = np.random.default_rng(6).uniform(10, 20_000, 5000)
    bins = bin_moduli(E, 50.0, representative)
    np.testing.assert_array_equal(np.unique(bins.material), np.arange(len(bins.E_MPa)))
    assert np.abs(bins.E_MPa[bins.material] - E).max() <= 50.0
    wrong = np.clip(bins.material + shift, 0, len(bins.E_MPa) - 1)
    with pytest.raises(AssertionError, match="without elements"):
        _check_bins(wrong, bins.E_MPa, E, 50.0)
    one_off = bins.E_MPa + shift * 60.0
    with pytest.raises(AssertionError, match="modulus of another material"):
        _check_bins(bins.material, one_off, E, 50.0)


def test_deck_holds_the_mesh_and_every_modulus(tmp_path: Path) -> None:
    mesh, path = bar(), tmp_path / "bar.inp"
    E = np.random.default_rng(4).uniform(100, 5000, mesh.n_elements)
    bins = export_mesh(mesh, E, 0.3, path, bins_MPa=200.0)
    deck = sections(path)
    nodes = np.array(deck["*NODE, NSET=NALL"])
    np.testing.assert_array_equal(nodes[:, 0], np.arange(mesh.n_nodes) + 1)
    np.testing.assert_allclose(nodes[:, 1:], mesh.nodes_mm, rtol=1e-12)
    elements = np.array(deck["*ELEMENT, TYPE=C3D8, ELSET=EALL"])
    np.testing.assert_array_equal(elements[:, 1:] - 1, mesh.elements)
    written = np.zeros(mesh.n_elements)
    pattern = r"\*ELSET, ELSET=(MAT\d+)\n([\d,\n]+)\*MATERIAL, NAME=\1\n\*ELASTIC\n([^,]+),"
    materials = re.findall(pattern, path.read_text())
    for _, members, modulus in materials:
        index = np.array(re.findall(r"\d+", members), dtype=int) - 1
        assert (written[index] == 0).all()
        written[index] = float(modulus)
    assert len(materials) == len(bins.E_MPa)
    np.testing.assert_allclose(written, bins.E_MPa[bins.material], rtol=1e-12)
    lesion = [int(n) - 1 for row in deck["*ELSET, ELSET=R_LESION"] for n in row]
    np.testing.assert_array_equal(lesion, np.flatnonzero(mesh.element_region == 3))
    assert "*STEP" not in path.read_text()


def test_numbers_and_lines_are_short_enough(tmp_path: Path) -> None:
    path = tmp_path / "bar.inp"
    mesh = bar()
    export_mesh(mesh, np.full(mesh.n_elements, 1 / 3), 0.3, path)
    for line in path.read_text().splitlines():
        if not line.startswith("*"):
            assert max(map(len, line.split(","))) <= 20
            assert len(line.split(",")) <= 16


def test_step_adds_forces_up_and_prescribes_components(tmp_path: Path) -> None:
    mesh, path = bar(), tmp_path / "bar.inp"
    ends = np.array([0, 20])
    model = Model(
        mesh,
        np.full(mesh.n_elements, 1000.0),
        0.3,
        (Constraint("distal shaft", ends, (0, 2), np.array([[0.1, 0.2], [0.3, 0.4]])),),
        (
            Load("head", np.array([7, 7, 9]), np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 5]])),
            Load("muscle", np.array([7]), np.array([[10.0, 0, -1]])),
        ),
    )
    export_deck(model, path)
    deck = sections(path)
    held = {(1, 1, 1, 0.1), (1, 3, 3, 0.2), (21, 1, 1, 0.3), (21, 3, 3, 0.4)}
    assert {tuple(row) for row in deck["*BOUNDARY"]} == held
    assert {tuple(row) for row in deck["*CLOAD"]} == {(8, 1, 13), (8, 3, -1), (10, 3, 5)}
    assert deck["*NSET, NSET=DISTAL_SHAFT"] == [[1, 21]]


@pytest.mark.parametrize("direction", [MIRROR, np.eye(3)[[1, 2, 0]]], ids=["mirror", "turned"])
def test_model_is_written_in_mesh_axes(tmp_path: Path, direction: np.ndarray) -> None:
    mesh, path = bar(direction), tmp_path / "bar.inp"
    hold = Constraint("hold", np.array([0, 1, 2]))
    export_deck(Model(mesh, np.ones(mesh.n_elements), 0.3, (hold,)), path)
    nodes = np.array(sections(path)["*NODE, NSET=NALL"])[:, 1:]
    np.testing.assert_allclose(nodes @ direction.T, mesh.nodes_mm, rtol=1e-11, atol=1e-9)
    assert np.ptp(nodes[:, 2]) == pytest.approx(20 / 3)
    assert ("mirrored" in path.read_text()) == (np.linalg.det(direction) < 0)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    mesh, path = bar(MIRROR), tmp_path / "bar.inp"
    E = np.ones(mesh.n_elements)
    nodes, elements = mesh.nodes_mm, mesh.world_elements
    with pytest.raises(InputError, match=r"inverted.*world_elements"):
        write_calculix(nodes, mesh.elements, E, 0.3, path)
    with pytest.raises(InputError, match="1 of 80 moduli"):
        write_calculix(nodes, elements, np.where(np.arange(80) == 3, np.nan, 1.0), 0.3, path)
    with pytest.raises(InputError, match="Poisson"):
        write_calculix(nodes, elements, E, 0.5, path)
    with pytest.raises(InputError, match="moduli for"):
        write_calculix(nodes, elements, E[1:], 0.3, path)
    twice = (Constraint("a b", np.array([0])), Constraint("A_B", np.array([1])))
    with pytest.raises(InputError, match="clash"):
        write_calculix(nodes, elements, E, 0.3, path, twice)
    close = 1000 + np.arange(80) * 1e-12
    with pytest.raises(InputError, match="same modulus"):
        write_calculix(nodes, elements, close, 0.3, path, bins_MPa=0.0)
    assert not list(tmp_path.iterdir())

"""Integrating the modulus over elements, against closed forms."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.mapping import element_modulus
from bonekit.fem.materials import LAWS, Law, Power, elasticity
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import sample_elements

EDGE = 4.0
TURNS = [np.eye(3), Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()]
RAMP = Law("ramp", DensityKind.ASH, (Power(1.0, 2.29),), 1e-9, 1.0, "notes", "none")
ASH = DensityKind.ASH


def mesh_of(n: int = 1, direction: np.ndarray = TURNS[0]) -> VoxelMesh:
    """A row of bricks whose first has its corner at the world's origin."""
    grid = Grid.of((n, 1, 1), EDGE, direction @ np.full(3, EDGE / 2), direction)
    return VoxelMesh(np.ones((n, 1, 1), dtype=np.uint8), grid, {1: "trabecular"}, 0)


def image_of(field, turn: np.ndarray = TURNS[0], kind: DensityKind = ASH) -> DensityImage:
    """A density of the world's points on a grid with axes of its own."""
    grid = Grid.of((27, 26, 25), (1.0, 1.1, 1.3), turn @ np.full(3, -14.0), turn)
    return DensityImage(np.asarray(field(grid.points()), dtype=np.float32), grid, kind)


@pytest.mark.parametrize("of_mesh", TURNS, ids=["straight", "turned"])
@pytest.mark.parametrize("of_image", TURNS, ids=["straight", "turned"])
def test_a_ramp_from_0_to_1_in_one_element(of_mesh: np.ndarray, of_image: np.ndarray) -> None:
    mesh = mesh_of(1, of_mesh)
    image = image_of(lambda points: points @ of_mesh[:, 0] / EDGE, of_image)
    density = sample_elements(image, mesh)
    of_density = elasticity(density, ASH, RAMP).E_MPa
    assert of_density == pytest.approx(0.204476, rel=1e-5)  # 0.5 ** 2.29
    errors = []
    for n in (2, 4, 8, 16):
        made = element_modulus(image, mesh, RAMP, points_per_edge=n)
        errors.append(float(made.E_MPa[0]) - 1 / 3.29)
        assert made.mapping == "modulus"
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4.0, atol=0.25)
    assert abs(errors[-1]) < 5e-4
    extrapolated = made.E_MPa[0] + (errors[-2] - errors[-1]) / -3
    assert extrapolated == pytest.approx(0.303951, abs=2e-6)
    assert extrapolated / of_density == pytest.approx(1.4865, rel=1e-3)


def test_both_mappings_agree_where_the_density_is_even() -> None:
    law, mesh = LAWS["keyak_2005"], mesh_of(2)
    image = image_of(lambda points: np.full(points.shape[:-1], 0.4))
    made = element_modulus(image, mesh, law)
    np.testing.assert_allclose(made.E_MPa, [2710.3, 2710.3], rtol=1e-5)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (0, 0, None)


@pytest.mark.parametrize(
    ("law", "E_MPa"),
    [("kopperdahl_2002_linear", -34.7 + 3230 * 0.3), ("keyak_2005", 14900 * 0.3569**1.86)],
)
def test_a_law_gets_the_density_it_asks_for(law: str, E_MPa: float) -> None:
    image = image_of(lambda points: np.full(points.shape[:-1], 0.3), kind=DensityKind.K2HPO4)
    assert element_modulus(image, mesh_of(), LAWS[law]).E_MPa == pytest.approx(E_MPa, rel=1e-5)


def test_only_points_in_the_mask_count() -> None:
    image = image_of(lambda points: np.where(points[..., 0] < 1.5, 0.5, -0.1))
    mask = LabelMap((image.array > 0).astype(np.uint8), image.grid, {1: "bone"})
    straddling = mesh_of()
    inside = element_modulus(image, straddling, RAMP, mask, points_per_edge=4)
    assert inside.n_floor == 0
    everywhere = element_modulus(image, straddling, RAMP, points_per_edge=4)
    assert everywhere.n_floor == 1
    assert 0 < everywhere.E_MPa[0] < inside.E_MPa[0] <= 0.5**2.29 + 1e-7


def test_elements_with_any_point_moved_or_extrapolated_are_counted() -> None:
    law = Law("narrow", ASH, (Power(1.0),), 0.2, 0.9, "here", "none", valid=(0.4, 0.7))
    image = image_of(lambda points: points[..., 0] / 10)
    made = element_modulus(image, mesh_of(3), law, points_per_edge=4)
    # points from 0.05 to 0.35, 0.45 to 0.75, 0.85 to 1.15
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (1, 1, 3)
    np.testing.assert_allclose(made.E_MPa, [0.25, 0.6, 0.8875], rtol=1e-5)


def test_many_bricks_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(lambda points: 0.4 + points[..., 0] / 40)
    law = LAWS["keyak_2005"]
    at_once = element_modulus(image, mesh_of(3), law)
    monkeypatch.setattr("bonekit.meshing.voxelise.CHUNK", 1)
    np.testing.assert_array_equal(element_modulus(image, mesh_of(3), law).E_MPa, at_once.E_MPa)


def test_what_can_not_be_integrated_is_refused() -> None:
    image, law = image_of(lambda points: points[..., 0]), LAWS["keyak_2005"]
    with pytest.raises(InputError, match="5 of 9 bricks lie outside the image"):
        element_modulus(image_of(lambda p: p[..., 0] * 0 + 1), mesh_of(9), law)
    with pytest.raises(InputError, match="points_per_edge must be 1 or more, got 0"):
        element_modulus(image, mesh_of(), law, points_per_edge=0)
    for bad in (np.nan, np.inf):
        broken = image_of(lambda points, bad=bad: np.where(points[..., 0] > 5, bad, 0.5))
        with pytest.raises(InputError, match="not finite in 1 of 2 bricks"):
            element_modulus(broken, mesh_of(2), law)
    liquid = image_of(lambda points: points[..., 0], kind=DensityKind.K2HPO4)
    with pytest.raises(InputError, match="no published line turns k2hpo4 density into apparent"):
        element_modulus(liquid, mesh_of(), LAWS["morgan_2003_vertebra"])

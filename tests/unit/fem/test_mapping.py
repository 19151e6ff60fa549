"""Integrating the modulus over elements, against closed forms."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.mapping import MAPPINGS, Mapping, element_modulus
from bonekit.fem.materials import LAWS, Law, Power, elasticity
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.sampling import sample_elements
from bonekit.meshing.voxel import VoxelMesh

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
    made = element_modulus(image, mesh, RAMP, points_per_edge=8)
    assert made.E_MPa == pytest.approx(0.303951, rel=1e-5)  # 1 / 3.29
    assert made.mapping == "modulus"
    V2 = element_modulus(image, mesh, RAMP, how="density")
    assert V2.E_MPa == pytest.approx(of_density, rel=1e-5)
    assert V2.mapping == "density"


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


def test_what_is_beyond_the_mask_does_not_count() -> None:
    image = image_of(lambda points: np.where(points[..., 0] < 1.5, 0.5, -0.1))
    mask = LabelMap((image.array > 0).astype(np.uint8), image.grid, {1: "bone"})
    straddling = mesh_of()
    inside = element_modulus(image, straddling, RAMP, mask)
    assert inside.n_floor == 0
    assert inside.E_MPa == pytest.approx(0.5**2.29, rel=1e-5)
    everywhere = element_modulus(image, straddling, RAMP)
    assert everywhere.n_floor == 1
    assert 0 < everywhere.E_MPa[0] < 0.6 * inside.E_MPa[0]


@pytest.mark.parametrize(
    ("how", "counted", "E_MPa"),
    [
        ("modulus", (1, 1, 3), [0.25, 0.6, 0.8875]),
        ("density", (0, 1, 2), [0.2, 0.6, 0.9]),
        ("centroid", (0, 1, 2), [0.2, 0.6, 0.9]),
        ("nodal", (1, 1, 3), [0.3, 0.6, 0.85]),
    ],
)
def test_elements_moved_or_extrapolated_are_counted(how, counted, E_MPa: list[float]) -> None:
    """At any density that the law was given: 0 to 0.4, 0.4 to 0.8, 0.8 to 1.2 (g/cm3)."""
    law = Law("narrow", ASH, (Power(1.0),), 0.2, 0.9, "here", "none", valid=(0.41, 0.7))
    image = image_of(lambda points: points[..., 0] / 10 + 1e-6)
    made = element_modulus(image, mesh_of(3), law, how=how, points_per_edge=16)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == counted
    np.testing.assert_allclose(made.E_MPa, E_MPa, rtol=1e-3)


def test_many_bricks_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(lambda points: 0.4 + points[..., 0] / 40)
    law = LAWS["keyak_2005"]
    at_once = element_modulus(image, mesh_of(3), law)
    monkeypatch.setattr("bonekit.meshing.sampling.CHUNK", 1)
    np.testing.assert_array_equal(element_modulus(image, mesh_of(3), law).E_MPa, at_once.E_MPa)


@pytest.mark.parametrize("how", MAPPINGS)
def test_outside_and_nan_are_refused_whatever_the_mapping(how: Mapping) -> None:
    law = LAWS["keyak_2005"]
    found = (
        r"6 of 9 .*first: 3, 4, 5, 6, 7, \.\.\.\)" if how == "centroid" else r"5 of 9 .*first: 4, 5"
    )
    with pytest.raises(InputError, match=found):
        element_modulus(image_of(lambda p: p[..., 0] * 0 + 1), mesh_of(9), law, how=how)
    for bad in (np.nan, np.inf):
        broken = image_of(lambda points, bad=bad: np.where(points[..., 0] > 5, bad, 0.5))
        with pytest.raises(InputError, match=r"not finite in 1 of 2 elements \(first: 1\)"):
            element_modulus(broken, mesh_of(2), law, how=how)


def test_what_can_not_be_integrated_is_refused() -> None:
    image, law = image_of(lambda points: points[..., 0]), LAWS["keyak_2005"]
    with pytest.raises(InputError, match="points_per_edge must be 1 or more, got 0"):
        element_modulus(image, mesh_of(), law, points_per_edge=0)
    with pytest.raises(InputError, match=r"no mapping 'best'; known: modulus, density"):
        element_modulus(image, mesh_of(), law, how="best")
    liquid = image_of(lambda points: points[..., 0], kind=DensityKind.K2HPO4)
    with pytest.raises(InputError, match="no published line turns k2hpo4 density into apparent"):
        element_modulus(liquid, mesh_of(), LAWS["morgan_2003_vertebra"])

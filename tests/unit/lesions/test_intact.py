"""A bone without its lesions, on bones whose healthy state is known."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.lesions import intact
from bonekit.phantom import LesionParameters, Phantom, femur_phantom, vertebra_phantom
from bonekit.segmentation.base import REGIONS

GRID = Grid.of((40, 40, 40), 1.0)
X, Y, Z = np.moveaxis(GRID.points() - 19.5, -1, 0)
RADIUS = np.hypot(X, Y)
SHELL, CORE = 1.2, 0.25


def tube(lesion: np.ndarray) -> tuple[LabelMap, DensityImage, np.ndarray]:
    """Column of radius 16 mm with a cortex of 4 mm; what is in the lesion is gone."""
    bone, cortex = RADIUS < 16, (RADIUS < 16) & (RADIUS >= 12)
    healthy = np.where(cortex, SHELL, np.where(bone, CORE, 0.0))
    labels = np.where(cortex, 1, np.where(bone, 2, 0))
    labels[lesion & bone] = 3
    ash = np.where(lesion, 0.0, healthy).astype(np.float32)
    image = DensityImage(ash, GRID, DensityKind.ASH)
    return LabelMap(labels.astype(np.uint8), GRID, dict(REGIONS)), image, healthy


def test_a_hole_through_cortex_and_core_is_filled_with_both() -> None:
    hole = np.sqrt((X - 12) ** 2 + Y**2 + Z**2) < 7
    labels, image, healthy = tube(hole)
    made = intact(labels, image)
    was = healthy[hole & (RADIUS < 16)]
    now = made.density.array[hole & (RADIUS < 16)]
    assert now.mean() == pytest.approx(was.mean(), rel=0.03)
    layers = np.abs(RADIUS - 12) > 2.0  # depth is known to a voxel: the border may be mixed
    inside = hole & (RADIUS < 15) & layers
    np.testing.assert_allclose(made.density.array[inside], healthy[inside], atol=0.1)
    np.testing.assert_array_equal(made.labels.array[inside] == 1, healthy[inside] == SHELL)
    assert 3 not in made.labels.array
    assert ((made.labels.array > 0) == (labels.array > 0)).all()


def test_nothing_changes_away_from_the_lesion() -> None:
    hole = np.sqrt((X - 12) ** 2 + Y**2 + Z**2) < 7
    labels, image, _ = tube(hole)
    made = intact(labels, image, rim_mm=3.0)
    far = np.sqrt((X - 12) ** 2 + Y**2 + Z**2) > 10.5
    np.testing.assert_array_equal(made.density.array[far], image.array[far])
    assert not made.filled[far].any()
    assert made.filled[hole & (RADIUS < 16)].all()


def test_a_bone_without_a_lesion_stays_what_it_is() -> None:
    labels, image, _ = tube(np.zeros(GRID.shape, dtype=bool))
    made = intact(labels, image)
    assert made.density is image
    assert made.labels is labels


def healthy_and_ill(kind: str, site: str, radius_mm: float) -> tuple[Phantom, Phantom]:
    make = vertebra_phantom if site == "body" else femur_phantom
    lesion = LesionParameters(kind=kind, site=site, radii_mm=(radius_mm,) * 3)
    return make(seed=3), make(lesion=lesion, seed=3)


@pytest.mark.parametrize(
    ("kind", "site", "radius_mm"), [("lytic", "neck", 9.0), ("blastic", "body", 10.0)]
)
def test_filled_phantom_is_like_the_healthy_one(kind: str, site: str, radius_mm: float) -> None:
    """Mineral of the filled part within 6 % of the healthy bone's; the lesion's is far off."""
    healthy, ill = healthy_and_ill(kind, site, radius_mm)
    made = intact(ill.labels, ill.density)
    was = healthy.density.array[made.filled].mean()
    ill_mean = ill.density.array[made.filled].mean()
    assert abs(ill_mean / was - 1) > 0.25
    assert made.density.array[made.filled].mean() == pytest.approx(was, rel=0.06)


def test_other_grids_and_other_densities_are_refused() -> None:
    labels, image, _ = tube(RADIUS < 3)
    moved = Grid.of((40, 40, 40), 1.0, (0.0, 0.0, 1.0))
    with pytest.raises(InputError, match="different grids"):
        intact(replace(labels, grid=moved), image)
    everything = labels.with_array(np.where(labels.array > 0, 3, 0).astype(np.uint8))
    with pytest.raises(InputError, match="no healthy bone"):
        intact(everything, image)


def test_depths_without_healthy_bone_are_filled_by_the_nearest_depth() -> None:
    """A lesion takes all of the deepest bone, as in the middle of a vertebral body."""
    ball = np.sqrt(X**2 + Y**2 + Z**2)
    bone, cortex, lesion = ball < 18, (ball < 18) & (ball >= 16), ball < 13
    labels = np.where(lesion, 3, np.where(cortex, 1, np.where(bone, 2, 0))).astype(np.uint8)
    ash = np.where(lesion, 0.0, np.where(cortex, SHELL, np.where(bone, CORE, 0.0)))
    image = DensityImage(ash, GRID, DensityKind.ASH)
    made = intact(LabelMap(labels, GRID, dict(REGIONS)), image, rim_mm=1.0)
    np.testing.assert_allclose(made.density.array[lesion], CORE, atol=1e-6)
    assert set(np.unique(made.labels.array[lesion])) == {2}

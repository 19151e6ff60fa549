"""Destroyed cortex on a shaft whose holes are cut by hand, in a turned image."""

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.image.volume import Grid, LabelMap
from bonekit.lesions import Cortical, cortical_involvement, intact
from bonekit.segmentation.base import REGIONS

AXIS = np.array([0.1, -0.2, 1.0]) / np.linalg.norm([0.1, -0.2, 1.0])  # of the shaft, not the grid's
MEDIAL = np.cross([0.0, 1.0, 0.0], AXIS)
MEDIAL /= np.linalg.norm(MEDIAL)
TURN = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
GRID = Grid.of((90, 44, 44), (1.0, 1.0, 1.0), (22.0, -22.0, 45.0), TURN)
OUTER, INNER = 14.0, 9.0
ANATOMY = FemurAnatomy(
    side="right",
    head_centre_mm=130.0 * AXIS + 45.0 * MEDIAL,
    head_radius_mm=23.0,
    neck_axis=(-MEDIAL - AXIS) / np.sqrt(2.0),
    shaft_point_mm=-45.0 * AXIS,
    shaft_axis=AXIS,
    distal_mm=0.0,
    flare_mm=90.0,
    section_mm2=np.pi * OUTER**2,
)
POINTS = GRID.points()
HEIGHT = POINTS @ AXIS
X, Y = POINTS @ MEDIAL, POINTS @ np.cross(AXIS, MEDIAL)
RADIUS, ANGLE = np.hypot(X, Y), np.degrees(np.arctan2(Y, X))
BONE, CORTEX = RADIUS < OUTER, (RADIUS < OUTER) & (RADIUS >= INNER)


def measured(hole: np.ndarray) -> Cortical:
    labels = np.where(CORTEX, 1, np.where(BONE, 2, 0))
    lesion = hole & BONE
    labels[lesion] = 3
    ash = np.where(lesion, 0.02, np.where(CORTEX, 1.1, np.where(BONE, 0.2, 0.0)))
    image = DensityImage(ash, GRID, DensityKind.ASH)
    table = LabelMap(labels.astype(np.uint8), GRID, dict(REGIONS))
    return cortical_involvement(lesion, table, intact(table, image), ANATOMY)


@pytest.mark.parametrize(("length_mm", "sector_deg"), [(35.0, 90.0), (20.0, 180.0)])
def test_a_window_in_the_cortex(length_mm: float, sector_deg: float) -> None:
    found = measured(CORTEX & (np.abs(HEIGHT) < length_mm / 2) & (np.abs(ANGLE) < sector_deg / 2))
    assert found.axial_mm == pytest.approx(length_mm, abs=0.8)
    assert found.circumference == pytest.approx(sector_deg / 360.0, abs=0.04)
    assert found.error_mm == 2.0


def test_a_lesion_of_the_canal_takes_no_cortex() -> None:
    found = measured((RADIUS < INNER - 3.0) & (np.abs(HEIGHT) < 20.0))
    assert (found.axial_mm, found.circumference) == (0.0, 0.0)
    assert found.width == pytest.approx((INNER - 3.0) / OUTER, abs=0.04)


def test_scalloping_of_less_than_half_of_the_cortex_is_length_but_no_circumference() -> None:
    found = measured((RADIUS < INNER + 1.5) & (np.abs(HEIGHT) < 12.0))
    assert found.axial_mm == pytest.approx(24.0, abs=found.error_mm)
    assert found.circumference == 0.0


def test_a_ring_takes_all_of_the_circumference_and_of_the_width() -> None:
    found = measured(BONE & (np.abs(HEIGHT) < 8.0))
    assert found.circumference == 1.0
    assert found.width == pytest.approx(1.0, abs=0.01)
    assert found.axial_mm == pytest.approx(16.0, abs=found.error_mm)


def test_the_larger_of_two_holes_counts_and_not_both() -> None:
    """A lesion of the canal that breaks through at two heights."""
    canal = (RADIUS < 6.0) & (np.abs(HEIGHT) < 30.0)
    tunnel = (np.abs(Y) < 4.0) & (X > 0)
    low = tunnel & (HEIGHT > -28.0) & (HEIGHT < -18.0)
    high = tunnel & (HEIGHT > 0.0) & (HEIGHT < 20.0)
    assert measured(canal | low | high).axial_mm == pytest.approx(20.0, abs=2.0)

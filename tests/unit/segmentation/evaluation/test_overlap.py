"""Overlap, surfaces and volumes of cubes, by hand."""

import numpy as np
import pytest

from bonekit.segmentation.evaluation.overlap import overlap

ONE = np.ones(3)


def cube(low: tuple[int, int, int], size: tuple[int, int, int] = (10, 10, 10)) -> np.ndarray:
    mask = np.zeros((24, 24, 24), bool)
    mask[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = True
    return mask


def test_identity() -> None:
    mask = cube((6, 6, 6))
    values = overlap(mask, mask, ONE, 0.0)
    assert values["dice"] == values["nsd"] == 1.0
    assert values["hd95_mm"] == values["volume_error_ml"] == values["volume_error_percent"] == 0.0
    assert values["volume_reference_ml"] == pytest.approx(1.0)


def test_dice_and_volume_of_a_shifted_cube() -> None:
    values = overlap(cube((4, 6, 6)), cube((8, 6, 6)), np.array([1.0, 2.0, 0.5]), 1.0)
    assert values["dice"] == pytest.approx(0.6)  # 600 of 1000 voxels in common
    assert values["volume_error_ml"] == 0.0


def test_a_thicker_slab_has_the_volume_and_distance_of_its_thickness() -> None:
    thin, thick = cube((2, 2, 8), (20, 20, 4)), cube((2, 2, 8), (20, 20, 7))
    values = overlap(thin, thick, np.array([1.0, 1.0, 2.0]), 1.0)
    assert values["volume_reference_ml"] == pytest.approx(3.2)
    assert values["volume_error_ml"] == pytest.approx(2.4)
    assert values["volume_error_percent"] == pytest.approx(75.0)
    assert values["dice"] == pytest.approx(2 * 1600 / (1600 + 2800))
    assert values["hd95_mm"] == pytest.approx(6.0)  # three slices of 2 mm


def test_surface_share_by_hand() -> None:
    # Shifted by 4 along x, of each cube lie within 1 mm of the other: four sides of 10 by 7 mm
    # (6 shared and 1 beyond), and of the end inside the other a rim of 1 mm. Surface elements
    # are 1 mm wide and count by their middle, which makes it 7.5 mm and a rim of 1.5 mm.
    values = overlap(cube((4, 6, 6)), cube((8, 6, 6)), ONE, 1.0)
    by_hand = (4 * 10 * 7.5 + 10**2 - 7**2) / 600
    assert values["nsd"] == pytest.approx(by_hand, abs=0.003)  # edges of the cubes are bevelled
    assert values["hd95_mm"] == pytest.approx(4.0)


def test_tolerance_and_spacing_are_in_mm() -> None:
    one, other = cube((4, 6, 6)), cube((5, 6, 6))
    assert overlap(one, other, np.array([3.0, 1.0, 1.0]), 2.9)["nsd"] < 0.9
    assert overlap(one, other, np.array([3.0, 1.0, 1.0]), 3.0)["nsd"] == 1.0
    assert overlap(one, other, np.array([1.1, 1.0, 1.0]), 1.1)["nsd"] == 1.0  # float32 is larger
    assert overlap(one, other, np.array([3.0, 1.0, 1.0]), 1.0)["hd95_mm"] == pytest.approx(3.0)


def test_a_region_at_the_border_of_the_image_has_a_surface_there() -> None:
    whole = np.ones((8, 8, 8), bool)
    part = whole.copy()
    part[0] = False
    values = overlap(whole, part, ONE, 0.5)
    assert values["hd95_mm"] == pytest.approx(1.0)
    assert 0.5 < values["nsd"] < 0.95


@pytest.mark.parametrize(
    ("reference", "prediction", "dice", "nsd", "hd95_mm", "percent"),
    [
        (False, False, 1.0, 1.0, 0.0, 0.0),
        (True, False, 0.0, 0.0, 24 * 3**0.5, -100.0),
        (False, True, 0.0, 0.0, 24 * 3**0.5, np.nan),
    ],
)
def test_empty_regions(
    reference: bool, prediction: bool, dice: float, nsd: float, hd95_mm: float, percent: float
) -> None:
    mask, nothing = cube((6, 6, 6)), np.zeros((24, 24, 24), bool)
    values = overlap(mask if reference else nothing, mask if prediction else nothing, ONE, 1.0)
    assert values["dice"] == dice
    assert values["nsd"] == nsd
    assert values["hd95_mm"] == pytest.approx(hd95_mm)
    assert values["volume_error_percent"] == pytest.approx(percent, nan_ok=True)
    assert values["volume_error_ml"] == pytest.approx(float(prediction) - float(reference))

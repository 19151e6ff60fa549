"""Rods are found in a scan and measured; what can't be measured is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bonekit.calibration import calibrate, find_rods, user_table
from bonekit.density import DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Grid, Image
from bonekit.phantom import BodyParameters, ScannerParameters, femur_phantom

DENSITIES = (0.0, 0.05, 0.1, 0.2, 0.4)
TABLE = user_table(DENSITIES, DensityKind.K2HPO4)
# A rod of K2HPO4 looks like ash of 1.06 rho + 0.0389, which shows -30 + 1330 ash HU.
SLOPE = 1 / (1330 * 1.06)
INTERCEPT = (30 - 1330 * 0.0389) * SLOPE


def check_line(fit_slope: float, fit_intercept: float, errors: tuple[float, float]) -> None:
    assert abs(fit_slope - SLOPE) < 3 * errors[0] < 0.02 * SLOPE
    assert abs(fit_intercept - INTERCEPT) < 3 * errors[1] < 0.005


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise_HU": 40.0, "seed": 1},
        {"tilt": (0.08, 0.05), "seed": 2},
        {"bend_mm": 5.0, "shift_mm": (4.0, 4.0), "seed": 3},
        {"pad_HU": -950.0, "seed": 4},
        {"spacing_mm": (0.75, 1.0, 2.5), "seed": 5},
        {"radius_mm": 6.0, "pitch_mm": 20.0, "seed": 6},
    ],
    ids=["plain", "noise", "tilt", "bend", "air", "fine", "thin"],
)
@pytest.mark.parametrize("known", [True, False], ids=["given", "sought"])
def test_rods_are_found_and_give_the_true_line(scene: Any, changes: dict, known: bool) -> None:
    scene = scene(**changes)
    rods = find_rods(scene.scan(), 5, 2 * scene.radius_mm if known else None)
    tilt = np.array([*scene.tilt, 1.0])
    for n, rod in enumerate(rods):
        assert np.hypot(*np.subtract(rod.centre_mm[:2], scene.axis(n))) < 0.4
        np.testing.assert_allclose(rod.axis, tilt / np.linalg.norm(tilt), atol=0.01)
        assert rod.mean_HU == pytest.approx(scene.hu[n], abs=0.12 * scene.noise_HU)
        assert rod.std_HU == pytest.approx(scene.noise_HU, rel=0.15)
        assert rod.diameter_mm == pytest.approx(2 * scene.radius_mm, abs=2)
    fit = calibrate(rods, TABLE)
    check_line(fit.slope, fit.intercept, (fit.slope_error, fit.intercept_error))
    assert fit.r2 > 0.9995
    assert not fit.reversed


def test_the_core_is_free_of_partial_volume(scene: Any) -> None:
    rods = find_rods(scene(noise_HU=0.0).scan(), 5, 16.0)
    np.testing.assert_allclose([rod.mean_HU for rod in rods], scene().hu, atol=0.6)


def test_rods_under_a_femur() -> None:
    body = BodyParameters(rods_g_cm3=DENSITIES[::-1], table=True)
    made = femur_phantom(body=body, scanner=ScannerParameters(spacing_mm=(1.5, 1.5, 6.0)))
    fit = calibrate(find_rods(made.ct, 5), TABLE)
    for rod, true in zip(fit.rods, made.truth["rods"], strict=True):
        assert np.hypot(*np.subtract(rod.centre_mm, true["point_mm"])[:2]) < 0.3
    check_line(fit.slope, fit.intercept, (fit.slope_error, fit.intercept_error))
    assert fit.reversed
    assert fit.densities_g_cm3 == DENSITIES[::-1]


def test_the_storage_order_of_the_voxels_does_not_matter(scene: Any) -> None:
    ct = scene(tilt=(0.05, 0.0)).scan()
    affine = ct.affine.copy()
    affine[:3, 3] = ct.grid.world([ct.shape[0] - 1, 0, ct.shape[2] - 1])
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    array = ct.array[::-1, :, ::-1].transpose(2, 0, 1)
    stored = Image(array, Grid(array.shape, affine[:, [2, 0, 1, 3]]))
    assert find_rods(stored, 5, 16.0) == find_rods(ct, 5, 16.0)


# what can't be measured is refused


def test_no_rods(scene: Any) -> None:
    with pytest.raises(
        CalibrationError, match="found no row of 5 calibration rods beside the patient"
    ):
        find_rods(scene(hu=()).scan(), 5)


def test_fewer_rods_than_asked_for(scene: Any) -> None:
    ct = scene(hu=scene().hu[:3]).scan()
    with pytest.raises(
        CalibrationError, match=r"found 3 of 4 calibration rods behind the patient\. Check"
    ):
        find_rods(ct, 4, 16.0)


def test_more_rods_than_asked_for(scene: Any) -> None:
    with pytest.raises(
        CalibrationError, match="found 5 or more calibration rods where 4 densities"
    ):
        find_rods(scene().scan(), 4, 16.0)


@pytest.mark.parametrize("shift", [20.5, 36.0])
def test_a_rod_cut_by_the_field_of_view(scene: Any, shift: float) -> None:
    ct = scene(shift_mm=(shift, 0.0)).scan()
    with pytest.raises(CalibrationError, match="cut by the field of view"):
        find_rods(ct, 5, 16.0)


def test_a_rod_cut_by_a_round_field_of_view(scene: Any) -> None:
    ct = scene().scan()
    outside = np.hypot(*ct.grid.points()[..., :2].transpose(3, 0, 1, 2)) > 69.5
    ct = ct.with_array(np.where(outside, -1024, ct.array).astype(np.int16))
    with pytest.raises(
        CalibrationError, match=r"rod 1 .* is cut by the field of view .* in 12 of 12 slices"
    ):
        find_rods(ct, 5, 16.0)


def test_a_saturated_rod(scene: Any) -> None:
    with pytest.raises(CalibrationError, match="rod 5 from the patient's right is saturated"):
        find_rods(scene(hu=(*scene().hu[:4], 3071.0)).scan(), 5, 16.0)


def test_rods_pressed_into_the_body(scene: Any) -> None:
    # rods of nearly the HU of muscle, half in it
    scene = scene(hu=(30.0, 55.0, 60.0, 70.0, 90.0), shift_mm=(0.0, -13.0), back_mm=36.0)
    with pytest.raises(
        CalibrationError, match="rod 2 from the patient's right touches or overlaps"
    ):
        find_rods(scene.scan(), 5, 16.0)


def test_voxels_too_large_for_the_rods(scene: Any) -> None:
    with pytest.raises(InputError, match=r"rods of 6 mm can't be measured with voxels of 1.50 mm"):
        find_rods(scene().scan(), 5, 6.0)


def test_one_rod_is_no_phantom(scene: Any) -> None:
    with pytest.raises(InputError, match="a line needs at least 2"):
        find_rods(scene().scan(), 1)

"""From a scan to the line: every known phantom, rods that can't be seen, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bonekit.calibration import TABLES, LineFit, RodTable, calibrate_on_rods, find_rods, user_table
from bonekit.density import DensityKind, apply, density_image
from bonekit.errors import CalibrationError
from bonekit.image.volume import Grid, Image

SLOPE, INTERCEPT = 0.0008, 0.005
BED_MM = 300.0  # radius of a curved table
FIVE = user_table((0.0, 0.05, 0.1, 0.2, 0.4), DensityKind.K2HPO4)
EVEN = user_table((0.05, 0.1, 0.15, 0.2), DensityKind.HA)


def hu_of(table: RodTable) -> tuple[float, ...]:
    """HU that the rods of a table show by the true line."""
    if table.water_g_cm3 is None:
        return tuple((density - INTERCEPT) / SLOPE for density in table.densities_g_cm3)
    # the maker's model, with the line of bone in the body
    sigma, beta = 1e-3 / SLOPE + 0.2174, -INTERCEPT / SLOPE - 999.6
    rods = zip(table.densities_g_cm3, table.water_g_cm3, strict=True)
    return tuple(1000 * water + sigma * 1000 * density + beta for density, water in rods)


def phantom(scene: Any, table: RodTable, **changes: Any) -> Any:
    """Scene with a phantom on a curved table."""
    sagitta = (22.0 * (len(table.densities_g_cm3) - 1)) ** 2 / (8 * BED_MM)
    common = {"hu": hu_of(table), "pitch_mm": 22.0, "radius_mm": 7.0, "bend_mm": sagitta}
    return scene(**common | changes)


def check(fit: LineFit, slope: float = 0.01, intercept: float = 0.003) -> None:
    """Slope and intercept within bounds or, where noise explains more, three standard errors."""
    assert abs(fit.slope / SLOPE - 1) < max(slope, 3 * fit.slope_error / SLOPE) < 0.04
    assert abs(fit.intercept - INTERCEPT) < max(intercept, 3 * fit.intercept_error) < 0.005


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_phantom_on_a_curved_tilted_table_in_noise(scene: Any, name: str) -> None:
    made = phantom(scene, TABLES[name], pad_HU=-200.0, tilt=(0.06, 0.04), noise_HU=20.0)
    fit = calibrate_on_rods(made.scan(), TABLES[name])
    check(fit)
    assert all(rod.seen for rod in fit.rods)
    np.testing.assert_allclose([rod.mean_HU for rod in fit.rods], made.hu, atol=4.0)


@pytest.mark.parametrize(
    ("turn", "back_to_front"),
    [("in front of", False), ("in front of", True), ("left of", True), ("right of", False)],
)
def test_rods_on_any_side_in_any_order(scene: Any, turn: str, back_to_front: bool) -> None:
    hu = hu_of(FIVE)[:: -1 if back_to_front else 1]
    fit = calibrate_on_rods(scene(hu=hu, turn=turn, tilt=(0.03, 0.0)).scan(), FIVE)
    check(fit)
    assert fit.reversed == back_to_front
    assert fit.first == ("right" if turn == "in front of" else "front")


# rods that look like what is around them


@pytest.mark.parametrize(
    ("name", "base_HU", "back_to_front"),
    [
        ("qrm_bdc_6", 0.0, False),
        ("b_mas_200", 0.0, True),
        ("image_analysis_qct_3d_plus", 0.0, False),
        ("image_analysis_qct_3d_plus", 0.0, True),
        ("mindways_model_3", -76.0, False),
    ],
)
def test_the_unseen_first_rod(scene: Any, name: str, base_HU: float, back_to_front: bool) -> None:
    made = phantom(scene, TABLES[name], pad_HU=base_HU, noise_HU=20.0, tilt=(0.05, 0.0))
    made = replace(made, hu=made.hu[:: -1 if back_to_front else 1])
    fit = calibrate_on_rods(made.scan(), TABLES[name])
    check(fit)
    unseen = [n for n, rod in enumerate(fit.rods) if not rod.seen]
    assert unseen == [len(fit.rods) - 1 if back_to_front else 0]
    rod = fit.rods[unseen[0]]
    assert (
        np.hypot(*np.subtract(rod.centre_mm[:2], made.axis(unseen[0]))) < 2.0
    )  # an arc, extrapolated from two
    assert any("can't be told from its surroundings" in remark for remark in fit.remarks)


def test_an_unseen_rod_in_the_middle(scene: Any) -> None:
    table = user_table((0.1, 0.2, 0.0, 0.3, 0.4), DensityKind.HA)
    made = phantom(scene, table, pad_HU=hu_of(table)[2])
    fit = calibrate_on_rods(made.scan(), table)
    check(fit)
    assert [rod.seen for rod in fit.rods] == [True, True, False, True, True]
    with pytest.raises(CalibrationError, match="found "):
        find_rods(made.scan(), 5)


def test_what_is_beside_the_row_is_not_taken_for_a_rod(scene: Any) -> None:
    # four of five are there; the pad where the first should be shows -120 HU, the rod -6
    made = phantom(scene, EVEN, pad_HU=-120.0, shift_mm=(11.0, 0.0))
    table = user_table((0.0, *EVEN.densities_g_cm3), DensityKind.HA)
    with pytest.raises(CalibrationError, match=r"found 4 of 5 .* 11\d HU off the line of the oth"):
        calibrate_on_rods(made.scan(), table)


def test_an_unseen_rod_at_either_end(scene: Any) -> None:
    # 0.1 and 0.2 at both ends of the row fit as well, and both ends look like the base
    table = user_table((0.0, 0.1, 0.2, 0.1, 0.0), DensityKind.HA)
    table = replace(table, densities_g_cm3=(0.0, 0.1, 0.2, 0.1))
    made = scene(hu=hu_of(table)[1:], pad_HU=hu_of(table)[0], pitch_mm=22.0, radius_mm=7.0)
    with pytest.raises(CalibrationError, match="which rods of table user are not seen is ambig"):
        calibrate_on_rods(made.scan(), table)


# two rods


def test_two_rods_say_that_r2_is_no_evidence(scene: Any) -> None:
    fit = calibrate_on_rods(phantom(scene, TABLES["siemens_osteo"]).scan(), TABLES["siemens_osteo"])
    assert any("R2 is 1 by construction and no evidence" in remark for remark in fit.remarks)
    assert "no residuals" in fit.calibration().source
    assert "R2" not in fit.calibration().source


def test_one_of_two_rods_unseen_is_refused(scene: Any) -> None:
    made = phantom(scene, TABLES["siemens_osteo"], pad_HU=-6.0)
    with pytest.raises(CalibrationError, match="found no row of 2 calibration rods"):
        calibrate_on_rods(made.scan(), TABLES["siemens_osteo"])


# bad scans


def test_a_rod_entirely_outside(scene: Any) -> None:
    made = phantom(scene, FIVE, shift_mm=(37.0, 0.0))
    with pytest.raises(CalibrationError, match=r"left would be cut .* out of the field of view"):
        calibrate_on_rods(made.scan(), FIVE)


def test_a_rod_partly_outside(scene: Any) -> None:
    made = phantom(scene, FIVE, shift_mm=(27.0, 0.0))
    with pytest.raises(CalibrationError, match="field of view"):
        calibrate_on_rods(made.scan(), FIVE)


@pytest.mark.parametrize("name", ["qrm_bdc_6", "mindways_model_3", "siemens_osteo"])
def test_a_phantom_of_another_type(scene: Any, name: str) -> None:
    made = phantom(scene, TABLES["b_mas_200"], pad_HU=-200.0)
    with pytest.raises(CalibrationError, match=r"found \d|don't lie on a line|no scanner shows"):
        calibrate_on_rods(made.scan(), TABLES[name])


def test_a_line_that_no_scanner_shows(scene: Any) -> None:
    # even steps fit any other even steps: the zero gives the wrong table away
    table = user_table((0.2, 0.3, 0.4, 0.5), DensityKind.HA)
    with pytest.raises(CalibrationError, match=r"no scanner shows.*0\.2 g/cm3 at 0 HU"):
        calibrate_on_rods(scene(hu=(0.0, 110.0, 220.0, 330.0)).scan(), table)


# bubbles and gaps


@pytest.mark.parametrize("hu", [-1000.0, -100.0], ids=["air", "partial"])
def test_slices_with_a_bubble_are_left_out(scene: Any, hu: float) -> None:
    fit = calibrate_on_rods(phantom(scene, FIVE, bubble_HU=hu, seed=1).scan(), FIVE)
    check(fit)
    assert fit.rods[2].n_dropped == 2  # of 5 mm each
    assert fit.rods[2].n_slices == 10
    assert any(remark.startswith("rod 3: 2 of 12 slices left out") for remark in fit.remarks)
    assert fit.rods[2].mean_HU == pytest.approx(hu_of(FIVE)[2], abs=3 * 15 / np.sqrt(10 * 30))


def test_rods_that_end_within_the_scan(scene: Any) -> None:
    fit = calibrate_on_rods(phantom(scene, FIVE, rods_end_mm=10.0).scan(), FIVE)
    check(fit)
    assert [rod.n_dropped for rod in fit.rods] == [4] * 5


def test_rods_in_less_than_half_of_the_scan(scene: Any) -> None:
    with pytest.raises(CalibrationError, match="found no row of 5"):
        calibrate_on_rods(phantom(scene, FIVE, rods_end_mm=-5.0).scan(), FIVE)


# the error


def test_drawn_lines_scatter_as_the_standard_error_says(scene: Any) -> None:
    """Mean density of a phantom, with the line drawn from its covariance."""
    fit = calibrate_on_rods(phantom(scene, FIVE, noise_HU=40.0).scan(), FIVE)
    line = replace(fit.calibration(), covariance=tuple(map(tuple, 100 * np.array(fit.covariance))))
    ct = scene().scan().crop((30, 10, 2), (70, 60, 8))
    mean = float(ct.array.mean())
    analytic = apply(Image(np.full((1, 1, 1), mean), Grid.of((1, 1, 1), 1.0)), line)
    assert analytic.standard_error is not None
    error = float(analytic.standard_error.array.item())
    drawn = np.random.default_rng(0).multivariate_normal(
        (line.slope, line.intercept), line.covariance, 1000
    )
    means = [density_image(ct, replace(line, slope=a, intercept=b)).array.mean() for a, b in drawn]
    assert np.std(means) == pytest.approx(error, rel=3 / np.sqrt(2 * 1000))
    (a, _), (_, c) = line.covariance
    assert abs(np.sqrt(a * mean**2 + c) / error - 1) > 0.2  # what it would be without covariance

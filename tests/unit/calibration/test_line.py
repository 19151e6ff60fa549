"""The line through rods of known HU, its error, and what it must not accept."""

from __future__ import annotations

import numpy as np
import pytest

from bonekit.calibration import Rod, calibrate, table_named, user_table
from bonekit.density import Calibration, DensityKind
from bonekit.errors import CalibrationError

DENSITIES = (0.0, 0.05, 0.1, 0.2, 0.4)
TABLE = user_table(DENSITIES, DensityKind.K2HPO4)
SLOPE, INTERCEPT = 0.0008, -0.015


def hu_of(density: float) -> float:
    return (density - INTERCEPT) / SLOPE


def rods_of(*hu: float, sem: float = 0.3) -> tuple[Rod, ...]:
    return tuple(
        Rod((24.0 * n, 0.0, 0.0), (0.0, 0.0, 1.0), 16.0, value, 15.0, sem, 1000)
        for n, value in enumerate(hu)
    )


def test_regression_agrees_with_numpy() -> None:
    hu = np.array([10.0, 95.0, 160.0, 310.0, 580.0])
    fit = calibrate(rods_of(*hu), TABLE)
    line, covariance = np.polyfit(hu, DENSITIES, 1, cov=True)
    np.testing.assert_allclose((fit.slope, fit.intercept), line)
    np.testing.assert_allclose(fit.covariance, covariance)
    assert fit.r2 == pytest.approx(np.corrcoef(hu, DENSITIES)[0, 1] ** 2)
    np.testing.assert_allclose(fit.residuals_g_cm3, np.polyval(line, hu) - DENSITIES)
    assert fit.range_HU == (10.0, 580.0)


def test_two_rods_have_the_error_of_their_means() -> None:
    fit = calibrate(rods_of(0.0, 1000.0, sem=2.0), user_table((0.0, 0.7), DensityKind.HA))
    assert fit.slope_error == pytest.approx(0.0007 * 2.0 * np.sqrt(2) / 1000)
    assert fit.intercept_error == pytest.approx(0.0007 * 2.0)


def test_a_perfect_fit_is_not_without_error() -> None:
    fit = calibrate(rods_of(*map(hu_of, DENSITIES)), TABLE)
    assert fit.slope == pytest.approx(SLOPE)
    assert fit.slope_error > 1e-4 * SLOPE


def test_mindways_rods_agree_with_ogo() -> None:
    """HU and results of Ogo's own test of its Mindways calibration (Bonelab/Ogo)."""
    hu = [-69.54917011727602, -35.378190313384316, 176.71197512467555]
    hu += [345.73809215407005, 462.93637565619906]
    for given in (hu, hu[::-1]):
        fit = calibrate(rods_of(*given), table_named("mindways_model_3"))
        assert fit.slope == pytest.approx(0.8002826626918712e-3, rel=1e-9)
        assert fit.intercept == pytest.approx(8.122906532849933e-3, rel=1e-9)
        assert fit.r2 == pytest.approx(0.9998533422632067**2, rel=1e-9)
        assert fit.reversed == (given is not hu)


def test_mindways_errors_are_those_of_repeated_scans() -> None:
    """Delta method against repeated draws of the rods' HU."""
    table = table_named("mindways_model_3")
    true = [
        1000 * w + 1467 * d - 1010
        for w, d in zip(table.water_g_cm3, table.densities_g_cm3, strict=True)
    ]
    generator = np.random.default_rng(0)
    fits = [calibrate(rods_of(*generator.normal(true, 3.0)), table) for _ in range(2000)]
    spread = np.cov(np.array([(fit.slope, fit.intercept) for fit in fits]).T)
    expected = np.array(calibrate(rods_of(*true, sem=3.0), table).covariance)
    np.testing.assert_allclose(expected, spread, rtol=0.1)


def test_rods_out_of_order() -> None:
    hu = [hu_of(density) for density in (0.1, 0.0, 0.4, 0.05, 0.2)]
    with pytest.raises(CalibrationError, match=r"don't lie on a line: R2 is 0\.\d+, at least 0.98"):
        calibrate(rods_of(*hu), TABLE)


def test_r2_just_below_the_limit() -> None:
    def bent(by: float) -> tuple[Rod, ...]:
        return rods_of(0.0, 100.0 + by, 200.0 - by, 300.0)

    table = user_table((0.0, 0.1, 0.2, 0.3), DensityKind.HA)
    assert 0.98 < calibrate(bent(20.0), table).r2 < 0.985
    with pytest.raises(CalibrationError, match=r"at least 0\.98"):
        calibrate(bent(23.0), table)


def test_hu_that_do_not_rise_with_density() -> None:
    with pytest.raises(CalibrationError, match="wrong sign"):
        calibrate(rods_of(300.0, 0.0, 300.0), user_table((0.0, 0.3, 0.0), DensityKind.HA))


def test_an_ambiguous_order() -> None:
    table = user_table((0.0, 0.4, 0.001), DensityKind.HA)
    with pytest.raises(CalibrationError, match="order of the rods is ambiguous"):
        calibrate(rods_of(0.0, 400.0, 0.5), table)
    same = user_table((0.0, 0.4, 0.0), DensityKind.HA)
    assert calibrate(rods_of(0.0, 400.0, 0.5), same).slope == pytest.approx(0.001, rel=0.01)


def test_a_number_of_rods_that_is_not_the_tables() -> None:
    with pytest.raises(CalibrationError, match="2 rods were measured, table user lists 5"):
        calibrate(rods_of(0.0, 100.0), TABLE)


def test_rods_of_one_hu() -> None:
    with pytest.raises(CalibrationError, match="all 5 rods measure 100 HU"):
        calibrate(rods_of(*[100.0] * 5), TABLE)


def test_without_covariance_there_is_no_error() -> None:
    with pytest.raises(CalibrationError, match=r"typed in.*has no covariance"):
        Calibration(0.0008, 0.0, DensityKind.HA, "typed in").standard_error(np.zeros(3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"covariance": ((1e-12, 0.0), (0.0, -1e-8))},
        {"covariance": ((1e-12, 1e-9), (0.0, 1e-4))},
        {"covariance": ((1e-12, 1e-7), (1e-7, 1e-8))},
        {"covariance": ((np.nan, 0.0), (0.0, 1e-8))},
        {"range_HU": (500.0, 0.0)},
    ],
    ids=["negative", "skew", "too correlated", "nan", "range"],
)
def test_what_is_no_covariance_or_range_is_refused(wrong: dict) -> None:
    with pytest.raises(CalibrationError, match=r"covariance|range_HU"):
        Calibration(0.0008, 0.0, DensityKind.HA, "typed in", **wrong)

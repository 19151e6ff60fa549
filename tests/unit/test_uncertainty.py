import numpy as np
import pytest

from bonekit.density import Calibration, DensityKind, conversion, sigma_points
from bonekit.errors import CalibrationError
from bonekit.uncertainty import relined, strength_error

LINE = Calibration(0.0008, 0.01, DensityKind.HA, "rods", covariance=((4e-10, -2e-8), (-2e-8, 9e-6)))


def test_the_points_have_the_mean_and_covariance_of_the_line() -> None:
    points = np.array(sigma_points(LINE))
    np.testing.assert_allclose(points.mean(axis=0), [0.0008, 0.01], rtol=1e-12)
    np.testing.assert_allclose(np.cov(points.T, bias=True), LINE.covariance, rtol=1e-6)


def test_without_covariance_there_are_no_points() -> None:
    with pytest.raises(CalibrationError, match="no covariance"):
        sigma_points(Calibration(0.0008, 0.01, DensityKind.HA, "typed in"))


def test_the_error_of_a_power_of_the_density_is_that_of_a_monte_carlo() -> None:
    def strength(line: tuple[float, float]) -> float:
        return 1e4 * (600 * line[0] + line[1]) ** 1.86

    found = strength_error(strength((0.0008, 0.01)), LINE, strength)
    drawn = np.random.default_rng(0).multivariate_normal((0.0008, 0.01), LINE.covariance, 200_000)
    sampled = 1e4 * (600 * drawn[:, 0] + drawn[:, 1]) ** 1.86
    assert found.standard_error_N == pytest.approx(sampled.std(), rel=0.01)
    low, high = np.quantile(sampled, [0.025, 0.975])
    assert found.low_N == pytest.approx(low, rel=0.003)
    assert found.high_N == pytest.approx(high, rel=0.003)


def test_the_variance_of_the_lattices_is_added() -> None:
    alone = strength_error(5000.0, LINE, lambda _: 5000.0)
    assert alone.standard_error_N == 0.0
    lattices = (4800.0, 5200.0, 5100.0)
    found = strength_error(5000.0, LINE, lambda _: 5000.0, lattices)
    std = np.std([5000.0, *lattices], ddof=1)
    assert found.standard_error_N == pytest.approx(std)
    assert found.moved_N == lattices
    assert np.log(found.high_N / found.low_N) / 2 / 1.959964 == pytest.approx(std / 5000, rel=0.01)

    def strength(line: tuple[float, float]) -> float:
        return 5000.0 * line[0] / LINE.slope

    line_only = strength_error(5000.0, LINE, strength)
    both = strength_error(5000.0, LINE, strength, lattices)
    assert both.standard_error_N == pytest.approx(np.hypot(line_only.standard_error_N, std))


def test_another_line_needs_no_second_sampling() -> None:
    hu = np.array([-100.0, 0.0, 300.0, 1400.0])
    to_ash = conversion(DensityKind.HA, DensityKind.ASH)
    moved = relined(to_ash(LINE(hu)), LINE, (0.0009, -0.02), to_ash)
    np.testing.assert_allclose(moved, to_ash(0.0009 * hu - 0.02), rtol=1e-12)

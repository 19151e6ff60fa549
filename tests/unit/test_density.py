import numpy as np
import pytest

from bonekit.density import (
    DEFAULT,
    Calibration,
    DensityImage,
    DensityKind,
    density_image,
    to_ash,
)
from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Grid, Image

GRID = Grid.of((3, 1, 1), (1.0, 1.0, 2.0))


def density(kind: DensityKind, *values: float, calibrated: bool = False) -> DensityImage:
    array = np.array(values, dtype=np.float32).reshape(-1, 1, 1)
    return DensityImage(array, Grid.of(array.shape, 1.0), kind, calibrated)


def test_hu_becomes_density_on_the_line() -> None:
    ct = Image(np.array([-100, 0, 1000], dtype=np.int16).reshape(GRID.shape), GRID)
    line = Calibration(0.0008, -0.005, DensityKind.K2HPO4, "phantom")
    made = density_image(ct, line)
    np.testing.assert_allclose(made.array.ravel(), [-0.085, -0.005, 0.795], atol=1e-6)
    assert made.kind is DensityKind.K2HPO4
    assert made.calibrated
    assert made.grid.same_as(GRID)


def test_the_default_line_is_hydroxyapatite_and_says_it_is_uncalibrated() -> None:
    made = density_image(Image(np.full((1, 1, 1), 1307, dtype=np.int16), Grid.of((1, 1, 1), 1.0)))
    assert made.array.item() == pytest.approx(1.0)
    assert made.kind is DensityKind.HA
    assert not made.calibrated
    assert not to_ash(made).calibrated
    assert "not measured" in DEFAULT.source


# notes: 1.06 rho + 38.9 mg/cm3 (Keyak 1994); (rho + 0.09) / 1.14 (Schileo 2008); 0.6 rho.
@pytest.mark.parametrize(
    ("kind", "given", "ash"),
    [
        (DensityKind.K2HPO4, [0.0, 0.1, 1.0], [0.0389, 0.1449, 1.0989]),
        (DensityKind.HA, [-0.09, 0.48, 1.05], [0.0, 0.5, 1.0]),
        (DensityKind.APPARENT, [0.0, 0.5, 2.0], [0.0, 0.3, 1.2]),
        (DensityKind.ASH, [0.0, 0.5, 1.1], [0.0, 0.5, 1.1]),
    ],
)
def test_ash_density_of_every_kind(kind: DensityKind, given: list, ash: list) -> None:
    made = to_ash(density(kind, *given, calibrated=True))
    np.testing.assert_allclose(made.array.ravel(), ash, atol=3e-4)
    assert made.kind is DensityKind.ASH
    assert made.calibrated


def test_another_kind_is_refused_and_the_same_passes() -> None:
    liquid = density(DensityKind.K2HPO4, 0.3)
    assert liquid.require(DensityKind.K2HPO4) is liquid
    with pytest.raises(InputError, match="expected ash density, got k2hpo4 density; convert"):
        liquid.require(DensityKind.ASH)


def test_a_resampled_density_keeps_its_kind() -> None:
    moved = density(DensityKind.HA, 0.1, 0.3, calibrated=True).resample(
        Grid.of((1, 1, 1), 1.0, (0.5, 0, 0))
    )
    assert moved.require(DensityKind.HA).calibrated
    assert moved.array.item() == pytest.approx(0.2)


@pytest.mark.parametrize("slope", [0.8, 0.00029, 0.0031, -0.0008, 0.0, np.nan])
def test_an_implausible_slope_is_refused(slope: float) -> None:
    with pytest.raises(CalibrationError, match="slope"):
        Calibration(slope, 0.0, DensityKind.HA, "typed in")


@pytest.mark.parametrize("intercept", [-17.0, 0.51, np.nan])
def test_an_implausible_intercept_is_refused(intercept: float) -> None:
    with pytest.raises(CalibrationError, match="intercept"):
        Calibration(0.0008, intercept, DensityKind.HA, "typed in")

import numpy as np
import pytest

from bonekit.density import (
    DEFAULT,
    Calibration,
    DensityImage,
    DensityKind,
    conversion,
    convert,
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


PATHS = [
    (DensityKind.K2HPO4, DensityKind.ASH),
    (DensityKind.HA, DensityKind.ASH),
    (DensityKind.APPARENT, DensityKind.ASH),
]


@pytest.mark.parametrize("kinds", [*PATHS, (DensityKind.ASH, DensityKind.ASH)])
def test_a_conversion_there_and_back(kinds: tuple[DensityKind, DensityKind]) -> None:
    there, back = conversion(*kinds), conversion(*kinds[::-1])
    values = np.array([-0.1, 0.0, 0.3, 1.2])
    np.testing.assert_allclose(back(there(values)), values, atol=1e-15)
    np.testing.assert_allclose(there.inverse()(values), back(values), atol=1e-15)
    image = convert(convert(density(kinds[0], *values, calibrated=True), kinds[1]), kinds[0])
    np.testing.assert_allclose(image.array.ravel(), values, atol=1e-6)
    assert image.kind is kinds[0]
    assert image.calibrated


def test_ash_becomes_what_a_law_asks_for() -> None:
    ash = density(DensityKind.ASH, 0.3, 1.2)
    np.testing.assert_allclose(convert(ash, DensityKind.APPARENT).array.ravel(), [0.5, 2.0])
    liquid = convert(ash, DensityKind.K2HPO4).array.ravel()
    np.testing.assert_allclose(liquid, [0.2611 / 1.06, 1.1611 / 1.06], rtol=1e-6)


@pytest.mark.parametrize("kinds", [(a, b) for a, _ in PATHS for b, _ in PATHS if a is not b])
def test_no_line_leads_from_one_equivalent_to_another(kinds: tuple) -> None:
    with pytest.raises(InputError, match=f"turns {kinds[0]} density into .* {kinds[0]}: ash$"):
        conversion(*kinds)
    with pytest.raises(InputError, match="no published line"):
        convert(density(kinds[0], 0.3), kinds[1])


def test_a_conversion_reads_as_a_formula_with_its_source() -> None:
    assert conversion(DensityKind.K2HPO4, DensityKind.ASH).description == (
        "ash = 1.06 * k2hpo4 + 0.0389 g/cm3 (Keyak et al., J Biomed Mater Res 1994)"
    )
    assert conversion(DensityKind.ASH, DensityKind.APPARENT).description == (
        "apparent = 1.6667 * ash (inverse of Schileo et al., J Biomech 2008)"
    )
    inverse = conversion(DensityKind.ASH, DensityKind.K2HPO4).description
    assert inverse.startswith("k2hpo4 = 0.9434 * ash - 0.036698 g/cm3 (inverse of Keyak")


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

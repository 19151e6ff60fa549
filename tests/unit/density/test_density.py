import numpy as np
import pytest

from bonekit.density import (
    DEFAULT,
    Calibration,
    DensityImage,
    DensityKind,
    apply,
    conversion,
    convert,
    density_image,
    outside_range,
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
    with pytest.raises(InputError, match=f"turns {kinds[0]} density into .* {kinds[0]}: ash"):
        conversion(*kinds)
    with pytest.raises(InputError, match="no published line"):
        convert(density(kinds[0], 0.3), kinds[1])


def test_wet_density_is_a_mixture_of_bone_and_marrow() -> None:
    app_to_wet = conversion(DensityKind.APPARENT, DensityKind.WET)
    np.testing.assert_allclose(app_to_wet(np.array([0.0, 1.92])), [1.0, 1.92])  # ICRU 44
    half = 0.96 + 0.5 * 1.0  # half of the volume is bone, half marrow
    np.testing.assert_allclose(app_to_wet(np.array([0.96])), half)


def test_a_conversion_by_name() -> None:
    ha, ash = DensityKind.HA, DensityKind.ASH
    kaneko = conversion(ha, ash, "kaneko_2004")
    np.testing.assert_allclose(kaneko(np.array([0.0, 1.0])), [0.0698, 0.9088])
    assert conversion(ash, ha, "kaneko_2004") == kaneko.inverse()
    assert conversion(ha, ash).name == "schileo_2008"
    made = to_ash(density(ha, 1.0), "kaneko_2004")
    assert made.array.item() == pytest.approx(0.9088, abs=1e-6)


def test_a_conversion_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="'kaneko' is unknown; known: keyak_1994"):
        conversion(DensityKind.HA, DensityKind.ASH, "kaneko")
    with pytest.raises(InputError, match=r"keyak_1994 leads from k2hpo4 to ash .* schileo_2008, "):
        conversion(DensityKind.HA, DensityKind.ASH, "keyak_1994")


def test_a_valid_range_goes_along_with_the_inverse() -> None:
    wet_to_app = conversion(DensityKind.WET, DensityKind.APPARENT)
    assert wet_to_app.valid == pytest.approx((1.0, 1.92))


def test_apply_gives_the_error_of_the_line() -> None:
    ct = Image(np.array([0.0, 1000.0, -500.0]).reshape(3, 1, 1), Grid.of((3, 1, 1), 1.0))
    both = -1e-8
    line = Calibration(
        0.0008, 0.01, DensityKind.HA, "rods", covariance=((4e-10, both), (both, 9e-6))
    )
    made = apply(ct, line)
    np.testing.assert_allclose(made.density.array, density_image(ct, line).array)
    assert made.standard_error is not None
    expected = np.sqrt([9e-6, 4e-4 - 2e-5 + 9e-6, 1e-4 + 1e-5 + 9e-6])
    np.testing.assert_allclose(made.standard_error.array.ravel(), expected, rtol=1e-6)
    assert apply(ct, Calibration(0.0008, 0.01, DensityKind.HA, "typed in")).standard_error is None


def test_values_outside_the_measured_range_are_counted() -> None:
    line = Calibration(0.0008, 0.0, DensityKind.HA, "rods", range_HU=(0.0, 600.0))
    assert outside_range(np.array([-1.0, 0.0, 300.0, 600.0, 601.0, 900.0]), line) == (1, 2)
    assert outside_range(np.array([-1.0]), DEFAULT) is None


@pytest.mark.parametrize("kVp", [0.12, 59.0, 151.0, np.nan])
def test_an_implausible_voltage_is_refused(kVp: float) -> None:
    with pytest.raises(CalibrationError, match="tube voltage"):
        Calibration(0.0008, 0.0, DensityKind.HA, "typed in", kVp=kVp)


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

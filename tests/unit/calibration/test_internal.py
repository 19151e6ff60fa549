"""Calibration on the patient's own tissues: exact samples, generated scans, real scans."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bonekit.calibration.attenuation import equivalent_hu, tissue_hu
from bonekit.calibration.energy import match_energy
from bonekit.calibration.internal import InternalFit, _points, fit_tissues, internal_calibration
from bonekit.calibration.tissues import TissueSample, find_tissues
from bonekit.density import DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.figures.calibration_internal import internal_calibration_figure
from bonekit.image import Grid, Image, read
from bonekit.phantom import (
    BodyParameters,
    FemurParameters,
    Phantom,
    ScannerParameters,
    VertebraParameters,
    femur_phantom,
    vertebra_phantom,
)

TISSUES = ("air", "adipose", "muscle", "cortical_bone")
Samples = tuple[TissueSample, ...]


def exact(energy_keV: float = 72.0, gain: float = 1.0, **other_HU: float) -> Samples:
    """Samples as the tables have them."""
    hu = {name: gain * float(tissue_hu(name, energy_keV)) for name in TISSUES} | other_HU
    return tuple(TissueSample(name, value, 20.0, 0.5, 5000) for name, value in hu.items())


def scanner(kVp: float) -> ScannerParameters:
    return ScannerParameters(
        spacing_mm=(1.2, 1.2, 6.0), kVp=kVp, margin_mm=15, supersampling=1, noise_hu=25
    )


def femur(kVp: float) -> Phantom:
    body = BodyParameters(half_width_mm=160, half_depth_mm=95)
    return femur_phantom(FemurParameters(shaft_length_mm=50), body=body, scanner=scanner(kVp))


def vertebra(kVp: float) -> Phantom:
    """A vertebra with an arch thick enough to hold compact bone, as dense as that of a shaft."""
    bone = VertebraParameters(posterior_cortex_mm=4, cortical_g_cm3=1.15)
    body = BodyParameters(half_width_mm=130, half_depth_mm=85)
    return vertebra_phantom(bone, body=body, scanner=scanner(kVp))


@pytest.fixture(scope="module")
def made() -> Phantom:
    return femur(120.0)


@pytest.fixture(scope="module")
def fitted(made: Phantom) -> InternalFit:
    return internal_calibration(made.ct, kVp=120.0)


@pytest.mark.parametrize("energy_keV", [48.0, 60.0, 72.0, 90.0])
@pytest.mark.parametrize("gain", [0.96, 1.0, 1.03])
def test_exact_samples_give_the_exact_line(energy_keV: float, gain: float) -> None:
    for kind in (DensityKind.HA, DensityKind.K2HPO4):
        fit = fit_tissues(exact(energy_keV, gain), kind)
        assert fit.effective_energy_keV == pytest.approx(energy_keV, abs=1e-3)
        assert fit.slope == pytest.approx(
            1 / (gain * float(equivalent_hu(kind, energy_keV))), rel=1e-4
        )
        assert fit.intercept == pytest.approx(0, abs=1e-5)
        assert fit.r2 == pytest.approx(1)
        assert max(abs(s.residual_HU) for s in fit.samples) < 1e-2


def test_an_offset_of_the_scanner_is_taken_off() -> None:
    """All HU too high by 6; that water shows 0 within 7 is believed too, so not all of it."""
    shifted = exact(**{s.tissue: s.mean_HU + 6 for s in exact()})
    fit = fit_tissues(shifted)
    assert 2 < fit.offset_HU < 6
    assert fit.slope * fit.offset_HU + fit.intercept == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kVp", [80.0, 100.0, 120.0, 140.0])
@pytest.mark.parametrize("patient", [femur, vertebra])
def test_generated_scans_within_three_percent(
    patient: Callable[[float], Phantom], kVp: float
) -> None:
    """Slope, and the mean density of the bone, against what a phantom in the scan would give."""
    scan = patient(kVp)
    fit = internal_calibration(scan.ct, kVp=kVp)
    line = scan.truth["hydroxyapatite_line"]
    mean_HU = float(scan.ct.array[scan.labels.mask("cortex", "trabecular")].mean())
    truth = (mean_HU - line["hu_at_zero"]) / line["hu_per_g_cm3"]
    assert fit.slope * line["hu_per_g_cm3"] == pytest.approx(1, abs=0.03)
    assert fit.slope * mean_HU + fit.intercept == pytest.approx(truth, rel=0.03)
    assert_allclose([s.residual_HU for s in fit.samples], 0, atol=8)


def test_k2hpo4_within_three_percent(made: Phantom) -> None:
    from bonekit.phantom.appearance import appearance

    rods = appearance(scanner(120.0)).rods
    fit = internal_calibration(made.ct, kind=DensityKind.K2HPO4)
    assert fit.kind is DensityKind.K2HPO4
    assert fit.slope * rods.hu_per_g_cm3 == pytest.approx(1, abs=0.03)


def test_the_covariance_is_that_of_repeated_samples() -> None:
    """Monte Carlo: draw the samples, and what is assumed, within their errors; fit again."""
    names, measured, errors = _points(exact(70.0))
    fit = fit_tissues(exact(70.0))
    rng = np.random.default_rng(7)
    lines = np.array(
        [
            match_energy(names, rng.normal(measured, errors), errors).line(DensityKind.HA)
            for _ in range(300)
        ]
    )
    found, stated = np.cov(lines.T), np.array(fit.covariance)
    # 300 draws know a standard deviation within 4 %
    assert_allclose(np.sqrt(np.diag(found)), np.sqrt(np.diag(stated)), rtol=0.1)
    correlation = (c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in (found, stated))
    assert next(correlation) == pytest.approx(next(correlation), abs=0.1)
    mean_HU = 600.0
    direct = np.std(lines @ [mean_HU, 1])
    weights = np.array([mean_HU, 1])
    assert direct == pytest.approx(np.sqrt(weights @ stated @ weights), rel=0.1)


def test_noisier_samples_give_a_larger_covariance() -> None:
    noisy = tuple(
        TissueSample(s.tissue, s.mean_HU, s.std_HU, 100 * s.sem_HU, s.n_voxels) for s in exact()
    )
    assert fit_tissues(noisy).slope_error > 1.1 * fit_tissues(exact()).slope_error


def test_bone_of_another_porosity_moves_the_line_by_its_error() -> None:
    """5 % less HU in bone is one standard error; so is what the slope changes by."""
    usual, porous = fit_tissues(exact()), fit_tissues(exact(cortical_bone=0.95 * _bone()))
    change = porous.slope - usual.slope
    assert change == pytest.approx(usual.slope_error, rel=0.25)


def _bone() -> float:
    return float(tissue_hu("cortical_bone", 72.0))


def test_without_air_it_is_assumed_and_less_is_known() -> None:
    whole, cut = fit_tissues(exact()), fit_tissues(exact()[1:])
    assert (whole.air_assumed, cut.air_assumed) == (False, True)
    assert cut.effective_energy_keV == pytest.approx(72, abs=1e-3)
    assert cut.effective_energy_error_keV > whole.effective_energy_error_keV
    assert cut.slope_error > whole.slope_error
    assert "air assumed at -1000 HU" in cut.calibration().source


def test_air_around_the_body_is_used(made: Phantom, fitted: InternalFit) -> None:
    assert fitted.air_assumed  # the scan ends within the body
    wide = np.pad(made.ct.array, ((0, 20), (0, 0), (0, 0)), constant_values=-1000)
    grid = Grid(wide.shape, made.ct.affine)
    fit = internal_calibration(Image(wide, grid))
    assert not fit.air_assumed
    assert fit.slope == pytest.approx(fitted.slope, rel=0.005)
    assert fit.slope_error < fitted.slope_error


def test_the_calibration_carries_all(fitted: InternalFit) -> None:
    line = fitted.calibration()
    assert (line.slope, line.intercept) == (fitted.slope, fitted.intercept)
    assert (line.covariance, line.kind) == (fitted.covariance, DensityKind.HA)
    bone = fitted.samples[-1]
    assert line.range_HU == (fitted.samples[0].mean_HU, bone.mean_HU)
    assert bone.tissue == "cortical_bone"
    for part in ("adipose, muscle, cortical bone", "Michalski 2020", "keV", "R2 0.9"):
        assert part in line.source


def test_masks_are_used_instead_of_what_is_found(made: Phantom, fitted: InternalFit) -> None:
    mask = find_tissues(made.ct)["cortical_bone"]
    fit = internal_calibration(made.ct, {"cortical_bone": mask})
    assert fit.slope == pytest.approx(fitted.slope, rel=0.01)
    wrong = internal_calibration(made.ct, {"adipose": find_tissues(made.ct)["adipose"]})
    assert wrong.samples[0].mean_HU != fitted.samples[0].mean_HU  # a median, not the mode


def test_a_thin_arch_is_no_compact_bone() -> None:
    """The default vertebra at a fine grid: its cortices are 2 mm and less."""
    fine = ScannerParameters(spacing_mm=(0.7, 0.7, 5), kVp=120, supersampling=1, margin_mm=4)
    ct = vertebra_phantom(scanner=fine).ct
    with pytest.raises(CalibrationError, match=r"no cortical_bone to calibrate on \(found: adipo"):
        internal_calibration(ct)


def test_porous_bone_is_refused_where_the_voltage_is_known() -> None:
    porous = exact(cortical_bone=0.82 * _bone())
    assert fit_tissues(porous).effective_energy_keV > 80  # nothing else tells
    with pytest.raises(
        CalibrationError, match=r"does not fit to 120 kVp; allowed: 60 to 78\. More"
    ):
        fit_tissues(porous, kVp=120.0)
    assert fit_tissues(exact(), kVp=120.0).slope == fit_tissues(exact()).slope


def test_a_wrong_sign_is_refused() -> None:
    samples = exact(adipose=80.0)
    with pytest.raises(CalibrationError, match=r"wrong sign: HU must rise .* adipose 80, muscle"):
        fit_tissues(samples)


@pytest.mark.parametrize("energy_keV", [36, 118])
def test_an_implausible_energy_is_refused(energy_keV: int) -> None:
    with pytest.raises(CalibrationError, match=rf"energy of {energy_keV} keV is not plausible; al"):
        fit_tissues(exact(float(energy_keV)))


def test_tissues_that_fit_to_no_energy_are_refused() -> None:
    """Muscle at 150 HU: contrast agent, or not muscle."""
    with pytest.raises(CalibrationError, match=r"don't fit to any energy.*muscle is \+\d+ HU off"):
        fit_tissues(exact(muscle=150.0))


def test_another_scale_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"HU are 0\.8\d+ of what the tissues should show"):
        fit_tissues(exact(gain=0.8))


def test_bad_arguments_are_refused(made: Phantom) -> None:
    with pytest.raises(InputError, match="made of ash density"):
        fit_tissues(exact(), DensityKind.ASH)
    with pytest.raises(InputError, match="kVp is 120000; allowed: 40 to 200"):
        fit_tissues(exact(), kVp=120000)
    water = Image(np.full((60, 60, 10), 40, np.int16), made.ct.crop((0, 0, 0), (60, 60, 10)).grid)
    with pytest.raises(CalibrationError, match="no adipose and no cortical_bone"):
        internal_calibration(water)


# Clinical scans at 140 kVp; effective energies of that voltage lie at 70 to 90 keV.
@pytest.mark.parametrize("number", ["015", "013"])
def test_real_scans_are_plausible(data: Path, number: str) -> None:
    ct = read(data / "ct-femur" / f"STS_{number}_CT.nii.gz")
    fit = internal_calibration(ct, kVp=140.0)
    assert 70 < fit.effective_energy_keV < 90
    assert fit.r2 > 0.999
    assert 0.98 < fit.gain < 1.02
    assert not fit.air_assumed
    hu = {s.tissue: s.mean_HU for s in fit.samples}
    assert -110 < hu["adipose"] < -85
    assert 35 < hu["muscle"] < 65
    assert 1200 < hu["cortical_bone"] < 1500
    assert fit.slope_error / fit.slope < 0.07


def test_the_figure_shows_scan_and_masks(made: Phantom, fitted: InternalFit) -> None:
    masks = find_tissues(made.ct)
    picture = internal_calibration_figure(made.ct, fitted, masks)
    assert picture.startswith(b"\x89PNG")
    assert picture != internal_calibration_figure(made.ct, fitted, {"muscle": masks["muscle"]})

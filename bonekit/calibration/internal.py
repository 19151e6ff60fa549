"""Calibration without a phantom, on the patient's own tissues.

From Michalski, Besler, Michalak and Boyd, Med Eng Phys 2020 (doi 10.1016/j.medengphy.2020.01.009):
the effective energy of a scan is the photon energy at which the HU of the patient's tissues
correlate best with their tabulated attenuation, and the densities follow from the coefficients at
that energy.

Ours, where it differs:

- HU are compared with linear, not with mass attenuation coefficients: a voxel shows the former,
  and air (-1000 HU) has nearly the mass attenuation of muscle. (Air, fat, muscle and bone of five
  femur scans at 140 kVp correlate with mass coefficients best at 94 to 96 keV; linear ones give 77
  to 82.) So tissue densities are needed; what is not known of them is stated (`TISSUE_ERRORS`) and
  weighs the tissues.
- Air, fat, muscle and compact bone are sampled; blood where a user marks it.
- That the scanner is calibrated on water is used as one more point, 0 HU within 7 HU.
- The answer is the line that a phantom in the scan would give (hydroxyapatite or K2HPO4 in water),
  not a two-component mixture with triglyceride.
- The line has a covariance.

Compact bone fixes the slope, since its HU over those of 1 g/cm3 of hydroxyapatite hardly depend on
the energy (1.17 at 60 keV, 1.24 at 90): what is not known of its porosity and mineral becomes the
error of the slope, 5 % and a little more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.attenuation import equivalent_hu
from bonekit.calibration.energy import EnergyMatch, match_energy
from bonekit.calibration.tissues import Mask, TissueSample, sample_tissues
from bonekit.density import Calibration, Covariance, DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Image

Float = NDArray[np.float64]

NEEDED = ("adipose", "muscle", "cortical_bone")
# Standard deviation, between people, of what a tissue shows beside its tabulated HU. Assumptions:
# air: clothes, pads, scatter between the legs; fat: 0.01 g/cm3 (cadavers: 0.925 to 0.970, Martin
# et al., Int J Obes 1994); muscle: fat within it; blood: haematocrit.
TISSUE_ERRORS = {"air": 15.0, "adipose": 10.0, "muscle": 8.0, "blood": 8.0}
# Of compact bone, as a share of its HU: 4 % of pores more or less (unverified: from memory, adult
# diaphyses have 5 to 15 %), 2 % of mineral, and partial volume.
BONE_ERROR = 0.05
# Scanners are kept within 7 HU in water; in air -1000 HU, 20 is a wide guess (unverified: ACR CT
# accreditation, from memory). Air is assumed only where the image holds none.
WATER_HU, WATER_ERROR_HU = 0.0, 7.0
ASSUMED_AIR_HU, ASSUMED_AIR_ERROR_HU = -1000.0, 20.0

LEAST_R2 = 0.98
ENERGIES_KEV = (40.0, 110.0)
# Effective energy of a tube voltage: 28.5 keV + 0.355 keV per kVp, by Kramers spectra of 80 to
# 140 kVp behind 1 cm of aluminium and 25 cm of water; thinner bodies and filters leave less.
KVP_LINE, KVP_SHARES = (28.5, 0.355), (0.85, 1.1)
GAINS = (0.9, 1.1)  # measured over tabulated HU
MOST_RESIDUAL = 4.0  # standard errors


@dataclass(frozen=True)
class Sample:
    """A tissue in the fit.

    Parameters
    ----------
    tissue : str
    mean_HU : float
        Measured, see `TissueSample`.
    sem_HU : float
        Standard error of the measurement.
    error_HU : float
        With what is not known of the tissue.
    n_voxels : int
    expected_HU : float
        At the effective energy, by the fitted gain and offset.
    residual_HU : float
        Measured minus expected.
    """

    tissue: str
    mean_HU: float
    sem_HU: float
    error_HU: float
    n_voxels: int
    expected_HU: float
    residual_HU: float


@dataclass(frozen=True)
class InternalFit:
    """``density = slope * HU + intercept``, from the patient's tissues.

    Parameters
    ----------
    samples : tuple of Sample
    effective_energy_keV, effective_energy_error_keV : float
        And its standard error.
    gain, offset_HU : float
        ``HU = gain * tabulated HU + offset``.
    r2 : float
        Of measured over expected HU, all tissues of the same weight.
    slope, intercept : float
        g/cm3 per HU, g/cm3.
    covariance : tuple of tuple of float, (2, 2)
        Of slope and intercept: from the noise of the samples, the stated uncertainty of the
        tissues, and that of energy, gain and offset that follows from them.
    range_HU : tuple of float, (2,)
        Darkest and brightest tissue beside air; beyond it the line is extrapolated.
    kind : DensityKind
    air_assumed : bool
        The image holds no air; that the scanner shows -1000 HU there is assumed.
    """

    samples: tuple[Sample, ...]
    effective_energy_keV: float
    effective_energy_error_keV: float
    gain: float
    offset_HU: float
    r2: float
    slope: float
    intercept: float
    covariance: Covariance
    range_HU: tuple[float, float]
    kind: DensityKind
    air_assumed: bool

    @property
    def slope_error(self) -> float:
        """Standard error of the slope, g/cm3 per HU."""
        return float(np.sqrt(self.covariance[0][0]))

    @property
    def intercept_error(self) -> float:
        """Standard error of the intercept, g/cm3."""
        return float(np.sqrt(self.covariance[1][1]))

    def calibration(self) -> Calibration:
        """Return the line as the calibration of a scan.

        Raises
        ------
        CalibrationError
            If slope or intercept is not plausible.
        """
        tissues = ", ".join(sample.tissue.replace("_", " ") for sample in self.samples)
        air = "; air assumed at -1000 HU" if self.air_assumed else ""
        source = (
            f"the patient's own tissues ({tissues}{air}) after Michalski 2020: effective energy "
            f"{self.effective_energy_keV:.1f} +- {self.effective_energy_error_keV:.1f} keV, "
            f"R2 {self.r2:.5f}"
        )
        return Calibration(
            self.slope,
            self.intercept,
            self.kind,
            source,
            covariance=self.covariance,
            range_HU=self.range_HU,
        )


def internal_calibration(
    ct: Image,
    masks: Mapping[str, Mask] | None = None,
    kind: DensityKind = DensityKind.HA,
    *,
    kVp: float | None = None,
) -> InternalFit:
    """Calibrate a CT on the patient's own tissues; see the module for the method.

    Parameters
    ----------
    ct : Image
        In HU, without contrast agent in muscle.
    masks : mapping of str to ndarray of bool, (ni, nj, nk), optional
        Where a tissue is, instead of seeking it: air, adipose, muscle, blood, cortical_bone.
    kind : DensityKind
        HA or K2HPO4: what the phantom would have been made of.
    kVp : float, optional
        Of the scan; the effective energy must fit to it.

    Returns
    -------
    InternalFit

    Raises
    ------
    InputError
        If a mask has an unknown name or another shape than the CT; if `kind` is no phantom's.
    CalibrationError
        If a tissue is missing (air is not needed); and as `fit_tissues`.
    """
    samples = sample_tissues(ct, masks)
    missing = [name for name in NEEDED if name not in samples]
    if missing:
        found = ", ".join(f"{s.tissue} {s.mean_HU:.0f} HU" for s in samples.values()) or "nothing"
        raise CalibrationError(
            f"the scan shows no {' and no '.join(missing)} to calibrate on (found: {found}). "
            f"Needed are {', '.join(NEEDED)}, the last as at least 500 mm3 of a cortex of 3 voxels "
            "or more. Mark the missing tissue in a mask, calibrate on rods, or give the line in "
            "the case file"
        )
    return fit_tissues(tuple(samples.values()), kind, kVp=kVp)


def fit_tissues(
    samples: Sequence[TissueSample],
    kind: DensityKind = DensityKind.HA,
    *,
    kVp: float | None = None,
) -> InternalFit:
    """Fit energy, gain and offset to the HU of tissues, and derive the line to density.

    The samples are weighted by `Sample.error_HU`; see `match_energy` for the fit and
    `EnergyMatch.line` for the line.

    Parameters
    ----------
    samples : sequence of TissueSample
        At least adipose, muscle and cortical_bone.
    kind : DensityKind
    kVp : float, optional

    Raises
    ------
    InputError
        If `kind` is no phantom's.
    CalibrationError
        If HU don't rise from air over fat and muscle to bone; if the energy lies outside 40 to
        110 keV or does not fit to the kVp; if the gain is outside 0.9 to 1.1; if R2 is below
        0.98; if a tissue lies more than 4 standard errors off.
    """
    equivalent_hu(kind, 70.0)  # refuses other kinds before anything is fitted
    if kVp is not None and not 40 <= kVp <= 200:
        raise InputError(f"kVp is {kVp:g}; allowed: 40 to 200")
    _check_order(samples)
    names, measured, errors = _points(samples)
    fit = _made(samples, errors, match_energy(names, measured, errors), kind)
    _check(fit, kVp)
    return fit


def _check_order(samples: Sequence[TissueSample]) -> None:
    """Refuse samples that don't rise with attenuation (blood and muscle are too alike to tell)."""
    order = [s for name in ("air", *NEEDED) for s in samples if s.tissue == name]
    if any(a.mean_HU >= b.mean_HU for a, b in pairwise(order)):
        values = ", ".join(f"{s.tissue} {s.mean_HU:.0f}" for s in order)
        raise CalibrationError(
            f"the wrong sign: HU must rise from air over adipose and muscle to cortical_bone, "
            f"found {values}. Is the image a CT in HU, and does each mask hold its tissue?"
        )


def _points(samples: Sequence[TissueSample]) -> tuple[list[str], Float, Float]:
    """Names, HU and errors of the samples, then of what is assumed of the scanner."""
    names = [s.tissue for s in samples]
    measured = [s.mean_HU for s in samples]
    errors = [float(np.hypot(s.sem_HU, _tissue_error(s))) for s in samples]
    if "air" not in names:
        names, measured = [*names, "air"], [*measured, ASSUMED_AIR_HU]
        errors.append(ASSUMED_AIR_ERROR_HU)
    points = np.array([*measured, WATER_HU]), np.array([*errors, WATER_ERROR_HU])
    return [*names, "water"], *points


def _tissue_error(sample: TissueSample) -> float:
    if sample.tissue == "cortical_bone":
        return BONE_ERROR * sample.mean_HU
    return TISSUE_ERRORS[sample.tissue]


def _made(
    samples: Sequence[TissueSample], errors: Float, match: EnergyMatch, kind: DensityKind
) -> InternalFit:
    expected = match.shown([s.tissue for s in samples])
    rows = tuple(
        Sample(s.tissue, s.mean_HU, s.sem_HU, float(e), s.n_voxels, float(x), s.mean_HU - float(x))
        for s, x, e in zip(samples, expected, errors, strict=False)
    )
    hu = np.array([row.mean_HU for row in rows])
    rest = sum(row.residual_HU**2 for row in rows)
    slope, intercept = match.line(kind)
    lit = [row.mean_HU for row in rows if row.tissue != "air"]
    return InternalFit(
        samples=rows,
        effective_energy_keV=match.energy_keV,
        effective_energy_error_keV=float(np.sqrt(match.covariance[0, 0])),
        gain=match.gain,
        offset_HU=match.offset_HU,
        r2=1 - rest / float(((hu - hu.mean()) ** 2).sum()),
        slope=slope,
        intercept=intercept,
        covariance=match.line_covariance(kind),
        range_HU=(min(lit), max(lit)),
        kind=kind,
        air_assumed=len(lit) == len(rows),
    )


def _check(fit: InternalFit, kVp: float | None) -> None:
    """Refuse a fit that no scanner and no patient explain."""
    found = ", ".join(
        f"{s.tissue} {s.mean_HU:.0f} (expected {s.expected_HU:.0f}) HU" for s in fit.samples
    )
    todo = (
        f"Found: {found}. Look at where the tissues were sampled (contrast agent, metal, an image "
        "not in HU?), mark them in masks, calibrate on rods, or give the line in the case file"
    )
    low, high = ENERGIES_KEV
    energy = fit.effective_energy_keV
    if not low <= energy <= high:
        raise CalibrationError(
            f"an effective energy of {energy:.0f} keV is not plausible; allowed: {low:.0f} to "
            f"{high:.0f}. {todo}"
        )
    if kVp is not None:
        _check_voltage(energy, kVp, todo)
    if not GAINS[0] <= fit.gain <= GAINS[1]:
        raise CalibrationError(
            f"HU are {fit.gain:.3f} of what the tissues should show; allowed: {GAINS[0]:g} to "
            f"{GAINS[1]:g}. {todo}"
        )
    worst = max(fit.samples, key=lambda s: abs(s.residual_HU) / s.error_HU)
    if not fit.r2 >= LEAST_R2 or abs(worst.residual_HU) > MOST_RESIDUAL * worst.error_HU:
        raise CalibrationError(
            f"the tissues don't fit to any energy: R2 is {fit.r2:.4f} (at least {LEAST_R2}), "
            f"{worst.tissue} is {worst.residual_HU:+.0f} HU off (at most "
            f"{MOST_RESIDUAL * worst.error_HU:.0f}). {todo}"
        )


def _check_voltage(energy_keV: float, kVp: float, todo: str) -> None:
    """Refuse an energy that does not fit to the tube voltage: mostly bone that is not compact."""
    usual = KVP_LINE[0] + KVP_LINE[1] * kVp
    low, high = (share * usual for share in KVP_SHARES)
    if not low <= energy_keV <= high:
        raise CalibrationError(
            f"an effective energy of {energy_keV:.0f} keV does not fit to {kVp:g} kVp; allowed: "
            f"{low:.0f} to {high:.0f}. More than that: the bone is more porous than compact bone "
            f"should be. {todo}"
        )

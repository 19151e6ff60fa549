"""Densities that know what they are, and the line from HU to density.

A density number means nothing without its kind: 0.3 g/cm3 of K2HPO4-equivalent is not 0.3 g/cm3
of ash. `DensityImage` carries the kind, laws ask for one kind and `require` refuses another.
All densities are in g/cm3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Image

Covariance = tuple[tuple[float, float], tuple[float, float]]

Values = NDArray[np.float64]


class DensityKind(StrEnum):
    """What a density in g/cm3 is a density of."""

    K2HPO4 = "k2hpo4"  # dipotassium phosphate equivalent (liquid phantoms, Mindways)
    HA = "hydroxyapatite"  # calcium hydroxyapatite equivalent (QRM, Siemens Osteo)
    ASH = "ash"  # mass of ash per bulk volume
    APPARENT = "apparent"  # wet bone mass per bulk volume


@dataclass(frozen=True, eq=False)
class DensityImage(Image):
    """A density in g/cm3 on a grid, of a stated kind.

    Parameters
    ----------
    array : ndarray of float, (ni, nj, nk)
        g/cm3.
    grid : Grid
    kind : DensityKind
    calibrated : bool
        False where the HU line is a default rather than one measured for this scan.
    """

    kind: DensityKind = DensityKind.ASH
    calibrated: bool = False

    def require(self, kind: DensityKind) -> DensityImage:
        """Return self if the kind matches.

        Raises
        ------
        InputError
            If it does not; nothing is converted implicitly.
        """
        if self.kind is not kind:
            raise InputError(
                f"expected {kind} density, got {self.kind} density; convert it explicitly "
                "(see bonekit.density: convert)"
            )
        return self


@dataclass(frozen=True)
class Calibration:
    """A line from HU to density: ``density = slope * HU + intercept``.

    Parameters
    ----------
    slope : float
        g/cm3 per HU, positive.
    intercept : float
        g/cm3 at 0 HU.
    kind : DensityKind
        What the phantom's densities are densities of.
    source : str
    calibrated : bool
        False for the default line, which was measured for no scanner.
    covariance : tuple of tuple of float, (2, 2), optional
        Of (slope, intercept), where it was measured.
    range_HU : tuple of float, (2,), optional
        Lowest and highest HU the line was measured at.

    Raises
    ------
    CalibrationError
        If the slope is not a positive number of a plausible size: 0.0003 to 0.003 g/cm3 per HU;
        if the intercept is beyond 0.5 g/cm3; if the covariance is not one, or the range not
        (low, high).
    """

    slope: float
    intercept: float
    kind: DensityKind
    source: str
    calibrated: bool = True
    covariance: Covariance | None = None
    range_HU: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0.0003 <= self.slope <= 0.003:
            raise CalibrationError(
                f"a calibration slope of {self.slope} g/cm3 per HU is not plausible; allowed: "
                "0.0003 to 0.003 (about 0.0008 at 120 kVp). Is the line in mg/cm3, or HU per g/cm3?"
            )
        if not abs(self.intercept) <= 0.5:
            raise CalibrationError(
                f"a calibration intercept of {self.intercept} g/cm3 is not plausible; allowed: "
                "-0.5 to 0.5. Is the line in mg/cm3?"
            )
        if self.covariance is not None:
            _check_covariance(self.covariance)
        if self.range_HU is not None and not self.range_HU[0] < self.range_HU[1]:
            raise CalibrationError(f"range_HU must be (low, high), got {self.range_HU}")


def _check_covariance(covariance: Covariance) -> None:
    """Refuse what is not a symmetric matrix without negative variances."""
    (a, b), (c, d) = covariance
    scale = (abs(a) * abs(d)) ** 0.5
    # written so that a NaN fails
    if not (a >= 0 and d >= 0 and abs(b - c) <= 1e-9 * scale and b * b <= a * d * (1 + 1e-9)):
        raise CalibrationError(
            f"{covariance} is not a covariance of slope and intercept: it must be symmetric, "
            "with variances that are not negative"
        )


# Hydroxyapatite in water at an effective energy of 70 keV: mass attenuation coefficients of the
# Elam tables (xraydb 4.5.8) give 1307 HU for 1 g/cm3 that displaces its own volume of water
# (density 3.16 g/cm3). Scanners differ by some 20 % and kVp by more: hence "uncalibrated".
DEFAULT = Calibration(
    slope=1.0 / 1307.0,
    intercept=0.0,
    kind=DensityKind.HA,
    source="default line: hydroxyapatite in water at 70 keV (xraydb), not measured for this scan",
    calibrated=False,
)


def density_image(ct: Image, calibration: Calibration = DEFAULT) -> DensityImage:
    """Turn HU into density.

    Parameters
    ----------
    ct : Image
        In HU.
    calibration : Calibration

    Returns
    -------
    DensityImage
        g/cm3, float32; negative where the scan is darker than the line's zero (fat).
    """
    array = (ct.array * np.float32(calibration.slope) + calibration.intercept).astype(np.float32)
    return DensityImage(array, ct.grid, calibration.kind, calibration.calibrated)


def density_error(ct: Image, calibration: Calibration) -> Image:
    """Tell how uncertain the density is because the line is: its standard error.

    ``var = var_slope HU^2 + 2 cov HU + var_intercept``. The error is common to all voxels of a
    scan, so that of a mean density is the one at the mean HU; image noise is not in it.

    Parameters
    ----------
    ct : Image
        In HU.
    calibration : Calibration
        With a covariance.

    Returns
    -------
    Image
        g/cm3 of the calibration's kind, float32.

    Raises
    ------
    CalibrationError
        If the calibration has no covariance.
    """
    if calibration.covariance is None:
        raise CalibrationError(
            f"the calibration ({calibration.source}) has no covariance, so the error of its "
            "densities isn't known. Calibrate on rods in the scan: bonekit calibrate"
        )
    (slope, both), (_, intercept) = calibration.covariance
    hu = ct.array.astype(np.float64)
    variance = np.maximum(slope * hu * hu + 2 * both * hu + intercept, 0.0)
    return Image(np.sqrt(variance).astype(np.float32), ct.grid)


@dataclass(frozen=True)
class Conversion:
    """A published line from one kind of density to another: ``wanted = slope * given + intercept``.

    Parameters
    ----------
    given, wanted : DensityKind
    slope : float
    intercept : float
        g/cm3.
    source : str
    """

    given: DensityKind
    wanted: DensityKind
    slope: float
    intercept: float
    source: str

    def __call__(self, density: Values) -> Values:
        """Convert densities in g/cm3."""
        return self.slope * density + self.intercept

    def inverse(self) -> Conversion:
        """Return the same line read the other way."""
        slope, intercept = 1.0 / self.slope, -self.intercept / self.slope
        source = f"inverse of {self.source}"
        return Conversion(self.wanted, self.given, slope, intercept, source)

    @property
    def description(self) -> str:
        """The line as a formula, and its source."""
        line = f"{self.wanted} = {self.slope:.5g} * {self.given}"
        if self.intercept:
            line += f" {'+' if self.intercept > 0 else '-'} {abs(self.intercept):.5g} g/cm3"
        return f"{line} ({self.source})"


_PUBLISHED = (
    Conversion(
        DensityKind.K2HPO4, DensityKind.ASH, 1.06, 0.0389, "Keyak et al., J Biomed Mater Res 1994"
    ),
    Conversion(DensityKind.HA, DensityKind.ASH, 0.877, 0.0789, "Schileo et al., J Biomech 2008"),
    Conversion(DensityKind.APPARENT, DensityKind.ASH, 0.6, 0.0, "Schileo et al., J Biomech 2008"),
)
# A scan is kept as ash density; the inverse gives back what its phantom, or a law, is made of.
_LINES = {
    (line.given, line.wanted): line
    for line in (*_PUBLISHED, *(published.inverse() for published in _PUBLISHED))
}


def conversion(given: DensityKind, wanted: DensityKind) -> Conversion:
    """Look up the line from one kind of density to another.

    Only single published lines and their inverses: two phantom equivalents have none between
    them, and a way over ash is for the caller to choose.

    Raises
    ------
    InputError
        If there is no such line; the message names those that exist.
    """
    if given is wanted:
        return Conversion(given, wanted, 1.0, 0.0, "the same density")
    if (given, wanted) not in _LINES:
        possible = ", ".join(str(b) for a, b in _LINES if a is given)
        raise InputError(
            f"no published line turns {given} density into {wanted} density; possible from "
            f"{given}: {possible}"
        )
    return _LINES[given, wanted]


def convert(density: DensityImage, kind: DensityKind) -> DensityImage:
    """Convert an image to another kind of density.

    K2HPO4 to ash: ``1.06 rho + 0.0389`` (Keyak et al. 1994). Hydroxyapatite to ash:
    ``0.877 rho + 0.0789`` (Schileo et al. 2008). Apparent to ash: ``0.6 rho`` (Schileo et al.
    2008). And back.

    Raises
    ------
    InputError
        If no published line leads there; the message names those that exist.
    """
    line = conversion(density.kind, kind)
    array = density.array * np.float32(line.slope) + np.float32(line.intercept)
    return DensityImage(array.astype(np.float32), density.grid, kind, density.calibrated)


def to_ash(density: DensityImage) -> DensityImage:
    """Convert to ash density; see `convert`."""
    return convert(density, DensityKind.ASH)

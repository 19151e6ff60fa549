"""The line from HU to density, and what is not known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonekit.density.kinds import DensityImage, DensityKind
from bonekit.errors import CalibrationError
from bonekit.image.volume import Image

Values = NDArray[np.float64]
Covariance = tuple[tuple[float, float], tuple[float, float]]


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
        Of (slope, intercept), where it is known.
    range_HU : tuple of float, (2,), optional
        Lowest and highest HU the line was measured at.
    kVp : float, optional
        Tube voltage it was measured at; a scan at another one needs another line.
    kernel : str, optional
        Reconstruction kernel it was measured with.

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
    kVp: float | None = None
    kernel: str | None = None

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
        if self.kVp is not None and not 60 <= self.kVp <= 150:
            raise CalibrationError(f"a tube voltage of {self.kVp} kVp; allowed: 60 to 150 kVp")

    def __call__(self, hu: Values) -> Values:
        """Densities in g/cm3 at values in HU."""
        return self.slope * hu + self.intercept

    def standard_error(self, hu: Values) -> Values:
        """Tell the standard error of the line in g/cm3 at values in HU.

        ``var = var_slope HU^2 + 2 cov HU + var_intercept``.

        Raises
        ------
        CalibrationError
            If the covariance of the line is not known.
        """
        if self.covariance is None:
            raise CalibrationError(
                f"the calibration ({self.source}) has no covariance, so the error of its "
                "densities isn't known. Calibrate on rods in the scan: bonekit calibrate"
            )
        (slope, both), (_, intercept) = self.covariance
        variance = slope * hu * hu + 2 * both * hu + intercept
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


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
# (density 3.16 g/cm3). Its errors are assumed: scanners differ by up to 20 % (Benca et al. 2020),
# taken as two standard errors of the slope, and the zero by some 13 HU.
DEFAULT = Calibration(
    slope=1.0 / 1307.0,
    intercept=0.0,
    kind=DensityKind.HA,
    source="default line: hydroxyapatite in water at 70 keV (xraydb), not measured for this scan; "
    "its errors are assumed",
    calibrated=False,
    covariance=(((0.1 / 1307.0) ** 2, 0.0), (0.0, 0.01**2)),
)


class Applied(NamedTuple):
    """What a calibration makes of a scan.

    Parameters
    ----------
    density : DensityImage
    standard_error : Image, optional
        g/cm3; None where the covariance of the line is not known.
    """

    density: DensityImage
    standard_error: Image | None


def apply(ct: Image, calibration: Calibration = DEFAULT) -> Applied:
    """Turn HU into density, with its standard error.

    The error is that of the line, and common to all voxels of a scan: that of a mean density is
    the one at the mean HU. Image noise, which averages out, is not in it.

    Parameters
    ----------
    ct : Image
        In HU.
    calibration : Calibration
    """
    error = None
    if calibration.covariance is not None:
        values = calibration.standard_error(ct.array.astype(np.float64)).astype(np.float32)
        error = Image(values, ct.grid)
    return Applied(density_image(ct, calibration), error)


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


def sigma_points(calibration: Calibration) -> tuple[tuple[float, float], ...]:
    """Lines (slope, intercept) that stand for the error of a calibration, all of one weight.

    The mean of a function over them is that over the error up to the third order; their variance
    of a linear function is the exact one (the unscented transform for two parameters, Julier and
    Uhlmann, Proc IEEE 2004).

    Raises
    ------
    CalibrationError
        If the covariance of the line is not known.
    """
    if calibration.covariance is None:
        raise CalibrationError(f"the calibration ({calibration.source}) has no covariance")
    centre = np.array([calibration.slope, calibration.intercept])
    variance, axes = np.linalg.eigh(np.array(calibration.covariance))
    steps = (axes * np.sqrt(2.0 * np.maximum(variance, 0.0))).T
    points = [centre + sign * step for step in steps for sign in (1, -1)]
    return tuple((float(slope), float(intercept)) for slope, intercept in points)


def outside_range(
    hu: NDArray[np.integer] | Values, calibration: Calibration
) -> tuple[int, int] | None:
    """Count the values below and above what a line was measured at; None where that is not known.

    Parameters
    ----------
    hu : ndarray
    calibration : Calibration
    """
    if calibration.range_HU is None:
        return None
    low, high = calibration.range_HU
    return int(np.count_nonzero(hu < low)), int(np.count_nonzero(hu > high))

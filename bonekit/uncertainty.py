"""The error bar of a strength: what the error of the calibration makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.density import Calibration, Conversion, sigma_points

Float = NDArray[np.float64]

NORMAL_95 = 1.959964  # standard errors to either side that hold 95 % of a normal distribution


@dataclass(frozen=True)
class StrengthError:
    """How far the strength may be off, because the calibration is.

    Parameters
    ----------
    standard_error_N : float
    low_N, high_N : float
        Interval that holds 95 %, the logarithm of the strength taken as normal.
    strengths_N : tuple of float
        Strength with each line of `bonekit.density.sigma_points`.
    """

    standard_error_N: float
    low_N: float
    high_N: float
    strengths_N: tuple[float, ...]

    def scaled(self, factor: float) -> StrengthError:
        """Give the same relative error to another strength."""
        return StrengthError(
            self.standard_error_N * factor,
            self.low_N * factor,
            self.high_N * factor,
            tuple(strength * factor for strength in self.strengths_N),
        )


def strength_error(
    strength_N: float,
    calibration: Calibration,
    strength_with: Callable[[tuple[float, float]], float],
) -> StrengthError:
    """Carry the error of the line from HU to density to the strength.

    Parameters
    ----------
    strength_N : float
        With the line itself.
    calibration : Calibration
        With a covariance.
    strength_with : callable
        Strength in N with another line (slope, intercept).
    """
    strengths = np.array([strength_with(line) for line in sigma_points(calibration)])
    log = np.log(strengths)
    spread = float(np.exp(NORMAL_95 * np.sqrt(np.mean((log - log.mean()) ** 2))))
    error = float(np.sqrt(np.mean((strengths - strengths.mean()) ** 2)))
    return StrengthError(error, strength_N / spread, strength_N * spread, tuple(strengths.tolist()))


def relined(ash: Float, old: Calibration, new: tuple[float, float], to_ash: Conversion) -> Float:
    """Ash density as another line from HU would have given it.

    Density is linear in HU, so that of an element or a voxel needs not be sampled again.

    Parameters
    ----------
    ash : ndarray
        g/cm3, made with `old` and `to_ash`.
    old : Calibration
    new : tuple of float, (2,)
        Slope and intercept.
    to_ash : Conversion
    """
    hu = (to_ash.inverse()(ash) - old.intercept) / old.slope
    return to_ash(new[0] * hu + new[1])

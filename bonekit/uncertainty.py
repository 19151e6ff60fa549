"""The error bar of a strength: what the errors of calibration and mesh make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.density import Calibration, Conversion, sigma_points

Float = NDArray[np.float64]

NORMAL_95 = 1.959964  # standard errors to either side that hold 95 % of a normal distribution


@dataclass(frozen=True)
class StrengthError:
    """How far the strength may be off, because calibration and mesh are.

    Parameters
    ----------
    standard_error_N : float
    low_N, high_N : float
        Interval that holds 95 %, the logarithm of the strength taken as normal.
    strengths_N : tuple of float
        Strength with each line of `bonekit.density.sigma_points`.
    moved_N : tuple of float
        Strength on each mesh of `bonekit.meshing.bone.moved_meshes`; empty where the mesh is left
        out.
    """

    standard_error_N: float
    low_N: float
    high_N: float
    strengths_N: tuple[float, ...]
    moved_N: tuple[float, ...] = ()

    def scaled(self, factor: float) -> StrengthError:
        """Give the same relative error to another strength."""
        return StrengthError(
            self.standard_error_N * factor,
            self.low_N * factor,
            self.high_N * factor,
            tuple(strength * factor for strength in self.strengths_N),
            tuple(strength * factor for strength in self.moved_N),
        )


def strength_error(
    strength_N: float,
    calibration: Calibration,
    strength_with: Callable[[tuple[float, float]], float],
    moved_N: Sequence[float] = (),
) -> StrengthError:
    """Carry the errors of the line from HU to density, and of the mesh, to the strength.

    Both are independent: their variances add. The mesh's is that of the strengths on all lattices,
    the mesh itself among them.

    Parameters
    ----------
    strength_N : float
        With the line itself.
    calibration : Calibration
        With a covariance.
    strength_with : callable
        Strength in N with another line (slope, intercept).
    moved_N : sequence of float
        Strength on lattices elsewhere; none leaves the mesh out.
    """
    strengths = np.array([strength_with(line) for line in sigma_points(calibration)])
    lattices = np.array([strength_N, *moved_N])
    error = np.hypot(strengths.std(), _sample_std(lattices))
    relative = np.hypot(np.log(strengths).std(), _sample_std(np.log(lattices)))
    spread = float(np.exp(NORMAL_95 * relative))
    return StrengthError(
        float(error),
        strength_N / spread,
        strength_N * spread,
        tuple(strengths.tolist()),
        tuple(moved_N),
    )


def _sample_std(values: Float) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


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

"""A landmark and an angle, each with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landmark:
    """A named point of a bone.

    Parameters
    ----------
    name : str
    point_mm : ndarray, (3,), optional
        World; None where it was not found.
    uncertainty_mm : float, optional
        Standard error along each axis, from the voxel size, the residuals of the fits it rests on
        and the error of the axes it is measured along. It leaves out what no residual shows: a
        bone that is deformed or a mask that is wrong.
    confidence : float
        0 (not found) to 1: the share of the evidence that was in view and agreed, see `note`.
    note : str
        What it rests on; for a point that is missing, why.
    given : bool
        Placed by the user.
    """

    name: str
    point_mm: Float | None
    uncertainty_mm: float | None
    confidence: float
    note: str
    given: bool = False

    @classmethod
    def missing(cls, name: str, why: str) -> Landmark:
        """Return a landmark that was not found."""
        return cls(name, None, None, 0.0, why)


@dataclass(frozen=True)
class Angle:
    """A named angle of a bone.

    Parameters
    ----------
    name : str
    value_deg : float, optional
        None where a landmark it needs is missing.
    uncertainty_deg : float, optional
        Standard error that follows from its landmarks' uncertainties.
    note : str
        How it is defined; for an angle that is missing, why.
    """

    name: str
    value_deg: float | None
    uncertainty_deg: float | None
    note: str


def unit(vector: Float) -> Float:
    """Scale to length 1."""
    return np.asarray(vector / np.linalg.norm(vector))


def between_deg(one: Float, other: Float) -> float:
    """Angle between two directions, 0 to 180 degrees."""
    cosine = float(unit(one) @ unit(other))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def square_to(vector: Float, axis: Float) -> Float:
    """Part of a vector that is square to a unit axis."""
    return np.asarray(vector - (vector @ axis) * axis)

"""From density to elasticity: laws applied to elements, and what was clamped on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityKind
from bonekit.errors import InputError
from bonekit.fem.catalogue import LAWS, law_named
from bonekit.fem.laws import Law, Power

__all__ = ["LAWS", "Elasticity", "Law", "Power", "elasticity", "law_named"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Elasticity:
    """Young's moduli of elements, and what was clamped on the way.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    n_floor, n_ceiling : int
        Elements whose density lay below or above the law's limits and was moved there.
    n_extrapolated : int, optional
        Elements outside the densities that the law was measured on; None where those are not
        known.
    mapping : str
        What of an element the law was given, see `bonekit.fem.mapping`. Of "density" and
        "centroid" that one density is counted, of "modulus" and "nodal" the element if any is.
    """

    E_MPa: Float
    n_floor: int
    n_ceiling: int
    n_extrapolated: int | None = None
    mapping: Literal["modulus", "density", "centroid", "nodal"] = "density"


def elasticity(density: Float, kind: DensityKind, law: Law) -> Elasticity:
    """Apply a law to element densities.

    Parameters
    ----------
    density : ndarray of float, (n_elements,)
        g/cm3.
    kind : DensityKind
        What the densities are densities of.
    law : Law

    Raises
    ------
    InputError
        If the law asks for another kind of density, or a density is not finite.
    """
    if kind is not law.kind:
        raise InputError(
            f"law {law.name} asks for {law.kind} density, got {kind} density; see "
            "bonekit.density.conversion"
        )
    if not np.isfinite(density).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(density))} element densities are NaN")
    n_floor = int(np.count_nonzero(density < law.low))
    n_ceiling = int(np.count_nonzero(density > law.high))
    return Elasticity(law.modulus(density), n_floor, n_ceiling, _extrapolated(density, law))


def _extrapolated(density: Float, law: Law) -> int | None:
    if law.valid is None:
        return None
    low, high = law.valid
    return int(np.count_nonzero((density < low) | (density > high)))

"""From density to elasticity: named laws with their source, unit and range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityKind
from bonekit.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A power law ``E = factor * density ** exponent``.

    Parameters
    ----------
    name : str
    kind : DensityKind
        The density the law asks for.
    factor : float
        MPa at 1 g/cm3.
    exponent : float
    low, high : float
        g/cm3; densities outside are moved to these limits, and counted.
    source : str
    """

    name: str
    kind: DensityKind
    factor: float
    exponent: float
    low: float
    high: float
    source: str

    @property
    def description(self) -> str:
        """The law as a formula."""
        return f"E = {self.factor:g} MPa * ({self.kind} density in g/cm3) ^ {self.exponent:g}"


# Lower limit: 6 mg/cm3 of ash, as Ogo and parosol-py clamp; upper: denser than any human bone.
LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Law(
            "keyak_2005",
            DensityKind.ASH,
            14900.0,
            1.86,
            0.006,
            1.4,
            "Keyak et al., Clin Orthop Relat Res 2005 (femur)",
        ),
        Law(
            "keller_1994",
            DensityKind.ASH,
            10500.0,
            2.29,
            0.006,
            1.4,
            "Keller, J Biomech 1994 (femur and spine)",
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Elasticity:
    """Young's moduli of elements, and what was clamped on the way.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    n_floor, n_ceiling : int
        Elements whose density lay below or above the law's range.
    """

    E_MPa: Float
    n_floor: int
    n_ceiling: int


def law_named(name: str) -> Law:
    """Look up a law.

    Raises
    ------
    InputError
        If there is none of that name; the message lists those that exist.
    """
    if name not in LAWS:
        raise InputError(f"law {name!r} is unknown; known: {', '.join(LAWS)}")
    return LAWS[name]


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
        raise InputError(f"law {law.name} asks for {law.kind} density, got {kind} density")
    if not np.isfinite(density).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(density))} element densities are NaN")
    E = law.factor * np.clip(density, law.low, law.high) ** law.exponent
    low, high = density < law.low, density > law.high
    return Elasticity(E, int(np.count_nonzero(low)), int(np.count_nonzero(high)))

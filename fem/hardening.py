"""Plasticity for decks: a yield stress for each Young's modulus, from a law of bone."""

from __future__ import annotations

import numpy as np

from bonekit.errors import InputError
from bonekit.fem.decks import Hardening
from bonekit.fem.laws import Law

POINTS = 20_001  # of the table from density to modulus


def perfect_plasticity(law: Law) -> Hardening:
    """Von Mises plasticity without hardening, at the compressive strength that a law gives.

    The density is that at which the law gives the modulus; the strength is the law's there, or its
    yield strain in compression times the modulus. Bone's asymmetry, softening and residual stress
    are left out: they are no part of a J2 table, see `bonekit.fem.keyak_law`.

    Parameters
    ----------
    law : Law
        Whose modulus rises with density.

    Returns
    -------
    callable
        From Young's modulus in MPa to a `Material.hardening` of one row. Moduli beyond the law's
        limits get the strength at the limit.

    Raises
    ------
    InputError
        If the law gives neither a strength nor a yield strain, or its modulus does not rise.
    """
    if law.yield_strain is not None and law.strength is None:
        strain = law.yield_strain.compression
        return lambda E_MPa: ((E_MPa * strain, 0.0),)
    if law.strength is None:
        raise InputError(
            f"law {law.name} gives no strength to yield at; keyak_2005 and "
            "morgan_2003_femoral_neck do"
        )
    high = law.high if np.isfinite(law.high) else max(2.0, 2 * law.low)
    density = np.linspace(max(law.low, 1e-6), high, POINTS)
    modulus, strength = law.modulus(density), law.strength(density)
    if (np.diff(modulus) <= 0).any():
        raise InputError(
            f"the modulus of law {law.name} does not rise with density everywhere: no strength "
            "belongs to a modulus"
        )
    return lambda E_MPa: ((float(np.interp(E_MPa, modulus, strength)), 0.0),)

"""The law of Keyak et al. 2005 after yield as a yield table for each element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.laws import Law, PostYield
from bonekit.fem.plastic_laws import Plastic

Float = NDArray[np.float64]


def keyak_law(
    law: Law,
    density_g_cm3: Float,
    E_MPa: Float,
    cortical: NDArray[np.bool_],
    edge_mm: float,
    nu: float = 0.3,
    breaks: NDArray[np.bool_] | None = None,
) -> Plastic:
    """Von Mises plasticity with a plateau, softening and a residual stress, from density.

    A bar of elements of which one yields gives the elongation that Keyak et al. measured, whatever
    the edge of the elements: plateau and softening are stretched by (specimen / edge) in plastic
    strain (see `bonekit.fem.laws.PostYield`). The slope of stress over strain, Ep, is turned into
    that over plastic strain, ``H = E Ep / (E - Ep)``.

    Parameters
    ----------
    law : Law
        With a strength and what follows it, such as ``LAWS["keyak_2005"]``.
    density_g_cm3 : ndarray of float, (n,)
        Of the kind of the law; moved to the law's limits.
    E_MPa : ndarray of float, (n,)
        Modulus of each element, as the model has it.
    cortical : ndarray of bool, (n,)
        Which elements are cortical bone; the others are trabecular.
    edge_mm : float
        Edge of the elements; of bricks the cubic root of their volume.
    nu : float
    breaks : ndarray of bool, (n,), optional
        Which elements can yield (default: all); the others, such as cement, stay elastic.

    Returns
    -------
    Plastic

    Raises
    ------
    InputError
        If the law has no strength or says nothing of a kind of bone that occurs, or if the arrays
        don't fit, or elements are too long for the softening.
    """
    if law.strength is None:
        raise InputError(f"law {law.name} gives no strength; keyak_2005 does")
    E = np.asarray(E_MPa, dtype=np.float64)
    if not (E.shape == density_g_cm3.shape == cortical.shape and E.ndim == 1):
        raise InputError(
            f"density {density_g_cm3.shape}, modulus {E.shape} and region {cortical.shape} must "
            "be arrays over the same elements"
        )
    density = np.clip(density_g_cm3, law.low, law.high)
    knots, yields = np.zeros((len(E), 3)), np.zeros((len(E), 3))
    for region, chosen in (("cortical", cortical), ("trabecular", ~cortical)):
        if chosen.any():
            after = law.after_yield("cortical" if region == "cortical" else "trabecular")
            strength = law.strength(density[chosen])
            table = _table(after, density[chosen], E[chosen], strength, edge_mm)
            knots[chosen], yields[chosen] = table
    if breaks is not None:
        yields[~breaks] = 1e30  # MPa: never reached
    return Plastic(E, nu, knots, yields)


def _table(
    after: PostYield, density: Float, E_MPa: Float, strength_MPa: Float, edge_mm: float
) -> tuple[Float, Float]:
    """Plastic strains and stresses at the knots, each (n, 3)."""
    plateau = after.plateau_strain(density, edge_mm)
    Ep = after.softening_modulus(density, E_MPa, edge_mm)
    least = np.minimum(after.minimum_stress(density), strength_MPa)
    H = E_MPa * Ep / (E_MPa - Ep)
    # a fall of nothing still needs a knot of its own
    end = plateau + np.maximum((least - strength_MPa) / H, 1e-9)
    knots = np.stack([np.zeros_like(plateau), plateau, end], axis=1)
    return knots, np.stack([strength_MPa, strength_MPa, least], axis=1)

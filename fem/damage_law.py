"""Damage in tension and compression that dissipates what a crack does (after Mazars)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bonekit.errors import InputError
from bonekit.fem.constitutive import (
    Array,
    PointParameters,
    Response,
    State,
    double_shear,
    elastic_energy,
    elastic_stress,
    elastic_tangent,
    namespace,
    norm,
    outer,
    require_elasticity,
)
from bonekit.fem.constitutive_spectral import assembled, principal

_LEFT = 1e-5  # share of the stiffness that stays: a broken element does not float


@dataclass(frozen=True, eq=False)
class Damage(PointParameters):
    """Mazars-type damage: ``stress = (1 - d) D strain``, with d of two histories.

    The stress of the undamaged bone is split by the signs of its principal values; the norm of each
    part over E is an equivalent strain k, that of a bar, and its largest value a history. Beyond a
    threshold k0 it takes ``(k0 / k) exp(-(k - k0) / kf)`` of the stiffness, in tension and in
    compression; 1 - d is the product of both. A bar softens exponentially and dissipates
    ``G / edge`` per volume, whatever the edge. As in Mazars' law, cracks don't close: stiffness
    lost in tension is missing in compression. Since d only grows and the law has the potential
    ``(1 - d) strain D strain / 2``, dissipation is never negative. Tangents are not symmetric.

    Mazars' one equivalent strain is the norm of the positive principal strains, with his weights of
    tension and compression; the two here are independent, so that each curve is what was asked.

    Parameters
    ----------
    E_MPa : array, (n,)
    nu : float
    threshold : array, (n, 2)
        Strain of a bar at its strength, in tension and compression.
    decay : array, (n, 2)
        kf, of `damage_law`.

    Raises
    ------
    InputError
        If a parameter is not positive.

    References
    ----------
    Mazars, Eng Fract Mech 25 (1986) 729; Faria, Oliver and Cervera, Int J Solids Struct 35 (1998)
    1533 (the split); Bazant and Oh, Mater Struct 16 (1983) 155 (energy per element width).
    Unverified: quoted from memory.
    """

    E_MPa: Array
    nu: float
    threshold: Array
    decay: Array

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)
        if not (bool((self.threshold > 0).all()) and bool((self.decay > 0).all())):
            raise InputError("thresholds and decay strains of a damage law must be positive")

    @property
    def symmetric(self) -> bool:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return False

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        xp = namespace(increment)
        strain = state.strain + increment
        E = self.E_MPa + 0 * strain[..., 0]
        stress = elastic_stress(strain, E, self.nu)
        at = principal(stress)
        left, slope, history = 1 + 0 * E, 0 * strain, []
        for side, sign in enumerate((1, -1)):
            part = assembled(sign * xp.clip(sign * at.values, 0, None), at)
            k, before = norm(part) / E, self._begun(state, side)
            now = xp.maximum(before, k)
            share, rate = self._remaining(now, side)
            # k^2 E^2 / 2 = part . part / 2 has the derivative part : D
            size = xp.where(k > before, rate / (E * E * now), 0 * k)
            pull = size[..., None] * elastic_stress(double_shear(part), E, self.nu)
            slope = slope * share[..., None] + left[..., None] * pull
            left = left * share
            history.append(xp.where(now > self.threshold[..., side], now, 0 * now))
        tangent = left[..., None, None] * elastic_tangent(E, self.nu, strain) + outer(stress, slope)
        new = replace(state, strain=strain, history=xp.stack(history, -1))
        return Response(left[..., None] * stress, new, tangent)

    def _begun(self, state: State, side: int) -> Array:
        """Largest equivalent strain so far, at least the threshold."""
        history = state.history[..., side]
        return namespace(history).maximum(history, self.threshold[..., side] + 0 * history)

    def _remaining(self, k: Array, side: int) -> tuple[Array, Array]:
        """Share of the stiffness that one side leaves, and its derivative by k."""
        k0, kf = self.threshold[..., side], self.decay[..., side]
        left = k0 / k * namespace(k).exp(-(k - k0) / kf)
        return _LEFT + (1 - _LEFT) * left, -(1 - _LEFT) * left * (1 / k + 1 / kf)

    def surely_elastic(self, strain: Array) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`: no part is larger than the whole."""
        size = norm(elastic_stress(strain, 1.0 + 0 * strain[..., 0], self.nu))
        return (size <= self.threshold[..., 0]) & (size <= self.threshold[..., 1])

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        d = self.damage(state)
        left = (1 - d[..., 0]) * (1 - d[..., 1])
        return left * elastic_energy(state.strain, self.E_MPa, self.nu)

    def damage(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        left = [self._remaining(self._begun(state, side), side)[0] for side in range(2)]
        return 1 - namespace(state.history).stack(left, -1)


def damage_law(
    E_MPa: ArrayLike,
    nu: float,
    strain: tuple[ArrayLike, ArrayLike],
    energy_N_mm: tuple[ArrayLike, ArrayLike],
    edge_mm: float,
) -> Damage:
    """Damage that dissipates a given energy per area of a crack in elements of an edge length.

    ``E k0^2 / 2 + E k0 kf = G / edge`` gives kf.

    Parameters
    ----------
    E_MPa : array_like, (n,)
    nu : float
    strain : (tension, compression)
        At the strength, positive; numbers or (n,).
    energy_N_mm : (tension, compression)
        G, energy per area in N/mm.
    edge_mm : float

    Raises
    ------
    InputError
        If elements are so long that the energy they store at the strength exceeds what breaking
        them may dissipate, or see `Damage`.
    """
    E = np.atleast_1d(np.asarray(E_MPa, dtype=np.float64))
    k0, G = (
        np.stack([np.broadcast_to(np.asarray(a, float), E.shape) for a in pair], axis=1)
        for pair in (strain, energy_N_mm)
    )
    kf = G / (edge_mm * E[:, None] * k0) - 0.5 * k0
    if not (kf > 0).all():
        longest = float((2 * G / (E[:, None] * k0**2)).min())
        raise InputError(
            f"elements of {edge_mm:g} mm are too long for this damage law: they would snap; take "
            f"edges below {longest:.3g} mm or a larger energy"
        )
    return Damage(E, nu, k0, kf)

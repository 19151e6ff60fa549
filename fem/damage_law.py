"""Damage, apart in tension and compression, that dissipates what a crack does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bonekit.errors import InputError
from bonekit.fem.constitutive import (
    Array,
    PointParameters,
    Response,
    State,
    constant,
    halve_shear,
    lame_of,
    namespace,
    norm,
    outer,
    require_elasticity,
    trace,
)
from bonekit.fem.constitutive_spectral import assembled, derivative, principal, shifted_clip

_LEFT = 1e-5  # share of the stiffness that stays: a broken element does not float


@dataclass(frozen=True, eq=False)
class Damage(PointParameters):
    """Mazars-type damage: loss of stiffness in tension and in compression, with crack closure.

    The elastic stress is split into a tensile and a compressive part, orthogonal in elastic energy:
    ``stress = (1 - d_t) stress_t + (1 - d_c) stress_c``. Each damage grows with its own equivalent
    strain ``sqrt(2 energy / E)``, that of a bar, beyond a threshold k0 (Mazars takes the norm of
    the positive strains instead; with the energies the law has a potential, symmetric tangents and
    dissipation that is never negative). ``1 - d = (k0 / k) exp(-(k - k0) / kf)``: a bar softens
    exponentially, and dissipates ``G / edge`` per volume, whatever the edge.

    Parameters
    ----------
    E_MPa : array, (n,)
    nu : float
        0 <= nu < 0.5.
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
    1533 (two variables); Wu and Cervera, Int J Solids Struct 2018 (the split in the norm of
    energy); Bazant and Oh, Mater Struct 16 (1983) 155 (energy per element width). Unverified:
    quoted from memory.
    """

    E_MPa: Array
    nu: float
    threshold: Array
    decay: Array

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)
        if not (bool((self.threshold > 0).all()) and bool((self.decay > 0).all())):
            raise InputError("thresholds and decay strains of a damage law must be positive")
        if self.nu < 0:
            raise InputError(f"this law takes 0 <= nu < 0.5, got {self.nu}")

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        xp = namespace(increment)
        strain = state.strain + increment
        E = self.E_MPa + 0 * strain[..., 0]
        at = principal(halve_shear(strain))
        parts, slopes = self._split(at.values, E)
        stress, tangent = 0 * strain, 0 * strain[..., None] * strain[..., None, :]
        history = []
        for side in range(2):
            part = assembled(parts[side], at)
            k = (2 * self._energy(parts[side], E) / E) ** 0.5
            before = self._begun(state, side)
            now = xp.maximum(before, k)
            grows = k > before
            left, rate = self._remaining(now, side)
            stress = stress + left[..., None] * part
            tangent = tangent + left[..., None, None] * derivative(parts[side], slopes[side], at)
            # d(1 - d) / dk times dk / d strain = stress part / (E k)
            fall = xp.where(grows, rate / (E * xp.where(grows, k, 1 + 0 * k)), 0 * k)
            tangent = tangent + fall[..., None, None] * outer(part, part)
            history.append(xp.where(now > self.threshold[..., side], now, 0 * now))
        return Response(stress, State(strain, state.plastic, xp.stack(history, -1)), tangent)

    def _split(self, strains: Array, E: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Principal stresses in tension and compression, and derivatives by principal strains."""
        lam, mu = lame_of(E, self.nu)
        D = lam[..., None, None] + (2 * mu)[..., None, None] * constant(np.eye(3), strains)
        stresses = (D @ strains[..., None])[..., 0]
        zero = 0 * strains[..., 0]
        infinite = constant(np.inf, strains) + zero
        pull, jacobian = shifted_clip(stresses, zero, infinite, -self.nu / (1 + self.nu))
        by_strain = jacobian @ D
        return (pull, stresses - pull), (by_strain, D - by_strain)

    def _energy(self, stresses: Array, E: Array) -> Array:
        """Elastic energy density of principal stresses."""
        squares = (stresses * stresses).sum(-1)
        total = (1 + self.nu) * squares - self.nu * stresses.sum(-1) ** 2
        return 0.5 * namespace(total).clip(total, 0, None) / E

    def _begun(self, state: State, side: int) -> Array:
        return namespace(state.history).maximum(
            state.history[..., side], self.threshold[..., side] + 0 * state.history[..., side]
        )

    def _remaining(self, k: Array, side: int) -> tuple[Array, Array]:
        """Return 1 - d and its derivative by the equivalent strain."""
        k0, kf = self.threshold[..., side], self.decay[..., side]
        left = k0 / k * namespace(k).exp(-(k - k0) / kf)
        return _LEFT + (1 - _LEFT) * left, -(1 - _LEFT) * left * (1 / k + 1 / kf)

    def surely_elastic(self, strain: Array) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`: neither part has more than all the energy."""
        lam, mu = lame_of(1.0, self.nu)
        twice = lam * trace(strain) ** 2 + 2 * mu * norm(halve_shear(strain)) ** 2
        return (twice <= self.threshold[..., 0] ** 2) & (twice <= self.threshold[..., 1] ** 2)

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        E = self.E_MPa + 0 * state.strain[..., 0]
        parts, _ = self._split(principal(halve_shear(state.strain)).values, E)
        d = self.damage(state)
        each = [(1 - d[..., side]) * self._energy(parts[side], E) for side in range(2)]
        return each[0] + each[1]

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

"""Plasticity of von Mises and of Drucker and Prager, with a piecewise linear yield stress."""

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
    deviatoric,
    double_shear,
    elastic_energy,
    lame_of,
    namespace,
    norm,
    outer,
    require_elasticity,
    trace,
    unit,
)

_ROOT_3_2 = float(np.sqrt(1.5))


@dataclass(frozen=True, eq=False)
class Plastic(PointParameters):
    """Plasticity with the yield surface ``q + friction * p = d(kappa)``.

    q is von Mises' stress, p a third of the trace of the stress, kappa the accumulated plastic
    strain: of a bar where friction and dilatancy are 0. Plastic strains follow
    ``q + dilatancy * p``. The stress is returned to the surface by the implicit Euler rule; since d
    is piecewise linear the return is exact, without iterations, in softening as well.

    Parameters
    ----------
    E_MPa : array, (n,)
    nu : float
    knots : array, (n, k)
        Accumulated plastic strain at the knots of d, rising from 0. d is constant after the last.
    yield_MPa : array, (n, k)
        d at the knots.
    friction, dilatancy : float
        Both 0 (von Mises), or both positive; equal for an associated flow and symmetric tangents.

    Raises
    ------
    InputError
        If the table is not in order, negative, or softens faster than the elastic energy of a
        point can feed.

    References
    ----------
    Simo and Hughes, Computational Inelasticity (1998), section 3.3 (radial return); de Souza Neto,
    Peric and Owen, Computational Methods for Plasticity (2008), section 8.3 (Drucker-Prager, apex):
    unverified, quoted from memory; the tests check the returns and tangents by themselves.
    """

    E_MPa: Array
    nu: float
    knots: Array
    yield_MPa: Array
    friction: float = 0.0
    dilatancy: float = 0.0

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)
        if self.friction < 0 or (self.friction > 0) != (self.dilatancy > 0):
            raise InputError(
                f"friction {self.friction} and dilatancy {self.dilatancy} must both be 0 or both "
                "be positive"
            )
        if not (bool((self.knots[..., 0] == 0).all()) and bool((self.yield_MPa >= 0).all())):
            raise InputError("a yield table starts at plastic strain 0 and holds stresses >= 0 MPa")
        if not bool((self.knots[..., 1:] > self.knots[..., :-1]).all()):
            raise InputError("the plastic strains of a yield table must rise")
        if not bool((self._slopes() > -0.999 * self._resistance()[..., None]).all()):
            raise InputError(
                "the yield stress falls faster with plastic strain than the elastic stress of a "
                "point does; stretch the softening (smaller elements) or raise the modulus"
            )

    def _resistance(self) -> Array:
        """Fall of the trial stress per accumulated plastic strain, the lesser of cone and apex."""
        lam, mu = lame_of(self.E_MPa, self.nu)
        return 3 * mu if self.friction == 0 else self._volumetric(lam + 2 * mu / 3)

    def _volumetric(self, bulk: Array) -> Array:
        return bulk * (self.friction * self.dilatancy)

    def _slopes(self) -> Array:
        """Slope of d after each knot, (..., k)."""
        xp = namespace(self.knots)
        rise = self.yield_MPa[..., 1:] - self.yield_MPa[..., :-1]
        slope = rise / (self.knots[..., 1:] - self.knots[..., :-1])
        return xp.concatenate([slope, 0 * self.knots[..., :1]], -1)

    def _accumulate(self, drive: Array, before: Array, resistance: Array) -> tuple[Array, Array]:
        """Solve ``d(kappa) + resistance * (kappa - before) = drive``: kappa >= before, slope of d.

        The left side rises with kappa, so that the segment is found from its values at the knots.
        """
        xp = namespace(drive)
        slopes = self._slopes()
        kappa, slope = before, 0 * drive
        for j in range(self.knots.shape[-1]):
            at, d, H = self.knots[..., j], self.yield_MPa[..., j], slopes[..., j]
            beyond = d + resistance * (at - before) <= drive
            inside = (drive - d + H * at + resistance * before) / (resistance + H)
            kappa = xp.where(beyond, inside, kappa)
            slope = xp.where(beyond, H, slope)
        yields = kappa > before
        return xp.where(yields, kappa, before), xp.where(yields, slope, 0 * slope)

    @property
    def symmetric(self) -> bool:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return self.friction == self.dilatancy

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        xp = namespace(increment)
        lam, mu = lame_of(self.E_MPa, self.nu)
        bulk = lam + 2 * mu / 3
        strain = state.strain + increment
        elastic = strain - state.plastic
        before = state.history[..., 0]
        s = (2 * mu)[..., None] * (elastic @ deviatoric(elastic))
        size, p = norm(s), bulk * trace(elastic)
        q = _ROOT_3_2 * size
        direction = s / xp.where(size > 0, size, 1 + 0 * size)[..., None]
        resistance = 3 * mu + self._volumetric(bulk)
        kappa, H = self._accumulate(q + self.friction * p, before, resistance)
        gamma = kappa - before
        theta = 1 - 3 * mu * gamma / xp.where(gamma > 0, q, 1 + 0 * q)
        cone = _Cone(mu, bulk, direction, gamma, theta, resistance + H)
        one = unit(s)
        stress = theta[..., None] * s + (p - bulk * self.dilatancy * gamma)[..., None] * one
        tangent = cone.tangent(self.friction, self.dilatancy)
        if self.friction > 0:
            stress, tangent, kappa = self._apex(theta, p, before, (stress, tangent, kappa))
        held = (stress - trace(stress)[..., None] / 3 * one) / (2 * mu)[..., None]
        held = double_shear(held) + trace(stress)[..., None] / (9 * bulk)[..., None] * one
        plastic = xp.where((kappa > before)[..., None], strain - held, state.plastic)
        history = xp.stack([kappa, 0 * kappa], -1)
        return Response(stress, State(strain, plastic, history), tangent)

    def _apex(
        self, theta: Array, p: Array, before: Array, cone: tuple[Array, Array, Array]
    ) -> tuple[Array, Array, Array]:
        """Stress, tangent and kappa where the cone's return would pass the apex."""
        stress, tangent, kappa = cone
        xp = namespace(stress)
        lam, mu = lame_of(self.E_MPa, self.nu)
        bulk = lam + 2 * mu / 3
        resistance = self._volumetric(bulk)
        kappa_apex, H = self._accumulate(self.friction * p, before, resistance)
        at = theta < 0
        one = unit(stress)
        pressure = p - bulk * self.dilatancy * (kappa_apex - before)
        slope = bulk * H / (resistance + H)
        hydrostatic = slope[..., None, None] * outer(one, one)
        return (
            xp.where(at[..., None], pressure[..., None] * one, stress),
            xp.where(at[..., None, None], hydrostatic, tangent),
            xp.where(at, kappa_apex, kappa),
        )

    def surely_elastic(self, strain: Array) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        lam, mu = lame_of(self.E_MPa, self.nu)
        q = _ROOT_3_2 * 2 * mu * norm(strain @ deviatoric(strain))
        drive = q
        if self.friction > 0:
            drive = q + self.friction * (lam + 2 * mu / 3) * trace(strain)
        return drive <= self.yield_MPa[..., 0]

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`; hardening counts as dissipated."""
        return elastic_energy(state.strain - state.plastic, self.E_MPa, self.nu)

    def damage(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return namespace(state.history).zeros_like(state.history)


@dataclass(frozen=True, eq=False)
class _Cone:
    """A return to the smooth part of the surface, for its tangent."""

    mu: Array
    bulk: Array
    direction: Array  # unit deviator of the trial stress
    gamma: Array
    theta: Array  # deviator after over deviator before
    stiffness: Array  # 3 mu + bulk * friction * dilatancy + slope of d

    def tangent(self, friction: float, dilatancy: float) -> Array:
        """Consistent tangent, (..., 6, 6)."""
        xp = namespace(self.mu)
        n, one = self.direction, unit(self.direction)
        dq = (2 * _ROOT_3_2 * self.mu)[..., None] * n
        drive = dq + (friction * self.bulk)[..., None] * one
        yields = self.gamma > 0
        rate = xp.where(yields, 1 / self.stiffness, 0 * self.gamma)
        dgamma = rate[..., None] * drive
        # theta = 1 - 3 mu gamma / q and q * direction is linear in the strain
        ratio = (1 - self.theta) / (3 * self.mu)  # gamma / q
        radial = outer(n, dgamma - ratio[..., None] * dq)
        D = (2 * self.mu * self.theta)[..., None, None] * deviatoric(n)
        D = D + self.bulk[..., None, None] * outer(one, one)
        D = D - (2 * _ROOT_3_2 * self.mu)[..., None, None] * radial
        if dilatancy > 0:
            D = D - (dilatancy * self.bulk)[..., None, None] * outer(one + 0 * n, dgamma)
        return D


def j2(E_MPa: ArrayLike, nu: float, plastic_strain: ArrayLike, stress_MPa: ArrayLike) -> Plastic:
    """Plasticity of von Mises with a table of yield stress over plastic strain.

    Parameters
    ----------
    E_MPa : array_like, (n,)
    nu : float
    plastic_strain, stress_MPa : array_like, (k,) or (n, k)
        The last stress holds for all larger strains.

    Raises
    ------
    InputError
        See `Plastic`.
    """
    E = np.atleast_1d(np.asarray(E_MPa, dtype=np.float64))
    knots, stress = (
        np.array(np.broadcast_to(np.asarray(a, dtype=np.float64), (len(E), np.shape(a)[-1])))
        for a in (plastic_strain, stress_MPa)
    )
    if knots.shape != stress.shape:
        raise InputError(
            f"a yield table of {knots.shape[-1]} strains and {stress.shape[-1]} stresses"
        )
    return Plastic(E, nu, knots, stress)


def drucker_prager(
    E_MPa: ArrayLike,
    nu: float,
    tension_MPa: ArrayLike,
    compression_MPa: ArrayLike,
    *,
    dilatancy: float | None = None,
    hardening_MPa: float = 0.0,
) -> Plastic:
    """Plasticity of Drucker and Prager, from the yield stresses of a bar.

    ``friction = 3 (C - T) / (C + T)`` and ``d = 2 C T / (C + T)``, for tension T and compression C.

    Parameters
    ----------
    E_MPa : array_like, (n,)
    nu : float
    tension_MPa, compression_MPa : array_like, (n,)
        Positive, of one ratio C / T > 1 at all points.
    dilatancy : float, optional
        That of the friction by default: an associated flow.
    hardening_MPa : float
        Rise of d per accumulated plastic strain, up to a plastic strain of 1.

    Raises
    ------
    InputError
        If the ratio varies or is not above 1; see also `Plastic`.
    """
    E, T, C = (np.atleast_1d(np.asarray(a, float)) for a in (E_MPa, tension_MPa, compression_MPa))
    ratio = C / T
    if not ((T > 0).all() and (ratio > 1).all() and np.ptp(ratio) < 1e-9 * ratio.max()):
        raise InputError(
            "Drucker-Prager needs yield stresses > 0 MPa, those of compression above those of "
            f"tension in one ratio; found ratios from {ratio.min():g} to {ratio.max():g}"
        )
    friction = float(3 * (ratio[0] - 1) / (ratio[0] + 1))
    d = np.broadcast_to(2 * C * T / (C + T), E.shape)
    knots = np.tile([0.0, 1.0], (len(E), 1))
    yields = np.stack([d, d + hardening_MPa], axis=1)
    return Plastic(E, nu, knots, yields, friction, friction if dilatancy is None else dilatancy)

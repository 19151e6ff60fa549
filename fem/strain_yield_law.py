"""Perfect or bilinear plasticity limited by principal elastic strains, unlike in both senses."""

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
    double_shear,
    elastic_energy,
    elastic_stress,
    elastic_tangent,
    halve_shear,
    namespace,
    norm,
    require_elasticity,
)
from bonekit.fem.constitutive_spectral import assembled, derivative, principal, shifted_clip

SCHILEO = (0.0073, 0.0104)  # tension, compression: Schileo et al., J Biomech 2014
BAYRAKTAR = (0.0041, 0.0083)  # tissue; Bayraktar et al. 2004: unverified, quoted from memory


@dataclass(frozen=True, eq=False)
class StrainYield(PointParameters):
    """Principal elastic strains within ``-compression <= e_i <= tension``; the rest is plastic.

    The elastic strain is the admissible one that is nearest to the trial strain in elastic energy:
    the implicit Euler rule of the flow associated with that domain in stress, hence symmetric
    tangents and dissipation that is never negative. A bar yields at exactly these strains; its
    plastic strain contracts sideways by Poisson's ratio. A share ``hardening`` of the elasticity
    goes on in parallel, so that the bar's modulus after yield is ``hardening * E``.

    Parameters
    ----------
    E_MPa : array, (n,)
    nu : float
        0 <= nu < 0.5.
    tension, compression : array, (n,)
        Positive; `SCHILEO`, `BAYRAKTAR`, or the yield strains of a law of the catalogue.
    hardening : float
        0 <= hardening < 1.

    Raises
    ------
    InputError
        If a parameter is out of these ranges.
    """

    E_MPa: Array
    nu: float
    tension: Array
    compression: Array
    hardening: float = 0.0

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)
        if not (bool((self.tension > 0).all()) and bool((self.compression > 0).all())):
            raise InputError("the yield strains must be positive, in tension and in compression")
        if self.nu < 0 or not 0 <= self.hardening < 1:
            raise InputError(
                f"this law takes 0 <= nu < 0.5 and 0 <= hardening < 1, got {self.nu} and "
                f"{self.hardening}"
            )

    @property
    def symmetric(self) -> bool:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return True

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        xp = namespace(increment)
        strain = state.strain + increment
        trial = principal(halve_shear(strain - state.plastic))
        nu = self.nu
        kept, jacobian = shifted_clip(
            trial.values,
            -self.compression + 0 * strain[..., 0],
            self.tension + 0 * strain[..., 0],
            nu / (1 - 2 * nu),  # lambda / (2 mu)
        )
        flow = trial.values - kept
        moved = (abs(flow) > 1e-14).any(-1)
        elastic = double_shear(assembled(kept, trial))
        elastic = xp.where(moved[..., None], elastic, strain - state.plastic)
        plastic = xp.where(moved[..., None], strain - elastic, state.plastic)
        grown = state.history[..., 0] + xp.where(
            moved, (flow * flow).sum(-1) ** 0.5, 0 * kept[..., 0]
        )
        D = self._rotated(derivative(kept, jacobian, trial))
        share = self.hardening
        E = self.E_MPa + 0 * strain[..., 0]
        stress = (1 - share) * elastic_stress(elastic, E, nu) + share * elastic_stress(
            strain, E, nu
        )
        tangent = (1 - share) * D + share * elastic_tangent(E, nu, strain)
        history = xp.stack([grown, 0 * grown], -1)
        return Response(stress, State(strain, plastic, history), tangent)

    def _rotated(self, elastic_by_strain: Array) -> Array:
        """Elasticity times the derivative of the elastic strain in tensor components."""
        like = elastic_by_strain
        engineering = like * constant(np.array([1.0, 1, 1, 2, 2, 2])[:, None], like)
        return elastic_tangent(self.E_MPa + 0 * like[..., 0, 0], self.nu, like) @ engineering

    def surely_elastic(self, strain: Array) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`: no principal strain exceeds the norm."""
        size = norm(halve_shear(strain))
        return (size <= self.tension) & (size <= self.compression)

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        elastic = elastic_energy(state.strain - state.plastic, self.E_MPa, self.nu)
        parallel = elastic_energy(state.strain, self.E_MPa, self.nu)
        return (1 - self.hardening) * elastic + self.hardening * parallel

    def damage(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return namespace(state.history).zeros_like(state.history)


def strain_yield(
    E_MPa: ArrayLike,
    nu: float,
    tension: ArrayLike = SCHILEO[0],
    compression: ArrayLike = SCHILEO[1],
    hardening: float = 0.0,
) -> StrainYield:
    """Make the law from numbers or arrays over elements; see `StrainYield`."""
    E = np.atleast_1d(np.asarray(E_MPa, dtype=np.float64))
    limits = [
        np.array(np.broadcast_to(np.asarray(a, float), E.shape)) for a in (tension, compression)
    ]
    return StrainYield(E, nu, limits[0], limits[1], hardening)

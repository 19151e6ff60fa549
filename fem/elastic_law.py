"""Linear elasticity at points: isotropic, and transversely isotropic about a local axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bonekit.errors import InputError
from bonekit.fem.constitutive import (
    Array,
    PointParameters,
    Response,
    State,
    constant,
    elastic_energy,
    elastic_stress,
    elastic_tangent,
    namespace,
    norm,
    outer,
    require_elasticity,
    unit,
)


@dataclass(frozen=True, eq=False)
class Elastic(PointParameters):
    """Isotropic linear elasticity.

    Parameters
    ----------
    E_MPa : array, (n,)
    nu : float

    Raises
    ------
    InputError
        If a modulus is not positive or ``nu`` not between -1 and 0.5.
    """

    E_MPa: Array
    nu: float

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)

    @property
    def symmetric(self) -> bool:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return True

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        strain = state.strain + increment
        stress = elastic_stress(strain, self.E_MPa, self.nu)
        tangent = elastic_tangent(self.E_MPa + 0 * stress[..., 0], self.nu, strain)
        return Response(stress, replace(state, strain=strain), tangent)

    def surely_elastic(self, strain: Array) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return norm(strain) >= 0

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return elastic_energy(state.strain, self.E_MPa, self.nu)

    def damage(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return namespace(state.history).zeros_like(state.history)


@dataclass(frozen=True, eq=False)
class TransverselyIsotropic(PointParameters):
    """Linear elasticity with one stiff or soft axis, such as the main axis of a fabric tensor.

    The stiffness is written with the structural tensor ``A = a a`` of the axis (Spencer 1984;
    unverified: quoted from memory; the tests compare it with the inverse of the engineering
    compliance in the axes of the material).

    Parameters
    ----------
    E_MPa : array, (n,)
        Young's modulus across the axis, E_p.
    nu : float
        Poisson's ratio across the axis, nu_p.
    ratio : float
        Young's modulus along the axis over that across it.
    nu_axial : float
        Contraction across the axis under a stress along it.
    shear_ratio : float
        Shear modulus along the axis over E_p.
    axis : array, (n, 3)
        Unit vectors in mesh axes.

    Raises
    ------
    InputError
        If the elasticity is not positive definite, or the axes are not of unit length.
    """

    E_MPa: Array
    nu: float
    ratio: float
    nu_axial: float
    shear_ratio: float
    axis: Array

    def __post_init__(self) -> None:
        require_elasticity(self.E_MPa, self.nu)
        room = 1 - self.nu - 2 * self.nu_axial**2 / max(self.ratio, 1e-300)
        if self.ratio <= 0 or self.shear_ratio <= 0 or room <= 0 or abs(self.nu) >= 1:
            raise InputError(
                "the transversely isotropic law is not positive definite: it needs positive "
                "moduli and 2 nu_axial^2 / ratio < 1 - nu"
            )
        if not bool((abs((self.axis**2).sum(-1) - 1) < 1e-6).all()):
            raise InputError("the axes of a transversely isotropic law must be unit vectors")

    def stiffness(self) -> Array:
        """Elasticity in mesh axes, (..., 6, 6)."""
        a = self.axis
        A = namespace(a).stack([a[..., i] * a[..., j] for i, j in _COMPONENTS], -1)
        lam, mu, alpha, beta, mu_axial = self._invariant_moduli()
        one = unit(a)
        half = constant(np.diag([1.0, 1.0, 1.0, 0.5, 0.5, 0.5]), a)
        mixed = outer(one + 0 * A, A)
        form = lam * outer(one, one) + 2 * mu * half + alpha * (mixed + mixed.swapaxes(-1, -2))
        form = form + beta * outer(A, A) + 2 * (mu_axial - mu) * _along(a)
        return self.E_MPa[..., None, None] * form

    @property
    def symmetric(self) -> bool:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return True

    def update(self, increment: Array, state: State) -> Response:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        strain = state.strain + increment
        D = self.stiffness() + 0 * strain[..., None]
        stress = (D @ strain[..., None])[..., 0]
        return Response(stress, replace(state, strain=strain), D)

    def surely_elastic(self, strain: Array) -> Array:
        """Nowhere: it is linear, but not isotropic, which is what the question stands for."""
        return norm(strain) < 0

    def stored_energy(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        stress = (self.stiffness() @ state.strain[..., None])[..., 0]
        return 0.5 * (stress * state.strain).sum(-1)

    def damage(self, state: State) -> Array:
        """See `bonekit.fem.constitutive.MaterialLaw`."""
        return namespace(state.history).zeros_like(state.history)

    def _invariant_moduli(self) -> tuple[float, float, float, float, float]:
        """Spencer's five moduli for E_p = 1, from the inverse compliance along axis 0."""
        nu, n, r = self.nu, self.nu_axial, self.ratio
        S = np.array([[1 / r, -n / r, -n / r], [-n / r, 1, -nu], [-n / r, -nu, 1]])
        C = np.linalg.inv(S)
        lam, mu = C[1, 2], 0.5 * (C[1, 1] - C[1, 2])
        alpha = C[0, 1] - lam
        axial = self.shear_ratio
        beta = C[0, 0] - lam - 2 * mu - 2 * alpha - 4 * (axial - mu)
        return lam, mu, alpha, beta, axial


_COMPONENTS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))


def _along(a: Array) -> Array:
    """Differentiate A.e + e.A by the strain e, tensor components by engineering ones."""
    eye = np.eye(3)
    rows = []
    for i, j in _COMPONENTS:
        row = []
        for k, m in _COMPONENTS:
            # e_km appears at both places of the tensor with half the engineering shear
            weight = 1.0 if k == m else 0.5
            places = ((k, m),) if k == m else ((k, m), (m, k))
            row.append(
                sum(
                    weight * (a[..., i] * a[..., p] * eye[q, j] + eye[i, p] * a[..., q] * a[..., j])
                    for p, q in places
                )
            )
        rows.append(namespace(a).stack(row, -1))
    return namespace(a).stack(rows, -2)

"""Stress, invariants and energies of strain fields: pure functions of (n, 6) arrays.

Components are xx, yy, zz, xy, yz, xz; strains carry engineering shear (twice the tensor's).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonekit.fem.brick import elasticity

Float = NDArray[np.float64]

_FULL = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])  # component at each place of the 3x3 tensor


def stress(strain: ArrayLike, E_MPa: ArrayLike, nu: ArrayLike) -> Float:
    """Isotropic stress in MPa, (n, 6), of strain, (n, 6), modulus, (n,), and Poisson's ratio.

    The ratio is one number or one per row, (n,).
    """
    E, ratio = np.asarray(E_MPa, dtype=np.float64), np.asarray(nu, dtype=np.float64)
    if ratio.ndim == 0:
        return np.asarray(E[..., None] * (np.asarray(strain) @ elasticity(float(ratio))))
    e = np.asarray(strain, dtype=np.float64)
    mu = 0.5 * E / (1 + ratio)
    result = mu[..., None] * e
    pressure = E * ratio / ((1 + ratio) * (1 - 2 * ratio)) * e[..., :3].sum(axis=-1)
    result[..., :3] += result[..., :3] + pressure[..., None]
    return result


def strain_energy_density(strain: ArrayLike, E_MPa: ArrayLike, nu: ArrayLike) -> Float:
    """Strain energy density in MPa, (n,): half of stress times strain."""
    return np.asarray(0.5 * (stress(strain, E_MPa, nu) * np.asarray(strain)).sum(axis=-1))


def energy_equivalent_strain(sed_MPa: ArrayLike, E_MPa: ArrayLike) -> Float:
    """Strain of a uniaxial bar of the same energy, (n,): sqrt(2 U / E) (Pistoia et al. 2002)."""
    return np.asarray(np.sqrt(2 * np.asarray(sed_MPa) / np.asarray(E_MPa)))


def tensors(components: ArrayLike, *, engineering: bool) -> Float:
    """Symmetric tensors, (n, 3, 3), from six components; ``engineering`` halves the shears."""
    c = np.array(components, dtype=np.float64)
    if engineering:
        c[..., 3:] *= 0.5
    return np.asarray(c[..., _FULL])


def principal_strains(strain: ArrayLike) -> Float:
    """Principal strains in ascending order, (n, 3)."""
    return np.asarray(np.linalg.eigvalsh(tensors(strain, engineering=True)))


def principal_stresses(stress_MPa: ArrayLike) -> Float:
    """Principal stresses in ascending order, (n, 3)."""
    return np.asarray(np.linalg.eigvalsh(tensors(stress_MPa, engineering=False)))


def von_mises(stress_MPa: ArrayLike) -> Float:
    """Von Mises equivalent stress in MPa, (n,)."""
    s = tensors(stress_MPa, engineering=False)
    deviator = s - np.trace(s, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
    return np.asarray(np.sqrt(1.5 * (deviator**2).sum(axis=(-2, -1))))

"""Strains, stresses and energies of the elements of a mesh, from its displacements.

Two values of an element are told apart, as they differ on all but four-node tetrahedra: at its
centroid, the definition of FAIM and ParOSol, and the mean over its volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.brick import SHEARS
from bonekit.meshing.quadrature import shape_functions

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_CHUNK = 10_000  # elements at a time: bounds the memory, and stays in the cache
_CENTROID = {4: (0.25,) * 3, 10: (0.25,) * 3, 8: (0.5,) * 3}


@dataclass(frozen=True, eq=False)
class ElementFields:
    """Element values; components xx, yy, zz, xy, yz, xz, strains with engineering shear.

    Parameters
    ----------
    strain : ndarray of float, (n_elements, 6)
        At the centroid, as are `stress_MPa` (n_elements, 6) and `sed_MPa` (n_elements,).
    mean_strain : ndarray of float, (n_elements, 6)
        Mean over the volume, as is `mean_sed_MPa` (n_elements,).
    volume_mm3 : ndarray of float, (n_elements,)
    """

    strain: Float
    stress_MPa: Float
    sed_MPa: Float
    mean_strain: Float
    mean_sed_MPa: Float
    volume_mm3: Float

    @property
    def energy(self) -> float:
        """Strain energy of all elements in N mm."""
        return float(self.mean_sed_MPa @ self.volume_mm3)


def element_fields(
    nodes_mm: Float,
    elements: Int,
    displacement_mm: Float,
    E_MPa: Float,
    nu: Float,
    points: Float,
    weights: Float,
) -> ElementFields:
    """Compute the fields of isotropic elastic elements.

    Parameters
    ----------
    nodes_mm, displacement_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, 4, 8 or 10)
    E_MPa, nu : ndarray of float, (n_elements,)
    points : ndarray of float, (q, 3)
        Of the quadrature rule on the reference element that the means and energies are taken
        with; that of the solver, for a balance of energy to the last digit.
    weights : ndarray of float, (q,)
    """
    k = elements.shape[1]
    centre = shape_functions(k, np.array([_CENTROID[k]]))[1]
    inside = centre if k == 4 else shape_functions(k, points)[1]
    w = np.array([weights.sum()]) if k == 4 else weights  # constant: one point will do
    out = [
        _of_chunk(nodes_mm[e], displacement_mm[e], E_MPa[s], nu[s], centre, inside, w)
        for s, e in _chunks(elements)
    ]
    return ElementFields(*(np.concatenate(parts) for parts in zip(*out, strict=True)))


def _chunks(elements: Int) -> Iterator[tuple[slice, Int]]:
    for start in range(0, len(elements), _CHUNK):
        yield slice(start, start + _CHUNK), elements[start : start + _CHUNK]


def _of_chunk(
    x: Float, u: Float, E: Float, nu: Float, centre: Float, inside: Float, w: Float
) -> tuple[Float, ...]:
    strain = _strain(x, u, centre)[0][:, 0]
    stress = _stress(strain, E, nu)
    sed = 0.5 * (stress * strain).sum(axis=-1)
    if inside is centre:
        return strain, stress, sed, strain, sed, _strain(x, u, centre)[1][:, 0] * w[0]
    at, volume = _strain(x, u, inside)
    share = volume * w
    total = share.sum(axis=1)
    mean = np.einsum("mqc,mq->mc", at, share) / total[:, None]
    density = 0.5 * (_stress(at, E[:, None], nu[:, None]) * at).sum(axis=-1)
    return strain, stress, sed, mean, (density * share).sum(axis=1) / total, total


def _strain(x: Float, u: Float, gradient: Float) -> tuple[Float, Float]:
    """Strains, (m, q, 6), and the determinants of the Jacobian, (m, q)."""
    J = np.einsum("qkr,mkx->xrmq", gradient, x, optimize=True)
    cofactor = np.stack([_cross(J[:, r - 2], J[:, r - 1]) for r in range(3)])  # (r, x, m, q)
    det = (J[:, 0] * cofactor[0]).sum(axis=0)
    du = np.einsum("qkr,mki->irmq", gradient, u, optimize=True)
    H = np.einsum("irmq,rxmq->ixmq", du, cofactor) / det
    shears = [H[a, b] + H[b, a] for a, b in SHEARS]
    return np.stack([H[0, 0], H[1, 1], H[2, 2], *shears], axis=-1), det


def _cross(a: Float, b: Float) -> Float:
    return np.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)])


def _stress(strain: Float, E: Float, nu: Float) -> Float:
    mu = E / (2 * (1 + nu))
    lam = 2 * mu * nu / (1 - 2 * nu)
    out = mu[..., None] * strain
    out[..., :3] *= 2
    out[..., :3] += (lam * strain[..., :3].sum(axis=-1))[..., None]
    return np.asarray(out)

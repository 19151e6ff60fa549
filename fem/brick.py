"""The eight-node brick: isoparametric trilinear, full 2x2x2 Gauss integration.

The element of Abaqus C3D8 without incompatible modes, FAIM, ParOSol and CalculiX C3D8. Corners
come in the order of `bonekit.meshing.voxel.BRICK_CORNERS`; its 24 unknowns are corner by corner,
three components each. Strains are xx, yy, zz, xy, yz, xz with engineering shear.

References
----------
Hughes, The Finite Element Method (1987), chapter 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonekit.meshing.voxel import BRICK_CORNERS

Float = NDArray[np.float64]

SHEARS = ((0, 1), (1, 2), (0, 2))  # the order of the last three strain components
_GAUSS = 0.5 + (np.array(BRICK_CORNERS) - 0.5) / np.sqrt(3.0)  # (8, 3) in the unit cube


def elasticity(nu: float) -> Float:
    """Isotropic elasticity matrix for E = 1, (6, 6): stress = E * elasticity @ strain."""
    lam = nu / ((1 + nu) * (1 - 2 * nu))
    mu = 0.5 / (1 + nu)
    D = np.diag([2 * mu] * 3 + [mu] * 3)
    D[:3, :3] += lam
    return D


def shape(xi: ArrayLike) -> Float:
    """Trilinear shape functions, (8,), at a point of the unit cube, (3,)."""
    xi = np.asarray(xi, dtype=np.float64)
    return np.asarray(np.where(BRICK_CORNERS, xi, 1 - xi).prod(axis=1))


def shape_gradient(xi: ArrayLike, spacing_mm: ArrayLike) -> Float:
    """Gradients of the shape functions in 1/mm, (8, 3), at a point of the unit cube."""
    xi, h = np.asarray(xi, dtype=np.float64), np.asarray(spacing_mm, dtype=np.float64)
    factor = np.where(BRICK_CORNERS, xi, 1 - xi)
    slope = np.where(BRICK_CORNERS, 1.0, -1.0) / h
    others = [np.delete(factor, axis, axis=1).prod(axis=1) for axis in range(3)]
    return np.asarray(slope * np.stack(others, axis=1))


def strain_displacement(spacing_mm: ArrayLike, xi: ArrayLike = (0.5, 0.5, 0.5)) -> Float:
    """Matrix B in 1/mm, (6, 24): strain = B @ u at a point, by default the centroid."""
    gradient = shape_gradient(xi, spacing_mm)
    B = np.zeros((6, 24))
    for axis in range(3):
        B[axis, axis::3] = gradient[:, axis]
    for row, (a, b) in enumerate(SHEARS, start=3):
        B[row, a::3] = gradient[:, b]
        B[row, b::3] = gradient[:, a]
    return B


def stiffness(spacing_mm: ArrayLike, nu: float) -> Float:
    """Stiffness matrix for E = 1 MPa, (24, 24), in mm (N/mm per MPa)."""
    D = elasticity(nu)
    weight = float(np.prod(np.asarray(spacing_mm, dtype=np.float64))) / 8
    B = [strain_displacement(spacing_mm, xi) for xi in _GAUSS]
    return np.asarray(sum(weight * b.T @ D @ b for b in B))


def child_interpolation(factors: tuple[int, int, int]) -> Float:
    """Interpolation from the corners of a brick to those of the bricks that subdivide it.

    Parameters
    ----------
    factors : tuple of int
        Number of children along each axis, 1 or 2.

    Returns
    -------
    ndarray of float, (n_children, 24, 24)
        Children in C order of their position.
    """
    f = np.array(factors)
    children = np.ndindex(*factors)
    weights = [[shape((np.array(c) + corner) / f) for corner in BRICK_CORNERS] for c in children]
    return np.stack([np.kron(np.array(w), np.eye(3)) for w in weights])

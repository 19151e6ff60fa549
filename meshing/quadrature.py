"""Points and weights that integrate over tetrahedra and hexahedra, and their shape functions.

Reference elements are the unit tetrahedron ``r, s, t >= 0, r + s + t <= 1`` and the unit cube.
Rules are products of Gauss rules, so their weights are positive and any order can be had: on the
cube of Gauss-Legendre rules, on the tetrahedron of Gauss-Jacobi rules with the cube folded onto it
(conical product: Stroud, Approximate Calculation of Multiple Integrals, 1971; unverified: quoted
from memory, its exactness is tested). Both integrate polynomials to degree ``2 n - 1`` exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_jacobi

from bonekit.errors import InputError
from bonekit.meshing.voxel import BRICK_CORNERS

Float = NDArray[np.float64]

# Corners at the ends of each edge that has a node, in VTK_QUADRATIC_TETRA and Abaqus C3D10 order.
TETRA_EDGES = np.array([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)])
NODES = (4, 8, 10)  # of the elements known here


@dataclass(frozen=True, eq=False)
class Rule:
    """A quadrature rule on a reference element, and the element's shape functions at its points.

    Parameters
    ----------
    points : ndarray of float, (q, 3)
        Coordinates on the reference element.
    weights : ndarray of float, (q,)
        Positive; they add up to the volume of the reference element, 1/6 or 1.
    shape : ndarray of float, (q, k)
        Shape function of each node.
    gradient : ndarray of float, (q, k, 3)
        Its derivatives along the reference coordinates.
    """

    points: Float
    weights: Float
    shape: Float
    gradient: Float


@lru_cache(maxsize=64)
def rule(n_nodes: int, n: int) -> Rule:
    """Return the rule with `n` points along an edge, ``n**3`` in all.

    Parameters
    ----------
    n_nodes : int
        4 or 10 for a tetrahedron, 8 for a hexahedron.
    n : int
        1 is the centroid.

    Raises
    ------
    InputError
        If `n_nodes` is another number, or `n` is below 1.
    """
    if n < 1:
        raise InputError(f"points_per_edge must be 1 or more, got {n}")
    points, weights = _cube(n) if n_nodes == 8 else _tetrahedron(n)
    return Rule(points, weights, *shape_functions(n_nodes, points))


def shape_functions(n_nodes: int, points: Float) -> tuple[Float, Float]:
    """Shape functions, (q, k), and their gradients, (q, k, 3), at reference points, (q, 3).

    Raises
    ------
    InputError
        If there is no element of so many nodes.
    """
    if n_nodes == 8:
        return _trilinear(points)
    corner = np.column_stack([1 - points.sum(axis=1), points])
    slope = np.broadcast_to(np.vstack([-np.ones(3), np.eye(3)]), (len(points), 4, 3))
    if n_nodes == 4:
        return corner, np.asarray(slope)
    if n_nodes == 10:
        return _quadratic(corner, slope)
    raise InputError(f"elements have 4, 8 or 10 nodes, got {n_nodes}")


def volume_factor(nodes: Float, gradient: Float) -> Float:
    """Return the determinant of the Jacobian of each element at each point.

    Parameters
    ----------
    nodes : ndarray of float, (m, k, 3)
    gradient : ndarray of float, (q, k, 3)

    Returns
    -------
    ndarray of float, (m, q)
    """
    return np.asarray(np.linalg.det(np.einsum("qkr,mkx->mqxr", gradient, nodes, optimize=True)))


def _gauss(n: int, alpha: int) -> tuple[Float, Float]:
    """Gauss-Jacobi rule on 0..1 for the weight (1 - x) ** alpha."""
    x, w = roots_jacobi(n, alpha, 0)
    return (np.asarray(x) + 1) / 2, np.asarray(w) / 2.0 ** (alpha + 1)


def _product(rules: list[tuple[Float, Float]]) -> tuple[Float, Float]:
    x = np.stack(np.meshgrid(*[r[0] for r in rules], indexing="ij"), axis=-1).reshape(-1, 3)
    w = np.stack(np.meshgrid(*[r[1] for r in rules], indexing="ij"), axis=-1).reshape(-1, 3)
    return x, np.asarray(w.prod(axis=1))


def _cube(n: int) -> tuple[Float, Float]:
    return _product([_gauss(n, 0)] * 3)


def _tetrahedron(n: int) -> tuple[Float, Float]:
    """Fold the cube's points onto the tetrahedron; the rules' weights are the fold's Jacobian."""
    points, weights = _product([_gauss(n, k) for k in (2, 1, 0)])
    a, b, c = points.T
    return np.column_stack([a, b * (1 - a), c * (1 - a) * (1 - b)]), weights


def _trilinear(points: Float) -> tuple[Float, Float]:
    factor = np.where(BRICK_CORNERS, points[:, None, :], 1 - points[:, None, :])  # (q, 8, 3)
    slope = np.where(BRICK_CORNERS, 1.0, -1.0)
    gradient = np.stack(
        [slope[:, a] * factor[..., a - 2] * factor[..., a - 1] for a in range(3)], axis=-1
    )
    return factor.prod(axis=-1), gradient


def _quadratic(corner: Float, slope: Float) -> tuple[Float, Float]:
    a, b = TETRA_EDGES.T
    shape = np.hstack([corner * (2 * corner - 1), 4 * corner[:, a] * corner[:, b]])
    at_corner = (4 * corner - 1)[..., None] * slope
    at_edge = 4 * (corner[:, a, None] * slope[:, b] + corner[:, b, None] * slope[:, a])
    return shape, np.concatenate([at_corner, at_edge], axis=1)

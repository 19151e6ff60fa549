"""Tetrahedra of ten nodes: edges that follow the smooth surface, never with a negative Jacobian.

The Jacobian of a curved element is a cubic polynomial; it is positive everywhere if its
coefficients in the Bernstein basis are, and these come from its values at twenty points (Johnen,
Remacle and Geuzaine, J Comput Phys 2013;233:359-372).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import factorial

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.lattice import edge_numbers, volumes
from bonekit.meshing.levelset import on_surfaces
from bonekit.meshing.move import Fit, levelled, moved, projected
from bonekit.meshing.shapes import Shape

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

CHUNK = 20_000  # elements whose Jacobians are computed at a time: bounds the memory
LEAST_RATIO = 0.2  # smallest over mean Jacobian that a curved element keeps
MIDDLES = np.array([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)])  # of nodes 4 to 9
_FROM_EDGES = np.array([0, 3, 1, 2, 4, 5])  # the order of lattice.EDGES in that of MIDDLES


@dataclass(frozen=True, eq=False)
class Curved:
    """Tetrahedra of ten nodes.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n, 3)
        The corners as they were, then the middles.
    tetrahedra : ndarray of int, (m, 10)
    n_straight : int
        Elements that curved edges would have spoilt: theirs are straight.
    """

    nodes_mm: Float
    tetrahedra: Int
    n_straight: int = 0


def quadratic(nodes_mm: Float, tetrahedra: Int) -> Curved:
    """Add the nodes in the middle of straight edges, (m, 4) -> (m, 10)."""
    edges, of = edge_numbers(tetrahedra)
    rows = np.concatenate([tetrahedra, len(nodes_mm) + of[:, _FROM_EDGES]], axis=1)
    return Curved(np.concatenate([nodes_mm, nodes_mm[edges].mean(axis=1)]), rows)


def fitted_quadratic(fit: Fit, rounds: int, most_mm: float) -> Curved:
    """Ten-node elements whose corners and middles lie on the shapes and hold their volumes.

    Parameters
    ----------
    fit : Fit
        Of four-node elements.
    rounds : int
    most_mm : float
        Longest way of a node.
    """
    nodes, tetrahedra, reference = fit.parts
    surfaces = fit.surfaces
    on = on_surfaces(len(nodes), *surfaces, n_surfaces=len(fit.shapes))
    shapes = fit.shapes
    for turn in range(rounds):
        nodes = moved(nodes, tetrahedra, projected(nodes, on, shapes, most_mm))
        out = curved(nodes, tetrahedra, surfaces, shapes, most_mm)
        each = curved_volumes(out.nodes_mm, out.tetrahedra)
        if turn < rounds - 1:
            shapes = levelled(shapes, nodes, each, reference, surfaces)
    return out


def curved(
    nodes_mm: Float,
    tetrahedra: Int,
    surfaces: tuple[Int, Int],
    shapes: Sequence[Shape],
    most_mm: float,
) -> Curved:
    """Add the nodes in the middle of edges, those of interfaces on their shapes.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n, 3)
    tetrahedra : ndarray of int, (m, 4)
    surfaces : corners (f, 3) of the faces of interfaces, and the shape of each (f,)
    shapes : sequence of Shape
    most_mm : float
        Longest way of a middle.
    """
    flat = quadratic(nodes_mm, tetrahedra)
    edges, of = edge_numbers(tetrahedra)
    straight = flat.nodes_mm[len(nodes_mm) :]
    bent = projected(straight, _edges_on(edges, surfaces, len(shapes)), shapes, most_mm)
    of = of[:, _FROM_EDGES]
    middle, n_straight = _straightened(nodes_mm, straight, bent, flat.tetrahedra, of)
    return Curved(np.concatenate([nodes_mm, middle]), flat.tetrahedra, n_straight)


def _edges_on(edges: Int, surfaces: tuple[Int, Int], n_surfaces: int) -> Mask:
    """Which surfaces each edge lies on, (e, n_surfaces)."""
    corners, surface = surfaces
    n = int(edges.max()) + 1
    key = edges[:, 0] * n + edges[:, 1]
    on = np.zeros((len(edges), n_surfaces), dtype=bool)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        pair = np.sort(corners[:, [a, b]], axis=1)
        on[np.searchsorted(key, pair[:, 0] * n + pair[:, 1]), surface] = True
    return on


def _straightened(
    nodes: Float, straight: Float, bent: Float, quadratic: Int, of: Int
) -> tuple[Float, int]:
    """Middles of edges, straight in all elements that bent ones would spoil, until none is."""
    spoilt = np.zeros(len(quadratic), dtype=bool)
    while True:
        touched = np.flatnonzero((bent[of] != straight[of]).any(axis=(1, 2)))
        every = np.concatenate([nodes, bent])
        bad = touched[least_ratio(every, quadratic[touched]) < LEAST_RATIO]
        if not bad.size:
            return bent, int(np.count_nonzero(spoilt))
        spoilt[bad] = True
        bent = bent.copy()
        bent[of[bad]] = straight[of[bad]]


def least_ratio(nodes_mm: Float, quadratic: Int) -> Float:
    """Lower bound of the Jacobian over that of the straight element, (m,); 1 if straight."""
    jacobian = _jacobians(nodes_mm, quadratic, _cubic_points())
    coefficients = jacobian @ _to_bernstein().T
    whole = 6 * volumes(nodes_mm, quadratic[:, :4])
    return np.asarray(coefficients.min(axis=1) / np.maximum(whole, 1e-300))


def curved_volumes(nodes_mm: Float, tetrahedra: Int) -> Float:
    """Signed volume of elements of four nodes or ten, exactly, (m,)."""
    if tetrahedra.shape[1] == 4:
        return volumes(nodes_mm, tetrahedra)
    # The integral of a cubic is the mean of its Bernstein coefficients times the volume.
    jacobian = _jacobians(nodes_mm, tetrahedra, _cubic_points())
    return np.asarray((jacobian @ _to_bernstein().T).mean(axis=1) / 6)


def _jacobians(nodes_mm: Float, quadratic: Int, points: Float) -> Float:
    """Jacobian determinant at barycentric points, (m, n_points)."""
    slope = np.moveaxis(_slopes(points), 1, 0).reshape(10, -1)
    out = np.empty((len(quadratic), len(points)))
    for start in range(0, len(quadratic), CHUNK):
        rows = slice(start, start + CHUNK)
        x = np.moveaxis(nodes_mm[quadratic[rows]], 1, 2)  # (k, 3, 10)
        a, b, c = np.moveaxis((x @ slope).reshape(len(x), 3, len(points), 3), 3, 0)
        out[rows] = sum(
            a[:, i - 2] * (b[:, i - 1] * c[:, i] - b[:, i] * c[:, i - 1]) for i in range(3)
        )
    return out


def _slopes(points: Float) -> Float:
    """Derive the ten shape functions by three coordinates, (n_points, 10, 3)."""
    by = np.concatenate([-np.ones((1, 3)), np.eye(3)])  # of the barycentric coordinates
    out = np.empty((len(points), 10, 3))
    out[:, :4] = (4 * points - 1)[:, :, None] * by
    for node, (a, b) in enumerate(MIDDLES, start=4):
        out[:, node] = 4 * (points[:, a, None] * by[b] + points[:, b, None] * by[a])
    return out


@cache
def _powers() -> Int:
    """Exponents of the twenty cubic polynomials in barycentric coordinates, (20, 4)."""
    return np.array([p for p in product(range(4), repeat=4) if sum(p) == 3])


def _cubic_points() -> Float:
    return _powers() / 3.0


@cache
def _to_bernstein() -> Float:
    """From values at the twenty points to coefficients of the Bernstein basis, (20, 20)."""
    power = _powers()
    weight = 6 / np.prod(np.vectorize(factorial)(power), axis=1)
    basis = weight * np.prod(_cubic_points()[:, None, :] ** power, axis=2)
    return np.asarray(np.linalg.inv(basis))

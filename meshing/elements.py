"""Shape measures of single tetrahedra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.lattice import EDGES
from bonekit.meshing.levelset import FACES

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LEAST_JACOBIAN = 0.1  # scaled; below it an element is refused
DIHEDRAL_DEG = (10.0, 165.0)  # allowed angles between faces
ROOM = 2.0  # how much better than the limits elements are made, where that is possible
_AT_CORNERS = ((0, 1, 2), (0, 3, 4), (1, 3, 5), (2, 4, 5))  # edges 01 02 03 12 13 23 of each


def scaled_jacobian(nodes_mm: Float, tetrahedra: Int) -> Float:
    """Quality of tetrahedra, 1 for the regular one, negative if inverted, (n_elements,).

    The Jacobian over the largest product of the three edges at a corner, times the square root of
    two (Knupp, Finite Elem Anal Des 2003;39:217-241; the Verdict library).
    """
    return _scaled_jacobian(_corners(nodes_mm[tetrahedra]))


def dihedral_angles(nodes_mm: Float, tetrahedra: Int) -> Float:
    """Angles between the faces of tetrahedra in degrees, (n_elements, 6)."""
    return np.asarray(np.degrees(np.arccos(_cosines(_normals(_corners(nodes_mm[tetrahedra]))))).T)


def aspect_ratio(nodes_mm: Float, tetrahedra: Int) -> Float:
    """Longest edge over the smallest height, 1 for the regular tetrahedron, (n_elements,)."""
    x = _corners(nodes_mm[tetrahedra])
    longest = np.max([((x[b] - x[a]) ** 2).sum(axis=0) for a, b in EDGES], axis=0) ** 0.5
    normals = _normals(x)
    area = np.max([np.sqrt((n * n).sum(axis=0)) for n in normals], axis=0)
    volume = np.abs(((x[0] - x[1]) * normals[0]).sum(axis=0))
    return np.asarray(np.sqrt(2 / 3) * longest * area / np.maximum(volume, 1e-300))


def fitness(nodes_mm: Float, tetrahedra: Int) -> Float:
    """How far elements are within the limits, (n_elements,).

    1 and more with `ROOM` to spare, ``1 / ROOM`` at the limit of the scaled Jacobian or of a
    dihedral angle, whichever is worse; not positive if flat or inverted.
    """
    return corner_fitness(nodes_mm[tetrahedra])


def corner_fitness(x: Float) -> Float:
    """`fitness` of corners, (n_elements, 4, 3) -> (n_elements,)."""
    corners = _corners(x)
    edges = [corners[b] - corners[a] for a, b in EDGES]
    # Normals of the faces at the first corner; that of the last face is what they sum up to.
    at_first = [_cross(edges[i], edges[j]) for i, j in ((2, 1), (0, 2), (1, 0))]
    normals = [-(at_first[0] + at_first[1] + at_first[2]), *at_first]
    jacobian = _over_product(-(edges[0] * at_first[0]).sum(axis=0), edges)
    cosine = _cosines(normals)
    low, high = np.radians(DIHEDRAL_DEG)
    sharp = np.arccos(cosine.max(axis=0)) / low
    blunt = (np.pi - np.arccos(cosine.min(axis=0))) / (np.pi - high)
    worst = np.minimum(jacobian / LEAST_JACOBIAN, np.minimum(sharp, blunt))
    return np.asarray(np.where(jacobian > 0, worst, jacobian) / ROOM)


def _corners(x: Float) -> Float:
    """Corners with the elements last, which NumPy walks fastest: (m, 4, 3) -> (4, 3, m)."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def _cross(a: Float, b: Float) -> Float:
    return np.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)])


def _scaled_jacobian(x: Float) -> Float:
    edges = [x[b] - x[a] for a, b in EDGES]
    return _over_product((edges[0] * _cross(edges[1], edges[2])).sum(axis=0), edges)


def _over_product(jacobian: Float, edges: list[Float]) -> Float:
    """Scale Jacobians by the largest product of edges at a corner, (m,)."""
    length = [np.sqrt(np.einsum("ij,ij->j", e, e)) for e in edges]
    product = length[0] * length[1] * length[2]
    for a, b, c in _AT_CORNERS[1:]:
        np.maximum(product, length[a] * length[b] * length[c], out=product)
    return np.asarray(np.sqrt(2.0) * jacobian / np.maximum(product, 1e-300))


def _normals(x: Float) -> list[Float]:
    """Cross products of edges of the four faces, each (3, m)."""
    return [_cross(x[b] - x[a], x[c] - x[a]) for a, b, c in FACES]


def _cosines(normals: list[Float]) -> Float:
    """Cosines of the six dihedral angles, (6, m)."""
    length = [np.sqrt(np.maximum(np.einsum("ij,ij->j", n, n), 1e-300)) for n in normals]
    out = np.empty((6, normals[0].shape[1]))
    for row, (i, j) in zip(out, EDGES, strict=True):
        row[:] = -np.einsum("ij,ij->j", normals[i], normals[j]) / (length[i] * length[j])
    return np.clip(out, -1.0, 1.0, out=out)

"""Where a surface runs through itself, and where its walls have no thickness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.meshing.triangles import area_vectors, edge_lengths, neighbours

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

TOUCH = 1e-9  # of an edge: as near as that is contact
FLAT = 1e-6  # sine of the angle up to which a segment lies in a triangle's plane
CHUNK = 400_000  # pairs at a time: bounds the memory


def self_intersections(points: Float, triangles: Int) -> Int:
    """Pairs of triangles that cross, or touch where they share no node, (n_pairs, 2).

    Of each pair without a common edge whose boxes overlap, each edge is tested against the other
    triangle (Moller and Trumbore, J Graph Tools 1997;2:21-28); those in one plane are tested for
    a line that parts them there. Neighbours are tested for folds.
    """
    found = [
        pairs[_cross(points, triangles, pairs) | overlap_in_plane(points[triangles[pairs]])]
        for pairs in _in_parts(_candidates(points, triangles))
    ]
    return np.concatenate([*found, folds(points, triangles)])


def overlap_in_plane(corners_mm: Float) -> Mask:
    """Whether two triangles lie in one plane and share an area there, (n, 2, 3, 3) -> (n,).

    Of two convex shapes that share none, an edge of one is a line between them (separating axes:
    Gottschalk, Lin and Manocha, SIGGRAPH 1996). Contact along an edge or at a corner is no area.
    """
    sides = np.roll(corners_mm, -1, axis=2) - corners_mm
    vector = np.cross(sides[:, :, 0], sides[:, :, 1])
    normal = vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-300)
    size = np.linalg.norm(sides, axis=-1).max(axis=(1, 2))
    height = np.einsum("nij,nj->ni", corners_mm[:, 1] - corners_mm[:, 0, :1], normal[:, 0])
    tilt = np.linalg.norm(np.cross(normal[:, 0], normal[:, 1]), axis=-1)
    flat = (np.abs(height).max(axis=1) < FLAT * size) & (tilt < FLAT)
    overlap = np.asarray(flat & (normal != 0).any(axis=-1).all(axis=1))  # without an area: none
    which = np.flatnonzero(overlap)
    for axis in np.moveaxis(sides[which].reshape(-1, 6, 3), 1, 0):
        across = np.cross(axis, normal[which, 0])
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-300)
        at = np.einsum("ntij,nj->nti", corners_mm[which], across)
        low, high = at.min(axis=-1), at.max(axis=-1)
        common = np.minimum(high[:, 0], high[:, 1]) - np.maximum(low[:, 0], low[:, 1])
        overlap[which] &= common > FLAT * size[which]
    return overlap


def folds(points: Float, triangles: Int) -> Int:
    """Neighbours folded flat onto each other, (n_pairs, 2)."""
    first, second, agree = neighbours(triangles)
    normal = area_vectors(points, triangles)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    cosine = np.einsum("ij,ij->i", normal[first], normal[second]) * np.where(agree, 1, -1)
    flat = cosine < -1 + 1e-9
    return np.stack([first[flat], second[flat]], axis=1)


def thin_walls(points: Float, triangles: Int, least_mm: float) -> Int:
    """Triangles with one of opposite normal within `least_mm` behind or before them, sorted."""
    vector = area_vectors(points, triangles)
    area = np.linalg.norm(vector, axis=1)
    normal = vector / np.maximum(area, 1e-300)[:, None]
    centre = points[triangles].mean(axis=1)
    reach = float(np.median(edge_lengths(points, triangles))) / 2 + least_mm
    pairs = cKDTree(centre).query_pairs(reach, output_type="ndarray").astype(np.int64)
    a, b = pairs.T
    opposite = np.einsum("ij,ij->i", normal[a], normal[b]) < -0.9
    apart = np.abs(np.einsum("ij,ij->i", centre[b] - centre[a], normal[a]))
    solid = np.minimum(area[a], area[b]) > 0.05 * np.median(area)  # slivers have odd normals
    return np.unique(pairs[opposite & (apart < least_mm) & solid])


def _in_parts(pairs: Int) -> list[Int]:
    return np.array_split(pairs, max(len(pairs) // CHUNK, 1))


def _candidates(points: Float, triangles: Int) -> Int:
    """Pairs of triangles with overlapping boxes and without a common edge, (n, 2)."""
    corner = points[triangles]
    low, high = corner.min(axis=1), corner.max(axis=1)
    a, b = _near((low + high) / 2, np.linalg.norm(high - low, axis=1) / 2).T
    overlap = ((low[a] <= high[b]) & (low[b] <= high[a])).all(axis=1)
    pairs = np.stack([a[overlap], b[overlap]], axis=1)
    return np.asarray(pairs[_common(triangles, pairs) < 2])


def _near(middle: Float, radius: Float) -> Int:
    """Pairs of balls that touch, and some more, (n, 2): balls of like size are asked together."""
    size = np.ceil(2 * np.log2(np.maximum(radius, 1e-9 * radius.max())))
    groups = [np.flatnonzero(size == s) for s in np.unique(size)]
    trees = [cKDTree(middle[group]) for group in groups]
    reach = [float(radius[group].max()) for group in groups]
    found = []
    for k, group in enumerate(groups):
        found.append(group[trees[k].query_pairs(2 * reach[k], output_type="ndarray")])
        for n in range(k):
            close = trees[k].sparse_distance_matrix(
                trees[n], reach[k] + reach[n], output_type="coo_matrix"
            )
            found.append(np.stack([group[close.row], groups[n][close.col]], axis=1))
    return np.concatenate(found)


def _common(triangles: Int, pairs: Int) -> Int:
    """How many nodes the two triangles of each pair share, (n,)."""
    a, b = triangles[pairs[:, 0]], triangles[pairs[:, 1]]
    return np.asarray((a[:, :, None] == b[:, None, :]).sum(axis=(1, 2)))


def _cross(points: Float, triangles: Int, pairs: Int) -> Mask:
    crossed = np.zeros(len(pairs), dtype=bool)
    for one, other in (pairs.T, pairs.T[::-1]):
        face = points[triangles[other]]
        for k in range(3):
            a, b = triangles[one, k], triangles[one, (k + 1) % 3]
            free = ~(
                (a[:, None] == triangles[other]).any(axis=1)
                | (b[:, None] == triangles[other]).any(axis=1)
            )
            crossed[free] |= _pierces(points[a[free]], points[b[free]], face[free])
    return crossed


def _pierces(start: Float, end: Float, face: Float) -> Mask:
    """Whether segments run through triangles or touch them."""
    along, one, two = end - start, face[:, 1] - face[:, 0], face[:, 2] - face[:, 0]
    p = np.cross(along, two)
    scale = np.einsum("ij,ij->i", one, p)
    size = np.linalg.norm(along, axis=1) * np.linalg.norm(np.cross(one, two), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_corner = start - face[:, 0]
        u = np.einsum("ij,ij->i", from_corner, p) / scale
        q = np.cross(from_corner, one)
        v = np.einsum("ij,ij->i", along, q) / scale
        t = np.einsum("ij,ij->i", two, q) / scale
        inside = (u > -TOUCH) & (v > -TOUCH) & (u + v < 1 + TOUCH)
        within = (t > -TOUCH) & (t < 1 + TOUCH)
        return np.asarray(inside & within & (np.abs(scale) > FLAT * size))

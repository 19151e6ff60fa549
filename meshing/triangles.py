"""Edges, angles, shells and distances of triangles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy import sparse

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]


def edges(triangles: Int) -> tuple[Int, Int]:
    """Each edge once, (n_edges, 2) with the lower node first, and its number by corner, (m, 3).

    The edge of corner c runs from that corner to the next.
    """
    ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)
    found, number = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    return found, np.asarray(number).reshape(-1, 3)


def faces_per_edge(triangles: Int) -> tuple[Int, Int, Int]:
    """Edges, (n_edges, 2), their number by corner, (m, 3), and how many triangles each has."""
    found, number = edges(triangles)
    return found, number, np.bincount(number.ravel(), minlength=len(found))


def neighbours(triangles: Int) -> tuple[Int, Int, Mask]:
    """Pairs of triangles that share an edge of two: first, second, and whether they agree.

    Two triangles agree if they run through their edge in opposite directions.
    """
    _, number, count = faces_per_edge(triangles)
    pairs = count[number.ravel()] == 2
    order = np.flatnonzero(pairs)[np.argsort(number.ravel()[pairs], kind="stable")]
    first, second = order[0::2], order[1::2]
    start = triangles.ravel()
    return first // 3, second // 3, np.asarray(start[first] != start[second])


def shells(triangles: Int) -> Int:
    """Find the piece that each triangle belongs to, (m,): pieces share no edge."""
    first, second, _ = neighbours(triangles)
    return components(len(triangles), first, second)


def components(n: int, first: Int, second: Int) -> Int:
    """Find the component that each of n things belongs to that are joined in pairs, (n,)."""
    graph = sparse.coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1], dtype=np.int64)


def area_vectors(points: Float, triangles: Int) -> Float:
    """Multiply the normal of each triangle by its area, (m, 3)."""
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    return np.asarray(np.cross(b - a, c - a) / 2)


def volume(points: Float, triangles: Int) -> float:
    """Enclosed volume by the divergence theorem; positive if the normals point outward."""
    middle = points.mean(axis=0)  # far from the origin, digits would be lost
    a, b, c = np.moveaxis(points[triangles] - middle, 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def inflated(points: Float, triangles: Int, volume_mm3: float) -> Float:
    """Move a closed surface along its normals, by the same distance, until it has a volume."""
    for _ in range(3):
        area = area_vectors(points, triangles)
        normal = np.zeros_like(points)
        for corner in range(3):
            np.add.at(normal, triangles[:, corner], area)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        gain = np.einsum("ij,ij->", area, normal[triangles].mean(axis=1))
        points = points + normal * (volume_mm3 - volume(points, triangles)) / gain
    return points


def angles_deg(points: Float, triangles: Int) -> Float:
    """Angles of triangles at their corners in degrees, (m, 3)."""
    x = points[triangles]
    one, two = np.roll(x, -1, axis=1) - x, np.roll(x, -2, axis=1) - x
    across = np.linalg.norm(np.cross(one, two), axis=-1)
    return np.asarray(np.degrees(np.arctan2(across, np.einsum("ijk,ijk->ij", one, two))))


def edge_lengths(points: Float, triangles: Int) -> Float:
    """Length of each edge once, (n_edges,)."""
    a, b = edges(triangles)[0].T
    return np.asarray(np.linalg.norm(points[a] - points[b], axis=1))


def poly_data(points: Float, triangles: Int) -> pv.PolyData:
    """Triangles as PyVista holds them."""
    return pv.PolyData(points, np.insert(triangles, 0, 3, axis=1).ravel())


def closest(places: Float, points: Float, triangles: Int) -> tuple[Float, Int]:
    """Nearest point of a surface to each place, (n, 3), and its triangle, (n,)."""
    poly: Any = poly_data(points, triangles)
    cell, point = poly.find_closest_cell(places, return_closest_point=True)
    return np.asarray(point, dtype=np.float64), np.asarray(cell, dtype=np.int64)


def distance(places: Float, points: Float, triangles: Int) -> Float:
    """Distance of places from a surface in mm, (n,)."""
    return np.asarray(np.linalg.norm(closest(places, points, triangles)[0] - places, axis=1))


def away(
    points: Float, triangles: Int, other_points: Float, other_triangles: Int
) -> tuple[float, float]:
    """Largest and mean distance of two surfaces, both ways, at nodes and centres of triangles.

    The largest is the Hausdorff distance up to what the surface does between these places.
    """
    one = np.concatenate([points[np.unique(triangles)], points[triangles].mean(axis=1)])
    two = np.concatenate(
        [other_points[np.unique(other_triangles)], other_points[other_triangles].mean(axis=1)]
    )
    there = distance(one, other_points, other_triangles)
    back = distance(two, points, triangles)
    return float(max(there.max(), back.max())), float((there.mean() + back.mean()) / 2)

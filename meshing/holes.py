"""Holes of triangle surfaces, and the triangles that close them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bonekit.meshing.triangles import components, faces_per_edge, neighbours

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LONGEST = 300  # loop closed by the smallest area; longer ones get a fan from their middle


def split_fans(points: Float, triangles: Int) -> tuple[Float, Int]:
    """Give each fan of triangles about a node a node of its own.

    Sheets that touch in a node, or through an edge of more than two triangles, come apart.
    """
    first, second, _ = neighbours(triangles)
    a, b = triangles[first], triangles[second]
    pair, one, other = np.nonzero(a[:, :, None] == b[:, None, :])
    fan = components(triangles.size, 3 * first[pair] + one, 3 * second[pair] + other)
    _, corner, node = np.unique(fan, return_index=True, return_inverse=True)
    return points[triangles.ravel()[corner]], np.asarray(node).reshape(-1, 3)


def loops(triangles: Int) -> list[Int]:
    """Nodes round each hole of a surface whose fans are split.

    In the order in which the triangles that close the hole run through them.
    """
    found, number, count = faces_per_edge(triangles)
    border = found[count == 1]
    if not len(border):
        return []
    n = int(triangles.max()) + 1
    ring = components(n, border[:, 0], border[:, 1])
    graph = sparse.coo_array((np.ones(len(border)), border.T), shape=(n, n)).tocsr()
    graph = graph + graph.T
    start = np.unique(ring[border[:, 0]], return_index=True)[1]
    rings = [_round(graph, int(border[s, 0])) for s in start]
    ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)
    runs = set(map(tuple, ends[count[number.ravel()] == 1].tolist()))
    return [r[::-1] if (int(r[0]), int(r[1])) in runs else r for r in rings]


def _round(graph: sparse.csr_array, start: int) -> Int:
    """Walk round the loop of a node."""
    path = [start]
    seen = {start}
    while True:
        ahead = graph.indices[graph.indptr[path[-1]] : graph.indptr[path[-1] + 1]]
        further = [int(node) for node in ahead if node not in seen]
        if not further:
            return np.array(path, dtype=np.int64)
        path.append(further[0])
        seen.add(further[0])


def closed(points: Float, triangles: Int) -> tuple[Float, Int, int]:
    """Close every hole; return points, triangles and the number of holes."""
    holes = loops(triangles)
    new = []
    for hole in holes:
        if len(hole) <= LONGEST:
            new.append(hole[smallest_area(points[hole])])
        else:
            points = np.concatenate([points, points[hole].mean(axis=0, keepdims=True)])
            other = np.roll(hole, -1)
            new.append(np.stack([hole, other, np.full(len(hole), len(points) - 1)], axis=1))
    return points, np.concatenate([triangles, *new]), len(holes)


def smallest_area(loop: Float) -> Int:
    """Triangles, (n - 2, 3), that span a loop of n points with the smallest area.

    By dynamic programming (Barequet and Sharir, Comput Aided Geom Des 1995;12:207-229).
    """
    n = len(loop)
    cost, split = np.zeros((n, n)), np.zeros((n, n), dtype=np.int64)
    for span in range(2, n):
        for a in range(n - span):
            b = a + span
            between = loop[a + 1 : b]
            area = np.linalg.norm(np.cross(between - loop[a], loop[b] - loop[a]), axis=1) / 2
            total = cost[a, a + 1 : b] + cost[a + 1 : b, b] + area
            best = int(total.argmin())
            cost[a, b], split[a, b] = total[best], a + 1 + best
    found, stack = [], [(0, n - 1)]
    while stack:
        a, b = stack.pop()
        if b - a >= 2:
            k = int(split[a, b])
            found.append((a, k, b))
            stack += [(a, k), (k, b)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)

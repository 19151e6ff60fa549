"""Tetrahedra cut along level sets, the faces between regions, and pieces that hang together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from bonekit.meshing.lattice import Parts, bisect, edge_numbers, volumes

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

FACES = np.array([(1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)])  # opposite to each corner
SNAP = 0.2  # fraction of an edge within which a cut moves to the edge's end


def level(nodes: Float, tetrahedra: Int, values: Float, volume: float, reach: float) -> float:
    """Level, within ``-reach..reach``, below which the linear field has a volume."""
    each = volumes(nodes, tetrahedra)
    corner = np.sort(values[tetrahedra], axis=1)
    near = (corner[:, 0] < reach) & (corner[:, 3] > -reach)
    lack = float(volume - each[corner[:, 3] <= -reach].sum())
    corner, each = corner[near], each[near]

    def beyond(at: float) -> float:
        whole = corner[:, 3] <= at
        across = (corner[:, 0] < at) & ~whole
        part = _fraction_below(corner[across] - at) @ each[across]
        return float(each[whole].sum() + part) - lack

    if beyond(-reach) >= 0:
        return -reach
    if beyond(reach) <= 0:
        return reach
    return float(optimize.brentq(beyond, -reach, reach, xtol=1e-9 * reach))


def _fraction_below(corner: Float) -> Float:
    """Volume fraction of tetrahedra where a linear field is negative.

    Parameters
    ----------
    corner : ndarray of float, (n, 4)
        Values at the corners, ascending.
    """
    spread = np.ptp(corner, axis=1, keepdims=True) + 1e-9
    a, b, c, d = (corner + 1e-5 * spread * np.arange(4)).T  # no two are equal
    one = -(a**3) / ((b - a) * (c - a) * (d - a))
    two = one + b**3 / ((b - a) * (c - b) * (d - b))
    three = 1 - d**3 / ((d - a) * (d - b) * (d - c))
    return np.asarray(np.select([a >= 0, b >= 0, c >= 0, d > 0], [0 * a, one, two, three], 1.0))


def snapped(parts: Parts, values: Float, cut: int) -> Float:
    """Values with zeros at the nodes that a cut passes too closely, (n,)."""
    edges, crossing = _crossing(parts, values, cut)
    a, b = edges[crossing].T
    where = values[a] / (values[a] - values[b])
    out = values.copy()
    out[a[where < SNAP]] = 0.0
    out[b[where > 1 - SNAP]] = 0.0
    return out


def split(parts: Parts, values: Float, cut: int, inside: int) -> Parts:
    """Cut the elements of one reference along the zero level of a field, linear in each.

    Elements of other references are divided only where they share a cut edge.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    values : ndarray of float, (n_nodes,)
        Exact zeros make the surface pass through a node.
    cut, inside : int
        Reference that is cut, and that of its negative side.
    """
    nodes, tetrahedra, reference = parts
    edges, crossing = _crossing(parts, values, cut)
    a, b = edges[crossing].T
    where = (values[a] / (values[a] - values[b]))[:, None]
    nodes = np.concatenate([nodes, (1 - where) * nodes[a] + where * nodes[b]])
    values = np.concatenate([values, np.zeros(len(a))])
    if len(a):
        rank = np.linalg.norm(nodes[a] - nodes[b], axis=1).argsort(kind="stable").argsort()
        tetrahedra, parent = bisect(tetrahedra, edges[crossing], rank, len(parts[0]))
        reference = reference[parent]
    below = values[tetrahedra].sum(axis=1) < 0
    return nodes, tetrahedra, np.where((reference == cut) & below, inside, reference)


def _crossing(parts: Parts, values: Float, cut: int) -> tuple[Int, Mask]:
    """Edges of the mesh, and which of them the level crosses within the reference."""
    _, tetrahedra, reference = parts
    edges, of = edge_numbers(tetrahedra)
    within = np.zeros(len(edges), dtype=bool)
    within[of[reference == cut]] = True
    return edges, within & (values[edges[:, 0]] * values[edges[:, 1]] < 0)


def faces(tetrahedra: Int) -> tuple[Int, Int]:
    """Each face once, (f, 3), and its two elements, (f, 2), the second -1 on the boundary."""
    every = tetrahedra[:, FACES].reshape(-1, 3)
    by, same = _sorted_rows(every)
    first = by[np.concatenate([[True], ~same])]
    second = np.full(len(first), -1)
    second[np.cumsum(np.concatenate([[True], ~same]))[1:][same] - 1] = by[1:][same] // 4
    return every[first], np.stack([first // 4, second], axis=1)


def boundary(tetrahedra: Int) -> Int:
    """Faces that one element only has, (f, 3)."""
    corners, of = faces(tetrahedra)
    return np.asarray(corners[of[:, 1] < 0])


def _sorted_rows(nodes: Int) -> tuple[Int, Mask]:
    """Order of triangles, those of the same nodes together and as they come, (f,).

    Also whether each but the first has the nodes of the one before, (f - 1,).
    """
    a, b, c = nodes.T
    least, most = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    middle = a + b + c - least - most
    n = int(most.max()) + 1
    if n**3 < 2**63:  # one number tells a row, which sorts fastest
        key = (least * n + middle) * n + most
        by = np.argsort(key, kind="stable")
        return by, np.diff(key[by]) == 0
    by = np.lexsort((most, middle, least))
    row = np.stack([least, middle, most], axis=1)[by]
    return by, np.asarray((np.diff(row, axis=0) == 0).all(axis=1))


def interfaces(tetrahedra: Int, reference: Int, order: tuple[int, ...]) -> tuple[Int, Int]:
    """Faces between references and on the boundary, and the surface that each lies on.

    Parameters
    ----------
    tetrahedra : ndarray of int, (m, 4)
    reference : ndarray of int, (m,)
    order : tuple of int
        References in the order of their surfaces 1, 2, ...; surface 0 is the boundary. A face
        lies on the surface of whichever of its two references comes first.

    Returns
    -------
    corners : ndarray of int, (f, 3)
    surface : ndarray of int, (f,)
    """
    corners, of = faces(tetrahedra)
    place = np.full(int(max([reference.max(), *order])) + 1, len(order) + 1)
    place[list(order)] = np.arange(1, len(order) + 1)
    first = place[reference[of[:, 0]]]
    second = np.where(of[:, 1] < 0, 0, place[reference[of[:, 1]]])
    between = (of[:, 1] < 0) | (reference[of[:, 0]] != reference[of[:, 1]])
    return corners[between], np.minimum(first, second)[between]


def on_surfaces(n_nodes: int, corners: Int, surface: Int, n_surfaces: int) -> Mask:
    """Which surfaces each node lies on, (n_nodes, n_surfaces)."""
    on = np.zeros((n_nodes, n_surfaces), dtype=bool)
    on[corners.ravel(), np.repeat(surface, 3)] = True
    return on


def pieces(tetrahedra: Int) -> Int:
    """Give each element the number of its face-connected piece, (m,)."""
    _, of = faces(tetrahedra)
    a, b = of[of[:, 1] >= 0].T
    n = len(tetrahedra)
    graph = sparse.coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def largest_piece(tetrahedra: Int) -> tuple[Mask, int]:
    """Elements of the largest face-connected piece, (n,), and the number of the others."""
    piece = pieces(tetrahedra)
    kept = piece == np.bincount(piece).argmax()
    return kept, int(np.count_nonzero(~kept))


def compact(parts: Parts) -> Parts:
    """Drop the nodes that no element has."""
    nodes, tetrahedra, reference = parts
    used, number = np.unique(tetrahedra, return_inverse=True)
    return nodes[used], number.reshape(-1, 4), reference


def manifold(parts: Parts, outside: int, inside: int) -> Parts:
    """Fill in the outside about edges and nodes at which the inside touches itself.

    Where a boundary runs through an edge or a node twice, the elements of the outside there
    change sides, until no such place is left.
    """
    nodes, tetrahedra, reference = parts
    for _ in range(20):
        outer = boundary(tetrahedra[reference == inside])
        crowded = crowded_edges(outer)
        pinched = pinched_nodes(outer)
        if not len(crowded) and not len(pinched):
            break
        shared = np.isin(tetrahedra, crowded).sum(axis=1) >= 2
        fill = shared | np.isin(tetrahedra, pinched).any(axis=1)
        reference = np.where(fill & (reference == outside), inside, reference)
    return nodes, tetrahedra, reference


def pinched_nodes(outer: Int) -> Int:
    """Nodes at which the faces of a boundary, (f, 3), make more than one fan, (k,)."""
    # Each corner of a face is joined to that of the next face at the same node.
    number = np.arange(outer.size).reshape(-1, 3)
    ends = np.concatenate([outer[:, [0, 1]], outer[:, [1, 2]], outer[:, [2, 0]]])
    own = np.concatenate([number[:, [0, 1]], number[:, [1, 2]], number[:, [2, 0]]])
    turned = ends[:, 0] > ends[:, 1]
    ends[turned], own[turned] = ends[turned][:, ::-1], own[turned][:, ::-1]
    key = ends[:, 0] * (int(ends.max()) + 1) + ends[:, 1]
    by = np.argsort(key, kind="stable")
    same = np.diff(key[by]) == 0
    a, b = own[by][:-1][same].ravel(), own[by][1:][same].ravel()
    graph = sparse.coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(outer.size,) * 2)
    fan = sparse.csgraph.connected_components(graph, directed=False)[1]
    pairs = np.unique(np.stack([outer.ravel(), fan], axis=1), axis=0)
    node, count = np.unique(pairs[:, 0], return_counts=True)
    return np.asarray(node[count > 1])


def crowded_edges(outer: Int) -> Int:
    """Edges with more than two of the faces of a boundary, (f, 3), (k, 2)."""
    pair = np.sort(np.concatenate([outer[:, [0, 1]], outer[:, [1, 2]], outer[:, [2, 0]]]), axis=1)
    n = int(pair.max()) + 1
    edge, count = np.unique(pair[:, 0] * n + pair[:, 1], return_counts=True)
    return np.stack(np.divmod(edge[count > 2], n), axis=1)

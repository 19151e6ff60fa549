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
    order = np.sort(every, axis=1)
    by = _sorted_rows(order)
    same = np.all(order[by[1:]] == order[by[:-1]], axis=1)
    first = by[np.concatenate([[True], ~same])]
    second = np.full(len(first), -1)
    second[np.cumsum(np.concatenate([[True], ~same]))[1:][same] - 1] = by[1:][same] // 4
    return every[first], np.stack([first // 4, second], axis=1)


def _sorted_rows(nodes: Int) -> Int:
    """Order of rows of three node numbers, equal ones as they come, (f,)."""
    n = int(nodes.max()) + 1
    if n**3 < 2**63:  # one number tells a row, which sorts fastest
        return np.argsort((nodes[:, 0] * n + nodes[:, 1]) * n + nodes[:, 2], kind="stable")
    return np.lexsort((nodes[:, 2], nodes[:, 1], nodes[:, 0]))


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
        own = tetrahedra[reference == inside]
        crowded = crowded_edges(own)
        pinched = pinched_nodes(own)
        if not len(crowded) and not len(pinched):
            break
        shared = np.isin(tetrahedra, crowded).sum(axis=1) >= 2
        fill = shared | np.isin(tetrahedra, pinched).any(axis=1)
        reference = np.where(fill & (reference == outside), inside, reference)
    return nodes, tetrahedra, reference


def pinched_nodes(tetrahedra: Int) -> Int:
    """Nodes at which the faces of the boundary make more than one fan, (k,)."""
    corners, of = faces(tetrahedra)
    outer = corners[of[:, 1] < 0]
    # Each corner of a face is joined to that of the next face at the same node.
    number = np.arange(outer.size).reshape(-1, 3)
    ends = np.concatenate([outer[:, [0, 1]], outer[:, [1, 2]], outer[:, [2, 0]]])
    own = np.concatenate([number[:, [0, 1]], number[:, [1, 2]], number[:, [2, 0]]])
    turned = ends[:, 0] > ends[:, 1]
    ends[turned], own[turned] = ends[turned][:, ::-1], own[turned][:, ::-1]
    by = np.lexsort((ends[:, 1], ends[:, 0]))
    same = (np.diff(ends[by], axis=0) == 0).all(axis=1)
    a, b = own[by][:-1][same].ravel(), own[by][1:][same].ravel()
    graph = sparse.coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(outer.size,) * 2)
    fan = sparse.csgraph.connected_components(graph, directed=False)[1]
    pairs = np.unique(np.stack([outer.ravel(), fan], axis=1), axis=0)
    node, count = np.unique(pairs[:, 0], return_counts=True)
    return np.asarray(node[count > 1])


def crowded_edges(tetrahedra: Int) -> Int:
    """Edges with more than two faces on the boundary, (k, 2)."""
    corners, of = faces(tetrahedra)
    outer = corners[of[:, 1] < 0]
    pair = np.sort(np.concatenate([outer[:, [0, 1]], outer[:, [1, 2]], outer[:, [2, 0]]]), axis=1)
    edge, count = np.unique(pair, axis=0, return_counts=True)
    return np.asarray(edge[count > 2])

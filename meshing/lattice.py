"""Lattices of tetrahedra, bisected to a size map: what surfaces are cut out of.

Cubes are divided by Kuhn's rule and refined by bisection of longest edges (Rivara, Int J Numer
Methods Eng 1984;20:745-756), so that all shapes stay a few kinds of good ones.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from bonekit.image.volume import Grid
from bonekit.meshing.distance import DistanceField

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Size = Callable[[Float], NDArray[np.floating]]  # points (n, 3) -> wanted edge length (n,)
Parts = tuple[Float, Int, Int]  # nodes (n, 3), tetrahedra (m, 4), references (m,)

EDGES = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
LONGEST = 1.8  # longest edge of a lattice's tetrahedron over the wanted edge length


def lattice(body: DistanceField, edge_mm: float) -> tuple[Float, Int]:
    """Six tetrahedra in each cube of a grid that may touch the body (Kuhn's division)."""
    grid = body.grid
    shape = np.ceil((np.array(grid.shape) - 1) * grid.spacing_mm / edge_mm).astype(int)
    first = grid.origin_mm + grid.direction @ np.full(3, edge_mm / 2)
    cubes = Grid.of(tuple(shape), edge_mm, first, grid.direction)
    near = body.at(cubes.points()) < 1.5 * edge_mm * np.sqrt(3) / 2
    corners = np.zeros((6, 4, 3), dtype=np.int64)
    for corner, path in zip(corners, permutations(range(3)), strict=True):
        for step, axis in enumerate(path):
            corner[step + 1 :, axis] = 1
    ijk = np.argwhere(near)[:, None, None, :] + corners
    flat = np.ravel_multi_index(tuple(ijk.reshape(-1, 3).T), tuple(shape + 1))
    used, number = np.unique(flat, return_inverse=True)
    nodes = cubes.world(np.stack(np.unravel_index(used, tuple(shape + 1)), axis=1) - 0.5)
    tetrahedra = number.reshape(-1, 4)
    turned = volumes(nodes, tetrahedra) < 0
    tetrahedra[turned] = tetrahedra[turned][:, [0, 1, 3, 2]]
    return nodes, tetrahedra


def volumes(nodes: Float, tetrahedra: Int) -> Float:
    """Signed volume of each tetrahedron, (m,)."""
    a, b, c, d = np.moveaxis(nodes[tetrahedra], 1, 0)
    return np.asarray(np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) / 6)


def refine(
    nodes: Float, tetrahedra: Int, size: Size, keep: Size | None = None
) -> tuple[Float, Int]:
    """Bisect longest edges until none exceeds `LONGEST` times the wanted edge length.

    Parameters
    ----------
    nodes : ndarray of float, (n, 3)
    tetrahedra : ndarray of int, (m, 4)
    size : callable
        Wanted edge length at points.
    keep : callable, optional
        Distance to a body: tetrahedra wholly outside are not refined for their own sake.
    """
    while True:
        edges, of = edge_numbers(tetrahedra)
        length = np.linalg.norm(nodes[edges[:, 0]] - nodes[edges[:, 1]], axis=1)
        rank = np.empty(len(edges), dtype=np.int64)
        rank[np.lexsort((edges[:, 1], edges[:, 0], np.round(length, 6)))] = np.arange(len(edges))
        longest = of[np.arange(len(of)), rank[of].argmax(axis=1)]
        centre = nodes[tetrahedra].mean(axis=1)
        large = length[longest] > LONGEST * size(centre)
        if keep is not None:
            large &= keep(centre) < length[longest]
        marked = np.zeros(len(edges), dtype=bool)
        marked[longest[large]] = True
        if not marked.any():
            return nodes, tetrahedra
        _close(marked, of, longest)
        split = edges[marked]
        middle = nodes[split].mean(axis=1)
        tetrahedra, _ = bisect(tetrahedra, split, rank[marked], len(nodes))
        nodes = np.concatenate([nodes, middle])


def _close(marked: NDArray[np.bool_], of: Int, longest: Int) -> None:
    """Mark the longest edge of whatever has a marked one, until nothing is added."""
    before = -1
    while before != (before := int(np.count_nonzero(marked))):
        marked[longest[marked[of].any(axis=1)]] = True


def edge_numbers(tetrahedra: Int) -> tuple[Int, Int]:
    """Edges, lower node first, (e, 2) in ascending order, and those of each element, (m, 6)."""
    pair = np.sort(tetrahedra[:, EDGES].reshape(-1, 2), axis=1)
    n = int(pair.max()) + 1
    key, number = np.unique(pair[:, 0] * n + pair[:, 1], return_inverse=True)
    return np.stack([key // n, key % n], axis=1), number.reshape(-1, 6)


def bisect(tetrahedra: Int, edges: Int, rank: Int, n_nodes: int) -> tuple[Int, Int]:
    """Divide all elements at the marked edges, one edge after the other.

    Where several edges of an element are marked, that of the highest rank goes first; as rank is
    one order for the mesh, two neighbours divide their common face alike.

    Parameters
    ----------
    tetrahedra : ndarray of int, (m, 4)
    edges : ndarray of int, (e, 2)
        Marked edges, lower node first, ascending; the node in edge `i` is ``n_nodes + i``.
    rank : ndarray of int, (e,)
    n_nodes : int

    Returns
    -------
    tetrahedra : ndarray of int, (k, 4)
        Turned as their parents are.
    parent : ndarray of int, (k,)
    """
    n = n_nodes + len(edges)
    key = edges[:, 0] * n + edges[:, 1]
    todo, parent = tetrahedra, np.arange(len(tetrahedra))
    done, parents = [], []
    while len(todo):
        pair = np.sort(todo[:, EDGES], axis=2)
        wanted = pair[..., 0] * n + pair[..., 1]
        at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        hit = key[at] == wanted
        cut = hit.any(axis=1)
        done.append(todo[~cut])
        parents.append(parent[~cut])
        row = np.arange(np.count_nonzero(cut))
        which = np.where(hit[cut], rank[at[cut]], -1).argmax(axis=1)
        middle = n_nodes + at[cut][row, which]
        first, second = todo[cut], todo[cut].copy()
        first[row, EDGES[which, 1]] = middle
        second[row, EDGES[which, 0]] = middle
        todo, parent = np.concatenate([first, second]), np.tile(parent[cut], 2)
    return np.concatenate(done), np.concatenate(parents)

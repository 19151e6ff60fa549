"""The elements that remeshing leaves bad, mended by moving their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.elements import corner_fitness, fitness
from bonekit.meshing.lattice import Parts
from bonekit.meshing.levelset import interfaces, on_surfaces
from bonekit.meshing.shapes import Shape

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUNDS = 12  # for elements that are not good
MORE = 24  # for the worst of them
LAST = 18  # for those that are still poor, whose nodes may then leave their surfaces
WORST = 0.8  # fitness of the worst
POOR = 0.9  # and of the poor, a scaled Jacobian of 0.18
REACH = (0.4, 0.4, 0.2, 0.2, 0.1, 0.05)  # of the shortest edge at a node, round after round
TRIES = 12  # places tried for each node in a round
OFF_VOXELS = 0.2  # how far from its surface mending may take a node
LAST_OFF_VOXELS = 0.5  # in the last rounds
GAIN = 1e-3  # of fitness: the least that a move is made for
MOST_NODES = 8000  # moved in a round, those at the worst elements first


def mended(parts: Parts, shapes: Sequence[Shape], voxel_mm: float) -> Parts:
    """Move the nodes of bad elements to where the worst element about them is best.

    Places are tried at random, the same ones each time; nodes of interfaces move along them and
    stay on them within a part of a voxel. For the few elements that are near or outside the limits
    even then, nodes may leave their surfaces by up to half a voxel.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    shapes : sequence of Shape
    voxel_mm : float
    """
    nodes, tetrahedra, reference = parts
    nodes = nodes.copy()
    order = tuple(shape.value for shape in shapes[1:])
    on = on_surfaces(len(nodes), *interfaces(tetrahedra, reference, order), n_surfaces=len(shapes))
    stars = Stars(tetrahedra, len(nodes))
    random = np.random.default_rng(0)
    worst = fitness(nodes, tetrahedra)
    for turn in range(ROUNDS + MORE):
        todo = _worst_nodes(worst, tetrahedra, 1.0 if turn < ROUNDS else WORST)
        if not todo.size:
            continue
        reach = REACH[turn % len(REACH)]
        for batch in stars.apart(todo):
            way = reach * random.uniform(-1, 1, (TRIES, len(batch), 3))
            _move(nodes, batch, way, stars, on, shapes, OFF_VOXELS * voxel_mm)
        about = np.unique(stars.of(todo)[0])
        worst[about] = fitness(nodes, tetrahedra[about])
    for turn in range(LAST):
        todo = _worst_nodes(worst, tetrahedra, POOR)
        if not todo.size:
            break
        reach = REACH[turn % len(REACH)]
        for batch in stars.apart(todo):
            way = reach * random.uniform(-1, 1, (TRIES, len(batch), 3))
            off_mm = LAST_OFF_VOXELS * voxel_mm
            _move(nodes, batch, way, stars, on, shapes, off_mm, along=False)
        about = np.unique(stars.of(todo)[0])
        worst[about] = fitness(nodes, tetrahedra[about])
    return nodes, tetrahedra, reference


def _worst_nodes(worst: Float, tetrahedra: Int, least: float) -> Int:
    """Nodes of the elements that are not good enough, the worst first."""
    bad = np.flatnonzero(worst < least)
    each = tetrahedra[bad[worst[bad].argsort(kind="stable")]].ravel()
    first = np.unique(each, return_index=True)[1]
    return np.asarray(each[np.sort(first)][:MOST_NODES])


class Stars:
    """Elements about each node.

    Parameters
    ----------
    tetrahedra : ndarray of int, (m, 4)
    n_nodes : int
    """

    def __init__(self, tetrahedra: Int, n_nodes: int) -> None:
        self.tetrahedra = tetrahedra
        self._by = np.argsort(tetrahedra.ravel(), kind="stable") // 4
        self._start = np.concatenate(
            [[0], np.cumsum(np.bincount(tetrahedra.ravel(), None, n_nodes))]
        )

    def of(self, nodes: Int) -> tuple[Int, Int]:
        """Elements about some nodes, one node after the other, and where each node's begin."""
        count = self._start[nodes + 1] - self._start[nodes]
        first = np.cumsum(count) - count
        at = np.arange(count.sum()) - np.repeat(first - self._start[nodes], count)
        return self._by[at], first

    def apart(self, nodes: Int) -> Iterator[Int]:
        """Divide nodes into batches of which no two nodes share an element, the first first."""
        rank = np.full(len(self._start) - 1, len(nodes))
        rank[nodes] = np.arange(len(nodes))
        while nodes.size:
            rows, first = self.of(nodes)
            lowest = np.minimum.reduceat(rank[self.tetrahedra[rows]].min(axis=1), first)
            chosen = lowest == rank[nodes]
            yield nodes[chosen]
            rank[nodes[chosen]] = len(rank)
            nodes = nodes[~chosen]


def _move(
    nodes: Float,
    batch: Int,
    way: Float,
    stars: Stars,
    on: Mask,
    shapes: Sequence[Shape],
    off_mm: float,
    along: bool = True,
) -> None:
    """Move each node of a batch to the best of its places, if that is better than where it is.

    Parameters
    ----------
    way : ndarray of float, (n_tries, n_batch, 3)
        In shortest edges at each node.
    along : bool
        Whether nodes of surfaces move along them only.
    """
    rows, first = stars.of(batch)
    own = np.repeat(np.arange(len(batch)), np.diff(np.append(first, len(rows))))
    x = nodes[stars.tetrahedra[rows]]
    is_node = stars.tetrahedra[rows] == batch[own][:, None]
    apart = np.linalg.norm(x - nodes[batch][own][:, None], axis=2)
    shortest = np.minimum.reduceat(np.where(is_node, np.inf, apart).min(axis=1), first)
    way = way * shortest[:, None]
    if along:
        way = _along(way, nodes[batch], on[batch], shapes)
    good = _near_surfaces(nodes[batch], way, on[batch], shapes, off_mm)
    tried = nodes[batch] + way
    moved = np.where(is_node[..., None], tried[:, own, None], x)
    each = corner_fitness(np.concatenate([x[None], moved]).reshape(-1, 4, 3))
    worst = np.minimum.reduceat(each.reshape(len(way) + 1, -1), first, axis=1)
    gain = np.where(good, worst[1:] - worst[0], 0.0)
    best = gain.argmax(axis=0)
    row = np.flatnonzero(gain[best, np.arange(len(batch))] > GAIN)
    nodes[batch[row]] = tried[best[row], row]


def _along(way: Float, here: Float, on: Mask, shapes: Sequence[Shape]) -> Float:
    """Take from moves their parts across the surfaces that each node is on."""
    out = way.copy()
    basis: list[Float] = []
    for k, shape in enumerate(shapes):
        normal = np.zeros_like(here)
        normal[on[:, k]] = shape.gradient(here[on[:, k]])
        for other in basis:
            normal -= (normal * other).sum(axis=1, keepdims=True) * other
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        # What is left of nearly parallel slopes is noise and no direction.
        normal = np.where(length > 0.2, normal / np.maximum(length, 1e-12), 0.0)
        out -= (out * normal).sum(axis=2, keepdims=True) * normal
        basis.append(normal)
    return out


def _near_surfaces(
    here: Float, way: Float, on: Mask, shapes: Sequence[Shape], most_mm: float
) -> Mask:
    """Which moves leave nodes no further from their surfaces than allowed, or than they are."""
    good = np.ones(way.shape[:2], dtype=bool)
    for k, shape in enumerate(shapes):
        there = on[:, k]
        if there.any():
            now = np.abs(shape.at(here[there]))
            then = np.abs(shape.at((here + way)[:, there].reshape(-1, 3))).reshape(len(way), -1)
            good[:, there] &= then <= np.maximum(most_mm, now)
    return good

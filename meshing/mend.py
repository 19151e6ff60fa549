"""The few elements that remeshing leaves outside the limits, mended one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.elements import corner_fitness, fitness
from bonekit.meshing.lattice import Parts
from bonekit.meshing.levelset import interfaces, on_surfaces
from bonekit.meshing.shapes import Shape

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUNDS = 6
TRIES = 60  # places tried for each node
OFF_VOXELS = 0.2  # how far from its surface mending may take a node
MOST_NODES = 4000  # mended one by one


def mended(parts: Parts, shapes: Sequence[Shape], voxel_mm: float) -> Parts:
    """Move the nodes of bad elements to where the worst element about them is best.

    Nodes of interfaces stay on them within a part of a voxel.

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
    around = _Around(tetrahedra, len(nodes))
    random = np.random.default_rng(0)
    for _ in range(ROUNDS):
        worst = fitness(nodes, tetrahedra)
        bad = np.flatnonzero(worst < 1)
        todo = np.unique(tetrahedra[bad[worst[bad].argsort()][:MOST_NODES]])
        before = nodes.copy()
        for node in todo[:MOST_NODES]:
            nodes[node] = _best(nodes, node, around, on[node], shapes, voxel_mm, random)
        if np.array_equal(before, nodes):
            break
    return nodes, tetrahedra, reference


class _Around:
    """Elements about each node."""

    def __init__(self, tetrahedra: Int, n_nodes: int) -> None:
        self.tetrahedra = tetrahedra
        self._by = np.argsort(tetrahedra.ravel(), kind="stable") // 4
        self._start = np.searchsorted(np.sort(tetrahedra.ravel()), np.arange(n_nodes + 1))

    def __call__(self, node: int) -> Int:
        """Nodes of the elements about one, (k, 4)."""
        return self.tetrahedra[self._by[self._start[node] : self._start[node + 1]]]


def _best(
    nodes: Float,
    node: int,
    around: _Around,
    on: Mask,
    shapes: Sequence[Shape],
    voxel_mm: float,
    random: np.random.Generator,
) -> Float:
    """Place of one node, of some at random about it, at which its worst element is best."""
    star = around(node)
    x = nodes[star]
    here = nodes[node]
    own = star == node
    reach = np.linalg.norm(x - here, axis=-1)[~own].min()
    scale = reach * np.repeat([0.4, 0.15, 0.05], TRIES // 3)[:, None]
    place = here + scale * random.uniform(-1, 1, (len(scale), 3))
    place = place[_near_surfaces(place, here, on, shapes, OFF_VOXELS * voxel_mm)]
    place = np.concatenate([here[None], place])
    tried = np.repeat(x[None], len(place), axis=0)
    tried[:, own] = place[:, None, :]
    worst = corner_fitness(tried.reshape(-1, 4, 3)).reshape(len(place), len(star)).min(axis=1)
    best = int(worst.argmax())
    return np.asarray(place[best] if worst[best] > worst[0] + 1e-3 else here)


def _near_surfaces(
    place: Float, here: Float, on: Mask, shapes: Sequence[Shape], most_mm: float
) -> Mask:
    """Which places are no further from the surfaces of a node than allowed, or than it is."""
    good = np.ones(len(place), dtype=bool)
    for k in np.flatnonzero(on).tolist():
        both = np.abs(shapes[k].at(np.concatenate([here[None], place])))
        good &= both[1:] <= max(most_mm, both[0])
    return good

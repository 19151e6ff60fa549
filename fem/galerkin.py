"""Coarser bricks from finer ones: their connections and their Galerkin stiffness.

A coarse brick covers two (or one) finer cells along each axis. Where it covers parts that don't
touch, such as two trabeculae on either side of a pore, it exists once per part, and neighbouring
coarse bricks share nodes only where the finer bricks in them do: otherwise the coarse grid would
weld together what is apart, and correct nothing.

References
----------
Dick, Georgii, Westermann, IEEE Trans. Vis. Comput. Graph. 17 (2011) 1663: bricks by connected part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from bonekit.fem.brick import child_interpolation
from bonekit.fem.bricks import Bricks, Float, Lattice
from bonekit.meshing.voxel import BRICK_CORNERS

Factors = tuple[int, int, int]
Int = NDArray[np.integer]

BATCH = 2048  # element matrices held at once: 9 MB of them


@dataclass(frozen=True, eq=False)
class Coarsening:
    """How finer bricks lie in coarser ones, and interpolation between their nodes.

    Parameters
    ----------
    coarse : Bricks
    factors : tuple of int
    parent, child : ndarray of int, (n_fine,)
        Coarse brick of each finer one, and its position in it in C order.
    nodes : ndarray of int, (m,)
        Finer nodes in use.
    sources : ndarray of int, (m, 8)
        Coarse nodes each is interpolated from; the weights are equal over the first ``count``.
    count : ndarray of int, (m,)
        1, 2, 4 or 8.
    """

    coarse: Bricks
    factors: Factors
    parent: Int
    child: Int
    nodes: Int
    sources: Int
    count: Int


def coarsen(fine: Bricks, factors: Factors) -> Coarsening:
    """Group bricks into coarser ones, part by part, and join the corners of these."""
    f = np.array(factors)
    i, j, k = (int(n) for n in -(-np.array(fine.lattice.cells) // f))
    lattice = Lattice((i, j, k))
    parent = _parts(lattice.number(fine.cells // f), fine.corners)
    cells = np.zeros((parent.max() + 1, 3), dtype=np.int64)
    cells[parent] = fine.cells // f

    # Each finer node of each coarse brick once, with its place in it in steps of finer bricks.
    incident = np.unique(parent[:, None] * fine.n_nodes + fine.corners, return_index=True)
    brick, node = np.divmod(incident[0], fine.n_nodes)
    element, corner = np.divmod(incident[1], 8)
    place = fine.cells[element] % f + BRICK_CORNERS[corner]
    spans = (2 * BRICK_CORNERS[None] * f == 2 * place[:, None]) | (place[:, None] % f > 0)
    weighted = spans.all(axis=2)  # (incidences, 8): the coarse corners that carry weight there
    corners, n_nodes = _join(lattice, cells, brick, node, weighted)

    _, first = np.unique(node, return_index=True)
    used = weighted[first]
    order = np.argsort(~used, axis=1, kind="stable")
    sources = np.take_along_axis(corners[brick[first]], order, axis=1)
    child = (fine.cells % f) @ np.array([f[1] * f[2], f[2], 1])
    coarse = Bricks(lattice, cells, corners, n_nodes)
    return Coarsening(coarse, factors, parent, child, node[first], sources, used.sum(axis=1))


def _parts(cell: Int, corners: Int) -> Int:
    """Group bricks that lie in the same coarse cell and hang together there."""
    n = len(cell)
    _, hub = np.unique(cell[:, None] * (corners.max() + 1) + corners, return_inverse=True)
    return _components(np.repeat(np.arange(n), 8), n + hub.ravel())[:n]


def _join(
    lattice: Lattice, cells: Int, brick: Int, node: Int, weighted: NDArray[np.bool_]
) -> tuple[Int, int]:
    """Join the corners of coarse bricks that a finer node depends on alike, and number them."""
    row, corner = np.nonzero(weighted)
    position = lattice.number(cells[brick[row]] + BRICK_CORNERS[corner])
    _, hub = np.unique(node[row] * lattice.size + position, return_inverse=True)
    own = brick[row] * 8 + corner
    label = _components(own, 8 * len(cells) + hub.ravel())
    number, corners = np.unique(label[: 8 * len(cells)], return_inverse=True)
    return corners.reshape(-1, 8), len(number)


def _components(a: Int, b: Int) -> Int:
    """Label the connected components of the graph with edges a-b."""
    n = int(max(a.max(), b.max())) + 1
    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


class Stiffness(Protocol):
    """Stiffness of bricks that is made when it is asked for."""

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the bricks of a range: float64, (stop - start, 24, 24)."""
        ...


class StoredStiffness:
    """Stiffness of each brick, float64, (n, 24, 24)."""

    def __init__(self, K: Tensor) -> None:
        self.K = K

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the bricks of a range."""
        return self.K[start:stop]


class ParentStiffness:
    """Stiffness of coarse bricks whose children are combinations of a few unit stiffnesses.

    The units are projected once per child position and summed with the children's weights; only
    the children that touch a fixed degree of freedom or a spring are corrected one by one. A
    matrix exists only while it is used: all of them would be as large as thirty solutions.

    Parameters
    ----------
    fine : Bricks
    step : Coarsening
    weights : ndarray of float, (p, n_fine)
    units : ndarray of float, (p, 24, 24)
    free : Tensor of bool, (3, fine.n_nodes)
    spring_N_mm : Tensor, (3, fine.n_nodes), optional
    """

    def __init__(
        self,
        fine: Bricks,
        step: Coarsening,
        weights: Float,
        units: Float,
        free: Tensor,
        spring_N_mm: Tensor | None = None,
    ) -> None:
        self.device = free.device
        self.P = self._tensor(child_interpolation(step.factors))
        self.units = self._tensor(units)
        shares = np.zeros((len(step.coarse), len(weights), len(self.P)))
        shares[step.parent, :, step.child] = weights.T
        self.shares = shares.reshape(len(shares), -1)
        projected = self.P.mT[None] @ self.units[:, None] @ self.P[None]
        self.projected = projected.reshape(-1, 576)

        held = np.logical_not(free.cpu().numpy())
        special = held.any(axis=0)
        spring = None if spring_N_mm is None else spring_N_mm.cpu().numpy()
        if spring is not None:
            special |= spring.any(axis=0)
        touching = np.flatnonzero(special[fine.corners].any(axis=1))
        touching = touching[np.argsort(step.parent[touching], kind="stable")]
        self.parent, self.child = step.parent[touching], step.child[touching]
        self.weights = weights[:, touching]
        corners = fine.corners[touching]
        self.kept = np.moveaxis(~held[:, corners], 0, -1).reshape(-1, 24)
        self.spring = None if spring is None else _shared(spring, corners) * self.kept

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the coarse bricks of a range."""
        coarse = (self._tensor(self.shares[start:stop]) @ self.projected).view(-1, 24, 24)
        first, last = np.searchsorted(self.parent, (start, stop))
        for a in range(first, last, BATCH):
            some = slice(a, min(a + BATCH, last))
            kept = self._tensor(self.kept[some]).double()
            own = torch.einsum("pn,pij->nij", self._tensor(self.weights[:, some]), self.units)
            change = kept[:, :, None] * own * kept[:, None, :] - own
            if self.spring is not None:
                change += torch.diag_embed(self._tensor(self.spring[some]))
            P = self.P[self._tensor(self.child[some])]
            coarse.index_add_(0, self._tensor(self.parent[some] - start), P.mT @ change @ P)
        return coarse


def _shared(spring: Float, corners: Int) -> Float:
    """Springs of the nodes, (3, n_nodes), shared among the bricks that touch them, (n, 24)."""
    count = np.bincount(corners.ravel(), minlength=spring.shape[1])
    share = spring / np.maximum(count, 1)
    return np.asarray(np.moveaxis(share[:, corners], 0, -1).reshape(-1, 24))


def project(step: Coarsening, stiffness: Stiffness, device: torch.device) -> StoredStiffness:
    """Project the stiffness of bricks onto the coarser ones."""
    P = torch.as_tensor(child_interpolation(step.factors), device=device)
    coarse = P.new_zeros(len(step.coarse), 24, 24)
    n = len(step.parent)
    for start in range(0, n, BATCH):
        stop = min(start + BATCH, n)
        Pc = P[torch.as_tensor(step.child[start:stop], device=device)]
        where = torch.as_tensor(step.parent[start:stop], device=device)
        coarse.index_add_(0, where, Pc.mT @ stiffness(start, stop) @ Pc)
    return StoredStiffness(coarse)

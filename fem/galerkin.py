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

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from bonekit.fem.brick import child_interpolation
from bonekit.fem.operator import Float, Lattice
from bonekit.meshing.voxel import BRICK_CORNERS

Factors = tuple[int, int, int]
Int = NDArray[np.int64]

_BATCH = 4096  # element matrices held at once


@dataclass(frozen=True, eq=False)
class Bricks:
    """Bricks of one size on a lattice; several may share a cell, their nodes a position.

    Parameters
    ----------
    lattice : Lattice
    cells : ndarray of int, (n, 3)
        Grid index of each brick.
    corners : ndarray of int, (n, 8)
        Node numbers of each brick.
    n_nodes : int
    """

    lattice: Lattice
    cells: Int
    corners: Int
    n_nodes: int


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


def bricks_of(lattice: Lattice, E: Float) -> Bricks:
    """Bricks of a lattice where the flat field of moduli is positive, nodes in lattice order."""
    node = np.flatnonzero(E)
    cells = np.stack(np.unravel_index(node, lattice.nodes), axis=1)
    return Bricks(lattice, cells, node[:, None] + np.array(lattice.corners), lattice.size)


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


def project_unit(fine: Bricks, step: Coarsening, E: Float, K: Float, free: Tensor) -> Tensor:
    """Project bricks that share one unit stiffness, with fixed degrees of freedom removed.

    The unit stiffness is projected once per child position and scaled by each child's modulus;
    only the children that touch a fixed degree of freedom are corrected one by one.

    Parameters
    ----------
    fine : Bricks
    step : Coarsening
    E : ndarray of float, (n_fine,)
    K : ndarray of float, (24, 24)
    free : Tensor of bool, (3, fine.n_nodes)

    Returns
    -------
    Tensor of float64, (n_coarse, 24, 24)
    """
    device = free.device
    P = torch.as_tensor(child_interpolation(step.factors), device=device)
    unit = torch.as_tensor(K, device=device)
    moduli = np.zeros((len(step.coarse.cells), len(P)))
    moduli[step.parent, step.child] = E
    projected = (P.mT @ unit @ P).reshape(len(P), 576)
    coarse = (torch.as_tensor(moduli, device=device) @ projected).view(-1, 24, 24)

    held = np.logical_not(free.cpu().numpy().T)
    touching = np.flatnonzero(held.any(axis=1)[fine.corners].any(axis=1))
    for batch in np.array_split(touching, 1 + len(touching) // _BATCH):
        kept = torch.as_tensor(~held[fine.corners[batch]].reshape(-1, 24), device=device).double()
        change = kept[:, :, None] * unit * kept[:, None, :] - unit
        change *= torch.as_tensor(E[batch], device=device)[:, None, None]
        Pc = P[torch.as_tensor(step.child[batch], device=device)]
        where = torch.as_tensor(step.parent[batch], device=device)
        coarse.index_add_(0, where, Pc.mT @ change @ Pc)
    return coarse


def project(step: Coarsening, K: Tensor) -> Tensor:
    """Project bricks with stiffnesses of their own, (n_fine, 24, 24) to (n_coarse, 24, 24)."""
    P = torch.as_tensor(child_interpolation(step.factors), device=K.device)
    coarse = K.new_zeros(len(step.coarse.cells), 24, 24)
    for position, Pc in enumerate(P):
        members = np.flatnonzero(step.child == position)
        for batch in np.array_split(members, 1 + len(members) // _BATCH):
            index = torch.as_tensor(batch, device=K.device)
            where = torch.as_tensor(step.parent[batch], device=K.device)
            coarse.index_add_(0, where, Pc.T @ K[index] @ Pc)
    return coarse

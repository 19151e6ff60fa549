"""Galerkin projection of brick stiffnesses onto coarser bricks, element by element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.fem.brick import child_interpolation
from bonekit.fem.operator import Float, Lattice

Factors = tuple[int, int, int]
Int = NDArray[np.int64]

_BATCH = 4096  # element matrices held at once


@dataclass(frozen=True, eq=False)
class CoarseBricks:
    """Bricks with a stiffness of their own.

    Parameters
    ----------
    lattice : Lattice
    cells : ndarray of int, (n, 3)
        Grid index of each brick that has an active child.
    K : Tensor of float64, (n, 24, 24)
    """

    lattice: Lattice
    cells: Int
    K: Tensor

    @property
    def dof_bound(self) -> int:
        """Number of degrees of freedom."""
        corner = self.lattice.number(self.cells)[:, None] + np.array(self.lattice.corners)
        return 3 * len(np.unique(corner))


def coarsen(lattice: Lattice, E: Float, K: Float, free: Tensor, factors: Factors) -> CoarseBricks:
    """Project bricks that share one unit stiffness, with fixed degrees of freedom removed.

    The unit stiffness is projected once per child position and scaled by each child's modulus;
    only the children that touch a fixed degree of freedom are corrected one by one.

    Parameters
    ----------
    lattice : Lattice
    E : ndarray of float, (lattice.size,)
    K : ndarray of float, (24, 24)
    free : Tensor of bool, (3, lattice.size)
    factors : tuple of int
        Children along each axis, 1 or 2.
    """
    device = free.device
    node = np.flatnonzero(E)
    ijk = np.stack(np.unravel_index(node, lattice.nodes), axis=1)
    coarse, cells, parent, child = _parents(lattice, ijk, factors)
    P = torch.as_tensor(child_interpolation(factors), device=device)
    unit = torch.as_tensor(K, device=device)
    moduli = np.zeros((len(cells), len(P)))
    moduli[parent, child] = E[node]
    projected = (P.mT @ unit @ P).reshape(len(P), 576)
    coarse_K = (torch.as_tensor(moduli, device=device) @ projected).view(-1, 24, 24)

    corner = torch.as_tensor(node[:, None] + np.array(lattice.corners), device=device)
    touching = torch.nonzero(~free.all(0)[corner].all(1))[:, 0]
    for batch in torch.split(touching, _BATCH):
        kept = free[:, corner[batch]].permute(1, 2, 0).reshape(-1, 24).to(unit.dtype)
        modulus = torch.as_tensor(E[node[batch.cpu().numpy()]], device=device)[:, None, None]
        change = (kept[:, :, None] * unit * kept[:, None, :] - unit) * modulus
        where = batch.cpu().numpy()
        Pc = P[torch.as_tensor(child[where], device=device)]
        index = torch.as_tensor(parent[where], device=device)
        coarse_K.index_add_(0, index, Pc.mT @ change @ Pc)
    return CoarseBricks(coarse, cells, coarse_K)


def coarsen_again(bricks: CoarseBricks, factors: Factors) -> CoarseBricks:
    """Project bricks with stiffnesses of their own onto bricks coarser by ``factors``."""
    coarse, cells, parent, child = _parents(bricks.lattice, bricks.cells, factors)
    P = torch.as_tensor(child_interpolation(factors), device=bricks.K.device)
    K = bricks.K.new_zeros(len(cells), 24, 24)
    for position, Pc in enumerate(P):
        members = np.flatnonzero(child == position)
        for batch in np.array_split(members, 1 + len(members) // _BATCH):
            K[parent[batch]] += Pc.T @ bricks.K[batch] @ Pc  # one child of a parent per position
    return CoarseBricks(coarse, cells, K)


def _parents(lattice: Lattice, ijk: Int, factors: Factors) -> tuple[Lattice, Int, Int, Int]:
    """Coarse lattice, its cells, and for each fine cell its parent and its position in it."""
    f = np.array(factors)
    i, j, k = (int(n) for n in -(-np.array(lattice.cells) // f))
    coarse = Lattice((i, j, k))
    number, parent = np.unique(coarse.number(ijk // f), return_inverse=True)
    cells = np.stack(np.unravel_index(number, coarse.nodes), axis=1)
    child = (ijk % f) @ np.array([f[1] * f[2], f[2], 1])
    return coarse, cells, parent.reshape(-1), child

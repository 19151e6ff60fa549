"""The stiffness of coarser bricks: the Galerkin projection of that of the finer ones in them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.fem.brick import child_interpolation
from bonekit.fem.bricks import Bricks, Float
from bonekit.fem.coarsening import Coarsening

Int = NDArray[np.integer]

BATCH = 512  # element matrices held at once: 2.4 MB of them


class Stiffness(Protocol):
    """Stiffness of bricks that is made when it is asked for."""

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the bricks of a range: float64, (stop - start, 24, 24)."""
        ...


class StoredStiffness:
    """Stiffness of each brick, float64, of which the lower triangles are kept, (n, 300)."""

    def __init__(self, lower: Tensor) -> None:
        self.lower = lower
        row, column = np.maximum(*np.indices((24, 24))), np.minimum(*np.indices((24, 24)))
        place = row * (row + 1) // 2 + column
        self._place = torch.as_tensor(place.ravel(), device=lower.device)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the bricks of a range."""
        return self.lower[start:stop].index_select(1, self._place).view(-1, 24, 24)


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
        self.projected = projected.reshape(-1, 24, 24)

        held = np.logical_not(free.cpu().numpy())
        special = held.any(axis=0)
        spring = None if spring_N_mm is None else spring_N_mm.cpu().numpy()
        if spring is not None:
            special |= spring.any(axis=0)
        touching = np.flatnonzero(special[fine.corners].any(axis=1))
        touching = touching[np.argsort(step.parent[touching], kind="stable")]
        self.parent, self.child = step.parent[touching], step.child[touching].astype(np.int32)
        self.weights = weights[:, touching]
        corners = fine.corners[touching]
        self.kept = np.moveaxis(~held[:, corners], 0, -1).reshape(-1, 24)
        self.spring = None if spring is None else _shared(spring, corners) * self.kept

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Of the coarse bricks of a range."""
        projected = self.projected.view(-1, 576)
        coarse = (self._tensor(self.shares[start:stop]) @ projected).view(-1, 24, 24)
        first, last = np.searchsorted(self.parent, (start, stop))
        for a in range(first, last, BATCH):
            some = slice(a, min(a + BATCH, last))
            coarse.index_add_(0, self._tensor(self.parent[some] - start), self._change(some))
        return coarse

    def _change(self, some: slice) -> Tensor:
        """Give what supports change in the stiffness by some children: (n, 24, 24)."""
        kept = self._tensor(self.kept[some]).double()
        own = torch.einsum("pn,pij->nij", self._tensor(self.weights[:, some]), self.units)
        change = kept[:, :, None] * own * kept[:, None, :] - own
        if self.spring is not None:
            change += torch.diag_embed(self._tensor(self.spring[some]))
        P = self.P[self._tensor(self.child[some])]
        return P.mT @ change @ P

    def changes(self, dtype: torch.dtype) -> tuple[Int, Tensor]:
        """Coarse bricks that supports touch, (m,), and their changes, (m, 24, 24)."""
        touched, row = np.unique(self.parent, return_inverse=True)
        total = torch.zeros(len(touched), 24, 24, dtype=dtype, device=self.device)
        for a in range(0, len(row), BATCH):
            some = slice(a, a + BATCH)
            total.index_add_(0, self._tensor(row[some]), self._change(some).to(dtype))
        return touched, total


def _shared(spring: Float, corners: Int) -> Float:
    """Springs of the nodes, (3, n_nodes), shared among the bricks that touch them, (n, 24)."""
    count = np.bincount(corners.ravel(), minlength=spring.shape[1])
    share = spring / np.maximum(count, 1)
    return np.asarray(np.moveaxis(share[:, corners], 0, -1).reshape(-1, 24))


def project(step: Coarsening, stiffness: Stiffness, device: torch.device) -> StoredStiffness:
    """Project the stiffness of bricks onto the coarser ones."""
    P = torch.as_tensor(child_interpolation(step.factors), device=device)
    lower = torch.as_tensor(np.ravel_multi_index(np.tril_indices(24), (24, 24)), device=device)
    coarse = P.new_zeros(len(step.coarse), len(lower))
    n = len(step.parent)
    for start in range(0, n, BATCH):
        stop = min(start + BATCH, n)
        Pc = P[torch.as_tensor(step.child[start:stop].astype(np.int32), device=device)]
        where = torch.as_tensor(step.parent[start:stop], device=device)
        own = Pc.mT @ stiffness(start, stop) @ Pc
        coarse.index_add_(0, where, own.view(-1, 576).index_select(1, lower))
    return StoredStiffness(coarse)

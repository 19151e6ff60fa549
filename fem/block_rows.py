"""Sparse matrices of a coarse level: its assembled stiffness and the way to the next level."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from bonekit.fem.bricks import Bricks
from bonekit.fem.coarsening import Coarsening
from bonekit.fem.galerkin import BATCH, Stiffness
from bonekit.fem.threads import at_once, shares

Int = NDArray[np.integer]

_LEAST = 2000  # nodes of a part that is worth a thread of its own


def _sparse(rows: Int, columns: Int, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sparse tensor of compressed rows: of blocks where the values have three axes."""
    make = torch.sparse_bsr_tensor if values.ndim == 3 else torch.sparse_csr_tensor
    start, column = (
        torch.as_tensor(a.astype(np.int32), device=values.device) for a in (rows, columns)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
        matrix: Tensor = make(start, column, values, shape, check_invariants=False)
    return matrix


class BlockRows:
    """Assembled stiffness as rows of 3x3 blocks.

    Parameters
    ----------
    bricks : Bricks
    stiffness : Stiffness
        Of each brick.
    dtype : torch.dtype
        Of the fields, (n_nodes, 3), that it takes and gives.
    device : torch.device
    """

    def __init__(
        self, bricks: Bricks, stiffness: Stiffness, dtype: torch.dtype, device: torch.device
    ) -> None:
        n = bricks.n_nodes
        pattern = _neighbours(bricks)
        entry = np.repeat(np.arange(n), np.diff(pattern.indptr)) * n + pattern.indices
        blocks = torch.zeros(len(entry), 9, dtype=dtype, device=device)
        for start in range(0, len(bricks), BATCH):
            stop = min(start + BATCH, len(bricks))
            corners = bricks.corners[start:stop].astype(np.int64)
            place = np.searchsorted(entry, corners[:, :, None] * n + corners[:, None, :])
            K = stiffness(start, stop).view(-1, 8, 3, 8, 3).transpose(2, 3).reshape(-1, 9)
            blocks.index_add_(0, torch.as_tensor(place.ravel(), device=device), K.to(dtype))
        own = np.searchsorted(entry, np.arange(n) * (n + 1))
        self._diagonal = blocks[torch.as_tensor(own, device=device)][:, ::4].clone()
        values = blocks.view(-1, 3, 3)
        begin = np.asarray(pattern.indptr)
        self.slabs = []
        for low, high in [(0, n)] if device.type != "cpu" else shares(n, _LEAST):
            first, last = int(begin[low]), int(begin[high])
            rows, columns = begin[low : high + 1] - first, pattern.indices[first:last]
            shape = (3 * (high - low), 3 * n)
            self.slabs.append(_sparse(rows, columns, values[first:last], shape))

    def __call__(self, u: Tensor) -> Tensor:
        """Turn nodal displacements, (n_nodes, 3), into nodal forces."""
        flat = u.reshape(-1)
        parts = at_once([partial(torch.mv, slab, flat) for slab in self.slabs])
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(-1, 3)

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (n_nodes, 3)."""
        return self._diagonal


def _neighbours(bricks: Bricks) -> csr_matrix:
    """Which nodes share a brick, (n_nodes, n_nodes)."""
    n = len(bricks)
    ones = np.ones(8 * n, dtype=np.int8)
    touch = csr_matrix(
        (ones, bricks.corners.ravel(), np.arange(0, 8 * n + 1, 8)), shape=(n, bricks.n_nodes)
    )
    pattern = (touch.T @ touch).tocsr()
    pattern.sort_indices()
    return pattern


def dense(bricks: Bricks, stiffness: Stiffness, device: torch.device) -> Tensor:
    """Assembled stiffness of a few bricks, float64, (3 n_nodes, 3 n_nodes)."""
    n = bricks.n_nodes
    matrix = torch.zeros(n * n, 9, dtype=torch.float64, device=device)
    for start in range(0, len(bricks), BATCH):
        stop = min(start + BATCH, len(bricks))
        corners = bricks.corners[start:stop].astype(np.int64)
        place = (corners[:, :, None] * n + corners[:, None, :]).ravel()
        K = stiffness(start, stop).view(-1, 8, 3, 8, 3).transpose(2, 3).reshape(-1, 9)
        matrix.index_add_(0, torch.as_tensor(place, device=device), K)
    return matrix.view(n, n, 3, 3).transpose(1, 2).reshape(3 * n, 3 * n)


class Transfer:
    """Trilinear interpolation between the nodes of a level and of the next coarser one.

    Parameters
    ----------
    step : Coarsening
    n_fine : int
        Number of finer nodes.
    dtype : torch.dtype
    device : torch.device
    """

    def __init__(
        self, step: Coarsening, n_fine: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        taken = np.arange(8) < step.count[:, None]
        per_node = np.zeros(n_fine, dtype=np.int64)
        per_node[step.nodes] = step.count
        start = np.r_[0, np.cumsum(per_node)]
        weight = np.repeat(1.0 / step.count, step.count).astype(np.float32)
        shape = (n_fine, step.coarse.n_nodes)
        down = csr_matrix((weight, step.sources[taken], start), shape=shape)
        self._prolong, self._restrict = (
            _sparse(m.indptr, m.indices, torch.as_tensor(m.data, dtype=dtype, device=device), shape)
            for m, shape in ((down, shape), (down.T.tocsr(), shape[::-1]))
        )

    def prolong(self, e: Tensor) -> Tensor:
        """Interpolate a coarse field, (n_coarse, 3), to the finer nodes, (n_fine, 3)."""
        return self._prolong @ e

    def restrict(self, r: Tensor) -> Tensor:
        """Transpose of `prolong`."""
        return self._restrict @ r

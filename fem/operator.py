"""The stiffness of a grid of bricks as a product, without a matrix.

Fields live on the whole node lattice as tensors of shape (3, n_nodes) in C order of the lattice.
The cell with its lowest corner at flat node n carries the modulus E[n]; the last layer of nodes
along each axis carries E = 0. In that numbering each corner of all cells is the same lattice
shifted by a constant, so gathering and scattering are copies of contiguous pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.meshing.voxel import BRICK_CORNERS

Float = NDArray[np.float64]

_CHUNK = 1 << 16  # cells per product: 24 rows of them fit a last-level cache
_GAP = 1 << 11  # a stretch of void shorter than this is computed rather than skipped


@dataclass(frozen=True)
class Lattice:
    """The nodes of a grid of ``cells`` bricks, numbered in C order."""

    cells: tuple[int, int, int]

    @property
    def nodes(self) -> tuple[int, int, int]:
        """Nodes along each axis."""
        i, j, k = self.cells
        return i + 1, j + 1, k + 1

    @property
    def size(self) -> int:
        """Number of nodes."""
        return int(np.prod(self.nodes))

    @property
    def strides(self) -> NDArray[np.int64]:
        """Step in the flat numbering along each axis, (3,)."""
        _, mj, mk = self.nodes
        return np.array([mj * mk, mk, 1])

    @cached_property
    def corners(self) -> list[int]:
        """Flat offset from a cell's lowest node to each of its eight corners."""
        return [int(o) for o in BRICK_CORNERS @ self.strides]

    def number(self, ijk: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat node numbers, (n,), of lattice indices, (n, 3)."""
        return np.asarray(ijk @ self.strides)

    def spread(self, cell_values: Float) -> Float:
        """Cell values, (cells), as a flat array over their lowest nodes, (size,)."""
        field = np.zeros(self.nodes)
        field[:-1, :-1, :-1] = cell_values
        return field.ravel()


def active_runs(E: Float) -> list[tuple[int, int]]:
    """Ranges [start, stop) of the flat numbering that hold all the cells with E > 0."""
    active = np.flatnonzero(E)
    cut = np.flatnonzero(np.diff(active) > _GAP)
    starts = np.r_[active[0], active[cut + 1]]
    stops = np.r_[active[cut], active[-1]] + 1
    runs: list[tuple[int, int]] = []
    for start, stop in zip(starts, stops, strict=True):
        edges = np.linspace(start, stop, 1 + -(-(stop - start) // _CHUNK)).astype(int)
        runs += [(int(a), int(b)) for a, b in pairwise(edges)]
    return runs


class BrickOperator:
    """Stiffness operator of a grid of bricks that differ only in their modulus.

    Parameters
    ----------
    lattice : Lattice
    E : ndarray of float, (lattice.size,)
        Moduli over the cells' lowest nodes (see `Lattice.spread`); 0 is void.
    K : ndarray of float, (24, 24)
        Element stiffness for E = 1.
    dtype, device
        Of the tensors it takes and gives.
    """

    def __init__(
        self, lattice: Lattice, E: Float, K: Float, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.lattice = lattice
        self.runs = active_runs(E)
        self.E = torch.as_tensor(E, dtype=dtype, device=device)
        self.K = torch.as_tensor(K, dtype=dtype, device=device)

    def __call__(self, u: Tensor) -> Tensor:
        """Nodal forces K u, (3, size), of nodal displacements, (3, size)."""
        force = torch.zeros_like(u)
        for start, stop in self.runs:
            local = torch.cat([u[:, start + o : stop + o] for o in self.lattice.corners])
            self._scatter((self.K @ local).mul_(self.E[start:stop]), start, stop, force)
        return force

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, size)."""
        total = self.E.new_zeros(3, self.lattice.size)
        for start, stop in self.runs:
            local = self.K.diagonal()[:, None] * self.E[start:stop]
            self._scatter(local, start, stop, total)
        return total

    def energy(self, u: Tensor) -> float:
        """Strain energy, half of u K u, summed element by element."""
        total = 0.0
        for start, stop in self.runs:
            local = torch.cat([u[:, start + o : stop + o] for o in self.lattice.corners])
            density = (local * (self.K @ local)).sum(0)
            total += 0.5 * float(density @ self.E[start:stop])
        return total

    def _scatter(self, local: Tensor, start: int, stop: int, field: Tensor) -> None:
        for corner, offset in enumerate(self.lattice.corners):
            field[:, start + offset : stop + offset] += local[3 * corner : 3 * corner + 3]

"""Bricks of one size: where they are, and which nodes they join."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.voxel import BRICK_CORNERS

Float = NDArray[np.float64]
Int = NDArray[np.integer]


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

    def number(self, ijk: Int) -> NDArray[np.int64]:
        """Flat node numbers, (n,), of lattice indices, (n, 3)."""
        return np.asarray(ijk @ self.strides)

    def spread(self, cell_values: Float) -> Float:
        """Cell values, (cells), as a flat array over their lowest nodes, (size,)."""
        field = np.zeros(self.nodes)
        field[:-1, :-1, :-1] = cell_values
        return field.ravel()


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

    def __len__(self) -> int:
        """Count the bricks."""
        return len(self.cells)


def bricks_of(lattice: Lattice, E: Float) -> Bricks:
    """Bricks of a lattice where the flat field of moduli is positive, nodes in lattice order."""
    node = np.flatnonzero(E)
    cells = np.stack(np.unravel_index(node, lattice.nodes), axis=1).astype(np.int32)
    return Bricks(lattice, cells, _narrow(node[:, None] + np.array(lattice.corners)), lattice.size)


def packed_bricks(active: NDArray[np.bool_]) -> tuple[Bricks, NDArray[np.bool_]]:
    """Bricks where ``active``, (ni, nj, nk), their nodes numbered without gaps in C order.

    Returns
    -------
    Bricks
    ndarray of bool, (ni+1, nj+1, nk+1)
        The nodes in use.
    """
    i, j, k = active.shape
    lattice = Lattice((i, j, k))
    used = np.zeros(lattice.nodes, dtype=bool)
    for a, b, c in BRICK_CORNERS:
        used[a : a + i, b : b + j, c : c + k] |= active
    number = np.cumsum(used.ravel(), dtype=np.int32)
    number -= 1
    cells = np.argwhere(active).astype(np.int32)
    corners = np.empty((len(cells), 8), dtype=np.int32)
    lowest = lattice.number(cells)
    for corner, offset in enumerate(lattice.corners):
        corners[:, corner] = number[lowest + offset]
    return Bricks(lattice, cells, corners, int(number[-1]) + 1), used


def _narrow(index: Int) -> Int:
    return index.astype(np.int32) if index.size == 0 or index.max() < 2**31 else index

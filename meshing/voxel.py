"""Voxel meshes: eight-node bricks on a regular grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Corners of a brick as (i, j, k) offsets, in the VTK_HEXAHEDRON and Abaqus C3D8 order.
BRICK_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
)


@dataclass(frozen=True, eq=False)
class VoxelMesh:
    """Bricks where ``region > 0`` on a grid of element centres.

    Elements are numbered in C order of the array, nodes likewise on the grid of corners, both
    without gaps over what is in use. Vectors and tensors on the mesh are in the *mesh axes* (the
    grid's axes), not in world axes: ``world = grid.direction @ mesh``.

    Parameters
    ----------
    region : ndarray of uint8, (ni, nj, nk)
        Label of each element; 0 is void.
    grid : Grid
        Grid of the element centres.
    names : dict of int to str
        Region names.
    n_removed : int
        Bricks that were dropped because they hung apart from the bone.
    """

    region: NDArray[np.uint8]
    grid: Grid
    names: dict[int, str]
    n_removed: int = 0

    def __post_init__(self) -> None:
        if self.region.shape != self.grid.shape:
            raise InputError(
                f"regions of shape {self.region.shape} on a grid of shape {self.grid.shape}"
            )
        if not self.region.any():
            raise InputError("the voxel mesh has no element: every region is 0")

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which bricks exist, (ni, nj, nk)."""
        return np.asarray(self.region > 0)

    @cached_property
    def element_ijk(self) -> Int:
        """Grid index of each element, (n_elements, 3)."""
        return np.argwhere(self.mask)

    @cached_property
    def _node_number(self) -> Int:
        """Node number at each grid corner, -1 where no element touches it."""
        used = np.zeros([n + 1 for n in self.region.shape], dtype=bool)
        i, j, k = self.element_ijk.T
        for a, b, c in BRICK_CORNERS:
            used[i + a, j + b, k + c] = True
        number = np.full(used.shape, -1, dtype=np.int64)
        number[used] = np.arange(np.count_nonzero(used))
        return number

    @cached_property
    def node_ijk(self) -> Int:
        """Corner-grid index of each node, (n_nodes, 3)."""
        return np.argwhere(self._node_number >= 0)

    @cached_property
    def elements(self) -> Int:
        """Node numbers of each element in VTK_HEXAHEDRON order, (n_elements, 8)."""
        corner = self.element_ijk[:, None, :] + BRICK_CORNERS
        return np.asarray(self._node_number[tuple(np.moveaxis(corner, -1, 0))])

    @property
    def world_elements(self) -> Int:
        """`elements`, turned to a positive volume in the world if the grid is left-handed."""
        if np.linalg.det(self.grid.direction) < 0:
            return np.asarray(self.elements[:, [4, 5, 6, 7, 0, 1, 2, 3]])
        return self.elements

    @cached_property
    def nodes_mm(self) -> Float:
        """World coordinates of the nodes, (n_nodes, 3)."""
        return self.grid.world(self.node_ijk - 0.5)

    @cached_property
    def centres_mm(self) -> Float:
        """World coordinates of the element centres, (n_elements, 3)."""
        return self.grid.world(self.element_ijk)

    @property
    def n_elements(self) -> int:
        """Number of bricks."""
        return len(self.element_ijk)

    @property
    def n_nodes(self) -> int:
        """Number of nodes in use."""
        return len(self.node_ijk)

    @property
    def element_region(self) -> NDArray[np.uint8]:
        """Region of each element, (n_elements,)."""
        return np.asarray(self.region[self.mask])

    def on_grid(self, values: NDArray[np.generic], void: float = 0.0) -> NDArray[np.float64]:
        """Scatter one value per element, (n_elements,), to the grid, (ni, nj, nk)."""
        grid = np.full(self.region.shape, void, dtype=np.float64)
        grid[self.mask] = values
        return grid

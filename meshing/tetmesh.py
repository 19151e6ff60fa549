"""Tetrahedra in the world, of four nodes or ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.meshing.quadratic import curved_volumes

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TetMesh:
    """Tetrahedra in the world, faces counter-clockwise seen from outside.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
        LPS.
    tetrahedra : ndarray of int, (n_elements, 4 or 10)
        Four nodes in VTK_TETRA and Abaqus C3D4 order, or ten in that of VTK_QUADRATIC_TETRA and
        C3D10: the corners, then the middles of the edges 01, 12, 20, 03, 13, 23.
    region : ndarray of uint8, (n_elements,)
        Label of each element.
    names : mapping of int to str
        Region names.
    n_removed : int
        Voxels that were dropped because they hung apart from the bone.
    n_merged : int
        Voxels in specks of a region that were too small to mesh and went to the region about.
    n_straight : int
        Elements at a surface whose edges stayed straight because curved ones would spoil them.
    """

    nodes_mm: Float
    tetrahedra: Int
    region: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    n_removed: int = 0
    n_merged: int = 0
    n_straight: int = 0

    def __post_init__(self) -> None:
        if self.nodes_mm.ndim != 2 or self.nodes_mm.shape[1] != 3:
            raise InputError(f"nodes must be (n, 3), got {self.nodes_mm.shape}")
        if (
            self.tetrahedra.ndim != 2
            or self.tetrahedra.shape[1] not in (4, 10)
            or not len(self.tetrahedra)
        ):
            raise InputError(
                f"tetrahedra must be (m, 4 or 10) with m > 0, got {self.tetrahedra.shape}"
            )
        if self.region.shape != (len(self.tetrahedra),):
            raise InputError(f"{self.region.shape} regions for {len(self.tetrahedra)} tetrahedra")

    @property
    def elements(self) -> Int:
        """Node numbers of each element, (n_elements, 4)."""
        return self.tetrahedra

    @property
    def corners(self) -> Int:
        """Node numbers of the corners of each element, (n_elements, 4)."""
        return self.tetrahedra[:, :4]

    @property
    def world_elements(self) -> Int:
        """The same as `elements`: nodes are in the world."""
        return self.tetrahedra

    @property
    def element_region(self) -> NDArray[np.uint8]:
        """Region of each element, (n_elements,)."""
        return self.region

    @property
    def n_elements(self) -> int:
        """Number of tetrahedra."""
        return len(self.tetrahedra)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes_mm)

    @cached_property
    def centres_mm(self) -> Float:
        """World coordinates of the element centres, (n_elements, 3)."""
        return np.asarray(self.nodes_mm[self.corners].mean(axis=1))

    @cached_property
    def volumes_mm3(self) -> Float:
        """Signed volume of each element, (n_elements,)."""
        return curved_volumes(self.nodes_mm, self.tetrahedra)

"""Load cases: what a loading becomes on the mesh of a bone with a known anatomy.

A `Loading`, such as `SingleLegStance`, is a frozen set of numbers; its `on` is a pure function that
turns them into constraints and loads on a mesh: a `LoadCase`. See `stance`, `compression`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.model import Constraint, Load, Model
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Anatomy = FemurAnatomy | VertebraAnatomy


@dataclass(frozen=True, eq=False)
class LoadCase:
    """Constraints and loads with the words and numbers that define them.

    Parameters
    ----------
    name, description, source : str
    parameters : mapping
    acting : str
        Name of the load, cap or constraint that loads the bone.
    support : str
        Name of the constraint, cap or support whose reaction answers it.
    direction : ndarray, (3,)
        World unit vector: the force on the bone, or the axis of the moment on it.
    constraints : tuple of Constraint
    loads : tuple of Load
    supports : tuple of ElasticSupport
    caps : tuple of RigidCap
    measure : {"force", "moment"}
        What the strength is: a force in N or a moment in N mm.
    """

    name: str
    description: str
    source: str
    parameters: Mapping[str, float | str]
    acting: str
    support: str
    direction: Float
    constraints: tuple[Constraint, ...] = ()
    loads: tuple[Load, ...] = ()
    supports: tuple[ElasticSupport, ...] = ()
    caps: tuple[RigidCap, ...] = ()
    measure: Literal["force", "moment"] = "force"

    def model(self, mesh: VoxelMesh, E_MPa: Float, nu: Float | float) -> Model:
        """Put the load case on a mesh with moduli."""
        return Model(mesh, E_MPa, nu, self.constraints, self.loads, self.supports, self.caps)


class Loading(Protocol):
    """Numbers that say how any bone of a kind is loaded."""

    @property
    def name(self) -> str:
        """Name of the load case."""
        ...

    def axes(self, anatomy: Anatomy) -> Float:
        """Mesh axes as columns of unit vectors, (3, 3), along which the load case is simple.

        Raises
        ------
        InputError
            If the bone is of another kind.
        """
        ...

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a bone.

        Parameters
        ----------
        mesh : VoxelMesh
            Along `axes`.
        anatomy : FemurAnatomy or VertebraAnatomy
        field : Grid
            Field of view of the scan: a cut surface there is not articular surface.

        Raises
        ------
        InputError
            If the bone is of another kind, or a part that is loaded or held is not in view.
        """
        ...

"""Loads of a vertebra through a rigid plate: forward flexion, and forces with moments."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.compression import vertebra_only
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint
from bonekit.fem.patches import endplate
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Three = tuple[float, float, float]


@dataclass(frozen=True)
class ForwardFlexion:
    """Press a vertebral body in front of its middle through a plate that may tilt.

    Parameters
    ----------
    force_N : float
        Of the linear solution; the strength does not depend on it.
    offset : float
        How far in front of the body's middle the force acts, over the body's depth: 0 in the
        middle, 0.5 at the front wall. The default is bonekit's choice.
    cap_mm : float
        How far from the fitted plane the surface may dip and still be endplate.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    force_N: float = 1000.0
    offset: float = 0.25
    cap_mm: float = 3.0

    name: str = field(default="forward_flexion", init=False)

    def __post_init__(self) -> None:
        if not self.force_N > 0 or not -0.5 <= self.offset <= 0.5 or not 0 < self.cap_mm <= 10:
            raise InputError(
                "force_N must be positive, offset lie between -0.5 and 0.5 of the depth and cap_mm "
                f"between 0 and 10, got {self.force_N}, {self.offset} and {self.cap_mm}"
            )

    def axes(self, anatomy: Anatomy) -> Float:
        """Axes of the vertebral body."""
        return vertebra_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a vertebra; see `Loading.on`."""
        vertebra = vertebra_only(anatomy, self.name)
        ahead_mm = self.offset * vertebra.depth_mm
        at = vertebra.superior_centre_mm + ahead_mm * vertebra.anterior
        return through_a_plate(
            self.name,
            f"A force presses the superior endplate {ahead_mm:.1f} mm in front of the body's "
            f"middle ({100 * self.offset:g} % of its depth) through a rigid plate that may tilt; "
            "the inferior endplate is held.",
            {k: v for k, v in vars(self).items() if k != "name"},
            mesh,
            vertebra,
            at,
            (0.0, 0.0, -self.force_N),
            (0.0, 0.0, 0.0),
            self.cap_mm,
        )


@dataclass(frozen=True)
class CombinedLoad:
    """Press, bend and twist a vertebral body through a rigid plate on its superior endplate.

    All grow in proportion; the strength is the compressive force that goes with them, or the
    moment if there is no force.

    Parameters
    ----------
    force_N : float
        Down the body's axis, at the middle of the endplate.
    flexion_Nmm : float
        Forward; negative is extension.
    lateral_Nmm : float
        Bending to the left.
    torsion_Nmm : float
        Turning the front to the left.
    cap_mm : float
        How far from the fitted plane the surface may dip and still be endplate.

    Raises
    ------
    InputError
        If nothing acts, or a number is out of range.
    """

    force_N: float = 1000.0
    flexion_Nmm: float = 7500.0
    lateral_Nmm: float = 0.0
    torsion_Nmm: float = 0.0
    cap_mm: float = 3.0

    name: str = field(default="combined", init=False)

    def __post_init__(self) -> None:
        acting = (self.force_N, self.flexion_Nmm, self.lateral_Nmm, self.torsion_Nmm)
        if not np.isfinite(acting).all() or not any(acting) or self.force_N < 0:
            raise InputError(
                f"a combined load needs a force of 0 or more and something that acts, got {acting}"
            )
        if not 0 < self.cap_mm <= 10:
            raise InputError(f"cap_mm must lie between 0 and 10, got {self.cap_mm}")

    def axes(self, anatomy: Anatomy) -> Float:
        """Axes of the vertebral body."""
        return vertebra_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a vertebra; see `Loading.on`."""
        vertebra = vertebra_only(anatomy, self.name)
        # mesh axes run left, back, up: forward is a positive turn about the axis to the left
        moment = (self.flexion_Nmm, self.lateral_Nmm, self.torsion_Nmm)
        return through_a_plate(
            self.name,
            f"A rigid plate on the superior endplate carries {self.force_N:g} N, "
            f"{self.flexion_Nmm / 1e3:g} N m of flexion, {self.lateral_Nmm / 1e3:g} N m of bending "
            f"to the left and {self.torsion_Nmm / 1e3:g} N m of torsion; the inferior endplate is "
            "held.",
            {k: v for k, v in vars(self).items() if k != "name"},
            mesh,
            vertebra,
            vertebra.superior_centre_mm,
            (0.0, 0.0, -self.force_N),
            moment,
            self.cap_mm,
        )


def through_a_plate(
    name: str,
    description: str,
    parameters: dict[str, float | str],
    mesh: VoxelMesh,
    anatomy: VertebraAnatomy,
    at_mm: Float,
    force_N: Three,
    moment_Nmm: Three,
    cap_mm: float,
) -> LoadCase:
    """Load the superior endplate through a free rigid plate, the inferior endplate held.

    Parameters
    ----------
    name, description : str
    parameters : dict
    mesh : VoxelMesh
    anatomy : VertebraAnatomy
    at_mm : ndarray, (3,)
        World point where the force acts.
    force_N, moment_Nmm : tuple of float, (3,)
        In mesh axes.
    cap_mm : float

    Raises
    ------
    InputError
        If an endplate is not found on the mesh.
    """
    top = endplate(mesh, anatomy, upper=True, cap_mm=cap_mm)
    bottom = endplate(mesh, anatomy, upper=False, cap_mm=cap_mm)
    plate = RigidCap("superior_endplate", top, at_mm, force_N=force_N, moment_Nmm=moment_Nmm)
    pushes = any(force_N)
    acting = np.array(force_N if pushes else moment_Nmm)
    return LoadCase(
        name,
        description,
        "a rigid plate as in tests with cemented endplates; its place and size are arguments",
        parameters,
        "superior_endplate",
        "inferior_endplate",
        np.asarray(mesh.grid.direction @ (acting / np.linalg.norm(acting))),
        (Constraint("inferior_endplate", bottom),),
        caps=(plate,),
        measure="force" if pushes else "moment",
    )

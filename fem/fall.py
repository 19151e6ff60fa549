"""Sideways fall: the femur between the ground at its trochanter and the body at its head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint
from bonekit.fem.patches import (
    cement_face,
    distal_end,
    head_patch,
    surface_nodes,
    trochanter_patch,
)
from bonekit.fem.stance import femur_only
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]

Distal = Literal["pivot", "clamped", "sliding"]
DISTAL_WORDS: Mapping[Distal, str] = {
    "pivot": "turn as a block about a hinge across the shaft and the load",
    "clamped": "are held",
    "sliding": "are free along the load and held across it",
}


@dataclass(frozen=True)
class SidewaysFall:
    """Press the femoral head towards the greater trochanter, which rests on the ground.

    The load is lateral for a thigh at rest; internal rotation turns it about the shaft so that the
    ground meets the trochanter from behind, adduction tilts it in the frontal plane so that the
    knee is off the ground. Head and trochanter are pressed between plates: their patches keep their
    height and are free across it, as in Ogo and parosol-py.

    Parameters
    ----------
    adduction_deg : float
        Between shaft and ground. The usual 10 degrees are quoted from memory (unverified).
    rotation_deg : float
        Internal. The usual 15 degrees are quoted from memory (unverified).
    travel_mm : float
        Of the head; the strength of a linear solution does not depend on it.
    cap_deg : float
        Half angle of the patch on the head, seen from its centre.
    intrusion_mm : float
        How much of the trochanter, along the load, rests on the ground; 6 mm as in parosol-py.
    distal : {"pivot", "clamped", "sliding"}
        How the distal shaft is held, see `DISTAL_WORDS`. A hinge as in the tests of PMC3045472,
        clamped as in Ogo, sliding as in parosol-py: the stiffness differs much between them.
    cement_mm : float
        Thickness of a cup of bone cement over the head and of a pad under the trochanter, 0 for
        none: their flat outer faces are pressed; see `bonekit.fem.cement`. 4 mm as in parosol-py.
    fixed_mm : float
        Length of the distal shaft that is held.
    pivot_mm : float
        How far below the bone in view the hinge lies, on the shaft axis.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    adduction_deg: float = 10.0
    rotation_deg: float = 15.0
    travel_mm: float = 1.0
    cap_deg: float = 30.0
    intrusion_mm: float = 6.0
    distal: Distal = "pivot"
    fixed_mm: float = 10.0
    pivot_mm: float = 0.0
    cement_mm: float = 0.0

    name: str = field(default="sideways_fall", init=False)

    def __post_init__(self) -> None:
        for key, low, high in (
            ("adduction_deg", -30.0, 40.0),
            ("rotation_deg", -60.0, 60.0),
            ("travel_mm", 1e-6, 10.0),
            ("cap_deg", 5.0, 90.0),
            ("intrusion_mm", 1.0, 20.0),
            ("fixed_mm", 1e-6, 100.0),
            ("pivot_mm", 0.0, 500.0),
            ("cement_mm", 0.0, 30.0),
        ):
            if not low <= getattr(self, key) <= high:
                raise InputError(
                    f"{key} must lie between {low:g} and {high:g}, got {getattr(self, key)}"
                )
        if self.distal not in get_args(Distal):
            raise InputError(f"distal is one of {', '.join(get_args(Distal))}, got {self.distal!r}")

    def direction(self, anatomy: FemurAnatomy) -> Float:
        """World unit vector of the force on the head, (3,)."""
        a, r = np.radians(self.adduction_deg), np.radians(self.rotation_deg)
        across = -np.cos(r) * anatomy.medial + np.sin(r) * anatomy.frame[:, 1]
        return np.asarray(np.cos(a) * across + np.sin(a) * anatomy.shaft_axis)

    def axes(self, anatomy: Anatomy) -> Float:
        """First axis along the load or against it (to the left), third nearest to the shaft."""
        femur = femur_only(anatomy, self.name)
        along = self.direction(femur)
        left = along if femur.side == "left" else -along
        up = femur.shaft_axis - (femur.shaft_axis @ left) * left
        up /= np.linalg.norm(up)
        return np.column_stack([left, np.cross(up, left), up])

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a femur; see `Loading.on`."""
        femur = femur_only(anatomy, self.name)
        along = self.direction(femur)
        sign = float(np.sign(mesh.grid.direction[:, 0] @ along))
        if self.cement_mm:
            head, _ = cement_face(mesh, "cup", 0, upper=sign < 0)
            ground, _ = cement_face(mesh, "pad", 0, upper=sign > 0)
        else:
            head, _ = head_patch(mesh, femur, field, -along, self.cap_deg)
            surface = surface_nodes(mesh)
            rests = trochanter_patch(mesh.nodes_mm[surface], femur, along, self.intrusion_mm)
            ground = surface[rests]
        constraints = (
            Constraint("femoral_head", head, (0,), sign * self.travel_mm),
            Constraint("greater_trochanter", ground, (0,)),
        )
        held, caps = self._held(mesh, femur)
        return LoadCase(
            self.name,
            f"The femoral head is pressed towards the greater trochanter, which rests on the "
            f"ground{self._cement()}; shaft {self.adduction_deg:g} degrees off the ground, rotated "
            f"inwards by {self.rotation_deg:g} degrees; the distal {self.fixed_mm:g} mm of the "
            f"shaft {DISTAL_WORDS[self.distal]}.",
            "plates as in Ogo and parosol-py, hinge as in PMC3045472; angles quoted from memory "
            "(unverified)",
            {k: v for k, v in vars(self).items() if k != "name"},
            "femoral_head",
            "greater_trochanter",
            along,
            (*constraints, *held),
            caps=caps,
        )

    def _cement(self) -> str:
        return f", both in bone cement {self.cement_mm:g} mm thick" if self.cement_mm else ""

    def _held(
        self, mesh: VoxelMesh, anatomy: FemurAnatomy
    ) -> tuple[tuple[Constraint, ...], tuple[RigidCap, ...]]:
        nodes = distal_end(mesh, anatomy, self.fixed_mm)
        if self.distal == "clamped":
            return (Constraint("distal_shaft", nodes),), ()
        if self.distal == "sliding":
            return (Constraint("distal_shaft", nodes, (1, 2)),), ()
        pivot = anatomy.shaft_point_mm - self.pivot_mm * anatomy.shaft_axis
        hinge = RigidCap("distal_shaft", nodes, pivot, (0.0, 0.0, 0.0), (0.0, None, 0.0))
        return (), (hinge,)

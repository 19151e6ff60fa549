"""Single-leg stance: a force on the femoral head, the distal shaft held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.fem.patches import cement_face, distal_end, head_patch, through_the_centre
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]

Head = Literal["spread", "cup", "guided"]
Distal = Literal["clamped", "pivot", "springs"]
Held = tuple[tuple[Constraint, ...], tuple[ElasticSupport, ...], tuple[RigidCap, ...]]

HEAD_WORDS: Mapping[Head, str] = {
    "spread": "spread over the head's surface as the cosine of the angle from the force's line, "
    "which meets the head's centre",
    "cup": "through a rigid cup on a ball joint at the head's centre",
    "guided": "through a rigid cup that may turn about the head's centre and move along the "
    "force's line only",
}
DISTAL_WORDS: Mapping[Distal, str] = {
    "clamped": "are held",
    "pivot": "are a rigid block on a ball joint that may not spin about the shaft",
    "springs": "rest on springs",
}


@dataclass(frozen=True)
class SingleLegStance:
    """Press on the femoral head and hold the distal shaft, as in a single-leg stance.

    The force lies in the frontal plane of shaft axis and head centre, inclined to the shaft axis
    so that it points down and outwards.

    Parameters
    ----------
    force_N : float
        Of the linear solution; the strength does not depend on it.
    adduction_deg : float
        Angle of the force to the shaft axis; 8 degrees as in Schileo et al. (2014), up to 20 in
        Keyak's stance (both quoted from memory: unverified).
    flexion_deg : float
        Angle of the force out of the frontal plane; positive pushes the head backwards.
    head : {"spread", "cup", "guided"}
        How the force comes onto the head, see `HEAD_WORDS`.
    cap_deg : float
        Half angle of the loaded part, seen from the head's centre.
    distal : {"clamped", "pivot", "springs"}
        How the distal shaft is held, see `DISTAL_WORDS`.
    fixed_mm : float
        Length of the distal shaft whose nodes are held.
    pivot_mm : float
        How far below the bone in view the ball joint of ``distal="pivot"`` lies, on the shaft axis.
    spring_N_mm : float
        Stiffness of all springs together along each axis.
    cement_mm : float
        Thickness of a cup of bone cement over the head, 0 for none: the force acts on its flat
        outer face, evenly; see `bonekit.fem.cement`.
    convention : str
        Name of the convention, for the report.

    Raises
    ------
    InputError
        If a number is out of range, or a free head meets a free shaft.
    """

    force_N: float = 1000.0
    adduction_deg: float = 8.0
    flexion_deg: float = 0.0
    head: Head = "spread"
    cap_deg: float = 40.0
    distal: Distal = "clamped"
    fixed_mm: float = 10.0
    pivot_mm: float = 0.0
    spring_N_mm: float = 1e5
    cement_mm: float = 0.0
    convention: str = ""

    name: str = field(default="single_leg_stance", init=False)

    def __post_init__(self) -> None:
        for key, low, high in (
            ("force_N", 1e-6, 1e6),
            ("adduction_deg", -30.0, 40.0),
            ("flexion_deg", -60.0, 60.0),
            ("cap_deg", 5.0, 90.0),
            ("fixed_mm", 1e-6, 100.0),
            ("pivot_mm", 0.0, 500.0),
            ("spring_N_mm", 1e-6, 1e12),
            ("cement_mm", 0.0, 30.0),
        ):
            if not low <= getattr(self, key) <= high:
                raise InputError(
                    f"{key} must lie between {low:g} and {high:g}, got {getattr(self, key)}"
                )
        if self.head not in get_args(Head) or self.distal not in get_args(Distal):
            raise InputError(
                f"head is one of {', '.join(get_args(Head))}, distal one of "
                f"{', '.join(get_args(Distal))}; got {self.head!r} and {self.distal!r}"
            )
        if self.distal == "pivot" and self.head != "guided":
            raise InputError(
                f"with head {self.head!r} and distal 'pivot' the femur would topple: guide the "
                "head, or clamp the shaft"
            )

    def direction(self, anatomy: FemurAnatomy) -> Float:
        """World unit vector of the force on the head, (3,)."""
        a, f = np.radians(self.adduction_deg), np.radians(self.flexion_deg)
        in_plane = -np.cos(a) * anatomy.shaft_axis - np.sin(a) * anatomy.medial
        return np.asarray(np.cos(f) * in_plane + np.sin(f) * anatomy.frame[:, 1])

    def axes(self, anatomy: Anatomy) -> Float:
        """Bone axes; those of a guided head or of cement have the third against the force."""
        femur = femur_only(anatomy, self.name)
        if self.head != "guided" and not self.cement_mm:
            return femur.frame
        return upright(-self.direction(femur), femur.frame[:, 1])

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a femur; see `Loading.on`."""
        femur = femur_only(anatomy, self.name)
        direction = self.direction(femur)
        if self.cement_mm:
            nodes, share = cement_face(mesh, "cup", 2, upper=True)
        else:
            nodes, cosine = head_patch(mesh, femur, field, -direction, self.cap_deg)
            away = mesh.nodes_mm[nodes] - femur.head_centre_mm
            share = through_the_centre(cosine, away, direction)
        constraints, supports, caps = self._held(mesh, femur)
        loads: tuple[Load, ...] = ()
        force = self.force_N * (mesh.grid.direction.T @ direction)
        if self.head == "spread":
            loads = (Load("femoral_head", nodes, np.outer(share, force)),)
        else:
            held = (0.0, 0.0, None) if self.head == "guided" else (None, None, None)
            pushed = (float(force[0]), float(force[1]), float(force[2]))
            cup = RigidCap("femoral_head", nodes, femur.head_centre_mm, held, force_N=pushed)
            caps = (*caps, cup)
        return LoadCase(
            self.name,
            self._words(),
            "after Schileo et al., J Biomech 2014, and Keyak et al. 1998 (their angles are quoted "
            "from memory: unverified)",
            self._parameters(),
            "femoral_head",
            "distal_shaft",
            direction,
            constraints,
            loads,
            supports,
            caps,
        )

    def _held(self, mesh: VoxelMesh, anatomy: FemurAnatomy) -> Held:
        nodes = distal_end(mesh, anatomy, self.fixed_mm)
        if self.distal == "clamped":
            return (Constraint("distal_shaft", nodes),), (), ()
        if self.distal == "springs":
            share = self.spring_N_mm / len(nodes)
            return (), (ElasticSupport("distal_shaft", nodes, share),), ()
        pivot = anatomy.shaft_point_mm - self.pivot_mm * anatomy.shaft_axis
        # the mesh's third axis is nearest to the shaft: no spin about it
        turn = (None, None, 0.0)
        return (), (), (RigidCap("distal_shaft", nodes, pivot, (0.0, 0.0, 0.0), turn),)

    def _words(self) -> str:
        out = f", {self.flexion_deg:g} degrees out of it" if self.flexion_deg else ""
        return (
            f"Force on the femoral head, {self.adduction_deg:g} degrees to the shaft axis in the "
            f"frontal plane{out}, down and outwards, {self._head_words()}; the distal "
            f"{self.fixed_mm:g} mm of the shaft {DISTAL_WORDS[self.distal]}."
        )

    def _head_words(self) -> str:
        if not self.cement_mm:
            return HEAD_WORDS[self.head]
        evenly = "spread evenly" if self.head == "spread" else HEAD_WORDS[self.head]
        return f"{evenly}, on a cup of bone cement {self.cement_mm:g} mm thick"

    def _parameters(self) -> dict[str, float | str]:
        kept = {k: v for k, v in vars(self).items() if k not in ("name", "convention")}
        return kept | ({"convention": self.convention} if self.convention else {})


# Conventions of groups that model metastatic femora. What is in them is in the arguments; all are
# quoted from memory (unverified) but Leuven's guided, displaced cup (Sas et al. 2020).
CONVENTIONS: Mapping[str, SingleLegStance] = {
    "schileo": SingleLegStance(convention="schileo"),
    "keyak": SingleLegStance(adduction_deg=20.0, convention="keyak"),
    "leuven": SingleLegStance(adduction_deg=0.0, head="guided", convention="leuven"),
    "lyon": SingleLegStance(adduction_deg=0.0, head="cup", convention="lyon"),
    "nijmegen": SingleLegStance(
        adduction_deg=0.0, head="guided", distal="springs", convention="nijmegen"
    ),
}


def femur_only(anatomy: Anatomy, name: str) -> FemurAnatomy:
    """Refuse another bone than a femur.

    Raises
    ------
    InputError
    """
    if not isinstance(anatomy, FemurAnatomy):
        raise InputError(f"load case {name} is for a femur, not for a vertebra")
    return anatomy


def upright(up: Float, back: Float) -> Float:
    """Right-handed axes as columns (left, posterior, superior) with a given third, (3, 3)."""
    left = np.cross(back, up)
    left /= np.linalg.norm(left)
    return np.column_stack([left, np.cross(up, left), up])

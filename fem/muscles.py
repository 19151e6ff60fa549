"""Walking and stair climbing: the hip's contact force together with the muscles' forces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.fem.patches import distal_end, head_patch, surface_nodes, through_the_centre
from bonekit.fem.stance import femur_only
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh
from bonekit.risk import G_M_S2, MASS_KG

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Activity = Literal["walking", "stair_climbing"]
Place = Literal["hip", "trochanter", "lateral", "medial"]
Three = tuple[float, float, float]

SOURCE = (
    "Heller et al., J Biomech 2005, a typical patient at the instant of the largest hip contact "
    "force (numbers quoted from memory: unverified); patches by bonekit"
)
# Forces on the femur in percent of body weight: medial, anterior, proximal.
FORCES: Mapping[Activity, Mapping[str, tuple[Place, Three]]] = {
    "walking": {
        "hip_contact": ("hip", (-54.0, -32.8, -229.2)),
        "abductor": ("trochanter", (58.0, 4.3, 86.5)),
        "tensor_fasciae_latae_proximal": ("trochanter", (7.2, 11.6, 13.2)),
        "tensor_fasciae_latae_distal": ("trochanter", (-0.5, -0.7, -19.0)),
        "vastus_lateralis": ("lateral", (-0.9, 18.5, -92.9)),
    },
    "stair_climbing": {
        "hip_contact": ("hip", (-59.3, -60.6, -236.3)),
        "abductor": ("trochanter", (70.1, 28.8, 84.9)),
        "iliotibial_tract_proximal": ("trochanter", (10.5, 3.0, 12.8)),
        "iliotibial_tract_distal": ("trochanter", (-0.5, -0.8, -16.8)),
        "tensor_fasciae_latae_proximal": ("trochanter", (3.1, 4.9, 2.9)),
        "tensor_fasciae_latae_distal": ("trochanter", (-0.2, -0.3, -6.5)),
        "vastus_lateralis": ("lateral", (-2.2, 22.4, -135.1)),
        "vastus_medialis": ("medial", (-8.8, 39.6, -267.1)),
    },
}


@dataclass(frozen=True)
class MuscleLoad:
    """Load a femur by hip contact and muscles, the distal shaft held.

    All forces grow in proportion; the strength is the hip contact force that goes with them.
    Heller's axes follow the knee, which is rarely in view: here proximal is the shaft axis.

    Parameters
    ----------
    activity : {"walking", "stair_climbing"}
    mass_kg : float
        Of the patient. The strength does not depend on it, forces and strains of the solution do.
    cap_deg : float
        Half angle of the loaded part of the head, seen from its centre.
    patch_mm : float
        Radius of the muscles' patches on the bone.
    fixed_mm : float
        Length of the distal shaft that is held.

    Raises
    ------
    InputError
        If the mass is missing or absurd, or another number is out of range.
    """

    activity: Activity = "stair_climbing"
    mass_kg: float | None = None
    cap_deg: float = 40.0
    patch_mm: float = 12.0
    fixed_mm: float = 10.0

    def __post_init__(self) -> None:
        if self.activity not in FORCES:
            raise InputError(f"activity is one of {', '.join(FORCES)}, got {self.activity!r}")
        if self.mass_kg is None or not MASS_KG[0] <= self.mass_kg <= MASS_KG[1]:
            raise InputError(
                f"{self.activity} needs the patient's mass in kg, {MASS_KG[0]:g} to "
                f"{MASS_KG[1]:g}, as its forces are given in body weights; got {self.mass_kg}"
            )
        for key, low, high in (
            ("cap_deg", 5.0, 90.0),
            ("patch_mm", 3.0, 30.0),
            ("fixed_mm", 1e-6, 100.0),
        ):
            if not low <= getattr(self, key) <= high:
                raise InputError(
                    f"{key} must lie between {low:g} and {high:g}, got {getattr(self, key)}"
                )

    @property
    def name(self) -> str:
        """Name of the load case: the activity."""
        return self.activity

    def axes(self, anatomy: Anatomy) -> Float:
        """Bone axes."""
        return femur_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a femur; see `Loading.on`."""
        femur = femur_only(anatomy, self.name)
        forces = self.forces(femur)
        contact = forces["hip_contact"]
        direction = contact / np.linalg.norm(contact)
        head, cosine = head_patch(mesh, femur, field, -direction, self.cap_deg)
        away = mesh.nodes_mm[head] - femur.head_centre_mm
        share = through_the_centre(cosine, away, direction)
        surface = surface_nodes(mesh)
        even = np.ones(len(surface))
        loads = (
            Load("hip_contact", head, np.outer(share, contact @ mesh.grid.direction)),
            *self.pulls(femur, surface, mesh.nodes_mm[surface], even, mesh.grid.direction),
        )
        return LoadCase(
            self.name,
            f"Hip contact and muscle forces of {self.name.replace('_', ' ')} at "
            f"{self.mass_kg:g} kg; the distal {self.fixed_mm:g} mm of the shaft are held. The "
            "strength is the hip contact force.",
            SOURCE,
            dict(vars(self)),
            "hip_contact",
            "distal_shaft",
            direction,
            (Constraint("distal_shaft", distal_end(mesh, femur, self.fixed_mm)),),
            loads,
        )

    def forces(self, anatomy: FemurAnatomy) -> dict[str, Float]:
        """World forces on the femur in N, (3,), by name."""
        assert self.mass_kg is not None
        weight = self.mass_kg * G_M_S2
        axes = np.column_stack([anatomy.medial, -anatomy.frame[:, 1], anatomy.shaft_axis])
        return {
            name: axes @ np.array(percent) * weight / 100.0
            for name, (_, percent) in FORCES[self.activity].items()
        }

    def pulls(
        self, anatomy: FemurAnatomy, surface: Int, points_mm: Float, area: Float, axes: Float
    ) -> tuple[Load, ...]:
        """Spread the muscles' forces over the nodes of a surface.

        Parameters
        ----------
        anatomy : FemurAnatomy
        surface : ndarray of int, (n,)
        points_mm : ndarray, (n, 3)
        area : ndarray, (n,)
            That the nodes stand for, in any unit.
        axes : ndarray, (3, 3)
            Columns: the axes in which the forces are given.

        Returns
        -------
        tuple of Load

        Raises
        ------
        InputError
            If a muscle's place is not in view.
        """
        loads = []
        forces = self.forces(anatomy)
        for name, (place, _) in FORCES[self.activity].items():
            if place != "hip":
                rows = self._patch(points_mm, anatomy, place)
                share = area[rows] / area[rows].sum()
                loads.append(Load(name, surface[rows], np.outer(share, forces[name] @ axes)))
        return tuple(loads)

    def _patch(self, points_mm: Float, anatomy: FemurAnatomy, place: Place) -> Int:
        """Points of the surface round the place where muscles pull.

        Trochanter: round its upper outermost point. Lateral: round the outermost point of the 20 mm
        above the flare of the shaft. Medial: round the foremost inner point of the 20 mm below it.
        """
        height = anatomy.height_mm(points_mm) - anatomy.flare_mm
        out, front = points_mm @ -anatomy.medial, points_mm @ -anatomy.frame[:, 1]
        band, score = {
            "trochanter": (height > 0, out + height),
            "lateral": ((height >= 0) & (height <= 20), out),
            "medial": ((height >= -20) & (height <= 0), front - out),
        }[place]
        outer = out > float(anatomy.shaft_point_mm @ -anatomy.medial)
        chosen = band & outer if place != "medial" else band
        if not chosen.any():
            raise InputError(
                f"the {place} part of the proximal femur, where muscles pull, is not in view"
            )
        centre = points_mm[chosen][np.argmax(score[chosen])]
        return np.flatnonzero(np.linalg.norm(points_mm - centre, axis=1) <= self.patch_mm)

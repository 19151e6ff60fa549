"""The scene of a hip: femur, pelvis, lesion and what surrounds them.

The scene is always built for the left side, in LPS with the head centre at `HEAD_MM`; a right hip
is the same scene behind the mirror ``x -> -x``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.phantom.appearance import Appearance
from bonekit.phantom.body import BodyShape
from bonekit.phantom.bone import OTHER_BONE, Materials, Sphere, enclosing_box, fill, inside
from bonekit.phantom.femur import FemurShape
from bonekit.phantom.lesion import LesionShape
from bonekit.phantom.parameters import BodyParameters, FemurParameters, LesionParameters
from bonekit.phantom.pelvis import PelvisShape
from bonekit.phantom.shapes import Array, Waves, norm, rotation

Float = NDArray[np.float64]
HEAD_MM = np.array([90.0, 0.0, 0.0])  # typical distance of a hip from the midline


@dataclass(frozen=True, eq=False)
class HipScene:
    """A hip of either side as a function of space (see `scanner.Scene`).

    Parameters
    ----------
    femur : FemurShape
    pelvis : PelvisShape
    body : BodyShape
    lesion : LesionShape, optional
    """

    femur: FemurShape
    pelvis: PelvisShape
    body: BodyShape
    lesion: LesionShape | None

    @property
    def bone(self) -> str:
        """Name of the bone."""
        return f"femur_{self.femur.parameters.side}"

    @cached_property
    def mirror(self) -> Float:
        """Signs that bring the world to the left side, (3,)."""
        return np.array([1.0 if self.femur.parameters.side == "left" else -1.0, 1.0, 1.0])

    @cached_property
    def posture(self) -> Float:
        """Rotation from the femur's frame to that of the left side, (3, 3)."""
        par = self.femur.parameters
        return rotation(-par.flexion_deg, par.adduction_deg, par.external_rotation_deg)

    def to_world(self, points: Float) -> Float:
        """World points of points in the femur's frame, (..., 3)."""
        return np.asarray(((points - self.femur.head) @ self.posture.T + HEAD_MM) * self.mirror)

    def _to_femur(self, p: Array) -> Array:
        shift = self.femur.head - HEAD_MM @ self.posture
        turned = self.posture.T.astype(np.float32) @ p
        return turned + shift.astype(np.float32)[:, None]

    @cached_property
    def _femur_box(self) -> Float:
        reach = [((c - self.femur.head) @ self.posture.T + HEAD_MM, r) for c, r in self._reach()]
        corners = enclosing_box(reach, 8.0)
        corners[0, 2] = -np.inf
        return corners

    def _reach(self) -> list[Sphere]:
        below = self.femur.distal_end() - [0.0, 0.0, 60.0]
        return [*self.femur.spheres(), (below, self.femur.parameters.shaft_radius_mm)]

    def spheres(self) -> list[Sphere]:
        """Spheres in the world that the field of view must hold."""
        par = self.femur.parameters
        bones = [(self.to_world(c), r) for c, r in self.femur.spheres()]
        cup = self.pelvis.cup_radius_mm + 15 * self.pelvis.scale
        under = np.array([HEAD_MM[0], self.body.lowest_mm, 0.0]) * self.mirror
        has_under = self.body.parameters.rods_g_cm3 or self.body.parameters.table
        side = self.mirror[0] * HEAD_MM[0]
        rods = [(np.array([self.mirror[0] * x, y, 0.0]), 8.0) for _, x, y in self.body.rods()]
        head = (np.array([side, 0.0, 0.0]), max(cup, par.head_radius_mm))
        return [*bones, head, *([(under, 0.0)] if has_under else []), *rods]

    def materials(self, p: Array) -> Materials:
        """Tell what is at world points (3, n)."""
        p = p * self.mirror.astype(np.float32)[:, None]
        scene = Materials.soft(self.body.hu(p))
        surface = np.full(p.shape[1], 1e3, np.float32)
        near = inside(p, self._femur_box)
        local = self._to_femur(p[:, near])
        surface[near] = self.femur.surface(local)
        self._paint_pelvis(scene, p - HEAD_MM.astype(np.float32)[:, None], surface)
        bone = surface[near] < 0
        local, index = local[:, bone], near[bone]
        region, density = fill(self.femur, local, surface[index])
        if self.lesion is not None:
            region, density = self.lesion.apply(local, region, density)
        scene.region[index], scene.density[index] = region, density
        return scene

    def _paint_pelvis(self, scene: Materials, p: Array, femur: Array) -> None:
        """Draw pelvis and cartilage at points seen from the head's centre."""
        s = self.pelvis.scale
        near = inside(p, np.array([[-90 * s, -60 * s, -90 * s], [60 * s, 60 * s, 130 * s]]))
        p, gap = p[:, near], np.float32(self.pelvis.joint_gap_mm)
        radius = norm(p)
        joint = (radius < self.pelvis.cup_radius_mm) & (self.pelvis.covered(p) < 0)
        scene.hu[near[joint]] = self.body.shows.cartilage
        surface = np.maximum(self.pelvis.surface(p), gap - femur[near])
        bone = surface < 0
        _, density = fill(self.pelvis, p[:, bone], surface[bone])
        scene.region[near[bone]], scene.density[near[bone]] = OTHER_BONE, density

    def truth(self) -> dict[str, Any]:
        """Landmarks and axes in the world."""
        par = self.femur.parameters
        points = {n: self.to_world(c).tolist() for n, c in self.femur.landmarks().items()}
        turn = self.posture.T * self.mirror
        truth: dict[str, Any] = {
            **points,
            "head_radius_mm": par.head_radius_mm,
            "neck_axis": (self.femur.neck_axis @ turn).tolist(),
            "shaft_axis": (np.array([0.0, 0.0, 1.0]) @ turn).tolist(),
            "lateral_axis": (np.array([1.0, 0.0, 0.0]) @ turn).tolist(),
            "neck_shaft_angle_deg": par.neck_shaft_angle_deg,
            "anteversion_deg": par.anteversion_deg,
            "joint_gap_mm": par.joint_gap_mm,
            "rods": rods_truth(self.body, self.mirror),
        }
        if self.lesion is not None:
            truth["lesion_centre_mm"] = self.to_world(self.lesion.centre_mm).tolist()
        return truth


def rods_truth(body: BodyShape, mirror: Float) -> list[dict[str, Any]]:
    """Density, axis and radius of every calibration rod; the axes run along z."""
    return [
        {
            "k2hpo4_g_cm3": density,
            "point_mm": (np.array([x, y, 0.0]) * mirror).tolist(),
            "axis": [0.0, 0.0, 1.0],
            "radius_mm": 8.0,
        }
        for density, x, y in body.rods()
    ]


def hip_scene(
    femur: FemurParameters,
    lesion: LesionParameters | None,
    body: BodyParameters,
    shows: Appearance,
    rng: np.random.Generator,
) -> HipScene:
    """Build the scene of a hip."""
    shape = FemurShape(femur, Waves.draw(rng, 3, 9))
    pelvis = PelvisShape(femur.head_radius_mm, femur.joint_gap_mm, Waves.draw(rng, 3, 9))
    # the back is flat under the hip: pad and table lie below the deepest point of the outline
    trunk = BodyShape(
        body, (0.0, 0.0, 0.0), float(HEAD_MM[0]) + 10, Waves.draw(rng, 60, 140), shows
    )
    place = None
    if lesion is not None:
        place = LesionShape.place(lesion, shape, shape.sites(), rng)
    return HipScene(shape, pelvis, trunk, place)

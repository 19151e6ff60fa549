"""The scene of a lumbar vertebra: neighbours, discs, canal, lesion and what surrounds them.

World: LPS with the centre of the vertebral body at the origin.
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
from bonekit.phantom.hip import rods_truth
from bonekit.phantom.lesion import LesionShape
from bonekit.phantom.parameters import BodyParameters, LesionParameters, VertebraParameters
from bonekit.phantom.shapes import Array, Waves, rotation
from bonekit.phantom.vertebra import VertebraShape

Float = NDArray[np.float64]
SPINE_BODY = BodyParameters(half_width_mm=165.0, half_depth_mm=110.0)


@dataclass(frozen=True, eq=False)
class SpineScene:
    """A vertebra between its neighbours as a function of space (see `scanner.Scene`).

    Parameters
    ----------
    vertebra : VertebraShape
    body : BodyShape
    lesion : LesionShape, optional
    """

    vertebra: VertebraShape
    body: BodyShape
    lesion: LesionShape | None

    @property
    def bone(self) -> str:
        """Name of the bone."""
        return f"vertebra_{self.vertebra.parameters.level}"

    @cached_property
    def posture(self) -> Float:
        """Rotation from the vertebra's frame to the world, (3, 3)."""
        return rotation(self.vertebra.parameters.tilt_deg, 0, 0)

    def to_world(self, points: Float) -> Float:
        """World points of points in the vertebra's frame, (..., 3)."""
        return np.asarray(points @ self.posture.T)

    @cached_property
    def _box(self) -> Float:
        return enclosing_box(self.vertebra.spheres(), 3.0)

    def spheres(self) -> list[Sphere]:
        """Spheres in the world that the field of view must hold, half of each neighbour too."""
        par = self.vertebra.parameters
        half = par.height_mm + par.disc_mm
        bones = [(self.to_world(c), r) for c, r in self.vertebra.spheres()]
        ends = [(self.to_world(np.array([0.0, 0.0, z])), 0.0) for z in (-half, half)]
        rods = [(np.array([x, y, 0.0]), 8.0) for _, x, y in self.body.rods()]
        low = self.body.parameters.rods_g_cm3 or self.body.parameters.table
        under = [(np.array([0.0, self.body.lowest_mm, 0.0]), 0.0)] if low else []
        return [*bones, *ends, *rods, *under]

    def materials(self, p: Array) -> Materials:
        """Tell what is at world points (3, n)."""
        scene = Materials.soft(self.body.hu(p))
        p = self.posture.T.astype(np.float32) @ p
        self._paint_soft(scene, p)
        surface = np.full(p.shape[1], 1e3, np.float32)
        near = inside(p, self._box)
        surface[near] = self.vertebra.surface(p[:, near])
        for shift in (-self.vertebra.pitch_mm, self.vertebra.pitch_mm):
            self._paint_neighbour(scene, p - np.array([[0], [0], [shift]], np.float32), surface)
        index = np.flatnonzero(surface < 0)
        local = p[:, index]
        region, density = fill(self.vertebra, local, surface[index])
        if self.lesion is not None:
            region, density = self.lesion.apply(local, region, density)
        scene.region[index], scene.density[index] = region, density
        return scene

    def _paint_soft(self, scene: Materials, p: Array) -> None:
        """Draw discs and the spinal canal; bone is painted over them."""
        scene.hu[self.vertebra.column(p, 0.0) < -0.5] = self.body.shows.disc
        scene.hu[self.vertebra.canal(p) < 0] = self.body.shows.canal

    def _paint_neighbour(self, scene: Materials, p: Array, target: Array) -> None:
        """Draw the vertebra seen in its own frame, nowhere nearer to the target than the gap."""
        near = inside(p, self._box)
        p, gap = p[:, near], np.float32(self.vertebra.parameters.facet_gap_mm)
        surface = np.maximum(self.vertebra.surface(p), gap - target[near])
        bone = surface < 0
        _, density = fill(self.vertebra, p[:, bone], surface[bone])
        scene.region[near[bone]], scene.density[near[bone]] = OTHER_BONE, density

    def truth(self) -> dict[str, Any]:
        """Landmarks and axes in the world."""
        points = {n: self.to_world(c).tolist() for n, c in self.vertebra.landmarks().items()}
        truth: dict[str, Any] = {
            **points,
            "superior_axis": self.posture[:, 2].tolist(),
            "left_axis": self.posture[:, 0].tolist(),
            "facet_gap_mm": self.vertebra.parameters.facet_gap_mm,
            "rods": rods_truth(self.body, np.ones(3)),
        }
        if self.lesion is not None:
            truth["lesion_centre_mm"] = self.to_world(self.lesion.centre_mm).tolist()
        return truth


def spine_scene(
    vertebra: VertebraParameters,
    lesion: LesionParameters | None,
    body: BodyParameters,
    shows: Appearance,
    rng: np.random.Generator,
) -> SpineScene:
    """Build the scene of a vertebra."""
    shape = VertebraShape(vertebra, Waves.draw(rng, 3, 9))
    # the spinous tip lies a finger's breadth (typical: 25 mm) under the skin of the back
    tip = shape.landmarks()["spinous_tip_mm"][1] + 25.0
    trunk = BodyShape(
        body, (0.0, float(tip) - body.half_depth_mm, 0.0), 0.0, Waves.draw(rng, 60, 140), shows
    )
    place = None
    if lesion is not None:
        place = LesionShape.place(lesion, shape, shape.sites(), rng)
    return SpineScene(shape, trunk, place)

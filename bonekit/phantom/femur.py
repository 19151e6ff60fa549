"""The proximal femur as a function of space.

Frame of the (left) femur: the origin is where the neck axis meets the shaft axis, x points
laterally, y to the back, z up along the shaft. Sizes are typical adult values that scale with the
radii of head and shaft.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.phantom.bone import Sphere
from bonekit.phantom.parameters import FemurParameters
from bonekit.phantom.shapes import (
    Array,
    Waves,
    bell,
    cone,
    flattened,
    segment,
    smooth_union,
    smoothstep,
    sphere,
)

Float = NDArray[np.float64]
CAP_MM = 5.0  # of the greater trochanter, whose middle is its tip


@dataclass(frozen=True, eq=False)
class FemurShape:
    """A left femur in its own frame.

    Parameters
    ----------
    parameters : FemurParameters
    waves : Waves
        Texture of the spongiosa.
    """

    parameters: FemurParameters
    waves: Waves

    @cached_property
    def scale(self) -> float:
        """Size of the trochanters relative to a head of 23.5 mm and a shaft of 14 mm radius."""
        return (self.parameters.head_radius_mm / 23.5 + self.parameters.shaft_radius_mm / 14) / 2

    @cached_property
    def neck_axis(self) -> Float:
        """Unit vector along the neck, towards the head."""
        angle, turn = np.radians(
            [self.parameters.neck_shaft_angle_deg, self.parameters.anteversion_deg]
        )
        medial = np.array([-np.cos(turn), -np.sin(turn), 0.0])
        return np.asarray(np.sin(angle) * medial - np.cos(angle) * np.array([0.0, 0.0, 1.0]))

    @cached_property
    def head(self) -> Float:
        """Centre of the head."""
        return self.parameters.neck_length_mm * self.neck_axis

    @cached_property
    def greater_trochanter(self) -> tuple[Float, Float, Float]:
        """Foot, crest and back of the greater trochanter (axis points of two round cones)."""
        s = self.scale
        foot, crest, back = (13, 1, -10), (16, 5, 22), (12, 14, 25)
        return s * np.array(foot, float), s * np.array(crest, float), s * np.array(back, float)

    @cached_property
    def lesser_trochanter(self) -> Float:
        """Centre of the lesser trochanter's round tip."""
        return self.scale * np.array([-17.0, 12.0, -23.0])

    @cached_property
    def calcar(self) -> tuple[Float, Float]:
        """Ends of the thick medial cortex: below the lesser trochanter, under the neck."""
        medial = self.neck_axis * [1, 1, 0] / np.linalg.norm(self.neck_axis[:2])
        low = self.parameters.shaft_radius_mm * medial - [0, 0, 40 * self.scale]
        down = np.array([0.0, 0.0, -1.0])
        below = down - (down @ self.neck_axis) * self.neck_axis
        below /= np.linalg.norm(below)
        high = 0.52 * self.head + self.parameters.neck_radius_mm * below
        return low, high

    def _neck(self, p: Array) -> Array:
        """Two cones that meet at the narrowest place, flatter from front to back."""
        par = self.parameters
        across = np.cross(self.neck_axis, [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across)
        flat = flattened(p, across, (0, 0, 0), 0.85)
        waist = 0.62 * self.head
        r = par.neck_radius_mm
        root = cone(flat, 0.05 * self.head, waist, 1.25 * r, r)
        crown = cone(flat, waist, self.head, r, min(1.15 * r, 0.9 * par.head_radius_mm))
        return smooth_union(root, crown, 3.0)

    def _trochanters(self, p: Array) -> Array:
        s = self.scale
        foot, crest, back = self.greater_trochanter
        greater = smooth_union(
            cone(p, foot, crest, 13.5 * s, 13.0 * s), cone(p, crest, back, 13.0 * s, 10.5 * s), 4.0
        )
        lesser = cone(p, (-3 * s, 4 * s, -28 * s), self.lesser_trochanter, 10 * s, 7.5 * s)
        return smooth_union(greater, lesser, 5.0)

    def _shaft(self, p: Array) -> Array:
        r = self.parameters.shaft_radius_mm
        top, flare, bottom = (0.0, 0.0, -5.0), (0.0, 0.0, -45.0 * self.scale), (0.0, 0.0, -400.0)
        return smooth_union(cone(p, flare, top, r, 1.3 * r), cone(p, bottom, flare, r, r), 6.0)

    def surface(self, p: Array) -> Array:
        """Signed distance to the outer surface (see `Bone`)."""
        body = smooth_union(self._shaft(p), self._trochanters(p), 10.0)
        body = smooth_union(body, self._neck(p), 9.0)
        head = sphere(p, self.head, self.parameters.head_radius_mm)
        return smooth_union(body, head, 4.0)

    def cortex_mm(self, p: Array) -> Array:
        """Thickness: thin at head and greater trochanter, thick at calcar and shaft."""
        par = self.parameters
        shaft = self._shaftness(p)
        distance, _ = segment(p, *self.calcar)
        calcar = np.float32(0.5) * bell(distance, 10 * self.scale)
        share = np.maximum(shaft, calcar)
        return np.asarray(par.head_cortex_mm + share * (par.shaft_cortex_mm - par.head_cortex_mm))

    def cortical(self, p: Array) -> Array:
        """Density of the cortex, 15 % lower where it is thin."""
        share = np.float32(0.85) + np.float32(0.15) * self._shaftness(p)
        return np.asarray(np.float32(self.parameters.cortical_g_cm3) * share)

    def trabecular(self, p: Array) -> Array:
        """Density: compressive and tensile groups, Ward's triangle between, an empty canal."""
        low, high = self.parameters.trabecular_g_cm3
        share = np.maximum(self._compressive(p), np.float32(0.55) * self._tensile(p))
        density = low + share * (high - low)
        density *= 1 + np.float32(self.parameters.texture) * self.waves(p)
        canal = smoothstep(p[2], -52 * self.scale, -15 * self.scale)
        return np.asarray(np.maximum(density * canal, 0), dtype=np.float32)

    def _shaftness(self, p: Array) -> Array:
        """0 in the proximal end, 1 in the shaft."""
        return smoothstep(p[2], -8 * self.scale, -70 * self.scale)

    def _compressive(self, p: Array) -> Array:
        """Principal compressive group: a fan from the calcar to the top of the head."""
        r = self.parameters.head_radius_mm
        low, high = self.calcar
        top = self.head + np.array([-0.1 * r, 0.0, 0.7 * r])
        distance, t = segment(p, 0.3 * low + 0.7 * high, top)
        width = np.float32(0.28 * r) + np.float32(0.22 * r) * t
        return np.asarray(np.exp(-0.5 * (distance / width) ** 2), dtype=np.float32)

    def _tensile(self, p: Array) -> Array:
        """Principal tensile group: an arch from the lower head to the lateral cortex."""
        r, shaft = self.parameters.head_radius_mm, self.parameters.shaft_radius_mm
        start = self.head + 0.5 * r * self.neck_axis - [0, 0, 0.2 * r]
        crown = 0.5 * self.head + np.array([0.0, 0.0, 0.55 * self.parameters.neck_radius_mm])
        end = np.array([0.75 * shaft, 0.0, -22.0 * self.scale])
        near = np.minimum(segment(p, start, crown)[0], segment(p, crown, end)[0])
        return bell(near, 0.28 * r)

    def sites(self) -> dict[str, Float]:
        """Places for a lesion."""
        s = self.scale
        return {
            "head": self.head,
            "neck": 0.55 * self.head,
            "intertrochanteric": np.array([0.0, 2.0 * s, -8.0 * s]),
            "greater_trochanter": self.greater_trochanter[1],
            "lesser_trochanter": 0.7 * self.lesser_trochanter,
            "subtrochanteric": np.array([0.0, 0.0, -45.0 * s]),
            "shaft": np.array([0.0, 0.0, -65.0 * s]),
        }

    def distal_end(self) -> Float:
        """Point of the shaft axis at the distal end of the field of view."""
        return np.array([0.0, 0.0, self.lesser_trochanter[2] - self.parameters.shaft_length_mm])

    def spheres(self) -> list[Sphere]:
        """Spheres that together reach as far as the bone does within the field of view."""
        s, r = self.scale, self.parameters.shaft_radius_mm
        foot, crest, back = self.greater_trochanter
        return [
            (self.head, self.parameters.head_radius_mm),
            (foot, 14 * s),
            (crest, 13 * s),
            (back, 11 * s),
            (self.lesser_trochanter, 8 * s),
            (self.distal_end(), r),
        ]

    def landmarks(self) -> dict[str, Float]:
        """Points in the femur's frame."""
        s = self.scale
        _, crest, _ = self.greater_trochanter
        return {
            "head_centre_mm": self.head,
            "neck_shaft_intersection_mm": np.zeros(3),
            "neck_narrowest_mm": 0.62 * self.head,
            "greater_trochanter_top_mm": crest + np.array([0.0, 0.0, 13.0 * s]),
            "greater_trochanter_lateral_mm": crest + np.array([13.0 * s, 0.0, 0.0]),
            "lesser_trochanter_mm": self.lesser_trochanter,
            "greater_trochanter_tip_mm": self.greater_trochanter_tip,
            "lesser_trochanter_tip_mm": self.lesser_trochanter_tip,
            "shaft_end_mm": self.distal_end(),
        }

    @cached_property
    def greater_trochanter_tip(self) -> Float:
        """Over the middle of the uppermost `CAP_MM` of the greater trochanter, at its top.

        Its top is flat, so that its highest point alone would not say where it is.
        """
        s, step = self.scale, 0.5
        low, high = np.array([-2.0, -12.0, 22.0]) * s, np.array([34.0, 32.0, 42.0]) * s
        axes = [np.arange(a, b, step, dtype=np.float32) for a, b in zip(low, high, strict=True)]
        p = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
        distance = self.surface(p)
        top = float((p[2] - distance)[np.abs(distance) < step].max())
        cap = (distance < 0) & (p[2] > top - CAP_MM)
        x, y = p[:2, cap].mean(axis=1, dtype=np.float64)
        return np.array([x, y, top])

    @cached_property
    def lesser_trochanter_tip(self) -> Float:
        """Where the lesser trochanter's round end is furthest from the shaft axis."""
        away = self.lesser_trochanter * [1.0, 1.0, 0.0]
        return np.asarray(self.lesser_trochanter + 7.5 * self.scale * away / np.linalg.norm(away))

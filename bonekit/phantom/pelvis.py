"""The part of the pelvis around the hip: acetabulum with ilium, ischium and pubis, simplified.

Frame: that of the patient's left side (x lateral, y back, z up) with the origin at the centre of
the femoral head. Sizes are typical adult values that scale with the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bonekit.phantom.shapes import (
    Array,
    Waves,
    bell,
    box,
    cone,
    dot,
    norm,
    rotation,
    segment,
    smooth_intersection,
    smooth_union,
)

COVERAGE_DEG = 165.0  # opening angle of the articular surface


@dataclass(frozen=True, eq=False)
class PelvisShape:
    """The pelvis around a left hip.

    Parameters
    ----------
    head_radius_mm, joint_gap_mm : float
    waves : Waves
        Texture of the spongiosa.
    """

    head_radius_mm: float
    joint_gap_mm: float
    waves: Waves

    @property
    def scale(self) -> float:
        """Size relative to a head of 23.5 mm radius."""
        return self.head_radius_mm / 23.5

    @property
    def cup_radius_mm(self) -> float:
        """Radius of the acetabulum's inner surface."""
        return self.head_radius_mm + self.joint_gap_mm

    @cached_property
    def opening(self) -> NDArray[np.float64]:
        """Unit vector out of the cup: lateral, down and to the front (45 and 18 degrees)."""
        incline, anteversion = np.radians([45.0, 18.0])
        return np.array(
            [
                np.sin(incline) * np.cos(anteversion),
                -np.sin(anteversion),
                -np.cos(incline) * np.cos(anteversion),
            ]
        )

    def covered(self, p: Array) -> Array:
        """Height below the plane of the cup's rim, positive outside the cup, (n,)."""
        rim = -self.cup_radius_mm * np.cos(np.radians(COVERAGE_DEG / 2))
        return dot(p, self.opening) - np.float32(rim)

    def surface(self, p: Array) -> Array:
        """Signed distance to the outer surface (see `Bone`)."""
        radius = norm(p)
        wall = radius - np.float32(self.cup_radius_mm + 6.5 * self.scale)
        cup = smooth_intersection(wall, self.covered(p), 3.0)
        solid = smooth_union(cup, self._rami(p), 6.0)
        solid = smooth_union(solid, self._ilium(p), 8.0)
        return smooth_intersection(solid, np.float32(self.cup_radius_mm) - radius, 1.0)

    def _ilium(self, p: Array) -> Array:
        """Root of the iliac wing: a plate that rises from the roof of the cup."""
        s = self.scale
        axes = rotation(4, -14, 24)
        return box(p, (-10 * s, 8 * s, 66 * s), axes, (7.5 * s, 27 * s, 40 * s), 7 * s)

    def _rami(self, p: Array) -> Array:
        """Ischium and superior pubic ramus."""
        s = self.scale
        ischium = cone(p, (-19 * s, 24 * s, -12 * s), (-22 * s, 30 * s, -58 * s), 11 * s, 13 * s)
        pubis = cone(p, (-27 * s, -14 * s, -6 * s), (-70 * s, -36 * s, -18 * s), 10 * s, 7 * s)
        lower = cone(p, (-26 * s, 27 * s, -62 * s), (-66 * s, -28 * s, -46 * s), 8 * s, 5.5 * s)
        return smooth_union(smooth_union(ischium, lower, 5.0), pubis, 3.0)

    def cortex_mm(self, p: Array) -> Array:
        """Thickness: 1.4 mm, 2.4 mm under the roof of the cup."""
        roof, _ = segment(p, (0, 0, 28 * self.scale), (-8, 4, 34 * self.scale))
        return np.float32(1.4) + bell(roof, 10)

    def cortical(self, p: Array) -> Array:
        """Density of the cortex."""
        return np.full(p.shape[1], 1.0, np.float32)

    def trabecular(self, p: Array) -> Array:
        """Density: higher above the weight-bearing roof."""
        roof, _ = segment(p, (-4, 0, 26 * self.scale), (-8, 6, 48 * self.scale))
        density = (0.14 + 0.2 * bell(roof, 11)) * (1 + np.float32(0.1) * self.waves(p))
        return np.asarray(np.maximum(density, 0), dtype=np.float32)

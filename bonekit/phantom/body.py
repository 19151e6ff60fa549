"""Everything around the bones: soft tissue, air, calibration rods, table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonekit.phantom.appearance import Appearance
from bonekit.phantom.parameters import BodyParameters
from bonekit.phantom.shapes import Array, Vector, Waves, radial, smoothstep

PAD, TABLE_SHELL, TABLE_FOAM = -80.0, 150.0, -900.0
ROD_RADIUS_MM, ROD_DISTANCE_MM, PAD_MM, TABLE_MM = 8.0, 22.0, 22.0, 25.0


@dataclass(frozen=True, eq=False)
class BodyShape:
    """A trunk that runs along z, with what lies under it.

    Parameters
    ----------
    parameters : BodyParameters
    centre_mm : tuple of float, (3,)
        Middle of the outline.
    under_mm : float
        x of the middle of the calibration pad.
    septa : Waves
        Fat runs between muscles where this field is near zero.
    shows : Appearance
        HU of the tissues and the rods.
    """

    parameters: BodyParameters
    centre_mm: Vector
    under_mm: float
    septa: Waves
    shows: Appearance

    @property
    def back_mm(self) -> float:
        """Where the patient's back rests, y."""
        return self.centre_mm[1] + self.parameters.half_depth_mm

    @property
    def lowest_mm(self) -> float:
        """Lower end of pad and table, y; the back where there is neither."""
        pad = PAD_MM if self.parameters.rods_g_cm3 else 0.0
        return self.back_mm + pad + (TABLE_MM if self.parameters.table else 0.0)

    def rods(self) -> list[tuple[float, float, float]]:
        """Density (K2HPO4 g/cm3), x and y of the axis of every rod."""
        densities = self.parameters.rods_g_cm3
        first = self.under_mm - ROD_DISTANCE_MM * (len(densities) - 1) / 2
        y = self.back_mm + PAD_MM / 2
        return [(d, first + ROD_DISTANCE_MM * i, y) for i, d in enumerate(densities)]

    def hu(self, p: Array) -> Array:
        """HU at points (3, n) without any bone."""
        depth = self._depth(p)
        fat = np.maximum(
            1 - smoothstep(depth, self.parameters.fat_mm - 1, self.parameters.fat_mm + 1),
            1 - smoothstep(np.abs(self.septa(p)), 0.03, 0.10),
        )
        air, muscle = self.shows.air, self.shows.muscle
        hu = np.where(depth < 0, air, muscle + fat * np.float32(self.shows.fat - muscle))
        return self._under(p, hu.astype(np.float32))

    def _depth(self, p: Array) -> Array:
        """Depth below the skin: the outline is a superellipse, flat on the back."""
        x = (p[0] - np.float32(self.centre_mm[0])) / np.float32(self.parameters.half_width_mm)
        y = (p[1] - np.float32(self.centre_mm[1])) / np.float32(self.parameters.half_depth_mm)
        level = (x * x * np.abs(x) + y * y * np.abs(y)) ** np.float32(1 / 3)
        reach = np.hypot(p[0] - self.centre_mm[0], p[1] - self.centre_mm[1])
        return -radial(reach, level, self.parameters.half_depth_mm)

    def _under(self, p: Array, hu: Array) -> Array:
        """Lay pad, rods and table under the patient."""
        y = p[1] - np.float32(self.back_mm)
        if self.parameters.rods_g_cm3:
            width = ROD_DISTANCE_MM * len(self.parameters.rods_g_cm3) / 2 + 4
            pad = (y > 0) & (y < PAD_MM) & (np.abs(p[0] - self.under_mm) < width)
            hu[pad] = PAD
        for density, x0, y0 in self.rods():
            rod = np.hypot(p[0] - np.float32(x0), p[1] - np.float32(y0)) < ROD_RADIUS_MM
            hu[rod] = self.shows.rods.hu(density)
        if self.parameters.table:
            top = self.lowest_mm - TABLE_MM - self.back_mm
            hu[(y > top) & (y < top + TABLE_MM)] = TABLE_FOAM
            shell = (y > top) & (y < top + 2) | (y > top + TABLE_MM - 2) & (y < top + TABLE_MM)
            hu[shell] = TABLE_SHELL
        return hu

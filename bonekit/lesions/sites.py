"""Places on a femur: along its neck or shaft and around it, and the points of its surface there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.segmentation.base import Segmentation

Float = NDArray[np.float64]

NECK_MIDDLE = 1.3  # head radii from the head's centre: where `femur_anatomy` measures the neck
STEP_MM, REACH_MM = 0.25, 60.0  # of the ray to the surface
# Levels of a virtual study and how far they lie under the flare, about the lesser trochanter.
BELOW_FLARE_MM: Mapping[str, float] = {
    "intertrochanteric": -15.0,
    "subtrochanteric": 20.0,
    "shaft": 60.0,
}
LEVELS = ("neck", "neck_base", *BELOW_FLARE_MM)


@dataclass(frozen=True, eq=False)
class Around:
    """A part of a femur seen along its own axis.

    Parameters
    ----------
    point_mm : ndarray, (3,)
        On the axis, in the world.
    up : ndarray, (3,)
        Unit vector along the axis: up the shaft, or up the neck to the head.
    inner : ndarray, (3,)
        Unit vector across: medial of the shaft, down and medial (inferior) of the neck.
    anterior : ndarray, (3,)
        Unit vector across both.
    """

    point_mm: Float
    up: Float
    inner: Float
    anterior: Float

    def height_mm(self, points_mm: Float) -> Float:
        """Height of points (..., 3) along the axis."""
        return np.asarray((points_mm - self.point_mm) @ self.up)

    def angle_deg(self, points_mm: Float) -> Float:
        """Angle of points (..., 3) about the axis, -180 to 180: 0 inner, 90 anterior."""
        across = points_mm - self.point_mm
        return np.asarray(np.degrees(np.arctan2(across @ self.anterior, across @ self.inner)))

    def direction(self, angle_deg: float) -> Float:
        """Turn the inner direction by an angle about the axis, (3,)."""
        turn = np.radians(angle_deg)
        return np.asarray(np.cos(turn) * self.inner + np.sin(turn) * self.anterior)


def around_shaft(anatomy: FemurAnatomy) -> Around:
    """Look along the shaft axis, from `FemurAnatomy.shaft_point_mm`."""
    anterior = -anatomy.frame[:, 1]
    return Around(anatomy.shaft_point_mm, anatomy.shaft_axis, anatomy.medial, anterior)


def around_neck(anatomy: FemurAnatomy, down_mm: float | None = None) -> Around:
    """Look up the neck axis, from the middle of the neck or so far from the head's centre."""
    up = -anatomy.neck_axis
    inner = -anatomy.shaft_axis + (anatomy.shaft_axis @ up) * up
    inner /= np.linalg.norm(inner)
    anterior = np.cross(up, inner)
    anterior *= np.sign(-anterior @ anatomy.frame[:, 1])
    down_mm = NECK_MIDDLE * anatomy.head_radius_mm if down_mm is None else down_mm
    return Around(anatomy.head_centre_mm - down_mm * up, up, inner, anterior)


def neck_base_mm(anatomy: FemurAnatomy) -> float:
    """Distance along the neck from the head's centre to its base, where the shaft begins.

    One radius of the shaft short of where the neck's axis passes the shaft's.
    """
    medial = anatomy.medial
    to_axis = anatomy.offset_mm / max(float(-anatomy.neck_axis @ medial), 0.1)
    return to_axis - float(np.sqrt(anatomy.section_mm2 / np.pi))


def femur_site(segmentation: Segmentation, level: str, angle_deg: float) -> Float:
    """Find a point on the surface of a femur.

    Parameters
    ----------
    segmentation : Segmentation
        Of a femur.
    level : {"neck", "neck_base", "intertrochanteric", "subtrochanteric", "shaft"}
        The middle and the base of the neck, and heights along the shaft: see `BELOW_FLARE_MM`.
    angle_deg : float
        About the neck's axis from inferior-medial, about the shaft's from medial; 90 is anterior.

    Returns
    -------
    ndarray, (3,)
        In the world.

    Raises
    ------
    InputError
        If the bone is no femur, the level is unknown or not in view.
    """
    anatomy = segmentation.anatomy
    if not isinstance(anatomy, FemurAnatomy):
        raise InputError(f"sites of a femur asked of {segmentation.bone}")
    if level in ("neck", "neck_base"):
        around = around_neck(anatomy, None if level == "neck" else neck_base_mm(anatomy))
        return _surface(segmentation, around.point_mm, around.direction(angle_deg))
    if level not in BELOW_FLARE_MM:
        raise InputError(f"level {level!r} is unknown; allowed: {', '.join(LEVELS)}")
    height = anatomy.flare_mm - BELOW_FLARE_MM[level]
    if not anatomy.distal_mm < height:
        raise InputError(
            f"level {level} lies {anatomy.distal_mm - height:.0f} mm below the bone in view "
            f"({anatomy.shaft_length_mm:.0f} mm of shaft): choose a higher one"
        )
    around = around_shaft(anatomy)
    start = around.point_mm + height * around.up
    return _surface(segmentation, start, around.direction(angle_deg))


def _surface(segmentation: Segmentation, start_mm: Float, direction: Float) -> Float:
    """Where a ray from within the bone first leaves it."""
    ray = start_mm + np.arange(0.0, REACH_MM, STEP_MM)[:, None] * direction
    grid = segmentation.labels.grid
    bone = segmentation.bone_mask.astype(np.float32)
    inside = ndimage.map_coordinates(bone, grid.index(ray).T, order=1) >= 0.5
    if not inside.any():
        raise InputError(
            f"no bone along the ray from {np.round(start_mm, 1).tolist()} mm: "
            "do the landmarks belong to these labels?"
        )
    first = int(inside.argmax())
    outside = ~inside[first:]
    last = first + int(outside.argmax()) if outside.any() else len(ray) - 1
    return np.asarray(ray[last])

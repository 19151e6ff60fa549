"""The condyles of a femur: where a table under the posterior side of its lower end would touch.

Seen along the shaft the lower end has two deep bays: the groove of the kneecap in front and the
notch behind. The line that bridges the deeper one, the notch, is the posterior condylar line, the
table top of anteversion (Kingsley and Olmsted 1948; unverified: quoted from memory).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from bonekit.anatomy.landmark import Landmark, square_to, unit
from bonekit.anatomy.solid import Solid, at_border

Float = NDArray[np.float64]

NAMES = ("medial_condyle", "lateral_condyle")
LONG_MM = 250.0  # from the head; a shorter bone shows no condyle
END_MM = 35.0  # of the lower end, that holds the condyles' rear
WIDER = 1.8  # the lower end over the shaft, seen along the shaft: its extent
BAY_MM = 5.0  # depth of the notch
EDGE_MM = (15.0, 70.0)  # between the points that touch
TOUCH_MM = 1.0
BESIDE_MM = 10.0


def condyles(
    solid: Solid, head_mm: Float, origin_mm: Float, axis: Float, section_mm2: float
) -> tuple[Landmark, Landmark]:
    """Find the rearmost points of the medial and the lateral condyle.

    Parameters
    ----------
    solid : Solid
    head_mm, origin_mm : ndarray, (3,)
        Head's centre; point of the shaft axis.
    axis : ndarray, (3,)
        Unit vector up the shaft.
    section_mm2 : float
        Median section of the shaft.
    """
    offset = solid.points_mm - origin_mm
    height = offset @ axis
    low = float(height.min())
    if float((head_mm - origin_mm) @ axis) - low < LONG_MM:
        return _none("the image ends above the knee")
    if at_border(solid.points_mm[height < low + 2.0], solid.field).any():
        return _none("the border of the image cuts the lower end")
    surface = solid.outline_mm - origin_mm
    surface = surface[surface @ axis < low + END_MM]
    medial = unit(square_to(head_mm - origin_mm, axis))
    plane = np.column_stack([medial, np.cross(axis, medial)])
    flat = surface @ plane
    if np.ptp(flat, axis=0).max() < WIDER * 2 * np.sqrt(section_mm2 / np.pi):
        return _none("the lower end in view is shaft: the image or the mask ends above the knee")
    edge = _deepest_bay(flat)
    if edge is None:
        return _none("no notch between two condyles at the lower end")
    depth, ends, outward = edge
    found = [
        origin_mm + place for place in _touching(surface, flat, ends, outward, plane @ outward)
    ]
    note = f"rearmost, beside a notch {depth:.0f} mm deep"
    error = float(np.sqrt(3.0) * solid.error_mm) + 0.5
    sure = min(depth / (2 * BAY_MM), 1.0)
    one, two = (
        Landmark(name, point, error, sure, note) for name, point in zip(NAMES, found, strict=True)
    )
    return one, two


def _none(why: str) -> tuple[Landmark, Landmark]:
    return Landmark.missing(NAMES[0], why), Landmark.missing(NAMES[1], why)


def _deepest_bay(flat: Float) -> tuple[float, Float, Float] | None:
    """Hull edge over the deepest bay: its depth, both ends (2, 2), and its outward normal."""
    hull = ConvexHull(flat)
    best = None
    for (one, other), (nx, ny, shift) in zip(hull.simplices, hull.equations, strict=True):
        ends = flat[[one, other]]
        length = float(np.linalg.norm(ends[1] - ends[0]))
        if not EDGE_MM[0] <= length <= EDGE_MM[1]:
            continue
        normal = np.array([nx, ny])
        along = (flat - ends[0]) @ (ends[1] - ends[0]) / length
        inside = -(flat @ normal + shift)
        step = np.arange(3.0, length - 2.0, 2.0)
        depth = max(float(inside[np.abs(along - s) < 1.5].min(initial=np.inf)) for s in step)
        if np.isfinite(depth) and depth >= BAY_MM and (best is None or depth > best[0]):
            best = depth, ends, normal
    return best


def _touching(surface: Float, flat: Float, ends: Float, outward: Float, rear: Float) -> list[Float]:
    """Middle of the surface next to each end of the edge, on the edge, the medial one first."""
    reach = flat @ outward
    found = []
    for end in ends[np.argsort(-ends[:, 0])]:
        top, place, touching = float(end @ outward), end, np.zeros(len(flat), dtype=bool)
        for _ in range(3):  # the edge ends anywhere on what is flat
            beside = np.linalg.norm(flat - place, axis=1) < BESIDE_MM
            touching = beside & (reach > top - TOUCH_MM)
            place = flat[touching].mean(axis=0)
        middle = surface[touching].mean(axis=0)
        found.append(middle + (top - middle @ rear) * rear)
    return found

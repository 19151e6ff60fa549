"""The condyles of a femur: where a table under the posterior side of its lower end would touch.

Seen along the shaft the lower end has two deep bays: the groove of the kneecap in front and the
notch behind. The line that bridges the deeper one, the notch, is the posterior condylar line, the
table top of anteversion (Kingsley and Olmsted 1948; unverified: quoted from memory).

The rear of a condyle is flat, and the voxel that lies furthest back may be anywhere on it. Its
posterior part is however close to a sphere (Kurosawa et al. 1985, Eckhoff et al. 2001; unverified:
quoted from memory), so each point is where the plane that touches both fitted spheres behind, and
is parallel to the shaft, touches its own. The phantoms' condyles are spheres and their true points
follow that definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from bonekit.anatomy.landmark import Landmark, square_to, unit
from bonekit.anatomy.neck import PATCH_MM2, met
from bonekit.anatomy.solid import Solid, at_border
from bonekit.anatomy.sphere import directions, robust_sphere

Float = NDArray[np.float64]

NAMES = ("medial_condyle", "lateral_condyle")
LONG_MM = 250.0  # from the head; a shorter bone shows no condyle
END_MM = 35.0  # of the lower end, that holds the condyles' rear
REAR_MM = 60.0  # of it, that holds their upper part as well
WIDER = 1.8  # the lower end over the shaft, seen along the shaft: its extent
BAY_MM = 5.0  # depth of the notch
EDGE_MM = (15.0, 70.0)  # between the points that touch
TOUCH_MM = 1.0
BESIDE_MM = 10.0
START_MM = 20.0  # of radius, of the first sphere behind
CONDYLE_MM = (10.0, 35.0)  # radii of the rear of condyles; adults about 16 to 26
REAR = 0.7  # cosine from straight behind: the part of a condyle that is fitted
LEAST_POINTS = 100
AGREES_MM = 1.0  # rms from the sphere, of a surface that is one
WHOLE = 0.5  # of the rear must lie on its sphere: less, and a hole took it


@dataclass(frozen=True, eq=False)
class Rear:
    """Sphere of the rear of a condyle.

    Centre (3,) from the origin, radius, rms distance of the surface from it, and the share of its
    directions within 45 degrees of straight behind that meet the surface.
    """

    centre_mm: Float
    radius_mm: float
    spread_mm: float
    share: float

    @property
    def area_mm2(self) -> float:
        """Of the sphere's cap that the surface agrees with."""
        return self.share * 2 * np.pi * (1 - REAR) * self.radius_mm**2


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
    guesses = _touching(surface, flat, ends, outward, plane @ outward)
    above = solid.outline_mm - origin_mm
    above = above[above @ axis < low + REAR_MM]
    rears = [_rear(above, guess, plane @ outward) for guess in guesses]
    for name, rear in zip(NAMES, rears, strict=True):
        if rear.share < WHOLE:
            return _none(
                f"the rear of the {name.replace('_', ' ')} is not round ({rear.share:.0%} of it "
                "lies on a sphere): destroyed, or not in view. The line behind needs both"
            )
    sure = min(depth / (2 * BAY_MM), 1.0)
    one, two = (
        _described(name, origin_mm + point, rear, solid.error_mm, sure, depth)
        for name, point, rear in zip(NAMES, _tangent(rears, plane, outward), rears, strict=True)
    )
    return one, two


def _described(
    name: str, point_mm: Float, rear: Rear, error_mm: float, sure: float, depth_mm: float
) -> Landmark:
    """Tell how sure a condyle is: by the notch beside it and by how much of a sphere it is."""
    spread = float(np.hypot(rear.spread_mm, error_mm))
    error = float(np.sqrt(3.0 / max(rear.area_mm2 / PATCH_MM2, 4.0))) * spread
    note = (
        f"rear of a sphere of {rear.radius_mm:.0f} mm radius, {rear.share:.0%} of which "
        f"agrees, beside a notch {depth_mm:.0f} mm deep"
    )
    sure *= rear.share * min(AGREES_MM / max(rear.spread_mm, 1e-6), 1.0)
    return Landmark(name, point_mm, error, sure, note)


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


def _rear(surface: Float, touching: Float, behind: Float) -> Rear:
    """Fit a sphere to what lies behind the middle of a condyle, from a point near its rear."""
    centre, radius, spread = touching - START_MM * behind, START_MM, np.inf
    for width in (6.0, 3.0, 2.0, 1.5, 1.5, 1.5):
        away = surface - centre
        reach = np.linalg.norm(away, axis=1)
        on = (away @ behind > REAR * reach) & (np.abs(reach - radius) < width)
        if np.count_nonzero(on) < LEAST_POINTS:
            break
        middle, size, miss = robust_sphere(surface[on])
        if not CONDYLE_MM[0] <= size <= CONDYLE_MM[1]:
            break
        centre, radius, spread = middle, size, float(np.sqrt(np.mean(miss**2)))
    if not np.isfinite(spread):
        return Rear(centre, radius, spread, 0.0)
    rays = directions(1000)
    rays = rays[rays @ behind > REAR]
    return Rear(centre, radius, spread, float(met(surface, centre, radius, rays).mean()))


def _tangent(rears: list[Rear], plane: Float, outward: Float) -> list[Float]:
    """Where a plane parallel to the shaft touches both spheres from behind."""
    one, two = rears
    across = (two.centre_mm - one.centre_mm) @ plane
    apart = float(np.linalg.norm(across))
    along = across / apart
    tilt = float(np.clip((one.radius_mm - two.radius_mm) / apart, -0.9, 0.9))
    square = np.array([-along[1], along[0]])
    square *= np.sign(square @ outward)
    normal = plane @ (tilt * along + np.sqrt(1.0 - tilt**2) * square)
    return [rear.centre_mm + rear.radius_mm * normal for rear in rears]

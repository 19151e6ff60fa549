"""Head and neck of a femur: the sphere, the narrowest section, and how well both are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.anatomy.landmark import Landmark, unit
from bonekit.anatomy.solid import Solid
from bonekit.anatomy.sphere import directions, robust_sphere

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

ON_SPHERE_MM = 1.5
AWAY_FROM_NECK = 0.4  # cosine from the neck's axis: the head's surface lies below it
SLICE_MM = 1.5
NECK_FROM, NECK_TO = 0.9, 2.2  # of the head's radius, where the narrowest section is sought
WIDTHS = ((0.3, 0.45, 0.9, 1.05), (0.0, 1.0, 1.0, 0.0))  # of the head's -> confidence
REACHES = ((0.9, 1.0, 2.0, 2.2), (0.0, 1.0, 1.0, 0.0))  # from its centre, in radii -> confidence
SURE_SHARE = 0.75  # of the head's surface away from the neck; whole heads have 0.95
BETWEEN_RAYS = 0.07  # of the radius, from a direction to the surface's next point
PATCH_MM2 = 100.0  # of surface that err together


@dataclass(frozen=True, eq=False)
class Ball:
    """A sphere fitted to the surface of a bone.

    Parameters
    ----------
    centre_mm : ndarray, (3,)
    radius_mm : float
    share : float
        Of all directions, those in which the surface lies within 1.5 mm of the sphere.
    paired : float
        Those in which it does so, or does opposite: 1 for a ball on a neck, 0.7 for a tube, which
        is open at both ends.
    error_mm : float
        Standard error of the centre.
    """

    centre_mm: Float
    radius_mm: float
    share: float
    paired: float
    error_mm: float


def fit_ball(outline_mm: Float, centre_mm: Float, radius_mm: float, error_mm: float) -> Ball:
    """Fit a sphere to the part of a surface that lies near a first guess.

    Parameters
    ----------
    outline_mm : ndarray, (n, 3)
    centre_mm, radius_mm
        First guess, better than a quarter of the radius.
    error_mm : float
        Standard deviation of the surface's place.
    """
    centre, radius = np.asarray(centre_mm, dtype=np.float64), float(radius_mm)
    near = outline_mm[np.linalg.norm(outline_mm - centre, axis=1) < 1.6 * radius]
    for width in (0.3, 0.2, 0.15, 0.15, 0.12, 0.12):
        distance = np.linalg.norm(near - centre, axis=1) - radius
        on = np.abs(distance) < max(width * radius, 2.0)
        if np.count_nonzero(on) < 50:
            return Ball(centre, radius, 0.0, 0.0, np.inf)
        centre, radius, _ = robust_sphere(near[on])
    half = directions(400)[:200]
    rays = np.concatenate([half, -half])
    hit = met(near, centre, radius, rays)
    paired = float(np.mean(hit[:200] | hit[200:]))
    error = _centre_error(near, centre, radius, error_mm)
    return Ball(centre, radius, float(hit.mean()), paired, error)


def met(near: Float, centre: Float, radius: float, rays: Float) -> Mask:
    """Tell in which directions (n, 3) the surface lies on a sphere."""
    on = np.abs(np.linalg.norm(near - centre, axis=1) - radius) < ON_SPHERE_MM
    if np.count_nonzero(on) < 50:
        return np.zeros(len(rays), dtype=bool)
    gap, _ = cKDTree(near[on] - centre).query(radius * rays)
    return np.asarray(gap < ON_SPHERE_MM + BETWEEN_RAYS * radius)


def _centre_error(near: Float, centre: Float, radius: float, error_mm: float) -> float:
    """Give the standard error of a sphere's centre: patches of its surface err on their own.

    By least squares of four unknowns, so that a sphere of which a part is in view has a centre
    that is known less along the middle of that part.
    """
    away = near - centre
    reach = np.linalg.norm(away, axis=1)
    distance = reach - radius
    on = np.abs(distance) < ON_SPHERE_MM
    if np.count_nonzero(on) < 50:
        return radius
    patches = max(np.count_nonzero(on) / PATCH_MM2, 4.0)  # about one point per mm2
    spread = float(np.sqrt(np.mean(distance[on] ** 2) + error_mm**2))
    design = np.column_stack([away[on] / reach[on, None], np.ones(np.count_nonzero(on))])
    inverse = np.linalg.pinv(design.T @ design / len(design))
    return min(float(np.sqrt(np.trace(inverse[:3, :3]) / patches)) * spread, radius)


def _disagreement(near: Float, centre: Float, radius: float, neck_axis: Float) -> float:
    """Tell by how much a sphere would move if what is off it, away from the neck, were on it."""
    away = near - centre
    reach = np.linalg.norm(away, axis=1)
    distance = (reach - radius)[away @ neck_axis < AWAY_FROM_NECK * reach]
    off = (np.abs(distance) >= ON_SPHERE_MM) & (np.abs(distance) < radius / 2)
    if not off.any():
        return 0.0
    return float(off.mean() * np.sqrt(np.mean(distance[off] ** 2)))


def head_landmark(solid: Solid, centre_mm: Float, radius_mm: float, neck_axis: Float) -> Landmark:
    """Describe the head's centre: how much of the head's surface lies on its sphere."""
    surface = solid.outline_mm
    near = surface[np.linalg.norm(surface - centre_mm, axis=1) < 1.6 * radius_mm]
    rays = directions(400)
    rays = rays[rays @ neck_axis < AWAY_FROM_NECK]
    share = float(met(near, centre_mm, radius_mm, rays).mean())
    error = float(
        np.hypot(
            _centre_error(near, centre_mm, radius_mm, solid.error_mm),
            _disagreement(near, centre_mm, radius_mm, neck_axis),
        )
    )
    note = f"sphere through the head; {share:.0%} of its surface away from the neck agrees"
    if share < SURE_SHARE:
        note += ": the head is cut by the border of the image, flattened, or not well segmented"
    return Landmark("head_centre", centre_mm, error, share, note)


def neck_landmark(
    solid: Solid, head_mm: Float, radius_mm: float, neck_mm: Float, head_confidence: float
) -> Landmark:
    """Describe the neck's centre: no surer than the head's, and by the section it lies in.

    A neck is thinner than its head (about three quarters as wide), and its narrowest section lies
    before the trochanters; the limits, from full to no confidence, are bonekit's own.
    """
    along = neck_mm - head_mm
    reach = float(np.linalg.norm(along))
    away = solid.points_mm - neck_mm
    level = away @ (along / reach)
    beside = np.linalg.norm(away - level[:, None] * (along / reach), axis=1)
    section = (np.abs(level) < SLICE_MM) & (beside < 1.5 * radius_mm)
    area = np.count_nonzero(section) * solid.grid.voxel_mm3 / (2 * SLICE_MM)
    width = float(np.sqrt(area / np.pi)) / radius_mm
    sure = float(np.interp(width, *WIDTHS) * np.interp(reach / radius_mm, *REACHES))
    note = f"middle of its narrowest part, {width:.0%} as wide as the head"
    if sure < 0.5:
        note += f", {reach:.0f} mm from its centre: hardly a neck; look at the labels"
    error = float(np.sqrt(3.0) * solid.error_mm / 3.0) + 0.2 + (1.0 - sure) * radius_mm / 2
    return Landmark("neck_centre", neck_mm, error, head_confidence * sure, note)


def neck_centre(points_mm: Float, head_mm: Float, radius_mm: float, start: Float) -> Float | None:
    """Find the middle of the neck's narrowest section square to the line to the head's centre.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
        Evenly spread points inside the bone.
    head_mm : ndarray, (3,)
    radius_mm : float
        Of the head.
    start : ndarray, (3,)
        Unit vector roughly from the head down the neck.

    Returns
    -------
    ndarray, (3,), optional
        None where no section of the neck holds bone.
    """
    from_head = points_mm - head_mm
    from_head = from_head[np.linalg.norm(from_head, axis=1) < (NECK_TO + 1.0) * radius_mm]
    axis, reach, centre = start, 1.2 * radius_mm, None
    for _ in range(8):
        along = from_head @ axis
        beside = np.linalg.norm(from_head - along[:, None] * axis, axis=1)
        level = ((along - NECK_FROM * radius_mm) / SLICE_MM).astype(int)
        use = (along >= NECK_FROM * radius_mm) & (along < NECK_TO * radius_mm) & (beside < reach)
        if not use.any():
            return None
        count = np.bincount(level[use]).astype(np.float64)
        if len(count) < 5:
            return None
        wide = np.convolve(count, np.ones(3) / 3, mode="valid")
        narrow = int(np.where(wide > 0, wide, np.inf).argmin()) + 1
        near = use & (np.abs(level - narrow) <= 2)
        centre = from_head[near].mean(axis=0)
        axis = unit(centre)
        # points next to the section, of a trochanter that reaches past it, are no neck
        reach = 1.5 * float(np.sqrt(2.0 * np.mean(beside[near] ** 2)))
    return None if centre is None else head_mm + centre

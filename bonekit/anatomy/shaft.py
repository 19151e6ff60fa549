"""The shaft of a femur: the line through the centres of its cross-sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

SLICE_MM = 3.0
SHORT_MM = 30.0  # of shaft are needed to measure its axis
LONG_MM = 180.0  # of shaft below the flare tell its axis; further down it is bowed
NECK_MM = 115.0  # from the head's centre; a bone that reaches no further shows hardly any shaft
THIN = 0.7  # of the head's section: a shaft is thinner (adults about 0.4), trochanters are not
WEDGE = 0.8  # of the next section: less is cut obliquely, a shaft widens more gently
LESSER_MM = 27.0  # below the flare, where the lesser trochanter may pull a section's centre
LEAST = 8  # sections at the lower end make a line
STRAY_MM = 0.5  # off the line, and it does
FLARE = 1.45  # a section this much larger than the shaft's belongs to the trochanters
KNEE_MM = 200.0  # of bone below the head and more: its lower end may be the condyles
LEAST_ERROR_RAD = 0.002
# A short shaft is pulled by where it begins to widen: on phantoms by 4.5 degrees where 30 mm are in
# view, 1.5 at 36, 1 at 39 and half a degree at 45 mm.
PULL_RAD, PULL_MM = 0.08, 6.0
UNKNOWN_RAD = np.pi / 4  # error of an axis that the sections do not agree with
DOUBT_RAD = 0.09  # an axis less sure than this is none: a little more than the pull on 30 mm
SCAN_AXIS_DEG = 10.0  # assumed between the scan's head-foot axis and a shaft's (posture, flexion)
NEAR = 0.5  # cosine of a turn that one round may make: a limb in a scanner is flexed by 60 degrees


@dataclass(frozen=True, eq=False)
class Shaft:
    """The axis of a shaft and its sections along it.

    Parameters
    ----------
    origin_mm : ndarray, (3,)
        On the axis at the lowest bone.
    axis : ndarray, (3,)
        Unit vector up the shaft.
    distal_mm, flare_mm : float
        Heights over the origin of the lowest complete section and of the flare.
    section_mm2 : float
        Median section between them.
    error_rad : float
        Standard error of the axis' direction, from the centres' distances from the line.
    """

    origin_mm: Float
    axis: Float
    distal_mm: float
    flare_mm: float
    section_mm2: float
    error_rad: float


def find_shaft(
    points: Float, at_border: Mask, head_mm: Float, head_radius_mm: float, voxel_mm3: float
) -> Shaft | None:
    """Find the axis of the shaft; None where less than 30 mm of it are in view.

    Parameters
    ----------
    points : ndarray, (n, 3)
        Middles of the bone's voxels.
    at_border : ndarray of bool, (n,)
        Which of them the field of view cuts.
    head_mm : ndarray, (3,)
    head_radius_mm, voxel_mm3 : float
    """
    reach = np.linalg.norm(points - head_mm, axis=1)
    beyond = reach > 1.6 * head_radius_mm
    far = points[reach >= np.quantile(reach[beyond], 0.75)]
    start = far.mean(axis=0)
    toward = head_mm - start
    # A short shaft lies far off the line to the head, one of a flexed limb far off the scan's axis.
    starts = (toward / np.linalg.norm(toward), np.array([0.0, 0.0, 1.0]), _longest(far, toward))
    found = [_along(points, at_border, start, axis, voxel_mm3) for axis in starts]
    missed = [float(np.linalg.norm(np.cross(head_mm - s.origin_mm, s.axis))) for s in found]
    thin = [s.section_mm2 < THIN * np.pi * head_radius_mm**2 for s in found]
    best = max(
        range(len(found)),
        key=lambda n: (
            thin[n] and missed[n] > head_radius_mm and found[n].error_rad < DOUBT_RAD,
            found[n].flare_mm - found[n].distal_mm,
        ),
    )
    # where hardly any shaft is in view the sections run up the neck instead
    neck_only = missed[best] < head_radius_mm and float(reach.max()) < NECK_MM
    shaft = found[best]
    short = shaft.flare_mm - shaft.distal_mm < SHORT_MM
    unknown = shaft.error_rad >= DOUBT_RAD
    return None if short or unknown or neck_only or not thin[best] else shaft


def _along(points: Float, at_border: Mask, origin: Float, axis: Float, voxel_mm3: float) -> Shaft:
    """Four rounds of `_round`, each along the axis of the one before."""
    shaft = _round(points, at_border, origin, axis, voxel_mm3)
    for _ in range(3):
        shaft = _round(points, at_border, shaft.origin_mm, shaft.axis, voxel_mm3)
    return shaft


def _round(points: Float, at_border: Mask, origin: Float, axis: Float, voxel_mm3: float) -> Shaft:
    """One round of slicing across `axis` and refitting it to the centres of the shaft's slices."""
    height = (points - origin) @ axis
    level = ((height - float(height.min())) / SLICE_MM).astype(int)
    count = np.bincount(level)
    area: Float = np.asarray(count * (voxel_mm3 / SLICE_MM), dtype=np.float64)
    total = np.stack([np.bincount(level, points[:, d]) for d in range(3)], axis=1)
    centre = total / np.maximum(count, 1)[:, None]
    cut = np.bincount(level, at_border) > 0
    first = _above_the_knee(area, _first_complete(cut, area))
    last = first + 1
    while last < len(area) - 1 and area[last] < FLARE * np.median(area[first:last]):
        last += 1
    error = UNKNOWN_RAD
    if last - first >= 5:
        # the flare begins well before it shows: keep clear of it
        low = max(first, last - int(LONG_MM / SLICE_MM))
        middle, direction, wrong = _line(centre[low : max(last - 2, first + 4)])
        direction *= np.sign(direction @ axis)
        if direction @ axis > NEAR:
            pull = PULL_RAD * np.exp((SHORT_MM - (last - first) * SLICE_MM) / PULL_MM)
            axis, origin, error = direction, middle, float(np.hypot(wrong, pull))
    start = origin + axis * float(((points - origin) @ axis).min())
    section = float(np.median(area[first:last]))
    return Shaft(start, axis, first * SLICE_MM, last * SLICE_MM, section, error)


def _line(centres: Float) -> tuple[Float, Float, float]:
    """Middle, direction and its error of the line through the centres of sections, lowest first.

    Of the uppermost, where the lesser trochanter begins, those that stray from the line through
    the others are left out.
    """
    sure = max(len(centres) - int(LESSER_MM / SLICE_MM), LEAST)
    off = _off_line(centres, centres[:sure])
    kept = off <= max(STRAY_MM, float(off[:sure].max()))
    kept[:sure] = True
    used = centres[kept]
    middle = used.mean(axis=0)
    direction = np.linalg.svd(used - middle)[2][0]
    spread = np.sqrt(np.mean(_off_line(used, used) ** 2) / 2)
    # sections next to each other err together: a third of them are taken as independent
    lever = np.sqrt(np.sum(((used - middle) @ direction) ** 2) / 3)
    return middle, direction, float(np.hypot(spread / lever, LEAST_ERROR_RAD))


def _longest(points: Float, toward: Float) -> Float:
    """Direction in which points reach furthest, on the side of a vector."""
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    return np.asarray(axis * (np.sign(axis @ toward) or 1.0))


def _off_line(centres: Float, of: Float) -> Float:
    """Distances of points from the line of least squares through others."""
    middle = of.mean(axis=0)
    direction = np.linalg.svd(of - middle)[2][0]
    return np.asarray(np.linalg.norm(np.cross(centres - middle, direction), axis=1))


def _above_the_knee(area: Float, first: int) -> int:
    """Lowest section of the shaft's own size, where the bone reaches to its condyles."""
    n_knee = int(KNEE_MM / SLICE_MM)
    if len(area) < n_knee:
        return first
    narrow = float(np.quantile(area[first : len(area) - int(100.0 / SLICE_MM)], 0.2))
    wide = np.flatnonzero(area[first : len(area) // 2] > FLARE * narrow)
    return first if len(wide) == 0 else first + int(wide[-1]) + 1


def scan_axis(points: Float, at_border: Mask, voxel_mm3: float) -> Shaft:
    """Return the head-foot axis through the lowest bone in place of a shaft's.

    Its length is 0, at the lowest complete section: the border may cut the bone lengthwise.
    """
    level = ((points[:, 2] - points[:, 2].min()) / SLICE_MM).astype(int)
    area: Float = np.asarray(np.bincount(level) * (voxel_mm3 / SLICE_MM), dtype=np.float64)
    end = SLICE_MM * _first_complete(np.bincount(level, at_border) > 0, area)
    low = level < 2
    section = float(np.count_nonzero(low) * voxel_mm3 / (2 * SLICE_MM))
    up = np.array([0.0, 0.0, 1.0])
    return Shaft(points[low].mean(axis=0), up, end, end, section, np.radians(SCAN_AXIS_DEG))


def _first_complete(cut: Mask, area: Float) -> int:
    """Lowest slice above the end of the bone: the border of the image or the mask's own end.

    An oblique end shows by growing sections. The border may cut the trochanters as well: only what
    it cuts from the lowest slice upwards, with gaps of two slices, counts.
    """
    first = 0
    while first < len(area) // 2 and (
        cut[first : first + 3].any() or area[first] < WEDGE * area[first + 1]
    ):
        first += 1
    return min(first, max(len(area) - 3, 0))

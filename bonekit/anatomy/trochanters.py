"""The trochanters of a femur: summits of its surface over the plane and over the axis of the shaft.

Greater trochanter: over the middle of its uppermost 5 mm, at its top (it is often flat, so that
the highest point alone would jump along it). Lesser trochanter: where it stands out furthest from
the shaft axis. Both definitions are of this program; the phantoms' true points follow them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.signal import find_peaks
from skimage.morphology import h_maxima

from bonekit.anatomy.landmark import Landmark, unit
from bonekit.anatomy.solid import Solid, at_border

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

CAP_MM = 5.0  # of the greater trochanter, whose middle is its tip
BESIDE_MM = 30.0  # of its peak, that the cap reaches
STANDS_OUT_MM = 1.5  # over the saddle to the neck
LESSER_BAND_MM = (-35.0, 40.0)  # about the flare of the shaft
LESSER_DEG = (5.0, 140.0)  # from medial to the back
USUAL_MM = 13.0 - LESSER_BAND_MM[0]  # over the foot of the band: 10 to 14 mm over the flare
USUAL_SPREAD_MM = 12.0  # in the femora of the tests; a hole in the neck has a rim 30 mm higher
PROMINENT_MM = (8.0, 6.0, 5.0, 4.0, 3.0, 2.5, 2.0, 1.5, 1.2)
REACH_MM = 45.0  # from the shaft axis
STEP_DEG, STEP_MM = 3.0, 1.0
BALL = 0.85  # of the head's radius: the ball about a tip that a whole trochanter fills in part
FULL = {"greater_trochanter": (0.11, 0.16), "lesser_trochanter": (0.125, 0.15)}  # none, all of it
CUT = 0.5  # of its summit on the border of the image: its tip lies beyond
CUT_MM, LOST_MM = 10.0, 10.0  # assumed error of a tip that the border or a hole took wholly
CLEAR_MM = 4.0  # of prominence; a lesser trochanter that stands out so far is surely one


def greater_trochanter(
    solid: Solid,
    head_mm: Float,
    radius_mm: float,
    origin_mm: Float,
    axis: Float,
    flare_mm: float,
    axis_error: float,
) -> Landmark:
    """Find the tip of the greater trochanter.

    Parameters
    ----------
    solid : Solid
    head_mm, origin_mm : ndarray, (3,)
        Head's centre; point of the shaft axis.
    radius_mm : float
        Of the head.
    axis : ndarray, (3,)
        Unit vector up the shaft.
    flare_mm : float
        Height over `origin_mm` at which the shaft widens.
    axis_error : float
        Standard error of the direction of `axis` in radians.

    Returns
    -------
    Landmark
    """
    name = "greater_trochanter"
    offset = solid.outline_mm - origin_mm
    height = offset @ axis
    medial = head_mm - origin_mm - ((head_mm - origin_mm) @ axis) * axis
    lateral = offset @ -unit(medial)
    peak = _summit(lateral, height, float(np.linalg.norm(medial)), flare_mm)
    if peak is None:
        return Landmark.missing(
            name, "no summit stands out beside the neck: outside the image, or destroyed"
        )
    saddle, place, prominence = peak
    over = lateral > saddle
    top = float(height[over & (np.abs(lateral - place) < 3.0)].max())
    inside = solid.points_mm - origin_mm
    up, out = inside @ axis, inside @ -unit(medial)
    first = offset[over & (height > top - 0.5)].mean(axis=0)
    cap = (up > top - CAP_MM) & (out > saddle)
    cap &= np.linalg.norm(inside - first, axis=1) < BESIDE_MM
    if np.count_nonzero(cap) < 20:
        return Landmark.missing(name, "its summit holds hardly any bone")
    middle = inside[cap].mean(axis=0)
    point = origin_mm + middle + (top - middle @ axis) * axis
    cut = float(np.mean(at_border(origin_mm + inside[cap], solid.field)))
    if cut > CUT:
        return Landmark.missing(name, f"the border of the image cuts it ({cut:.0%} of its summit)")
    sure = min(prominence / CAP_MM, 1.0) * (1.0 - cut) * float(np.exp(-axis_error / 0.1))
    # the cap is the flatter part of a dome of some 20 mm radius: tilting the axis moves it so
    error = float(np.sqrt(3 * solid.error_mm**2 + (20.0 * axis_error) ** 2)) + 0.3
    error = float(np.hypot(error, CUT_MM * cut))
    note = f"middle of its uppermost {CAP_MM:.0f} mm; it stands {prominence:.0f} mm over the neck"
    return _of_whole_bone(solid, Landmark(name, point, error, sure, note), radius_mm)


def _of_whole_bone(solid: Solid, found: Landmark, radius_mm: float) -> Landmark:
    """Trust a summit less that has less bone about it than that of a whole trochanter.

    What is left beside a hole is a summit as well. Phantoms' and real trochanters fill 0.17 and
    more (greater) and 0.15 and more (lesser) of the ball, those with a hole 0.14 and less.
    """
    assert found.point_mm is not None
    assert found.uncertainty_mm is not None
    ball = BALL * radius_mm
    near = np.linalg.norm(solid.points_mm - found.point_mm, axis=1) < ball
    share = np.count_nonzero(near) * solid.grid.voxel_mm3 / (4 / 3 * np.pi * ball**3)
    none, full = FULL[found.name]
    whole = float(np.clip((share - none) / (full - none), 0.0, 1.0))
    if whole == 1.0:
        return found
    return replace(
        found,
        confidence=found.confidence * whole,
        uncertainty_mm=float(np.hypot(found.uncertainty_mm, LOST_MM * (1.0 - whole))),
        note=f"{found.note}; little bone about it: part of it seems destroyed or left out",
    )


def _summit(
    lateral: Float, height: Float, offset_mm: float, flare_mm: float
) -> tuple[float, float, float] | None:
    """Most lateral summit of the skyline: its saddle to the neck, place and prominence."""
    level = np.floor(lateral + offset_mm).astype(int)  # 0 at the head's centre
    use = (level >= 0) & (height > flare_mm)
    if not use.any():
        return None
    skyline = np.full(int(level[use].max()) + 3, -np.inf)
    np.maximum.at(skyline, level[use] + 1, height[use])
    floor = float(skyline[np.isfinite(skyline)].min()) - 10.0
    skyline = np.where(np.isfinite(skyline), skyline, floor)
    peaks, _ = find_peaks(skyline, prominence=STANDS_OUT_MM)
    past = peaks > 0.5 * offset_mm
    if not past.any():
        return None
    n = int(np.flatnonzero(past)[-1])
    peak = int(peaks[n])
    saddle = int(skyline[1 : peak + 1].argmin()) + 1
    place = np.array([saddle, peak]) - 0.5 - offset_mm
    return float(place[0]), float(place[1]), float(skyline[peak] - skyline[saddle])


def lesser_trochanter(
    solid: Solid,
    medial: Float,
    radius_mm: float,
    origin_mm: Float,
    axis: Float,
    flare_mm: float,
    axis_error: float,
) -> tuple[Landmark, float]:
    """Find the lesser trochanter and on which side of the medial direction it lies.

    Parameters
    ----------
    solid : Solid
    medial : ndarray, (3,)
        Unit vector from the shaft axis towards the head, square to the axis.
    radius_mm, origin_mm, axis, flare_mm, axis_error
        See `greater_trochanter`.

    Returns
    -------
    Landmark
    float
        Degrees from medial towards ``axis x medial``: positive for a right femur.
    """
    name = "lesser_trochanter"
    turn = np.arange(-180.0, 180.0, STEP_DEG)
    height = flare_mm + np.arange(*LESSER_BAND_MM, STEP_MM)
    radius = _reach(solid, medial, origin_mm, axis, turn, height)
    place = _bump(radius, turn)
    if place is None:
        why = "no bump on the inner and rear side below the neck: not in view, flat, or destroyed"
        return Landmark.missing(name, why), 0.0
    row, column, prominence = place
    deg, up, out = _vertex(radius, turn, height, row, column)
    across = np.cross(axis, medial)
    angle = np.radians(deg)
    point = origin_mm + up * axis + out * (np.cos(angle) * medial + np.sin(angle) * across)
    sure = min(prominence / CLEAR_MM, 1.0) * float(np.exp(-axis_error / 0.1))
    usual = min(2.0 * _usual(up - flare_mm - LESSER_BAND_MM[0]), 1.0)
    sure *= usual
    lever = float(np.hypot(out, np.ptp(LESSER_BAND_MM) / 2))
    error = float(np.sqrt(3 * solid.error_mm**2 + (lever * axis_error) ** 2)) + 0.3
    error = float(np.hypot(error, LOST_MM * (1.0 - usual)))
    note = f"furthest from the shaft axis; it stands out by {prominence:.1f} mm"
    return _of_whole_bone(solid, Landmark(name, point, error, sure, note), radius_mm), deg


def _usual(over_foot_mm: float) -> float:
    """How usual a height over the foot of the band is for a lesser trochanter, 0 to 1."""
    return float(np.exp(-(((over_foot_mm - USUAL_MM) / USUAL_SPREAD_MM) ** 2) / 2))


def _reach(
    solid: Solid, medial: Float, origin: Float, axis: Float, turn: Float, height: Float
) -> Float:
    """Distance of the surface from the shaft axis, (heights, turns); NaN where it was not met."""
    across = np.cross(axis, medial)
    angle = np.radians(turn)
    ray = np.cos(angle)[:, None] * medial + np.sin(angle)[:, None] * across
    step = np.arange(0.0, REACH_MM, 0.5)
    start = origin + height[:, None] * axis
    value = solid.at(start[:, None, None] + ray[:, None] * step[:, None])
    outside = value < 0.5
    first = np.where(outside.any(axis=-1), outside.argmax(axis=-1), 0)
    before = np.maximum(first - 1, 0)
    here, there = (np.take_along_axis(value, n[..., None], -1)[..., 0] for n in (before, first))
    share = (here - 0.5) / np.maximum(here - there, 1e-6)
    met = (first > 0) & ~at_border(start[:, None] + ray * step[first][..., None], solid.field)
    return np.asarray(np.where(met, 0.5 * (before + np.clip(share, 0.0, 1.0)), np.nan))


def _bump(radius: Float, turn: Float) -> tuple[int, int, float] | None:
    """Most prominent summit of the unrolled surface on the inner and rear side, either way round.

    Returns row, column and prominence in mm.
    """
    seen = np.isfinite(radius)
    if seen.mean() < 0.3:
        return None
    high = float(np.nanmax(radius)) + 1.0  # what is not seen may be higher: no summit beside it
    filled = np.where(seen, radius, high)
    round_ = np.concatenate([filled, filled, filled], axis=1)
    smooth = ndi.gaussian_filter(round_, 1.0)
    n = len(turn)
    allowed = (np.abs(turn) >= LESSER_DEG[0]) & (np.abs(turn) <= LESSER_DEG[1])
    inner = np.zeros(radius.shape, dtype=bool)
    inner[3:-3, allowed] = True
    inner &= seen
    # a summit's prominence is the largest of `PROMINENT_MM` at which it still is one
    best, found = 0.0, None
    usual = [_usual(row * STEP_MM) for row in range(len(radius))]
    for prominence in PROMINENT_MM:
        peaks = h_maxima(smooth, prominence)[:, n : 2 * n].astype(bool) & inner
        for row, column in np.argwhere(peaks):
            if prominence * usual[row] > best:
                best, found = prominence * usual[row], (int(row), int(column), prominence)
    return found


def _vertex(
    radius: Float, turn: Float, height: Float, row: int, column: int
) -> tuple[float, float, float]:
    """Angle, height and distance of the summit, by a paraboloid through what is near it."""
    rows = np.arange(max(row - 5, 0), min(row + 6, len(height)))
    shift = int(np.round(5.0 / (np.radians(STEP_DEG) * radius[row, column])))
    columns = np.arange(column - shift, column + shift + 1)
    z, r = height[rows][:, None], radius[np.ix_(rows, columns % len(turn))]
    away = np.broadcast_to((columns - column) * STEP_DEG, r.shape)
    x = np.radians(away) * radius[row, column]
    y = np.broadcast_to(z - height[row], r.shape)
    near = np.isfinite(r) & (r > np.nanmax(r) - 2.5)
    x, y, r = x[near], y[near], r[near]
    design = np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    c, *_ = np.linalg.lstsq(design, r, rcond=None)
    bend = np.array([[2 * c[3], c[4]], [c[4], 2 * c[5]]])
    if np.linalg.eigvalsh(bend)[1] < -1e-4:
        dx, dy = np.linalg.solve(bend, -c[1:3])
        if np.hypot(dx, dy) < 5.0:
            top = c[0] + 0.5 * (c[1] * dx + c[2] * dy)
            deg = turn[column] + np.degrees(dx / radius[row, column])
            return float(deg), float(height[row] + dy), float(top)
    return float(turn[column]), float(height[row]), float(radius[row, column])

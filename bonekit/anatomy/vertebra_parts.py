"""Endplates as surfaces, pedicles, canal and spinous process of a vertebra along its own axes.

All coordinates are those of `VertebraAnatomy.local`: left, posterior, superior from the middle of
the body, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.anatomy.landmark import Landmark
from bonekit.anatomy.vertebra_body import LOW_MM, VOXEL_MM, run

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

POINTS = (
    "superior_endplate",
    "inferior_endplate",
    "canal",
    "left_pedicle",
    "right_pedicle",
    "spinous_process",
)
PLATE = 0.85  # of the body's half width and depth: the rim carries osteophytes
RIM = 0.75  # of the half depth, where the anterior and the posterior height are measured
AGREES_MM = 1.0  # of a column's end with its endplate's surface
PATCH_MM2 = 50.0  # of an endplate that err together
PEDICLE_MM = (-2.0, 14.0)  # behind the posterior wall, where the narrowest section is sought
ROOT_MM = 5.0  # behind the posterior wall there is still bone, if there is a pedicle
PEDICLE_MM2 = (15.0, 600.0)
CANAL_MM2 = 60.0
RING_MM = 3.0  # of closed ring, seldom more, make sure of the canal
TIP_MM = 3.0  # of the spinous process, whose middle is its tip
ARCH_MM = 20.0  # behind the posterior wall; less far back there is no spinous process


@dataclass(frozen=True, eq=False)
class Parts:
    """Surfaces of the endplates (superior, inferior) and landmarks, in local coordinates."""

    surfaces: tuple[Float | None, Float | None]
    landmarks: tuple[Landmark, ...]


def parts_of(
    share: Float, local: Float, depth_mm: float, width_mm: float, error_mm: float
) -> Parts:
    """Measure what a vertebra has besides its axes.

    Parameters
    ----------
    share : ndarray, (ni, nj, nk)
        Of bone, in a box along the vertebra's axes about the middle of its body.
    local : ndarray, (ni, nj, nk, 3)
        Coordinates.
    depth_mm, width_mm : float
        Of the body.
    error_mm : float
        Standard deviation of the place of the surface.
    """
    inside = share >= 0.5
    back = depth_mm / 2
    upper, top = _endplate(share, local, depth_mm, width_mm, error_mm, upper=True)
    lower, bottom = _endplate(share, local, depth_mm, width_mm, error_mm, upper=False)
    pedicles = _pedicles(inside, local, back, error_mm)
    landmarks = (
        top,
        bottom,
        _canal(inside, local, back, error_mm),
        *pedicles,
        _spinous(inside, local, back, error_mm),
    )
    return Parts((upper, lower), landmarks)


def heights(upper: Float, lower: Float, depth_mm: float) -> tuple[float, float, float]:
    """Anterior, middle and posterior height between two surfaces (6,), in the middle plane."""
    y = RIM * depth_mm / 2 * np.array([-1.0, 0.0, 1.0])
    difference = upper - lower
    front, middle, rear = difference[0] + difference[2] * y + difference[5] * y * y
    return float(front), float(middle), float(rear)


def _terms(x: Float, y: Float) -> Float:
    return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _endplate(
    share: Float, local: Float, depth: float, width: float, error_mm: float, *, upper: bool
) -> tuple[Float | None, Landmark]:
    """Fit a surface of second order to the ends of the body's columns."""
    name = "superior_endplate" if upper else "inferior_endplate"
    x, y = local[:, :, 0, 0], local[:, :, 0, 1]
    plate = (2 * x / width) ** 2 + (2 * y / depth) ** 2 < PLATE**2
    start = int(np.rint(-LOW_MM[2] / VOXEL_MM))
    columns = share[plate].T
    way = columns[start:] if upper else columns[start::-1]
    z = (1.0 if upper else -1.0) * run(way) * VOXEL_MM
    seen = columns[start] >= 0.5
    x, y, z = x[plate][seen], y[plate][seen], z[seen]
    if len(z) < 30:
        return None, Landmark.missing(name, "the body is hollow in its middle plane")
    surface, miss = _surface(x, y, z)
    agrees = float(np.mean(miss <= AGREES_MM)) * float(np.mean(seen))
    patches = max(len(z) * VOXEL_MM**2 / PATCH_MM2, 4.0)
    spread = float(np.sqrt(np.mean(np.minimum(miss, AGREES_MM) ** 2) + error_mm**2))
    note = f"surface of second order; {agrees:.0%} of its columns end within {AGREES_MM:g} mm of it"
    point = np.array([0.0, 0.0, surface[0]])
    return surface, Landmark(name, point, spread * np.sqrt(6.0 / patches), agrees, note)


def _surface(x: Float, y: Float, z: Float) -> tuple[Float, Float]:
    """Coefficients (6,) of least squares without outliers, and all distances from the surface."""
    terms = _terms(x, y)
    kept = np.ones(len(z), dtype=bool)
    found, miss = np.zeros(6), np.abs(z)
    for _ in range(8):
        found = np.asarray(np.linalg.lstsq(terms[kept], z[kept], rcond=None)[0])
        miss = np.abs(z - terms @ found)
        # 1.48 median deviations are a standard deviation
        kept = miss <= max(AGREES_MM, 3.0 * 1.48 * float(np.median(miss)))
    return found, miss


def _pedicles(
    inside: Mask, local: Float, back: float, error_mm: float
) -> tuple[Landmark, Landmark]:
    """Find the middle of the narrowest frontal section of each pedicle."""
    found = {side: _narrowest(inside, local, back, side) for side in (1.0, -1.0)}
    areas = [part[1] for part in found.values() if part is not None]
    alike = min(areas) / max(areas) if len(areas) == 2 else 0.5
    marks = []
    for side, name in ((1.0, "left_pedicle"), (-1.0, "right_pedicle")):
        part = found[side]
        if part is None:
            why = "no pedicle behind the body: the mask has no arch, or it is destroyed"
            marks.append(Landmark.missing(name, why))
            continue
        point, area = part
        note = f"narrowest frontal section, {area:.0f} mm2, {alike:.0%} alike on both sides"
        marks.append(Landmark(name, point, float(np.hypot(error_mm, 0.4)), alike, note))
    return marks[0], marks[1]


def _narrowest(inside: Mask, local: Float, back: float, side: float) -> tuple[Float, float] | None:
    """Middle and area in mm2 of the smallest section between body and arch on one side."""
    y = local[0, :, 0, 1]
    half = local[:, 0, :, 0] * side > 3.0
    root = (y >= back + ROOT_MM) & (y < back + ROOT_MM + VOXEL_MM)
    if np.count_nonzero(inside[:, root] & half[:, None]) * VOXEL_MM**2 < PEDICLE_MM2[0]:
        return None
    best: tuple[Float, float] | None = None
    for j in np.flatnonzero((y >= back + PEDICLE_MM[0]) & (y <= back + PEDICLE_MM[1])):
        named, n = ndi.label(inside[:, j] & half)
        if n == 0:
            continue
        area = np.bincount(named.ravel())[1:] * VOXEL_MM**2
        part = named == int(area.argmax()) + 1
        size = float(area.max())
        if PEDICLE_MM2[0] <= size <= PEDICLE_MM2[1] and (best is None or size < best[1]):
            best = local[:, j][part].mean(axis=0), size
    return best


def _canal(inside: Mask, local: Float, back: float, error_mm: float) -> Landmark:
    """Find the middle of the canal where the ring of the arch is closed in a cross-section."""
    centres, area = [], 0.0
    for k in range(inside.shape[2]):
        hole = ndi.binary_fill_holes(inside[:, :, k]) & ~inside[:, :, k]
        hole &= local[:, :, k, 1] > back - 3.0
        named, n = ndi.label(hole)
        if n == 0:
            continue
        size = np.bincount(named.ravel())[1:] * VOXEL_MM**2
        if size.max() >= CANAL_MM2:
            centres.append(local[:, :, k][named == int(size.argmax()) + 1].mean(axis=0))
            area = max(area, float(size.max()))
    if not centres:
        return Landmark.missing("canal", "no cross-section shows the arch's ring closed")
    note = f"middle of {len(centres)} mm of closed ring, at most {area:.0f} mm2"
    sure = min(len(centres) / RING_MM, 1.0)
    return Landmark("canal", np.mean(centres, axis=0), float(np.hypot(error_mm, 0.4)), sure, note)


def _spinous(inside: Mask, local: Float, back: float, error_mm: float) -> Landmark:
    """Find the middle of the rearmost bone."""
    name = "spinous_process"
    near = inside & (np.abs(local[..., 0]) < 12.0)
    rear = float(local[near][:, 1].max()) if near.any() else back
    if rear < back + ARCH_MM:
        return Landmark.missing(
            name, "no bone far behind the body: the mask has no spinous process"
        )
    tip = local[near & (local[..., 1] > rear - TIP_MM)].mean(axis=0)
    tip[1] = rear + VOXEL_MM / 2
    note = f"middle of its rearmost {TIP_MM:g} mm"
    return Landmark(name, tip, float(np.hypot(error_mm, 0.7)), 1.0, note)

"""Surfaces with few triangles.

By collapsing edges in the order of quadric errors (Garland and Heckbert, SIGGRAPH 1997), as VTK
does it; how far that goes is found by trying.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.meshing.remeshing import (
    Remeshed,
    compact,
    joined,
    measured,
    on_regions,
    split_small,
    touching,
)
from bonekit.meshing.repair import repair
from bonekit.meshing.surface import Surface
from bonekit.meshing.triangles import distance, faces_per_edge, inflated, poly_data, volume

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]

# parts of the triangles that are tried
PARTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.55, 0.7, 0.85)
SHELL_LIMITS = 20.0  # shells with a smaller box, in distances allowed, keep their triangles
SAMPLE = 20_000  # places at which a trial is measured first


def decimate(surface: Surface, limit_mm: float) -> tuple[Surface, Remeshed]:
    """Make a closed surface of as few triangles as a distance from it allows; its volume stays.

    Triangles may become long and narrow: `Remeshed.least_angle_deg`. Where there can be no fewer,
    the surface comes back as it is and `Remeshed.note` says why.

    Parameters
    ----------
    surface : Surface
        Sound: see `bonekit.meshing.repair.check_surface`.
    limit_mm : float
        How far old and new surface may be apart.

    Returns
    -------
    Surface, Remeshed

    Raises
    ------
    InputError
        If the distance is not positive.
    """
    if not (np.isfinite(limit_mm) and limit_mm > 0):
        raise InputError(f"limit_mm must be a positive number of mm, got {limit_mm}")
    big, small = split_small(surface, SHELL_LIMITS * limit_mm)
    old = compact(surface.points_mm, big)
    note = f"every shell is smaller than {SHELL_LIMITS * limit_mm:g} mm"
    for part in _few_first(old, limit_mm) if len(big) else ():
        found, note = _tried(old, part, limit_mm, surface)
        if found is None:
            continue
        every = joined(found, compact(surface.points_mm, small)) if len(small) else found
        if len(touching(*every)):
            note = f"with {part:.0%} of the triangles the surface crosses or touches itself"
            continue
        made = on_regions(surface, *every)
        return made, measured(surface, made, limit_mm, n_kept=len(small))
    logger.info("no fewer than %d triangles: %s", len(surface.triangles), note)
    return surface, replace(
        measured(surface, surface, limit_mm, n_kept=len(surface.triangles)), note=note
    )


def _few_first(old: tuple[Float, Int], limit_mm: float) -> tuple[float, ...]:
    """Parts of the triangles to try, from the first that stays within the limit at a sample."""
    low, high = 0, len(PARTS) - 1
    while low < high:
        middle = (low + high) // 2
        off = _off(_collapsed(old, PARTS[middle]), old, SAMPLE)
        low, high = (low, middle) if off <= limit_mm else (middle + 1, high)
    return PARTS[low:]


def _tried(
    old: tuple[Float, Int], part: float, limit_mm: float, surface: Surface
) -> tuple[tuple[Float, Int] | None, str]:
    """Collapse to a part of the triangles, mend, and keep the volume; or say what is wrong."""
    points, triangles = _collapsed(old, part)
    if (faces_per_edge(triangles)[2] != 2).any():
        try:
            ones = np.ones(len(triangles), dtype=surface.region.dtype)
            mended, _ = repair(Surface(points, triangles, ones))
        except InputError as error:
            return None, f"with {part:.0%} of the triangles: {error}"
        points, triangles = mended.points_mm, mended.triangles
    points = inflated(points, triangles, volume(*old))
    off = _off((points, triangles), old)
    if off > limit_mm:
        return None, f"with {part:.0%} of the triangles the surface is up to {off:.2f} mm off"
    return (points, triangles), ""


def _collapsed(old: tuple[Float, Int], part: float) -> tuple[Float, Int]:
    made = poly_data(*old).decimate(1 - part)
    faces = np.asarray(made.regular_faces, dtype=np.int64).reshape(-1, 3)
    return compact(np.asarray(made.points, dtype=np.float64), faces)


def _off(new: tuple[Float, Int], old: tuple[Float, Int], most: int | None = None) -> float:
    """Largest distance of two surfaces, both ways, at nodes and centres of triangles."""
    if not len(new[1]):
        return np.inf
    largest = 0.0
    for (points, triangles), other in ((new, old), (old, new)):
        places = np.concatenate([points, points[triangles].mean(axis=1)])
        step = 1 if most is None else max(len(places) // most, 1)
        largest = max(largest, float(distance(places[::step], *other).max()))
    return largest

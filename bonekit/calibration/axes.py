"""Axes of calibration rods: the rows of discs of all slabs, joined by straight lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.discs import CORE, SIDES, Discs, Row, Side, best_row, find_discs
from bonekit.calibration.slabs import Slabs, border_mm, every_third, polar

DIAMETERS_MM = (8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0)  # tried if none is given
MOST_TILT = 0.4  # off-axis per axial length: 22 degrees

Float = NDArray[np.float64]
Pattern = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Lines:
    """Axes of the rods of a row: place in mm = start + slope * slice index.

    Parameters
    ----------
    start, slope : ndarray, (n, 2)
    diameter_mm : float
    side : Side
        Of the body, where they lie.
    pattern : tuple of int, (n,)
        Places in the row that they take, from 0; where one is left out there is a gap.
    quality : float
    """

    start: Float
    slope: Float
    diameter_mm: float
    side: Side
    pattern: Pattern
    quality: float

    def at(self, k: float) -> Float:
        """Places in a slice, (n, 2)."""
        return self.start + self.slope * k


@dataclass(frozen=True, eq=False)
class Sighting:
    """Discs of one diameter in every slab."""

    slabs: Slabs
    diameter_mm: float
    discs: tuple[Discs, ...]


def sight(slabs: Slabs, diameter_mm: float) -> Sighting:
    """Find the discs of a diameter."""
    discs = tuple(find_discs(plane, slabs.spacing_mm, diameter_mm / 2) for plane in slabs.planes)
    return Sighting(slabs, diameter_mm, discs)


def fits(slabs: Slabs, diameter_mm: float) -> bool:
    """Whether the core of a rod is at least three voxels wide."""
    return CORE * diameter_mm >= 3 * max(slabs.spacing_mm)


def sightings(slabs: Slabs, diameter_mm: float | None) -> tuple[Sighting, ...]:
    """Discs of a diameter, or in some of the slabs of every diameter that can be measured."""
    if diameter_mm is not None:
        return (sight(slabs, diameter_mm),)
    few = every_third(slabs)
    return tuple(sight(few, d) for d in DIAMETERS_MM if fits(slabs, d))


def lines_through(
    slabs: Slabs, seen: Sequence[Sighting], pattern: Pattern, least: float = 0.0
) -> Lines | None:
    """Axes of the best row of a pattern, in all slabs; None where none has the least quality."""
    found = [lines for s in seen for side in SIDES for lines in _lines(s, side, pattern)]
    found = [lines for lines in found if lines.quality >= least]
    if not found:
        return None
    best = max(found, key=lambda lines: lines.quality)
    if len(seen) == 1:
        return _centred(slabs, best)
    again = _lines(sight(slabs, best.diameter_mm), best.side, pattern)
    if not again or again[0].quality < least:
        return None
    lines = _centred(slabs, again[0])
    return _centred(slabs, replace(lines, diameter_mm=_measured_mm(slabs, lines)))


def rows(seen: Sighting, side: Side, pattern: Pattern) -> list[tuple[float, Row]]:
    """Best row of each slab, with its slice index; slabs without a row are left out."""
    found = []
    for k, discs in zip(seen.slabs.slices, seen.discs, strict=True):
        row = best_row(discs, pattern, seen.diameter_mm, seen.slabs.middle_mm, side)
        if row is not None:
            found.append((k, row))
    return found


def _lines(seen: Sighting, side: Side, pattern: Pattern) -> list[Lines]:
    """Join the rows of the slabs: the axes of the rods, or nothing."""
    every, found = len(seen.slabs.slices), rows(seen, side, pattern)
    if 2 * len(found) < every:
        return []
    k = np.array([place for place, _ in found])
    centres = np.array([row.centre_mm for _, row in found])
    start, slope, kept = _straight(k, centres, seen.diameter_mm / 2)
    steep = np.abs(slope).max() / float(seen.slabs.grid.spacing_mm[2]) > MOST_TILT
    if 2 * kept.sum() < every or steep:
        return []
    scores = np.array([row.score for _, row in found])[kept]
    quality = float(np.median(scores.min(axis=1))) * kept.sum() / every
    return [Lines(start, slope, seen.diameter_mm, side, pattern, quality)]


def _straight(k: Float, centres: Float, near_mm: float) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Robust lines through (slabs, rods, 2): start, slope and which slabs lie on all of them."""
    pairs = [(a, b) for a in range(len(k)) for b in range(a + 1, len(k))]
    slopes = [(centres[b] - centres[a]) / (k[b] - k[a]) for a, b in pairs]
    slope = np.median(slopes, axis=0) if slopes else np.zeros(centres.shape[1:])
    start = np.median(centres - slope * k[:, None, None], axis=0)
    off = np.linalg.norm(centres - start - slope * k[:, None, None], axis=2).max(axis=1)
    kept = off < near_mm
    if kept.sum() >= 2:
        matrix = np.column_stack([np.ones(kept.sum()), k[kept]])
        flat = centres[kept].reshape(int(kept.sum()), -1)
        fitted = np.linalg.lstsq(matrix, flat, rcond=None)[0]
        start, slope = (part.reshape(start.shape) for part in fitted)
    return start, slope, kept


def _centred(slabs: Slabs, lines: Lines) -> Lines:
    """Move the axes to the centroid of what differs from the surroundings, twice.

    Edges near a rod, such as the table's, pull the place of the best edge towards them.
    """
    k = np.array(slabs.slices)
    for _ in range(2):
        centres = np.array(
            [
                [_centroid(plane, slabs.spacing_mm, p, lines.diameter_mm / 2) for p in lines.at(m)]
                for m, plane in zip(slabs.slices, slabs.planes, strict=True)
            ]
        )
        start, slope, kept = _straight(k, centres, lines.diameter_mm / 2)
        if 2 * kept.sum() >= len(k):
            lines = replace(lines, start=start, slope=slope)
    return lines


def _centroid(plane: Float, spacing_mm: tuple[float, float], place: Float, radius: float) -> Float:
    """Centroid of a disc's share of each pixel, seen within 1.2 radii of a place."""
    x, y, off = polar(plane, spacing_mm, place)
    ring = (off > 1.1 * radius) & (off < 1.3 * radius)
    inside = float(np.median(plane[off <= CORE * radius])) if off.min() < CORE * radius else np.nan
    around = float(np.median(plane[ring])) if ring.any() else np.nan
    if not abs(inside - around) > 0:  # also where the place is outside
        return place
    share = np.clip((plane - around) / (inside - around), 0, 1) * (off < 1.2 * radius)
    shift = np.array([(share * x).sum(), (share * y).sum()]) / share.sum()
    return np.asarray(place + shift)


def _measured_mm(slabs: Slabs, lines: Lines) -> float:
    """Diameter at which the mean profile over all rods falls to half their contrast."""
    radius = lines.diameter_mm / 2
    bins = np.arange(0.5 * radius, 1.6 * radius, 0.5)
    total, weight = np.zeros(len(bins) - 1), np.zeros(len(bins) - 1)
    for k, plane in zip(slabs.slices, slabs.planes, strict=True):
        for place in lines.at(k):
            _, _, off = polar(plane, slabs.spacing_mm, place)
            if border_mm(slabs.grid, place) < 0:
                continue
            inside = np.median(plane[off < 0.5 * radius])
            around = np.median(plane[(off > 1.3 * radius) & (off < 1.5 * radius)])
            # the sum of contrast^2 * share, with share = (value - around) / contrast
            near = (plane - around) * (inside - around)
            total += np.histogram(off, bins, weights=near)[0]
            weight += np.histogram(off, bins)[0] * (inside - around) ** 2
    share = total / np.maximum(weight, 1e-9)
    below = np.flatnonzero((share < 0.5) & (weight > 0))
    if below.size == 0 or below[0] == 0:
        return lines.diameter_mm
    n = int(below[0])
    part = (share[n - 1] - 0.5) / (share[n - 1] - share[n])
    return float(2 * (bins[n - 1] + 0.25 + 0.5 * part))


def completed(lines: Lines, count: int, first: int, middle: float) -> Lines:
    """Axes of all rods of a row, with those between and beyond the ones found.

    The pitch is even and the tilt one; a row of four or more may lie on an arc.

    Parameters
    ----------
    lines : Lines
    count : int
        Rods of the row.
    first : int
        Place in the row of the first rod that was found.
    middle : float
        Slice index of the middle of the scan.
    """
    place = np.array(lines.pattern) + first
    degree = 2 if len(place) >= 4 else 1
    fitted = np.polyfit(place, lines.at(middle), degree)
    at = np.array([np.polyval(column, np.arange(count)) for column in fitted.T]).T
    slope = np.tile(lines.slope.mean(axis=0), (count, 1))
    at[place], slope[place] = lines.at(middle), lines.slope
    whole = tuple(range(count))
    return replace(lines, start=at - slope * middle, slope=slope, pattern=whole)

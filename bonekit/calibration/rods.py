"""Calibration rods under the patient, found in the scan.

A rod is a nearly axial cylinder of one HU. Slabs of a few slices are averaged; in each the best
row of uniform discs is sought (`discs`); the rows of all slabs are joined by a straight line for
every rod. HU are then read from the core, where partial volume does not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.discs import CORE, Row, best_row, find_discs
from bonekit.errors import InputError
from bonekit.image.volume import Grid, Image

SLAB_MM = 8.0
MOST_SLABS = 12
DIAMETERS_MM = (8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0)  # tried if none is given
HIGHEST_HU = 3071  # of a 12-bit scanner: what is there may be more
AIR_HU = -700
INSIDE = 0.85  # of the radius: no air shows there, unless the rod is cut
WHOLE = 0.6  # least score of a disc in a row of more discs than asked for
MOST_TILT = 0.4  # off-axis per axial length: 22 degrees
SECTORS = 12

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Rod:
    """One rod.

    Parameters
    ----------
    centre_mm, axis : tuple of float, (3,)
        World point in the middle of the scan, and unit vector towards the head.
    diameter_mm : float
        As given, or measured at half contrast.
    mean_HU : float
        Of the core without outliers.
    std_HU : float
        Of its voxels.
    sem_HU : float
        Standard error of the mean, from the scatter between slices: voxels of a slice share noise.
    n_voxels : int
    """

    centre_mm: tuple[float, float, float]
    axis: tuple[float, float, float]
    diameter_mm: float
    mean_HU: float
    std_HU: float
    sem_HU: float
    n_voxels: int


@dataclass(frozen=True, eq=False)
class _Slabs:
    """Averages of some slices each, of an image whose axes run to left, back and head."""

    planes: tuple[Float, ...]
    slices: tuple[float, ...]  # their middles, as slice indices
    grid: Grid
    middle_mm: float  # of the body along the second axis; rods lie behind it

    @property
    def spacing_mm(self) -> tuple[float, float]:
        return float(self.grid.spacing_mm[0]), float(self.grid.spacing_mm[1])


@dataclass(frozen=True, eq=False)
class _Lines:
    """Axes of the rods: in-plane place in mm = start + slope * slice index, (n, 2) each."""

    start: Float
    slope: Float
    diameter_mm: float

    def at(self, k: float) -> Float:
        return self.start + self.slope * k


def find_rods(ct: Image, count: int, diameter_mm: float | None = None) -> tuple[Rod, ...]:
    """Find the calibration rods behind the patient.

    Parameters
    ----------
    ct : Image
        In HU.
    count : int
        How many rods the phantom has; 2 or more.
    diameter_mm : float, optional
        Of the rods, 5 to 50; by default measured, from 8 to 28.

    Returns
    -------
    tuple of Rod
        From the patient's right to left.

    Raises
    ------
    InputError
        If fewer or more rods are there; if a rod is cut by the field of view, is saturated, or
        touches or overlaps the body or the table; if the voxels are too large for the rods.
    """
    if count < 2:
        raise InputError(f"{count} calibration rods asked for; a line needs at least 2")
    image = ct.canonical()
    slabs = _slabs(image)
    if diameter_mm is not None:
        _check_resolution(slabs, diameter_mm)
    tried = [diameter_mm] if diameter_mm is not None else _likely(slabs, count)
    found = [(lines, quality) for d in tried for lines, quality in _lines(slabs, count, d)]
    if not found:
        raise _too_few(slabs, count, tried)
    lines = _refined(slabs, max(found, key=lambda pair: pair[1])[0])
    if diameter_mm is None:
        lines = _refined(slabs, replace(lines, diameter_mm=_measured_mm(slabs, lines)))
    _check_no_more(slabs, count, lines)
    _check_inside(image, lines)
    rods = tuple(_measure(image, lines, n) for n in range(count))
    for n in range(count):
        _check_surroundings(slabs, lines, n)
    return rods


def _slabs(image: Image) -> _Slabs:
    """Average up to `MOST_SLABS` groups of slices spread over the scan."""
    slices, step = image.shape[2], float(image.spacing_mm[2])
    thick = max(1, min(slices, round(SLAB_MM / step)))
    starts = np.unique(np.linspace(0, slices - thick, MOST_SLABS).astype(int))
    starts = starts[np.r_[True, np.diff(starts) > 0]]
    planes = tuple(
        np.clip(image.array[:, :, k : k + thick], -1000, HIGHEST_HU).mean(axis=2, dtype=np.float64)
        for k in starts
    )
    rows = np.nonzero(np.mean(planes, axis=0) > -300)[1]
    middle = float(np.median(rows)) if rows.size else 0.0
    places = tuple(float(k + (thick - 1) / 2) for k in starts)
    return _Slabs(planes, places, image.grid, middle * float(image.spacing_mm[1]))


def _fits(slabs: _Slabs, diameter_mm: float) -> bool:
    """Whether the core of a rod is at least three voxels wide."""
    return CORE * diameter_mm >= 3 * max(slabs.spacing_mm)


def _check_resolution(slabs: _Slabs, diameter_mm: float) -> None:
    if not _fits(slabs, diameter_mm):
        raise InputError(
            f"rods of {diameter_mm:g} mm can't be measured with voxels of "
            f"{max(slabs.spacing_mm):.2f} mm: allowed are voxels of at most "
            f"{CORE * diameter_mm / 3:.2f} mm in plane"
        )


def _likely(slabs: _Slabs, count: int) -> list[float]:
    """Diameter that fits best in a few of the slabs; all that can be measured if none does."""
    few = replace(slabs, planes=slabs.planes[::3], slices=slabs.slices[::3])
    possible = [d for d in DIAMETERS_MM if _fits(slabs, d)]
    ranked = [(quality, d) for d in possible for _, quality in _lines(few, count, d)]
    return [max(ranked)[1]] if ranked else possible


def _rows(slabs: _Slabs, count: int, diameter_mm: float) -> list[tuple[float, Row]]:
    """Best row of each slab, with its slice index; slabs without a row are left out."""
    found = []
    for k, plane in zip(slabs.slices, slabs.planes, strict=True):
        discs = find_discs(plane, slabs.spacing_mm, diameter_mm / 2)
        row = best_row(discs, count, diameter_mm, slabs.middle_mm)
        if row is not None:
            found.append((k, row))
    return found


def _lines(slabs: _Slabs, count: int, diameter_mm: float) -> list[tuple[_Lines, float]]:
    """Join the rows of the slabs: the axes of the rods and their quality, or nothing."""
    rows = _rows(slabs, count, diameter_mm)
    if 2 * len(rows) < len(slabs.slices):
        return []
    k = np.array([place for place, _ in rows])
    centres = np.array([row.centre_mm for _, row in rows])
    start, slope, kept = _straight(k, centres, diameter_mm / 2)
    steep = np.abs(slope).max() / float(slabs.grid.spacing_mm[2]) > MOST_TILT
    if 2 * kept.sum() < len(slabs.slices) or steep:
        return []
    scores = np.array([row.score for _, row in rows])[kept]
    quality = float(np.median(scores.min(axis=1))) * kept.sum() / len(slabs.slices)
    return [(_Lines(start, slope, diameter_mm), quality)]


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


def _refined(slabs: _Slabs, lines: _Lines) -> _Lines:
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
            lines = _Lines(start, slope, lines.diameter_mm)
    return lines


def _measured_mm(slabs: _Slabs, lines: _Lines) -> float:
    """Diameter at which the mean profile over all rods falls to half their contrast."""
    radius = lines.diameter_mm / 2
    bins = np.arange(0.5 * radius, 1.6 * radius, 0.5)
    total, weight = np.zeros(len(bins) - 1), np.zeros(len(bins) - 1)
    for k, plane in zip(slabs.slices, slabs.planes, strict=True):
        for place in lines.at(k):
            _, _, off = _polar(plane, slabs.spacing_mm, place)
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


def _centroid(plane: Float, spacing_mm: tuple[float, float], place: Float, radius: float) -> Float:
    """Centroid of a disc's share of each pixel, seen within 1.2 radii of a place."""
    x, y, off = _polar(plane, spacing_mm, place)
    ring = (off > 1.1 * radius) & (off < 1.3 * radius)
    inside = float(np.median(plane[off <= CORE * radius])) if off.min() < CORE * radius else np.nan
    around = float(np.median(plane[ring])) if ring.any() else np.nan
    if not abs(inside - around) > 0:  # also where the place is outside
        return place
    share = np.clip((plane - around) / (inside - around), 0, 1) * (off < 1.2 * radius)
    shift = np.array([(share * x).sum(), (share * y).sum()]) / share.sum()
    return np.asarray(place + shift)


def _polar(
    plane: Float, spacing_mm: tuple[float, float], place: Float
) -> tuple[Float, Float, Float]:
    """Offsets in mm of the pixels from a place, and their length."""
    x = (np.arange(plane.shape[0]) * spacing_mm[0] - place[0])[:, None]
    y = (np.arange(plane.shape[1]) * spacing_mm[1] - place[1])[None, :]
    return x, y, np.hypot(x, y)


def _too_few(slabs: _Slabs, count: int, diameters: Sequence[float]) -> InputError:
    """Say how many rods there are, and whether the next is beyond the field of view."""
    for fewer in range(count - 1, 1, -1):
        found = [pair for d in diameters for pair in _lines(slabs, fewer, d)]
        if not found:
            continue
        lines = max(found, key=lambda pair: pair[1])[0]
        text = f"found {fewer} of {count} calibration rods behind the patient"
        middle = lines.at(slabs.slices[len(slabs.slices) // 2])
        for end, inner, side in ((0, 1, "right"), (-1, -2, "left")):
            beyond = 2 * middle[end] - middle[inner]
            if _border_mm(slabs.grid, beyond) < lines.diameter_mm / 2:
                text += f"; one more at the patient's {side} would be cut by the field of view"
        return InputError(
            f"{text}. Check the number of densities and that all rods are in the scan, or give "
            f"the densities of the {fewer} that are"
        )
    return InputError(
        f"found no row of {count} calibration rods behind the patient. Needed: uniform, nearly "
        "axial cylinders side by side in at least half of the slices; without a phantom give a "
        "line in the case file"
    )


def _border_mm(grid: Grid, point_mm: Float) -> float:
    """Distance of an in-plane point to the outer border of the slices; negative outside."""
    last = np.array(grid.shape[:2]) - 0.5
    index = point_mm / grid.spacing_mm[:2]
    return float((np.minimum(index + 0.5, last - index) * grid.spacing_mm[:2]).min())


def _check_no_more(slabs: _Slabs, count: int, lines: _Lines) -> None:
    """Refuse a phantom that has more rods than the table lists."""
    rows = _rows(slabs, count + 1, lines.diameter_mm)
    whole = [row for _, row in rows if row.score.min() > WHOLE]
    if 2 * len(whole) > len(slabs.slices):
        raise InputError(
            f"found {count + 1} or more calibration rods where {count} densities are given: "
            "another phantom? Give the density of every rod"
        )


def _check_inside(image: Image, lines: _Lines) -> None:
    """Refuse rods that reach out of the image or of the scanner's round field of view."""
    radius = lines.diameter_mm / 2
    for n in range(len(lines.start)):
        for k in range(image.shape[2]):
            place = lines.at(k)[n]
            cut = _border_mm(image.grid, place) < radius
            if not cut:
                values, off = _near(image, place, k, INSIDE * radius)
                cut = bool((values[off <= INSIDE * radius] < AIR_HU).any())
            if cut:
                raise InputError(
                    f"rod {n + 1} from the patient's right is cut by the field of view in slice "
                    f"{k}: reconstruct the scan with a larger one, or crop those slices"
                )


def _near(image: Image, place_mm: Float, k: int, reach_mm: float) -> tuple[Float, Float]:
    """Values of a slice around a point, and their distances in mm from it."""
    step = image.spacing_mm[:2]
    low = np.maximum(np.floor((place_mm - reach_mm) / step), 0).astype(int)
    high = np.minimum(np.ceil((place_mm + reach_mm) / step) + 1, image.shape[:2]).astype(int)
    part = image.array[low[0] : high[0], low[1] : high[1], k].astype(np.float64)
    x = np.arange(low[0], high[0])[:, None] * step[0] - place_mm[0]
    y = np.arange(low[1], high[1])[None, :] * step[1] - place_mm[1]
    return part, np.hypot(x, y)


def _measure(image: Image, lines: _Lines, n: int) -> Rod:
    """Read the HU of a rod from its core."""
    core = CORE * lines.diameter_mm / 2
    slices = []
    for k in range(image.shape[2]):
        values, off = _near(image, lines.at(k)[n], k, core)
        slices.append(values[off <= core])
    saturated = int(sum((values >= HIGHEST_HU).sum() for values in slices))
    if saturated:
        raise InputError(
            f"rod {n + 1} from the patient's right is saturated: {saturated} voxels of its core "
            f"show {HIGHEST_HU} HU or more. Read the scan with its extended HU scale"
        )
    slices = _typical(slices)
    means = np.array([values.mean() for values in slices])
    voxels = np.concatenate(slices)
    middle = (image.shape[2] - 1) / 2
    ends = [
        image.grid.world([*(lines.at(k)[n] / image.spacing_mm[:2]), k])
        for k in (middle, middle + 1)
    ]
    axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    sem = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else voxels.std()
    return Rod(
        centre_mm=(float(ends[0][0]), float(ends[0][1]), float(ends[0][2])),
        axis=(float(axis[0]), float(axis[1]), float(axis[2])),
        diameter_mm=lines.diameter_mm,
        mean_HU=float(voxels.mean()),
        std_HU=float(voxels.std()),
        sem_HU=float(sem),
        n_voxels=int(voxels.size),
    )


def _typical(slices: list[Float]) -> list[Float]:
    """Leave out slices the rod does not reach and voxels that don't belong to it."""
    medians = np.array([np.median(values) for values in slices])
    middle = np.median(medians)
    spread = 1.4826 * np.median(np.abs(medians - middle))
    kept = [v for v, m in zip(slices, medians, strict=True) if abs(m - middle) <= 4 * spread + 3]
    voxels = np.concatenate(kept)
    centre = np.median(voxels)
    reach = 4 * 1.4826 * np.median(np.abs(voxels - centre)) + 3
    return [values[np.abs(values - centre) <= reach] for values in kept]


def _check_surroundings(slabs: _Slabs, lines: _Lines, n: int) -> None:
    """Refuse a rod that has no edge of its own towards a third of its surroundings."""
    radius = lines.diameter_mm / 2
    open_ = np.zeros((len(slabs.slices), SECTORS), dtype=bool)
    for row, (k, plane) in enumerate(zip(slabs.slices, slabs.planes, strict=True)):
        x, y, off = _polar(plane, slabs.spacing_mm, lines.at(k)[n])
        angle = np.arctan2(y, x)
        inside = float(np.median(plane[off <= CORE * radius]))
        ring = (off > 1.05 * radius + 0.5 * max(slabs.spacing_mm)) & (off < 1.35 * radius)
        sector = ((angle[ring] / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
        contrast = _sector_means(plane[ring] - inside, sector)
        sign = np.sign(np.median(contrast))
        open_[row] = contrast * sign < 0.25 * np.abs(np.median(contrast))
    if 3 * np.median(open_.sum(axis=1)) >= SECTORS:
        raise InputError(
            f"rod {n + 1} from the patient's right touches or overlaps the body or the table: a "
            "third of its surroundings can't be told from it. Its HU can't be trusted"
        )


def _sector_means(values: Float, sector: NDArray[np.int64]) -> Float:
    """Mean of the values in each sector; 0 where a sector has none."""
    count = np.bincount(sector, minlength=SECTORS)
    total = np.bincount(sector, values, minlength=SECTORS)
    return np.asarray(total / np.maximum(count, 1))

"""A scan as averages of a few slices each, and places in a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.image.volume import Grid, Image

SLAB_MM = 8.0
MOST_SLABS = 12
HIGHEST_HU = 3071  # of a 12-bit scanner: what is there may be more
BODY_HU = -300

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slabs:
    """Averages of some slices each, of an image whose axes run to left, back and head.

    Parameters
    ----------
    planes : tuple of ndarray, (ni, nj)
        HU.
    slices : tuple of float
        Their middles, as slice indices.
    grid : Grid
    middle_mm : tuple of float, (2,)
        Of what is not air, along both axes of a slice.
    """

    planes: tuple[Float, ...]
    slices: tuple[float, ...]
    grid: Grid
    middle_mm: tuple[float, float]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """In plane."""
        return float(self.grid.spacing_mm[0]), float(self.grid.spacing_mm[1])


def slabs_of(image: Image) -> Slabs:
    """Average up to `MOST_SLABS` groups of slices spread over a canonical image."""
    slices, step = image.shape[2], float(image.spacing_mm[2])
    thick = max(1, min(slices, round(SLAB_MM / step)))
    starts = np.unique(np.linspace(0, slices - thick, MOST_SLABS).astype(int))
    planes = tuple(
        np.clip(image.array[:, :, k : k + thick], -1000, HIGHEST_HU).mean(axis=2, dtype=np.float64)
        for k in starts
    )
    where = np.nonzero(np.mean(planes, axis=0) > BODY_HU)
    middle = [
        float(np.median(w)) * image.spacing_mm[a] if w.size else 0.0 for a, w in enumerate(where)
    ]
    places = tuple(float(k + (thick - 1) / 2) for k in starts)
    return Slabs(planes, places, image.grid, (float(middle[0]), float(middle[1])))


def every_third(slabs: Slabs) -> Slabs:
    """Return some of the slabs, for a first look."""
    return Slabs(slabs.planes[::3], slabs.slices[::3], slabs.grid, slabs.middle_mm)


def polar(plane: Float, spacing_mm: tuple[float, float], place: Float) -> tuple[Float, ...]:
    """Offsets in mm of the pixels from a place along both axes, and their length."""
    x = (np.arange(plane.shape[0]) * spacing_mm[0] - place[0])[:, None]
    y = (np.arange(plane.shape[1]) * spacing_mm[1] - place[1])[None, :]
    return x, y, np.hypot(x, y)


def near(image: Image, place_mm: Float, k: int, reach_mm: float) -> tuple[Float, Float]:
    """Values of a slice around a place, and their distances in mm from it."""
    step = image.spacing_mm[:2]
    low = np.maximum(np.floor((place_mm - reach_mm) / step), 0).astype(int)
    high = np.minimum(np.ceil((place_mm + reach_mm) / step) + 1, image.shape[:2]).astype(int)
    high = np.maximum(high, low)
    part = image.array[low[0] : high[0], low[1] : high[1], k].astype(np.float64)
    x = np.arange(low[0], high[0])[:, None] * step[0] - place_mm[0]
    y = np.arange(low[1], high[1])[None, :] * step[1] - place_mm[1]
    return part, np.hypot(x, y)


def border_mm(grid: Grid, place_mm: Float) -> float:
    """Distance of a place to the outer border of the slices; negative outside."""
    last = np.array(grid.shape[:2]) - 0.5
    index = place_mm / grid.spacing_mm[:2]
    return float((np.minimum(index + 0.5, last - index) * grid.spacing_mm[:2]).min())

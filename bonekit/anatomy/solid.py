"""A segmented bone as a smooth field on cubic voxels: what landmarks are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.measure import marching_cubes

from bonekit.image.volume import Grid, Image

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

CUBE_MM = 1.0
CUBES_MM = (1.0, 1.5)  # taken as they are: whole layers of them make a slice of 3 mm
SMOOTH = 0.7  # voxels, standard deviation: takes the voxels' steps off, and 0.1 mm of a trochanter


@dataclass(frozen=True, eq=False)
class Solid:
    """A bone, filled, on cubic voxels.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
    grid : Grid
        Cubic voxels.
    field : Grid
        Field of view of the scan, which may be larger than `grid`.
    error_mm : float
        Standard deviation of the place of its surface, from the voxels it was drawn on.
    """

    mask: Mask
    grid: Grid
    field: Grid
    error_mm: float

    @cached_property
    def smooth(self) -> NDArray[np.float32]:
        """The mask, blurred a little: 0.5 at the surface; one voxel wider at each side."""
        padded = np.pad(self.mask.astype(np.float32), 1)
        return np.asarray(ndi.gaussian_filter(padded, SMOOTH))

    @cached_property
    def points_mm(self) -> Float:
        """Middles of the voxels inside, (n, 3)."""
        return self.grid.world(np.argwhere(self.mask))

    @cached_property
    def outline_mm(self) -> Float:
        """Points of the surface, about one per mm2, (n, 3); none where the field of view cuts."""
        corners = marching_cubes(self.smooth, 0.5, step_size=1)[0] - 1.0
        points = self.grid.world(corners.astype(np.float64))
        return points[~at_border(points, self.field)]

    def at(self, points_mm: Float) -> Float:
        """Values of `smooth` at world points (..., 3); 0 outside the grid."""
        index = np.moveaxis(self.grid.index(points_mm) + 1.0, -1, 0)
        return np.asarray(ndi.map_coordinates(self.smooth, index, order=1, cval=0.0))


def at_border(points_mm: Float, field: Grid) -> Mask:
    """Tell which points (n, 3) lie within a voxel of the border of a field of view, or beyond."""
    index = field.index(points_mm)
    last = np.array(field.shape) - 1
    return np.asarray(((index < 1.0) | (index > last - 1.0)).any(axis=-1))


def solid_of(mask: Mask, grid: Grid, field: Grid | None = None) -> Solid:
    """Bring a mask onto cubic voxels of 1 mm, if it is not on such cubes already.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        Not empty; enclosed holes are filled.
    grid : Grid
    field : Grid, optional
        Field of view; `grid` by default.
    """
    field = field or grid
    # a voxel's border is off by a uniform error of one voxel, and neighbours average it
    error = float(grid.spacing_mm.max() / np.sqrt(12.0))
    cubic = any(np.abs(grid.spacing_mm - edge).max() < 1e-3 for edge in CUBES_MM)
    cut, place = _boxed(mask, grid, 0 if cubic else 2)
    if not cubic:
        extent = np.array(cut.shape) * place.spacing_mm
        i, j, k = (int(n) for n in np.ceil(extent / CUBE_MM))
        half = (place.spacing_mm - CUBE_MM) / 2
        cube = Grid.of(
            (i, j, k), CUBE_MM, place.origin_mm - place.direction @ half, place.direction
        )
        share = Image(cut.astype(np.float32), place).resample(cube)
        cut, place = np.asarray(share.array >= 0.5), cube
    return Solid(_filled(cut), place, field, error)


def _filled(mask: Mask) -> Mask:
    """Fill what is enclosed, in one pass (`binary_fill_holes` makes one for each layer)."""
    named, _ = ndi.label(np.pad(~mask, 1, constant_values=True))
    return np.asarray(named != named[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _boxed(mask: Mask, grid: Grid, margin: int) -> tuple[Mask, Grid]:
    """Crop to what is not empty; the margin is of empty voxels, beyond the image if need be."""
    index = np.argwhere(mask)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cut = np.pad(mask[box], margin)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world(low - margin)
    return cut, Grid(cut.shape, affine)

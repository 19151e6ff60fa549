"""To the spacing of a plan: cubic splines for images, linear votes for labels.

Across slices more than three times as thick as their pixels the nearest slice is taken, as in
nnU-Net (Isensee et al., Nature Methods 18:203, 2021): between them nothing is known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from bonekit.image import Grid, Image, LabelMap
from bonekit.image.volume import array_of

ANISOTROPIC = 3.0  # nnU-Net: ratio of the largest to the smallest voxel edge
Volume = TypeVar("Volume", Image, LabelMap)


def target_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """Grid of another spacing over the same place: same centre, nearest whole number of voxels."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    shape = np.maximum(np.rint(np.array(grid.shape) * grid.spacing_mm / spacing), 1).astype(int)
    centre = grid.world((np.array(grid.shape) - 1) / 2)
    origin = centre - grid.direction @ ((shape - 1) / 2 * spacing)
    return Grid.of((int(shape[0]), int(shape[1]), int(shape[2])), spacing, origin, grid.direction)


def resample_image(image: Image, grid: Grid, limits: tuple[float, float] | None = None) -> Image:
    """Bring an image onto a grid of the same axes by cubic splines.

    Splines overshoot: the result is kept within `limits`, by default the range of the image.
    """
    if image.grid.same_as(grid):
        return image
    float32 = image.with_array(image.array.astype(np.float32))
    moved = _resample(float32, grid, sitk.sitkBSpline3)
    low, high = limits or (float(image.array.min()), float(image.array.max()))
    return moved.with_array(np.clip(moved.array, low, high))


def resample_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """Bring labels onto a grid of the same axes: in every voxel the label of most weight."""
    if labels.grid.same_as(grid):
        return labels
    return _resample(labels, grid, sitk.sitkLabelLinear)


def _resample(volume: Volume, grid: Grid, interpolator: int) -> Volume:
    """Interpolate; across thick slices in a second step, by the nearest."""
    thick = next((a for a in map(_thick_axis, (volume.grid, grid)) if a is not None), None)
    if thick is None:
        return _onto(volume, grid, interpolator)
    return _onto(_onto(volume, _within(volume.grid, grid, thick), interpolator), grid, None)


def _onto(volume: Volume, grid: Grid, interpolator: int | None) -> Volume:
    kind = sitk.sitkNearestNeighbor if interpolator is None else interpolator
    moved = sitk.Resample(
        volume.to_sitk(),
        [int(n) for n in grid.shape],
        sitk.Transform(),
        kind,
        grid.origin_mm.tolist(),
        grid.spacing_mm.tolist(),
        grid.direction.ravel().tolist(),
        0.0,
        sitk.sitkUnknown,
        True,  # the edge goes on: the new grid may reach half a voxel further
    )
    array: NDArray[Any] = array_of(moved)
    return replace(volume, array=array, grid=grid)


def _thick_axis(grid: Grid) -> int | None:
    """Axis of the slices, if they are thick."""
    spacing = grid.spacing_mm
    return int(spacing.argmax()) if spacing.max() / spacing.min() > ANISOTROPIC else None


def _within(source: Grid, target: Grid, axis: int) -> Grid:
    """Grid of the target with the slices of the source along one axis."""
    shape, spacing = list(target.shape), target.spacing_mm.copy()
    shape[axis], spacing[axis] = source.shape[axis], source.spacing_mm[axis]
    first = target.index(source.origin_mm)  # the axes are parallel
    index = np.zeros(3)
    index[axis] = first[axis]
    return Grid.of((shape[0], shape[1], shape[2]), spacing, target.world(index), target.direction)

"""Smooth shapes of a bone and its regions: the level sets that a mesh follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import DistanceField, Mask, bounding_box, distance_field

Float = NDArray[np.float64]
Single = NDArray[np.float32]
BOUND_VOXELS = 0.5  # most that smoothing changes a distance
REFILL_VOXELS = 2.0  # width of the neighbourhoods that keep their volume


@dataclass(frozen=True, eq=False)
class Shape:
    """A region as a level set.

    Parameters
    ----------
    value : int
        Its label.
    field : DistanceField
    volume_mm3 : float
        That of its voxels.
    level_mm : float
        The shape is where the field is below.
    """

    value: int
    field: DistanceField
    volume_mm3: float
    level_mm: float = 0.0

    def at(self, points_mm: Float) -> Float:
        """Field minus level, (n, 3) -> (n,)."""
        return self.field.at(points_mm).astype(np.float64) - self.level_mm

    def gradient(self, points_mm: Float) -> Float:
        """Slope of the field by differences over half a voxel, (n, 3)."""
        step = 0.5 * float(self.field.grid.spacing_mm.min())
        out = np.empty((len(points_mm), 3))
        for axis in range(3):
            ahead = step * np.eye(3)[axis]
            out[:, axis] = self.field.at(points_mm + ahead) - self.field.at(points_mm - ahead)
        return out / (2 * step)

    def moved(self, by_mm: float) -> Shape:
        """Take another level."""
        return replace(self, level_mm=self.level_mm + by_mm)


def body_shape(mask: Mask, grid: Grid, margin_mm: float, smoothing_voxels: float) -> Shape:
    """Shape of the whole bone; its value is 0."""
    volume = float(np.count_nonzero(mask)) * grid.voxel_mm3
    return Shape(0, smooth_field(mask, grid, margin_mm, smoothing_voxels), volume)


def region_shapes(
    labels: LabelMap, order: list[int], volume_mm3: Mapping[int, float], smoothing_voxels: float
) -> list[Shape]:
    """Shapes of the first regions, each extended over everything but those before it.

    Beyond the bone, and in the regions before it, a region goes on to where it is the nearest
    one. So it meets the surfaces there squarely instead of tapering off along them.

    Parameters
    ----------
    labels : LabelMap
        With a margin of background.
    order : list of int
        Labels that are present, in the order of the cuts, those that are not cut last.
    volume_mm3 : mapping of int to float
        Of the regions that are cut out, which are the first of `order`.
    smoothing_voxels : float
    """
    out = []
    for place, value in enumerate(order[: len(volume_mm3)]):
        extended = nearest_label(labels, order[place:]) == value
        volume = volume_mm3[value]
        out.append(Shape(value, smooth_field(extended, labels.grid, 0.0, smoothing_voxels), volume))
    return out


def nearest_label(labels: LabelMap, values: list[int]) -> NDArray[np.integer]:
    """Extend some labels to all voxels, each by its nearest one."""
    away = ~np.isin(labels.array, values)
    nearest = ndimage.distance_transform_edt(
        away, sampling=labels.spacing_mm.tolist(), return_distances=False, return_indices=True
    )
    return np.asarray(labels.array[tuple(nearest)])


def cropped(labels: LabelMap, mask: Mask, margin_mm: float) -> LabelMap:
    """Crop to a mask, clear what is outside of it and pad, so that a margin surrounds it."""
    low, high = bounding_box(mask)
    n = np.ceil(margin_mm / labels.spacing_mm).astype(int) + 1
    box = labels.with_array(np.where(mask, labels.array, 0)).crop(low, high)
    affine = box.affine.copy()
    affine[:3, 3] = box.grid.world(-n)
    array = np.pad(box.array, [(k, k) for k in n])
    return LabelMap(array, Grid(array.shape, affine), labels.names, labels.colours)


def smooth_field(
    mask: Mask, grid: Grid, margin_mm: float, smoothing_voxels: float
) -> DistanceField:
    """Distance field on nearly cubic voxels, smoothed by a Gaussian.

    Smoothing changes no distance by more than half a voxel, so it can't take away a wall or a
    gap of one voxel.
    """
    shape = distance_field(mask, grid, margin_mm)
    if grid.spacing_mm.max() > 1.25 * grid.spacing_mm.min():
        shape = shape.resampled(float(grid.spacing_mm.min()))
    bound = np.float32(BOUND_VOXELS * grid.spacing_mm.min())
    smooth = ndimage.gaussian_filter(shape.values, smoothing_voxels)
    wanted = _filling(shape.values, shape.grid)[0]
    for _ in range(4):
        smooth = np.clip(smooth, shape.values - bound, shape.values + bound)
        smooth = _refilled(smooth, wanted, shape.grid)
    return DistanceField(smooth, shape.grid)


def _refilled(smooth: Single, wanted: Single, grid: Grid) -> Single:
    """Move a level set until it fills, in each neighbourhood, what is wanted of each voxel.

    Smoothing takes from what is thin and convex; the lack over the surface, both averaged over
    some voxels about, is how far the surface has to go out.
    """
    now, surface = _filling(smooth, grid)
    lack = wanted - now
    about = [ndimage.gaussian_filter(x, REFILL_VOXELS, mode="nearest") for x in (lack, surface)]
    most = 0.25 * grid.spacing_mm.min()
    way = np.clip(about[0] / (about[1] + 1e-3), -most, most)
    return np.asarray(smooth - way, dtype=np.float32)


def _filling(values: Single, grid: Grid) -> tuple[Single, Single]:
    """Part of each voxel below zero, and its change for a level one millimetre higher."""
    slope = np.zeros_like(values)
    for axis in range(3):
        slope += np.gradient(values, np.float32(grid.spacing_mm[axis]), axis=axis) ** 2
    width = np.sqrt(np.maximum(slope, 0.25)) * np.float32(grid.spacing_mm.min())
    filled = np.clip(0.5 - values / width, 0, 1)
    return filled, ((filled > 0) & (filled < 1)) / width

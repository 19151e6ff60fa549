"""Signed distance fields of label masks: shapes between the voxels.

Linear interpolation of a mask's signed distance gives the shape between thick slices without the
steps of nearest-voxel interpolation (shape-based interpolation: Raya and Udupa, IEEE Trans Med
Imaging 1990;9:32-42).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
CHUNK = 2_000_000  # points interpolated at a time: bounds the memory
BOX_MM = (2.0, 2000.0)  # diagonal of a bone's box, from a small model to a whole patient
LEAST_VOXELS = 8


@dataclass(frozen=True, eq=False)
class DistanceField:
    """Signed distance to the boundary of a mask, negative inside.

    Parameters
    ----------
    values : ndarray of float32, (ni, nj, nk)
        Millimetres.
    grid : Grid
    """

    values: NDArray[np.float32]
    grid: Grid

    def at(self, points_mm: ArrayLike) -> NDArray[np.float32]:
        """Interpolate linearly at world points, (..., 3) -> (...); constant beyond the grid."""
        points = np.asarray(points_mm, dtype=np.float64)
        flat = points.reshape(-1, 3)
        out = np.empty(len(flat), dtype=np.float32)
        for start in range(0, len(flat), CHUNK):
            part = slice(start, start + CHUNK)
            index = self.grid.index(flat[part]).T
            out[part] = ndimage.map_coordinates(self.values, index, order=1, mode="nearest")
        return out.reshape(points.shape[:-1])

    def resampled(self, step_mm: float) -> DistanceField:
        """Interpolate on the finer, isotropic grid with the same axes and extent of centres."""
        grid = self.grid
        shape = np.floor((np.array(grid.shape) - 1) * grid.spacing_mm / step_mm + 1e-6).astype(int)
        fine = Grid.of(tuple(shape + 1), step_mm, grid.origin_mm, grid.direction)
        values = ndimage.affine_transform(
            self.values, step_mm / grid.spacing_mm, output_shape=fine.shape, order=1, mode="nearest"
        )
        return DistanceField(values, fine)


def bone_mask(labels: LabelMap, regions: tuple[str, ...]) -> Mask:
    """Voxels that carry one of the regions, those that the label map does not name left out.

    Parameters
    ----------
    labels : LabelMap
    regions : tuple of str

    Raises
    ------
    InputError
        If the label map names none of the regions, if fewer than eight voxels carry one, or if
        their box is that of no bone in millimetres.
    """
    known = [name for name in regions if name in labels.names.values()]
    if not known:
        present = ", ".join(labels.names.values()) or "no named labels"
        raise InputError(f"none of the regions {regions} is in the label map; present: {present}")
    mask = labels.mask(*known)
    count = int(np.count_nonzero(mask))
    if count < LEAST_VOXELS:
        where = f", the first near {place(mask, labels.grid)}" if count else ""
        raise InputError(
            f"the label map has {count} voxel{'s' * (count != 1)} of {', '.join(known)}{where}: "
            f"nothing to mesh, which takes {LEAST_VOXELS}. Check the segmentation and the region "
            "names"
        )
    _check_box(mask, labels.grid)
    return mask


def place(mask: Mask, grid: Grid) -> str:
    """Say where the first voxel of a mask lies, as messages name places."""
    where = grid.world(np.argwhere(mask)[0])
    return f"({', '.join(f'{x:.1f}' for x in where)}) mm"


def _check_box(mask: Mask, grid: Grid) -> None:
    """Refuse a bone whose size says that the image is not in millimetres."""
    low, high = bounding_box(mask)
    size = (high - low) * grid.spacing_mm
    diagonal = float(np.linalg.norm(size))
    if BOX_MM[0] <= diagonal <= BOX_MM[1]:
        return
    unit, factor = ("metres", "1000") if diagonal < BOX_MM[0] else ("micrometres", "0.001")
    raise InputError(
        f"the bone measures {' x '.join(f'{s:.3g}' for s in size)} mm near {place(mask, grid)}: "
        f"the diagonal of a bone's box is {BOX_MM[0]:g} to {BOX_MM[1]:g} mm. The image looks like "
        f"{unit}: multiply its spacing and origin by {factor}"
    )


def distance_field(mask: Mask, grid: Grid, margin_mm: float = 0.0) -> DistanceField:
    """Signed distance of a mask, cropped to it with a margin of two voxels or more.

    Beyond the image is background: a bone that touches the border ends there. The boundary lies
    half way between a voxel inside and its neighbour outside, moved by a small distance that
    makes the interpolated volume that of the voxels.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
    grid : Grid
    margin_mm : float
        How far the field reaches beyond the mask.
    """
    low, high = bounding_box(mask)
    margin = np.ceil(margin_mm / grid.spacing_mm).astype(int) + 2
    inside = np.pad(
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))],
        [(n, n) for n in margin],
    )
    spacing = grid.spacing_mm.tolist()
    values = ndimage.distance_transform_edt(~inside, sampling=spacing).astype(np.float32)
    values -= ndimage.distance_transform_edt(inside, sampling=spacing).astype(np.float32)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world(low - margin)
    level = _level_of_volume(values, float(np.count_nonzero(inside)), float(grid.spacing_mm.max()))
    return DistanceField(values - level, Grid(inside.shape, affine))


def _level_of_volume(values: NDArray[np.float32], volume: float, width: float) -> np.float32:
    """Level below which the interpolated values take up a volume, in voxels.

    Interpolation cuts off convex corners, by several percent where slices are thick; moving the
    zero level gives the volume back. Each voxel within `width` of zero is read at 3^3 points.
    """
    near = np.abs(values) < 2.0 * width
    ijk = np.argwhere(near).astype(np.float32)
    at = []
    for offset in sub_points(3):
        at.append(ndimage.map_coordinates(values, (ijk + offset).T, order=1, mode="nearest"))
    band = np.concatenate(at)
    rank = round(27 * (volume - float(np.count_nonzero(values[~near] < 0))))
    rank = min(max(rank, 1), band.size - 1)
    return np.float32(np.partition(band, [rank - 1, rank])[rank - 1 : rank + 1].mean())


def sub_points(n: int) -> Float:
    """Midpoints of n^3 equal cells of the unit cube about the origin, (n^3, 3)."""
    steps = (np.arange(n) + 0.5) / n - 0.5
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)


def bounding_box(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index box ``low <= index < high`` of a mask that is not empty."""
    low, high = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low[axis], high[axis] = used[0], used[-1] + 1
    return low, high

"""Images as arrays with a place in the world.

The one convention, stated here and nowhere else: ``array[i, j, k]`` is the value at the world
point ``affine @ (i, j, k, 1)`` in millimetres, in the DICOM patient frame **LPS** (x to the
patient's left, y to the back, z to the head). The affine's columns are therefore the steps of the
first, second and third array axis. Voxel values sit at voxel centres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from bonekit.errors import InputError

Float = NDArray[np.float64]
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid in the world: a shape and an affine, no voxels.

    Parameters
    ----------
    shape : tuple of int, (3,)
    affine : array_like, (4, 4)
        Index to LPS millimetres; its three axes must be perpendicular.

    Raises
    ------
    InputError
        If the affine is not a finite, invertible, shear-free 4x4 matrix.
    """

    shape: tuple[int, int, int]
    affine: Float

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"an affine must be 4x4 and finite, got {affine.tolist()}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"an image must have three axes of at least one voxel: {self.shape}")
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        if steps.min() <= 0 or np.linalg.det(affine[:3, :3]) == 0:
            raise InputError(f"the image has a zero or flat voxel: axis steps {steps.tolist()} mm")
        axes = affine[:3, :3] / steps
        if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
            raise InputError(
                "the image is sheared: its axes are not perpendicular "
                f"(cosines {np.round(axes.T @ axes, 4).tolist()}). "
                "Resample it to a rectangular grid first (gantry tilt: see bonekit.image.read)"
            )
        affine.flags.writeable = False
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", affine)

    @classmethod
    def of(
        cls,
        shape: tuple[int, int, int],
        spacing_mm: ArrayLike,
        origin_mm: ArrayLike = (0.0, 0.0, 0.0),
        direction: ArrayLike | None = None,
    ) -> Grid:
        """Compose a grid from spacing (3,), origin (3,) and unit axes as columns (3, 3)."""
        affine = np.eye(4)
        axes = np.eye(3) if direction is None else np.asarray(direction, dtype=np.float64)
        affine[:3, :3] = axes * np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
        affine[:3, 3] = np.asarray(origin_mm, dtype=np.float64)
        return cls(shape, affine)

    @cached_property
    def spacing_mm(self) -> Float:
        """Voxel size along the array axes, (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def direction(self) -> Float:
        """Unit vectors of the array axes as columns, (3, 3)."""
        return np.asarray(self.affine[:3, :3] / self.spacing_mm)

    @property
    def origin_mm(self) -> Float:
        """World point of the centre of voxel (0, 0, 0)."""
        return np.asarray(self.affine[:3, 3])

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))

    def world(self, index: ArrayLike) -> Float:
        """World points in mm of (possibly fractional) indices, (..., 3) -> (..., 3)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.origin_mm

    def index(self, point_mm: ArrayLike) -> Float:
        """Fractional indices of world points, (..., 3) -> (..., 3)."""
        offset = np.asarray(point_mm, dtype=np.float64) - self.origin_mm
        return np.asarray(offset @ np.linalg.inv(self.affine[:3, :3]).T)

    def points(self) -> Float:
        """World coordinates of every voxel centre, (ni, nj, nk, 3)."""
        return self.world(np.moveaxis(np.indices(self.shape), 0, -1))

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids put every voxel at the same place, within a tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.world(corners) - other.world(corners)).max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a grid: what `Image` and `LabelMap` share.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk)
        Made read-only.
    grid : Grid
    """

    array: NDArray[Any]
    grid: Grid
    _interpolator = sitk.sitkLinear

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise InputError(
                f"array of shape {self.array.shape} on a grid of shape {self.grid.shape}"
            )
        array = self.array.view()
        array.flags.writeable = False
        object.__setattr__(self, "array", array)

    @property
    def affine(self) -> Float:
        """Index to LPS millimetres, (4, 4)."""
        return self.grid.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along the array axes."""
        return self.grid.shape

    @property
    def spacing_mm(self) -> Float:
        """Voxel size along the array axes, (3,)."""
        return self.grid.spacing_mm

    def with_array(self, array: NDArray[Any]) -> Self:
        """Return the same volume with other voxel values."""
        return replace(self, array=array)

    def crop(self, low: ArrayLike, high: ArrayLike) -> Self:
        """Cut out indices ``low <= index < high`` (both (3,), clipped to the image)."""
        start = np.clip(np.asarray(low, dtype=int), 0, self.shape)
        stop = np.clip(np.asarray(high, dtype=int), 0, self.shape)
        if (stop <= start).any():
            raise InputError(f"crop {start.tolist()} to {stop.tolist()} is empty")
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        affine = self.affine.copy()
        affine[:3, 3] = self.grid.world(start)
        array = self.array[box]
        return replace(self, array=array, grid=Grid(array.shape, affine))

    def canonical(self) -> Self:
        """Permute and flip the axes so that i, j, k run nearest to left, back and head.

        No value is interpolated and no voxel moves in the world.
        """
        axes = _nearest_axes(self.grid.direction)
        array = self.array.transpose(axes)
        linear = self.affine[:3, :3][:, axes].copy()
        origin = self.grid.origin_mm.copy()
        for axis in range(3):
            if linear[axis, axis] < 0:
                origin = origin + linear[:, axis] * (array.shape[axis] - 1)
                linear[:, axis] *= -1
                array = np.flip(array, axis)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, origin
        return replace(self, array=np.ascontiguousarray(array), grid=Grid(array.shape, affine))

    def to_sitk(self) -> sitk.Image:
        """Convert to a SimpleITK image with the same world geometry."""
        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        image.SetSpacing(self.grid.spacing_mm.tolist())
        image.SetOrigin(self.grid.origin_mm.tolist())
        image.SetDirection(self.grid.direction.ravel().tolist())
        return image

    def resample(self, grid: Grid, outside: float = 0.0) -> Self:
        """Bring the volume onto another grid.

        Intensities are interpolated linearly, labels by the nearest voxel: the type decides.
        The data type stays; between whole numbers the result is rounded to the nearest.

        Parameters
        ----------
        grid : Grid
        outside : float
            Value where `grid` reaches out of this volume.

        Raises
        ------
        InputError
            If the data type can't hold `outside`.
        """
        kept = float(np.array(outside).astype(self.array.dtype))
        if not np.isclose(kept, outside, equal_nan=True):
            raise InputError(
                f"outside={outside} does not fit into {self.array.dtype}: choose another value, "
                "or convert the volume first"
            )
        reference = sitk.Image(*map(int, grid.shape), sitk.sitkUInt8)
        reference.SetSpacing(grid.spacing_mm.tolist())
        reference.SetOrigin(grid.origin_mm.tolist())
        reference.SetDirection(grid.direction.ravel().tolist())
        whole = self.array.dtype.kind in "iub"
        source, kind = self.to_sitk(), sitk.sitkUnknown
        if whole and self._interpolator == sitk.sitkLinear:  # ITK would cut the decimals off
            kind = sitk.sitkFloat64 if self.array.dtype.itemsize > 2 else sitk.sitkFloat32
        moved = array_of(
            sitk.Resample(source, reference, sitk.Transform(), self._interpolator, outside, kind)
        )
        array = (np.rint(moved) if whole else moved).astype(self.array.dtype)
        return replace(self, array=array, grid=grid)


@dataclass(frozen=True, eq=False)
class Image(Volume):
    """A scalar image (CT in HU, density, MRI, ultrasound): interpolated linearly."""


@dataclass(frozen=True, eq=False)
class LabelMap(Volume):
    """Integer labels on a grid, with names and colours: interpolated by the nearest voxel.

    Parameters
    ----------
    array : ndarray of int, (ni, nj, nk)
        0 is background.
    grid : Grid
    names : mapping of int to str
    colours : mapping of int to (red, green, blue), 0..255, optional
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Colour] = field(default_factory=dict)
    _interpolator = sitk.sitkNearestNeighbor

    def label(self, name: str) -> int:
        """Return the label value of a name.

        Raises
        ------
        InputError
            If no label has that name; the message lists those that exist.
        """
        for value, known in self.names.items():
            if known == name:
                return value
        present = ", ".join(f"{value} {known}" for value, known in sorted(self.names.items()))
        raise InputError(f"label {name!r} not found; present: {present or 'no named labels'}")

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """Boolean array of the voxels that carry any of the named labels."""
        return np.isin(self.array, [self.label(name) for name in names])


def _nearest_axes(direction: Float) -> list[int]:
    """Array axis nearest to each of the world axes x, y, z, each used once."""
    weights = np.abs(direction)
    order = [0, 0, 0]
    for _ in range(3):
        world, axis = np.unravel_index(np.argmax(weights), (3, 3))
        order[world] = int(axis)
        weights[world, :] = -1.0
        weights[:, axis] = -1.0
    return order


def array_of(image: sitk.Image) -> NDArray[Any]:
    """Voxels of a SimpleITK image in the order ``array[i, j, k]``."""
    # A copy always: a view of an image that is gone reads freed memory.
    return np.array(sitk.GetArrayViewFromImage(image).T, order="C", copy=True)


def grid_of(image: sitk.Image) -> Grid:
    """Geometry of a SimpleITK image."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return Grid.of(image.GetSize(), image.GetSpacing(), image.GetOrigin(), direction)


def from_sitk(image: sitk.Image) -> Image:
    """Convert a three-dimensional SimpleITK image."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"expected one scalar 3-D image, got {image.GetDimension()} dimensions with "
            f"{image.GetNumberOfComponentsPerPixel()} components per voxel"
        )
    return Image(array_of(image), grid_of(image))

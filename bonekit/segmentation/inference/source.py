"""The images of a subject, brought to the network's grid piece by piece.

The same steps as `bonekit.segmentation.data.prepare` (crop, normalise, resample), without a
normalised or resampled copy of the whole image. Voxels of files may stay on the disk; then tiles
are read as they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image import Grid, Image, read
from bonekit.image.files import suffix_of
from bonekit.image.mapped import read_mapped, release
from bonekit.segmentation.data.normalise import Scaling, nonzero_box, nonzero_mask, scaling
from bonekit.segmentation.data.prepare import check_channels
from bonekit.segmentation.data.resample import resample_image, target_grid
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.inference.tiles import Triple
from bonekit.segmentation.models.folder import Model

Box = tuple[slice, slice, slice]
MARGIN = 12  # native voxels: the spline's memory fades by 0.268 a voxel, to 1e-7
PIECE = 128  # slices of the first axis that are resampled together


@dataclass(frozen=True, eq=False)
class Channel:
    """One image and how its values are scaled."""

    image: Image  # canonical, cropped
    scaling: Scaling
    limits: tuple[float, float]  # of the scaled values
    inside: NDArray[np.bool_] | None  # where a z-score is taken; zero elsewhere

    def piece(self, low: NDArray[np.int64], high: NDArray[np.int64], grid: Grid) -> Any:
        """Scaled values on a grid, from the native voxels between two indices."""
        cut = self.image.crop(low, high)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        inside = None if self.inside is None else self.inside[box]
        scaled = cut.with_array(self.scaling.apply(cut.array, inside))
        return resample_image(scaled, grid, limits=self.limits).array


@dataclass(frozen=True, eq=False)
class Source:
    """The images of a subject and their grids.

    Parameters
    ----------
    channels : tuple of Channel or None
        None where an optional channel is absent: it is zero.
    grid : Grid
        Of the network, over the part that is not zero.
    cropped, native : Grid
        That part, canonical, in native voxels; the grid of the files.
    box : three slices
        The part in the canonical image.
    """

    channels: tuple[Channel | None, ...]
    grid: Grid
    cropped: Grid
    native: Grid
    box: Box

    def block(self, low: Triple, high: Triple) -> torch.Tensor:
        """Normalised values between two indices of `grid`, (channels, ni, nj, nk)."""
        shape = [b - a for a, b in zip(low, high, strict=True)]
        made = np.zeros((len(self.channels), *shape), dtype=np.float32)
        for start in range(low[0], high[0], PIECE):
            stop = min(start + PIECE, high[0])
            grid = _part(self.grid, (start, *low[1:]), (stop, *high[1:]))
            ends = self.cropped.index(grid.world(np.array([[0, 0, 0], grid.shape]) - [[0], [1]]))
            first = np.clip(np.floor(ends[0]).astype(int) - MARGIN, 0, None)
            last = np.clip(np.ceil(ends[1]).astype(int) + MARGIN + 1, None, self.cropped.shape)
            if self.cropped.same_as(self.grid):
                first, last = np.array((start, *low[1:])), np.array((stop, *high[1:]))
            for index, channel in enumerate(self.channels):
                if channel is not None:
                    made[index, start - low[0] : stop - low[0]] = channel.piece(first, last, grid)
                    release(channel.image.array)
        return torch.from_numpy(made)


class Reader:
    """Reads tiles of a source, keeping the slices of the third axis that it read last."""

    def __init__(self, source: Source, ahead: int) -> None:
        self.source, self.ahead = source, ahead
        self.low, self.band = 0, torch.empty((0, 0, 0, 0))

    def __call__(self, corner: Triple, tile: Triple) -> torch.Tensor:
        """Normalised values of a tile, zeros outside of the image, (channels, ti, tj, tk)."""
        shape = self.source.grid.shape
        low = [max(c, 0) for c in corner]
        high = [min(c + t, n) for c, t, n in zip(corner, tile, shape, strict=True)]
        made = torch.zeros((len(self.source.channels), *tile))
        at = [slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True)]
        made[:, at[0], at[1], at[2]] = self._piece(low, high)
        return made

    def _piece(self, low: list[int], high: list[int]) -> torch.Tensor:
        if self.source.cropped.same_as(self.source.grid):  # nothing to resample, nothing to keep
            return self.source.block((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        self._fetch(low[2], high[2])
        first, last = low[2] - self.low, high[2] - self.low
        return self.band[:, low[0] : high[0], low[1] : high[1], first:last]

    def _fetch(self, low: int, high: int) -> None:
        if self.low <= low and high <= self.low + self.band.shape[3]:
            return
        nx, ny, nz = self.source.grid.shape
        self.band = torch.empty((0, 0, 0, 0))  # free it before the next is read
        stop = min(max(high, low + self.ahead), nz)
        self.low, self.band = low, self.source.block((0, 0, low), (nx, ny, stop))


def open_source(
    model: Model, images: Subject | Sequence[Image | None], scratch: Path | None = None
) -> Source:
    """Prepare the images of a subject for a model.

    Parameters
    ----------
    model : Model
    images : Subject, or sequence of Image or None
    scratch : Path, optional
        Folder for voxels: those of files are then read as they are needed (`read_mapped`). By
        default files are read into memory.

    Raises
    ------
    InputError
        If channels are missing or lie elsewhere, or if a model trained on synthetic images is to
        predict a DICOM image (`load_model` with ``allow_demo`` lets it).
    """
    name = images.name if isinstance(images, Subject) else "images"
    if isinstance(images, Subject):
        _refuse_demo(model, images)
        images = [
            None if path is None else _read(path, scratch, f"channel{index}")
            for index, path in enumerate(images.images)
        ]
    native = check_channels(images, model.task, name)
    views = [None if image is None else canonical(image) for image in images]
    low, high = nonzero_box(views)
    cropped = [None if view is None else view.crop(low, high) for view in views]
    _release(cropped)
    inside = nonzero_mask(cropped) if model.plan.inside_nonzero else None
    channels = tuple(
        None if one is None else _channel(model, index, one, inside)
        for index, one in enumerate(cropped)
    )
    _release(cropped)
    grid = next(one.grid for one in cropped if one is not None)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return Source(channels, target_grid(grid, model.plan.spacing_mm), grid, native, box)


def _read(path: Path, scratch: Path | None, name: str) -> Image:
    return read(path) if scratch is None else read_mapped(path, scratch, name)


def _release(images: Sequence[Image | None]) -> None:
    for image in images:
        if image is not None:
            release(image.array)


def canonical(image: Image) -> Image:
    """Turn an image as `Image.canonical` does, as a view: nothing is copied."""
    axes, flipped = turn(image.grid)
    affine = image.affine.copy()
    corner = np.zeros(3)
    for axis, flip in zip(axes, flipped, strict=True):
        if flip:
            corner[axis] = image.shape[axis] - 1
    affine[:3, :3] = image.affine[:3, axes] * np.where(flipped, -1.0, 1.0)
    affine[:3, 3] = image.grid.world(corner)
    array = turned(image.array, image.grid)
    return Image(array, Grid(array.shape, affine))


def turned(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """View of an array on a grid, with canonical axes; the last three are those of the grid."""
    axes, flipped = turn(grid)
    before = array.ndim - 3
    view = array.transpose(*range(before), *(before + axis for axis in axes))
    mirrored: NDArray[Any] = np.flip(view, tuple(before + n for n in range(3) if flipped[n]))
    return mirrored


def turn(grid: Grid) -> tuple[list[int], list[bool]]:
    """Find the axis of a grid that becomes each canonical axis, and whether it is mirrored."""
    probe = Image(np.arange(8).reshape(2, 2, 2), Grid((2, 2, 2), grid.affine)).canonical().array
    steps = [int(probe[tuple(np.eye(3, dtype=int)[n])]) - int(probe[0, 0, 0]) for n in range(3)]
    return [{4: 0, 2: 1, 1: 2}[abs(step)] for step in steps], [step < 0 for step in steps]


def _channel(model: Model, index: int, image: Image, inside: NDArray[np.bool_] | None) -> Channel:
    channel = model.task.channels[index]
    if not np.isfinite([image.array.min(), image.array.max()]).all():
        raise InputError(
            f"channel {channel.name} holds NaN or infinite values; a network takes finite ones. "
            "Replace them by the background"
        )
    measured = scaling(image.array, channel, model.plan.statistics[index], inside=inside)
    masked = inside if channel.normalisation == "zscore" else None
    ends = np.array([image.array.min(), image.array.max()], dtype=np.float32)
    low, high = (float(v) for v in measured.apply(ends))
    if masked is not None and not masked.all():
        low, high = min(low, 0.0), max(high, 0.0)
    return Channel(image, measured, (low, high), masked)


def _part(grid: Grid, low: Sequence[int], high: Sequence[int]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world(low)
    shape = [b - a for a, b in zip(low, high, strict=True)]
    return Grid((shape[0], shape[1], shape[2]), affine)


def _refuse_demo(model: Model, subject: Subject) -> None:
    if not model.card.synthetic or model.allow_demo:
        return
    found = [path for path in subject.images if path is not None and is_dicom(path)]
    if found:
        raise InputError(
            f"{found[0]} is a DICOM image, and {model.path or 'this model'} was trained on "
            "synthetic images only: it is a demonstration, not for patients. Train a model on "
            "images like yours; to try this one all the same, load it with allow_demo=True"
        )


def is_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file, folder or archive."""
    return path.is_dir() or suffix_of(path) == ""

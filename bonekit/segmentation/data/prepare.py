"""A subject as the network takes it: canonical, cropped, normalised, at the plan's spacing.

The steps and their order are nnU-Net's (Isensee et al., Nature Methods 18:203, 2021): crop to
where an image is not zero, normalise at native spacing, resample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, read, read_labels
from bonekit.segmentation.data.normalise import (
    Scaling,
    nonzero_box,
    nonzero_mask,
    normalise,
    scaling,
)
from bonekit.segmentation.data.resample import resample_image, resample_labels, target_grid
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

__all__ = [
    "Prepared",
    "Scaling",
    "check_channels",
    "check_labels",
    "describe_grid",
    "nonzero_box",
    "nonzero_mask",
    "normalise",
    "prepare",
    "resample_image",
    "resample_labels",
    "scaling",
    "target_grid",
]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a network sees of one subject.

    Parameters
    ----------
    name : str
    image : ndarray of float32, (channels, ni, nj, nk)
        On canonical axes at the plan's spacing, normalised; zeros where an optional channel is
        absent.
    labels : ndarray of uint8, (ni, nj, nk), optional
        Numbers of the task.
    grid : Grid
        Of both.
    native : Grid
        Of the files: predictions go back to it.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    grid: Grid
    native: Grid


def prepare(
    source: Subject | Sequence[Image | None],
    task: Task,
    plan: Plan,
    labels: LabelMap | None = None,
) -> Prepared:
    """Bring the images of a subject to what a network takes.

    Parameters
    ----------
    source : Subject, or sequence of Image or None
        One image for each channel of the task, in its order; None for an absent optional one.
    task : Task
    plan : Plan
    labels : LabelMap, optional
        In place of those of the subject.

    Raises
    ------
    InputError
        If channels are missing or on different grids, or labels are not the task's.
    """
    name = source.name if isinstance(source, Subject) else "images"
    if isinstance(source, Subject):
        if labels is None and source.labels is not None:
            labels = read_labels(source.labels, {v: k for k, v in task.labels.items() if v})
        source = [None if path is None else read(path) for path in source.images]
    native = check_channels(source, task, name)
    canonical = [None if image is None else image.canonical() for image in source]
    low, high = nonzero_box(canonical)
    cropped = [None if image is None else image.crop(low, high) for image in canonical]
    grid = target_grid(next(c.grid for c in cropped if c is not None), plan.spacing_mm)
    image = np.zeros((len(task.channels), *grid.shape), dtype=np.float32)
    inside = nonzero_mask(cropped) if plan.inside_nonzero else None
    for index, one in enumerate(cropped):
        if one is not None:
            channel, statistics = task.channels[index], plan.statistics[index]
            normalised = normalise(one.array, channel, statistics, inside=inside)
            image[index] = resample_image(one.with_array(normalised), grid).array
    numbers = None
    if labels is not None:
        check_labels(labels, native, task, name)
        numbers = resample_labels(labels.canonical().crop(low, high), grid).array.astype(np.uint8)
    return Prepared(name, image, numbers, grid, native)


def check_channels(images: Sequence[Image | None], task: Task, name: str) -> Grid:
    """Return the grid that all images of a subject share.

    Raises
    ------
    InputError
        If the number of images is not that of the channels, if a required one is absent, or if
        they lie on different grids.
    """
    wanted = [c.name for c in task.channels]
    if len(images) != len(wanted):
        raise InputError(
            f"{name}: {len(images)} images for {len(wanted)} channels; the task {task.name} takes "
            f"{', '.join(wanted)}, in this order"
        )
    pairs = list(zip(task.channels, images, strict=True))
    absent = [c.name for c, image in pairs if image is None and not c.optional]
    present = [(c.name, image) for c, image in pairs if image is not None]
    if absent or not present:
        raise InputError(
            f"{name}: channel {', '.join(absent) or 'every one'} is missing; the task {task.name} "
            f"takes {', '.join(wanted)}"
        )
    first, reference = present[0]
    for other, image in present[1:]:
        if not image.grid.same_as(reference.grid, 0.01 * float(reference.spacing_mm.min())):
            raise InputError(
                f"{name}: channel {other} lies elsewhere than {first}: "
                f"{describe_grid(image.grid)}, not {describe_grid(reference.grid)}. Register and "
                f"resample it to the grid of {first} first"
            )
    return reference.grid


def check_labels(labels: LabelMap, grid: Grid, task: Task, name: str) -> None:
    """Refuse labels on another grid than the images, or with numbers that the task lacks."""
    if not labels.grid.same_as(grid, 0.01 * float(grid.spacing_mm.min())):
        raise InputError(
            f"{name}: the labels lie elsewhere than the images: {describe_grid(labels.grid)}, not "
            f"{describe_grid(grid)}. Resample them to the grid of the images"
        )
    found = {int(v) for v in np.unique(labels.array)}
    if unknown := sorted(found - set(task.labels.values())):
        allowed = ", ".join(f"{v} {k}" for k, v in task.labels.items())
        raise InputError(
            f"{name}: label {', '.join(map(str, unknown))} is not in the task {task.name}; "
            f"allowed: {allowed}. Correct the labels, or the task"
        )


def describe_grid(grid: Grid) -> str:
    """Shape, spacing and origin in a few words."""
    shape = "x".join(map(str, grid.shape))
    spacing = "x".join(f"{s:.4g}" for s in grid.spacing_mm)
    origin = ", ".join(f"{x:.1f}" for x in grid.origin_mm)
    axes = np.round(grid.direction, 2).tolist()
    return f"{shape} voxels of {spacing} mm from ({origin}) mm along {axes}"

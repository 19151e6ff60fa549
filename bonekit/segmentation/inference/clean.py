"""What a task wants done to predicted labels: largest piece, holes, small pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.segmentation.task import Clean, Task

Array = NDArray[Any]
Box = tuple[slice, ...]


def clean(array: Array, task: Task, voxel_mm3: float) -> None:
    """Post-process labels in place, in the order of `Task.clean`.

    Pieces hang together by faces. What is taken away becomes background; holes are filled where
    there is no other label, so a lesion in a bone stays: to give the bone the place of a lesion
    that was too small, list ``fill_holes`` of the bone after it.

    Parameters
    ----------
    array : ndarray of uint8, (ni, nj, nk)
    task : Task
    voxel_mm3 : float
    """
    for step in task.clean:
        value = task.labels[step.label]
        box = extents(array, value)[value - 1]
        if box is not None:
            _step(array[box].T, step, value, voxel_mm3)


def extents(array: Array, most: int) -> list[Box | None]:
    """Bounding boxes of the labels from 1 to `most`; None for one that is absent."""
    found: Sequence[Box | None] = ndi.find_objects(array.T, max_label=most)  # T: the fast order
    return [None if box is None else box[::-1] for box in found]


def _step(part: Array, step: Clean, value: int, voxel_mm3: float) -> None:
    mask = part == value
    if step.keep_largest or step.least_ml > 0:
        pieces, count = ndi.label(mask)
        sizes = piece_sizes(pieces, count)
        sizes[0] = 0
        keep = sizes * voxel_mm3 >= 1000.0 * step.least_ml
        if step.keep_largest:
            keep &= np.arange(len(sizes)) == sizes.argmax()
        keep[0] = False
        kept = keep[pieces]
        part[mask & ~kept] = 0
        mask = kept
    if step.fill_holes:
        part[ndi.binary_fill_holes(mask) & (part == 0)] = value


def piece_sizes(pieces: Array, count: int) -> NDArray[np.intp]:
    """Count the voxels of each piece slab by slab: `bincount` copies what it is given."""
    sizes = np.zeros(count + 1, np.intp)
    for slab in pieces:
        sizes += np.bincount(slab.ravel(), minlength=count + 1)
    return sizes

"""What a task wants done to predicted labels: largest piece, holes, small pieces."""

from __future__ import annotations

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
        _step(array, step, task.labels[step.label], voxel_mm3)


def _step(array: Array, step: Clean, value: int, voxel_mm3: float) -> None:
    box = extent(array, value)
    if box is None:
        return
    part = array[box]
    mask = part == value
    if step.keep_largest or step.least_ml > 0:
        pieces, _ = ndi.label(mask)
        sizes = np.bincount(pieces.ravel())
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


def extent(array: Array, value: int) -> Box | None:
    """Bounding box of a label; None if it is absent."""
    box = []
    for axis in range(3):
        found = [bool((array.take(i, axis) == value).any()) for i in range(array.shape[axis])]
        index = np.flatnonzero(found)
        if index.size == 0:
            return None
        box.append(slice(int(index[0]), int(index[-1]) + 1))
    return tuple(box)

"""Where the next patch or slice is taken: everywhere, around labels, around lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.task import SLICED, Task

KEPT = 10_000  # voxels of each label that a centre is drawn from, as in nnU-Net
Places = Mapping[int, NDArray[np.int64]]  # label -> flat positions


@dataclass(frozen=True, eq=False)
class Pool:
    """Subjects and where their labels are.

    Parameters
    ----------
    subjects : tuple of Prepared
    places : tuple of mapping of int to ndarray
        For each subject, some positions (flat) of each label but the background.
    lesions : tuple of int
        Labels that are drawn more often.
    """

    subjects: tuple[Prepared, ...]
    places: tuple[Places, ...]
    lesions: tuple[int, ...]

    @property
    def ill(self) -> tuple[int, ...]:
        """Numbers of the subjects with a lesion."""
        return tuple(
            i for i, p in enumerate(self.places) if any(label in p for label in self.lesions)
        )


@dataclass(frozen=True)
class Draw:
    """One patch: subject, axis across the slice (None for a volume), centre voxel."""

    subject: int
    axis: int | None
    centre: tuple[int, int, int]


def make_pool(subjects: Sequence[Prepared], task: Task, seed: int) -> Pool:
    """Index the labels of all subjects.

    Raises
    ------
    InputError
        If there is no subject, or one has no labels.
    """
    if not subjects:
        raise InputError(f"task {task.name}: no subjects to train on; at least one is needed")
    places = tuple(_places(s, np.random.default_rng([seed, i])) for i, s in enumerate(subjects))
    lesions = tuple(task.labels[name] for name in task.metrics.lesions)
    return Pool(tuple(subjects), places, lesions)


def _places(subject: Prepared, rng: np.random.Generator) -> Places:
    if subject.labels is None:
        raise InputError(f"subject {subject.name} has no labels: training needs them")
    found: dict[int, NDArray[np.int64]] = {}
    flat = np.asarray(subject.labels).reshape(-1)
    for label in np.unique(flat):
        if label > 0:
            where = np.flatnonzero(flat == label)
            found[int(label)] = rng.choice(where, min(KEPT, len(where)), replace=False)
    return found


def draw(
    rng: np.random.Generator,
    pool: Pool,
    task: Task,
    lesion_share: float,
    foreground_share: float,
) -> Draw:
    """Choose a subject, a view and a centre.

    Parameters
    ----------
    lesion_share : float
        How often a lesion is asked for, where there are any.
    foreground_share : float
        How often, otherwise, a voxel of one of the subject's labels.
    """
    view = task.views[rng.integers(len(task.views))]
    axis = SLICED.get(view)
    ill = pool.ill
    lesion = bool(ill) and rng.random() < lesion_share
    number = int(ill[rng.integers(len(ill))] if lesion else rng.integers(len(pool.subjects)))
    places = pool.places[number]
    wanted = [x for x in places if x in pool.lesions] if lesion else list(places)
    shape = pool.subjects[number].image.shape[1:]
    if wanted and (lesion or rng.random() < foreground_share):
        spots = places[wanted[rng.integers(len(wanted))]]
        flat = int(spots[rng.integers(len(spots))])
    else:
        flat = int(rng.integers(np.prod(shape)))
    i, j, k = (int(x) for x in np.unravel_index(flat, shape))
    return Draw(number, axis, (i, j, k))


def cut(
    subject: Prepared, where: Draw, patch: Sequence[int], room: Sequence[int] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut a patch around a centre, moved so that it stays inside where it fits.

    Parameters
    ----------
    subject : Prepared
    where : Draw
    patch : sequence of int
        Voxels of the patch, 2 for a slice.
    room : sequence of int, optional
        Voxels to cut around the middle of the patch instead of `patch`.

    Returns
    -------
    image : ndarray of float32, (channels, *room)
    labels : ndarray of uint8, (*room)
        Beyond the borders the values at the borders go on.
    """
    assert subject.labels is not None
    image: NDArray[np.float32] = subject.image
    labels: NDArray[np.uint8] = subject.labels
    centre = list(where.centre)
    if where.axis is not None:
        level = centre.pop(where.axis)
        labels = labels[(slice(None),) * where.axis + (level,)]
        image = image[(slice(None),) * (where.axis + 1) + (level,)]
    starts = [
        min(max(c - p // 2, 0), max(n - p, 0)) if n >= p else -((p - n) // 2)
        for c, p, n in zip(centre, patch, labels.shape, strict=True)
    ]
    size = list(patch) if room is None else list(room)
    starts = [s - (r - p) // 2 for s, r, p in zip(starts, size, patch, strict=True)]
    return _take(image, [None, *starts], size), _take(labels, list(starts), size)


def _take(array: NDArray[Any], starts: Sequence[int | None], size: Sequence[int]) -> NDArray[Any]:
    """Cut a box; None takes a whole axis."""
    sizes = [*array.shape[: len(starts) - len(size)], *size]
    boxes, pads = [], []
    for start, width, n in zip(starts, sizes, array.shape, strict=True):
        low = 0 if start is None else start
        first, last = min(max(low, 0), n - 1), min(max(low + width, 1), n)
        boxes.append(slice(first, last))
        before = min(max(0, -low), width - (last - first))
        pads.append((before, width - (last - first) - before))
    return np.pad(array[tuple(boxes)], pads, mode="edge")

"""What a plan needs to know of a data set: geometry, and intensities of the foreground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bonekit.errors import InputError
from bonekit.image import read, read_labels
from bonekit.part import Part
from bonekit.segmentation.data.normalise import nonzero_box
from bonekit.segmentation.data.prepare import check_channels, check_labels
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.planning.plan import Positive, Statistics
from bonekit.segmentation.task import Task

SAMPLES = 10_000_000  # intensities of all subjects together, a tenth of nnU-Net's
Float = NDArray[np.float32]


class Fingerprint(Part):
    """Geometry of the volumes of a data set on canonical axes, cropped to where they aren't zero.

    Parameters
    ----------
    spacings_mm : tuple of tuple of float, (subjects, 3)
    shapes : tuple of tuple of int, (subjects, 3)
    kept : float
        Median share of a volume that the crop leaves.
    statistics : tuple of Statistics, (channels,)
        Of the foreground; 0 and 1 for a channel that no subject has.
    """

    spacings_mm: tuple[tuple[Positive, Positive, Positive], ...] = Field(min_length=1)
    shapes: tuple[tuple[int, int, int], ...] = Field(min_length=1)
    kept: Annotated[float, Field(gt=0, le=1)]
    statistics: tuple[Statistics, ...]


@dataclass(frozen=True, eq=False)
class _Piece:
    """What one subject adds."""

    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    kept: float
    values: tuple[Float, ...]  # of each channel


def fingerprint(dataset: Dataset, progress: Callable[[int], None] | None = None) -> Fingerprint:
    """Read all subjects with labels once (nnU-Net: Isensee et al., Nat Methods 18:203, 2021).

    Parameters
    ----------
    dataset : Dataset
    progress : callable, optional
        Called with the number of subjects done.

    Raises
    ------
    InputError
        If a file is bad, no subject has labels, or no label is foreground.
    """
    labelled = [s for s in dataset.subjects if s.labels is not None]
    if not labelled:
        raise InputError("no subject has labels: a fingerprint is taken of training data")
    share = max(1, SAMPLES // len(labelled))
    pieces = []
    for number, subject in enumerate(labelled):
        pieces.append(_piece(subject, dataset.task, share, np.random.default_rng(number)))
        if progress is not None:
            progress(number + 1)
    if not any(values.size for piece in pieces for values in piece.values):
        raise InputError("no subject has a labelled voxel: were the labels exported empty?")
    return Fingerprint(
        spacings_mm=tuple(p.spacing for p in pieces),
        shapes=tuple(p.shape for p in pieces),
        kept=float(np.median([p.kept for p in pieces])),
        statistics=tuple(
            _statistics([p.values[index] for p in pieces])
            for index in range(len(dataset.task.channels))
        ),
    )


def _piece(subject: Subject, task: Task, share: int, rng: np.random.Generator) -> _Piece:
    images = [None if path is None else read(path) for path in subject.images]
    grid = check_channels(images, task, subject.name)
    assert subject.labels is not None
    labels = read_labels(subject.labels, {v: k for k, v in task.labels.items() if v})
    check_labels(labels, grid, task, subject.name)
    canonical = [None if image is None else image.canonical() for image in images]
    low, high = nonzero_box(canonical)
    shape = (high[0] - low[0], high[1] - low[1], high[2] - low[2])
    places = np.flatnonzero(labels.canonical().array)
    if places.size:  # drawn with replacement: every subject counts alike, as in nnU-Net
        places = rng.choice(places, share)
    values = [
        np.empty(0, np.float32) if c is None else c.array.ravel()[places].astype(np.float32)
        for c in canonical
    ]
    x, y, z = (float(s) for s in next(c for c in canonical if c is not None).spacing_mm)
    return _Piece((x, y, z), shape, prod(shape) / prod(grid.shape), tuple(values))


def _statistics(pieces: Sequence[Float]) -> Statistics:
    values = np.concatenate(pieces)
    if values.size == 0:
        return Statistics(mean=0.0, std=1.0, low=0.0, high=1.0)
    low, high = np.percentile(values, (0.5, 99.5))
    mean, std = np.mean(values, dtype=np.float64), np.std(values, dtype=np.float64)
    return Statistics(mean=float(mean), std=float(std), low=float(low), high=float(high))

"""The batch of each step. It depends on seed and number of the step alone.

No state has to be kept for a training that is taken up again, and threads may make batches ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from bonekit.segmentation.task import Task
from bonekit.segmentation.training import augment
from bonekit.segmentation.training.sampling import Pool, cut, draw
from bonekit.segmentation.training.settings import TrainSettings

TRAINING, VALIDATION = 0, 1
AHEAD = 2  # batches that each thread may be ahead


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches of one step.

    Parameters
    ----------
    images : Tensor of float32, (B, channels, *patch)
    labels : Tensor of uint8, (B, 1, *patch)
    subjects : tuple of str
    """

    images: Tensor
    labels: Tensor
    subjects: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """All that batches are made from.

    Parameters
    ----------
    pool : Pool
    task : Task
    patch : tuple of int
    batch : int
        Patches of a step over all processes.
    settings : TrainSettings
    rank, processes : int
        This process takes every `processes`-th patch of a step.
    """

    pool: Pool
    task: Task
    patch: tuple[int, ...]
    batch: int
    settings: TrainSettings
    rank: int = 0
    processes: int = 1

    def training(self, step: int) -> Batch:
        """Make the augmented batch of a step."""
        numbers = range(self.rank, self.batch, self.processes)
        return self._batch([TRAINING, step], numbers, self.settings.augment)

    def validation(self, number: int) -> Batch:
        """Make a batch of validation, the same at every call."""
        return self._batch([VALIDATION, number], range(self.batch), False)

    def _batch(self, key: Sequence[int], numbers: Sequence[int], augmented: bool) -> Batch:
        made = []
        for number in numbers:
            rng = np.random.default_rng([self.settings.seed, *key, number])
            made.append(self._patch(rng, augmented))
        images, labels, names = zip(*made, strict=True)
        return Batch(torch.stack(images), torch.stack(labels), tuple(names))

    def _patch(self, rng: np.random.Generator, augmented: bool) -> tuple[Tensor, Tensor, str]:
        s, task = self.settings, self.task
        lesion_share = s.lesion_share
        if lesion_share is None:
            lesion_share = 2 / 3 if task.dims == 2 else 1 / 3
        where = draw(rng, self.pool, task, lesion_share, s.foreground_share)
        subject = self.pool.subjects[where.subject]
        matrix = augment.random_matrix(rng, self.patch) if augmented else None
        room = None if matrix is None else augment.room_for(matrix, self.patch)
        image, labels = (torch.from_numpy(x) for x in cut(subject, where, self.patch, room))
        labels = labels[None]
        if matrix is not None:
            image, labels = augment.warp(image, labels, matrix, self.patch)
        if augmented:
            axes = augment.mirrored_axes(task, where.axis)
            image, labels = augment.mirror(rng, image, labels, axes)
            image = augment.change_values(rng, image, task)
            image = augment.drop_channels(rng, image, task, s.channel_dropout)
        return image, labels, subject.name


def batches(source: Source, start: int) -> Generator[Batch, None, None]:
    """Yield the batches from a step on, without end; close the iterator when done."""
    workers = source.settings.workers
    if workers == 0:
        yield from map(source.training, count(start))
    pool = ThreadPoolExecutor(workers)
    steps = count(start)
    waiting: deque[Future[Batch]] = deque()
    try:
        while True:
            while len(waiting) <= AHEAD * workers:
                waiting.append(pool.submit(source.training, next(steps)))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

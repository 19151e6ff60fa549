"""A batch is decided by seed and step, whoever makes it."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch

from bonekit.image import Grid
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.task import Channel, Task
from bonekit.segmentation.training.batches import Batch, Source, batches
from bonekit.segmentation.training.sampling import make_pool
from bonekit.segmentation.training.settings import TrainSettings

torch.set_num_threads(1)
GRID = Grid((12, 12, 12), np.eye(4))


def source(workers: int = 0, rank: int = 0, processes: int = 1, seed: int = 0) -> Source:
    rng = np.random.default_rng(0)
    subjects = []
    for name in "ab":
        labels = (rng.random(GRID.shape) < 0.1).astype(np.uint8)
        image = rng.normal(size=(1, *GRID.shape)).astype(np.float32)
        subjects.append(Prepared(name, image, labels, GRID, GRID))
    task = Task(
        name="toy",
        description="",
        channels=(Channel(name="mr", modality="mri", normalisation="zscore"),),
        labels={"background": 0, "bone": 1},
    )
    settings = TrainSettings(seed=seed, workers=workers)
    return Source(make_pool(subjects, task, 0), task, (8, 8, 8), 4, settings, rank, processes)


def first(one: Source, start: int, number: int) -> list[Batch]:
    with closing(batches(one, start)) as coming:
        return [next(coming) for _ in range(number)]


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_threads_and_a_later_start_change_nothing() -> None:
    plain = first(source(), 0, 8)
    assert plain[0].images.shape == (4, 1, 8, 8, 8)
    assert plain[0].labels.dtype == torch.uint8
    assert not same(plain[0], plain[1])
    threaded = first(source(workers=3), 3, 5)
    assert all(same(a, b) for a, b in zip(plain[3:], threaded, strict=True))
    assert not same(plain[0], source(seed=1).training(0))


def test_processes_share_the_patches_of_a_step() -> None:
    whole = source().training(5)
    parts = [source(rank=r, processes=3).training(5) for r in range(3)]
    assert [len(p.subjects) for p in parts] == [2, 1, 1]
    assert torch.equal(parts[0].images, whole.images[0::3])
    assert torch.equal(parts[1].labels, whole.labels[1::3])


def test_validation_is_the_same_each_time_and_not_augmented() -> None:
    one = source()
    batch = one.validation(0)
    assert same(batch, source(workers=2).validation(0))
    assert not same(batch, one.validation(1))
    known = np.concatenate([s.image.reshape(-1) for s in one.pool.subjects])
    assert np.isin(batch.images.numpy(), known).all()

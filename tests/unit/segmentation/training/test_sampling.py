"""Where patches are taken, and what is cut there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.task import Channel, Metrics, Task, View
from bonekit.segmentation.training.sampling import Draw, cut, draw, make_pool

GRID = Grid((8, 10, 12), np.eye(4))


def task(views: tuple[View, ...] = ("volume",), lesions: tuple[str, ...] = ("lesion",)) -> Task:
    return Task(
        name="toy",
        description="",
        channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
        labels={"background": 0, "bone": 1, "lesion": 2},
        views=views,
        metrics=Metrics(lesions=lesions),
    )


def subject(name: str = "a", lesion: bool = True) -> Prepared:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[2:6, 2:8, 2:10] = 1
    if lesion:
        labels[4, 6, 9] = 2
    image = np.arange(labels.size, dtype=np.float32).reshape(1, *GRID.shape)
    return Prepared(name, image, labels, GRID, GRID)


def test_lesions_are_asked_for_as_often_as_said_and_only_where_they_are() -> None:
    pool = make_pool([subject(), subject("b", lesion=False)], task(("axial",)), seed=0)
    assert pool.ill == (0,)
    rng = np.random.default_rng(0)
    drawn = [draw(rng, pool, task(("axial",)), 2 / 3, 0.0) for _ in range(3000)]
    hit = [d.subject == 0 and d.centre == (4, 6, 9) for d in drawn]
    assert np.mean(hit) == pytest.approx(2 / 3, abs=0.03)
    rest = [d.subject for d, h in zip(drawn, hit, strict=True) if not h]
    assert np.mean(rest) == pytest.approx(0.5, abs=0.06)


def test_foreground_share_draws_every_label_alike() -> None:
    pool = make_pool([subject()], task(lesions=()), seed=0)
    rng = np.random.default_rng(0)
    drawn = [draw(rng, pool, task(lesions=()), 1.0, 1.0) for _ in range(2000)]
    labels = np.array([pool.subjects[0].labels[d.centre] for d in drawn])  # type: ignore[index]
    assert np.mean(labels == 2) == pytest.approx(0.5, abs=0.04)
    assert not (labels == 0).any()


def test_all_views_are_drawn() -> None:
    triplanar = task(("axial", "coronal", "sagittal"))
    pool = make_pool([subject()], triplanar, seed=0)
    rng = np.random.default_rng(0)
    axes = [draw(rng, pool, triplanar, 0.5, 0.5).axis for _ in range(300)]
    assert [axes.count(a) > 70 for a in range(3)] == [True] * 3
    assert draw(rng, make_pool([subject()], task(), 0), task(), 0.5, 0.5).axis is None


def test_volume_patch_is_moved_inside() -> None:
    one = subject()
    image, labels = cut(one, Draw(0, None, (0, 9, 6)), (4, 4, 4))
    assert np.array_equal(image[0], one.image[0, 0:4, 6:10, 4:8])
    assert np.array_equal(labels, one.labels[0:4, 6:10, 4:8])  # type: ignore[index]


@pytest.mark.parametrize(("axis", "level"), [(0, 4), (1, 6), (2, 9)])
def test_slice_is_across_its_axis_and_holds_the_centre(axis: int, level: int) -> None:
    one = subject()
    image, labels = cut(one, Draw(0, axis, (4, 6, 9)), (6, 6))
    whole = np.take(one.image[0], level, axis)
    assert image.shape == (1, 6, 6)
    assert 2 in labels
    assert np.isin(image, whole).all()


def test_small_volume_goes_on_with_its_border_values() -> None:
    one = subject()
    image, labels = cut(one, Draw(0, None, (4, 5, 6)), (12, 10, 12))
    assert image.shape == (1, 12, 10, 12)
    assert labels.shape == (12, 10, 12)
    assert np.array_equal(image[0, 2:10], one.image[0])
    assert np.array_equal(image[0, 0], one.image[0, 0])
    assert np.array_equal(image[0, -1], one.image[0, -1])


def test_room_around_a_patch_has_the_same_middle() -> None:
    one = subject()
    where = Draw(0, None, (4, 5, 6))
    small, _ = cut(one, where, (4, 4, 4))
    large, _ = cut(one, where, (4, 4, 4), (14, 6, 8))
    assert np.array_equal(large[:, 5:9, 1:5, 2:6], small)


def test_subjects_without_labels_and_no_subjects_are_refused() -> None:
    with pytest.raises(InputError, match="subject a has no labels"):
        make_pool([replace(subject(), labels=None)], task(), 0)
    with pytest.raises(InputError, match="no subjects"):
        make_pool([], task(), 0)

import errno
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, write
from bonekit.segmentation.data import cache
from bonekit.segmentation.data.cache import cached
from bonekit.segmentation.data.prepare import prepare
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task_files import load_task

BONE = load_task("bone_ct")
PLAN = Plan(
    spacing_mm=(1.5, 1.5, 1.5),
    median_shape=(8, 8, 8),
    patch=(8, 8, 8),
    batch=2,
    features=(8,),
    kernels=((3, 3, 3),),
    strides=((1, 1, 1),),
    statistics=(Statistics(mean=300.0, std=200.0, low=0.0, high=1000.0),),
)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    grid = Grid.of((12, 12, 12), (1.0, 1.0, 1.0), (4.0, 5.0, 6.0))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[3:9, 3:9, 3:9] = 1
    write(Image(np.where(labels, 500, -1000).astype(np.int16), grid), tmp_path / "ct.nii.gz")
    write(LabelMap(labels, grid), tmp_path / "labels.nii.gz")
    return Subject("a", (tmp_path / "ct.nii.gz",), tmp_path / "labels.nii.gz")


def test_what_is_mapped_is_what_was_prepared(subject: Subject, tmp_path: Path) -> None:
    plain = prepare(subject, BONE, PLAN)
    for _ in range(2):
        made = cached(subject, BONE, PLAN, tmp_path / "cache")
        assert isinstance(made.image, np.memmap)
        np.testing.assert_array_equal(made.image, plain.image)
        np.testing.assert_array_equal(made.labels, plain.labels)
        assert made.image.dtype == np.float32
        assert made.labels is not None
        assert made.labels.dtype == np.uint8
        assert made.grid.same_as(plain.grid)
        assert made.native.same_as(plain.native)
    unlabelled = cached(Subject("a", subject.images), BONE, PLAN, tmp_path / "cache")
    assert unlabelled.labels is None


def test_files_are_read_once(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(subject, BONE, PLAN, tmp_path / "cache")
    monkeypatch.setattr(cache, "prepare", lambda *_: pytest.fail("prepared again"))
    cached(subject, BONE, PLAN, tmp_path / "cache")


def test_whatever_changes_the_result_changes_the_key(subject: Subject, tmp_path: Path) -> None:
    other = PLAN.model_copy(update={"spacing_mm": (1.0, 1.0, 1.0)})
    shifted = Statistics(mean=301.0, std=200.0, low=0.0, high=1000.0)
    keys = {
        cache.key(subject, BONE, PLAN),
        cache.key(subject, BONE, other),
        cache.key(subject, BONE, PLAN.model_copy(update={"statistics": (shifted,)})),
        cache.key(subject, BONE, PLAN.model_copy(update={"inside_nonzero": True})),
        cache.key(Subject("a", subject.images), BONE, PLAN),
    }
    assert len(keys) == 5
    assert cache.key(subject, BONE, PLAN.model_copy(update={"batch": 7})) in keys
    image = subject.images[0]
    assert image is not None
    write(Image(np.zeros((3, 3, 3), np.int16), Grid.of((3, 3, 3), 1.0)), image)
    assert cache.key(subject, BONE, PLAN) not in keys


def test_a_full_disk_is_named_and_leaves_nothing(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_save = np.save

    def full(path: Path, array: np.ndarray) -> None:
        if path.name == "labels.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain_save(path, array)

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(InputError, match=r"can't hold a \(0 MB\): No space left.*Make room"):
            cached(subject, BONE, PLAN, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    cached(subject, BONE, PLAN, tmp_path / "cache")


def test_damaged_entries_and_missing_files_are_named(subject: Subject, tmp_path: Path) -> None:
    cached(subject, BONE, PLAN, tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    (entry / "image.npy").write_bytes((entry / "image.npy").read_bytes()[:200])
    with pytest.raises(InputError, match=r"is damaged .*delete it"):
        cached(subject, BONE, PLAN, tmp_path / "cache")
    with pytest.raises(InputError, match="can't be read"):
        cached(Subject("a", (tmp_path / "no.nii.gz",)), BONE, PLAN, tmp_path / "cache")


def test_too_many_subjects_for_the_system_are_named(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(InputError, match=r"a: more files are open .*ulimit -n"):
        cached(subject, BONE, PLAN, tmp_path / "cache")

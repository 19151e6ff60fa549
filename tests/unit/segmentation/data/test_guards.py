from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, write
from bonekit.segmentation.data.guards import check
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Task
from bonekit.segmentation.task_files import load_task

BONE = load_task("bone_ct")
LEG = load_task("leg_muscle_dixon")
MS = load_task("ms_lesions")
MAPS = load_task("dawm")
GRID = Grid.of((10, 9, 8), (1.0, 1.0, 2.0))
Maker = Callable[..., Subject]


@pytest.fixture
def subject(tmp_path: Path) -> Maker:
    """Write a subject: a ct of 500 HU in air and labels, or what is given."""

    def make(
        name: str, *images: Image | None, labels: np.ndarray | None = None, shift: int = 0
    ) -> Subject:
        inside = np.zeros(GRID.shape, dtype=np.uint8)
        inside[2:6, 2:6, 2:6] = 1
        hu = Image(np.where(inside, 500 + shift, -1000).astype(np.int16), GRID)
        paths: list[Path | None] = []
        for number, image in enumerate(images or [hu]):
            paths.append(None if image is None else tmp_path / f"{name}_{number:04d}.nii.gz")
            if image is not None:
                write(image, tmp_path / f"{name}_{number:04d}.nii.gz")
        write(LabelMap(inside if labels is None else labels, GRID), tmp_path / f"{name}.nii.gz")
        return Subject(name, tuple(paths), tmp_path / f"{name}.nii.gz")

    return make


def noise(grid: Grid = GRID, scale: float = 100.0, seed: int = 0) -> Image:
    values = np.random.default_rng(seed).normal(500.0, scale, grid.shape)
    return Image(values.astype(np.float32), grid)


def complaint(task: Task, *subjects: Subject, plan: Plan | None = None) -> str:
    with pytest.raises(InputError) as caught:
        check(Dataset(task, subjects), plan)
    return str(caught.value)


def test_a_good_data_set_passes(subject: Maker) -> None:
    done: list[int] = []
    check(Dataset(BONE, (subject("a"), subject("b", shift=1))), None, done.append)
    assert done == [1, 2]


def test_values_that_are_no_hu(subject: Maker) -> None:
    windowed = Image((noise().array % 255).astype(np.uint8), GRID)
    found = complaint(BONE, subject("a", windowed), subject("b"))
    assert found.startswith("1 findings")
    assert "a, channel ct: this image is not a CT in HU" in found
    assert "8-bit range" in found


def test_values_of_other_modalities(subject: Maker) -> None:
    flat = noise().with_array(np.full(GRID.shape, 3.0, np.float32))
    assert "channel fat: all voxels are 3" in complaint(LEG, subject("a", flat, None, None, None))
    array = noise().array.copy()
    array[0, 0, 0] = np.inf
    broken = complaint(LEG, subject("a", noise().with_array(array), None, None, None))
    assert "channel fat: NaN or infinite" in broken
    seconds = noise(scale=1e6)
    found = complaint(MAPS, subject("a", seconds, None, None))
    assert "the task allows 0 to 10000. Is it another image, or in another unit?" in found


def test_channels_missing_or_elsewhere(subject: Maker) -> None:
    turned = Grid.of(GRID.shape, GRID.spacing_mm, GRID.origin_mm, np.diag([-1.0, 1.0, 1.0]))
    found = complaint(
        LEG,
        subject("a", noise(), noise(turned, seed=1), None, None),
        subject("b", None, None, None, None),
        subject("c", noise(seed=2), None, None, None),
    )
    assert found.startswith("2 findings")
    assert "a: channel water lies elsewhere than fat" in found
    assert "b: channel every one is missing" in found


def test_labels_unknown_empty_or_elsewhere(subject: Maker) -> None:
    empty = np.zeros(GRID.shape, dtype=np.uint8)
    two = subject("a", labels=empty + 2)
    none = subject("b", labels=empty, shift=1)
    other = replace(subject("c", shift=2), labels=subject("d").images[0])
    found = complaint(BONE, two, none, other)
    assert "a: label 2 is not in the task bone_ct; allowed: 0 background, 1 bone" in found
    assert "b: the labels are empty" in found
    assert "c: " in found
    assert "is no label map" in found
    check(Dataset(MS, (subject("e", noise(), None, None, labels=empty),)))


def test_the_same_images_twice(subject: Maker) -> None:
    found = complaint(BONE, subject("a"), subject("b"))
    assert "b has the same images as a: in two folds" in found
    assert "a occurs more than once" in complaint(BONE, subject("a"), subject("a"))
    assert "there is no subject" in complaint(BONE)


def test_volumes_thinner_than_the_patch(subject: Maker) -> None:
    plan = Plan(
        spacing_mm=(1.0, 1.0, 1.0),
        median_shape=(32, 32, 32),
        patch=(16, 16, 32),
        batch=2,
        features=(8, 16),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        statistics=(Statistics(mean=0.0, std=1.0, low=-2.0, high=2.0),),
    )
    check(Dataset(BONE, (subject("a"),)), plan)
    thick = plan.model_copy(update={"patch": (16, 16, 40)})
    found = complaint(BONE, subject("a"), plan=thick)
    assert "a: 10x9x16 voxels at the plan's spacing are thinner than half of the patch" in found
    views = BONE.model_copy(update={"views": ("sagittal", "coronal", "axial")})
    check(Dataset(views, (subject("a"),)), plan.model_copy(update={"patch": (20, 18)}))
    assert "thinner" in complaint(
        views, subject("a"), plan=plan.model_copy(update={"patch": (24, 40)})
    )

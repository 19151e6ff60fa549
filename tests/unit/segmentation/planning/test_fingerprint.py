import json
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, write
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.planning.files import (
    describe,
    load_fingerprint,
    load_plan,
    save,
)
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.task_files import load_task

BONE = load_task("bone_ct")


def subject(folder: Path, name: str, mean: float, size: int) -> Subject:
    """Write a cube of bone in a volume whose outer half is zero."""
    rng = np.random.default_rng(int(mean))
    grid = Grid.of((20, 24, 10), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), np.diag([-1.0, 1.0, 1.0]))
    image = np.zeros(grid.shape, dtype=np.int16)
    image[:10] = -100
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[:size, :size, :size] = 1
    image[labels > 0] = rng.normal(mean, 10.0, int(labels.sum()))
    write(Image(image, grid), folder / f"{name}.nii.gz")
    write(LabelMap(labels, grid), folder / f"{name}_seg.nii.gz")
    return Subject(name, (folder / f"{name}.nii.gz",), folder / f"{name}_seg.nii.gz")


def test_geometry_is_that_of_the_crop_and_subjects_count_alike(tmp_path: Path) -> None:
    pair = subject(tmp_path, "a", 300.0, 9), subject(tmp_path, "b", 500.0, 5)
    done: list[int] = []
    found = fingerprint(Dataset(BONE, pair), done.append)
    assert found.shapes == ((10, 24, 10),) * 2
    assert found.spacings_mm == ((1.0, 1.0, 2.0),) * 2
    assert found.kept == 0.5
    assert done == [1, 2]
    one = found.statistics[0]
    assert one.mean == pytest.approx(400.0, abs=2.0)  # not 325, the mean of all voxels
    assert one.std == pytest.approx(np.hypot(100.0, 10.0), abs=2.0)
    assert 265 < one.low < 290
    assert 515 < one.high < 535


def test_absent_channels_and_empty_labels(tmp_path: Path) -> None:
    leg = load_task("leg_muscle_dixon")
    first = subject(tmp_path, "a", 300.0, 9)
    partly = Subject("a", (None, first.images[0], None, None), first.labels)
    found = fingerprint(Dataset(leg, (partly,)))
    assert found.statistics[0].std == 1.0
    assert found.statistics[1].mean == pytest.approx(300.0, abs=2.0)
    with pytest.raises(InputError, match="no subject has a labelled voxel"):
        fingerprint(Dataset(BONE, (subject(tmp_path, "b", 300.0, 0),)))
    with pytest.raises(InputError, match="no subject has labels"):
        fingerprint(Dataset(BONE, (Subject("a", first.images),)))


def test_files_and_words(tmp_path: Path) -> None:
    found = fingerprint(Dataset(BONE, (subject(tmp_path, "a", 300.0, 9),)))
    save(found, tmp_path / "fingerprint.json")
    assert load_fingerprint(tmp_path / "fingerprint.json") == found
    plan = make_plan(found, BONE)
    save(plan, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == plan
    words = describe(plan)
    assert "spacing   1x1x2 mm; median volume 10x24x10 voxels" in words
    assert "100 % of a volume" in words
    assert "z-scores inside" in words
    assert "cascade" not in words
    large = Plan.model_validate(plan.model_dump() | {"low_resolution": plan})
    assert "cascade   nnU-Net would put a network at 1x1x2 mm" in describe(large)
    assert "bonekit trains this one alone" in describe(large)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        load_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text('{"patch": [1]}')
    with pytest.raises(InputError, match=r"wrong entries:(.|\n)*spacing_mm: Field required"):
        load_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": (10, 12)}, "multiple of all strides"),
        ({"patch": (12, 12, 12)}, "two or three numbers each"),
        ({"features": (8,)}, "one entry for each stage"),
        ({"strides": ((2, 2), (2, 2))}, "the first stage has strides of 1"),
        ({"batch": 0}, "batch"),
        ({"memory": 8}, "memory: Extra inputs"),
    ],
)
def test_plans_that_do_not_fit_together_are_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    good = {
        "spacing_mm": (1, 1, 1),
        "median_shape": (32, 32, 32),
        "patch": (12, 8),
        "batch": 2,
        "features": (8, 16),
        "kernels": ((3, 3), (3, 3)),
        "strides": ((1, 1), (4, 4)),
        "statistics": [{"mean": 0, "std": 1, "low": 0, "high": 1}],
    }
    (tmp_path / "plan.json").write_text(json.dumps(good))
    load_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(json.dumps(good | change))
    with pytest.raises(InputError, match=message):
        load_plan(tmp_path / "plan.json")

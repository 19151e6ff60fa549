"""Whole synthetic data sets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image import Grid, LabelMap, read, read_labels
from bonekit.segmentation.synthesis import (
    RECIPES,
    LesionRecipe,
    cases,
    draw_case,
    insert_lesions,
    make_dataset,
    simulate_rater,
)
from bonekit.segmentation.task_files import load_task

TASKS = (
    "bone_ct",
    "bone_metastases_ct",
    "leg_muscle_dixon",
    "ms_lesions",
    "ms_new_lesions",
    "dawm",
    "ultrasound_3d",
)
SMALL = {"shape": (32, 32, 32), "spacing_mm": (3.0, 3.0, 3.0)}


@pytest.mark.parametrize("name", TASKS)
def test_every_built_in_task_can_be_drawn(name: str) -> None:
    task = load_task(name)
    seen: set[int] = set()
    for seed in range(4):
        case = draw_case(task, np.random.default_rng(seed), **SMALL)
        assert len(case.images) == len(task.channels)
        assert all(image.grid.same_as(case.labels.grid) for image in case.images)
        for image, channel in zip(case.images, task.channels, strict=True):
            assert np.isfinite(image.array).all()
            if channel.values is not None:
                assert channel.values[0] <= image.array.min()
                assert image.array.max() <= channel.values[1]
        seen |= set(np.unique(case.labels.array).tolist())
    assert seen == set(task.labels.values())


def test_water_and_fat_make_the_phases() -> None:
    task = load_task("leg_muscle_dixon")
    quiet = {"noise": "none", "bias": (0.0, 0.0), "slice_mm": (0.0, 0.0), "limits": None}
    recipes = {name: RECIPES[name].model_copy(update=quiet) for name in ("fat", "water")}
    case = draw_case(task, np.random.default_rng(0), recipes=recipes, **SMALL)
    fat, water, together, apart = (image.array.astype(float) for image in case.images)
    inside = case.labels.array > 0
    assert np.allclose(together[inside], (fat + water)[inside], rtol=1e-5)
    assert np.allclose(apart[inside], np.abs(water - fat)[inside], rtol=1e-5)


def test_the_worse_scanner_is_noisier() -> None:
    task = load_task("bone_ct")
    noise: dict[str, list[float]] = {"A": [], "B": []}
    for seed in range(16):
        case = draw_case(task, np.random.default_rng(seed), **SMALL)
        muscle = case.images[0].array[13:19, 4:8, 12:20]
        noise[case.columns["scanner"]].append(float(np.std(np.diff(muscle, axis=0))))
    assert np.mean(noise["B"]) > 1.3 * np.mean(noise["A"])


def test_a_set_on_disk_is_nnunets_raw_layout(tmp_path: Path) -> None:
    task = load_task("bone_metastases_ct")
    made = make_dataset(tmp_path / "set", task, 3, seed=5, raters=1, **SMALL)
    names = [subject.name for subject in made.subjects]
    assert names == [f"bone_metastases_ct_{k:03d}" for k in range(3)]
    assert sorted(p.name for p in (tmp_path / "set" / "imagesTr").iterdir()) == [
        f"{name}_0000.nii.gz" for name in names
    ]
    content = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "ct"}  # nnU-Net folds the case: values in HU
    assert content["labels"] == {"background": 0, "bone": [1, 2], "lesion": [2]}
    assert content["regions_class_order"] == [1, 2]
    assert content["numTraining"] == 3
    for subject in made.subjects:
        labels = read_labels(subject.labels)
        truth = json.loads((tmp_path / "set" / "truth" / f"{subject.name}.json").read_text())
        volume = sum(lesion["volume_mm3"] for lesion in truth["lesions"])
        assert (labels.array == 2).sum() * 27.0 == volume
        assert read(subject.images[0]).grid.same_as(labels.grid)
        assert (tmp_path / "set" / "labelsTr_rater1" / f"{subject.name}.nii.gz").is_file()
    rows = (tmp_path / "set" / "sheet.csv").read_text().splitlines()
    assert rows[0] == "subject,scanner,site,synthetic,lesions"
    assert len(rows) == 4


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): read(p).array.tobytes()
        for p in sorted(folder.rglob("*.nii.gz"))
    }


def test_a_killed_run_gives_the_same_set(tmp_path: Path) -> None:
    task = load_task("ms_new_lesions")
    make_dataset(tmp_path / "whole", task, 3, seed=2, **SMALL)
    make_dataset(tmp_path / "part", task, 1, seed=2, **SMALL)
    half = tmp_path / "part" / "imagesTr" / "ms_new_lesions_001_0000.nii.gz"
    half.write_bytes(b"cut short")  # a subject without its truth was not finished
    make_dataset(tmp_path / "part", task, 3, seed=2, **SMALL)
    assert _contents(tmp_path / "part") == _contents(tmp_path / "whole")


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    task = load_task("bone_ct")
    make_dataset(tmp_path / "set", task, 1, seed=1, **SMALL)
    with pytest.raises(InputError, match="other settings"):
        make_dataset(tmp_path / "set", task, 1, seed=2, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="not an empty folder"):
        make_dataset(tmp_path / "mine", task, 1, seed=1, **SMALL)


def test_label_maps_of_the_user_become_images(tmp_path: Path) -> None:
    array = np.zeros((24, 24, 16), np.uint8)
    array[6:18, 6:18, 2:14] = 3
    maps = [LabelMap(array, Grid.of(array.shape, (3.0, 3.0, 3.0)), {3: "bone"})]
    made = make_dataset(
        tmp_path / "set", load_task("bone_metastases_ct"), 2, seed=0, label_maps=maps
    )
    for subject in made.subjects:
        labels, image = read_labels(subject.labels).array, read(subject.images[0]).array
        assert 0.5 < (labels > 0).sum() / (array > 0).sum() < 1.7
        assert image[labels == 1].mean() > 200
        assert image[0, 0, 0] < -800


def test_label_maps_with_wrong_names_are_refused(tmp_path: Path) -> None:
    array = np.ones((8, 8, 8), np.uint8)
    maps = [LabelMap(array, Grid.of(array.shape, (3.0, 3.0, 3.0)), {1: "femur"})]
    with pytest.raises(InputError, match=r"nothing that is bone.*Rename"):
        make_dataset(tmp_path / "set", load_task("bone_ct"), 1, seed=0, label_maps=maps)


def test_the_detailed_phantom_as_a_case() -> None:
    task = load_task("bone_metastases_ct")
    rng = np.random.default_rng(0)
    case = draw_case(task, rng, body="phantom", spacing_mm=(3.0, 3.0, 5.0))
    bone = case.images[0].array[case.labels.array == 1]
    assert bone.mean() > 200
    assert len(case.lesions) == 1
    volume = (case.labels.array == 2).sum() * case.labels.grid.voxel_mm3
    assert case.lesions[0].volume_mm3 == pytest.approx(volume)


def test_a_body_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"no body 'knee'.*femur, thigh, brain, organ"):
        draw_case(load_task("bone_ct"), np.random.default_rng(0), body="knee")
    with pytest.raises(InputError, match=r"recipes for pet.*channels ct"):
        draw_case(
            load_task("bone_ct"), np.random.default_rng(0), recipes={"pet": RECIPES["random"]}
        )


def test_a_rater_moves_borders_and_misses_small_lesions() -> None:
    array = np.zeros((32, 32, 32), np.uint8)
    array[8:24, 8:24, 8:24] = 1
    array[2:5, 2:5, 2:5] = 2
    labels = LabelMap(array, Grid.of(array.shape, (1.0, 1.0, 1.0)))
    wrong = []
    for seed in range(6):
        other = simulate_rater(labels, np.random.default_rng(seed), miss=1.0, miss_mm3=100.0)
        assert not (other.array == 2).any()
        wrong.append(((other.array == 1) != (array == 1)).sum() / (6 * 16**2))
    # Voxels that changed sides per mm2 of border are its mean displacement, 0.7 sqrt(2/pi) = 0.56
    assert 0.4 < np.mean(wrong) < 0.75
    same = simulate_rater(labels, np.random.default_rng(0), border_mm=0.0, miss=0.0)
    assert np.array_equal(same.array, array)


def test_lesions_of_white_matter_are_dark_in_t1_and_bright_in_flair() -> None:
    task = load_task("ms_lesions")
    case = draw_case(task, np.random.default_rng(4))
    lesion = case.labels.array == 1
    around = ndimage.binary_dilation(lesion, iterations=2) & ~ndimage.binary_dilation(lesion)
    contrast = {
        channel.name: float(image.array[lesion].mean() - image.array[around].mean())
        for channel, image in zip(task.channels, case.images, strict=True)
    }
    assert contrast["flair"] > 20
    assert contrast["t1"] < -20


def test_a_pair_of_visits_has_old_lesions_that_are_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def insert(
        images: object, labels: object, recipe: LesionRecipe, *more: Any, **named: Any
    ) -> Any:
        seen.append(recipe.label)
        return insert_lesions(images, labels, recipe, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(cases, "insert_lesions", insert)
    case = draw_case(load_task("ms_new_lesions"), np.random.default_rng(1))
    assert seen == ["old_lesion", "new_lesion"]
    assert set(np.unique(case.labels.array)) <= {0, 1}


def test_subjects_differ_and_label_maps_take_turns(tmp_path: Path) -> None:
    grid = Grid.of((32, 32, 32), (3.0, 3.0, 3.0))
    small, large = np.zeros((2, *grid.shape), np.uint8)
    small[12:20, 12:20, 12:20] = 1
    large[6:26, 6:26, 6:26] = 1
    maps = [LabelMap(array, grid, {1: "bone"}) for array in (small, large)]
    made = make_dataset(tmp_path / "set", load_task("bone_ct"), 4, seed=0, label_maps=maps)
    masks = [read_labels(s.labels).array for s in made.subjects if s.labels is not None]
    volumes = [int(mask.sum()) for mask in masks]
    assert max(volumes[::2]) < 1500 < 4000 < min(volumes[1::2])  # of 512 and 8000
    assert not np.array_equal(masks[0], masks[2])  # the same map, bent anew

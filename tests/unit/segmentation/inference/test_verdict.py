from dataclasses import replace

import numpy as np
import pytest

from bonekit.image import Grid, Image
from bonekit.segmentation.inference import predict
from bonekit.segmentation.inference.clean import clean
from bonekit.segmentation.inference.source import open_source
from bonekit.segmentation.inference.verdict import Verdict, judge
from bonekit.segmentation.planning.plan import Statistics

from .conftest import ct, toy_model, toy_plan, toy_task

SHAPE = (20, 18, 16)
GRID = Grid.of(SHAPE, (1.0, 1.0, 2.0))


def scan(bone_hu: float = 300.0) -> Image:
    """A bone of 8x8x8 voxels with 250 HU of noise, in water."""
    array = np.random.default_rng(0).normal(0, 50, SHAPE)
    array[6:14, 5:13, 4:12] = bone_hu + 250 * np.random.default_rng(1).standard_normal((8, 8, 8))
    return Image(array.astype(np.int16), GRID)


def block() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[6:14, 5:13, 4:12] = 1
    return labels


def verdict(labels: np.ndarray, image: Image | None = None, entropy: int = 10) -> Verdict:
    task = toy_task(metrics={"lesions": ("lesion",)})
    model = toy_model(task, toy_plan(spacing_mm=(1.0, 1.0, 2.0)))
    source = open_source(model, [image or scan()])
    return judge(model, source, labels, np.full(SHAPE, entropy, dtype=np.uint8))


def codes(found: Verdict) -> set[str]:
    return {f.code for f in found.findings}


def test_a_whole_bone_like_those_of_the_training_is_sound() -> None:
    found = verdict(block())
    assert found.sound
    assert codes(found) == {"absent"}  # no lesion: a note
    assert found.measures["bone_volume_ml"] == pytest.approx(512 * 2 / 1000)
    assert found.measures["bone_components"] == 1
    assert found.measures["bone_holes"] == 0
    assert found.measures["bone_border_mm2"] == 0
    assert found.measures["ct_distance"] < 0.15
    assert found.measures["border_entropy"] == pytest.approx(10 / 255)


def test_another_intensity_than_in_training_is_found() -> None:
    found = verdict(block(), scan(900.0))
    assert not found.sound
    assert "unlike-training" in codes(found)
    assert found.measures["ct_distance"] == pytest.approx(600 / 250, rel=0.1)


def test_pieces_holes_and_the_edge_of_the_image_are_found() -> None:
    labels = block()
    labels[8:10, 8:10, 6:8] = 0
    labels[0, 0:4, 0:5] = 1
    found = verdict(labels)
    assert codes(found) >= {"holes", "cut"}
    assert found.measures["bone_components"] == 2
    assert found.measures["bone_holes"] == 1
    # 4x5 voxels of 1x2 mm on one face, 5 of 1x2 and 4 of 1x1 on two others
    assert found.measures["bone_border_mm2"] == pytest.approx(4 * 5 * 2 + 5 * 2 + 4 * 1)
    labels[0, 0:8, 0:8] = 1
    assert "pieces" in codes(verdict(labels))


def test_an_empty_result_and_a_guess_are_found() -> None:
    empty = verdict(np.zeros(SHAPE, dtype=np.uint8))
    assert not empty.sound
    assert empty.measures["bone_volume_ml"] == 0
    assert "ct_distance" not in empty.measures
    assert "unsure" in codes(verdict(block(), entropy=200))


def test_border_and_inner_entropy_are_apart() -> None:
    entropy = np.full(SHAPE, 255, dtype=np.uint8)
    entropy[7:13, 6:12, 5:11] = 0  # the block without its outer layer
    task = toy_task()
    model = toy_model(task, toy_plan(spacing_mm=(1.0, 1.0, 2.0)))
    found = judge(model, open_source(model, [scan()]), block(), entropy)
    assert found.measures["border_entropy"] == 1.0
    assert found.measures["inner_entropy"] == 0.0


def test_cleaning_keeps_the_order_of_the_task() -> None:
    labels = block()
    labels[8:10, 8:10, 6:8] = 2  # 8 voxels of 2 mm3
    labels[9, 9, 10] = 0
    labels[0, 0, 0] = 1
    steps = [
        {"label": "bone", "keep_largest": True},
        {"label": "lesion", "least_ml": 0.017},
        {"label": "bone", "fill_holes": True},
    ]
    first = labels.copy()
    clean(first, toy_task(clean=steps), 2.0)
    np.testing.assert_array_equal(first, block())  # too small a lesion became bone
    steps[1]["least_ml"] = 0.016
    clean(labels, toy_task(clean=steps), 2.0)
    assert (labels == 2).sum() == 8
    assert labels[0, 0, 0] == 0
    assert labels[9, 9, 10] == 1


def test_a_prediction_is_cleaned_with_its_samples() -> None:
    from bonekit.segmentation.inference import PredictSettings

    steps = [{"label": "bone", "keep_largest": True}]
    model = toy_model(toy_task(clean=steps))
    found = predict(model, [ct()], PredictSettings(samples=1))
    assert found.verdict.measures["bone_components"] == 1
    plain = predict(replace(model, task=toy_task()), [ct()])
    assert plain.verdict.measures["bone_components"] > 1
    assert plain.verdict.measures["ct_distance"] > 0


def test_z_scored_channels_have_no_distance() -> None:
    channels = [{"name": "t1", "modality": "mri", "normalisation": "zscore"}]
    plan = toy_plan().model_copy(
        update={"statistics": (Statistics(mean=0.0, std=1.0, low=-3.0, high=3.0),)}
    )
    found = predict(toy_model(toy_task(channels=channels), plan), [ct()])
    assert "t1_distance" not in found.verdict.measures

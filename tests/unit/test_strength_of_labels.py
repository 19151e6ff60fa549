"""Strength of label maps as an evaluation asks for it."""

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

import bonekit.strength_of_labels as module
from bonekit.case import Case, parse_case
from bonekit.errors import InputError, MeshQualityError
from bonekit.image import Grid, LabelMap, read_labels, write
from bonekit.segmentation.evaluation import Pair, evaluate
from bonekit.segmentation.synthesis.cases import draw_case
from bonekit.segmentation.task_files import load_task
from bonekit.strength_of_labels import FailureLoads

TASK = load_task("bone_metastases_ct")
GRID = Grid.of((4, 5, 6), (1.0, 1.0, 1.0))


def labels() -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[1:3, 1:4, 1:5] = 1
    array[2, 2, 2] = 2
    return LabelMap(array, GRID)


def test_bone_holds_its_lesion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def run(scan: Path, out: Path, bone: str, case: Case) -> object:
        asked.append((scan, bone, case))
        return type("Result", (), {"strength_N": 7.0})

    monkeypatch.setattr(module, "run", run)
    case = parse_case({"mesh": {"edge_mm": 2.5}}, "test")
    law = FailureLoads({"x": Path("x.mha")}, {"x": "femur_left"}, TASK, tmp_path, case)
    assert law("x", labels()) == 7.0
    ((scan, bone, used),) = asked
    assert (scan, bone) == (Path("x.mha"), "femur_left")
    assert isinstance(used, Case)
    assert used.mesh.edge_mm == 2.5
    assert not used.uncertainty.calibration
    assert not used.intact.compare
    assert used.segmentation.labels is not None
    assert used.segmentation.lesions is not None
    assert read_labels(used.segmentation.labels).mask("bone").sum() == 24
    assert read_labels(used.segmentation.lesions).array.sum() == 1


def test_a_bone_that_fails_has_no_strength(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(*_: object) -> object:
        raise MeshQualityError("one element is flat")

    monkeypatch.setattr(module, "run", run)
    law = FailureLoads({"x": Path("x.mha")}, {"x": "femur_left"}, TASK, tmp_path, Case())
    with caplog.at_level(logging.WARNING):
        assert np.isnan(law("x", labels()))
    assert "one element is flat" in caplog.text


def test_a_task_without_bone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a strength needs a CT"):
        FailureLoads({}, {}, load_task("ms_lesions"), tmp_path, Case())


def test_a_thinner_femur_is_weaker(tmp_path: Path) -> None:
    """Run for real, coarse: a prediction that misses 2 mm all round misses the cortex."""
    rng = np.random.default_rng(1)
    drawn = draw_case(TASK, rng, body="phantom", spacing_mm=(2.0, 2.0, 2.0))
    write(drawn.images[0], tmp_path / "ct.nii.gz")
    true = drawn.labels
    thin = true.with_array(np.where(binary_erosion(true.array > 0), true.array, 0))
    case = parse_case({"mesh": {"edge_mm": 4.0}}, "test")
    bones = {"x": drawn.columns["bone"]}
    law = FailureLoads({"x": tmp_path / "ct.nii.gz"}, bones, TASK, tmp_path / "runs", case)
    one = evaluate([Pair("x", true, thin)], TASK, failure_load=law).scores[0].failure_load
    assert 1000 < one["reference_N"] < 20_000
    assert -95 < one["change_percent"] < -40
    assert law("x", true) == one["reference_N"]

"""Landmarks on their way through a run: from the case file to result.json and the report."""

import json
from pathlib import Path

import pytest

from bonekit.case import parse_case
from bonekit.errors import InputError
from bonekit.landmark_results import landmark_results
from bonekit.pipeline.progress import silent
from bonekit.pipeline.stages import OPTIONAL, STAGES, Scan, segment_stage
from bonekit.runfolder import RunFolder
from bonekit.storage import load_segmentation


def segmented(patient, path: Path, landmarks_mm: dict) -> RunFolder:
    case = parse_case(
        {
            "bone": "femur_right",
            "segmentation": {"labels": str(patient.labels)},
            "anatomy": {"landmarks_mm": landmarks_mm},
        },
        "test",
    )
    folder = RunFolder(path, STAGES, OPTIONAL)
    segment_stage(folder, Scan(patient.ct, None), case, {}, silent)
    return folder


def test_a_point_of_the_case_file_replaces_what_was_found(patient, tmp_path: Path) -> None:
    found, field = load_segmentation(segmented(patient, tmp_path, {}).path)
    tip = (found.anatomy.greater_trochanter_mm + 2.0).tolist()
    folder = segmented(patient, tmp_path, {"greater_trochanter": tip})  # the stage runs again
    given, _ = load_segmentation(folder.path)
    assert given.anatomy.greater_trochanter_mm == pytest.approx(tip)
    mark = given.anatomy.landmark("greater_trochanter")
    assert mark.given
    told = landmark_results([mark])[0]
    assert told.given
    assert told.point_mm == pytest.approx(tip)
    outside = field.world([0, 0, field.shape[2] + 50]).tolist()
    with pytest.raises(InputError, match="outside the image"):
        segmented(patient, tmp_path, {"greater_trochanter": outside})
    with pytest.raises(InputError, match="known: head_centre"):
        segmented(patient, tmp_path, {"kneecap": tip})


def test_a_point_needs_three_numbers() -> None:
    with pytest.raises(InputError, match="landmarks_mm"):
        parse_case({"anatomy": {"landmarks_mm": {"head_centre": [1, 2]}}}, "test")


def test_result_and_report_tell_the_landmarks(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    marks = {mark["name"]: mark for mark in result["landmarks"]}
    assert marks["lesser_trochanter"]["confidence"] > 0.3
    assert marks["medial_condyle"]["point_mm"] is None
    angles = {angle["name"]: angle for angle in result["angles"]}
    assert angles["neck_shaft_angle"]["value_deg"] == pytest.approx(127.0, abs=3.0)
    assert angles["neck_shaft_angle"]["uncertainty_deg"] > 0
    assert angles["anteversion"]["value_deg"] is None
    report = (finished / "report.html").read_text(encoding="utf-8")
    assert "Landmarks and angles" in report
    assert "lesser trochanter" in report.lower()
    assert "needs the condyles" in report

"""Several loads of one bone: a run folder in the run folder for each further one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.pipeline import report_again, run, solve_again, stages

if TYPE_CHECKING:
    from conftest import Patient

FALL = {"case": "sideways_fall", "adduction_deg": 5.0}
NAME = "load_2_sideways_fall"


def case_of(patient: Patient, loads: list[dict[str, Any]]) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["more_loads"] = loads
    content["uncertainty"]["calibration"] = False
    return parse_case(content, "of a test")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


@pytest.mark.usefixtures("undrawn")
def test_a_further_load_is_a_run_of_its_own(patient: Patient, tmp_path: Path) -> None:
    out = tmp_path / "run"
    both = run(patient.ct, out, case=case_of(patient, [FALL]))
    (fall,) = both.other_loads
    assert (fall.folder, fall.load_case.name) == (NAME, "sideways_fall")
    assert fall.load_case.parameters["adduction_deg"] == 5.0
    own = json.loads((out / NAME / "result.json").read_text())
    assert own["strength_N"] == fall.strength_N
    assert own["load_case"]["name"] == "sideways_fall"
    assert both.load_case.name == "single_leg_stance"
    assert 0.2 * both.strength_N < fall.strength_N < both.strength_N
    assert max(own["balance"].values(), key=lambda x: x if x < 1 else 0) < 1e-6
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f'href="{NAME}/report.html"' in page
    assert f"{fall.strength_N / 1000:.2f} kN" in page

    # nothing is done again; nothing is lost when only the report is
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("solution.npz")}
    assert len(stamps) == 2
    assert run(patient.ct, out, case=case_of(patient, [FALL])) == both
    assert report_again(out).other_loads == both.other_loads
    assert {p: p.stat().st_mtime_ns for p in out.rglob("solution.npz")} == stamps

    # a load that the case no longer names leaves no result behind
    case = tmp_path / "alone.yaml"
    case.write_text("uncertainty: {calibration: false}\n")
    alone = solve_again(out, case)
    assert alone.other_loads == ()
    assert not (out / NAME).exists()


def test_a_load_for_another_bone_is_refused_at_once(patient: Patient, tmp_path: Path) -> None:
    content = read_case(patient.case).model_dump(mode="json")
    content["load"] = {"case": "endplate_compression"}
    with pytest.raises(InputError, match="endplate_compression is for a vertebra"):
        run(patient.ct, tmp_path / "run", case=parse_case(content, "of a test"))

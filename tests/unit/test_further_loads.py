"""Several loads of one bone: a run folder in the run folder for each further one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.image import LabelMap, write
from bonekit.phantom import ScannerParameters, vertebra_phantom
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


LOADS: tuple[dict[str, Any], ...] = (
    {"case": "single_leg_stance", "head": "cup"},
    {"case": "single_leg_stance", "head": "guided", "distal": "pivot", "pivot_mm": 100.0},
    {"case": "single_leg_stance", "distal": "springs", "cement_mm": 5.0},
    {"case": "single_leg_stance", "convention": "leuven"},
    {"case": "single_leg_stance", "convention": "lyon"},
    {"case": "single_leg_stance", "convention": "nijmegen"},
    {"case": "sideways_fall", "distal": "clamped"},
    {"case": "sideways_fall", "cement_mm": 5.0, "distal": "pivot"},
    {"case": "walking"},
    {"case": "stair_climbing"},
    {"case": "shaft_torsion"},
    {"case": "four_point_bending"},
    {
        "case": "named_sets",
        "held": [{"set": "distal_face"}],
        "loaded": [{"set": "head_cap", "force_N": [0.0, 0.0, -1000.0]}],
    },
)
OF_A_VERTEBRA: tuple[dict[str, Any], ...] = (
    {"case": "endplate_compression", "strain": 0.019},
    {"case": "endplate_compression", "cement_mm": 5.0},
    {"case": "forward_flexion"},
    {"case": "combined", "torsion_Nmm": 2000.0},
)


@pytest.mark.usefixtures("undrawn")
def test_every_load_of_a_femur_runs_to_a_report(patient: Patient, tmp_path: Path) -> None:
    content = case_of(patient, list(LOADS)).model_dump(mode="json")
    content |= {"intact": {"compare": False}, "patient": {"mass_kg": 70}}
    result = run(patient.ct, tmp_path / "run", case=parse_case(content, "of a test"))
    assert [one.load_case.name for one in result.other_loads] == [load["case"] for load in LOADS]
    assert all(one.strength_N > 0 and one.stiffness_N_mm > 0 for one in result.other_loads)
    for one in result.other_loads:
        assert (tmp_path / "run" / one.folder / "report.html").is_file()


@pytest.mark.usefixtures("undrawn")
def test_every_load_of_a_vertebra_runs_to_a_report(tmp_path: Path) -> None:
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = vertebra_phantom(scanner=scanner, seed=2)
    write(made.ct, tmp_path / "ct.nii.gz")
    mask = made.labels.mask("cortex", "trabecular").astype("u1")
    write(LabelMap(mask, made.ct.grid, {1: made.bone}), tmp_path / "labels.nii.gz")
    first, *more = OF_A_VERTEBRA
    content = {
        "bone": made.bone,
        "mesh": {"edge_mm": 4.0},
        "uncertainty": {"calibration": False},
        "segmentation": {"labels": str(tmp_path / "labels.nii.gz")},
        "load": first,
        "more_loads": more,
    }
    result = run(tmp_path / "ct.nii.gz", tmp_path / "run", case=parse_case(content, "of a test"))
    names = [result.load_case.name, *(one.load_case.name for one in result.other_loads)]
    assert names == [load["case"] for load in OF_A_VERTEBRA]
    assert result.strength_N > 0
    assert all(one.strength_N > 0 for one in result.other_loads)

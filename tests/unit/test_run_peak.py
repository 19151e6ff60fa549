"""A run that walks the nonlinear path of force over displacement."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pyvista as pv

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.failure import Unfinished
from bonekit.pipeline import peak, run, stages
from bonekit.pipeline.branches import branch_cases

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Patient


def case_of(patient: Patient, **parts: Any) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["uncertainty"]["calibration"] = False
    content["intact"]["compare"] = False
    content["mesh"]["edge_mm"] = 4.0
    return parse_case(content | {"criterion": "peak"} | parts, "of a test")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


def test_the_peak_is_the_strength_and_its_fields_are_on_the_mesh(
    patient: Patient, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = run(patient.ct, out, case=case_of(patient))
    told = json.loads((out / "peak.json").read_text(encoding="utf-8"))
    assert result.criterion.name == "peak"
    assert told["reason"] == "peak"
    assert result.strength_N == pytest.approx(max(told["curve_N"]), rel=1e-12)
    assert told["curve_N"][-1] < result.strength_N  # it fell
    linear = {one.name: one.strength_N for one in result.criteria}
    assert linear["first_yield"] < result.strength_N
    assert not [r for r in result.remarks if r.code == "no-peak"]
    mesh = pv.read(out / "mesh.vtu")
    assert mesh.cell_data["plastic_strain"].max() > 0.005
    assert np.abs(mesh.point_data["displacement_at_peak_mm"]).max() > 1.0
    assert "Force over displacement" in (out / "report.html").read_text(encoding="utf-8")


def test_a_force_that_still_rises_is_not_called_a_peak(patient: Patient, tmp_path: Path) -> None:
    short = {"after": "auto", "end_mm": 0.6, "finite_strain": False}
    result = run(patient.ct, tmp_path / "run", case=case_of(patient, peak=short))
    first = result.remarks[0]
    assert (first.severity, first.code) == ("warning", "no-peak")
    assert "still rose at 0.6 mm" in first.message


def test_a_path_that_breaks_off_leaves_what_it_reached(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = peak.peak_load

    def broken(problem: Any, **settings: Any) -> Any:
        raise Unfinished(whole(problem, **settings | {"end_mm": 0.6}).failure)

    monkeypatch.setattr(peak, "peak_load", broken)
    out = tmp_path / "run"
    with pytest.raises(ConvergenceError, match=r"kept in unfinished\.npz"):
        run(patient.ct, out, case=case_of(patient))
    with np.load(out / "unfinished.npz") as kept:
        assert kept["curve_mm"][-1] == pytest.approx(0.6, rel=0.05)
    assert not (out / "result.json").exists()
    assert not (out / "peak.json").exists()


def test_a_guided_head_on_springs_is_pressed_to_its_peak(patient: Patient, tmp_path: Path) -> None:
    out = tmp_path / "run"
    load = {"case": "single_leg_stance", "head": "guided", "distal": "springs"}
    result = run(patient.ct, out, case=case_of(patient, load=load))
    told = json.loads((out / "peak.json").read_text(encoding="utf-8"))
    assert result.criterion.name == "peak"
    assert told["reason"] == "peak"
    assert result.strength_N == pytest.approx(max(told["curve_N"]), rel=1e-12)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "may turn about the head" in report
    assert "Force over displacement" in report


def test_a_cap_that_turns_has_no_path_in_finite_strain(patient: Patient, tmp_path: Path) -> None:
    case = case_of(patient, load={"case": "sideways_fall"}, peak={"finite_strain": True})
    with pytest.raises(InputError, match=r"load sideways_fall: .* leave out finite_strain"):
        run(patient.ct, tmp_path / "run", case=case)
    assert not (tmp_path / "run").exists()


def test_a_further_load_without_a_path_is_judged_by_a_linear_criterion(patient: Patient) -> None:
    loads = [{"case": "shaft_torsion"}, {"case": "sideways_fall"}]
    cases = branch_cases(case_of(patient, more_loads=loads))
    assert [one.criterion for one in cases.values()] == [None, "peak"]

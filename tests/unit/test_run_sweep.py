"""A run turns the force of a stance, or a fall, over a cone of directions, if asked to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.pipeline import report_again, run, stages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Patient

CONE = {"adduction_half_deg": 6.0, "flexion_half_deg": 6.0, "step_deg": 6.0}


def case_of(patient: Patient, **parts: Any) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["uncertainty"]["calibration"] = False
    content["intact"]["compare"] = False
    return parse_case(content | parts, "of a test")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


@pytest.mark.usefixtures("undrawn")
def test_the_weakest_direction_stands_in_result_and_report(
    patient: Patient, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    fall = {"case": "sideways_fall"}
    result = run(patient.ct, out, case=case_of(patient, sweep=CONE, more_loads=[fall]))
    found = result.sweep
    assert found is not None
    assert len(found.strengths_N) == len(found.adduction_deg) == 5
    assert found.central_N == pytest.approx(result.strength_N, rel=1e-5)
    assert found.minimum_N == min(found.strengths_N) < result.strength_N
    at = found.strengths_N.index(found.minimum_N)
    assert found.weakest_adduction_deg == found.adduction_deg[at] != 8.0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"is lowest, {found.minimum_N / 1000:.2f} kN" in page
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "Strength by direction of the force" in page
    fallen = result.other_loads[0]
    told = json.loads((out / "load_2_sideways_fall" / "sweep.json").read_text())
    assert told["central_N"] == pytest.approx(fallen.strength_N, rel=1e-5)
    assert sorted(told["rotation_deg"]) == [9.0, 15.0, 15.0, 15.0, 21.0]
    assert len(set(told["strengths_N"])) == 5
    page = (out / "load_2_sideways_fall" / "report.html").read_text(encoding="utf-8")
    assert "and an internal rotation of" in page
    assert report_again(out).sweep == found
    # a run without leaves none behind
    assert run(patient.ct, out, case=case_of(patient)).sweep is None
    assert not (out / "sweep.png").exists()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"load": {"case": "shaft_torsion"}}, "the loads of the case are shaft_torsion"),
        ({"load": {"case": "sideways_fall", "rotation_deg": 88.0}}, "rotation"),
        ({"load": {"case": "single_leg_stance", "head": "guided"}}, "guided head keeps"),
        ({"sweep": {"step_deg": 15.0}}, "one direction only"),
    ],
)
def test_a_sweep_that_nothing_answers_is_refused_at_once(
    patient: Patient, tmp_path: Path, parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run(patient.ct, tmp_path / "run", case=case_of(patient, **({"sweep": CONE} | parts)))
    assert not (tmp_path / "run").exists()


def test_the_command_line_asks_for_it(
    patient: Patient, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    """And is told at once what does not go together."""
    out = tmp_path / "run"
    code, _, error = command("run", patient.ct, "--out", out, "--sweep", "--load", "shaft_torsion")
    assert code == 2
    assert "a sweep turns a single_leg_stance or a sideways_fall" in error

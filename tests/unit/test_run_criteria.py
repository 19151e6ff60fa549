"""A run judges by the criterion that the case names, and lists all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.pipeline import run, stages

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Patient


def case_of(patient: Patient, **parts: Any) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["uncertainty"]["calibration"] = False
    content["intact"]["compare"] = False
    return parse_case(content | parts, "of a test")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


def test_the_named_criterion_leads_and_all_are_listed(patient: Patient, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run(patient.ct, out, case=case_of(patient))
    other = run(patient.ct, out, case=case_of(patient, criterion="pistoia"))
    assert (first.criterion.name, other.criterion.name) == ("strain_limit", "pistoia")
    listed = {one.name: one.strength_N for one in first.criteria}
    assert listed == {one.name: one.strength_N for one in other.criteria}
    assert first.strength_N == listed["strain_limit"]
    assert other.strength_N == listed["pistoia"]
    assert "stiffness_at_strain" not in listed
    assert listed["first_yield"] < listed["strain_limit"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{listed['contiguous_volume'] / 1000:.2f} kN" in page


def test_a_criterion_that_does_not_exist_is_refused_at_once(
    patient: Patient, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="criterion 'tresca' is unknown; known: strain_limit"):
        run(patient.ct, tmp_path / "run", case=case_of(patient, criterion="tresca"))
    assert not (tmp_path / "run").exists()


def test_a_criterion_of_vertebrae_is_not_asked_of_a_femur(patient: Patient, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="for the compression of a vertebra"):
        run(patient.ct, tmp_path / "run", case=case_of(patient, criterion="stiffness_at_strain"))
    assert not (tmp_path / "run" / "result.json").exists()

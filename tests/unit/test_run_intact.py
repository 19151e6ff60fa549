"""A run tells what the lesions cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, PatientSettings, parse_case, read_case
from bonekit.errors import InputError
from bonekit.pipeline import run, stages

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Patient


def case_of(patient: Patient, **parts: Any) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["uncertainty"]["calibration"] = False
    return parse_case(content | parts, "of a test")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


@pytest.mark.usefixtures("undrawn")
def test_strength_without_the_lesion_stands_beside_the_strength(
    patient: Patient, tmp_path: Path
) -> None:
    """Void lesions cost more than those of the density seen; the filled bone is the same."""
    out = tmp_path / "run"
    seen = run(patient.ct, out, case=case_of(patient))
    void = {"lesions": {"default": {"treatment": "void"}}}
    gone = run(patient.ct, out, case=case_of(patient, material=void))
    assert seen.intact is not None
    assert gone.intact is not None
    assert gone.intact.strength_N == pytest.approx(seen.intact.strength_N, rel=1e-6)
    assert gone.intact.lost > seen.intact.lost
    assert gone.intact.lost == pytest.approx(1 - gone.strength_N / gone.intact.strength_N)
    assert 0 < gone.intact.lost < 0.5
    lesion_ml = sum(lesion.volume_ml for lesion in seen.lesions)
    assert lesion_ml < seen.intact.filled_ml < 4 * lesion_ml
    assert gone.intact.location_score == (1 if gone.intact.lost < 0.25 else 2)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"would bear {gone.intact.strength_N / 1000:.2f} kN" in page


@pytest.mark.usefixtures("undrawn")
def test_strain_place_and_cortex_of_the_lesion_are_told(patient: Patient, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(patient.ct, out, case=case_of(patient))
    assert result.intact is not None
    assert result.intact.strain_fold is not None
    assert 1.0 < result.intact.strain_fold < 5.0
    (lesion,) = result.lesions
    assert lesion.region == "intertrochanteric"
    assert lesion.regions["intertrochanteric"] > 0.8
    assert lesion.cortical is not None
    assert lesion.mirels is not None
    assert (lesion.mirels.site, lesion.mirels.kind, lesion.mirels.score) == (3, 3, None)
    figures = {figure.name: figure.value for figure in result.risk}
    assert figures["strain fold ratio"] == result.intact.strain_fold
    assert figures["axial cortical involvement"] == lesion.cortical.axial_mm
    assert (out / "intact.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Where the lesions lie" in page
    assert "The bone without its lesions" in page


@pytest.mark.usefixtures("undrawn")
def test_comparison_can_be_left_out(patient: Patient, tmp_path: Path) -> None:
    case = case_of(patient, intact={"compare": False})
    assert run(patient.ct, tmp_path / "run", case=case).intact is None


@pytest.mark.usefixtures("undrawn")
def test_lesions_are_filled_after_the_other_side(patient: Patient, tmp_path: Path) -> None:
    """The patient's own healthy twin, mirrored, stands for the other side."""
    first = run(patient.ct, tmp_path / "around", case=case_of(patient))
    twin = tmp_path / "twin"
    run(patient.ct, twin, case=case_of(patient))
    intact = {"compare": True, "rim_mm": 2.0, "other_side": str(twin)}
    out = tmp_path / "run"
    case = case_of(patient, intact=intact)
    case = case.model_copy(update={"patient": PatientSettings(pain="mild")})
    result = run(patient.ct, out, case=case)
    assert first.intact is not None
    assert result.intact is not None
    assert first.intact.mirror_share is None
    assert result.intact.mirror_distance_mm is not None
    assert result.intact.mirror_distance_mm < 3.0
    assert result.intact.strength_N == pytest.approx(first.intact.strength_N, rel=0.1)
    assert str(twin) not in (out / "case.json").read_text(encoding="utf-8")
    assert "that of the other side" in (out / "report.html").read_text(encoding="utf-8")
    (lesion,) = result.lesions
    assert lesion.mirels is None or lesion.mirels.score is not None


def test_the_other_side_must_be_a_run_folder(patient: Patient, tmp_path: Path) -> None:
    intact = {"compare": True, "rim_mm": 2.0, "other_side": str(tmp_path)}
    with pytest.raises(InputError, match="is not a run folder"):
        run(patient.ct, tmp_path / "run", case=case_of(patient, intact=intact))

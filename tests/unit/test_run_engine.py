"""A run is solved by the engine that the case names: the same model, the same strength."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.fem.interpreters import SolverMissingError, find_interpreters
from bonekit.pipeline import run, stages

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Patient

dolfinx = pytest.mark.skipif(
    not find_interpreters(), reason="dolfinx not found: apt-get install python3-dolfinx-real"
)


def case_of(patient: Patient, engine: str, **parts: Any) -> Case:
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    content["uncertainty"]["calibration"] = False
    content["intact"]["compare"] = False
    content["solver"]["engine"] = engine
    return parse_case(content | parts, "of a test")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b""))


@dolfinx
@pytest.mark.dolfinx
@pytest.mark.parametrize(
    "load",
    [
        {"case": "single_leg_stance", "head": "cup", "distal": "springs"},
        {"case": "sideways_fall"},
    ],
    ids=["cup_and_springs", "fall"],
)
def test_both_engines_give_one_strength(
    patient: Patient, tmp_path: Path, load: dict[str, str]
) -> None:
    out = tmp_path / "run"
    voxel = run(patient.ct, out, case=case_of(patient, "voxel", load=load))
    other = run(patient.ct, out, case=case_of(patient, "conforming", load=load))
    assert voxel.balance.residual != other.balance.residual  # solved anew
    assert other.versions["dolfinx"] == find_interpreters()[0].dolfinx
    assert other.strength_N == pytest.approx(voxel.strength_N, rel=1e-6)
    assert other.stiffness_N_mm == pytest.approx(voxel.stiffness_N_mm, rel=1e-6)


def test_the_conforming_engine_knows_the_cpu_only() -> None:
    with pytest.raises(InputError, match=r"solver: .*conforming engine runs on the cpu"):
        parse_case({"solver": {"engine": "conforming", "device": "cuda"}}, "of a test")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"criterion": "peak"}, "criterion peak follows its path by the voxel engine"),
        ({"sweep": {}}, "a sweep is solved by the voxel engine"),
    ],
)
def test_what_it_does_not_do_is_refused_at_once(
    patient: Patient, tmp_path: Path, part: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run(patient.ct, tmp_path / "run", case=case_of(patient, "conforming", **part))
    assert not (tmp_path / "run").exists()


def test_without_dolfinx_it_is_refused_at_once(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BONEKIT_DOLFINX_PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(SolverMissingError, match="needs dolfinx"):
        run(patient.ct, tmp_path / "run", case=case_of(patient, "conforming"))
    assert not (tmp_path / "run").exists()

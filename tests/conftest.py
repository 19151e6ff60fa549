import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

DATA = Path(os.environ.get("BONEKIT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the third-party data that is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"third-party data not found at {DATA}; set BONEKIT_DATA to its folder")
    return DATA


@dataclass(frozen=True)
class Patient:
    """Files of a coarse synthetic right femur with a lytic lesion."""

    ct: Path  # NIfTI
    dicom: Path
    labels: Path  # one label, femur_right
    case: Path  # its exact calibration, elements of 4 mm


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """Write a coarse synthetic patient; tests only read it."""
    import yaml

    from bonekit.image import LabelMap, write
    from bonekit.phantom import (
        FemurParameters,
        LesionParameters,
        ScannerParameters,
        femur_phantom,
        write_phantom,
    )

    folder = tmp_path_factory.mktemp("patient")
    made = femur_phantom(
        FemurParameters(side="right"),
        LesionParameters(site="intertrochanteric"),
        scanner=ScannerParameters(spacing_mm=(2.0, 2.0, 3.0)),
        seed=1,
    )
    dicom = write_phantom(made, folder, dicom=True)
    write(made.ct, folder / "ct.nii.gz")
    mask = made.labels.mask("cortex", "trabecular", "lesion").astype("u1")
    write(LabelMap(mask, made.ct.grid, {1: "femur_right"}), folder / "femur.nii.gz")
    case = yaml.safe_load((folder / "case.yaml").read_text()) | {"mesh": {"edge_mm": 4.0}}
    case["uncertainty"] = {"calibration": True, "mesh": False}
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    return Patient(folder / "ct.nii.gz", dicom, folder / "femur.nii.gz", folder / "case.yaml")


@pytest.fixture(scope="session")
def finished(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the patient, done by the built-in segmentation; tests only read it."""
    from bonekit.pipeline import run

    out = tmp_path_factory.mktemp("finished") / "run"
    run(patient.dicom, out, case=patient.case)
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Copy of the finished run folder, to be changed."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line: exit code, output, errors."""
    from bonekit.cli import _code

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _code([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call

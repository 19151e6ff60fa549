"""What a run folder holds, read back into the objects it was made of."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bonekit.case import Case, parse_case
from bonekit.density import Calibration, Conversion, DensityImage, DensityKind, conversion
from bonekit.fem.simulation import Problem, set_up
from bonekit.finished import Finished
from bonekit.image import ScanInfo, read
from bonekit.lesions import find_lesions
from bonekit.meshing.voxel import VoxelMesh
from bonekit.pipeline.calibrating import line_from
from bonekit.pipeline.peak import linear_criterion, stored_peak
from bonekit.resolve import loading_of, tissue_of
from bonekit.risk import Patient
from bonekit.runfolder import RunFolder
from bonekit.storage import load_mesh, load_segmentation, load_solution
from bonekit.uncertainty import relined


def entry(part: Any) -> Any:
    """Return settings as JSON holds them."""
    return None if part is None else part.model_dump(mode="json")


def case_of(folder: RunFolder) -> Case:
    """Return the case that a run folder was made with."""
    return parse_case(stored(folder, "case.json")["case"], str(folder.path / "case.json"))


def calibration_of(folder: RunFolder) -> Calibration:
    """Line from HU to density that the run found."""
    return line_from(stored(folder, "calibration.json")["line"])


def problem_of(
    folder: RunFolder,
    case: Case,
    line: tuple[float, float] | None = None,
    mesh: VoxelMesh | None = None,
) -> Problem:
    """Mesh, moduli, load: a pure function of what the folder holds.

    With another line (slope, intercept) the densities are those that it would have given; lesions
    stay of the kind they are. Another mesh may take the place of the folder's.
    """
    segmentation, field = load_segmentation(folder.path)
    ash = ash_of(folder)
    lesions = find_lesions(segmentation.labels.resample(ash.grid), ash)
    if line is not None:
        own, to_ash = calibration_of(folder), to_ash_of(folder, case)
        ash = replace(ash, array=relined(ash.array, own, line, to_ash))
    return set_up(
        mesh or load_mesh(folder.path / "model.npz"),
        ash,
        segmentation,
        tissue=tissue_of(case, segmentation.bone),
        mapping=case.material.mapping,
        lesions=lesions,
        nu=case.material.nu,
        field=field,
        loading=loading_of(case.load, segmentation.bone, case.patient.mass_kg),
    )


def to_ash_of(folder: RunFolder, case: Case) -> Conversion:
    """Conversion from the calibrated density to ash density."""
    return conversion(calibration_of(folder).kind, DensityKind.ASH, case.material.conversion)


def scanner_of(folder: RunFolder) -> ScanInfo:
    """How the bone was scanned."""
    known = stored(folder, "scan.json")
    return ScanInfo(**{k: v for k, v in known.items() if k in ScanInfo.__dataclass_fields__})


def ash_of(folder: RunFolder) -> DensityImage:
    """Return the ash density round the bone."""
    image = read(folder.path / "density.nii.gz")
    return DensityImage(image.array, image.grid, DensityKind.ASH)


def stored(folder: RunFolder, name: str) -> Any:
    """Content of a JSON file."""
    return json.loads((folder.path / name).read_text(encoding="utf-8"))


def finished_of(folder: RunFolder, case: Case, hashes: dict[str, str]) -> Finished:
    """All that the report tells of."""
    segmentation, _ = load_segmentation(folder.path)
    problem = problem_of(folder, case)
    return Finished(
        ct=read(folder.path / "ct.nii.gz"),
        density=ash_of(folder),
        segmentation=segmentation,
        problem=problem,
        solution=load_solution(folder.path / "solution.npz"),
        calibration=calibration_of(folder),
        to_ash=to_ash_of(folder, case),
        calibrating=stored(folder, "calibration.json"),
        cortex=stored(folder, "density.json"),
        error=stored(folder, "uncertainty.json"),
        intact=stored(folder, "intact.json"),
        sweep=stored(folder, "sweep.json"),
        scan=stored(folder, "scan.json"),
        inputs=dict(sorted(hashes.items())),
        synthetic=case.synthetic,
        criterion=linear_criterion(case),
        peak=stored_peak(folder),
        patient=Patient(**case.patient.model_dump()),
    )

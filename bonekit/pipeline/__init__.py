"""From a scan to a fracture load and a report: the stages of a run, in order.

Read `run` from top to bottom to follow one patient through bonekit. The stages (`stages.py`) speak
to each other through the run folder alone, so a killed run resumes where it stopped and each stage
can be done again by itself.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch

import bonekit
from bonekit.case import Case, parse_case, read_case
from bonekit.case.calibration import LineSettings, RodSettings
from bonekit.density import CONVERSIONS
from bonekit.errors import InputError
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.criteria import CRITERIA
from bonekit.fem.interpreters import choose
from bonekit.pipeline.bone import Scan
from bonekit.pipeline.branches import (
    branch_cases,
    branch_folder,
    branch_results,
    drop_branches,
)
from bonekit.pipeline.calibrating import needs_scan, rods_of
from bonekit.pipeline.inputs import hashes_of
from bonekit.pipeline.peak import PEAK, check_peak
from bonekit.pipeline.progress import Progress, silent
from bonekit.pipeline.stages import (
    OPTIONAL,
    STAGES,
    calibrate_stage,
    density_stage,
    intact_stage,
    mesh_stage,
    peak_stage,
    report_stage,
    segment_stage,
    solve_stage,
    uncertainty_stage,
)
from bonekit.pipeline.sweeping import check_sweep, sweep_stage
from bonekit.resolve import line_of, loading_of, tissue_of
from bonekit.result import Result
from bonekit.runfolder import RunFolder, write_json
from bonekit.segmentation.baseline import check_name
from bonekit.storage import load_segmentation
from bonekit.summary import versions

__all__ = ["OPTIONAL", "STAGES", "Progress", "report_again", "run", "silent", "solve_again"]

log = logging.getLogger(__name__)


def run(
    scan: str | Path,
    out: str | Path,
    bone: str | None = None,
    case: Case | str | Path | None = None,
    progress: Progress = silent,
) -> Result:
    """Estimate the strength of one bone of a CT.

    Writes into `out`: result.json, report.html, preview.png, mesh.vtu, surface.stl, labels.nii.gz,
    density.nii.gz, calibration.json, uncertainty.json, case.json, log.txt. Stages whose inputs
    have not changed are not done again.

    Parameters
    ----------
    scan : str or Path
        DICOM folder or zip, NIfTI, NRRD or MHA in HU.
    out : str or Path
        Run folder.
    bone : str, optional
        Such as ``femur_left`` or ``vertebra_L3``; it comes before the one of the case. Without
        either, the only femur in view.
    case : Case or path, optional
    progress : callable, optional

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If the scan, the bone or the case is at fault; the message says what to do.
    CalibrationError, MeshQualityError, ConvergenceError
        If that stage failed.
    """
    settings = case if isinstance(case, Case) else read_case(case)
    settings = settings.model_copy(update={"bone": bone or settings.bone})
    _check(settings)
    hashes = hashes_of(_inputs(scan, settings), Path(out), OURS)
    folder = RunFolder(out, STAGES, OPTIONAL)
    with folder.working():
        _begin(folder, settings, hashes)
        source = Scan(Path(scan), settings.series_uid)
        segment_stage(folder, source, settings, hashes, progress)
        _refuse(folder)
        calibrate_stage(folder, source, settings, hashes, progress)
        return _onwards(folder, settings, hashes, progress)


def solve_again(
    out: str | Path, case: str | Path | None = None, progress: Progress = silent
) -> Result:
    """Continue a run folder from its segmentation, with another case file if one is given.

    What the case says of scan and segmentation stays as it was.

    Raises
    ------
    InputError
        If the folder holds no finished segmentation.
    """
    folder = RunFolder(_run_folder(out), STAGES, OPTIONAL)
    known, hashes = _stored_case(folder)
    settings = read_case(case) if case else known
    kept = ("bone", "synthetic", "series_uid", "segmentation", "anatomy")
    settings = settings.model_copy(update={name: getattr(known, name) for name in kept})
    _check(settings)
    _check_calibration(settings, known)
    with folder.working():
        _begin(folder, settings, hashes)
        folder.recall("segment")
        _refuse(folder)
        if needs_scan(settings.calibration):
            folder.recall("calibrate")
        else:
            calibrate_stage(folder, None, settings, hashes, progress)
        return _onwards(folder, settings, hashes, progress)


def report_again(out: str | Path, progress: Progress = silent) -> Result:
    """Make the report of a solved run anew.

    Raises
    ------
    InputError
        If the folder holds no finished solution.
    """
    folder = RunFolder(_run_folder(out), STAGES, OPTIONAL)
    settings, hashes = _stored_case(folder)
    with folder.working():
        for name in (*STAGES,)[:-1]:
            folder.recall(name)
        folder.drop("stages/report.json")
        return report_stage(folder, settings, hashes, branch_results(folder, settings), progress)


def _onwards(folder: RunFolder, case: Case, hashes: dict[str, str], progress: Progress) -> Result:
    """Do the stages that need the scan no more."""
    density_stage(folder, case, progress)
    mesh_stage(folder, case, progress)
    solve_stage(folder, case, progress)
    peak_stage(folder, case, progress)
    uncertainty_stage(folder, case, progress)
    intact_stage(folder, case, hashes, progress)
    sweep_stage(folder, case, progress)
    others = _further_loads(folder, case, hashes, progress)
    return report_stage(folder, case, hashes, others, progress)


def _further_loads(
    folder: RunFolder, case: Case, hashes: dict[str, str], progress: Progress
) -> dict[str, Result]:
    """Do the same for each further load, in a run folder of its own inside this one."""
    cases = branch_cases(case)
    drop_branches(folder, set(cases))
    found = {}
    for name, one in cases.items():
        branch = branch_folder(folder, name)
        _begin(branch, one, hashes)
        found[name] = _onwards(branch, one, hashes, progress)
    return found


OURS = frozenset(name for part in STAGES.values() for name in part)


def _inputs(scan: str | Path, case: Case) -> dict[str, str | Path | None]:
    """Files and folders that go in, by their role."""
    masks = getattr(case.calibration, "masks", None)
    parts = case.segmentation
    return {
        "scan": scan,
        "labels": parts.labels,
        "lesions": parts.lesions,
        "tissues": masks,
        "other_side": case.intact.other_side,
    }


def _check(case: Case) -> None:
    """Refuse settings that can't be right, before anything is read or written."""
    check_name(case.bone)
    tissue_of(case, case.bone or "femur")
    for load in (case.load, *case.more_loads):
        loading_of(load, case.bone or "femur", case.patient.mass_kg)
    check_sweep(case)
    check_peak(case)
    _check_criterion(case)
    name = case.material.conversion
    if name is not None and name not in CONVERSIONS:
        raise InputError(f"conversion {name!r} is unknown; known: {', '.join(CONVERSIONS)}")
    if isinstance(case.calibration, LineSettings):
        line_of(case.calibration)
    elif isinstance(case.calibration, RodSettings):
        rods_of(case.calibration)
    _check_device(case.solver.device)
    if case.solver.engine == "conforming":
        choose()


def _check_criterion(case: Case) -> None:
    """Refuse a criterion that is unknown, or that the load can't answer."""
    asked = case.criterion
    if asked not in (None, PEAK, *CRITERIA):
        raise InputError(f"criterion {asked!r} is unknown; known: {', '.join((*CRITERIA, PEAK))}")
    loads = (case.load, *case.more_loads)
    if case.bone is None:
        loads = tuple(load for load in loads if load is not None)  # else the scan tells which
    for load in loads:
        name = loading_of(load, case.bone or "femur", case.patient.mass_kg).name
        if asked == "stiffness_at_strain" and name != EndplateCompression.name:
            raise InputError(
                f"criterion {asked} is for the compression of a vertebra, not for {name}: take "
                f"another of {', '.join(one for one in CRITERIA if one != asked)}"
            )


def _check_calibration(case: Case, known: Case) -> None:
    """Refuse to measure a calibration anew without the scan."""
    if needs_scan(case.calibration) and case.calibration != known.calibration:
        raise InputError(
            "the case asks for another calibration in the scan, which a run folder does not hold: "
            "use `bonekit run`"
        )


def _check_device(name: str) -> None:
    """Refuse a device that isn't there, or that can't calculate in double precision."""
    try:
        torch.zeros(1, dtype=torch.float64, device=name)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"device {name!r} can't be used: {reason}. cpu always can; cuda needs an NVIDIA GPU"
        ) from error


def _begin(folder: RunFolder, case: Case, hashes: dict[str, str]) -> None:
    """Write case.json; take away results of other settings, lest they pass for this run's."""
    stored = case.model_dump(mode="json")
    for role in ("labels", "lesions"):  # a path may tell who the patient is; the hash does not
        if stored["segmentation"][role] is not None:
            stored["segmentation"][role] = "given"
    if stored["calibration"] is not None and stored["calibration"].get("masks") is not None:
        stored["calibration"]["masks"] = "given"
    if stored["intact"]["other_side"] is not None:
        stored["intact"]["other_side"] = "given"
    content = {
        "case": stored,
        "inputs": hashes,
        "versions": versions(case.solver.engine),
    }
    path = folder.path / "case.json"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_json(path, content)
    if before != path.read_text(encoding="utf-8"):
        folder.drop(*STAGES["report"])
    log.info("bonekit %s", bonekit.__version__)


def _run_folder(out: str | Path) -> Path:
    if not (Path(out) / "case.json").is_file():
        raise InputError(f"{out} is not a run folder: it has no case.json. See `bonekit run`")
    return Path(out)


def _stored_case(folder: RunFolder) -> tuple[Case, dict[str, str]]:
    path = folder.path / "case.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        case, hashes = content["case"], dict(content["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r:.80}): start with `bonekit run`") from error
    return parse_case(case, str(path)), hashes


def _refuse(folder: RunFolder) -> None:
    """Stop at a bone that the quality control found unfit."""
    found, _ = load_segmentation(folder.path)
    if found.errors:
        raise InputError(f"{found.bone}: " + "; ".join(f.message for f in found.errors))

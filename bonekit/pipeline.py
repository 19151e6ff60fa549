"""From a scan to a fracture load and a report: the stages of a run, in order.

Read `run` from top to bottom to follow one patient through bonekit. The stages speak to each other
through the run folder alone, so a killed run resumes where it stopped and each stage can be done
again by itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import bonekit
from bonekit.case import Case, parse_case, read_case
from bonekit.density import DEFAULT, Calibration, DensityImage, DensityKind, density_image, to_ash
from bonekit.errors import InputError
from bonekit.fem.simulation import Problem, set_up, solve_problem
from bonekit.image import read, read_labels, scan_info, write
from bonekit.image.files import suffix_of
from bonekit.image.volume import Grid, Image
from bonekit.image.writing import replacing, sidecar
from bonekit.meshing.bone import bone_mesh, element_density
from bonekit.meshing.quality import check
from bonekit.meshing.quality import report as mesh_report
from bonekit.meshing.surface import surface, write_surface
from bonekit.report import write_report
from bonekit.resolve import law_of, line_of
from bonekit.result import Result
from bonekit.runfolder import RunFolder, digest_of_file, digest_of_files, measured, write_json
from bonekit.segmentation.base import Segmentation
from bonekit.segmentation.baseline import check_name, from_labels, segment
from bonekit.storage import (
    load_mesh,
    load_segmentation,
    load_solution,
    save_mesh,
    save_segmentation,
    save_solution,
)
from bonekit.summary import Finished, draw, summarise, versions, write_fields

log = logging.getLogger(__name__)

# The stages in order, and what each leaves in the run folder.
STAGES = {
    "segment": ("labels.nii.gz", "labels.json", "segmentation.json", "ct.nii.gz", "scan.json"),
    "density": ("density.nii.gz",),
    "mesh": ("model.npz", "surface.stl"),
    "solve": ("solution.npz",),
    "report": ("result.json", "report.html", "preview.png", "mesh.vtu"),
}
MARGIN_MM = 30.0  # of scan kept round the bone: what the pictures show

# Called with the stage, the fraction done (0 to 1) and a few words.
Progress = Callable[[str, float, str], None]


def silent(stage: str, fraction: float, text: str) -> None:
    """Report progress to nobody."""


def run(
    scan: str | Path,
    out: str | Path,
    bone: str | None = None,
    case: Case | str | Path | None = None,
    progress: Progress = silent,
) -> Result:
    """Estimate the strength of one bone of a CT.

    Writes into `out`: result.json, report.html, preview.png, mesh.vtu, surface.stl, labels.nii.gz,
    density.nii.gz, case.json, log.txt. Stages whose inputs have not changed are not done again.

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
    given = {"scan": scan, "labels": settings.segmentation.labels}
    given["lesions"] = settings.segmentation.lesions
    hashes = _hashes(given, Path(out))
    folder = RunFolder(out, STAGES)
    with folder.logging():
        _begin(folder, settings, hashes)
        _segment(folder, Path(scan), settings, hashes, progress)
        return _onwards(folder, settings, progress)


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
    folder = RunFolder(_run_folder(out), STAGES)
    known, hashes = _stored_case(folder)
    settings = read_case(case) if case else known
    kept = ("bone", "synthetic", "series_uid", "segmentation")
    settings = settings.model_copy(update={name: getattr(known, name) for name in kept})
    _check(settings)
    with folder.logging():
        _begin(folder, settings, hashes)
        folder.recall("segment")
        return _onwards(folder, settings, progress)


def report_again(out: str | Path, progress: Progress = silent) -> Result:
    """Make the report of a solved run anew.

    Raises
    ------
    InputError
        If the folder holds no finished solution.
    """
    folder = RunFolder(_run_folder(out), STAGES)
    settings, _ = _stored_case(folder)
    with folder.logging():
        for name in (*STAGES,)[:-1]:
            folder.recall(name)
        folder.drop("stages/report.json")
        return _report(folder, settings, progress)


def _onwards(folder: RunFolder, case: Case, progress: Progress) -> Result:
    """Do the stages that need the scan no more."""
    _refuse(folder)
    _density(folder, case, progress)
    _mesh(folder, case, progress)
    _solve(folder, case, progress)
    return _report(folder, case, progress)


# The stages


def _segment(
    folder: RunFolder, scan: Path, case: Case, hashes: dict[str, str], progress: Progress
) -> None:
    """Scan -> labels.nii.gz, segmentation.json, ct.nii.gz (the part round the bone), scan.json."""
    progress("segment", 0.0, "reading the scan")

    def work() -> None:
        ct = read(scan, case.series_uid).canonical()
        scanner = scan_info(scan, case.series_uid)
        progress("segment", 0.2, "finding the bone")
        found = _found(ct, case)
        save_segmentation(folder.path, found, ct.grid)
        write(ct.crop(*_around(found)), folder.path / "ct.nii.gz")
        spacing = [round(float(h), 4) for h in ct.spacing_mm]
        record = {**asdict(scanner), "spacing_mm": spacing, "shape": list(ct.shape)}
        write_json(folder.path / "scan.json", record)

    settings = case.segmentation.model_dump(exclude={"labels", "lesions"})
    inputs = {**hashes, "bone": case.bone, "series": case.series_uid, "settings": settings}
    folder.stage("segment", inputs, work)


def _density(folder: RunFolder, case: Case, progress: Progress) -> None:
    """ct.nii.gz -> density.nii.gz: ash density in g/cm3."""
    calibration = calibration_of(case)
    progress("density", 0.0, "calibrated" if calibration.calibrated else "default line")

    def work() -> None:
        density = to_ash(density_image(read(folder.path / "ct.nii.gz"), calibration))
        write(Image(density.array, density.grid), folder.path / "density.nii.gz")

    folder.stage("density", _entry(case.calibration), work)


def _mesh(folder: RunFolder, case: Case, progress: Progress) -> None:
    """Labels and density -> model.npz (voxel mesh with densities), surface.stl."""
    progress("mesh", 0.0, f"cubes of {case.mesh.edge_mm:g} mm")

    def work() -> None:
        segmentation, _ = load_segmentation(folder.path)
        mesh = bone_mesh(segmentation, case.mesh.edge_mm)
        check(mesh_report(mesh, segmentation.labels))
        ash = element_density(_ash(folder), mesh, segmentation)
        save_mesh(folder.path / "model.npz", mesh, ash)
        progress("mesh", 0.6, f"{mesh.n_elements} elements")
        write_surface(surface(segmentation.labels), folder.path / "surface.stl")

    folder.stage("mesh", _entry(case.mesh), work)


def _solve(folder: RunFolder, case: Case, progress: Progress) -> None:
    """model.npz -> solution.npz."""
    progress("solve", 0.0, "setting up")
    goal = np.log10(case.solver.rtol)

    def tell(iteration: int, residual: float) -> None:
        done = float(np.log10(max(residual, 1e-16)) / goal)
        progress("solve", min(max(done, 0.0), 1.0), f"iteration {iteration}, {residual:.0e}")

    def work() -> None:
        problem = _problem(folder, case)
        settings = case.solver.model_dump()
        save_solution(
            folder.path / "solution.npz", solve_problem(problem, **settings, progress=tell)
        )

    inputs = {name: _entry(getattr(case, name)) for name in ("material", "stance", "compression")}
    inputs["solver"] = case.solver.model_dump(exclude={"threads"})
    folder.stage("solve", inputs, work)


def _report(folder: RunFolder, case: Case, progress: Progress) -> Result:
    """Everything -> result.json, report.html, preview.png, mesh.vtu."""
    progress("report", 0.0, "drawing")

    def work() -> None:
        with measured() as cost:
            finished = _finished(folder, case)
            write_fields(finished, folder.path / "mesh.vtu")
            pictures, small = draw(finished)
        result = summarise(finished, [*folder.done.values()], cost)
        with replacing(folder.path / "preview.png") as temporary:
            temporary.write_bytes(small)
        write_report(folder.path / "report.html", result, pictures)
        write_json(folder.path / "result.json", result.model_dump(mode="json"))

    folder.stage("report", case.model_dump(mode="json"), work)
    progress("report", 1.0, "done")
    return Result.model_validate_json((folder.path / "result.json").read_text(encoding="utf-8"))


# Their small parts


def _check(case: Case) -> None:
    check_name(case.bone)
    law_of(case)
    calibration_of(case)
    _check_device(case.solver.device)


def _check_device(name: str) -> None:
    """Refuse a device that isn't there, or that can't calculate in double precision."""
    try:
        torch.zeros(1, dtype=torch.float64, device=name)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"device {name!r} can't be used: {reason}. cpu always can; cuda needs an NVIDIA GPU"
        ) from error


def _hashes(given: Mapping[str, str | Path | None], out: Path) -> dict[str, str]:
    """Sha256 of each input by its role; names and paths stay out of the results."""
    found = {}
    for role, path in given.items():
        if path is None:
            continue
        if not Path(path).exists():
            raise InputError(f"{role}: there is no file or folder {path}")
        _check_apart(role, Path(path).resolve(), out.resolve())
        parts = _parts(role, Path(path))
        found[role] = digest_of_files(parts) if len(parts) > 1 else digest_of_file(parts[0])
    return found


def _parts(role: str, path: Path) -> list[Path]:
    """Files that decide what is read from a path."""
    one_slice = role == "scan" and path.is_file() and not suffix_of(path)
    if suffix_of(path) in (".mhd", ".nhdr") or (one_slice and path.suffix.lower() != ".zip"):
        return [p for p in path.parent.iterdir() if p.is_file()]  # the voxels lie beside it
    if role == "labels" and suffix_of(path):
        tables = (sidecar(path), path.with_name("dataset.json"))
        return [path, *(p for p in tables if p.is_file())]
    return [path]


def _check_apart(role: str, path: Path, out: Path) -> None:
    """Refuse an input that the run would overwrite, or that the run would grow."""
    ours = [out / name for part in STAGES.values() for name in part]
    if path in ours:
        raise InputError(
            f"the {role} {path} is a file of the run folder and would be replaced. Copy it "
            "elsewhere, or choose another folder for the run"
        )
    if path.is_dir() and out.is_relative_to(path):
        raise InputError(
            f"the run folder {out} lies in the folder of the {role}, which must not change. "
            "Choose another folder for the run"
        )


def _begin(folder: RunFolder, case: Case, hashes: dict[str, str]) -> None:
    """Write case.json; take away results of other settings, lest they pass for this run's."""
    stored = case.model_dump(mode="json")
    for role in ("labels", "lesions"):  # a path may tell who the patient is; the hash does not
        if stored["segmentation"][role] is not None:
            stored["segmentation"][role] = "given"
    content = {
        "case": stored,
        "inputs": hashes,
        "versions": versions(),
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


def _entry(part: Any) -> Any:
    return None if part is None else part.model_dump(mode="json")


def _found(ct: Image, case: Case) -> Segmentation:
    """Segment by the built-in method, or take the label map that was given."""
    wanted = case.segmentation
    lesion = None if wanted.lesions is None else _mask_on(ct.grid, Path(wanted.lesions))
    if wanted.labels is None:
        return segment(
            ct,
            case.bone,
            lesion=lesion,
            seed_mm=wanted.seed_mm,
            allow_metal=wanted.allow_metal,
        )
    if case.bone is None:
        raise InputError("a label map was given: name the bone too (--bone)")
    labels = read_labels(wanted.labels)
    return from_labels(
        ct, labels, case.bone, wanted.label, lesion=lesion, allow_metal=wanted.allow_metal
    )


def _mask_on(grid: Grid, path: Path) -> NDArray[np.bool_]:
    mask = np.asarray(read_labels(path).resample(grid).array > 0)
    if not mask.any():
        raise InputError("the lesion mask is empty on this scan: is it of the same patient?")
    return mask


def _around(found: Segmentation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Index box of the bone with a margin: (low, high)."""
    index = np.argwhere(found.bone_mask)
    margin = np.ceil(MARGIN_MM / found.labels.spacing_mm)
    return index.min(axis=0) - margin, index.max(axis=0) + margin + 1


def _refuse(folder: RunFolder) -> None:
    """Stop at a bone that the quality control found unfit."""
    found, _ = load_segmentation(folder.path)
    if found.errors:
        raise InputError(f"{found.bone}: " + "; ".join(f.message for f in found.errors))


def calibration_of(case: Case) -> Calibration:
    """Line of a case from HU to density, or the default."""
    return DEFAULT if case.calibration is None else line_of(case.calibration)


def _ash(folder: RunFolder) -> DensityImage:
    image = read(folder.path / "density.nii.gz")
    return DensityImage(image.array, image.grid, DensityKind.ASH)


def _problem(folder: RunFolder, case: Case) -> Problem:
    """Mesh, moduli, load: a pure function of what the folder holds."""
    mesh, ash = load_mesh(folder.path / "model.npz")
    segmentation, field = load_segmentation(folder.path)
    return set_up(
        mesh,
        ash,
        segmentation,
        law=law_of(case),
        nu=case.material.nu,
        density=_ash(folder) if case.material.mapping == "modulus" else None,
        field=field,
        **case.stance.model_dump(exclude={"case"}),
        **case.compression.model_dump(exclude={"case"}),
    )


def _finished(folder: RunFolder, case: Case) -> Finished:
    segmentation, _ = load_segmentation(folder.path)
    _, ash = load_mesh(folder.path / "model.npz")
    _, hashes = _stored_case(folder)
    return Finished(
        ct=read(folder.path / "ct.nii.gz"),
        density=_ash(folder),
        segmentation=segmentation,
        ash_density=ash,
        problem=_problem(folder, case),
        solution=load_solution(folder.path / "solution.npz"),
        calibration=calibration_of(case),
        scan=json.loads((folder.path / "scan.json").read_text(encoding="utf-8")),
        inputs=hashes,
        synthetic=case.synthetic,
    )

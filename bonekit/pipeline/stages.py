"""The stages of a run: each reads what the run folder holds and leaves its own files there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.case import Case, parse_case
from bonekit.case.loads import MuscleSettings
from bonekit.density import (
    Calibration,
    Conversion,
    DensityImage,
    DensityKind,
    conversion,
    density_image,
    to_ash,
)
from bonekit.errors import InputError
from bonekit.fem.cement import cemented
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.finished import Finished
from bonekit.image import ScanInfo, read, read_labels, scan_info, write
from bonekit.image.volume import Grid, Image
from bonekit.image.writing import replacing
from bonekit.lesions import find_lesions
from bonekit.meshing.bone import bone_mesh
from bonekit.meshing.quality import check
from bonekit.meshing.quality import report as mesh_report
from bonekit.meshing.surface import surface, write_surface
from bonekit.pipeline.calibrating import calibrate_scan, line_from, line_record, needs_scan
from bonekit.pipeline.cortex import cortex_of
from bonekit.pipeline.peak import (
    PEAK,
    linear_criterion,
    stored_peak,
    walk_to_the_peak,
    write_peak,
)
from bonekit.pipeline.progress import Progress
from bonekit.pipeline.without_lesions import without_lesions
from bonekit.report import write_report
from bonekit.resolve import loading_of, tissue_of
from bonekit.result import Result
from bonekit.risk import Patient
from bonekit.runfolder import RunFolder, measured, write_json
from bonekit.segmentation.base import Segmentation
from bonekit.segmentation.baseline import from_labels, segment
from bonekit.storage import (
    load_mesh,
    load_segmentation,
    load_solution,
    save_mesh,
    save_segmentation,
    save_solution,
)
from bonekit.summary import draw, summarise, write_fields
from bonekit.uncertainty import StrengthError, relined, strength_error

# The stages in order, and what each leaves in the run folder.
STAGES = {
    "segment": ("labels.nii.gz", "labels.json", "segmentation.json", "ct.nii.gz", "scan.json"),
    "calibrate": ("calibration.json", "calibration.png"),
    "density": ("density.nii.gz", "density.json", "cortex.png"),
    "mesh": ("model.npz", "surface.stl"),
    "solve": ("solution.npz",),
    "peak": ("peak.json", "peak.npz", "peak.png"),
    "uncertainty": ("uncertainty.json",),
    "intact": ("intact.json", "intact.png"),
    "sweep": ("sweep.json", "sweep.png"),
    "report": ("result.json", "report.html", "preview.png", "mesh.vtu"),
}
OPTIONAL = {"calibration.png", "cortex.png", "peak.npz", "peak.png", "intact.png", "sweep.png"}
MARGIN_MM = 30.0  # of scan kept round the bone: what the pictures show
VARIANT_RTOL = 1e-4  # of the solves for the error bar, which is not known to 1 % of itself


class Scan:
    """A scan on disk, read once and only if a stage needs it."""

    def __init__(self, path: Path, series_uid: str | None) -> None:
        self.path, self.series_uid = path, series_uid

    @cached_property
    def ct(self) -> Image:
        """HU on canonical axes."""
        return read(self.path, self.series_uid).canonical()

    @cached_property
    def info(self) -> ScanInfo:
        """How it was scanned."""
        return scan_info(self.path, self.series_uid)


def segment_stage(
    folder: RunFolder, scan: Scan, case: Case, hashes: dict[str, str], progress: Progress
) -> None:
    """Scan -> labels.nii.gz, segmentation.json, ct.nii.gz (the part round the bone), scan.json."""
    progress("segment", 0.0, "reading the scan")

    def work() -> None:
        ct = scan.ct
        progress("segment", 0.2, "finding the bone")
        found = _found(ct, case)
        save_segmentation(folder.path, found, ct.grid)
        write(ct.crop(*_around(found)), folder.path / "ct.nii.gz")
        spacing = [round(float(h), 4) for h in ct.spacing_mm]
        record = {**asdict(scan.info), "spacing_mm": spacing, "shape": list(ct.shape)}
        write_json(folder.path / "scan.json", record)

    settings = case.segmentation.model_dump(exclude={"labels", "lesions"})
    inputs = {**hashes, "bone": case.bone, "series": case.series_uid, "settings": settings}
    folder.stage("segment", inputs, work)


def calibrate_stage(
    folder: RunFolder, scan: Scan | None, case: Case, hashes: dict[str, str], progress: Progress
) -> None:
    """Scan -> calibration.json: the line from HU to density and what it rests on."""
    settings = case.calibration
    progress("calibrate", 0.0, "default line" if settings is None else settings.method)

    def work() -> None:
        ct = scan.ct if scan is not None and needs_scan(settings) else None
        found = calibrate_scan(ct, settings, _scanner(folder))
        _write_picture(found.picture, folder.path / "calibration.png")
        record = {
            "line": line_record(found.line),
            "method": found.method,
            "evidence": dict(found.evidence),
            "samples": [dict(sample) for sample in found.samples],
        }
        write_json(folder.path / "calibration.json", record)

    folder.stage("calibrate", {"settings": entry(settings), **hashes}, work)


def density_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """ct.nii.gz -> density.nii.gz: ash density in g/cm3, its cortex corrected if asked for."""
    progress("density", 0.0, case.material.cortex.replace("_", " "))

    def work() -> None:
        seen = density_image(read(folder.path / "ct.nii.gz"), calibration_of(folder))
        ash = to_ash(seen, case.material.conversion)
        segmentation, _ = load_segmentation(folder.path)
        labels = segmentation.labels.resample(ash.grid)
        slice_mm = _scanner(folder).slice_thickness_mm
        made = cortex_of(ash, labels, case.material.cortex, slice_mm)
        write(Image(made.density.array, made.density.grid), folder.path / "density.nii.gz")
        write_json(folder.path / "density.json", made.told)
        _write_picture(made.picture, folder.path / "cortex.png")

    inputs = {name: getattr(case.material, name) for name in ("conversion", "cortex")}
    folder.stage("density", inputs, work)


def mesh_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """Labels -> model.npz (voxel mesh), surface.stl."""
    progress("mesh", 0.0, f"cubes of {case.mesh.edge_mm:g} mm")

    def work() -> None:
        segmentation, field = load_segmentation(folder.path)
        loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
        mesh = bone_mesh(segmentation, case.mesh.edge_mm, loading.axes(segmentation.anatomy))
        check(mesh_report(mesh, segmentation.labels))
        mesh = cemented(mesh, segmentation.anatomy, loading, field)
        save_mesh(folder.path / "model.npz", mesh)
        progress("mesh", 0.6, f"{mesh.n_elements} elements")
        write_surface(surface(segmentation.labels), folder.path / "surface.stl")

    folder.stage(
        "mesh",
        {
            "mesh": entry(case.mesh),
            "load": entry(case.load),
            "mass_kg": case.patient.mass_kg if isinstance(case.load, MuscleSettings) else None,
        },
        work,
    )


def solve_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """model.npz -> solution.npz."""
    progress("solve", 0.0, "setting up")
    goal = np.log10(case.solver.rtol)

    def tell(iteration: int, residual: float) -> None:
        done = float(np.log10(max(residual, 1e-16)) / goal)
        progress("solve", min(max(done, 0.0), 1.0), f"iteration {iteration}, {residual:.0e}")

    def work() -> None:
        problem = problem_of(folder, case)
        settings = case.solver.model_dump()
        save_solution(
            folder.path / "solution.npz", solve_problem(problem, **settings, progress=tell)
        )

    inputs = {name: entry(getattr(case, name)) for name in ("material", "load")}
    inputs["solver"] = case.solver.model_dump(exclude={"threads"})
    folder.stage("solve", inputs, work)


def peak_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """model.npz -> peak.json, peak.npz, peak.png: the nonlinear path, if it is the criterion."""
    wanted = case.criterion == PEAK
    progress("peak", 0.0, "loading until the force falls" if wanted else "not asked for")

    def work() -> None:
        told = walk_to_the_peak(folder, case, problem_of(folder, case), progress)
        write_peak(folder, told)

    inputs = {"settings": entry(case.peak)} if wanted else None
    folder.stage("peak", inputs, work if wanted else partial(write_peak, folder, None))


def uncertainty_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """solution.npz -> uncertainty.json: the error that the calibration leaves in the strength."""
    line = calibration_of(folder)
    wanted = case.uncertainty.calibration and line.covariance is not None
    progress("uncertainty", 0.0, "of the calibration" if wanted else "not asked for or not known")

    def work() -> None:
        error = asdict(_error_of(folder, case, progress)) if wanted else None
        write_json(folder.path / "uncertainty.json", error)

    inputs = {"settings": entry(case.uncertainty), "criterion": case.criterion}
    folder.stage("uncertainty", inputs, work)


def intact_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """solution.npz -> intact.json, intact.png: the strength of the bone with its lesions filled."""
    segmentation, field = load_segmentation(folder.path)
    wanted = case.intact.compare and bool(segmentation.labels.mask("lesion").any())
    progress("intact", 0.0, "filling the lesions" if wanted else "no lesion, or not asked for")

    def work() -> None:
        told, picture = None, None
        if wanted:
            seen = problem_of(folder, case), load_solution(folder.path / "solution.npz")
            told, picture = without_lesions(case, segmentation, field, ash_of(folder), seen)
        _write_picture(picture, folder.path / "intact.png")
        write_json(folder.path / "intact.json", told)

    inputs = {"settings": entry(case.intact), "criterion": case.criterion}
    folder.stage("intact", inputs, work)


def _error_of(folder: RunFolder, case: Case, progress: Progress) -> StrengthError:
    """Solve again with four other lines from HU to density, each from the solution known."""
    solution = load_solution(folder.path / "solution.npz")
    settings = case.solver.model_dump() | {"rtol": max(case.solver.rtol, VARIANT_RTOL)}
    strengths: list[float] = []

    def strength_with(line: tuple[float, float]) -> float:
        problem = problem_of(folder, case, line)
        solved = solve_problem(problem, **settings, start=solution)
        found = judge(problem, solved, linear_criterion(case)).strength_N
        strengths.append(found)
        text = f"line {len(strengths)} of 4: {found / 1000:.2f} kN"
        progress("uncertainty", len(strengths) / 4, text)
        return found

    strength = judge(problem_of(folder, case), solution, linear_criterion(case)).strength_N
    error = strength_error(strength, calibration_of(folder), strength_with)
    peak = stored_peak(folder)
    # a path for each line would cost too much: the peak shares the relative error of the linear
    # strength
    return error if peak is None else error.scaled(peak.strength.strength_N / strength)


def report_stage(
    folder: RunFolder,
    case: Case,
    hashes: dict[str, str],
    others: Mapping[str, Result],
    progress: Progress,
) -> Result:
    """Everything -> result.json, report.html, preview.png, mesh.vtu.

    `others` are the results of further loads by the names of their folders.
    """
    progress("report", 0.0, "drawing")

    def work() -> None:
        with measured() as cost:
            finished = _finished(folder, case, hashes)
            write_fields(finished, folder.path / "mesh.vtu")
            pictures, small = draw(finished)
            for name in ("calibration", "cortex", "peak", "intact", "sweep"):
                if (folder.path / f"{name}.png").is_file():
                    pictures[name] = (folder.path / f"{name}.png").read_bytes()
        result = summarise(finished, [*folder.done.values()], cost, others)
        _write_picture(small, folder.path / "preview.png")
        write_report(folder.path / "report.html", result, pictures)
        write_json(folder.path / "result.json", result.model_dump(mode="json"))

    told = {name: other.strength_N for name, other in others.items()}
    folder.stage("report", {"case": case.model_dump(mode="json"), "others": told}, work)
    progress("report", 1.0, "done")
    return Result.model_validate_json((folder.path / "result.json").read_text(encoding="utf-8"))


# What the stages have in common


def entry(part: Any) -> Any:
    """Return settings as JSON holds them."""
    return None if part is None else part.model_dump(mode="json")


def case_of(folder: RunFolder) -> Case:
    """Return the case that a run folder was made with."""
    return parse_case(_json(folder, "case.json")["case"], str(folder.path / "case.json"))


def calibration_of(folder: RunFolder) -> Calibration:
    """Line from HU to density that the run found."""
    return line_from(_json(folder, "calibration.json")["line"])


def problem_of(folder: RunFolder, case: Case, line: tuple[float, float] | None = None) -> Problem:
    """Mesh, moduli, load: a pure function of what the folder holds.

    With another line (slope, intercept) the densities are those that it would have given; lesions
    stay of the kind they are.
    """
    segmentation, field = load_segmentation(folder.path)
    ash = ash_of(folder)
    lesions = find_lesions(segmentation.labels.resample(ash.grid), ash)
    if line is not None:
        own, to_ash = calibration_of(folder), _to_ash(folder, case)
        ash = replace(ash, array=relined(ash.array, own, line, to_ash))
    return set_up(
        load_mesh(folder.path / "model.npz"),
        ash,
        segmentation,
        tissue=tissue_of(case, segmentation.bone),
        mapping=case.material.mapping,
        lesions=lesions,
        nu=case.material.nu,
        field=field,
        loading=loading_of(case.load, segmentation.bone, case.patient.mass_kg),
    )


def _to_ash(folder: RunFolder, case: Case) -> Conversion:
    return conversion(calibration_of(folder).kind, DensityKind.ASH, case.material.conversion)


def _scanner(folder: RunFolder) -> ScanInfo:
    known = _json(folder, "scan.json")
    return ScanInfo(**{k: v for k, v in known.items() if k in ScanInfo.__dataclass_fields__})


def _write_picture(picture: bytes | None, path: Path) -> None:
    if picture is not None:
        with replacing(path) as temporary:
            temporary.write_bytes(picture)


def _json(folder: RunFolder, name: str) -> Any:
    return json.loads((folder.path / name).read_text(encoding="utf-8"))


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


def ash_of(folder: RunFolder) -> DensityImage:
    """Return the ash density round the bone."""
    image = read(folder.path / "density.nii.gz")
    return DensityImage(image.array, image.grid, DensityKind.ASH)


def _finished(folder: RunFolder, case: Case, hashes: dict[str, str]) -> Finished:
    segmentation, _ = load_segmentation(folder.path)
    problem = problem_of(folder, case)
    return Finished(
        ct=read(folder.path / "ct.nii.gz"),
        density=ash_of(folder),
        segmentation=segmentation,
        problem=problem,
        solution=load_solution(folder.path / "solution.npz"),
        calibration=calibration_of(folder),
        to_ash=_to_ash(folder, case),
        calibrating=_json(folder, "calibration.json"),
        cortex=_json(folder, "density.json"),
        error=_json(folder, "uncertainty.json"),
        intact=_json(folder, "intact.json"),
        sweep=_json(folder, "sweep.json"),
        scan=_json(folder, "scan.json"),
        inputs=dict(sorted(hashes.items())),
        synthetic=case.synthetic,
        criterion=linear_criterion(case),
        peak=stored_peak(folder),
        patient=Patient(**case.patient.model_dump()),
    )

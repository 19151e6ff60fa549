"""The stages of a run: each reads what the run folder holds and leaves its own files there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from bonekit.case import Case
from bonekit.case.loads import MuscleSettings
from bonekit.density import (
    density_image,
    to_ash,
)
from bonekit.fem.cement import cemented
from bonekit.fem.model import Solution
from bonekit.fem.simulation import Problem, judge, solve_problem
from bonekit.image import read, write
from bonekit.image.volume import Image
from bonekit.image.writing import replacing
from bonekit.meshing.bone import bone_mesh, moved_meshes
from bonekit.meshing.quality import check
from bonekit.meshing.quality import report as mesh_report
from bonekit.meshing.surface import surface, write_surface
from bonekit.meshing.voxel import VoxelMesh
from bonekit.pipeline.bone import Scan, around, bone_in
from bonekit.pipeline.calibrating import calibrate_scan, line_record, needs_scan
from bonekit.pipeline.cortex import cortex_of
from bonekit.pipeline.kept import (
    ash_of,
    calibration_of,
    entry,
    finished_of,
    problem_of,
    scanner_of,
    stored,
)
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
from bonekit.resolve import loading_of
from bonekit.result import Result
from bonekit.runfolder import RunFolder, measured, write_json
from bonekit.segmentation.landmarks import described
from bonekit.storage import (
    load_segmentation,
    load_solution,
    save_mesh,
    save_segmentation,
    save_solution,
)
from bonekit.summary import draw, summarise, write_fields
from bonekit.uncertainty import StrengthError, strength_error

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
VARIANT_RTOL = 1e-4  # of the solves for the error bar, which is not known to 1 % of itself


def segment_stage(
    folder: RunFolder, scan: Scan, case: Case, hashes: dict[str, str], progress: Progress
) -> None:
    """Scan -> labels.nii.gz, segmentation.json, ct.nii.gz (the part round the bone), scan.json."""
    progress("segment", 0.0, "reading the scan")

    def work() -> None:
        ct = scan.ct
        progress("segment", 0.2, "finding the bone")
        found = described(bone_in(ct, case), case.anatomy.landmarks_mm, ct.grid)
        save_segmentation(folder.path, found, ct.grid)
        write(ct.crop(*around(found)), folder.path / "ct.nii.gz")
        spacing = [round(float(h), 4) for h in ct.spacing_mm]
        record = {**asdict(scan.info), "spacing_mm": spacing, "shape": list(ct.shape)}
        write_json(folder.path / "scan.json", record)

    settings = case.segmentation.model_dump(exclude={"labels", "lesions"})
    inputs = {**hashes, "bone": case.bone, "series": case.series_uid, "settings": settings}
    inputs["anatomy"] = entry(case.anatomy)
    folder.stage("segment", inputs, work)


def calibrate_stage(
    folder: RunFolder, scan: Scan | None, case: Case, hashes: dict[str, str], progress: Progress
) -> None:
    """Scan -> calibration.json: the line from HU to density and what it rests on."""
    settings = case.calibration
    progress("calibrate", 0.0, "default line" if settings is None else settings.method)

    def work() -> None:
        ct = scan.ct if scan is not None and needs_scan(settings) else None
        found = calibrate_scan(ct, settings, scanner_of(folder))
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
        slice_mm = scanner_of(folder).slice_thickness_mm
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
    """solution.npz -> uncertainty.json: the error of the strength."""
    line = calibration_of(folder)
    wanted = case.uncertainty.calibration and line.covariance is not None
    progress(
        "uncertainty", 0.0, "of calibration and mesh" if wanted else "not asked for or not known"
    )

    def work() -> None:
        error = asdict(_error_of(folder, case, progress)) if wanted else None
        write_json(folder.path / "uncertainty.json", error)

    inputs = {"settings": entry(case.uncertainty), "criterion": case.criterion}
    folder.stage("uncertainty", inputs, work)


def intact_stage(
    folder: RunFolder, case: Case, hashes: Mapping[str, str], progress: Progress
) -> None:
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

    settings = case.intact.model_dump(mode="json", exclude={"other_side"})
    other = hashes.get("other_side")
    inputs = {"settings": settings, "criterion": case.criterion, "other_side": other}
    folder.stage("intact", inputs, work)


def _error_of(folder: RunFolder, case: Case, progress: Progress) -> StrengthError:
    """Solve again with four other lines from HU to density, and on three other lattices."""
    solution = load_solution(folder.path / "solution.npz")
    settings = case.solver.model_dump() | {"rtol": max(case.solver.rtol, VARIANT_RTOL)}
    known = problem_of(folder, case)
    strength = judge(known, solution, linear_criterion(case)).strength_N
    solves = 4 + 3 * case.uncertainty.mesh
    done: list[float] = []

    def strength_of(problem: Problem, start: Solution | None, what: str) -> float:
        solved = solve_problem(problem, **settings, start=start)
        done.append(judge(problem, solved, linear_criterion(case)).strength_N)
        progress("uncertainty", len(done) / solves, f"{what}: {done[-1] / 1000:.2f} kN")
        return done[-1]

    def strength_with(line: tuple[float, float]) -> float:
        return strength_of(problem_of(folder, case, line), solution, f"line {len(done) + 1} of 4")

    moved = _lattices(folder, case, known.model.mesh) if case.uncertainty.mesh else ()
    error = strength_error(
        strength,
        calibration_of(folder),
        strength_with,
        [strength_of(problem_of(folder, case, mesh=m), None, "lattice moved") for m in moved],
    )
    peak = stored_peak(folder)
    # a path for each line would cost too much: the peak shares the relative error of the linear
    # strength
    return error if peak is None else error.scaled(peak.strength.strength_N / strength)


def _lattices(folder: RunFolder, case: Case, mesh: VoxelMesh) -> Iterator[VoxelMesh]:
    """Meshes whose lattice lies elsewhere, with the cement of the load."""
    segmentation, field = load_segmentation(folder.path)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    for moved in moved_meshes(mesh, segmentation):
        yield cemented(moved, segmentation.anatomy, loading, field)


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
            finished = finished_of(folder, case, hashes)
            write_fields(finished, folder.path / "mesh.vtu")
            pictures, small = draw(finished)
            for name in ("calibration", "cortex", "peak", "intact", "sweep"):
                if (folder.path / f"{name}.png").is_file():
                    pictures[name] = (folder.path / f"{name}.png").read_bytes()
        made_by = stored(folder, "case.json")["versions"]
        result = summarise(finished, [*folder.done.values()], cost, others, made_by)
        _write_picture(small, folder.path / "preview.png")
        write_report(folder.path / "report.html", result, pictures)
        write_json(folder.path / "result.json", result.model_dump(mode="json"))

    told = {name: other.strength_N for name, other in others.items()}
    folder.stage("report", {"case": case.model_dump(mode="json"), "others": told}, work)
    progress("report", 1.0, "done")
    return Result.model_validate_json((folder.path / "result.json").read_text(encoding="utf-8"))


def _write_picture(picture: bytes | None, path: Path) -> None:
    if picture is not None:
        with replacing(path) as temporary:
            temporary.write_bytes(picture)

"""What a finished run has to say: result, pictures, fields on the mesh."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bonekit
from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityKind, conversion, outside_range
from bonekit.fem.engines import Engine
from bonekit.fem.fields import principal_strains
from bonekit.fem.interpreters import choose
from bonekit.fem.laws import Law
from bonekit.fem.simulation import judge_all
from bonekit.fem.strength import of_bone
from bonekit.figures import levels, load_drawing, modulus_map, overlay, preview, strain_map
from bonekit.figures.anatomy import anatomy_drawing
from bonekit.finished import Finished
from bonekit.landmark_results import angle_results, landmark_results
from bonekit.lesion_results import intact_result, lesion_results, level_result
from bonekit.lesions import destroyed_mm
from bonekit.meshing.interchange import write_mesh
from bonekit.mineral import mineral
from bonekit.remarks import remarks
from bonekit.report import bone_name
from bonekit.result import (
    Balance,
    CalibrationResult,
    CalibrationSample,
    CriterionResult,
    InputRecord,
    MaterialResult,
    MeshResult,
    Method,
    MineralRegion,
    MineralResult,
    OtherLoad,
    Result,
    RiskFigure,
    StageRecord,
    StrengthErrorResult,
    SweepResult,
    ThresholdResult,
    TissueResult,
)
from bonekit.risk import risk_figures
from bonekit.runfolder import Cost, Done
from bonekit.segmentation.base import Segmentation

Float = NDArray[np.float64]

LIBRARIES = ("numpy", "scipy", "scikit-image", "SimpleITK", "torch", "pyvista", "vtk")


def versions(engine: Engine) -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"bonekit": bonekit.__version__, "python": platform.python_version()}
    if engine == "conforming":
        found["dolfinx"] = choose().dolfinx
    return found | {name: metadata.version(name) for name in LIBRARIES}


def draw(finished: Finished) -> tuple[dict[str, bytes], bytes]:
    """Draw the pictures of the report, and the one that sums up (PNG)."""
    model, strength = finished.problem.model, finished.strength
    # the planes go through the lesion if there is one; else the joint is what to look at
    at = None if finished.labels.mask("lesion").any() else _landmark(finished.segmentation)
    pictures = {
        "overlay": overlay(finished.ct, finished.labels, at),
        "levels": levels(finished.ct, finished.labels),
        "landmarks": anatomy_drawing(model.mesh, finished.segmentation.anatomy),
        "load": load_drawing(model),
        "modulus": modulus_map(model.mesh, model.E_MPa),
        "strain": strain_map(model.mesh, strength.utilisation),
    }
    small = preview(
        finished.ct,
        finished.labels,
        model,
        strength.utilisation,
        headline=f"{bone_name(finished.segmentation.bone)}: {strength.strength_N / 1000:.2f} kN",
        subtitle=_rests_on(finished),
    )
    return pictures, small


def _landmark(segmentation: Segmentation) -> Float:
    """Point that the planes go through: femoral head, middle of a vertebral body."""
    anatomy = segmentation.anatomy
    if isinstance(anatomy, FemurAnatomy):
        return anatomy.head_centre_mm
    return anatomy.body_centre_mm


def _rests_on(finished: Finished) -> str:
    parts = [finished.problem.load.name.replace("_", " "), "linear"]
    if not finished.calibration.calibrated:
        parts.append("UNCALIBRATED density")
    if finished.synthetic:
        parts.append("SYNTHETIC phantom")
    return ", ".join([*parts, "research only"])


def write_fields(finished: Finished, path: Path) -> None:
    """Write the mesh with its fields; vectors and tensors in world axes, (LPS)."""
    problem, solution = finished.problem, finished.solution
    mesh = problem.model.mesh
    to_world = mesh.grid.direction.T
    principal = np.sort(principal_strains(solution.strain), axis=1)
    cells = {
        "E_MPa": problem.model.E_MPa,
        "ash_density_g_cm3": finished.ash_density,
        "strain_max_principal": principal[:, 2],
        "strain_min_principal": principal[:, 0],
        "sed_MPa": solution.sed_MPa,
        "utilisation": finished.strength.utilisation,
    }
    force = np.zeros((mesh.n_nodes, 3))
    for load in problem.load.loads:
        force[load.nodes] += load.force_N
    held = np.zeros(mesh.n_nodes, dtype=np.uint8)
    for n, part in enumerate(problem.load.constraints, start=1):
        held[part.nodes] = n
    points: dict[str, NDArray[Any]] = {
        "displacement_mm": solution.displacement_mm @ to_world,
        "force_N": force @ to_world,
        "constraint": held,
    }
    if finished.peak is not None:
        cells["plastic_strain"] = finished.peak.plastic_strain
        cells["damage_tension"], cells["damage_compression"] = finished.peak.damage.T
        points["displacement_at_peak_mm"] = finished.peak.displacement_mm @ to_world
    write_mesh(mesh, path, cells, points)


def summarise(
    finished: Finished,
    done: Sequence[Done],
    drawing: Cost,
    others: Mapping[str, Result],
    known: Mapping[str, str],
) -> Result:
    """Put a run into the form of result.json.

    `others` are further loads by their folders, `known` the `versions` that made the run.
    """
    strength, load = finished.strength, finished.problem.load
    solution, segmentation = finished.solution, finished.segmentation
    stages = [
        StageRecord(
            name=d.name, seconds=d.seconds, peak_memory_MB=d.peak_memory_MB, reused=d.reused
        )
        for d in done
    ]
    stages.append(
        StageRecord(
            name="report", seconds=drawing.seconds, peak_memory_MB=drawing.peak_MB, reused=False
        )
    )
    return Result(
        bonekit_version=bonekit.__version__,
        bone=segmentation.bone,
        synthetic=finished.synthetic,
        strength_N=strength.strength_N,
        strength_error=_error_bar(finished.error),
        criterion=Method(
            name=strength.name,
            description=strength.description,
            source=strength.source,
            parameters=dict(strength.parameters),
        ),
        criteria=tuple(
            CriterionResult(
                name=one.name,
                description=one.description,
                source=one.source,
                parameters=dict(one.parameters),
                strength_N=one.strength_N,
            )
            for one in judge_all(finished.problem, solution)
        ),
        load_case=Method(
            name=load.name,
            description=load.description,
            source=load.source,
            parameters=dict(load.parameters),
        ),
        stiffness_N_mm=strength.stiffness_N_mm,
        applied_force_N=strength.applied_N,
        other_loads=tuple(_other(name, result) for name, result in others.items()),
        intact=intact_result(finished),
        sweep=None if finished.sweep is None else SweepResult(**finished.sweep),
        risk=_risk(finished, others),
        reaction_N=_world_reactions(finished),
        calibration=_calibration(finished),
        material=_material(finished),
        lesions=lesion_results(finished),
        level=level_result(finished),
        mesh=_mesh(finished),
        balance=Balance(
            residual=solution.residual,
            force_balance=solution.force_balance,
            energy_balance=solution.energy_balance,
            iterations=solution.iterations,
        ),
        segmentation_method=segmentation.method,
        measures=dict(segmentation.measures),
        landmarks=landmark_results(segmentation.anatomy.landmarks),
        angles=angle_results(segmentation.anatomy.angles),
        remarks=remarks(finished),
        scan=dict(finished.scan),
        inputs=tuple(InputRecord(role=r, sha256=h) for r, h in finished.inputs.items()),
        stages=tuple(stages),
        versions=dict(known),
    )


def _error_bar(error: Mapping[str, Any] | None) -> StrengthErrorResult | None:
    if error is None:
        return None
    return StrengthErrorResult(
        rests_on="calibration and mesh" if error["moved_N"] else "calibration", **error
    )


def _other(folder: str, result: Result) -> OtherLoad:
    kept = ("load_case", "criterion", "strength_N", "strength_error", "stiffness_N_mm")
    return OtherLoad(folder=folder, **{name: getattr(result, name) for name in kept})


def _risk(finished: Finished, others: Mapping[str, Result]) -> tuple[RiskFigure, ...]:
    strengths = {finished.problem.load.name: finished.strength.strength_N}
    for result in others.values():
        strengths.setdefault(result.load_case.name, result.strength_N)
    figures = risk_figures(
        strengths,
        finished.patient,
        strain_fold=None if finished.intact is None else finished.intact["strain_fold"],
        cortical_mm=destroyed_mm(finished.lesions),
    )
    return tuple(
        RiskFigure(
            name=figure.name,
            unit=figure.unit,
            value=figure.value,
            missing=figure.missing,
            definition=figure.definition,
            thresholds=tuple(
                ThresholdResult(
                    value=threshold.value,
                    at_risk=threshold.at_risk,
                    side=side,
                    **vars(threshold.study),
                )
                for threshold, side in zip(figure.thresholds, figure.sides(), strict=True)
            ),
        )
        for figure in figures
    )


def _world_reactions(finished: Finished) -> dict[str, tuple[float, float, float]]:
    direction = finished.problem.model.mesh.grid.direction
    reactions = {}
    for name, force in finished.solution.reaction_N.items():
        x, y, z = (float(f) for f in direction @ force)
        reactions[name] = (x, y, z)
    return reactions


def _calibration(finished: Finished) -> CalibrationResult:
    line, told = finished.calibration, finished.calibrating
    hu = finished.bone_hu
    below, above = outside_range(hu, line) or (None, None)
    error = None
    if line.covariance is not None:
        mean = np.array(hu.mean(dtype=np.float64))
        error = float(line.standard_error(mean)) * finished.to_ash.slope
    return CalibrationResult(
        calibrated=line.calibrated,
        method=told["method"],
        slope_g_cm3_per_HU=line.slope,
        intercept_g_cm3=line.intercept,
        covariance=line.covariance,
        kind=str(line.kind),
        source=line.source,
        range_HU=line.range_HU,
        kVp=line.kVp,
        kernel=line.kernel,
        evidence=dict(told["evidence"]),
        samples=tuple(CalibrationSample(**sample) for sample in told["samples"]),
        n_bone_voxels=hu.size,
        n_below_range=below,
        n_above_range=above,
        ash_error_g_cm3=error,
    )


def _material(finished: Finished) -> MaterialResult:
    problem = finished.problem
    elastic = problem.assigned.elastic
    laws = {part.law.name: part.law for part in problem.assigned.parts}
    nu = problem.model.nu
    assert isinstance(nu, float)  # so `set_up` has it
    others = [law for name, law in laws.items() if name != problem.tissue.law.name]
    bone = of_bone(problem.model.mesh)
    return MaterialResult(
        law=_law(problem.tissue.law, finished),
        other_laws=tuple(_law(law, finished) for law in others),
        tissues=tuple(
            TissueResult(region=count.name, **{k: v for k, v in vars(count).items() if k != "name"})
            for count in problem.assigned.counts
        ),
        mapping=elastic.mapping,
        cortex=dict(finished.cortex),
        nu=nu,
        ash_density_g_cm3=_spread(finished.ash_density[bone]),
        E_MPa=_spread(problem.model.E_MPa[bone]),
        n_floor=elastic.n_floor,
        n_ceiling=elastic.n_ceiling,
        n_extrapolated=elastic.n_extrapolated,
        mineral=_mineral(finished),
    )


def _law(law: Law, finished: Finished) -> Method:
    found: dict[str, Any] = {"site": law.site}
    if not law.constant:
        found |= {"low_g_cm3": law.low, "high_g_cm3": law.high}
    if law.valid is not None:
        found["valid_from_g_cm3"], found["valid_to_g_cm3"] = law.valid
    lines = (finished.to_ash, conversion(DensityKind.ASH, law.kind))
    steps = [line.description for line in lines if line.given is not line.wanted]
    if steps and not law.constant:
        found["conversion"] = "; ".join(steps)
    return Method(name=law.name, description=law.description, source=law.source, parameters=found)


def _mineral(finished: Finished) -> MineralResult:
    found = mineral(
        finished.density, finished.segmentation, finished.problem.model.mesh, finished.ash_density
    )
    regions = {
        name: MineralRegion(
            mask_g=found.mask[name].mass_g,
            mesh_g=found.mesh[name].mass_g,
            mask_density_g_cm3=found.mask[name].density_g_cm3,
            mesh_density_g_cm3=found.mesh[name].density_g_cm3,
        )
        for name in found.mask
    }
    return MineralResult(
        image_g=found.image_g, mask_g=found.mask_g, mesh_g=found.mesh_g, regions=regions
    )


def _mesh(finished: Finished) -> MeshResult:
    mesh, labels = finished.problem.model.mesh, finished.segmentation.labels
    cube_ml = mesh.grid.voxel_mm3 / 1000.0
    count = np.bincount(mesh.element_region, minlength=256)
    return MeshResult(
        edge_mm=float(mesh.grid.spacing_mm[0]),
        n_elements=mesh.n_elements,
        n_nodes=mesh.n_nodes,
        volume_ml=float(np.count_nonzero(of_bone(mesh))) * cube_ml,
        label_volume_ml=float(finished.segmentation.bone_mask.sum()) * labels.grid.voxel_mm3 / 1e3,
        region_volume_ml={name: float(count[v] * cube_ml) for v, name in mesh.names.items()},
    )


def _spread(values: Float) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}

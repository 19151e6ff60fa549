"""What a finished run has to say: result, pictures, fields on the mesh."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bonekit
from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import Calibration, DensityImage, DensityKind, conversion
from bonekit.fem.fields import principal_strains
from bonekit.fem.model import Solution
from bonekit.fem.simulation import Problem, judge
from bonekit.fem.strength import Strength
from bonekit.figures import levels, load_drawing, modulus_map, overlay, preview, strain_map
from bonekit.image.volume import Image, LabelMap
from bonekit.meshing.interchange import write_mesh
from bonekit.report import bone_name
from bonekit.result import (
    Balance,
    CalibrationResult,
    InputRecord,
    MaterialResult,
    MeshResult,
    Method,
    Remark,
    Result,
    StageRecord,
)
from bonekit.runfolder import Cost, Done
from bonekit.segmentation.base import Segmentation

Float = NDArray[np.float64]

STIFFEST_MPA = 30_000.0  # bone tissue itself has about 20 GPa (Bayraktar et al. 2004)
LIBRARIES = ("numpy", "scipy", "scikit-image", "SimpleITK", "torch", "pyvista", "vtk")


@dataclass(frozen=True, eq=False)
class Finished:
    """Everything a run found out, before it is put into words."""

    ct: Image
    density: DensityImage
    segmentation: Segmentation
    ash_density: Float
    problem: Problem
    solution: Solution
    calibration: Calibration
    scan: Mapping[str, Any]
    inputs: Mapping[str, str]
    synthetic: bool

    @cached_property
    def strength(self) -> Strength:
        """The answer."""
        return judge(self.problem, self.solution)

    @cached_property
    def labels(self) -> LabelMap:
        """Labels on the grid of the cropped CT."""
        return self.segmentation.labels.resample(self.ct.grid)


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"bonekit": bonekit.__version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def draw(finished: Finished) -> tuple[dict[str, bytes], bytes]:
    """Draw the pictures of the report, and the one that sums up (PNG)."""
    model, strength = finished.problem.model, finished.strength
    # the planes go through the lesion if there is one; else the joint is what to look at
    at = None if finished.labels.mask("lesion").any() else _landmark(finished.segmentation)
    pictures = {
        "overlay": overlay(finished.ct, finished.labels, at),
        "levels": levels(finished.ct, finished.labels),
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
    write_mesh(mesh, path, cells, points)


def summarise(finished: Finished, done: Sequence[Done], drawing: Cost) -> Result:
    """Put a run into the form of result.json."""
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
        criterion=Method(
            name=strength.name,
            description=strength.description,
            source=strength.source,
            parameters=dict(strength.parameters),
        ),
        load_case=Method(
            name=load.name,
            description=load.description,
            source=load.source,
            parameters=dict(load.parameters),
        ),
        stiffness_N_mm=strength.stiffness_N_mm,
        applied_force_N=strength.applied_N,
        reaction_N=_world_reactions(finished),
        calibration=_calibration(finished.calibration),
        material=_material(finished),
        mesh=_mesh(finished),
        balance=Balance(
            residual=solution.residual,
            force_balance=solution.force_balance,
            energy_balance=solution.energy_balance,
            iterations=solution.iterations,
        ),
        segmentation_method=segmentation.method,
        measures=dict(segmentation.measures),
        remarks=_remarks(finished),
        scan=dict(finished.scan),
        inputs=tuple(InputRecord(role=r, sha256=h) for r, h in finished.inputs.items()),
        stages=tuple(stages),
        versions=versions(),
    )


def _world_reactions(finished: Finished) -> dict[str, tuple[float, float, float]]:
    direction = finished.problem.model.mesh.grid.direction
    reactions = {}
    for name, force in finished.solution.reaction_N.items():
        x, y, z = (float(f) for f in direction @ force)
        reactions[name] = (x, y, z)
    return reactions


def _calibration(calibration: Calibration) -> CalibrationResult:
    return CalibrationResult(
        calibrated=calibration.calibrated,
        slope_g_cm3_per_HU=calibration.slope,
        intercept_g_cm3=calibration.intercept,
        kind=str(calibration.kind),
        source=calibration.source,
    )


def _material(finished: Finished) -> MaterialResult:
    problem = finished.problem
    law, mesh = problem.law, problem.model.mesh
    on_mesh = float(finished.ash_density.sum()) * mesh.grid.voxel_mm3 / 1000.0
    return MaterialResult(
        law=Method(
            name=law.name,
            description=law.description,
            source=law.source,
            parameters=_law_parameters(finished),
        ),
        mapping=problem.elastic.mapping,
        nu=problem.model.nu,
        ash_density_g_cm3=_spread(finished.ash_density),
        E_MPa=_spread(problem.model.E_MPa),
        n_floor=problem.elastic.n_floor,
        n_ceiling=problem.elastic.n_ceiling,
        n_extrapolated=problem.elastic.n_extrapolated,
        bone_mineral_g=on_mesh,
        bone_mineral_in_mask_g=_mineral_in_mask(finished),
    )


def _law_parameters(finished: Finished) -> dict[str, Any]:
    law = finished.problem.law
    found: dict[str, Any] = {"site": law.site, "low_g_cm3": law.low, "high_g_cm3": law.high}
    if law.valid is not None:
        found["valid_from_g_cm3"], found["valid_to_g_cm3"] = law.valid
    lines = (
        conversion(finished.calibration.kind, DensityKind.ASH),
        finished.problem.conversion,
    )
    steps = [line.description for line in lines if line.given is not line.wanted]
    if steps:
        found["conversion"] = "; ".join(steps)
    return found


def _mineral_in_mask(finished: Finished) -> float:
    """Ash mass of the voxels whose centre lies in the part of the bone that was meshed."""
    inside = np.argwhere(finished.labels.mask("cortex", "trabecular", "lesion"))
    anatomy = finished.segmentation.anatomy
    if isinstance(anatomy, FemurAnatomy):
        height = anatomy.height_mm(finished.ct.grid.world(inside))
        inside = inside[height >= anatomy.distal_mm]
    total = float(finished.density.array[tuple(inside.T)].sum(dtype=np.float64))
    return total * finished.density.grid.voxel_mm3 / 1000.0


def _mesh(finished: Finished) -> MeshResult:
    mesh, labels = finished.problem.model.mesh, finished.segmentation.labels
    cube_ml = mesh.grid.voxel_mm3 / 1000.0
    count = np.bincount(mesh.element_region, minlength=256)
    return MeshResult(
        edge_mm=float(mesh.grid.spacing_mm[0]),
        n_elements=mesh.n_elements,
        n_nodes=mesh.n_nodes,
        volume_ml=mesh.n_elements * cube_ml,
        label_volume_ml=float(finished.segmentation.bone_mask.sum()) * labels.grid.voxel_mm3 / 1e3,
        region_volume_ml={name: float(count[v] * cube_ml) for v, name in mesh.names.items()},
    )


def _remarks(finished: Finished) -> tuple[Remark, ...]:
    """List the findings of all stages, the worst first."""
    found = [
        Remark(severity=f.severity, code=f.code, message=f.message)
        for f in finished.segmentation.findings
    ]
    if not finished.calibration.calibrated:
        text = (
            "the density is not calibrated: a default line from HU to density was used. "
            "Scanners differ by 20 % and the calibration moves the strength by more"
        )
        found.append(Remark(severity="warning", code="uncalibrated", message=text))
    clamped = finished.problem.elastic.n_floor + finished.problem.elastic.n_ceiling
    if clamped:
        text = f"{clamped} elements had a density outside the range of the law and were clamped"
        found.append(Remark(severity="note", code="clamped", message=text))
    if finished.problem.elastic.n_extrapolated:
        text = (
            f"{finished.problem.elastic.n_extrapolated} elements had a density outside "
            "what the law was measured on; the law was extrapolated there"
        )
        found.append(Remark(severity="note", code="extrapolated", message=text))
    too_stiff = int(np.count_nonzero(finished.problem.model.E_MPa > STIFFEST_MPA))
    if too_stiff:
        text = (
            f"{too_stiff} elements are stiffer than any bone tissue ({STIFFEST_MPA / 1000:.0f} "
            f"GPa): law {finished.problem.law.name} was measured on "
            f"{finished.problem.law.site} and may not hold for this bone"
        )
        found.append(Remark(severity="warning", code="too-stiff", message=text))
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda r: order[r.severity]))


def _spread(values: Float) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}

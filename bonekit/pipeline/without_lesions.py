"""The stage of a run that solves the bone with its lesions filled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bonekit.case import Case
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.fem.cement import loaded_mesh
from bonekit.fem.lesion_strain import lesion_strain_fold
from bonekit.fem.model import Solution
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.fem.tissue import LesionPolicy
from bonekit.figures.filled import filled_drawing
from bonekit.image.volume import Grid
from bonekit.lesions import Intact, intact, intact_from
from bonekit.pipeline.kept import ash_of
from bonekit.pipeline.peak import linear_criterion
from bonekit.resolve import loading_of, tissue_of
from bonekit.runfolder import RunFolder
from bonekit.segmentation.base import Segmentation
from bonekit.storage import load_segmentation


def without_lesions(
    case: Case,
    segmentation: Segmentation,
    field: Grid,
    ash: DensityImage,
    seen: tuple[Problem, Solution],
) -> tuple[dict[str, Any], bytes]:
    """Fill the lesions and solve; return what intact.json holds, and a picture (PNG).

    Parameters
    ----------
    case : Case
    segmentation : Segmentation
    field : Grid
        Field of view of the scan.
    ash : DensityImage
    seen : tuple of Problem, Solution
        Of the bone with its lesions.
    """
    labels = segmentation.labels.resample(ash.grid)
    made, mirrored = _filled(case, segmentation, ash)
    whole = replace(segmentation, labels=made.labels)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    problem = set_up(
        loaded_mesh(whole, loading, case.mesh.edge_mm, field),
        made.density,
        whole,
        loading=loading,
        tissue=replace(tissue_of(case, segmentation.bone), lesions=LesionPolicy()),
        mapping=case.material.mapping,
        lesions=(),
        nu=case.material.nu,
        field=field,
    )
    solution = solve_problem(problem, **case.solver.model_dump())
    strength = judge(problem, solution, linear_criterion(case))
    told = {
        "strength_N": strength.strength_N,
        "stiffness_N_mm": strength.stiffness_N_mm,
        "filled_ml": float(made.filled.sum() * ash.grid.voxel_mm3 / 1000.0),
        "strain_fold": lesion_strain_fold(*seen, problem, solution),
    }
    return told | mirrored, filled_drawing(ash, made.density, labels, made.filled)


def _filled(
    case: Case, segmentation: Segmentation, ash: DensityImage
) -> tuple[Intact, dict[str, float]]:
    """Fill the lesions after the other side if it was given, else after the bone around them."""
    place, rim_mm = case.intact.other_side, case.intact.rim_mm
    if place is None:
        return intact(segmentation.labels.resample(ash.grid), ash, rim_mm), {}
    if place == "given":
        raise InputError(
            "the run folder does not keep where the other side is: use `bonekit run`, or "
            "intact.other_side"
        )
    other = RunFolder.of(place, ("density",))
    found = intact_from(
        segmentation, ash, load_segmentation(other.path)[0], ash_of(other), rim_mm=rim_mm
    )
    return found.intact, {"mirror_distance_mm": found.distance_mm, "mirror_share": found.share}

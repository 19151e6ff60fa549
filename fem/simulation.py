"""One bone under its standard load: from elements with density to a strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.catalogue import LAWS
from bonekit.fem.cement import with_cement
from bonekit.fem.cg import Progress
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.criteria import CRITERIA
from bonekit.fem.engines import Engine
from bonekit.fem.laws import Law
from bonekit.fem.loadcases import LoadCase, Loading
from bonekit.fem.mapping import Mapping
from bonekit.fem.model import Model, Solution
from bonekit.fem.solve import solve
from bonekit.fem.stance import SingleLegStance
from bonekit.fem.strength import Strength
from bonekit.fem.tissue import Assigned, Tissue, assign, of_image, partition
from bonekit.image.volume import Grid
from bonekit.lesions import Lesion, find_lesions, lesion_map, numbers_at
from bonekit.meshing.bone import bone_of, without_parts
from bonekit.meshing.conserve import bone_image
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import Segmentation

# Laws that were measured on the bone they are for; the choice among those is bonekit's.
STANDARD_LAWS = {"femur": LAWS["keyak_2005"], "vertebra": LAWS["morgan_2003_vertebra"]}
STANDARD_LOADINGS: dict[str, Loading] = {
    "femur": SingleLegStance(),
    "vertebra": EndplateCompression(),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """A bone ready to be solved: model, load case, and how the moduli came about."""

    model: Model
    load: LoadCase
    tissue: Tissue
    assigned: Assigned
    lesions: tuple[Lesion, ...]


def set_up(
    mesh: VoxelMesh,
    ash: DensityImage,
    segmentation: Segmentation,
    *,
    loading: Loading | None = None,
    tissue: Tissue | None = None,
    mapping: Mapping = "modulus",
    lesions: Sequence[Lesion] | None = None,
    nu: float = 0.3,
    field: Grid | None = None,
) -> Problem:
    """Give a bone its moduli and its load.

    Parameters
    ----------
    mesh : VoxelMesh
        Of `bonekit.fem.cement.loaded_mesh` or, without cement, of `bone_mesh` along the axes of
        the loading.
    ash : DensityImage
        Ash density.
    segmentation : Segmentation
    loading : Loading, optional
        By default `standard_loading`.
    tissue : Tissue, optional
        Laws of the regions, and what lesions are made of; by default `standard_law` everywhere.
    mapping : {"modulus", "density", "centroid", "nodal"}
        See `bonekit.fem.mapping`.
    lesions : sequence of Lesion, optional
        By default those that `find_lesions` finds in the label map.
    nu : float
    field : Grid, optional
        Field of view of the scan; that of the labels by default.

    Raises
    ------
    InputError
        If the density is not that of ash, or see `partition`, `element_modulus` and the load
        cases.
    """
    ash.require(DensityKind.ASH)
    labels = segmentation.labels
    on_image = labels.resample(ash.grid)
    known = find_lesions(on_image, ash) if lesions is None else tuple(lesions)
    number = numbers_at(mesh.centres_mm, lesion_map(on_image, known)) if known else None
    tissue = tissue or Tissue(standard_law(segmentation.bone))
    parts = partition(
        with_cement(tissue, mesh.names), mesh.element_region, mesh.names, known, number
    )
    bone = bone_image(ash, bone_of(segmentation), without_parts(mesh))
    assigned = assign(parts, of_image(bone, mesh, mapping))
    loading = loading or standard_loading(segmentation.bone)
    load = loading.on(mesh, segmentation.anatomy, field or labels.grid)
    model = load.model(mesh, assigned.elastic.E_MPa, nu)
    return Problem(model, load, tissue, assigned, known)


def standard_law(bone: str) -> Law:
    """Return the density-modulus law of a bone, such as ``femur_left``, unless another is asked."""
    return STANDARD_LAWS[bone.partition("_")[0]]


def standard_loading(bone: str) -> Loading:
    """Return the loading of a bone unless another is asked: stance, or compression."""
    return STANDARD_LOADINGS[bone.partition("_")[0]]


def solve_problem(
    problem: Problem,
    rtol: float = 1e-8,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    start: Solution | None = None,
    engine: Engine = "voxel",
) -> Solution:
    """Solve.

    Parameters
    ----------
    problem : Problem
    rtol, max_iterations, device, threads, progress, start
        See `bonekit.fem.solve.solve`. For the conforming engine `threads` are processes, the
        device is always the processor, and each solve starts from nothing.
    engine : {"voxel", "conforming"}
        Matrix-free bricks, or the same bricks by `bonekit.fem.conforming.solve_conforming`.

    Raises
    ------
    InputError, ConvergenceError
        See the two; of the conforming engine also if `device` is not ``"cpu"``.
    """
    if engine == "conforming":
        if device != "cpu":
            raise InputError(f"the conforming engine runs on the cpu, found device {device!r}")
        solved = solve_conforming(
            problem.model,
            rtol,
            max_iterations=max_iterations,
            processes=threads or 1,
            progress=progress,
        )
        return Solution(**{part.name: getattr(solved, part.name) for part in fields(Solution)})
    return solve(
        problem.model,
        rtol,
        max_iterations=max_iterations,
        device=device,
        threads=threads,
        progress=progress,
        start=start,
    )


def judge(problem: Problem, solution: Solution, criterion: str | None = None) -> Strength:
    """Estimate the strength by a criterion, or by the one that belongs to the load case.

    Raises
    ------
    InputError
        If the criterion is unknown, or can't be asked of the load case.
    """
    name = standard_criterion(problem.load.name) if criterion is None else criterion
    if name not in CRITERIA:
        raise InputError(f"criterion {name!r} is unknown; known: {', '.join(CRITERIA)}")
    return CRITERIA[name](problem.model, solution, problem.load)


def judge_all(problem: Problem, solution: Solution) -> tuple[Strength, ...]:
    """Estimate the strength by every criterion that suits the load case."""
    left_out = set() if "height_mm" in problem.load.parameters else {"stiffness_at_strain"}
    return tuple(judge(problem, solution, name) for name in CRITERIA if name not in left_out)


def standard_criterion(load: str) -> str:
    """Return the criterion of a load case unless another is asked."""
    return "stiffness_at_strain" if load == EndplateCompression.name else "strain_limit"

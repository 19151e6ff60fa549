"""One bone under its standard load: from elements with density to a strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import Conversion, DensityImage, DensityKind, conversion
from bonekit.fem.cg import Progress
from bonekit.fem.loadcases import LoadCase, endplate_compression, single_leg_stance
from bonekit.fem.mapping import element_modulus
from bonekit.fem.materials import LAWS, Elasticity, Law, elasticity
from bonekit.fem.model import Model, Solution
from bonekit.fem.solve import solve
from bonekit.fem.strength import Strength, stiffness_at_strain, strain_limit
from bonekit.image.volume import Grid
from bonekit.meshing.bone import bone_of
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import Segmentation

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """A bone ready to be solved: model, load case, and how the moduli came about.

    `conversion` is the line from ash density to the density that the law asks for.
    """

    model: Model
    load: LoadCase
    elastic: Elasticity
    law: Law
    conversion: Conversion


def set_up(
    mesh: VoxelMesh,
    ash_density: Float,
    segmentation: Segmentation,
    *,
    law: Law = LAWS["keyak_2005"],
    nu: float = 0.3,
    density: DensityImage | None = None,
    field: Grid | None = None,
    adduction_deg: float = 8.0,
    cap_deg: float = 40.0,
    fixed_mm: float = 10.0,
    strain: float = 0.0068,
    cap_mm: float = 3.0,
) -> Problem:
    """Give a bone its moduli and its standard load.

    A femur gets `single_leg_stance`, a vertebra `endplate_compression`; the last five parameters
    are theirs.

    Parameters
    ----------
    mesh : VoxelMesh
        Of `bone_mesh`.
    ash_density : ndarray of float, (n_elements,)
        g/cm3.
    segmentation : Segmentation
    law : Law
        Gets the kind of density it asks for, see `bonekit.density.conversion`.
    nu : float
    density : DensityImage, optional
        Ash density. If given, the modulus is integrated over each element, see `element_modulus`;
        else it is that of the element's `ash_density`.
    field : Grid, optional
        Field of view of the scan; that of the labels by default.
    """
    anatomy = segmentation.anatomy
    line = conversion(DensityKind.ASH, law.kind)
    if density is None:
        elastic = elasticity(line(ash_density), line.wanted, law)
    else:
        density.require(DensityKind.ASH)
        elastic = element_modulus(density, mesh, law, bone_of(segmentation))
    if isinstance(anatomy, FemurAnatomy):
        load = single_leg_stance(
            mesh,
            anatomy,
            field or segmentation.labels.grid,
            adduction_deg=adduction_deg,
            cap_deg=cap_deg,
            fixed_mm=fixed_mm,
        )
    else:
        load = endplate_compression(mesh, anatomy, strain=strain, cap_mm=cap_mm)
    model = Model(mesh, elastic.E_MPa, nu, load.constraints, load.loads)
    return Problem(model, load, elastic, law, line)


def solve_problem(
    problem: Problem,
    rtol: float = 1e-8,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    start: Solution | None = None,
) -> Solution:
    """Solve; see `bonekit.fem.solve.solve` for the parameters and errors."""
    return solve(
        problem.model,
        rtol,
        max_iterations=max_iterations,
        device=device,
        threads=threads,
        progress=progress,
        start=start,
    )


def judge(problem: Problem, solution: Solution) -> Strength:
    """Estimate the strength by the criterion that belongs to the load case."""
    if problem.load.loads:
        return strain_limit(problem.model, solution, problem.load)
    return stiffness_at_strain(solution, problem.load, problem.load.parameters["height_mm"])

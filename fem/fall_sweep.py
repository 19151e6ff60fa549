"""Strength of a femur over a cone of directions of a sideways fall, and the weakest of them.

Head and trochanter are pressed between plates, so that another direction meets other patches of
them: unlike for a stance each direction is a mesh and a solve of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bonekit.density import DensityImage
from bonekit.fem.cement import loaded_mesh
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.mapping import Mapping
from bonekit.fem.simulation import judge, set_up, solve_problem
from bonekit.fem.sweep import Cone, Sweep, Tell
from bonekit.fem.tissue import Tissue
from bonekit.image.volume import Grid
from bonekit.lesions import Lesion
from bonekit.segmentation.base import Segmentation

FALL_CONE = Cone(adduction_half_deg=10.0, flexion_half_deg=15.0, step_deg=5.0)
FALL_SOURCE = (
    "lowest strength over many directions of a fall as the minimum pathological strength of CT2S "
    "(Qasim et al. 2016); the cone is bonekit's choice"
)


def falls_of(loading: SidewaysFall, cone: Cone) -> list[SidewaysFall]:
    """Falls in the directions of a cone; `InputError` if one is out of the range of a fall."""
    centre = np.array([loading.adduction_deg, loading.rotation_deg])
    angles = cone.offsets_deg() + centre
    return [replace(loading, adduction_deg=float(a), rotation_deg=float(r)) for a, r in angles]


def sweep_falls(
    segmentation: Segmentation,
    ash: DensityImage,
    loading: SidewaysFall,
    cone: Cone = FALL_CONE,
    criterion: str | None = None,
    *,
    edge_mm: float = 1.5,
    field: Grid | None = None,
    tissue: Tissue | None = None,
    mapping: Mapping = "modulus",
    lesions: Sequence[Lesion] | None = None,
    nu: float = 0.3,
    rtol: float = 1e-8,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Tell | None = None,
) -> Sweep:
    """Find the strength of a femur for every direction of a cone of falls.

    Parameters
    ----------
    segmentation : Segmentation
    ash : DensityImage
        Ash density.
    loading : SidewaysFall
        In the middle of the cone.
    cone : Cone
        Its first half angle is of the adduction; its second, out of the frontal plane, of the
        internal rotation.
    criterion : str, optional
        See `bonekit.fem.criteria`.
    edge_mm : float
        Of the cubes.
    field, tissue, mapping, lesions, nu
        See `bonekit.fem.simulation.set_up`.
    rtol, max_iterations, device, threads
        See `bonekit.fem.solve.solve`.
    progress : callable, optional
        Called with the share that is done and words.

    Returns
    -------
    Sweep
        Of adduction and rotation, see its `angles`.

    Raises
    ------
    InputError
        If a direction is out of the range of a fall, head or trochanter are not in view from one,
        or as for `set_up` and `judge`.
    ConvergenceError
        If a solve does not reach the tolerance.
    """
    centre = (loading.adduction_deg, loading.rotation_deg)
    angles = cone.offsets_deg() + np.array(centre)
    falls = falls_of(loading, cone)  # all are checked before the first is solved
    strengths, name = [], ""
    for n, fall in enumerate(falls):
        if progress is not None:
            progress(n / len(falls), f"direction {n + 1} of {len(falls)}")
        problem = set_up(
            loaded_mesh(segmentation, fall, edge_mm, field),
            ash,
            segmentation,
            loading=fall,
            tissue=tissue,
            mapping=mapping,
            lesions=lesions,
            nu=nu,
            field=field,
        )
        solution = solve_problem(problem, rtol, max_iterations, device, threads)
        strength = judge(problem, solution, criterion)
        strengths.append(strength.strength_N)
        name = strength.name
    return Sweep(angles, np.array(strengths), centre, name, ("adduction", "rotation"))

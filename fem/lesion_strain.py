"""Strain at the lesions of a bone beside that of the same bone without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.fem.criteria import strain_fold
from bonekit.fem.model import Solution
from bonekit.fem.response import response
from bonekit.fem.simulation import Problem
from bonekit.fem.strength import judged_elements, utilisation

Float = NDArray[np.float64]

NEAR_MM = 10.0  # how far round a lesion strain is read: about a shaft's radius, bonekit's choice
FEWEST = 50  # elements: a percentile of fewer says nothing


def lesion_strain_fold(
    seen: Problem,
    seen_solution: Solution,
    intact: Problem,
    intact_solution: Solution,
    near_mm: float = NEAR_MM,
) -> float | None:
    """Largest strain fold ratio of a bone's lesions; see `bonekit.fem.criteria.strain_fold`.

    Strain per force at the 98th percentile of the elements that are within `near_mm` of a lesion,
    over that of the same elements of the intact bone. Elements count that are bone in both (at
    least 100 MPa) and away from loads and supports.

    Parameters
    ----------
    seen, intact : Problem
        The same bone with and without its lesions, on elements at the same places.
    seen_solution, intact_solution : Solution
    near_mm : float

    Returns
    -------
    float or None
        None where no lesion has enough bone around it to tell.

    Raises
    ------
    InputError
        If the two are on other elements.
    """
    mesh = seen.model.mesh
    if not (
        mesh.grid.same_as(intact.model.mesh.grid)
        and np.array_equal(mesh.mask, intact.model.mesh.mask)
    ):
        raise InputError(
            "the bones with and without lesions are on other elements: mesh both from labels of "
            "one outline, along the same axes"
        )
    judged = judged_elements(seen.model) & judged_elements(intact.model)
    with_lesion = _per_force(seen, seen_solution)
    without = _per_force(intact, intact_solution)
    lesion = np.isin(mesh.region, [v for v, name in mesh.names.items() if name == "lesion"])
    pieces, count = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    ratios = []
    for number in range(1, count + 1):
        away = ndimage.distance_transform_edt(
            pieces != number, sampling=mesh.grid.spacing_mm.tolist()
        )
        near = judged & (away[mesh.mask] <= near_mm)
        if np.count_nonzero(near) >= FEWEST:
            ratios.append(strain_fold(with_lesion[near], without[near]))
    return max(ratios, default=None)


def _per_force(problem: Problem, solution: Solution) -> Float:
    """Largest principal strain over its limit, for each newton of the load."""
    applied = response(problem.model.mesh, solution, problem.load).applied
    return np.asarray(utilisation(solution.strain) / applied)

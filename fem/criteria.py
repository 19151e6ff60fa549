"""Failure criteria with fixed definitions, all of one linear solution.

Each is a function of model, solution and load case that returns a `Strength`: the force (or
moment) at which its condition is met, as everything grows in proportion. Strains are those of
element centroids; elements are bricks of one volume, so shares of elements are shares of volume.
Percentiles are those of the sorted values at index ``int(n (1 - share))``, as in Ogo and
parosol-py. Criteria that look at strain peaks leave out marrow (under 100 MPa) and what lies within
`AWAY_MM` of loaded or held nodes. See `CRITERIA` for their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.fem.brick import strain_displacement
from bonekit.fem.fields import energy_equivalent_strain, principal_strains, strain_energy_density
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Model, Solution
from bonekit.fem.response import response
from bonekit.fem.strength import (
    AWAY_MM,
    COMPRESSION_LIMIT,
    TENSION_LIMIT,
    Strength,
    judged_elements,
    of_bone,
    stiffness_at_strain,
    strain_limit,
    utilisation,
)

Float = NDArray[np.float64]
Criterion = Callable[[Model, Solution, LoadCase], Strength]
Side = Literal["tension", "compression"]

SCHILEO = "limits of Schileo et al., J Biomech 2014"
_GAUSS = 0.5 + np.array([-1.0, 1.0]) / np.sqrt(12.0)


def first_yield(model: Model, solution: Solution, load: LoadCase) -> Strength:
    """Load at which the first element reaches its principal strain limit.

    It falls with the element size: peaks of strain at a stair-stepped surface have no limit.
    """
    judged = judged_elements(model)
    used = utilisation(solution.strain)
    return _strength(
        model,
        solution,
        load,
        used,
        float(used[judged].max()),
        "first_yield",
        "Load at which the first element's principal strain reaches "
        f"{100 * TENSION_LIMIT:g} % (tension) or {100 * COMPRESSION_LIMIT:g} % (compression); "
        "depends on the element size.",
        SCHILEO,
        {"away_mm": AWAY_MM},
    )


def schileo(model: Model, solution: Solution, load: LoadCase) -> Strength:
    """Load at which the first element on the bone's surface reaches its limit.

    Schileo et al. (2014) take the nodes of a smooth surface, over which they average; here it is
    the elements with a free face, so that the value depends on the element size.
    """
    judged = judged_elements(model) & _on_surface(model)
    used = utilisation(solution.strain)
    return _strength(
        model,
        solution,
        load,
        used,
        float(used[judged].max()),
        "schileo",
        f"Load at which the first surface element's principal strain reaches "
        f"{100 * TENSION_LIMIT:g} % (tension) or {100 * COMPRESSION_LIMIT:g} % (compression); "
        "depends on the element size.",
        SCHILEO,
        {"away_mm": AWAY_MM},
    )


def strain_volume(
    model: Model, solution: Solution, load: LoadCase, *, side: Side, share: float = 0.01
) -> Strength:
    """Load at which a share of the bone's volume is beyond the limit of one side alone.

    Parameters
    ----------
    model : Model
    solution : Solution
    load : LoadCase
    side : {"tension", "compression"}
    share : float
    """
    judged = judged_elements(model)
    principal = principal_strains(solution.strain)
    limit = TENSION_LIMIT if side == "tension" else COMPRESSION_LIMIT
    used = (principal[:, 2] if side == "tension" else -principal[:, 0]) / limit
    return _strength(
        model,
        solution,
        load,
        used,
        _percentile(used[judged], share),
        f"volume_in_{side}",
        f"Load at which {100 * share:g} % of the bone's volume exceeds a principal strain of "
        f"{100 * limit:g} % in {side}.",
        f"{SCHILEO}; volume fraction chosen by bonekit",
        {"share": share, "limit": limit, "away_mm": AWAY_MM},
    )


def pistoia(
    model: Model,
    solution: Solution,
    load: LoadCase,
    *,
    critical_strain: float = 0.007,
    share: float = 0.02,
    energy: Literal["centroid", "mean"] = "centroid",
    name: str = "pistoia",
) -> Strength:
    """Load at which a share of the bone exceeds an energy-equivalent strain (Pistoia 2002).

    ``sqrt(2 U / E)`` of all elements; the parts that are added to load the bone do not count.

    Parameters
    ----------
    model : Model
    solution : Solution
    load : LoadCase
    critical_strain : float
        0.007 of radii at high resolution; 0.011 is Ogo's default for femurs.
    share : float
        0.02; 0.07 goes with 0.011.
    energy : {"centroid", "mean"}
        Strain energy density of the centroid strain, as FAIM and ParOSol take it, or its mean over
        the element (2 x 2 x 2 Gauss points), by which the load is 1 to 6 % lower.
    name : str
        Of the variant.
    """
    sed = solution.sed_MPa if energy == "centroid" else mean_energy_density(model, solution)
    used = energy_equivalent_strain(sed, model.E_MPa) / critical_strain
    bone = of_bone(model.mesh)
    return _strength(
        model,
        solution,
        load,
        used,
        _percentile(used[bone], share),
        name,
        f"Load at which {100 * share:g} % of the bone's volume exceeds an energy-equivalent strain "
        f"of {critical_strain:g}; energy density of the "
        f"{'centroid strain' if energy == 'centroid' else 'element, over its Gauss points'}.",
        "Pistoia et al., Bone 2002; percentile as in Ogo and parosol-py",
        {"critical_strain": critical_strain, "share": share, "energy": energy},
    )


def contiguous_volume(
    model: Model, solution: Solution, load: LoadCase, *, volume_mm3: float = 100.0
) -> Strength:
    """Load at which a connected piece of bone of a given volume is over its strain limit.

    Elements are connected over their faces. The volume is bonekit's choice: of the order of the
    first crack, and a few elements of 2 mm.

    Parameters
    ----------
    model : Model
    solution : Solution
    load : LoadCase
    volume_mm3 : float

    Raises
    ------
    InputError
        If no connected piece of bone is that large.
    """
    used = utilisation(solution.strain)
    count = max(int(np.ceil(volume_mm3 / model.mesh.grid.voxel_mm3)), 1)
    level = _largest_level(model, np.where(judged_elements(model), used, 0.0), count)
    if level <= 0:
        raise InputError(
            f"no connected piece of {volume_mm3:g} mm3 of bone is in view away from the supports"
        )
    return _strength(
        model,
        solution,
        load,
        used,
        level,
        "contiguous_volume",
        f"Load at which a connected {volume_mm3:g} mm³ of bone is beyond its principal strain "
        "limit.",
        f"{SCHILEO}; volume chosen by bonekit",
        {"volume_mm3": volume_mm3, "away_mm": AWAY_MM},
    )


def crawford(model: Model, solution: Solution, load: LoadCase) -> Strength:
    """Strength from stiffness, ``F = 0.0068 K H``; see `bonekit.fem.strength.stiffness_at_strain`.

    Raises
    ------
    InputError
        If the load case has no height: it is none of a vertebra.
    """
    if "height_mm" not in load.parameters:
        raise InputError(
            "criterion stiffness_at_strain is for the compression of a vertebra, not for "
            f"{load.name}"
        )
    return stiffness_at_strain(model, solution, load, float(load.parameters["height_mm"]))


def strain_fold(lesion: Float, intact: Float, share: float = 0.02) -> float:
    """Strain at a lesion over that of the intact bone at the same place, under the same load.

    Percentiles of the larger principal strain over its limit, each of the same elements.
    Sternheim et al. (2020) found fractures above 1.48 with their own averaging.

    Parameters
    ----------
    lesion, intact : ndarray of float, (n,)
        `bonekit.fem.strength.utilisation` of the elements in and around the lesion, per force.
    share : float
    """
    return _percentile(lesion, share) / _percentile(intact, share)


CRITERIA: Mapping[str, Criterion] = {
    "strain_limit": strain_limit,
    "first_yield": first_yield,
    "schileo": schileo,
    "volume_in_tension": partial(strain_volume, side="tension"),
    "volume_in_compression": partial(strain_volume, side="compression"),
    "contiguous_volume": contiguous_volume,
    "pistoia": pistoia,
    "pistoia_mean_energy": partial(pistoia, energy="mean", name="pistoia_mean_energy"),
    "pistoia_ogo": partial(pistoia, critical_strain=0.011, share=0.07, name="pistoia_ogo"),
    "stiffness_at_strain": crawford,
}


def mean_energy_density(model: Model, solution: Solution) -> Float:
    """Strain energy density in MPa, mean over the 2 x 2 x 2 Gauss points of each brick, (n,)."""
    u = solution.displacement_mm[model.mesh.elements].reshape(-1, 24)
    h = model.mesh.grid.spacing_mm
    points = [(x, y, z) for x in _GAUSS for y in _GAUSS for z in _GAUSS]
    total = np.zeros(len(u))
    for point in points:
        total += strain_energy_density(u @ strain_displacement(h, point).T, model.E_MPa, model.nu)
    return total / len(points)


def _strength(
    model: Model,
    solution: Solution,
    load: LoadCase,
    used: Float,
    level: float,
    name: str,
    description: str,
    source: str,
    parameters: Mapping[str, float | str],
) -> Strength:
    answer = response(model.mesh, solution, load)
    return Strength(
        answer.applied / level,
        answer.stiffness,
        answer.applied,
        used / level,
        name,
        description,
        source,
        parameters,
    )


def _percentile(values: Float, share: float) -> float:
    """Value that a share of the values exceeds: index int(n (1 - share)) of the sorted."""
    at = min(int(len(values) * (1.0 - share)), len(values) - 1)
    return float(np.partition(values, at)[at])


def _on_surface(model: Model) -> NDArray[np.bool_]:
    mask = np.pad(model.mesh.mask, 1)
    inner = ndimage.binary_erosion(mask)[1:-1, 1:-1, 1:-1]
    return np.asarray(~inner[model.mesh.mask])


def _largest_level(model: Model, used: Float, count: int) -> float:
    """Highest level that a connected piece of `count` elements reaches, by halving."""
    grid = np.zeros(model.mesh.mask.shape)
    levels = np.unique(used[used > 0])
    low, high = -1, len(levels)  # a piece is large enough at levels[low], not at levels[high]
    while high - low > 1:
        middle = (low + high) // 2
        grid[model.mesh.mask] = used
        named, n = ndimage.label(grid >= levels[middle])
        large = n > 0 and int(np.bincount(named.ravel())[1:].max()) >= count
        low, high = (middle, high) if large else (low, middle)
    return float(levels[low]) if low >= 0 else 0.0

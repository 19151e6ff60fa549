"""From a linear solution to a strength: criteria with fixed definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.errors import InputError
from bonekit.fem.fields import principal_strains
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Model, NodeSet, Solution
from bonekit.fem.response import response
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import PARTS

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

TENSION_LIMIT, COMPRESSION_LIMIT = 0.0073, 0.0104  # Schileo et al., J Biomech 2014
BONE_MPA = 100.0  # softer elements (marrow) strain without carrying load
AWAY_MM = 8.0  # nearer to loaded and held nodes strains say more about the supports than the bone


@dataclass(frozen=True, eq=False)
class Strength:
    """A strength estimate.

    Parameters
    ----------
    strength_N : float
    stiffness_N_mm : float
        Force over displacement along it, where the force acts.
    applied_N : float
        Force in the linear solution.
    utilisation : ndarray of float, (n_elements,)
        Largest principal strain over its limit at the strength; 1 is the limit.
    name, description, source : str
    parameters : mapping
    """

    strength_N: float
    stiffness_N_mm: float
    applied_N: float
    utilisation: Float
    name: str
    description: str
    source: str
    parameters: Mapping[str, float | str]


def utilisation(strain: Float) -> Float:
    """Largest principal strain over its limit, for each element.

    Parameters
    ----------
    strain : ndarray of float, (n_elements, 6)
        Centroid strains, engineering shear.

    Returns
    -------
    ndarray of float, (n_elements,)
        Tension over 0.73 % or compression over 1.04 % (Schileo et al. 2014), whichever is larger.
    """
    principal = np.sort(principal_strains(strain), axis=1)
    return np.maximum(principal[:, 2] / TENSION_LIMIT, -principal[:, 0] / COMPRESSION_LIMIT)


def strain_limit(
    model: Model,
    solution: Solution,
    load: LoadCase,
    *,
    fraction: float = 0.01,
    away_mm: float = AWAY_MM,
) -> Strength:
    """Strength of a bone under a force: a small part of it reaches its principal strain limit.

    Limits: 0.73 % in tension, 1.04 % in compression (Schileo et al. 2014, who take the first
    surface node). On bricks the first element says more about the stair-stepped surface than about
    the bone, so the load at which `fraction` of the bone's volume is over the limit is reported.
    Left out are elements within `away_mm` of a loaded or held node, and marrow (under 100 MPa).

    Parameters
    ----------
    model : Model
    solution : Solution
    load : LoadCase
    fraction : float
        Of the volume of bone, 0 < fraction < 1.
    away_mm : float

    Raises
    ------
    InputError
        If nothing is left to judge.
    """
    judged = judged_elements(model, away_mm)
    answer = response(model.mesh, solution, load)
    used = utilisation(solution.strain)
    highest = float(np.quantile(used[judged], 1.0 - fraction))
    strength = answer.applied / highest
    return Strength(
        strength,
        answer.stiffness,
        answer.applied,
        used * strength / answer.applied,
        "strain_limit",
        f"Load at which {100 * fraction:g} % of the bone's volume exceeds a principal strain of "
        f"{100 * TENSION_LIMIT:g} % (tension) or {100 * COMPRESSION_LIMIT:g} % (compression), "
        "linear analysis.",
        "limits of Schileo et al., J Biomech 2014; volume fraction chosen by bonekit",
        {
            "tension": TENSION_LIMIT,
            "compression": COMPRESSION_LIMIT,
            "fraction": fraction,
            "away_mm": away_mm,
            "least_E_MPa": BONE_MPA,
        },
    )


def of_bone(mesh: VoxelMesh) -> Mask:
    """Elements that are no part added to load the bone, (n_elements,)."""
    return np.asarray(~np.isin(mesh.element_region, list(PARTS)))


def judged_elements(model: Model, away_mm: float = AWAY_MM) -> Mask:
    """Elements of bone far enough from supports and loads, (n_elements,).

    Raises
    ------
    InputError
        If hardly any are.
    """
    judged = (model.E_MPa >= BONE_MPA) & of_bone(model.mesh) & _away(model, away_mm)
    if np.count_nonzero(judged) < 100:
        raise InputError(
            f"only {np.count_nonzero(judged)} elements lie more than {away_mm} mm from loaded and "
            "held nodes: the bone in view is too short to judge"
        )
    return np.asarray(judged)


def _away(model: Model, distance_mm: float) -> Mask:
    """Elements whose centre is further than a distance from every loaded or held node."""
    parts: tuple[NodeSet, ...] = (
        *model.constraints,
        *model.loads,
        *model.supports,
        *model.caps,
    )
    nodes = np.concatenate([part.nodes for part in parts])
    near, _ = cKDTree(model.mesh.nodes_mm[nodes]).query(
        model.mesh.centres_mm, distance_upper_bound=distance_mm
    )
    return np.asarray(np.isinf(near))


def stiffness_at_strain(
    model: Model, solution: Solution, load: LoadCase, height_mm: float
) -> Strength:
    """Strength of a vertebral body from its stiffness: ``F = 0.0068 K H``.

    Crawford, Cann and Keaveny (Bone 2003) found strength to follow the linear stiffness K: the
    force at 0.68 % shortening of the body of height H.

    Parameters
    ----------
    model : Model
    solution : Solution
    load : LoadCase
        Of `bonekit.fem.compression.EndplateCompression`.
    height_mm : float
    """
    answer = response(model.mesh, solution, load)
    strength = 0.0068 * answer.stiffness * height_mm
    return Strength(
        strength,
        answer.stiffness,
        answer.applied,
        utilisation(solution.strain) * strength / answer.applied,
        "stiffness_at_strain",
        "F = 0.0068 K H: the force at 0.68 % shortening of the vertebral body, linear analysis.",
        "Crawford et al., Bone 2003; Kopperdahl et al. 2002",
        {"strain": 0.0068, "height_mm": height_mm},
    )

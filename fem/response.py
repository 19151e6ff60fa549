"""How a bone answers its load: force, or moment, and the motion where it acts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Solution
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """What acts on the bone, and how far it went.

    Parameters
    ----------
    applied : float
        Force in N along the load's direction, or moment in N mm about it.
    travel : float
        Displacement in mm, or rotation in rad, of where it acts.
    """

    applied: float
    travel: float

    @property
    def stiffness(self) -> float:
        """N/mm, or N mm/rad."""
        return self.applied / self.travel


def response(mesh: VoxelMesh, solution: Solution, load: LoadCase) -> Response:
    """Force and displacement, or moment and rotation, where a load acts.

    A load's displacement is the mean over its nodes, weighted by their forces.

    Parameters
    ----------
    mesh : VoxelMesh
    solution : Solution
    load : LoadCase
    """
    along = mesh.grid.direction.T @ load.direction
    for part in load.loads:
        if part.name == load.acting:
            weight = np.linalg.norm(part.force_N, axis=1)
            moved = solution.displacement_mm[part.nodes] @ along
            applied = float(part.force_N.sum(axis=0) @ along)
            return Response(applied, float(np.average(moved, weights=weight)))
    for cap in load.caps:
        if cap.name == load.acting:
            motion = solution.caps[cap.name]
            if load.measure == "moment":
                applied = float((np.array(cap.moment_Nmm) + motion.moment_Nmm) @ along)
                return Response(applied, float(motion.rotation_rad @ along))
            applied = float((np.array(cap.force_N) + motion.reaction_N) @ along)
            return Response(applied, float(motion.displacement_mm @ along))
    (held,) = (part for part in load.constraints if part.name == load.acting)
    moved = solution.displacement_mm[held.nodes] @ along
    return Response(float(solution.reaction_N[held.name] @ along), float(moved.mean()))

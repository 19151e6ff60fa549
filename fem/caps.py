"""Rigid caps: nodes that move as one body about a pivot, such as a cup on a ball joint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.model import Mesh, Model
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Component = float | None

# Corners of the faces of a brick, counter-clockwise seen from outside, with the step across each.
_FACES = {
    (-1, 0, 0): (0, 4, 7, 3),
    (1, 0, 0): (1, 2, 6, 5),
    (0, -1, 0): (0, 1, 5, 4),
    (0, 1, 0): (3, 7, 6, 2),
    (0, 0, -1): (0, 3, 2, 1),
    (0, 0, 1): (4, 5, 6, 7),
}


@dataclass(frozen=True, eq=False)
class RigidCap:
    """A named set of nodes tied to a pivot: u = t + r x (x - pivot), small rotations.

    Each component of the pivot's translation t and rotation r, in mesh axes, is free (None) or
    prescribed. A pivot that leaves all rotations free transmits no moment.

    Parameters
    ----------
    name : str
    nodes : ndarray of int, (n,)
    pivot_mm : ndarray of float, (3,)
        World coordinates.
    displacement_mm : tuple of float or None, (3,)
    rotation_rad : tuple of float or None, (3,)
    force_N, moment_Nmm : tuple of float, (3,)
        On the pivot; where a component is prescribed they go into the support.

    Raises
    ------
    InputError
        If a component is not a number, or the nodes lie in one line: their rotation is undefined.
    """

    name: str
    nodes: Int
    pivot_mm: Float
    displacement_mm: tuple[Component, Component, Component] = (None, None, None)
    rotation_rad: tuple[Component, Component, Component] = (None, None, None)
    force_N: tuple[float, float, float] = (0.0, 0.0, 0.0)
    moment_Nmm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        numbers = [x for x in (*self.displacement_mm, *self.rotation_rad) if x is not None]
        if not np.isfinite([*numbers, *self.force_N, *self.moment_Nmm, *self.pivot_mm]).all():
            raise InputError(f"cap {self.name!r} has a component that is not a finite number")

    @property
    def given(self) -> Float:
        """Prescribed translation and rotation, (2, 3), NaN where free."""
        rows = (self.displacement_mm, self.rotation_rad)
        return np.array([[np.nan if x is None else x for x in row] for row in rows])

    def arms_mm(self, mesh: Mesh) -> Float:
        """From the pivot to the nodes in mesh axes, (n, 3).

        Raises
        ------
        InputError
            If the nodes lie in one line.
        """
        x = mesh.nodes_mm[self.nodes]
        spread = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
        if len(x) < 3 or spread[1] < 1e-6 * spread[0]:
            raise InputError(
                f"the {len(x)} nodes of cap {self.name!r} lie in one line, about which it could "
                "turn: a cap needs three nodes that span a plane"
            )
        axes = mesh.grid.direction if isinstance(mesh, VoxelMesh) else np.eye(3)
        return np.asarray((x - self.pivot_mm) @ axes)


@dataclass(frozen=True, eq=False)
class CapMotion:
    """How a cap moved and what its pivot transmits, in mesh axes.

    Parameters
    ----------
    displacement_mm, rotation_rad : ndarray of float, (3,)
    reaction_N, moment_Nmm : ndarray of float, (3,)
        Of the support on the pivot, 0 for a free component.
    """

    displacement_mm: Float
    rotation_rad: Float
    reaction_N: Float
    moment_Nmm: Float


def check_caps(model: Model[Mesh], owner: Int) -> None:
    """Refuse caps that share nodes with constraints, supports or each other.

    Parameters
    ----------
    model : Model
    owner : ndarray of int, (n_nodes, 3)
        Number of the constraint that holds a component, or -1.

    Raises
    ------
    InputError
    """
    taken = np.where((owner >= 0).any(axis=1), "a constraint", "").astype(object)
    for support in model.supports:
        taken[support.nodes] = repr(support.name)
    for cap in model.caps:
        clash = taken[cap.nodes] != ""
        if clash.any():
            raise InputError(
                f"{clash.sum()} nodes of cap {cap.name!r} are also held by "
                f"{taken[cap.nodes][clash][0]}: a node follows the cap or another support, not both"
            )
        taken[cap.nodes] = repr(cap.name)


def outer_faces(mesh: VoxelMesh, direction: tuple[int, int, int]) -> Int:
    """Faces that look into the void along a mesh axis, (n, 4), counter-clockwise from outside.

    Parameters
    ----------
    mesh : VoxelMesh
    direction : tuple of int
        Such as (0, 0, 1).

    Raises
    ------
    InputError
        If the direction is not one of the six.
    """
    if direction not in _FACES:
        raise InputError(f"faces look along one of {list(_FACES)}, not {direction}")
    solid = np.pad(mesh.mask, 1)
    beyond = np.roll(solid, tuple(-d for d in direction), axis=(0, 1, 2))[1:-1, 1:-1, 1:-1]
    return np.asarray(mesh.elements[~beyond[mesh.mask]][:, list(_FACES[direction])])

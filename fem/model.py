"""A finite-element model: mesh, elasticity, constraints and loads; and its solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Mesh(Protocol):
    """What a model needs of a mesh: `VoxelMesh`, `TetMesh`, or another."""

    @property
    def nodes_mm(self) -> Float:
        """World coordinates, (n_nodes, 3)."""
        ...

    @property
    def elements(self) -> Int:
        """Node numbers of each element in VTK order, (n_elements, 4, 8 or 10)."""
        ...

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        ...

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        ...


@dataclass(frozen=True, eq=False)
class Constraint:
    """Prescribed displacement of a named set of nodes.

    Parameters
    ----------
    name : str
        Anatomical name of the set, such as ``"distal_shaft"``.
    nodes : ndarray of int, (n,)
    components : tuple of int
        Mesh axes that are held, out of 0, 1, 2.
    displacement_mm : ndarray of float, (n, len(components)), or a scalar
    """

    name: str
    nodes: NDArray[np.int64]
    components: tuple[int, ...] = (0, 1, 2)
    displacement_mm: Float | float = 0.0


@dataclass(frozen=True, eq=False)
class Load:
    """Forces on a named set of nodes.

    Parameters
    ----------
    name : str
    nodes : ndarray of int, (n,)
    force_N : ndarray of float, (n, 3)
        In mesh axes.
    """

    name: str
    nodes: NDArray[np.int64]
    force_N: Float


@dataclass(frozen=True, eq=False)
class Model:
    """A linear elastic model on a voxel mesh.

    Parameters
    ----------
    mesh : VoxelMesh
    E_MPa : ndarray of float, (n_elements,)
        Young's modulus, positive.
    nu : float
        Poisson's ratio, -1 < nu < 0.5.
    constraints : tuple of Constraint
    loads : tuple of Load

    Raises
    ------
    InputError
        If the moduli do not fit the mesh or are not positive, if a set is empty or names a missing
        node, or if nothing is constrained.
    """

    mesh: VoxelMesh
    E_MPa: Float
    nu: float
    constraints: tuple[Constraint, ...]
    loads: tuple[Load, ...] = ()

    def __post_init__(self) -> None:
        check_moduli(self.mesh, self.E_MPa)
        if not -1.0 < self.nu < 0.5:
            raise InputError(f"Poisson's ratio must lie between -1 and 0.5, got {self.nu}")
        if not self.constraints:
            raise InputError("the model has no constraint: it would drift freely")
        check_sets(self.mesh, (*self.constraints, *self.loads))


def check_moduli(mesh: Mesh, E_MPa: Float) -> None:
    """Refuse moduli that do not fit the mesh or are not positive numbers.

    Raises
    ------
    InputError
    """
    if E_MPa.shape != (mesh.n_elements,):
        raise InputError(f"{E_MPa.shape} moduli for a mesh of {mesh.n_elements} elements")
    bad = ~(np.isfinite(E_MPa) & (E_MPa > 0))
    if bad.any():
        raise InputError(
            f"{bad.sum()} of {bad.size} elements have a modulus that is not a positive "
            f"number (first: element {bad.argmax()}, E = {E_MPa[bad.argmax()]} MPa)"
        )


class NodeSet(Protocol):
    """Nodes with a name."""

    @property
    def name(self) -> str:
        """Anatomical name."""
        ...

    @property
    def nodes(self) -> Int:
        """Node numbers."""
        ...


def check_sets(mesh: Mesh, parts: Sequence[NodeSet]) -> None:
    """Refuse node sets that are empty or name a node that the mesh does not have.

    Raises
    ------
    InputError
    """
    for part in parts:
        if part.nodes.size == 0:
            raise InputError(f"node set {part.name!r} is empty")
        if part.nodes.min() < 0 or part.nodes.max() >= mesh.n_nodes:
            raise InputError(f"node set {part.name!r} names a node the mesh does not have")


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer of a linear solve, with the checks that make it trustworthy.

    Vectors and tensors are in mesh axes; strains are element-centroid values in the order
    xx, yy, zz, xy, yz, xz with engineering shear.

    Parameters
    ----------
    displacement_mm : ndarray of float, (n_nodes, 3)
    strain : ndarray of float, (n_elements, 6)
    sed_MPa : ndarray of float, (n_elements,)
        Strain energy density of the centroid strain (the definition of FAIM and ParOSol).
    reaction_N : dict of str to ndarray, (3,)
        Sum of the reactions of each constraint.
    energy_Nmm : float
        Strain energy, half the work of the external forces.
    residual : float
        Norm of the out-of-balance forces over the norm of the applied ones.
    force_balance : float
        Norm of the sum of reactions and loads over the norm of the applied force.
    energy_balance : float
        Difference of strain energy and external work over the work.
    iterations : int
    """

    displacement_mm: Float
    strain: Float
    sed_MPa: Float
    reaction_N: dict[str, Float]
    energy_Nmm: float
    residual: float
    force_balance: float
    energy_balance: float
    iterations: int

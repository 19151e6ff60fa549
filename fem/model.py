"""A finite-element model: mesh, elasticity, constraints and loads; and its solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from bonekit.errors import InputError
from bonekit.meshing.voxel import VoxelMesh

if TYPE_CHECKING:
    from bonekit.fem.caps import CapMotion, RigidCap
    from bonekit.fem.conforming_model import ElasticSupport

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


# `Model` alone is one of bricks, which both engines take; `Model[Mesh]` is that of any mesh.
M = TypeVar("M", bound=Mesh, covariant=True, default=VoxelMesh)


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
class Model(Generic[M]):
    """An elastic model of either engine; for a nonlinear solve a law replaces the elasticity.

    Parameters
    ----------
    mesh : VoxelMesh, TetMesh or HexMesh
        The voxel engine takes the first only, the conforming engine all, of 4, 8 or 10 nodes.
    E_MPa : ndarray of float, (n_elements,)
        Young's modulus, positive.
    nu : float or ndarray of float, (n_elements,)
        Poisson's ratio, -1 < nu < 0.5.
    constraints : tuple of Constraint
    loads : tuple of Load
        See `bonekit.fem.conforming_model.pressure_load` and `bonekit.fem.caps.outer_faces` for
        pressures.
    supports : tuple of ElasticSupport
    caps : tuple of RigidCap

    Raises
    ------
    InputError
        If elements have another number of nodes, the moduli or Poisson's ratios do not fit the mesh
        or are out of range, if a set is empty, names a missing node or shares its name, or if
        nothing is held.
    """

    mesh: M
    E_MPa: Float
    nu: Float | float
    constraints: tuple[Constraint, ...]
    loads: tuple[Load, ...] = ()
    supports: tuple[ElasticSupport, ...] = ()
    caps: tuple[RigidCap, ...] = ()

    def __post_init__(self) -> None:
        check_elements(self.mesh)
        check_moduli(self.mesh, self.E_MPa)
        check_poisson(self.mesh, self.nu)
        held: tuple[NodeSet, ...] = (*self.constraints, *self.supports, *self.caps)
        if not held:
            raise InputError("the model has no constraint, support or cap: it would drift freely")
        check_sets(self.mesh, (*held, *self.loads))
        names = [part.name for part in held]
        if len(set(names)) < len(names):
            raise InputError(f"constraints, supports and caps need different names, got {names}")

    @property
    def one_nu(self) -> float:
        """Poisson's ratio, for who can deal with one only.

        Raises
        ------
        InputError
            If it differs between elements.
        """
        least, most = float(np.min(self.nu)), float(np.max(self.nu))
        if least != most:
            raise InputError(
                f"Poisson's ratio goes from {least} to {most} over the elements; here one is needed"
            )
        return least


def check_elements(mesh: Mesh) -> None:
    """Refuse elements that no engine takes.

    Raises
    ------
    InputError
    """
    if mesh.elements.ndim != 2 or mesh.elements.shape[1] not in (4, 8, 10):
        raise InputError(
            f"elements of shape {mesh.elements.shape}; a model takes tetrahedra of 4 or 10 nodes "
            "or hexahedra of 8"
        )


def check_poisson(mesh: Mesh, nu: Float | float) -> None:
    """Refuse Poisson's ratios that do not fit the mesh or are out of range.

    Raises
    ------
    InputError
    """
    ratios = np.asarray(nu, dtype=np.float64)
    if ratios.shape not in ((), (mesh.n_elements,)):
        raise InputError(
            f"{ratios.shape} Poisson's ratios for a mesh of {mesh.n_elements} elements; give one, "
            "or one for each"
        )
    bad = ~((ratios > -1.0) & (ratios < 0.5))
    if bad.any():
        raise InputError(bad_poisson(ratios, bad, "element"))


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
            f"number (first: element {bad.argmax()}, E = {E_MPa[bad.argmax()]} MPa). Leave void "
            "out of the mesh, or give it a small modulus"
        )


def bad_poisson(ratios: Float, bad: NDArray[np.bool_], of: str) -> str:
    """Say which Poisson's ratios are out of range, with count, place and value of the first.

    Parameters
    ----------
    ratios, bad : ndarray, of one shape
        () where one holds for all.
    of : str
        What an entry belongs to.
    """
    first = np.unravel_index(int(bad.argmax()), bad.shape)
    where = f" in {bad.sum()} of {bad.size} {of}s (first: {of} {_place(first)})" if first else ""
    return (
        f"Poisson's ratio must lie between -1 and 0.5, got {ratios[first]}{where}. For what hardly "
        "changes its volume take 0.49 or less"
    )


def _place(index: tuple[np.intp, ...]) -> str:
    numbers = ", ".join(str(n) for n in index)
    return numbers if len(index) == 1 else f"({numbers})"


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
        Sum of the reactions of each constraint, elastic support and cap.
    energy_Nmm : float
        Strain energy, half the work of the external forces.
    residual : float
        Norm of the out-of-balance forces over the norm of the applied ones.
    force_balance : float
        Norm of the sum of reactions and loads over the norm of the applied force.
    energy_balance : float
        Difference of strain energy and external work over the work.
    iterations : int
    caps : dict of str to CapMotion
        Motion, reaction and moment of each rigid cap.
    history : tuple of float
        Relative residual before each iteration and at the end.
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
    caps: dict[str, CapMotion] = field(default_factory=dict, kw_only=True)
    history: tuple[float, ...] = field(default=(), kw_only=True)

"""A voxel model as a linear system, and its unknowns as a solution with its balances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.errors import InputError
from bonekit.fem.boundary import force_balance, nodal_values, reactions
from bonekit.fem.brick import strain_displacement
from bonekit.fem.brick_system import BrickSystem
from bonekit.fem.bricks import Bricks, Lattice
from bonekit.fem.caps import CapMotion, check_caps
from bonekit.fem.cg import CGResult, Progress
from bonekit.fem.fields import strain_energy_density
from bonekit.fem.model import Model, Solution
from bonekit.fem.support import HeldCap, check_support
from bonekit.fem.tied import Tie
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Supported:
    """What supports and caps do at an equilibrium; see `bonekit.fem.model.Solution`.

    Parameters
    ----------
    reaction_N : dict of str to ndarray, (3,)
    caps : dict of str to CapMotion
    force_balance : float
    """

    reaction_N: dict[str, Float]
    caps: dict[str, CapMotion]
    force_balance: float


@dataclass(frozen=True, eq=False)
class Case:
    """A model as arrays over its nodes and, below them, two rows per cap.

    Parameters
    ----------
    model : Model
    owner : ndarray of int, (n_nodes, 3)
        Number of the constraint that holds a component, or -1.
    fixed : ndarray of bool, (n_nodes + 2 n_caps, 3)
    values : ndarray of float, the shape of ``fixed``
        mm, and radians for the rotations of caps.
    force : ndarray of float, the shape of ``fixed``
        N, and N mm for the moments of caps.
    ties : tuple of Tie
    spring : ndarray of float, (n_nodes, 3), or None
        N/mm.
    """

    model: Model
    owner: Int
    fixed: Bool
    values: Float
    force: Float
    ties: tuple[Tie, ...]
    spring: Float | None

    @staticmethod
    def of(model: Model) -> Case:
        """Gather what constraints, loads, supports and caps say.

        Raises
        ------
        InputError
            If they contradict each other.
        """
        n = check_bricks(model).n_nodes
        owner, values, force = nodal_values(n, model.constraints, model.loads)
        given = np.concatenate([np.full((n, 3), np.nan), *(cap.given for cap in model.caps)])
        given[:n] = np.where(owner >= 0, values, np.nan)
        check_caps(model, owner)
        ties = tuple(Tie(cap.nodes, cap.arms_mm(model.mesh)) for cap in model.caps)
        pushed = [
            np.array([cap.force_N, cap.moment_Nmm]) + _taken(force, tie)
            for cap, tie in zip(model.caps, ties, strict=True)
        ]
        fixed = np.isfinite(given)
        return Case(
            model,
            owner,
            fixed,
            np.where(fixed, given, 0.0),
            np.concatenate([force, *pushed]),
            ties,
            _springs(model),
        )

    @property
    def translations(self) -> Int:
        """Rows of ``fixed`` that are not rotations of caps."""
        n = self.model.mesh.n_nodes
        return np.concatenate([np.arange(n), np.arange(n, len(self.fixed), 2)])

    def difference(self, other: Case) -> str | None:
        """Name what another case does not share that it would have to, or None."""
        ours, theirs = self.model, other.model
        if ours.mesh is not theirs.mesh:
            return "its mesh"
        if not np.array_equal(ours.E_MPa, theirs.E_MPa) or not np.array_equal(ours.nu, theirs.nu):
            return "its moduli or Poisson's ratios"
        if not np.array_equal(self.fixed, other.fixed):
            return "the components that are prescribed"
        a, b = (np.zeros(1) if s is None else s for s in (self.spring, other.spring))
        if not np.array_equal(a, b):
            return "its elastic supports"
        pairs = zip(self.ties, other.ties, strict=True)
        same = all(
            np.array_equal(t.nodes, o.nodes) and np.array_equal(t.arm_mm, o.arm_mm)
            for t, o in pairs
        )
        return None if same else "the nodes or pivots of its caps"

    def check_support(self) -> None:
        """Refuse a model of which a piece can move as a rigid body.

        Raises
        ------
        InputError
        """
        mesh, n = self.model.mesh, self.model.mesh.n_nodes
        held = self.fixed[:n] if self.spring is None else self.fixed[:n] | (self.spring > 0)
        lattice = np.zeros((*(m + 1 for m in mesh.region.shape), 3), dtype=bool)
        lattice[tuple(mesh.node_ijk.T)] = held
        h = mesh.grid.spacing_mm
        caps = [
            HeldCap(
                mesh.node_ijk[tie.nodes],
                mesh.node_ijk[tie.nodes[0]] * h - tie.arm_mm[0],
                self.fixed[n + 2 * number : n + 2 * number + 2],
            )
            for number, tie in enumerate(self.ties)
        ]
        check_support(mesh.mask, lattice, h, caps)

    def supported(self, u: Float, motion: Float, reaction: Float, share: float = 1.0) -> Supported:
        """Find what supports and caps do, and whether it balances the loads.

        Parameters
        ----------
        u : ndarray of float, (n_nodes, 3)
            Displacements.
        motion, reaction : ndarray of float, the shape of ``fixed``
            Unknowns, of which those of caps are read, and forces of the supports on them.
        share : float
            Of the loads.
        """
        model, n, force = self.model, len(u), share * self.force
        caps = {
            cap.name: CapMotion(*motion[row : row + 2], *reaction[row : row + 2])
            for cap, row in zip(model.caps, range(n, len(motion), 2), strict=True)
        }
        ground = np.zeros((n, 3)) if self.spring is None else -self.spring * u
        sums = reactions(reaction[:n], self.owner, model.constraints)
        sums |= {name: cap.reaction_N for name, cap in caps.items()}
        sums |= _spring_reactions(model, u)
        total = np.vstack([reaction[:n] + ground, reaction[n::2]])
        loads = np.vstack([force[:n], force[n::2]])
        return Supported(sums, caps, force_balance(total, loads, sums))


def _taken(force: Float, tie: Tie) -> Float:
    """Take the forces off the nodes of a cap: their sum and moment about the pivot, (2, 3)."""
    own = force[tie.nodes].copy()
    force[tie.nodes] = 0.0
    return np.array([own.sum(axis=0), np.cross(tie.arm_mm, own).sum(axis=0)])


def check_bricks(model: Model) -> VoxelMesh:
    """Refuse a model of another mesh, which may come from code that is not type-checked.

    Raises
    ------
    InputError
    """
    mesh: object = model.mesh
    if not isinstance(mesh, VoxelMesh):
        raise InputError(
            f"the voxel engine solves bricks of a VoxelMesh, not a {type(mesh).__name__}; "
            "bonekit.fem.conforming.solve_conforming takes any mesh"
        )
    return mesh


def _springs(model: Model) -> Float | None:
    if not model.supports:
        return None
    spring = np.zeros((model.mesh.n_nodes, 3))
    for support in model.supports:
        np.add.at(
            spring,
            support.nodes,
            np.broadcast_to(
                np.asarray(support.stiffness_N_mm, dtype=np.float64), (len(support.nodes), 3)
            ),
        )
    return spring


class ModelSystem:
    """The system of a case, and of any other that differs in values and forces only."""

    def __init__(self, case: Case, device: torch.device) -> None:
        model, mesh = case.model, case.model.mesh
        i, j, k = mesh.region.shape
        corners = mesh.elements.astype(np.int32)
        cells = mesh.element_ijk.astype(np.int32)
        bricks = Bricks(Lattice((i, j, k)), cells, corners, mesh.n_nodes)
        self.system = BrickSystem(
            bricks,
            model.E_MPa,
            model.nu,
            mesh.grid.spacing_mm,
            case.fixed,
            case.ties,
            case.spring,
            device,
        )
        self._found: list[tuple[Tensor, Tensor]] = []  # solutions and the forces they balance

    def unknowns(self, solution: Solution) -> Tensor:
        """Displacements and caps' motions of a solution as unknowns."""
        caps = [[c.displacement_mm, c.rotation_rad] for c in solution.caps.values()]
        rows = np.concatenate([solution.displacement_mm, *map(np.array, caps)])
        return self.system.tensor(rows * self.system.scale)

    def solve(
        self,
        case: Case,
        rtol: float,
        max_iterations: int,
        progress: Progress | None,
        start: Tensor | None,
        keep: bool = False,
    ) -> Solution:
        """Solve a case; keep it for others to begin with.

        Raises
        ------
        ConvergenceError
        """
        values = self.system.tensor(case.values * self.system.scale)
        force = self.system.tensor(case.force / self.system.scale)
        if start is None and self._found:
            start = self._combined(values, force)
        found = self.system.solve(values, force, rtol, max_iterations, progress, start)
        if keep:
            own = found.x * self.system.free
            self._found.append((own, self.system(own)))
        return self._solution(case, found, force)

    def _combined(self, values: Tensor, force: Tensor) -> Tensor:
        """Combine the solutions found so far so that the energy of the error is least."""
        b = (force - self.system.stiff(values)) * self.system.free
        X = torch.stack([x.reshape(-1) for x, _ in self._found])
        AX = torch.stack([y.reshape(-1) for _, y in self._found])
        share = torch.linalg.pinv(X @ AX.T, hermitian=True) @ (X @ b.reshape(-1))
        best: Tensor = (share @ X).view_as(values) + values
        return best

    def _solution(self, case: Case, found: CGResult, force: Tensor) -> Solution:
        system, model = self.system, case.model
        reaction = system.array((system.stiff(found.x) - force) * system.held) * system.scale
        motion = system.array(found.x) / system.scale
        u = system.array(system.expand(found.x))
        strain = (
            u[model.mesh.elements].reshape(-1, 24)
            @ strain_displacement(model.mesh.grid.spacing_mm).T
        )
        energy = system.K.energy(system.expand(found.x))
        work = 0.5 * float((motion * (reaction + case.force)).sum())
        held = case.supported(u, motion, reaction)
        return Solution(
            displacement_mm=u,
            strain=strain,
            sed_MPa=strain_energy_density(strain, model.E_MPa, model.nu),
            reaction_N=held.reaction_N,
            energy_Nmm=energy,
            residual=found.history[-1],
            force_balance=held.force_balance,
            energy_balance=abs(energy - work) / abs(work) if work else 0.0,
            iterations=found.iterations,
            caps=held.caps,
            history=found.history,
        )


def _spring_reactions(model: Model, u: Float) -> dict[str, Float]:
    """Force of each elastic support on the bone, (3,)."""
    return {
        s.name: -(np.asarray(s.stiffness_N_mm) * u[s.nodes]).sum(axis=0) for s in model.supports
    }

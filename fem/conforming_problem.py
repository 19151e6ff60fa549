"""What both solves of the conforming engine share: a model as arrays, memory, folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.boundary import force_balance, nodal_values, reactions
from bonekit.fem.caps import CapMotion, check_caps
from bonekit.fem.model import Mesh, Model
from bonekit.fem.rigid import HeldCap, check_held
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Arrays = dict[str, NDArray[np.generic]]

# Peak memory of one process by element, rounded up from measurements with dolfinx 0.5.2 at 0.5 and
# 1.5 million unknowns (four nodes 2910 and 3044, ten 1990 and 2079; bricks 2588 at 0.2 million);
# what several take together over that (four nodes 3778, bricks 3780, ten 2364), and what each
# process takes for dolfinx itself.
BYTES_PER_UNKNOWN = {4: 3100, 8: 3100, 10: 2200}
SEVERAL = 1.25
BYTES_PER_PROCESS = 150e6
METHODS = ("auto", "cg", "direct")


@dataclass(frozen=True, eq=False)
class NodalProblem:
    """A model as arrays, in mesh axes."""

    nodes_mm: Float
    elements: Int
    E_MPa: Float
    nu: Float
    owner: Int
    fixed_mm: Float
    force_N: Float
    spring_N_mm: Float
    caps: _CapArrays

    @staticmethod
    def of(model: Model[Mesh]) -> NodalProblem:
        """Lay a model out and check that it can be solved."""
        mesh = model.mesh
        nodes = mesh_axes_mm(mesh)
        owner, values, force = nodal_values(mesh.n_nodes, model.constraints, model.loads)
        spring = np.zeros((mesh.n_nodes, 3))
        for support in model.supports:
            np.add.at(spring, support.nodes, np.asarray(support.stiffness_N_mm, dtype=np.float64))
        for name, array in (("displacement", values), ("force", force), ("node", nodes)):
            if not np.isfinite(array).all():
                raise InputError(f"a {name} of the model is not a finite number")
        _check_numbers(len(nodes), mesh.elements)
        _check_handed(nodes, mesh.elements)
        used = np.zeros(mesh.n_nodes, dtype=bool)
        used[mesh.elements] = True
        stray = force.any(axis=1) & ~used
        if stray.any():
            raise InputError(f"forces act on {stray.sum()} nodes that no element touches")
        check_caps(model, owner)
        caps = _CapArrays.of(model, nodes)
        held = ((owner >= 0) | (spring > 0)) & used[:, None]
        check_held(nodes, mesh.elements, held, caps.held(model))
        nu = np.broadcast_to(np.asarray(model.nu, dtype=np.float64), mesh.n_elements)
        E = np.asarray(model.E_MPa, dtype=np.float64)
        return NodalProblem(nodes, mesh.elements, E, nu, owner, values, force, spring, caps)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Arrays of ``model.npz``."""
        return {
            "nodes": self.nodes_mm,
            "cells": self.elements,
            "E_MPa": self.E_MPa,
            "nu": self.nu,
            "fixed": self.owner >= 0,
            "fixed_mm": self.fixed_mm,
            "force_N": self.force_N,
            "spring_N_mm": self.spring_N_mm,
            **self.caps.arrays(),
        }

    def balance(
        self, model: Model[Mesh], u: Float, internal_N: Float, motion: Float, share: float = 1.0
    ) -> Balance:
        """Find what supports and caps do, and whether it balances the loads.

        Parameters
        ----------
        u, internal_N : ndarray of float, (n_nodes, 3)
            Displacements, and forces of stresses and springs.
        motion : ndarray of float, (n_caps, 2, 3)
            Translations and rotations of caps.
        share : float
            Of the loads.
        """
        force, pull = share * self.force_N, self.spring_N_mm * u  # of the body on its springs
        left, caps = internal_N - force, self.caps
        reaction = np.where(self.owner >= 0, left, 0.0)
        of_caps = np.where(caps.fixed, caps.resultant(left, self.nodes_mm) - share * caps.load, 0.0)
        moved = {cap.name: CapMotion(*motion[c], *of_caps[c]) for c, cap in enumerate(model.caps)}
        sums = reactions(reaction, self.owner, model.constraints)
        for support in model.supports:
            stiffness = np.broadcast_to(support.stiffness_N_mm, (len(support.nodes), 3))
            sums[support.name] = -(stiffness * u[support.nodes]).sum(axis=0)
        sums |= {name: cap.reaction_N for name, cap in moved.items()}
        total = np.vstack([reaction - pull, of_caps[:, 0]])
        loads = np.vstack([force, share * caps.load[:, 0]])
        work = 0.5 * float((u * (reaction + force)).sum())
        work += 0.5 * float((motion * (of_caps + share * caps.load)).sum())
        return Balance(sums, moved, force_balance(total, loads, sums), work)


@dataclass(frozen=True, eq=False)
class Balance:
    """Reactions of constraints, supports and caps, (3,) each; how caps moved.

    Parameters
    ----------
    reaction_N : dict of str to ndarray, (3,)
    caps : dict of str to CapMotion
    force_balance : float
        See `bonekit.fem.boundary.force_balance`.
    half_work_Nmm : float
        Half of loads and reactions times displacements: the work if all is linear.
    """

    reaction_N: dict[str, Float]
    caps: dict[str, CapMotion]
    force_balance: float
    half_work_Nmm: float


@dataclass(frozen=True, eq=False)
class _CapArrays:
    """Caps as arrays, in mesh axes: rows of translation and rotation, (n, 2, 3)."""

    of_node: Int  # (n_nodes,), -1: none
    pivot_mm: Float
    fixed: NDArray[np.bool_]
    given: Float
    load: Float

    @staticmethod
    def of(model: Model[Mesh], nodes_mm: Float) -> _CapArrays:
        of_node = np.full(len(nodes_mm), -1, dtype=np.int64)
        n = len(model.caps)
        pivot, given, load = np.zeros((n, 3)), np.zeros((n, 2, 3)), np.zeros((n, 2, 3))
        for c, cap in enumerate(model.caps):
            of_node[cap.nodes] = c
            pivot[c] = nodes_mm[cap.nodes[0]] - cap.arms_mm(model.mesh)[0]
            given[c], load[c] = cap.given, (cap.force_N, cap.moment_Nmm)
        fixed = np.isfinite(given)
        return _CapArrays(of_node, pivot, fixed, np.where(fixed, given, 0.0), load)

    def arrays(self) -> Arrays:
        """Arrays of ``model.npz``."""
        return {
            "cap": self.of_node,
            "cap_pivot_mm": self.pivot_mm,
            "cap_fixed": self.fixed,
            "cap_given": self.given,
            "cap_load": self.load,
        }

    def held(self, model: Model[Mesh]) -> list[HeldCap]:
        """List what the caps hold."""
        return [
            HeldCap(cap.nodes, self.pivot_mm[c], self.fixed[c]) for c, cap in enumerate(model.caps)
        ]

    def resultant(self, force_N: Float, nodes_mm: Float) -> Float:
        """Force and moment about the pivot of the nodes of each cap, (n, 2, 3)."""
        out = np.zeros_like(self.load)
        for c, pivot in enumerate(self.pivot_mm):
            own = self.of_node == c
            out[c, 0] = force_N[own].sum(axis=0)
            out[c, 1] = np.cross(nodes_mm[own] - pivot, force_N[own]).sum(axis=0)
        return out


def _check_numbers(n_nodes: int, elements: Int) -> None:
    """Refuse elements of nodes that are not there."""
    wrong = np.flatnonzero(((elements < 0) | (elements >= n_nodes)).any(axis=1))
    if wrong.size:
        raise InputError(
            f"{wrong.size} of {len(elements)} elements name nodes beyond the {n_nodes} of the mesh "
            f"(the first is element {wrong[0]}: {elements[wrong[0]].tolist()}); nodes count from 0"
        )


def _check_handed(nodes_mm: Float, elements: Int) -> None:
    """Refuse elements that are turned inside out, or have no volume, at their first corner."""
    three = [1, 3, 4] if elements.shape[1] == 8 else [1, 2, 3]
    corner = nodes_mm[elements[:, [0, *three]]]
    volume = np.linalg.det(corner[:, 1:] - corner[:, :1])
    wrong = np.flatnonzero(~(volume > 0))
    if wrong.size:
        few = ", ".join(str(n) for n in wrong[:8])
        raise InputError(
            f"{wrong.size} of {len(elements)} elements have no volume or a negative one: their "
            f"nodes run the wrong way round (elements {few}{' ...' if wrong.size > 8 else ''}). "
            "Swap two of their corners, or mesh anew"
        )


def settings(
    rtol: float, max_iterations: int, method: str, petsc_options: Mapping[str, str] | None
) -> Arrays:
    """Arrays of ``model.npz`` that say how to solve.

    Raises
    ------
    InputError
        If a number is out of range or the method unknown.
    """
    if not (0 < rtol < 1 and max_iterations > 0):
        raise InputError(
            "rtol must lie between 0 and 1 and max_iterations be positive, got "
            f"{rtol} and {max_iterations}"
        )
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; known: {', '.join(METHODS)}")
    return {
        "rtol": np.array(rtol),
        "max_iterations": np.array(max_iterations),
        "method": np.array(method),
        "options": np.array(json.dumps(dict(petsc_options or {}), sort_keys=True)),
    }


def mesh_axes_mm(mesh: Mesh) -> Float:
    """Nodes in mesh axes, (n_nodes, 3): along the grid of a voxel mesh, else in the world."""
    if isinstance(mesh, VoxelMesh):
        return np.asarray(mesh.node_ijk * mesh.grid.spacing_mm, dtype=np.float64)
    return np.asarray(mesh.nodes_mm, dtype=np.float64)


def memory_bytes(n_nodes: int, nodes_per_element: int, processes: int = 1) -> float:
    """Estimate the peak memory of a solve, of all processes together."""
    share = SEVERAL if processes > 1 else 1.0
    own = 3 * n_nodes * BYTES_PER_UNKNOWN[nodes_per_element]
    return share * own + processes * BYTES_PER_PROCESS


def check_memory(problem: NodalProblem, processes: int) -> None:
    """Refuse a model that will not fit in the memory there is, or no process.

    Raises
    ------
    InputError
    """
    if processes < 1:
        raise InputError(f"a solve needs one process or more, got {processes}")
    needed = memory_bytes(len(problem.nodes_mm), problem.elements.shape[1], processes)
    available = psutil.virtual_memory().available
    if needed > available:
        raise InputError(
            f"the model has {3 * len(problem.nodes_mm)} unknowns and needs about "
            f"{needed / 2**30:.1f} GiB, of which {available / 2**30:.1f} are available. Use larger "
            "elements, those of four nodes, or a machine with more memory"
        )


@contextmanager
def work_folder(folder: Path | str | None) -> Iterator[Path]:
    """Give the folder asked for, or a temporary one."""
    if folder is not None:
        yield Path(folder).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="bonekit-") as made:
        yield Path(made)

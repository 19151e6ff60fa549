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
from bonekit.fem.conforming_model import ConformingModel, ElasticSupport
from bonekit.fem.model import Mesh, Model
from bonekit.fem.rigid import check_held
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Arrays = dict[str, NDArray[np.generic]]

# Peak memory by element, rounded up from measurements at 525k (four nodes), 106k (ten) and 129k
# unknowns (bricks), dolfinx 0.5.2, one process; and what each process takes for dolfinx itself.
BYTES_PER_UNKNOWN = {4: 2900, 8: 2500, 10: 3300}
BYTES_PER_PROCESS = 150e6


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

    @staticmethod
    def of(model: Model | ConformingModel) -> NodalProblem:
        """Lay a model out and check that it can be solved."""
        mesh = model.mesh
        if getattr(model, "caps", ()):
            raise InputError(
                "the conforming engine has no rigid caps yet: prescribe the displacements of the "
                "cap's nodes, or use the voxel engine"
            )
        nodes = mesh_axes_mm(mesh)
        owner, values, force = nodal_values(mesh.n_nodes, model.constraints, model.loads)
        spring = np.zeros((mesh.n_nodes, 3))
        for support in supports_of(model):
            np.add.at(spring, support.nodes, np.asarray(support.stiffness_N_mm, dtype=np.float64))
        for name, array in (("displacement", values), ("force", force), ("node", nodes)):
            if not np.isfinite(array).all():
                raise InputError(f"a {name} of the model is not a finite number")
        used = np.zeros(mesh.n_nodes, dtype=bool)
        used[mesh.elements] = True
        stray = force.any(axis=1) & ~used
        if stray.any():
            raise InputError(f"forces act on {stray.sum()} nodes that no element touches")
        check_held(nodes, mesh.elements, ((owner >= 0) | (spring > 0)) & used[:, None])
        nu = np.broadcast_to(np.asarray(model.nu, dtype=np.float64), mesh.n_elements)
        E = np.asarray(model.E_MPa, dtype=np.float64)
        return NodalProblem(nodes, mesh.elements, E, nu, owner, values, force, spring)

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
        }

    def reactions(
        self, model: Model | ConformingModel, u: Float, internal_N: Float, share: float = 1.0
    ) -> tuple[Float, dict[str, Float], float]:
        """Reaction of each node, (n, 3), the sum of each constraint and support, their balance.

        Parameters
        ----------
        u, internal_N : ndarray of float, (n_nodes, 3)
            Displacements, and forces of stresses and springs.
        share : float
            Of the forces.
        """
        force, pull = share * self.force_N, self.spring_N_mm * u  # of the body on its springs
        reaction = np.where(self.owner >= 0, internal_N - force, 0.0)
        sums = reactions(reaction, self.owner, model.constraints)
        for support in supports_of(model):
            stiffness = np.broadcast_to(support.stiffness_N_mm, (len(support.nodes), 3))
            sums[support.name] = -(stiffness * u[support.nodes]).sum(axis=0)
        return reaction, sums, force_balance(reaction - pull, force, sums)


def settings(
    rtol: float, max_iterations: int, method: str, petsc_options: Mapping[str, str] | None
) -> Arrays:
    """Arrays of ``model.npz`` that say how to solve.

    Raises
    ------
    InputError
        If a number is not positive.
    """
    if not (rtol > 0 and max_iterations > 0):
        raise InputError(
            f"rtol and max_iterations must be positive, got {rtol} and {max_iterations}"
        )
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
    return 3 * n_nodes * BYTES_PER_UNKNOWN[nodes_per_element] + processes * BYTES_PER_PROCESS


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


def supports_of(model: Model | ConformingModel) -> tuple[ElasticSupport, ...]:
    """Elastic supports of a model."""
    return tuple(getattr(model, "supports", ()))


@contextmanager
def work_folder(folder: Path | str | None) -> Iterator[Path]:
    """Give the folder asked for, or a temporary one."""
    if folder is not None:
        yield Path(folder).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="bonekit-") as made:
        yield Path(made)

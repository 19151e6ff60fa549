"""The conforming engine: linear elasticity on tetrahedra and hexahedra by dolfinx and PETSc.

dolfinx runs as a child process in its own interpreter, with one process or several under MPI; see
`bonekit.fem.interpreters` for where it is looked for. Elements are those of four, eight (2 x 2 x 2
Gauss points) and ten nodes, the latter with straight or curved edges.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.boundary import force_balance, nodal_values, reactions
from bonekit.fem.child import Progress, run_child
from bonekit.fem.conforming_model import ConformingModel, ElasticSupport
from bonekit.fem.exchange import RawResult, clear, read_result, write_model
from bonekit.fem.interpreters import Interpreter, choose
from bonekit.fem.model import Mesh, Model, Solution
from bonekit.fem.recovery import element_fields
from bonekit.fem.rigid import check_held
from bonekit.meshing.voxel import VoxelMesh

log = logging.getLogger(__name__)

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Peak memory by element, rounded up from measurements at 525k (four nodes), 106k (ten) and 129k
# unknowns (bricks), dolfinx 0.5.2, one process; and what each process takes for dolfinx itself.
BYTES_PER_UNKNOWN = {4: 2900, 8: 2500, 10: 3300}
BYTES_PER_PROCESS = 150e6


@dataclass(frozen=True, eq=False, kw_only=True)
class ConformingSolution(Solution):
    """A `Solution` with element means and the solver's own record.

    Parameters
    ----------
    stress_MPa : ndarray of float, (n_elements, 6)
        At the centroid, in the order of the strains.
    mean_strain : ndarray of float, (n_elements, 6)
        Mean over the element.
    mean_sed_MPa : ndarray of float, (n_elements,)
        Strain energy over volume.
    history : tuple of float
        Relative residual at each iteration.
    seconds : mapping of str to float
        By stage of the child process.
    peak_MB : float
        Memory of all its processes together.
    interpreter : Interpreter
    processes : int
    """

    stress_MPa: Float
    mean_strain: Float
    mean_sed_MPa: Float
    history: tuple[float, ...]
    seconds: Mapping[str, float]
    peak_MB: float
    interpreter: Interpreter
    processes: int


def solve_conforming(
    model: Model | ConformingModel,
    rtol: float = 1e-8,
    *,
    interpreter: Interpreter | str | Path | None = None,
    processes: int = 1,
    method: Literal["auto", "cg", "direct"] = "auto",
    max_iterations: int = 1000,
    timeout_s: float | None = None,
    progress: Progress | None = None,
    folder: Path | str | None = None,
    petsc_options: Mapping[str, str] | None = None,
) -> ConformingSolution:
    """Solve a model with the conforming engine.

    Parameters
    ----------
    model : Model or ConformingModel
        Vectors and tensors of a voxel mesh are in mesh axes, as the voxel engine's are.
    rtol : float
        Bound on the norm of the out-of-balance forces over that of the forces and what the
        prescribed displacements alone would cause.
    interpreter : Interpreter, str or Path, optional
        That has dolfinx; by default the first of `find_interpreters`.
    processes : int
        Under MPI if more than one.
    method : {"auto", "cg", "direct"}
        Conjugate gradients with algebraic multigrid, a factorisation, or by size.
    max_iterations : int
    timeout_s : float, optional
    progress : callable, optional
        Called with the iteration and the relative residual.
    folder : Path or str, optional
        Where model, log and result are kept. A result of the same model and settings that is there
        already is read instead of solved again; one that is there stays until a new one is
        complete. By default a temporary folder that is removed.
    petsc_options : mapping of str to str, optional
        Such as ``{"pc_type": "hypre"}``, over the engine's own.

    Returns
    -------
    ConformingSolution
        Its strain energy is integrated here, not by the solver: the energy balance compares the
        two.

    Raises
    ------
    InputError
        If constraints disagree, a piece can move as a rigid body (the motions are named), a load
        acts on a node without element, or the model will not fit in memory; a
        `SolverMissingError` if there is no dolfinx.
    ConvergenceError
        As a `DivergenceError`, `SolverTimeoutError`, `SolverCrashError`, `SolverMemoryError` or
        `BrokenMPIError` of `bonekit.fem.child`.
    """
    if not (rtol > 0 and max_iterations > 0 and processes > 0):
        raise InputError(
            "rtol, max_iterations and processes must be positive, got "
            f"{rtol}, {max_iterations} and {processes}"
        )
    problem = _Problem.of(model)
    _check_memory(problem, processes)
    chosen = interpreter if isinstance(interpreter, Interpreter) else choose(interpreter)
    settings = {
        "rtol": np.array(rtol),
        "max_iterations": np.array(max_iterations),
        "method": np.array(method),
        "options": np.array(json.dumps(dict(petsc_options or {}), sort_keys=True)),
    }
    with _folder(folder) as place:
        digest = write_model(place, {**problem.arrays(), **settings})
        raw = read_result(place, digest)
        if raw is None:
            clear(place)
            run_child(place, chosen, processes, timeout_s, progress)
            raw = read_result(place, digest)
        if raw is None:
            raise InputError(f"{place / 'result.npz'} was changed by another solve in that folder")
    log.info("%d iterations, residual %.1e, %.0f MB", raw.iterations, raw.residual, raw.peak_MB)
    return _solution(model, problem, raw, chosen, processes)


@dataclass(frozen=True, eq=False)
class _Problem:
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
    def of(model: Model | ConformingModel) -> _Problem:
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
        for support in _supports(model):
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
        return _Problem(nodes, mesh.elements, E, nu, owner, values, force, spring)

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


def mesh_axes_mm(mesh: Mesh) -> Float:
    """Nodes in mesh axes, (n_nodes, 3): along the grid of a voxel mesh, else in the world."""
    if isinstance(mesh, VoxelMesh):
        return np.asarray(mesh.node_ijk * mesh.grid.spacing_mm, dtype=np.float64)
    return np.asarray(mesh.nodes_mm, dtype=np.float64)


def memory_bytes(n_nodes: int, nodes_per_element: int, processes: int = 1) -> float:
    """Estimate the peak memory of a solve, of all processes together."""
    return 3 * n_nodes * BYTES_PER_UNKNOWN[nodes_per_element] + processes * BYTES_PER_PROCESS


def _check_memory(problem: _Problem, processes: int) -> None:
    needed = memory_bytes(len(problem.nodes_mm), problem.elements.shape[1], processes)
    available = psutil.virtual_memory().available
    if needed > available:
        raise InputError(
            f"the model has {3 * len(problem.nodes_mm)} unknowns and needs about "
            f"{needed / 2**30:.1f} GiB, of which {available / 2**30:.1f} are available. Use larger "
            "elements, those of four nodes, or a machine with more memory"
        )


def _supports(model: Model | ConformingModel) -> tuple[ElasticSupport, ...]:
    return tuple(getattr(model, "supports", ()))


@contextmanager
def _folder(folder: Path | str | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="bonekit-") as made:
        yield Path(made)


def _solution(
    model: Model | ConformingModel,
    problem: _Problem,
    raw: RawResult,
    interpreter: Interpreter,
    processes: int,
) -> ConformingSolution:
    u, force = raw.displacement_mm, problem.force_N
    pull = problem.spring_N_mm * u  # of the body on its springs
    reaction = np.where(problem.owner >= 0, raw.internal_N - force, 0.0)
    fields = element_fields(
        problem.nodes_mm, problem.elements, u, problem.E_MPa, problem.nu, raw.points, raw.weights
    )
    energy = fields.energy + 0.5 * float((pull * u).sum())
    work = 0.5 * float((u * (reaction + force)).sum())
    sums = reactions(reaction, problem.owner, model.constraints)
    for support in _supports(model):
        stiffness = np.broadcast_to(support.stiffness_N_mm, (len(support.nodes), 3))
        sums[support.name] = -(stiffness * u[support.nodes]).sum(axis=0)
    return ConformingSolution(
        displacement_mm=u,
        strain=fields.strain,
        sed_MPa=fields.sed_MPa,
        reaction_N=sums,
        energy_Nmm=energy,
        residual=raw.residual,
        force_balance=force_balance(reaction - pull, force, sums),
        energy_balance=abs(energy - work) / abs(work) if work else 0.0,
        iterations=raw.iterations,
        stress_MPa=fields.stress_MPa,
        mean_strain=fields.mean_strain,
        mean_sed_MPa=fields.mean_sed_MPa,
        history=raw.history,
        seconds=raw.seconds,
        peak_MB=raw.peak_MB,
        interpreter=interpreter,
        processes=processes,
    )

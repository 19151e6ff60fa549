"""The conforming engine: linear elasticity on tetrahedra and hexahedra by dolfinx and PETSc.

dolfinx runs as a child process in its own interpreter, with one process or several under MPI; see
`bonekit.fem.interpreters` for where it is looked for. Elements are those of four, eight (2 x 2 x 2
Gauss points) and ten nodes, the latter with straight or curved edges.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.child import Progress, run_child
from bonekit.fem.conforming_problem import NodalProblem, check_memory, settings, work_folder
from bonekit.fem.exchange import RawResult, clear, read_result, write_model
from bonekit.fem.interpreters import Interpreter, choose
from bonekit.fem.model import Mesh, Model, Solution
from bonekit.fem.recovery import element_fields

log = logging.getLogger(__name__)

Float = NDArray[np.float64]


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
    model: Model[Mesh],
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
    model : Model
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
    problem = NodalProblem.of(model)
    arrays = {**problem.arrays(), **settings(rtol, max_iterations, method, petsc_options)}
    check_memory(problem, processes)
    chosen = interpreter if isinstance(interpreter, Interpreter) else choose(interpreter)
    with work_folder(folder) as place:
        digest = write_model(place, arrays)
        raw = read_result(place, digest)
        if raw is None:
            clear(place)
            run_child(place, chosen, processes, timeout_s, progress)
            raw = read_result(place, digest)
        if raw is None:
            raise InputError(f"{place / 'result.npz'} was changed by another solve in that folder")
    log.info("%d iterations, residual %.1e, %.0f MB", raw.iterations, raw.residual, raw.peak_MB)
    return _solution(model, problem, raw, chosen, processes)


def _solution(
    model: Model[Mesh],
    problem: NodalProblem,
    raw: RawResult,
    interpreter: Interpreter,
    processes: int,
) -> ConformingSolution:
    u, springs = raw.displacement_mm, problem.spring_N_mm
    fields = element_fields(
        problem.nodes_mm, problem.elements, u, problem.E_MPa, problem.nu, raw.points, raw.weights
    )
    balance = problem.balance(model, u, raw.internal_N, raw.cap_motion)
    energy = fields.energy + 0.5 * float((springs * u * u).sum())
    work = balance.half_work_Nmm
    return ConformingSolution(
        displacement_mm=u,
        strain=fields.strain,
        sed_MPa=fields.sed_MPa,
        reaction_N=balance.reaction_N,
        energy_Nmm=energy,
        residual=raw.residual,
        force_balance=balance.force_balance,
        energy_balance=abs(energy - work) / abs(work) if work else 0.0,
        iterations=raw.iterations,
        stress_MPa=fields.stress_MPa,
        mean_strain=fields.mean_strain,
        mean_sed_MPa=fields.mean_sed_MPa,
        history=raw.history,
        caps=balance.caps,
        seconds=raw.seconds,
        peak_MB=raw.peak_MB,
        interpreter=interpreter,
        processes=processes,
    )

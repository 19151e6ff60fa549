"""Linear elasticity on voxel meshes, solved and checked.

`solve_grid` takes plain arrays, so that any voxel problem is a few lines; `solve` takes a `Model`
and gives a `Solution` with its balance checks; `solve_cases` solves several load cases of one bone
with one preconditioner.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.brick_system import BrickSystem
from bonekit.fem.bricks import packed_bricks
from bonekit.fem.cg import CGResult, Progress
from bonekit.fem.memory import check_memory
from bonekit.fem.model import Model, Solution, bad_poisson
from bonekit.fem.model_system import Case, ModelSystem
from bonekit.fem.support import check_support, hinges, node_labels
from bonekit.fem.threads import torch_threads

log = logging.getLogger(__name__)

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GridSolution:
    """Displacements and reactions on a lattice of nodes, of which only those in use are kept.

    Parameters
    ----------
    kept : ndarray of bool, (ni+1, nj+1, nk+1)
        Nodes that touch a brick, or where a displacement is prescribed.
    nodal_mm : ndarray of float, (n_kept, 3)
        Their displacements, in C order.
    nodal_N : ndarray of float, (n_kept, 3)
        Force of the support on each fixed component, 0 elsewhere.
    energy_Nmm : float
        Strain energy, summed over the elements (full integration).
    residual : float
        Norm of the out-of-balance forces over that of the right-hand side, recomputed at the end.
    iterations : int
    history : tuple of float
        Relative residual before each iteration and at the end.
    """

    kept: Bool
    nodal_mm: Float
    nodal_N: Float
    energy_Nmm: float
    residual: float
    iterations: int
    history: tuple[float, ...]

    @cached_property
    def displacement_mm(self) -> Float:
        """Over the lattice, (ni+1, nj+1, nk+1, 3); 0 at nodes of the void that nothing moves."""
        return self._spread(self.nodal_mm)

    @cached_property
    def reaction_N(self) -> Float:  # noqa: N802
        """Forces of the support over the lattice, (ni+1, nj+1, nk+1, 3)."""
        return self._spread(self.nodal_N)

    def _spread(self, nodal: Float) -> Float:
        field = np.zeros((*self.kept.shape, 3))
        field[self.kept] = nodal
        return field


def solve_grid(
    E_MPa: ArrayLike,
    spacing_mm: ArrayLike,
    nu: ArrayLike,
    fixed: Bool,
    values_mm: ArrayLike = 0.0,
    force_N: ArrayLike | None = None,
    *,
    rtol: float = 1e-8,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    start_mm: Float | None = None,
) -> GridSolution:
    """Solve linear elasticity on a grid of bricks.

    Parameters
    ----------
    E_MPa : array_like of float, (ni, nj, nk)
        Young's modulus of each brick; 0 is void.
    spacing_mm : array_like of float, (3,)
        Edges of a brick.
    nu : array_like of float, a scalar or (ni, nj, nk)
        Poisson's ratio, -1 < nu < 0.5; in the void it is ignored.
    fixed : ndarray of bool, (ni+1, nj+1, nk+1, 3)
        Displacement components that are prescribed.
    values_mm : array_like of float, broadcast to the shape of ``fixed``
        Their values; what stands elsewhere is ignored.
    force_N : array_like of float, the shape of ``fixed``, optional
        Nodal forces.
    rtol : float
        Bound on the norm of the out-of-balance forces over that of the right-hand side (the
        forces and what the prescribed displacements alone would cause).
    max_iterations : int
    device : str
        A torch device: ``"cpu"``, ``"cuda"``.
    threads : int, optional
        Threads of the processor, restored afterwards; by default torch's own number.
    progress : callable, optional
        Called with the iteration and the relative residual.
    start_mm : ndarray of float, the shape of ``fixed``, optional
        Displacements to begin with, such as those of a similar bone.

    Returns
    -------
    GridSolution

    Raises
    ------
    InputError
        If the input is malformed, a piece of the model can move as a rigid body, or the model will
        not fit in memory.
    ConvergenceError
        If the tolerance is not reached.
    """
    E, h = np.asarray(E_MPa, dtype=np.float64), np.asarray(spacing_mm, dtype=np.float64)
    _check_moduli(E, h)
    active = E > 0
    ratio = _poisson(nu, active)
    _check_boundary(active, fixed, values_mm, force_N)
    check_support(active, fixed, h)
    bricks, used = packed_bricks(active)
    check_memory(bricks.n_nodes, len(bricks), h, device)
    with torch_threads(threads), _advised(active):
        system = BrickSystem(bricks, E[active], ratio, h, fixed[used], device=torch.device(device))
        del bricks  # half as large as the solve itself
        values = np.broadcast_to(np.asarray(values_mm, dtype=np.float64), fixed.shape)
        given = system.tensor(np.where(fixed[used], values[used], 0.0))
        kept = used | (fixed & (values != 0)).any(axis=-1)
        force = None if force_N is None else _on_nodes(system, force_N, used)
        start = None if start_mm is None else _on_nodes(system, start_mm, used)
        found = system.solve(given, force, rtol, max_iterations, progress, start)
        system.forget_preconditioner()
        return _grid_solution(
            system, found, force, np.where(fixed[kept], values[kept], 0.0), used[kept], kept
        )


def _on_nodes(system: BrickSystem, field: ArrayLike, used: Bool) -> Tensor:
    return system.tensor(np.asarray(field, dtype=np.float64)[used])


def _grid_solution(
    system: BrickSystem,
    found: CGResult,
    force: Tensor | None,
    given_mm: Float,
    used: Bool,
    kept: Bool,
) -> GridSolution:
    """Gather a solution on the nodes that are kept: those in use, others as they are given."""
    log.info("%d iterations, residual %.1e", found.iterations, found.history[-1])
    energy = system.K.energy(found.x)
    pull = system.stiff(found.x)
    pull = (pull if force is None else pull.sub_(force)).mul_(system.held)
    support = np.zeros(given_mm.shape)
    support[used] = system.array(pull)
    del pull
    given_mm[used] = system.array(found.x)
    return GridSolution(
        kept, given_mm, support, energy, found.history[-1], found.iterations, found.history
    )


def solve(
    model: Model,
    rtol: float = 1e-8,
    *,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    start: Solution | None = None,
) -> Solution:
    """Solve a model with the voxel engine.

    Parameters
    ----------
    model : Model
    rtol, max_iterations, device, threads, progress
        As for `solve_grid`.
    start : Solution, optional
        Of the same mesh with other moduli or loads: saves iterations.

    Returns
    -------
    Solution
        Its residual, force and energy balances tell how far the answer can be trusted.

    Raises
    ------
    InputError
        If two constraints disagree on a node, a piece of the model can move as a rigid body, or
        the model will not fit in memory.
    ConvergenceError
        If the tolerance is not reached.
    """
    return solve_cases(
        (model,),
        rtol,
        max_iterations=max_iterations,
        device=device,
        threads=threads,
        progress=progress,
        start=start,
    )[0]


def solve_cases(
    models: Sequence[Model],
    rtol: float = 1e-8,
    *,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    start: Solution | None = None,
) -> tuple[Solution, ...]:
    """Solve load cases of one bone, supported alike, with one preconditioner.

    Each case begins with what the solutions of those before it can make of it: a case that is a
    combination of others costs nothing.

    Parameters
    ----------
    models : sequence of Model
        Of one mesh, the same moduli, Poisson's ratios, elastic supports and caps' nodes; prescribed
        values, forces and moments may differ, the components that are prescribed may not.
    rtol, max_iterations, device, threads, progress, start
        As for `solve`.

    Returns
    -------
    tuple of Solution

    Raises
    ------
    InputError
        As for `solve`, or if the models differ in what they have to share.
    ConvergenceError
        If the tolerance is not reached.
    """
    cases = [Case.of(model) for model in models]
    for number, case in enumerate(cases[1:], start=1):
        difference = cases[0].difference(case)
        if difference:
            raise InputError(
                f"case {number} differs from the first in {difference}: cases solved together "
                "share all but values, forces and moments. Solve it by itself"
            )
    mesh = models[0].mesh
    cases[0].check_support()
    check_memory(mesh.n_nodes, mesh.n_elements, mesh.grid.spacing_mm, device)
    with torch_threads(threads), _advised(mesh.mask):
        system = ModelSystem(cases[0], torch.device(device))
        guess = None if start is None else system.unknowns(start)
        solutions = [
            system.solve(
                case,
                rtol,
                max_iterations,
                progress,
                guess if n == 0 else None,
                keep=n + 1 < len(cases),
            )
            for n, case in enumerate(cases)
        ]
    for solution in solutions:
        log.info("%d iterations, residual %.1e", solution.iterations, solution.residual)
    return tuple(solutions)


def _check_moduli(E: Float, h: Float) -> None:
    if E.ndim != 3:
        raise InputError(f"the moduli must be an array of three axes, got shape {E.shape}")
    bad = ~(np.isfinite(E) & (E >= 0))
    if bad.any():
        first = tuple(map(int, np.unravel_index(int(bad.argmax()), E.shape)))
        raise InputError(
            f"{bad.sum()} of {E.size} moduli are not numbers >= 0 MPa (first: brick {first}, "
            f"E = {E[first]} MPa). Set those of void to 0"
        )
    if not E.any():
        raise InputError("every modulus is 0: there is no element")
    if h.shape != (3,) or not (np.isfinite(h) & (h > 0)).all():
        raise InputError(f"the spacing must be three positive numbers, got {h.tolist()}")


def _poisson(nu: ArrayLike, active: Bool) -> Float | float:
    ratio = np.asarray(nu, dtype=np.float64)
    if ratio.shape not in ((), active.shape):
        raise InputError(
            f"Poisson's ratio must be one number or one per brick, {active.shape}; "
            f"got {ratio.shape}"
        )
    bad = ~((ratio > -1.0) & (ratio < 0.5))
    bad &= active if ratio.ndim else True
    if bad.any():
        raise InputError(bad_poisson(ratio, bad, "brick"))
    return ratio[active] if ratio.ndim else float(ratio)


def _check_boundary(
    active: Bool, fixed: Bool, values_mm: ArrayLike, force_N: ArrayLike | None
) -> None:
    shape = (*(n + 1 for n in active.shape), 3)
    if fixed.shape != shape or fixed.dtype != bool:
        raise InputError(f"fixed must be a bool array {shape}, got {fixed.dtype} {fixed.shape}")
    values = np.broadcast_to(np.asarray(values_mm, dtype=np.float64), shape)
    wrong = "a prescribed displacement or a force is not a finite number"
    if not np.isfinite(values[fixed]).all():
        raise InputError(wrong)
    if force_N is None:
        return
    force = np.asarray(force_N, dtype=np.float64)
    if force.shape != shape:
        raise InputError(f"the forces must have the shape {shape}, got {force.shape}")
    if not np.isfinite(force).all():
        raise InputError(wrong)
    stray = force.any(axis=-1) & (node_labels(active.astype(np.int32)) == 0)
    if stray.any():
        raise InputError(f"forces act on {stray.sum()} nodes that no element touches")


@contextmanager
def _advised(active: Bool) -> Iterator[None]:
    """Add to the error of a solve that does not converge what may be done about it."""
    try:
        yield
    except ConvergenceError as error:
        advice = "Raise max_iterations or rtol, or look for a modulus that is out of proportion"
        if parts := hinges(active):
            advice = (
                f"{parts} parts of the mesh hang on others by an edge or a corner only and may "
                "turn like hinges: keep the face-connected part. Otherwise raise max_iterations "
                "or rtol"
            )
        raise ConvergenceError(f"{error} {advice}") from error

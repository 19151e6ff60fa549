"""Linear elasticity on voxel meshes, solved and checked.

`solve_grid` takes plain arrays, so that any voxel problem is a few lines; `solve` takes a `Model`
and gives a `Solution` with its balance checks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.boundary import force_balance, nodal_values, reactions
from bonekit.fem.brick import stiffness, strain_displacement
from bonekit.fem.cg import CGResult, Progress, conjugate_gradients
from bonekit.fem.fields import strain_energy_density
from bonekit.fem.model import Model, Solution
from bonekit.fem.multigrid import Multigrid
from bonekit.fem.operator import BrickOperator, Lattice
from bonekit.fem.support import check_support, hinges, node_labels

log = logging.getLogger(__name__)

Float = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GridSolution:
    """Displacements and reactions on a lattice of nodes.

    Parameters
    ----------
    displacement_mm : ndarray of float, (ni+1, nj+1, nk+1, 3)
        The prescribed value where one is given, 0 at other nodes of the void.
    reaction_N : ndarray of float, (ni+1, nj+1, nk+1, 3)
        Force of the support on each fixed component, 0 elsewhere.
    energy_Nmm : float
        Strain energy, summed over the elements (full integration).
    residual : float
        Norm of the out-of-balance forces over that of the right-hand side, recomputed at the end.
    iterations : int
    history : tuple of float
        Relative residual before each iteration and at the end.
    """

    displacement_mm: Float
    reaction_N: Float
    energy_Nmm: float
    residual: float
    iterations: int
    history: tuple[float, ...]


def solve_grid(
    E_MPa: ArrayLike,
    spacing_mm: ArrayLike,
    nu: float,
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
    nu : float
        Poisson's ratio, -1 < nu < 0.5.
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
        If the input is malformed or a piece of the model can move as a rigid body.
    ConvergenceError
        If the tolerance is not reached.
    """
    E, h, values, force = _checked(E_MPa, spacing_mm, nu, fixed, values_mm, force_N)
    window = tuple(
        slice(int(n.min()), int(n.max()) + 1) for n in np.nonzero(E)
    )  # the bricks in use; their nodes reach one further
    nodes = tuple(slice(s.start, s.stop + 1) for s in window)
    check_support(E[window] > 0, fixed[nodes], h)
    displacement = np.where(fixed, values, 0.0)
    reaction = np.zeros_like(displacement)
    with _threads(threads):
        problem = _Problem(
            E[window], h, nu, fixed[nodes], values[nodes], force[nodes], torch.device(device)
        )
        try:
            start = None if start_mm is None else start_mm[nodes]
            result = problem.solve(rtol, max_iterations, progress, start)
        except ConvergenceError as error:
            raise ConvergenceError(f"{error} {_advice(E[window] > 0)}") from error
        displacement[nodes], reaction[nodes] = problem.fields(result)
        energy = problem.energy(result)
    log.info("%d iterations, residual %.1e", result.iterations, result.history[-1])
    return GridSolution(
        displacement, reaction, energy, result.history[-1], result.iterations, result.history
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
        If two constraints disagree on a node, or a piece of the model can move as a rigid body.
    ConvergenceError
        If the tolerance is not reached.
    """
    mesh = model.mesh
    owner, values, force = nodal_values(mesh.n_nodes, model.constraints, model.loads)
    shape = tuple(n + 1 for n in mesh.region.shape)
    where = tuple(mesh.node_ijk.T)

    def lattice(nodal: NDArray[T]) -> NDArray[T]:
        field = np.zeros((*shape, 3), dtype=nodal.dtype)
        field[where] = nodal
        return field

    grid = solve_grid(
        mesh.on_grid(model.E_MPa),
        mesh.grid.spacing_mm,
        model.nu,
        lattice(owner >= 0),
        lattice(values),
        lattice(force),
        rtol=rtol,
        max_iterations=max_iterations,
        device=device,
        threads=threads,
        progress=progress,
        start_mm=None if start is None else lattice(start.displacement_mm),
    )
    u, reaction = grid.displacement_mm[where], grid.reaction_N[where]
    B = strain_displacement(mesh.grid.spacing_mm)
    strain = u[mesh.elements].reshape(-1, 24) @ B.T
    work = 0.5 * float((u * (reaction + force)).sum())
    sums = reactions(reaction, owner, model.constraints)
    return Solution(
        displacement_mm=u,
        strain=strain,
        sed_MPa=strain_energy_density(strain, model.E_MPa, model.nu),
        reaction_N=sums,
        energy_Nmm=grid.energy_Nmm,
        residual=grid.residual,
        force_balance=force_balance(reaction, force, sums),
        energy_balance=abs(grid.energy_Nmm - work) / abs(work) if work else 0.0,
        iterations=grid.iterations,
    )


class _Problem:
    """The linear system of a grid of bricks: (K u = f) with u given on the fixed components."""

    def __init__(
        self,
        E: Float,
        h: Float,
        nu: float,
        fixed: Bool,
        values: Float,
        force: Float,
        device: torch.device,
    ) -> None:
        i, j, k = E.shape
        self.device = device
        self.lattice, self.h = Lattice((i, j, k)), h
        self.E, self.K = self.lattice.spread(E), stiffness(h, nu)
        self.A = BrickOperator(self.lattice, self.E, self.K, torch.float64, device)
        held = self._tensor(fixed)
        self.free = (self.A.diagonal() > 0) & ~held
        self.held = held.to(torch.float64)
        self.given = self._tensor(values) * self.held
        self.force = self._tensor(force)

    def _tensor(self, field: NDArray[np.generic]) -> torch.Tensor:
        rows = np.ascontiguousarray(np.moveaxis(field, -1, 0).reshape(3, -1))
        return torch.as_tensor(rows, device=self.device)

    def solve(
        self, rtol: float, max_iterations: int, progress: Progress | None, start: Float | None
    ) -> CGResult:
        free = self.free.to(torch.float64)
        b = (self.force - self.A(self.given)) * free
        M = Multigrid(self.lattice, self.E, self.K, self.free, self.h)
        first = None if start is None else (self._tensor(start) - self.given) * free
        return conjugate_gradients(
            lambda x: self.A(x) * free, M, b, rtol, max_iterations, progress, first
        )

    def fields(self, result: CGResult) -> tuple[Float, Float]:
        """Displacement and reaction, each (ni+1, nj+1, nk+1, 3)."""
        u = result.x + self.given
        reaction = (self.A(u) - self.force) * self.held
        shape = (3, *self.lattice.nodes)
        moved = [np.moveaxis(t.cpu().numpy().reshape(shape), 0, -1) for t in (u, reaction)]
        return moved[0], moved[1]

    def energy(self, result: CGResult) -> float:
        return self.A.energy(result.x + self.given)


def _checked(
    E_MPa: ArrayLike,
    spacing_mm: ArrayLike,
    nu: float,
    fixed: Bool,
    values_mm: ArrayLike,
    force_N: ArrayLike | None,
) -> tuple[Float, Float, Float, Float]:
    E = np.asarray(E_MPa, dtype=np.float64)
    h = np.asarray(spacing_mm, dtype=np.float64)
    if E.ndim != 3:
        raise InputError(f"the moduli must be an array of three axes, got shape {E.shape}")
    bad = ~(np.isfinite(E) & (E >= 0))
    if bad.any():
        raise InputError(f"{bad.sum()} of {E.size} moduli are not numbers >= 0 MPa (0 is void)")
    if not E.any():
        raise InputError("every modulus is 0: there is no element")
    if h.shape != (3,) or not (np.isfinite(h) & (h > 0)).all():
        raise InputError(f"the spacing must be three positive numbers, got {h.tolist()}")
    if not -1.0 < nu < 0.5:
        raise InputError(f"Poisson's ratio must lie between -1 and 0.5, got {nu}")
    shape = (*(n + 1 for n in E.shape), 3)
    if fixed.shape != shape or fixed.dtype != bool:
        raise InputError(f"fixed must be a bool array {shape}, got {fixed.dtype} {fixed.shape}")
    values = np.broadcast_to(np.asarray(values_mm, dtype=np.float64), shape)
    force = np.zeros(shape) if force_N is None else np.asarray(force_N, dtype=np.float64)
    if force.shape != shape:
        raise InputError(f"the forces must have the shape {shape}, got {force.shape}")
    if not (np.isfinite(values[fixed]).all() and np.isfinite(force).all()):
        raise InputError("a prescribed displacement or a force is not a finite number")
    stray = force.any(axis=-1) & (node_labels((E > 0).astype(np.int32)) == 0)
    if stray.any():
        raise InputError(f"forces act on {stray.sum()} nodes that no element touches")
    return E, h, values, force


def _advice(active: Bool) -> str:
    parts = hinges(active)
    if parts:
        return (
            f"{parts} parts of the mesh hang on others by an edge or a corner only and may turn "
            "like hinges: keep the face-connected part. Otherwise raise max_iterations or rtol"
        )
    return "Raise max_iterations or rtol, or look for a modulus that is out of proportion"


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

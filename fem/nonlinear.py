"""Equilibrium of nonlinear bricks: Newton's method under a control that passes the peak.

The unknowns are the displacements u of nodes and motions of caps (`bonekit.fem.tied`), and the
factor t of the load: of the forces, or of the prescribed displacements. One more equation says how
far to go,

    control . u + compliance * t = s,

so that t is eliminated and the tangent gains a term of rank one. With control = 0 the factor itself
is given. With the control conjugate to the forces and a small compliance it is a test in a stiff
machine: the force may fall while s rises, the tangent stays symmetric and, as long as the bone
softens less steeply than the machine springs back, positive definite. With the compliance of the
bone itself, and a minus, it is the inelastic displacement, which follows a snap-back
(`bonekit.fem.path.inelastic`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.errors import ConvergenceError
from bonekit.fem.cg import Operator, conjugate_gradients
from bonekit.fem.constitutive import State
from bonekit.fem.gmres import flexible_gmres
from bonekit.fem.multigrid import Multigrid
from bonekit.fem.operator import Float
from bonekit.fem.tangents import Evaluation, NonlinearBricks
from bonekit.fem.tied import TiedCycle, Ties

log = logging.getLogger(__name__)

_NEWTON = 25  # iterations before the step is cut
_RUNAWAY = 5.0  # growth of the residual that no iteration has been seen to recover from
_LINEAR = 400  # iterations of conjugate gradients
_LOOSE = 5e-2  # largest relative residual of a linear solve
_SINGLE = 1e-4  # solves looser than this run in single precision
_WORSE = 1.6  # rebuild the preconditioner when its solves take so many times the first's


@dataclass(frozen=True, eq=False)
class Control:
    """What is driven: ``weights . u + compliance * t = s``.

    Parameters
    ----------
    weights : Tensor, (3, n), or None
        Of the unknowns. None: the factor is given.
    compliance : float
    """

    weights: Tensor | None = None
    compliance: float = 1.0

    def of(self, u: Tensor, factor: float) -> float:
        """Value of s."""
        return self.displacement(u) + self.compliance * factor

    def displacement(self, u: Tensor) -> float:
        """``weights . u``, 0 where there are none."""
        return 0.0 if self.weights is None else _dot(self.weights, u)


@dataclass(frozen=True, eq=False)
class Point:
    """An equilibrium, with what is needed to go on from it.

    Parameters
    ----------
    u_mm : Tensor, (3, n)
        Unknowns: displacements, those of nodes of caps 0, then motions of caps.
    factor : float
        Of the loads.
    at : Evaluation
        Its forces are those on the unknowns.
    iterations, linear_iterations : int
        Newton and linear iterations that led here.
    residual : float
        Norm of the out-of-balance forces over that of the loads or reactions.
    """

    u_mm: Tensor
    factor: float
    at: Evaluation
    iterations: int = 0
    linear_iterations: int = 0
    residual: float = 0.0


class Stuck(Exception):  # noqa: N818
    """A step did not converge; the caller cuts it. Never leaves the package."""


class Equilibrium:
    """Newton's method on bricks with supports and loads.

    Parameters
    ----------
    bricks : NonlinearBricks
    ties : Ties
        Caps, over the nodes of the lattice: n = size + 2 len(ties).
    held : ndarray of bool, (3, n)
        Prescribed components.
    given_mm : ndarray of float, (3, n)
        Prescribed values for factor 1; 0 elsewhere.
    force_N : ndarray of float, (3, n)
        Forces for factor 1.
    spacing_mm : ndarray of float, (3,)
    rtol : float
        Bound on the residual (see `Point`).
    """

    def __init__(
        self,
        bricks: NonlinearBricks,
        ties: Ties,
        held: NDArray[np.bool_],
        given_mm: Float,
        force_N: Float,
        spacing_mm: Float,
        rtol: float = 1e-4,
    ) -> None:
        self.bricks, self.ties, self.rtol, self.h = bricks, ties, rtol, spacing_mm
        self.stiff, device = ties.within(bricks.elastic), bricks.device
        self.held = torch.as_tensor(held, device=device)
        self.given = torch.as_tensor(given_mm, device=device)
        self.force = torch.as_tensor(force_N, device=device)
        self.free = ties.free(self.held, bricks.elastic.diagonal() > 0)
        self.mask = self.free.to(torch.float64)
        self._precondition = self._multigrid(bricks.E_lattice)
        self._baseline: int | None = None
        self._spent, self._failed_single = 0, 0

    def _multigrid(self, E: Float) -> TiedCycle:
        bricks, n = self.bricks, self.ties.n
        cycle = Multigrid(
            bricks.lattice,
            E,
            bricks.K,
            self.free[:, :n],
            self.h,
            spring_N_mm=bricks.spring,
            finest=bricks.elastic,
        )
        # The cycle of other moduli than those of the product would amplify what caps drag along.
        own = E is bricks.E_lattice or not len(self.ties)
        stiff = self.stiff if own else self.ties.within(bricks.elastic_of(E, like=bricks.elastic))
        return TiedCycle(cycle, stiff, self.free, n)

    def rest(self) -> Point:
        """Unloaded point."""
        u = torch.zeros_like(self.given)
        return Point(u, 0.0, self._evaluate(u, self.bricks.start()))

    def _evaluate(self, u: Tensor, before: State) -> Evaluation:
        """Go from an accepted state to unknowns."""
        at = self.bricks.evaluate(self.ties.expand(u), before)
        return replace(at, force_N=self.ties.reduce(at.force_N))

    def reaction(self, point: Point) -> Tensor:
        """Sum up the forces of the supports, (3, n)."""
        return (point.at.force_N - point.factor * self.force) * self.held

    def stored_energy(self, point: Point) -> float:
        """Recoverable energy of bricks and springs."""
        in_springs = self.bricks.spring_energy(self.ties.expand(point.u_mm))
        return self.bricks.stored_energy(point.at.state) + in_springs

    def elastic(self, rtol: float = 1e-8) -> Tensor:
        """Unknowns of the linear elastic bricks at factor 1, (3, n)."""
        b = (self.force - self.stiff(self.given)) * self.mask
        solved = conjugate_gradients(
            lambda x: self.stiff(x) * self.mask, self._precondition, b, rtol, 1000
        )
        self._baseline = max(4, solved.iterations // 4)  # of a solve to 1e-2
        return solved.x + self.given

    def advance(
        self, start: Point, control: Control, s: float, rate: tuple[Tensor, float] | None = None
    ) -> Point:
        """Find the equilibrium at a value of the control.

        Parameters
        ----------
        start : Point
        control : Control
        s : float
        rate : (Tensor, float), optional
            Change of displacement and factor by s, to begin with; by default along the tangent.

        Raises
        ------
        Stuck
            If Newton's method does not converge.
        """
        ds = s - control.of(start.u_mm, start.factor)
        rate = rate or self.rate(start, control)
        u, factor = start.u_mm + ds * rate[0], start.factor + ds * rate[1]
        u, factor = self._on_control(u, factor, control, s)
        at = self._evaluate(u, start.at.state)
        error = self._error(at, factor)
        spent, course = 0, [error]
        for iteration in range(_NEWTON + 1):
            if error <= self.rtol:
                return Point(u, factor, at, iteration, spent, error)
            if iteration == _NEWTON or not np.isfinite(error) or self._hopeless(course):
                break
            du, used = self._correction(at, control, factor, error)
            spent += used
            u, factor, at, error = self._search(start.at.state, control, s, (u, at, error), du)
            course.append(error)
        raise Stuck(f"after {len(course) - 1} iterations the residual is {error:.1e}")

    def _hopeless(self, course: list[float]) -> bool:
        """No progress in six iterations, or far worse than at first: a shorter step is cheaper."""
        idle = len(course) > 8 and min(course[-6:]) > 0.7 * min(course[:-6])
        return idle or course[-1] > _RUNAWAY * course[0]

    def _on_control(
        self, u: Tensor, factor: float, control: Control, s: float
    ) -> tuple[Tensor, float]:
        """Set the factor so that the control holds, and the prescribed displacements with it."""
        if control.weights is None:
            factor = s / control.compliance
        elif control.compliance:
            factor = (s - control.displacement(u)) / control.compliance
        return torch.where(self.held, factor * self.given, u), factor

    def _residual(self, at: Evaluation, factor: float) -> Tensor:
        return (factor * self.force - at.force_N) * self.mask

    def _error(self, at: Evaluation, factor: float) -> float:
        load = torch.linalg.vector_norm(at.force_N * self.held)
        load = torch.maximum(load, abs(factor) * torch.linalg.vector_norm(self.force))
        out = float(torch.linalg.vector_norm(self._residual(at, factor)))
        return out / float(load) if float(load) else out

    def _search(
        self,
        state: State,
        control: Control,
        s: float,
        here: tuple[Tensor, Evaluation, float],
        du: Tensor,
    ) -> tuple[Tensor, float, Evaluation, float]:
        """Go along a correction: the whole of it, or where the residual is least of three."""
        u, _, error = here
        best: tuple[Tensor, float, Evaluation, float] | None = None
        for share in (1.0, 0.5, 0.2):
            moved, factor = self._on_control(u + share * du, 0.0, control, s)
            at = self._evaluate(moved, state)
            found = (moved, factor, at, self._error(at, factor))
            if best is None or found[3] < best[3]:
                best = found
            if found[3] < 0.9 * error:
                break
        assert best is not None
        return best

    def _correction(
        self, at: Evaluation, control: Control, factor: float, error: float
    ) -> tuple[Tensor, int]:
        """Solve the tangent system to a part of the residual (an inexact Newton method)."""
        rtol = float(np.clip(0.3 * self.rtol / error, 1e-9, _LOOSE))
        solved = self._in_single(at, control, factor, rtol)
        if solved is None:
            A, M, _ = self._system(at, control)
            solved = self._solve(A, M, self._residual(at, factor), rtol)
        self._watch(at, solved[1], rtol)
        return solved

    def _in_single(
        self, at: Evaluation, control: Control, factor: float, rtol: float
    ) -> tuple[Tensor, int] | None:
        """Correction in single precision, at half the traffic; None where that can't do.

        It cannot where more than three digits are asked, on slender bones whose stiffness is worse
        conditioned than single precision bears, and where the tangent is indefinite.
        """
        if rtol <= _SINGLE or self._failed_single > 2 or not self.bricks.law.symmetric:
            return None
        A, M, _ = self._system(at, control, torch.float32)
        rhs = self._residual(at, factor)
        try:
            solved = conjugate_gradients(A, M, rhs.to(torch.float32), rtol, _LINEAR)
        except ConvergenceError as reason:
            log.debug("single precision: %s", reason)
            self._failed_single += 1
            return None
        self._failed_single = 0
        return solved.x.to(torch.float64), solved.iterations

    def rate(self, point: Point, control: Control, rtol: float = 1e-3) -> tuple[Tensor, float]:
        """Change of displacement and factor by s along the tangent.

        Raises
        ------
        Stuck
            If the tangent is singular.
        """
        A, M, pull = self._system(point.at, control)
        du, _ = self._solve(A, M, pull / control.compliance, rtol)
        share = (1.0 - control.displacement(du)) / control.compliance
        return torch.where(self.held, share * self.given, du), share

    def _system(
        self, at: Evaluation, control: Control, dtype: torch.dtype = torch.float64
    ) -> tuple[Operator, Operator, Tensor]:
        """Tangent with the control's term, its preconditioner, and the force by the factor."""
        tangent = self.ties.within(self.bricks.tangent(at, dtype))
        mask = self.mask.to(dtype)
        pull = (self.force.to(dtype) - tangent(self.given.to(dtype))) * mask

        def plain(x: Tensor) -> Tensor:
            return tangent(x) * mask

        if control.weights is None:
            return plain, self._precondition, pull
        column, weights = pull / control.compliance, control.weights.to(dtype) * mask

        def with_machine(x: Tensor) -> Tensor:
            return plain(x).add_(column, alpha=_dot(weights, x))

        return with_machine, _RankOne(self._precondition, column, weights), pull

    def _solve(self, A: Operator, M: Operator, rhs: Tensor, rtol: float) -> tuple[Tensor, int]:
        try:
            if self.bricks.law.symmetric:
                solved = conjugate_gradients(A, M, rhs, rtol, _LINEAR)
                return solved.x, solved.iterations
        except ConvergenceError as reason:  # indefinite: the bone softens
            log.debug("conjugate gradients: %s", reason)
        x, history = flexible_gmres(A, M, rhs, max(rtol, 1e-6))
        if history[-1] > 0.3:
            raise Stuck(f"the tangent is singular: linear residual {history[-1]:.1e}")
        return x, len(history)

    def _watch(self, at: Evaluation, used: int, rtol: float) -> None:
        """Rebuild the preconditioner when solves have become long."""
        per_digit = used / max(1.0, -np.log10(rtol))
        if self._baseline is None:
            self._baseline = max(3, round(per_digit))
        self._spent += used
        if per_digit > _WORSE * self._baseline and self._spent > 40:
            log.debug("new preconditioner: %.1f iterations a digit", per_digit)
            self._precondition = self._multigrid(self.bricks.softened(at))
            self._spent, self._baseline = 0, None


class _RankOne:
    """Preconditioner of ``A + column weights^T`` from one of A, by Sherman and Morrison."""

    def __init__(self, M: Operator, column: Tensor, weights: Tensor) -> None:
        self.M, self.weights = M, weights
        self.solved = M(column)
        self.scale = 1.0 + _dot(weights, self.solved)

    def __call__(self, r: Tensor) -> Tensor:
        z = self.M(r)
        return z - (_dot(self.weights, z) / self.scale) * self.solved


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))

"""Newton's method for a material law: part of the child process.

The load grows from 0 by the model's `factors`; prescribed displacements and forces grow alike.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bonekit.fem.dolfinx_compat import petsc
from bonekit.fem.dolfinx_elastic import gathered
from bonekit.fem.dolfinx_linear import petsc_solver, scipy_solver
from bonekit.fem.dolfinx_log import Failure, Log, write
from bonekit.fem.dolfinx_points import Nonlinear

NEWTON = 20  # iterations before a step is cut
LEAST_STEP = 1e-4  # of the load
SEARCHES = 4  # points along a direction
LOOSE = 1e-3  # residual of the linear solves, at most


def solve_newton(problem: Nonlinear, model: dict[str, Any], log: Log, folder: Path) -> Any:
    """Walk to the last factor, cutting steps that do not converge; the record of each step.

    Where a step cannot be cut further the last equilibrium is written to ``last_good.npz``.
    """
    path = Walk(problem, model, log)
    t, width = 0.0, float(model["factors"][0])
    for target in (float(f) for f in model["factors"]):
        width = max(width, LEAST_STEP)
        while t < target * (1 - 1e-12):
            to = target if t + 1.01 * width >= target else t + width
            try:
                path.step(to)
            except Failure as failure:
                if failure.kind != "diverged":
                    raise
                width = (to - t) / 2
                log.write(cut=width, text=failure.text)
                if width < LEAST_STEP:
                    keep(problem, model, path, folder)
                    raise Failure(
                        "diverged",
                        f"no equilibrium beyond {t:.4g} of the load; {failure.text}",
                        failure.history,
                    ) from None
            else:
                t, width = to, 1.5 * (to - t)
                log.write(factor=t, residual=path.residuals[-1])
    return path.record()


def keep(problem: Nonlinear, model: dict[str, Any], path: Walk, folder: Path) -> None:
    """Write the last equilibrium."""
    fields, points = gathered(problem, model), problem.point_fields(len(model["cells"]))
    if fields is not None and points is not None:
        write(folder / "last_good.npz", {**fields, **points, **path.record()})


class Walk:
    """Equilibria one after the other, and what they took."""

    def __init__(self, problem: Nonlinear, model: dict[str, Any], log: Log) -> None:
        self.problem, self.model, self.log = problem, model, log
        self.rtol = float(model["rtol"])
        self.force = problem.internal()
        self.factors, self.residuals, self.newton, self.work = [0.0], [0.0], [0], [0.0]
        self.iterations = 0

    def step(self, factor: float) -> None:
        """Find the equilibrium at a factor and commit it, or stay where it was.

        Raises
        ------
        Failure
        """
        before, motion = self.problem.u.x.array.copy(), self.problem.caps.motion
        try:
            found = self.equilibrium(factor)
        except Failure:
            self.problem.u.x.array[:] = before
            self.problem.caps.motion = motion
            self.problem.internal()
            raise
        self.commit(factor, before, *found)

    def equilibrium(self, factor: float) -> tuple[Any, float, int]:
        """Nodal forces, residual and iterations at a factor.

        The first direction takes the prescribed displacements along by the tangent.
        """
        problem = self.problem
        demand = problem.load_jump(factor)
        left = problem.left(self.force + demand)
        load = problem.norm(problem.applied) + float(np.linalg.norm(problem.cap_load))
        size = max(load, problem.norm(left), 1e-300)
        x = self.linear(left, LOOSE)
        problem.take_jump()
        problem.add(x)
        history: list[float] = []
        for number in range(1, NEWTON + 1):
            force = problem.internal()
            left = problem.left(force)
            residual = problem.norm(left) / max(size, problem.norm(force))
            history.append(residual)
            self.log.write(newton=number, residual=residual, factor=factor)
            if not np.isfinite(residual):
                raise Failure("diverged", "the displacements are not numbers", history)
            if residual <= self.rtol:
                return force, residual, number
            if number > 8 and residual > 0.9 * history[-6]:
                raise Failure("diverged", "Newton's method stagnated", history)
            self.search(self.linear(left, min(LOOSE, 0.1 * self.rtol / residual)), left)
        raise Failure("diverged", f"{NEWTON} Newton iterations", history)

    def commit(self, factor: float, before: Any, force: Any, residual: float, number: int) -> None:
        """Take an equilibrium; the external work grows by the mean of both forces."""
        problem = self.problem
        moved = (problem.u.x.array - before)[: force.size]
        self.work.append(self.work[-1] + 0.5 * problem.dot(self.force + force, moved))
        self.force = force
        problem.commit()
        self.factors.append(factor)
        self.residuals.append(residual)
        self.newton.append(number)

    def linear(self, b: Any, rtol: float) -> Any:
        """Solve with the present tangent."""
        make = scipy_solver if petsc() is None else petsc_solver
        x, course = make(self.problem, self.model, self.log)(b, max(rtol, 1e-12))
        self.iterations += max(len(course) - 1, 1)
        return x

    def search(self, x: Any, left: Any) -> None:
        """Go along a direction until the out-of-balance forces do less work along it."""
        problem = self.problem
        first, share = problem.dot(x, left), 1.0
        problem.add(x)
        for _ in range(SEARCHES):
            force = problem.internal()
            now = problem.dot(x, problem.left(force))
            if abs(now) <= 0.8 * abs(first) or not np.isfinite(now):
                return
            shorter = share * min(max(first / (first - now) if first != now else 0.5, 0.1), 0.9)
            problem.add((shorter - share) * x)
            share = shorter

    def record(self) -> dict[str, Any]:
        """Arrays of ``result.npz``."""
        return {
            "residual": self.residuals[-1],
            "iterations": self.iterations,
            "history": np.array(self.residuals),
            "factors": np.array(self.factors),
            "newton": np.array(self.newton),
            "work_Nmm": np.array(self.work),
        }

"""Supported bodies, linear elasticity and its solution: part of the child process."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import Any

import numpy as np

from bonekit.fem.dolfinx_body import Body
from bonekit.fem.dolfinx_caps import Caps
from bonekit.fem.dolfinx_compat import assembled, petsc
from bonekit.fem.dolfinx_linear import petsc_solver, scipy_solver
from bonekit.fem.dolfinx_log import Failure, Log

CORRECTIONS = 4  # solves at most, each of what the one before has left


class Supported:
    """Displacements of a body, what holds it and what loads it.

    Vectors over nodes, (3 n,), hold the nodes of this process; vectors over unknowns those of
    `Caps` as well. Those that derive from it give `stiffness` and `forces`, forms of the tangent
    and of the nodal forces of the stresses, and say whether the tangent is "definite", "symmetric"
    or "general".
    """

    tangent = "definite"
    stiffness: Any
    forces: Any

    def __init__(self, body: Body, model: dict[str, Any]) -> None:
        from dolfinx import fem

        self.body, node = body, body.node
        self.u = fem.Function(body.V)
        self.held = model["fixed"][node]
        self.caps = Caps(body, model)
        given = np.where(self.held, model["fixed_mm"][node], 0.0)
        nodes, moved = self.caps.displaced(self.caps.given, ghosts=True)
        given[nodes] = moved
        self.given = given.ravel()
        self.spring = model["spring_N_mm"][node[: body.owned]].ravel()
        self.free_spring = np.where(self.held[: body.owned].ravel(), 0.0, self.spring)
        self.applied = model["force_N"][node[: body.owned]].ravel()
        self.cap_load = self.caps.load
        free = ~self.held[: body.owned]
        free[self.caps.nodes] = False
        self.free = self.caps.extended(free.ravel(), ~self.caps.fixed)
        self.supports = [
            fem.dirichletbc(
                np.array(0.0),
                (3 * np.flatnonzero(self.held[:, i]) + i).astype(np.int32),
                body.V.sub(i),
            )
            for i in range(3)
        ]

    def add(self, increment: Any) -> None:
        """Add to the unknowns."""
        u, motion = self.caps.expand(increment)
        self.u.x.array[: u.size] += u
        self.u.x.scatter_forward()
        self.caps.motion = self.caps.motion + motion

    def left(self, internal: Any) -> Any:
        """Sum up the forces on the unknowns that the internal nodal forces leave unbalanced."""
        force = self.caps.reduce(self.applied - internal)
        force[force.size - self.caps.here :] += self.cap_load.ravel()[: self.caps.here]
        return np.where(self.free, force, 0.0)

    def internal(self) -> Any:
        """Nodal forces of the stresses and springs, of the nodes of this process, (3 n,)."""
        n = self.spring.size
        return assembled(self.forces, n) + self.spring * self.u.x.array[:n]

    def matrix(self) -> Any:
        """Stiffness of nodes, of PETSc or SciPy."""
        from dolfinx import fem

        if petsc() is None:
            return fem.assemble_matrix(self.stiffness, bcs=self.supports).to_scipy()
        import dolfinx.fem.petsc as fem_petsc

        # Entries find their place by blocks of three in a third of the time; multigrid wants rows.
        blocks = fem_petsc.create_matrix(self.stiffness, "baij")
        fem_petsc.assemble_matrix(blocks, self.stiffness, bcs=self.supports)
        blocks.assemble()
        A = blocks.convert("aij", petsc().Mat())
        blocks.destroy()
        return A

    def dot(self, a: Any, b: Any) -> float:
        """Inner product over all processes."""
        return float(self.body.comm.allreduce(float(a @ b)))

    def norm(self, a: Any) -> float:
        """Length over all processes."""
        return float(self.dot(a, a) ** 0.5)


class Elastic(Supported):
    """Linear elasticity."""

    def __init__(self, body: Body, model: dict[str, Any]) -> None:
        super().__init__(body, model)
        import ufl
        from dolfinx import fem

        E, nu = model["E_MPa"], model["nu"]
        lam = body.cellwise(E * nu / ((1 + nu) * (1 - 2 * nu)))
        mu = body.cellwise(E / (2 * (1 + nu)))
        u, v = ufl.TrialFunction(body.V), ufl.TestFunction(body.V)
        dx = ufl.Measure("dx", metadata={"quadrature_degree": body.quadrature})

        def eps(w: Any) -> Any:
            return ufl.sym(ufl.grad(w))

        def work(w: Any) -> Any:
            stress = lam * ufl.tr(eps(w)) * ufl.Identity(3) + 2 * mu * eps(w)
            return ufl.inner(stress, eps(v)) * dx

        self.stiffness, self.forces = fem.form(work(u)), fem.form(work(self.u))
        self.u.x.array[:] = self.given
        self.caps.motion = self.caps.given.copy()


def solve_linear(problem: Elastic, model: dict[str, Any], log: Log) -> dict[str, Any]:
    """Find the displacements at which forces balance; each correction solves what is left."""
    rtol = float(model["rtol"])
    left = problem.left(problem.internal())
    size, residual, iterations = problem.norm(left), 1.0, 0
    history, best = [1.0], np.inf
    if size == 0.0:
        return {"residual": 0.0, "iterations": 0, "history": np.zeros(1)}
    solve = (scipy_solver if petsc() is None else petsc_solver)(problem, model, log)
    for _ in range(CORRECTIONS):
        with log.stage("solve"):
            x, course = solve(left, max(0.9 * rtol / residual, 1e-14))
        problem.add(x)
        iterations += max(len(course) - 1, 1)
        left = problem.left(problem.internal())
        history += [r * residual for r in course[1:]]
        residual = problem.norm(left) / size
        if not np.isfinite(residual):
            raise Failure("diverged", "the displacements are not numbers", history)
        if residual <= rtol or residual > 0.5 * best:
            break
        best = residual
    if residual > rtol:
        raise Failure("diverged", f"stagnated at the residual {residual:.1e}", history)
    return {"residual": residual, "iterations": iterations, "history": np.array(history)}


def gathered(problem: Supported, model: dict[str, Any]) -> dict[str, Any] | None:
    """Displacements and nodal forces in the model's order, on the first process."""
    body = problem.body
    n = 3 * body.owned
    mine = (body.node[: body.owned], problem.u.x.array[:n].copy(), problem.internal())
    parts = body.comm.gather(mine)
    if parts is None:
        return None
    out: dict[str, Any] = {
        name: np.zeros_like(model["nodes"]) for name in ("displacement_mm", "internal_N")
    }
    for node, u, force in parts:
        out["displacement_mm"][node] = u.reshape(-1, 3)
        out["internal_N"][node] = force.reshape(-1, 3)
    out["cap_motion"] = problem.caps.motion / problem.caps.scale
    return out

"""A material law at the points of quadrature: part of the child process."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np

from bonekit.fem.constitutive import virgin
from bonekit.fem.dolfinx_body import Body, quadrature_rule
from bonekit.fem.dolfinx_compat import assembled, point_space, rows, version
from bonekit.fem.dolfinx_elastic import Supported


def material_law(model: dict[str, Any], cell: Any) -> Any:
    """Law of ``model.npz`` at the points of the cells of this process, (cells, 1, ...) each."""
    told = json.loads(str(model["law"]))
    kind = getattr(importlib.import_module(told["module"]), told["name"])
    arrays = {name: model[f"law_{name}"][cell][:, None] for name in told["arrays"]}
    return kind(**told["numbers"], **arrays)


def six(w: Any) -> Any:
    """Strain xx, yy, zz, xy, yz, xz with engineering shear."""
    import ufl

    e = ufl.sym(ufl.grad(w))
    shears = [2 * e[i, j] for i, j in ((0, 1), (1, 2), (0, 2))]
    return ufl.as_vector([e[0, 0], e[1, 1], e[2, 2], *shears])


class Nonlinear(Supported):
    """Forces and tangent of a law.

    ``state`` is that of the last equilibrium, ``trial`` that of the displacements `internal` saw.
    """

    def __init__(self, body: Body, model: dict[str, Any]) -> None:
        super().__init__(body, model)
        import ufl
        from dolfinx import fem

        self.jump = fem.Function(body.V)  # of prescribed displacements still to come
        self.S, self.D = (fem.Function(point_space(body, s)) for s in ((6,), (6, 6)))
        u, v = ufl.TrialFunction(body.V), ufl.TestFunction(body.V)
        dx = ufl.Measure("dx", metadata={"quadrature_degree": body.quadrature})
        self.stiffness = fem.form(ufl.inner(ufl.dot(self.D, six(u)), six(v)) * dx)
        self.forces = fem.form(ufl.inner(self.S, six(v)) * dx)
        self.onset = fem.form(ufl.inner(ufl.dot(self.D, six(self.jump)), six(v)) * dx)
        points = quadrature_rule(body)["points"]
        self.strain = fem.Expression(six(self.u), points)
        self.cells = np.arange(len(body.cell), dtype=np.int32)
        self.at = rows(self.S.function_space.dofmap.list, len(points))[: len(body.cell)]
        self.law = material_law(model, body.cell)
        self.tangent = "symmetric" if self.law.symmetric else "general"
        self.state = self.trial = virgin(np.zeros((len(body.cell), len(points), 6)))
        self.full: Any = self.applied.copy()

    def strains(self) -> Any:
        """Strain of the displacements at the points, (cells, points, 6)."""
        mesh = () if version() < (0, 7) else (self.body.mesh,)
        found = np.asarray(self.strain.eval(*mesh, self.cells))
        return found.reshape(*self.at.shape, 6)

    def internal(self) -> Any:
        """Nodal forces of the law's stresses and of the springs."""
        response = self.law.update(self.strains() - self.state.strain, self.state)
        self.trial = response.state
        self.S.x.array.reshape(-1, 6)[self.at] = response.stress_MPa
        self.D.x.array.reshape(-1, 36)[self.at] = response.tangent_MPa.reshape(*self.at.shape, 36)
        return super().internal()

    def load_jump(self, factor: float) -> Any:
        """Set the load; nodal forces that the growth of prescribed displacements asks for."""
        caps = self.caps
        self.applied, self.cap_load = factor * self.full, factor * caps.load
        jump = np.where(self.held.ravel(), factor * self.given - self.u.x.array, 0.0)
        self.cap_jump = np.where(caps.fixed, factor * caps.given - caps.motion, 0.0)
        nodes, moved = caps.displaced(self.cap_jump, ghosts=True)
        jump.reshape(-1, 3)[nodes] = moved
        self.jump.x.array[:] = jump
        n = self.spring.size
        return assembled(self.onset, n) + self.spring * jump[:n]

    def take_jump(self) -> None:
        """Move what is prescribed to the values of `load_jump`."""
        self.u.x.array[:] += self.jump.x.array
        self.caps.motion = self.caps.motion + self.cap_jump

    def point_fields(self, n_cells: int) -> dict[str, Any] | None:
        """Fields at the points in the model's order, on the first process."""
        stress = self.S.x.array.reshape(-1, 6)[self.at].copy()
        fields = {
            "point_strain": self.state.strain,
            "point_stress_MPa": stress,
            "point_plastic": self.state.plastic,
            "point_history": self.state.history,
        }
        parts = self.body.comm.gather((self.body.cell, fields))
        if parts is None:
            return None
        out = {k: np.zeros((n_cells, *field.shape[1:])) for k, field in fields.items()}
        for cell, own in parts:
            for name, values in own.items():
                out[name][cell] = values
        return out

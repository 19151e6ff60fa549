"""A material law at the points of quadrature: part of the child process."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np

from bonekit.fem.constitutive import Response, virgin
from bonekit.fem.dolfinx_bbar import Averaged, averaged
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

    ``state``, ``stress`` and ``spent``, the work of the stresses over volume, are those of the last
    equilibrium, ``trial`` the law's answer to the displacements `internal` saw.
    """

    trial: Response

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
        rule = quadrature_rule(body)
        points = rule["points"]
        self.strain, self.onset = (fem.Expression(six(w), points) for w in (self.u, self.jump))
        self.cells = np.arange(len(body.cell), dtype=np.int32)
        self.at = rows(self.S.function_space.dofmap.list, len(points))[: len(body.cell)]
        larger = fem.Expression(abs(ufl.JacobianDeterminant(body.mesh)), points)
        self.volume = self.evaluated(larger).reshape(self.at.shape) * rule["weights"]
        self.mean = Averaged(self) if bool(model["bbar"]) else None
        self.law = material_law(model, body.cell)
        self.tangent = "symmetric" if self.law.symmetric else "general"
        self.state = virgin(np.zeros((*self.at.shape, 6)))
        self.stress, self.spent = np.zeros((*self.at.shape, 6)), np.zeros(self.at.shape)
        self.full: Any = self.applied.copy()

    def evaluated(self, expression: Any) -> Any:
        """Values of an expression in the cells of this process."""
        mesh = () if version() < (0, 7) else (self.body.mesh,)
        return np.asarray(expression.eval(*mesh, self.cells))

    def strains(self, expression: Any) -> Any:
        """Strains at the points, (cells, points, 6), with the mean dilatation if so asked."""
        found = self.evaluated(expression).reshape(*self.at.shape, 6)
        return found if self.mean is None else averaged(found, self.volume)

    def set_stress(self, stress: Any) -> None:
        """Give `forces` a stress, (cells, points, 6)."""
        kept = stress if self.mean is None else averaged(stress, self.volume)
        self.S.x.array.reshape(-1, 6)[self.at] = kept

    def internal(self) -> Any:
        """Nodal forces of the law's stresses and of the springs."""
        strain = self.strains(self.strain)
        self.trial = self.law.update(strain - self.state.strain, self.state)
        self.set_stress(self.trial.stress_MPa)
        tangent = self.trial.tangent_MPa
        kept = tangent if self.mean is None else self.mean.take(tangent)
        self.D.x.array.reshape(-1, 36)[self.at] = kept.reshape(*self.at.shape, 36)
        return super().internal()

    def matrix(self) -> Any:
        """Tangent stiffness."""
        A = super().matrix()
        return A if self.mean is None else self.mean.added(A)

    def commit(self) -> None:
        """Take the displacements that `internal` saw for an equilibrium."""
        state, stress = self.trial.state, self.trial.stress_MPa
        moved = state.strain - self.state.strain
        self.spent = self.spent + 0.5 * ((self.stress + stress) * moved).sum(axis=-1)
        self.state, self.stress = state, stress

    def load_jump(self, factor: float) -> Any:
        """Set the load; nodal forces that the growth of prescribed displacements asks for."""
        caps = self.caps
        self.applied, self.cap_load = factor * self.full, factor * caps.load
        jump = np.where(self.held.ravel(), factor * self.given - self.u.x.array, 0.0)
        self.cap_jump = np.where(caps.fixed, factor * caps.given - caps.motion, 0.0)
        nodes, moved = caps.displaced(self.cap_jump, ghosts=True)
        jump.reshape(-1, 3)[nodes] = moved
        self.jump.x.array[:] = jump
        asked = self.trial.tangent_MPa @ self.strains(self.onset)[..., None]
        self.set_stress(asked[..., 0])
        n = self.spring.size
        return assembled(self.forces, n) + self.spring * jump[:n]

    def take_jump(self) -> None:
        """Move what is prescribed to the values of `load_jump`."""
        self.u.x.array[:] += self.jump.x.array
        self.caps.motion = self.caps.motion + self.cap_jump

    def point_fields(self, n_cells: int) -> dict[str, Any] | None:
        """Fields at the points in the model's order, on the first process."""
        fields = {
            "point_strain": self.state.strain,
            "point_stress_MPa": self.stress,
            "point_plastic": self.state.plastic,
            "point_history": self.state.history,
            "point_work_MPa": self.spent,
            "point_volume_mm3": self.volume,
        }
        parts = self.body.comm.gather((self.body.cell, fields))
        if parts is None:
            return None
        out = {k: np.zeros((n_cells, *field.shape[1:])) for k, field in fields.items()}
        for cell, own in parts:
            for name, values in own.items():
                out[name][cell] = values
        return out

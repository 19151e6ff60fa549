"""Bricks whose volumetric strain is the mean of the element: part of the child process.

Plastic flow keeps the volume, which a brick of 24 unknowns cannot do at eight points at a time: it
locks. With B-bar (Hughes, Int J Numer Methods Eng 15 (1980) 1413) its strain is

    e + (m - tr e) / 3 I,    m the mean of tr e over the element.

The tangent stiffness then has, beside what forms of dolfinx can say, terms of m, which is a matrix
M from displacements to elements: with P e = e - tr e / 3 I and the tangent D at the points,

    K = K(P' D P) + G M + M' F + M' H M,

G of the stresses P' D I / 3 a unit of m makes, F of the traces / 3 of D P e, H of I' D I / 9.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bonekit.fem.dolfinx_compat import function_space, petsc, point_space, rows

if TYPE_CHECKING:
    from bonekit.fem.dolfinx_points import Nonlinear

ONE = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def averaged(tensor: Any, volume: Any) -> Any:
    """Replace the trace by its mean over each element.

    The same on strains and, as it is its own transpose, on stresses.

    Parameters
    ----------
    tensor : ndarray of float, (cells, points, 6)
    volume : ndarray of float, (cells, points)
    """
    trace = tensor[..., :3].sum(axis=-1)
    mean = (trace * volume).sum(axis=1) / volume.sum(axis=1)
    out = tensor.copy()
    out[..., :3] += ((mean[:, None] - trace) / 3)[..., None]
    return out


class Averaged:
    """What the mean adds to the tangent stiffness of a `Nonlinear`."""

    def __init__(self, problem: Nonlinear) -> None:
        import ufl
        from dolfinx import fem

        from bonekit.fem.dolfinx_points import six

        self.problem, body = problem, problem.body
        self.W = function_space(body.mesh, "DG", 0)
        self.place = rows(self.W.dofmap.list, 1)[: len(body.cell), 0]
        self.left, self.right = (fem.Function(point_space(body, (6,))) for _ in range(2))
        dx = ufl.Measure("dx", metadata={"quadrature_degree": body.quadrature})
        u, v = ufl.TrialFunction(body.V), ufl.TestFunction(body.V)
        m, n = ufl.TrialFunction(self.W), ufl.TestFunction(self.W)
        self.stresses = fem.form(m * ufl.inner(self.left, six(v)) * dx)
        self.traces = fem.form(n * ufl.inner(self.right, six(u)) * dx)
        self.means = fem.form(n * ufl.div(u) * dx)
        self.stiff = np.zeros(len(body.cell))

    def take(self, tangent: Any) -> Any:
        """Keep a tangent, (cells, points, 6, 6), for `added`; return P' D P."""
        P = np.eye(6) - np.outer(ONE, ONE) / 3
        self.left.x.array.reshape(-1, 6)[self.problem.at] = tangent @ ONE @ P / 3
        self.right.x.array.reshape(-1, 6)[self.problem.at] = ONE @ tangent @ P / 3
        self.stiff = ((ONE @ tangent @ ONE) / 9 * self.problem.volume).sum(axis=1)
        return P @ tangent @ P

    def added(self, K: Any) -> Any:
        """Add the terms of the mean to K(P' D P)."""
        G, F, M = (self.assembled(form) for form in (self.stresses, self.traces, self.means))
        volume = self.problem.volume.sum(axis=1)
        if petsc() is None:
            from scipy import sparse

            H, V = (sparse.diags(self.by_place(w)) for w in (self.stiff, 1 / volume))
            M = V @ M
            return sparse.csr_matrix(K + G @ M + M.T @ (F + H @ M))
        M.diagonalScale(self.vector(M, 1 / volume))
        N = M.copy()
        N.diagonalScale(self.vector(M, self.stiff))
        N.axpy(1.0, F, structure=petsc().Mat.Structure.SAME_NONZERO_PATTERN)
        for term in (G.matMult(M), M.transposeMatMult(N)):
            K.axpy(1.0, term, structure=petsc().Mat.Structure.SUBSET_NONZERO_PATTERN)
        return K

    def assembled(self, form: Any) -> Any:
        """Matrix of a form, with what is held left out."""
        if petsc() is None:
            from dolfinx import fem

            return fem.assemble_matrix(form, bcs=self.problem.supports).to_scipy()
        import dolfinx.fem.petsc as fem_petsc

        out = fem_petsc.assemble_matrix(form, bcs=self.problem.supports)
        out.assemble()
        return out

    def by_place(self, values: Any) -> Any:
        """Values of cells in the order of the rows of this process."""
        out = np.zeros(len(values))
        out[self.place] = values
        return out

    def vector(self, matrix: Any, values: Any) -> Any:
        """PETSc vector over the rows of a matrix."""
        out = matrix.createVecLeft()
        out.array[:] = self.by_place(values)
        return out

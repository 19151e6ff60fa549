"""Systems of linear equations by PETSc, or SciPy and pyamg: part of the child process."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bonekit.fem.dolfinx_compat import function_space, petsc, rows
from bonekit.fem.dolfinx_log import Failure, Log

if TYPE_CHECKING:
    from bonekit.fem.dolfinx_elastic import Supported

BASIX_EDGES = [(2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)]  # the same in basix order
DIRECT_BELOW = 12_000  # unknowns up to which a factorisation is faster than multigrid
LEAST_SCIPY_AMG = 60_000  # unknowns from which SciPy's factorisation takes too much memory
# Smoothed aggregation of the rigid motions. A threshold, SOR, blocks and less aggressive coarsening
# made the set-up dearer and, at moduli that differ by 1e3, the answer NaN: aggregates of few nodes
# leave zeros on the diagonal, which only point Jacobi passes over.
GAMG = {
    "pc_type": "gamg",
    "pc_gamg_type": "agg",
    "pc_gamg_threshold": "0.0",
    "pc_gamg_coarse_eq_limit": "1000",  # a fifth fewer iterations than 50
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_pc_type": "jacobi",
}
OPTIONS = {
    "cg": {"ksp_type": "cg", "ksp_norm_type": "unpreconditioned", **GAMG},
    # Elements of ten nodes, above those of four: a third of the time of aggregation alone.
    "quadratic": {
        "ksp_type": "cg",
        "ksp_norm_type": "unpreconditioned",
        "pc_type": "mg",
        "mg_levels_ksp_type": "chebyshev",
        "mg_levels_ksp_max_it": "1",
        "mg_levels_pc_type": "jacobi",
        "mg_coarse_ksp_type": "richardson",
        "mg_coarse_ksp_max_it": "2",
        "mg_coarse_ksp_norm_type": "none",
        **{f"mg_coarse_{name}": value for name, value in GAMG.items()},
    },
    "direct": {
        "ksp_type": "preonly",
        "pc_type": "cholesky",
        "pc_factor_mat_solver_type": "mumps",
    },
}
# Over these, for tangents that are not symmetric.
GENERAL = {
    "cg": {"ksp_type": "gmres", "ksp_norm_type": "default", "ksp_gmres_restart": "100"},
    "direct": {"pc_type": "lu"},
}
Solve = Callable[[Any, float], tuple[Any, list[float]]]


def petsc_solver(problem: Supported, model: dict[str, Any], log: Log) -> Solve:
    """Conjugate gradients with multigrid, or a factorisation, by PETSc."""
    # Products of matrices that look for equal rows take up to twice the time, whatever the element.
    petsc().Options()["mat_no_inode"] = "true"
    with log.stage("assembly"):
        A = supported_matrix(problem)
    method = chosen(model, A.getSize()[0])
    with log.stage("set-up"):
        ksp = krylov_solver(problem, A, method, model)
    log.write(method=f"PETSc {method}", unknowns=A.getSize()[0])

    def solve(b: Any, rtol: float) -> tuple[Any, list[float]]:
        x = np.zeros_like(b)
        right, left = (petsc().Vec().createWithArray(w, comm=problem.body.comm) for w in (b, x))
        history: list[float] = []
        size = max(right.norm(), 1e-300)

        def monitor(_: Any, n: int, residual: float) -> None:
            history.append(residual / size)
            log.write(iteration=n, residual=residual / size)

        if method == "cg":
            ksp.setMonitor(monitor)
        ksp.setTolerances(rtol=rtol, atol=1e-300, max_it=int(model["max_iterations"]))
        ksp.solve(right, left)
        reason = int(ksp.getConvergedReason())
        if reason <= 0 and method == "cg" and problem.tangent == "symmetric":  # it softens
            history.clear()
            ksp.setType("gmres")
            ksp.setNormType(petsc().KSP.NormType.DEFAULT)
            ksp.solve(right, left)
            reason = int(ksp.getConvergedReason())
        ksp.cancelMonitor()
        if reason <= 0:
            raise Failure("diverged", f"PETSc ended with {reason_name(reason)}", history)
        return x, history

    return solve


def supported_matrix(problem: Supported) -> Any:
    """Stiffness of the body on its springs and caps."""
    A = problem.matrix()
    if problem.body.comm.allreduce(bool(problem.spring.any())):
        diagonal = A.getDiagonal()
        diagonal.array[:] += problem.free_spring
        A.setDiagonal(diagonal)
    return with_caps(A, problem.caps) if problem.caps.n else A


def krylov_solver(problem: Supported, A: Any, method: str, model: dict[str, Any]) -> Any:
    """Set up PETSc's solver by our options and those of the user."""
    if problem.tangent == "definite":
        A.setOption(petsc().Mat.Option.SPD, True)
    elif problem.tangent == "symmetric":
        A.setOption(petsc().Mat.Option.SYMMETRIC, True)
    A.setNearNullSpace(rigid_motions(problem.body.V, problem.caps))
    ksp = petsc().KSP().create(problem.body.comm)
    ksp.setOptionsPrefix("bonekit_")
    two_levels = method == "cg" and model["cells"].shape[1] == 10
    # The fastest triple product of one process, and of several: others take 1.5 to 8 times.
    petsc().Options()["matptap_via"] = "rap" if problem.body.comm.size == 1 else "nonscalable"
    options = petsc().Options("bonekit_")
    ours = OPTIONS["quadratic" if two_levels else method]
    if problem.tangent == "general":
        ours = {**ours, **GENERAL[method]}
    for name, value in {**ours, **json.loads(str(model["options"]))}.items():
        options[name] = value
    ksp.setOperators(A)
    if two_levels:
        add_linear_level(ksp.getPC(), A, problem)
    ksp.setFromOptions()
    ksp.setUp()
    return ksp


def reason_name(reason: int) -> str:
    """Name of a reason to stop, such as DIVERGED_MAX_IT (-3)."""
    names = vars(petsc().KSP.ConvergedReason).items()
    return next((f"{n} ({reason})" for n, v in names if v == reason), str(reason))


def add_linear_level(pc: Any, A: Any, problem: Supported) -> None:
    """Put elements of four nodes below those of ten, by Galerkin's product."""
    P, coarse = interpolation(problem)
    below = projected(A, P)
    if problem.tangent == "definite":
        below.setOption(petsc().Mat.Option.SPD, True)
    below.setNearNullSpace(rigid_motions(coarse, problem.caps))
    pc.setType("mg")
    pc.setMGLevels(2)
    pc.setMGInterpolation(1, P)
    pc.getMGCoarseSolve().setOperators(below, below)


def projected(A: Any, P: Any) -> Any:
    """Galerkin's product P' A P, with ones on the diagonal for what is held."""
    below = A.ptap(P)
    diagonal = below.getDiagonal()
    diagonal.array[diagonal.array == 0] = 1.0
    below.setDiagonal(diagonal)
    below.setBlockSize(3)
    return below


def with_caps(A: Any, caps: Any) -> Any:
    """Stiffness of the unknowns of `Caps` from that of the nodes."""
    first, unknowns = A.getOwnershipRange()[0], A.getSize()[0]
    kind, n = petsc().IntType, 3 * caps.owned
    starts, columns, values = caps.rows(first, unknowns)
    sizes = (n, unknowns), (n + caps.here, unknowns + 6 * caps.n)
    csr = (starts.astype(kind), columns.astype(kind), values)
    return projected(A, petsc().Mat().createAIJ(sizes, bsize=3, csr=csr, comm=caps.comm))


def interpolation(problem: Supported) -> tuple[Any, Any]:
    """Matrix from unknowns at corners to those at all ten nodes, and the corners' space.

    A middle has the mean of its ends. What is held is zero on both sides, and so are the nodes of
    caps; the motions of caps stay what they are.
    """
    body, caps = problem.body, problem.caps
    held = problem.held.copy()
    held[caps.ghosted] = True
    coarse = function_space(body.mesh, "Lagrange", 1, 3)
    fine, corner = rows(body.V.dofmap.list, 10), rows(coarse.dofmap.list, 4)
    ends = np.zeros((len(held), 2), dtype=np.int32)
    ends[fine[:, :4]] = corner[..., None]
    for middle, edge in enumerate(BASIX_EDGES, 4):
        ends[fine[:, middle]] = corner[:, edge]
    maps = body.V.dofmap.index_map, coarse.dofmap.index_map
    there = np.arange(maps[1].size_local + maps[1].num_ghosts, dtype=np.int32)
    held_below = np.zeros((len(there), 3), dtype=bool)
    held_below[corner] = held[fine[:, :4]]

    number = np.asarray(maps[1].local_to_global(there))
    ends = ends[: body.owned]
    ends = np.take_along_axis(ends, np.argsort(number[ends], axis=1), axis=1)
    free = ~held[: body.owned, :, None] & ~held_below[ends].transpose(0, 2, 1)
    single = (ends[:, 0] == ends[:, 1])[:, None, None]
    weight = np.where(single, 1.0, 0.5) * free
    column = 3 * number[ends][:, None, :] + np.arange(3)[:, None]
    kept = np.broadcast_to(~single | [True, False], column.shape)
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=2).ravel())])
    kind, own = petsc().IntType, caps.here
    sizes = tuple((3 * m.size_local + own, 3 * m.size_global + 6 * caps.n) for m in maps)
    starts = np.concatenate([starts, starts[-1] + 1 + np.arange(own)])
    columns = np.concatenate([column[kept], 3 * maps[1].size_global + np.arange(own)])
    weights = np.concatenate([weight[kept], np.ones(own)])
    csr = (starts.astype(kind), columns.astype(kind), weights)
    return petsc().Mat().createAIJ(sizes, bsize=3, csr=csr, comm=body.comm), coarse


def rigid_motions(space: Any, caps: Any) -> Any:
    """Make translations and rotations, orthonormal, as PETSc's near-nullspace."""
    comm = space.mesh.comm
    motions = motions_of(space, caps)
    vectors = [petsc().Vec().createWithArray(m.ravel().copy(), bsize=3, comm=comm) for m in motions]
    for i, vector in enumerate(vectors):
        for other in vectors[:i] * 2:  # Gram-Schmidt, twice is enough
            vector.axpy(-vector.dot(other), other)
        vector.normalize()
    return petsc().NullSpace().create(vectors=vectors, comm=comm)


def motions_of(space: Any, caps: Any) -> Any:
    """Unknowns of translations and rotations about the centre, (6, unknowns)."""
    owned = space.dofmap.index_map.size_local
    x = space.tabulate_dof_coordinates()[:owned]
    centre = space.mesh.comm.allreduce(x.sum(axis=0)) / space.mesh.comm.allreduce(owned)

    def rigid(at: Any) -> Any:
        turns = [np.cross(axis, at - centre) for axis in np.eye(3)]
        return np.stack([*(np.broadcast_to(axis, at.shape) for axis in np.eye(3)), *turns])

    turn = np.zeros((6, caps.n, 3))
    turn[3:] = np.eye(3)[:, None] * caps.length[:, None]
    of_caps = np.concatenate([rigid(caps.pivot), turn], axis=2).reshape(6, -1)
    return np.concatenate([rigid(x).reshape(6, -1), of_caps[:, : caps.here]], axis=1)


def scipy_solver(problem: Supported, model: dict[str, Any], log: Log) -> Solve:
    """Conjugate gradients with pyamg, or SciPy's factorisation, where there is no PETSc."""
    from scipy import sparse

    body = problem.body
    if body.comm.size > 1:
        raise Failure("processes", "without petsc4py the solver runs in one process only")
    with log.stage("assembly"):
        A = sparse.csr_matrix(problem.matrix()) + sparse.diags(problem.free_spring)
        if problem.caps.n:
            starts, columns, values = problem.caps.rows(0, len(problem.free_spring))
            T = sparse.csr_matrix((values, columns, starts), (A.shape[0], len(problem.free)))
            A = T.T @ A @ T
            A = sparse.csr_matrix(A + sparse.diags(np.where(A.diagonal() == 0, 1.0, 0.0)))
    method = chosen(model, A.shape[0])
    with log.stage("set-up"):
        solve = scipy_factor(A) if method == "direct" else pyamg_solver(A, problem, model)
    log.write(method=f"SciPy {method}", unknowns=A.shape[0])
    return solve


def scipy_factor(A: Any) -> Solve:
    """SuperLU."""
    from scipy.sparse.linalg import splu

    factor = splu(A.tocsc())
    return lambda b, rtol: (factor.solve(b), [])


def pyamg_solver(A: Any, problem: Any, model: dict[str, Any]) -> Solve:
    """Smoothed aggregation of the rigid motions, with symmetric block Gauss-Seidel."""
    try:
        import pyamg
    except ImportError:
        if A.shape[0] < LEAST_SCIPY_AMG:
            return scipy_factor(A)
        raise Failure(
            "packages",
            f"{A.shape[0]} unknowns without petsc4py need pyamg, which {sys.executable} lacks: "
            f"{sys.executable} -m pip install pyamg",
        ) from None
    B = motions_of(problem.body.V, problem.caps).T
    smoother = ("block_gauss_seidel", {"sweep": "symmetric"})
    levels = pyamg.smoothed_aggregation_solver(
        A.tobsr((3, 3)), B=B, strength=("symmetric", {"theta": 0.0}),
        presmoother=smoother, postsmoother=smoother,
    )  # fmt: skip

    def solve(b: Any, rtol: float) -> tuple[Any, list[float]]:
        most, history = int(model["max_iterations"]), list[float]()
        accelerator = "cg" if problem.tangent == "definite" else "gmres"
        x = levels.solve(b, tol=rtol, accel=accelerator, maxiter=most, residuals=history)
        relative = [float(r) / max(float(np.linalg.norm(b)), 1e-300) for r in history]
        if not np.linalg.norm(b - A @ x) <= 10 * rtol * np.linalg.norm(b):
            raise Failure(
                "diverged", f"pyamg stopped after {len(history) - 1} iterations", relative
            )
        return x, relative

    return solve


def chosen(model: dict[str, Any], unknowns: int) -> str:
    """Choose the method, "cg" or "direct"."""
    asked = str(model["method"])
    return asked if asked != "auto" else "direct" if unknowns <= DIRECT_BELOW else "cg"

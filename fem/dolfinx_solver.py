"""Linear elasticity by dolfinx and PETSc: the child process of `bonekit.fem.conforming`.

Runs by itself in an interpreter that has dolfinx (0.5 to 0.11), numpy and either petsc4py or SciPy;
it imports nothing of bonekit, which needs not be installed there:

    python3 dolfinx_solver.py folder
    mpirun -n 2 python3 dolfinx_solver.py folder

reads ``folder/model.npz`` and writes ``folder/result.npz``, at once and complete; ``log.jsonl``
grows a line per stage and iteration. What goes wrong on purpose is told in ``failure.json`` and by
exit status 3. `bonekit.fem.exchange` describes the arrays.

Only meshes, spaces, forms and assembly are dolfinx's, of which the calls used here exist in all
those versions but for what `function_space`, `create_mesh` and `rows` sort out.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Place of each basix node in VTK and Abaqus order, by the number of nodes of the element.
BASIX = {
    4: [0, 1, 2, 3],
    8: [0, 1, 3, 2, 4, 5, 7, 6],
    10: [0, 1, 2, 3, 9, 8, 5, 7, 6, 4],
}
EDGES = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]  # whose middles are nodes 4 to 9
BASIX_EDGES = [(2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)]  # the same in basix order
DIRECT_BELOW = 12_000  # unknowns up to which a factorisation is faster than multigrid
LEAST_SCIPY_AMG = 60_000  # unknowns from which SciPy's factorisation takes too much memory
CORRECTIONS = 4  # solves at most, each of what the one before has left
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


class Failure(Exception):  # noqa: N818
    """A failure that is understood: its kind, what to say, and the residuals so far."""

    def __init__(self, kind: str, text: str, history: list[float] | None = None) -> None:
        super().__init__(text)
        self.kind, self.text, self.history = kind, text, history or []


class Log:
    """Lines of ``log.jsonl``, written by the first process."""

    def __init__(self, folder: Path, comm: Any) -> None:
        self.comm, self.seconds = comm, dict[str, float]()
        self.file = (folder / "log.jsonl").open("w") if comm.rank == 0 else None

    def write(self, **fields: Any) -> None:
        """Write a line at once, so that a crash loses none."""
        if self.file is not None:
            self.file.write(json.dumps(fields) + "\n")
            self.file.flush()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self.write(begin=name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.write(stage=name, s=round(self.seconds[name], 3))


# ---------------------------------------------------------------------------------------- dolfinx


@cache
def version() -> tuple[int, ...]:
    """Version of dolfinx, such as (0, 5)."""
    import dolfinx

    return tuple(int(part) for part in dolfinx.__version__.split(".")[:2])


@cache
def petsc() -> Any:
    """Import PETSc; None if dolfinx came without it, or it is switched off for a test."""
    if os.environ.get("BONEKIT_PETSC", "yes") == "no":
        return None
    try:
        from petsc4py import PETSc
    except ImportError:
        return None
    return PETSc


def create_mesh(comm: Any, cells: Any, nodes: Any, cell: str, degree: int) -> Any:
    """Mesh of nodes and of cells in basix order, each process with its part of the rows."""
    import ufl
    from dolfinx import mesh

    options: dict[str, Any] = {}
    if version() >= (0, 7):
        import basix.ufl

        domain = ufl.Mesh(basix.ufl.element("Lagrange", cell, degree, shape=(3,)))
        options["e" if version() >= (0, 8) else "domain"] = domain
    else:
        kind = ufl.Cell(cell, geometric_dimension=3)
        options["domain"] = ufl.Mesh(ufl.VectorElement("Lagrange", kind, degree))
    if version() < (0, 6):  # later versions have no ghosts unless asked
        options["ghost_mode"] = mesh.GhostMode.none
        if comm.size == 1:  # a quarter of the time to make a mesh went into its neighbours
            options["partitioner"] = together
    return mesh.create_mesh(comm, cells, x=nodes, **options)


def together(comm: Any, parts: int, dim: int, cells: Any, ghosts: Any) -> Any:
    """All cells to the only process."""
    from dolfinx.cpp.graph import AdjacencyList_int32

    return AdjacencyList_int32(np.zeros((cells.num_nodes, 1), dtype=np.int32))


def function_space(mesh: Any, family: str, degree: int, components: int = 0) -> Any:
    """Space of scalars, or of vectors."""
    from dolfinx import fem

    if version() >= (0, 7):
        shape = (family, degree, (components,)) if components else (family, degree)
        return fem.functionspace(mesh, shape)
    make = fem.VectorFunctionSpace if components else fem.FunctionSpace
    return make(mesh, (family, degree))


def rows(table: Any, n: int) -> Any:
    """Node numbers of each cell, (cells, n), of a dofmap."""
    return (table if isinstance(table, np.ndarray) else np.asarray(table.array)).reshape(-1, n)


class Body:
    """A mesh with its displacements, and where they are in the arrays of the model."""

    def __init__(self, comm: Any, model: dict[str, Any]) -> None:
        self.comm, cells = comm, model["cells"]
        kind = "hexahedron" if cells.shape[1] == 8 else "tetrahedron"
        degree = 2 if cells.shape[1] == 10 else 1
        curved = degree == 2 and is_curved(model["nodes"], cells)
        corners = cells if curved or degree == 1 else cells[:, :4]
        self.mesh = create_mesh(
            comm,
            share(comm, corners[:, BASIX[corners.shape[1]]]),
            share(comm, model["nodes"]),
            kind,
            degree if curved else 1,
        )
        self.V = function_space(self.mesh, "Lagrange", degree, 3)
        self.owned = self.V.dofmap.index_map.size_local  # nodes; those of others come after
        self.cell = np.asarray(self.mesh.topology.original_cell_index)
        dofs = rows(self.V.dofmap.list, cells.shape[1])
        self.node = np.zeros(self.owned + self.V.dofmap.index_map.num_ghosts, dtype=np.int64)
        self.node[dofs] = cells[self.cell][:, BASIX[cells.shape[1]]]
        # Exact for the stiffness of straight elements and of bricks (2 x 2 x 2 points); on curved
        # ones, exact for the nodal forces of a constant stress.
        self.quadrature = 3 if kind == "hexahedron" or curved else 2 * (degree - 1)

    def cellwise(self, values: Any) -> Any:
        """Piecewise constant function of one value per cell of the model."""
        from dolfinx import fem

        W = function_space(self.mesh, "DG", 0)
        out = fem.Function(W)
        out.x.array[rows(W.dofmap.list, 1)[: len(self.cell), 0]] = values[self.cell]
        return out


def share(comm: Any, array: Any) -> Any:
    """Rows of an array that this process hands over."""
    bounds = [len(array) * r // comm.size for r in (comm.rank, comm.rank + 1)]
    kept = np.int64 if array.dtype.kind == "i" else np.float64
    return np.ascontiguousarray(array[bounds[0] : bounds[1]], dtype=kept)


def is_curved(nodes: Any, cells: Any) -> bool:
    """Whether a middle node lies off the middle of its edge."""
    a, b = np.array(EDGES).T
    for part in np.array_split(cells, max(1, len(cells) // 100_000)):
        ends = nodes[part[:, a]], nodes[part[:, b]]
        bow = np.abs(nodes[part[:, 4:]] - (ends[0] + ends[1]) / 2)
        if bow.max() > 1e-9 * np.abs(ends[0] - ends[1]).max():
            return True
    return False


class Elastic:
    """Forces and stiffness of linear elasticity with prescribed displacements and springs."""

    def __init__(self, body: Body, model: dict[str, Any]) -> None:
        import ufl
        from dolfinx import fem

        self.body, node = body, body.node
        E, nu = model["E_MPa"], model["nu"]
        lam = body.cellwise(E * nu / ((1 + nu) * (1 - 2 * nu)))
        mu = body.cellwise(E / (2 * (1 + nu)))
        self.u = fem.Function(body.V)
        u, v = ufl.TrialFunction(body.V), ufl.TestFunction(body.V)
        dx = ufl.Measure("dx", metadata={"quadrature_degree": body.quadrature})

        def eps(w: Any) -> Any:
            return ufl.sym(ufl.grad(w))

        def work(w: Any) -> Any:
            stress = lam * ufl.tr(eps(w)) * ufl.Identity(3) + 2 * mu * eps(w)
            return ufl.inner(stress, eps(v)) * dx

        self.stiffness, self.forces = fem.form(work(u)), fem.form(work(self.u))
        self.held = model["fixed"][node]
        self.spring = model["spring_N_mm"][node[: body.owned]].ravel()
        self.applied = model["force_N"][node[: body.owned]].ravel()
        self.free = ~self.held[: body.owned].ravel()
        self.supports = [
            fem.dirichletbc(
                np.array(0.0),
                (3 * np.flatnonzero(self.held[:, i]) + i).astype(np.int32),
                body.V.sub(i),
            )
            for i in range(3)
        ]
        start = np.where(self.held, model["fixed_mm"][node], 0.0)
        self.u.x.array[:] = start.ravel()

    def add(self, increment: Any) -> None:
        """Add to the displacements of the nodes of this process."""
        self.u.x.array[: increment.size] += increment
        self.u.x.scatter_forward()

    def internal(self) -> Any:
        """Nodal forces of the stresses and springs, of the nodes of this process, (3 n,)."""
        return (
            assembled(self.forces, self.spring.size)
            + self.spring * self.u.x.array[: self.spring.size]
        )


def assembled(form: Any, n: int) -> Any:
    """Vector of a form, the entries of this process."""
    from dolfinx import fem

    if petsc() is None:  # one process only: nothing to add up
        return np.array(fem.assemble_vector(form).array[:n])
    import dolfinx.fem.petsc as fem_petsc

    b = fem_petsc.assemble_vector(form)
    b.ghostUpdate(addv=petsc().InsertMode.ADD, mode=petsc().ScatterMode.REVERSE)
    out = np.array(b.array[:n])
    b.destroy()
    return out


# ------------------------------------------------------------------------------------ linear solve


Solve = Callable[[Any, float], tuple[Any, list[float]]]


def petsc_solver(problem: Elastic, model: dict[str, Any], log: Log) -> Solve:
    """Conjugate gradients with multigrid, or a factorisation, by PETSc."""
    import dolfinx.fem.petsc as fem_petsc

    body = problem.body
    # Products of matrices that look for equal rows take up to twice the time, whatever the element.
    petsc().Options()["mat_no_inode"] = "true"
    with log.stage("assembly"):
        A = fem_petsc.assemble_matrix(problem.stiffness, bcs=problem.supports)
        A.assemble()
        if problem.body.comm.allreduce(bool(problem.spring.any())):
            diagonal = A.getDiagonal()
            diagonal.array[:] += np.where(problem.free, problem.spring, 0.0)
            A.setDiagonal(diagonal)
    method = chosen(model, A.getSize()[0])
    with log.stage("set-up"):
        A.setOption(petsc().Mat.Option.SPD, True)
        A.setNearNullSpace(rigid_motions(body.V))
        ksp = petsc().KSP().create(body.comm)
        ksp.setOptionsPrefix("bonekit_")
        two_levels = method == "cg" and model["cells"].shape[1] == 10
        if body.comm.size == 1:  # the fastest triple product of one process: a third of the set-up
            petsc().Options()["matptap_via"] = "rap"
        options = petsc().Options("bonekit_")
        ours = OPTIONS["quadratic" if two_levels else method]
        for name, value in {**ours, **json.loads(str(model["options"]))}.items():
            options[name] = value
        ksp.setOperators(A)
        if two_levels:
            add_linear_level(ksp.getPC(), A, problem)
        ksp.setFromOptions()
        ksp.setUp()
    log.write(method=f"PETSc {method}", unknowns=A.getSize()[0])

    def solve(b: Any, rtol: float) -> tuple[Any, list[float]]:
        x = np.zeros_like(b)
        right, left = (petsc().Vec().createWithArray(w, comm=body.comm) for w in (b, x))
        history: list[float] = []
        size = max(right.norm(), 1e-300)

        def monitor(_: Any, n: int, residual: float) -> None:
            history.append(residual / size)
            log.write(iteration=n, residual=residual / size)

        if method == "cg":
            ksp.setMonitor(monitor)
        ksp.setTolerances(rtol=rtol, atol=1e-300, max_it=int(model["max_iterations"]))
        ksp.solve(right, left)
        ksp.cancelMonitor()
        reason = int(ksp.getConvergedReason())
        if reason <= 0:
            raise Failure("diverged", f"PETSc ended with {reason_name(reason)}", history)
        return x, history

    return solve


def reason_name(reason: int) -> str:
    """Name of a reason to stop, such as DIVERGED_MAX_IT (-3)."""
    names = vars(petsc().KSP.ConvergedReason).items()
    return next((f"{n} ({reason})" for n, v in names if v == reason), str(reason))


def add_linear_level(pc: Any, A: Any, problem: Elastic) -> None:
    """Put elements of four nodes below those of ten, by Galerkin's product."""
    P, coarse = interpolation(problem.body, problem.held)
    below = A.ptap(P)
    diagonal = below.getDiagonal()
    diagonal.array[diagonal.array == 0] = 1.0  # held
    below.setDiagonal(diagonal)
    below.setBlockSize(3)
    below.setOption(petsc().Mat.Option.SPD, True)
    below.setNearNullSpace(rigid_motions(coarse))
    pc.setType("mg")
    pc.setMGLevels(2)
    pc.setMGInterpolation(1, P)
    pc.getMGCoarseSolve().setOperators(below, below)


def interpolation(body: Body, held: Any) -> tuple[Any, Any]:
    """Matrix from displacements of corners to those of all ten nodes, and the corners' space.

    A middle has the mean of its ends. What is held is zero on both sides.
    """
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
    kind = petsc().IntType
    sizes = tuple((3 * m.size_local, 3 * m.size_global) for m in maps)
    csr = (starts.astype(kind), column[kept].astype(kind), weight[kept])
    return petsc().Mat().createAIJ(sizes, bsize=3, csr=csr, comm=body.comm), coarse


def rigid_motions(space: Any) -> Any:
    """Make translations and rotations, orthonormal, as PETSc's near-nullspace."""
    comm = space.mesh.comm
    x = about_centre(space)
    motions = np.zeros((6, len(x), 3))
    for axis in range(3):
        motions[axis, :, axis] = 1.0
        motions[3 + axis] = np.cross(np.eye(3)[axis], x)
    vectors = [petsc().Vec().createWithArray(m.ravel().copy(), bsize=3, comm=comm) for m in motions]
    for i, vector in enumerate(vectors):
        for other in vectors[:i] * 2:  # Gram-Schmidt, twice is enough
            vector.axpy(-vector.dot(other), other)
        vector.normalize()
    return petsc().NullSpace().create(vectors=vectors, comm=comm)


def about_centre(space: Any) -> Any:
    """Coordinates of the nodes of this process about a centre common to all."""
    owned, comm = space.dofmap.index_map.size_local, space.mesh.comm
    x = space.tabulate_dof_coordinates()[:owned]
    return x - comm.allreduce(x.sum(axis=0)) / comm.allreduce(owned)


def scipy_solver(problem: Elastic, model: dict[str, Any], log: Log) -> Solve:
    """Conjugate gradients with pyamg, or SciPy's factorisation, where there is no PETSc."""
    from dolfinx import fem
    from scipy import sparse

    body = problem.body
    if body.comm.size > 1:
        raise Failure("processes", "without petsc4py the solver runs in one process only")
    with log.stage("assembly"):
        A = fem.assemble_matrix(problem.stiffness, bcs=problem.supports).to_scipy()
        A = sparse.csr_matrix(A) + sparse.diags(np.where(problem.free, problem.spring, 0.0))
    method = chosen(model, A.shape[0])
    with log.stage("set-up"):
        solve = scipy_factor(A) if method == "direct" else pyamg_solver(A, body, model, log)
    log.write(method=f"SciPy {method}", unknowns=A.shape[0])
    return solve


def scipy_factor(A: Any) -> Solve:
    """SuperLU."""
    from scipy.sparse.linalg import splu

    factor = splu(A.tocsc())
    return lambda b, rtol: (factor.solve(b), [])


def pyamg_solver(A: Any, body: Body, model: dict[str, Any], log: Log) -> Solve:
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
    x = about_centre(body.V)
    eye = [np.broadcast_to(row, x.shape) for row in np.eye(3)]
    B = np.stack([w.ravel() for w in [*eye, *(np.cross(row, x) for row in np.eye(3))]], axis=1)
    smoother = ("block_gauss_seidel", {"sweep": "symmetric"})
    levels = pyamg.smoothed_aggregation_solver(
        A.tobsr((3, 3)), B=B, strength=("symmetric", {"theta": 0.0}),
        presmoother=smoother, postsmoother=smoother,
    )  # fmt: skip

    def solve(b: Any, rtol: float) -> tuple[Any, list[float]]:
        most, history = int(model["max_iterations"]), list[float]()
        x = levels.solve(b, tol=rtol, accel="cg", maxiter=most, residuals=history)
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


# ---------------------------------------------------------------------------------------- the run


def solve_linear(problem: Elastic, model: dict[str, Any], log: Log) -> dict[str, Any]:
    """Find the displacements at which forces balance; each correction solves what is left."""
    comm, rtol = problem.body.comm, float(model["rtol"])

    def norm(w: Any) -> float:
        return float(np.sqrt(comm.allreduce(float(w @ w))))

    left = np.where(problem.free, problem.applied - problem.internal(), 0.0)
    size, residual, iterations = norm(left), 1.0, 0
    history, best = [1.0], np.inf
    if size == 0.0:
        return {"residual": 0.0, "iterations": 0, "history": np.zeros(1)}
    solve = (scipy_solver if petsc() is None else petsc_solver)(problem, model, log)
    for _ in range(CORRECTIONS):
        with log.stage("solve"):
            x, course = solve(left, max(0.9 * rtol / residual, 1e-14))
        problem.add(x)
        iterations += max(len(course) - 1, 1)
        left = np.where(problem.free, problem.applied - problem.internal(), 0.0)
        history += [r * residual for r in course[1:]]
        residual = norm(left) / size
        if not np.isfinite(residual):
            raise Failure("diverged", "the displacements are not numbers", history)
        if residual <= rtol or residual > 0.5 * best:
            break
        best = residual
    if residual > rtol:
        raise Failure("diverged", f"stagnated at the residual {residual:.1e}", history)
    return {"residual": residual, "iterations": iterations, "history": np.array(history)}


def gathered(problem: Elastic, model: dict[str, Any]) -> dict[str, Any] | None:
    """Displacements and nodal forces in the model's order, on the first process."""
    body = problem.body
    n = 3 * body.owned
    mine = (body.node[: body.owned], problem.u.x.array[:n].copy(), problem.internal())
    parts = body.comm.gather(mine)
    if parts is None:
        return None
    out = {name: np.zeros_like(model["nodes"]) for name in ("displacement_mm", "internal_N")}
    for node, u, force in parts:
        out["displacement_mm"][node] = u.reshape(-1, 3)
        out["internal_N"][node] = force.reshape(-1, 3)
    return out


def quadrature_rule(body: Body) -> dict[str, Any]:
    """Points and weights that the forms were integrated with, on the reference element."""
    import basix

    kind = getattr(basix.CellType, body.mesh.topology.cell_name())
    points, weights = basix.make_quadrature(kind, body.quadrature)
    return {"points": points, "weights": weights}


def peak_memory(comm: Any) -> float:
    """Return the peak in MB of all processes together; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return float(comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale))


def run(folder: Path, comm: Any, log: Log) -> None:
    """Solve the model in a folder."""
    with log.stage("read"), np.load(folder / "model.npz", allow_pickle=False) as file:
        model = {name: file[name] for name in file.files}
    with log.stage("mesh"):
        body = Body(comm, model)
    with log.stage("forms"):
        problem = Elastic(body, model)
    numbers = solve_linear(problem, model, log)
    with log.stage("gather"):
        fields = gathered(problem, model)
        peak = peak_memory(comm)
    if fields is not None:
        facts = {"sha256": model["sha256"], "peak_MB": peak, "seconds": json.dumps(log.seconds)}
        write(folder / "result.npz", {**fields, **numbers, **quadrature_rule(body), **facts})


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Write beside and move: a crash leaves what was there before."""
    with path.with_suffix(".part").open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".part").replace(path)


def main(folder: Path) -> int:
    """Run, and tell a failure in ``failure.json``."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    log = Log(folder, comm)
    try:
        with log.stage("import"):
            log.write(dolfinx=version(), petsc=petsc() is not None, processes=comm.size)
        run(folder, comm, log)
    except Failure as failure:  # on all processes alike
        told = {"kind": failure.kind, "text": failure.text, "history": failure.history}
        if comm.rank == 0:
            (folder / "failure.json").write_text(json.dumps(told))
        return 3
    except BaseException as error:
        memory = isinstance(error, MemoryError) or getattr(error, "ierr", 0) == 55
        told = {"kind": "memory" if memory else "error", "text": traceback.format_exc()}
        (folder / "failure.json").write_text(json.dumps({**told, "history": []}))
        if comm.size > 1:
            comm.Abort(3)  # the others wait for this one
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

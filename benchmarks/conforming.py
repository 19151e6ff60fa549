"""Time the conforming engine beside CalculiX, with its two solvers for large models.

The problem: a box of tetrahedra with a stiff shell, a soft noisy core and a hole of 10 MPa, moduli
that differ by 1e3 and more, pressed by 1 %. Timed is all from arrays to arrays: files, start of the
processes, solution, element stresses; of CalculiX from its deck to its results.

CalculiX's iteration stops where CalculiX likes, so the engine runs twice: to 1e-8, and to what
CalculiX reached. Of all of them `out_of_balance` takes the residual from the displacements, those
of CalculiX as its text has them, with seven digits. The runs of a pair follow each other, as the
machine may be shared with other work, unless `--only` asked for some of them; the seconds of its
cores are there too.

    python benchmarks/conforming.py --json benchmarks/results/conforming.json
    python benchmarks/conforming.py --voxel 75 --sizes --json benchmarks/results/bricks.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from bonekit.fem.conforming import solve_conforming
from bonekit.fem.decks import write_calculix
from bonekit.fem.interpreters import choose
from bonekit.fem.model import Constraint, Mesh, Model
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.quadrature import rule
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

mpl.use("Agg")
import matplotlib.pyplot as plt

Row = dict[str, Any]
NOTHING: Row = {}
NU = 0.3
BRICKS = {1: (22, 38, 54), 2: (11, 19, 27)}  # along an edge: 0.1, 0.5 and 1.5 million unknowns
ITERATIVE, DIRECT = "ITERATIVE CHOLESKY", "SPOOLES"


def box(n: int, degree: int) -> Model[Mesh]:
    """n x n x 3 n bricks of edge 1 / n in six tetrahedra each, of four nodes or ten."""
    size = np.array([n, n, 3 * n])
    ijk = np.stack(np.meshgrid(*[np.arange(k + 1) for k in size], indexing="ij"), -1).reshape(-1, 3)
    cells = np.stack(np.meshgrid(*[np.arange(k) for k in size], indexing="ij"), -1).reshape(-1, 3)
    parts = []
    for order in permutations(range(3)):
        path = np.cumsum(np.vstack([np.zeros(3, int), np.eye(3, dtype=int)[list(order)]]), axis=0)
        rows = np.ravel_multi_index(tuple(np.moveaxis(cells[:, None] + path, -1, 0)), size + 1)
        odd = np.linalg.det(np.diff(path, axis=0)) < 0
        parts.append(rows[:, [0, 2, 1, 3]] if odd else rows)
    elements = np.concatenate(parts)
    rng = np.random.default_rng(0)
    inner = np.all((ijk > 0) & (ijk < size), axis=1)[:, None]
    nodes = (ijk + inner * rng.uniform(-0.2, 0.2, ijk.shape)) / n
    if degree == 2:
        made = quadratic(nodes, elements)
        nodes, elements = made.nodes_mm, made.tetrahedra
    mesh = TetMesh(nodes, elements, np.ones(len(elements), np.uint8))
    held = (
        Constraint("bottom", np.flatnonzero(nodes[:, 2] == 0)),
        Constraint("top", np.flatnonzero(nodes[:, 2] == 3), (0, 1, 2), np.array([0, 0, -0.03])),
    )
    return Model(mesh, moduli(mesh.centres_mm, rng), NU, held)


def moduli(centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moduli in MPa, in 2 % classes as a deck needs."""
    depth = np.minimum(centre[:, :2], 1 - centre[:, :2]).min(axis=1)
    E = np.where(depth < 0.12, 17000.0, 300.0) * np.exp(rng.normal(0, 0.5, len(centre)))
    E[np.linalg.norm(centre - [0.3, 0.5, 1.5], axis=1) < 0.25] = 10.0
    classes: np.ndarray = np.exp(np.round(np.log(E) * 50) / 50)
    return classes


def engine(model: Model[Mesh], processes: int, rtol: float = 1e-8) -> Row:
    """Wall time, memory and reaction of the conforming engine."""
    start, before = time.perf_counter(), cpu_seconds()
    s = solve_conforming(model, rtol, processes=processes, method="cg")
    return {
        "s": time.perf_counter() - start,
        "cpu_s": cpu_seconds() - before,
        "peak_MB": s.peak_MB,
        "iterations": s.iterations,
        "rtol": rtol,
        "out_of_balance": out_of_balance(model, s.displacement_mm),
        "reaction_N": float(s.reaction_N["top"][2]),
        "stages_s": dict(s.seconds),
    }


def calculix(model: Model[Mesh], solver: str, threads: int, limit_s: float) -> Row:
    """The same of CalculiX."""
    mesh = model.mesh
    with tempfile.TemporaryDirectory() as name:
        deck = Path(name) / "box.inp"
        write_calculix(
            mesh.nodes_mm, mesh.elements, model.E_MPa, NU, deck, model.constraints, bins_MPa=0.0
        )
        deck.write_text(deck.read_text().replace("*STATIC", f"*STATIC, SOLVER={solver}"))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start, before = time.perf_counter(), cpu_seconds()
        try:
            subprocess.run(
                ["ccx", "box"], cwd=name, env=environment, capture_output=True, timeout=limit_s,
                check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"more_than_s": limit_s}
        except subprocess.CalledProcessError as error:
            return {"status": error.returncode, "after_s": time.perf_counter() - start}
        dat = deck.with_suffix(".dat")
        return {
            "s": time.perf_counter() - start,
            "cpu_s": cpu_seconds() - before,
            "out_of_balance": out_of_balance(model, displacements(dat, mesh.n_nodes)),
            "reaction_N": reaction(dat),
        }


def out_of_balance(model: Model[Mesh], u: np.ndarray) -> float:
    """Norm of the forces on free nodes, over that of what the held ones alone would cause."""
    held = np.zeros(u.shape, dtype=bool)
    pushed = np.zeros(u.shape)
    for constraint in model.constraints:
        held[constraint.nodes] = True
        pushed[constraint.nodes] = constraint.displacement_mm
    left, first = (np.linalg.norm(internal(model, w)[~held]) for w in (u, pushed))
    return float(left / first)


def internal(model: Model[Mesh], u: np.ndarray) -> np.ndarray:
    """Nodal forces of the stresses, (n, 3), by nothing of the engine's."""
    mesh, out = model.mesh, np.zeros(u.shape)
    lam, mu = NU / ((1 + NU) * (1 - 2 * NU)), 1 / (2 * (1 + NU))
    gauss = rule(mesh.elements.shape[1], 1 if mesh.elements.shape[1] == 4 else 2)
    E = np.asarray(model.E_MPa)
    for rows in np.array_split(np.arange(mesh.n_elements), 1 + mesh.n_elements // 20_000):
        cells = mesh.elements[rows]
        J = np.einsum("mkx,qkr->mqxr", mesh.nodes_mm[cells], gauss.gradient)
        slope = gauss.gradient @ np.linalg.inv(J)
        strain = np.einsum("mki,mqkx->mqix", u[cells], slope)
        strain = (strain + strain.swapaxes(2, 3)) / 2
        spherical = lam * np.trace(strain, axis1=2, axis2=3)[..., None, None] * np.eye(3)
        weight = E[rows, None] * np.linalg.det(J) * gauss.weights
        stress = weight[..., None, None] * (spherical + 2 * mu * strain)
        force = (slope @ stress).sum(axis=1)
        np.add.at(out, cells, force)
    return out


def displacements(dat: Path, n_nodes: int) -> np.ndarray:
    """Those of all nodes, the first table of the results."""
    with dat.open() as file:
        next(line for line in file if line.strip().startswith("displacements"))
        next(file)
        table = np.loadtxt(file, max_rows=n_nodes)
    u = np.zeros((n_nodes, 3))
    u[table[:, 0].astype(int) - 1] = table[:, 1:4]
    return u


def cpu_seconds() -> float:
    """Of this process and its children: what counts on a machine that others use too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def reaction(dat: Path) -> float:
    """Total force on the top along z."""
    lines = dat.read_text().splitlines()
    places = [i for i, line in enumerate(lines) if "total force" in line and "TOP" in line]
    return float(lines[places[-1] + 2].split()[2])


def beside_calculix(row: Row, n: int, degree: int, limit_s: float, only: str) -> Row:
    """Rows of one size; the direct solver gets 1.2 of the engine's time, or the limit if less.

    Runs whose name lacks `only` are left as they are in the row of an earlier call.
    """
    model = box(n, degree)
    row |= {"unknowns": 3 * model.mesh.n_nodes, "degree": degree}
    row |= {"elements": model.mesh.n_elements, "load_average": os.getloadavg()}

    def run(name: str, what: Callable[[], Row]) -> None:
        if only in name:
            row[name] = what()
            print(name, json.dumps(row[name]), flush=True)

    peers = shutil.which("ccx") is not None
    for p in (1, 2):
        iterative = f"CalculiX {ITERATIVE}, {p} threads"
        if peers:
            run(iterative, partial(calculix, model, ITERATIVE, p, limit_s))
        run(f"engine, {p} processes", partial(engine, model, p))
        if rtol := row.get(iterative, NOTHING).get("out_of_balance"):
            run(f"engine as far, {p} processes", partial(engine, model, p, rtol))
    if peers:
        took = [row.get(f"engine, {p} processes", NOTHING).get("s", limit_s) for p in (1, 2)]
        patience = min(limit_s, 1.2 * max(took))
        run(f"CalculiX {DIRECT}, 2 threads", partial(calculix, model, DIRECT, 2, patience))
    return row


def beside_voxels(n: int) -> Row:
    """The voxel engine and this one on the same n**3 bricks, with two threads or processes."""
    mesh = VoxelMesh(np.ones((n, n, n), np.uint8), Grid.of((n, n, n), (1.0, 1.0, 1.0)), {1: "bone"})
    layer = mesh.node_ijk[:, 2]
    E = moduli(mesh.centres_mm / n * [1, 1, 3], np.random.default_rng(0))
    held = (
        Constraint("bottom", np.flatnonzero(layer == 0)),
        Constraint("top", np.flatnonzero(layer == n), (0, 1, 2), np.array([0, 0, -0.01 * n])),
    )
    model = Model(mesh, E, NU, held)
    row: Row = {"unknowns": 3 * mesh.n_nodes, "load_average": os.getloadavg()}
    start, before = time.perf_counter(), cpu_seconds()
    s = solve(model, 1e-8, threads=2)
    row["voxel engine"] = {
        "s": time.perf_counter() - start,
        "cpu_s": cpu_seconds() - before,
        "iterations": s.iterations,
        "reaction_N": float(s.reaction_N["top"][2]),
    }
    start, before = time.perf_counter(), cpu_seconds()
    c = solve_conforming(model, 1e-8, processes=2, method="cg")
    row["dolfinx, 2 processes"] = {
        "s": time.perf_counter() - start,
        "cpu_s": cpu_seconds() - before,
        "iterations": c.iterations,
        "peak_MB": c.peak_MB,
        "reaction_N": float(c.reaction_N["top"][2]),
        "stages_s": dict(c.seconds),
    }
    return row


def main() -> None:
    """Run all sizes, and write what is there after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", choices=(0, 1, 2), default=[0, 1, 2])
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2], choices=(1, 2))
    parser.add_argument("--limit-s", type=float, default=600.0)
    parser.add_argument("--voxel", type=int, nargs="*", default=[], help="bricks along an edge")
    parser.add_argument("--only", default="", help="runs whose name holds this, such as engine")
    parser.add_argument("--json", type=Path, default=Path("conforming.json"))
    options = parser.parse_args()
    choose()  # the search for an interpreter, once in a process, is not timed
    for n in options.voxel:
        store(options.json, beside_voxels(n))
    for size in options.sizes:
        for d in options.degrees:
            n = BRICKS[d][size]
            before = stored(options.json, d, 3 * unknown_nodes(n, d))
            row = beside_calculix(before, n, d, options.limit_s, options.only)
            store(options.json, row)


def unknown_nodes(n: int, degree: int) -> int:
    """Number of nodes of a `box`."""
    along = np.array([n, n, 3 * n]) * degree + 1
    return int(along.prod())


def store(path: Path, new: Row) -> None:
    """Write a row among those of a file, and the plot."""
    rows = kept(path, new)
    result = {"cores": os.cpu_count(), "note": "a machine shared with other work", "rows": rows}
    path.write_text(json.dumps(result, indent=1) + "\n")
    plot(rows, path.with_suffix(".png"))


def stored(path: Path, degree: int, unknowns: int) -> Row:
    """Row of a file, empty if it is not there."""
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return next(
        (row for row in rows if (row.get("degree"), row["unknowns"]) == (degree, unknowns)), {}
    )


def kept(path: Path, new: Row) -> list[Row]:
    """Rows of a file in order of size, with the one of this size and element replaced."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []

    def key(row: Row) -> tuple[int, int]:
        return row.get("degree", 0), row["unknowns"]

    return sorted([row for row in rows if key(row) != key(new)] + [new], key=key)


def plot(rows: list[Row], path: Path) -> None:
    """Wall time against unknowns, a panel for each element."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    colours = {"CalculiX": "tab:grey", "engine": "tab:blue", "engine as far": "tab:orange"}
    for degree, panel in enumerate(panels, 1):
        mine = [row for row in rows if row.get("degree") == degree]
        runs = [name for row in mine for name, run in row.items() if isinstance(run, dict)]
        for name in dict.fromkeys(runs):
            points = [
                (row["unknowns"], row[name]["s"]) for row in mine if "s" in row.get(name, NOTHING)
            ]
            if points:
                kind = name.split(",")[0]
                colour = colours["CalculiX" if "CalculiX" in kind else kind]
                style = ("o-" if "1 " in name else "s--") if DIRECT not in name else "x:"
                panel.plot(*zip(*points, strict=True), style, color=colour, label=name)
        panel.set(title=f"{4 if degree == 1 else 10} nodes", xlabel="unknowns", ylabel="s")
        panel.loglog()
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()

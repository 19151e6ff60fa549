"""Time the conforming engine beside CalculiX, with its two solvers for large models.

The problem: a box of tetrahedra with a stiff shell, a soft noisy core and a hole of 10 MPa, moduli
that differ by 1e3 and more, pressed by 1 %. Timed is all from arrays to arrays: files, start of the
processes, solution, element stresses; of CalculiX from its deck to its results. CalculiX stops its
iteration at half a percent of the mean force, the engine at 1e-8; the reactions tell.

    python benchmarks/conforming.py --json benchmarks/results/conforming.json
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
from itertools import permutations
from pathlib import Path

import numpy as np

from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ConformingModel
from bonekit.fem.decks import write_calculix
from bonekit.fem.interpreters import choose
from bonekit.fem.model import Constraint
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.tetmesh import TetMesh

CALCULIX = ("ITERATIVE CHOLESKY", "SPOOLES")


def box(n: int, degree: int) -> ConformingModel:
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
    inner = ((ijk > 0) & (ijk < size)).all(axis=1)[:, None]
    nodes = (ijk + inner * rng.uniform(-0.2, 0.2, ijk.shape)) / n
    if degree == 2:
        made = quadratic(nodes, elements)
        nodes, elements = made.nodes_mm, made.tetrahedra
    mesh = TetMesh(nodes, elements, np.ones(len(elements), np.uint8))
    held = (
        Constraint("bottom", np.flatnonzero(nodes[:, 2] == 0)),
        Constraint("top", np.flatnonzero(nodes[:, 2] == 3), (0, 1, 2), np.array([0, 0, -0.03])),
    )
    return ConformingModel(mesh, moduli(mesh.centres_mm, rng), 0.3, held)


def moduli(centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moduli in MPa, in 2 % classes as a deck needs."""
    depth = np.minimum(centre[:, :2], 1 - centre[:, :2]).min(axis=1)
    E = np.where(depth < 0.12, 17000.0, 300.0) * np.exp(rng.normal(0, 0.5, len(centre)))
    E[np.linalg.norm(centre - [0.3, 0.5, 1.5], axis=1) < 0.25] = 10.0
    return np.exp(np.round(np.log(E) * 50) / 50)


def engine(model: ConformingModel, processes: int) -> dict[str, object]:
    """Wall time, memory and reaction of the conforming engine."""
    start, before = time.perf_counter(), cpu_seconds()
    s = solve_conforming(model, 1e-8, processes=processes, method="cg")
    return {
        "s": time.perf_counter() - start,
        "cpu_s": cpu_seconds() - before,
        "peak_MB": s.peak_MB,
        "iterations": s.iterations,
        "reaction_N": float(s.reaction_N["top"][2]),
        "energy_balance": s.energy_balance,
        "stages_s": dict(s.seconds),
    }


def calculix(
    model: ConformingModel, solver: str, threads: int, limit_s: float
) -> dict[str, object]:
    """The same of CalculiX."""
    mesh = model.mesh
    with tempfile.TemporaryDirectory() as name:
        deck = Path(name) / "box.inp"
        write_calculix(
            mesh.nodes_mm, mesh.elements, model.E_MPa, 0.3, deck, model.constraints, bins_MPa=0.0
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
            return {"s": f"more than {limit_s:g}"}
        seconds = time.perf_counter() - start
        return {
            "s": seconds,
            "cpu_s": cpu_seconds() - before,
            "reaction_N": reaction(deck.with_suffix(".dat")),
        }


def cpu_seconds() -> float:
    """Of this process and its children: what counts on a machine that others use too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def reaction(dat: Path) -> float:
    """Total force on the top along z."""
    lines = dat.read_text().splitlines()
    places = [i for i, line in enumerate(lines) if "total force" in line and "TOP" in line]
    return float(lines[places[-1] + 2].split()[2])


def main() -> None:
    """Run all sizes; the heavy solver only where it ends in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[22, 38], help="bricks of an edge")
    parser.add_argument("--degree", type=int, default=1, choices=(1, 2))
    parser.add_argument("--limit-s", type=float, default=600.0)
    parser.add_argument("--solvers", nargs="+", default=CALCULIX)
    parser.add_argument("--json", type=Path, default=Path("conforming.json"))
    options = parser.parse_args()
    choose()  # the search for an interpreter, once in a process, is not timed
    rows = []
    for n in options.sizes:
        model = box(n, options.degree)
        row: dict[str, object] = {"unknowns": 3 * model.mesh.n_nodes, "degree": options.degree}
        row |= {"elements": model.mesh.n_elements, "load_average": os.getloadavg()}
        for p in (1, 2):
            row[f"engine, {p} processes"] = engine(model, p)
        for solver in options.solvers if shutil.which("ccx") else ():
            for threads in (1, 2):
                run = calculix(model, solver, threads, options.limit_s)
                row[f"CalculiX {solver}, {threads} threads"] = run
        rows.append(row)
        result = {"cores": os.cpu_count(), "note": "a machine shared with other work", "rows": rows}
        print(json.dumps(row, indent=1))
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

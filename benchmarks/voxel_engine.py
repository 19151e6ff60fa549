"""Time the voxel engine beside conjugate gradients on the assembled matrix (SciPy, Jacobi).

The problem, known from the literature on trabecular bone as a stand-in: a Gaussian random field
thresholded to a volume fraction of 30 %, pressed between glued plates.

    python benchmarks/voxel_engine.py --size 48 --json voxel_engine.json
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter, label
from scipy.sparse.linalg import cg

from bonekit.fem.brick import stiffness
from bonekit.fem.solve import solve_grid
from bonekit.meshing.voxel import BRICK_CORNERS

Problem = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_bone(size: int) -> Problem:
    """Moduli in MPa, fixed components and their displacement in mm."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((size,) * 3), 2.5)
    solid = noise > np.quantile(noise, 0.7)
    solid[..., [0, -1]] = True
    pieces = label(solid)[0]
    E = np.where(pieces == pieces[0, 0, 0], 1e4, 0.0)
    fixed = np.zeros((size + 1,) * 3 + (3,), dtype=bool)
    fixed[:, :, [0, -1]] = True
    values = np.zeros(fixed.shape)
    values[:, :, -1, 2] = -0.01 * size
    return E, fixed, values


def engine(problem: Problem, rtol: float) -> tuple[float, int]:
    """Reaction in N and iterations of bonekit."""
    E, fixed, values = problem
    s = solve_grid(E, np.ones(3), 0.3, fixed, values, rtol=rtol)
    return float(s.reaction_N[:, :, -1, 2].sum()), s.iterations


def assembled(problem: Problem, rtol: float) -> tuple[float, int]:
    """Reaction in N and iterations of SciPy's CG with the inverse diagonal."""
    E, fixed, values = problem
    ijk = np.argwhere(E > 0)
    node = np.ravel_multi_index(
        tuple(np.moveaxis(ijk[:, None] + BRICK_CORNERS, -1, 0)), fixed.shape[:3]
    )
    dof = (3 * node[..., None] + np.arange(3)).reshape(-1, 24)
    K = (E[E > 0][:, None, None] * stiffness(np.ones(3), 0.3)).ravel()
    pairs = (np.repeat(dof, 24, axis=1).ravel(), np.tile(dof, (1, 24)).ravel())
    A = sp.csr_matrix((K, pairs), shape=(fixed.size, fixed.size))
    diagonal = A.diagonal()
    free = np.flatnonzero((diagonal > 0) & ~fixed.ravel())
    u, steps = values.ravel().copy(), []
    M = sp.diags(1 / diagonal[free])
    x, _ = cg(A[free][:, free], -(A @ u)[free], rtol=rtol, M=M, callback=steps.append)
    u[free] = x
    return float((A @ u).reshape(fixed.shape)[:, :, -1, 2].sum()), len(steps)


def measure(
    run: Callable[[Problem, float], tuple[float, int]], problem: Problem
) -> dict[str, float]:
    """Seconds, iterations, answer, and the peak memory of the process so far."""
    start = time.perf_counter()
    reaction, iterations = run(problem, 1e-6)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"s": seconds, "iterations": iterations, "reaction_N": reaction, "peak_MB": peak}


def main() -> None:
    """Run both, the engine first so that its peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--json", type=Path, default=Path("voxel_engine.json"))
    options = parser.parse_args()
    problem = random_bone(options.size)
    rows = {run.__name__: measure(run, problem) for run in (engine, assembled)}
    ratio = rows["assembled"]["s"] / rows["engine"]["s"]
    result = {"elements": int((problem[0] > 0).sum()), **rows, "ratio": ratio}
    print(json.dumps(result, indent=2))
    options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

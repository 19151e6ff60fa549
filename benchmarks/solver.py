"""Time the voxel engine beside ParOSol on real bone, and against its own size.

ParOSol (parosol-py, GPL) is a peer: it is installed in an environment of its own, runs as a child
process and is never imported. Both get the same moduli, prescribed displacements and tolerance;
each run is a process of its own, whose peak memory is that of all its processes together.

    python benchmarks/solver.py ../shared/data --json benchmarks/results/solver.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, label

RTOL = 1e-6

PEER = """
import json, sys, numpy as np
from parosol_py import BoundaryConditionSet, solve
case = np.load(sys.argv[1])
held = BoundaryConditionSet(np.argwhere(case["fixed"]), case["values"][case["fixed"]])
result = solve(material=case["E"].transpose(2, 1, 0).astype(np.float32), poisson_ratio=0.3,
    spacing=tuple(float(h) for h in case["h"]), boundary_conditions=held, outputs=("sed",),
    tolerance=float(sys.argv[3]), mpi_processes=int(sys.argv[2]), work_dir=sys.argv[4])
run = result.summary.run
print(json.dumps({"s": run.overall_time_seconds, "iterations": run.iterations,
    "residual": run.relative_residual}))
"""


def trabecular_cube(data: Path) -> dict[str, np.ndarray]:
    """Trab1240, its end faces glued and one pressed by 1 %."""
    file = np.load(data / "fe-trab1240" / "trab1240_labels.npz")
    E = np.where(file["labels"] > 0, 1e4, 0.0).transpose(2, 1, 0)
    layers = np.flatnonzero(E.any(axis=(0, 1)))
    return pressed(E[:, :, layers[0] : layers[-1] + 1], file["spacing_xyz"])


def in_use(E: np.ndarray) -> np.ndarray:
    """Nodes that touch a brick."""
    used = np.zeros([n + 1 for n in E.shape], dtype=bool)
    i, j, k = E.shape
    for a, b, c in np.ndindex(2, 2, 2):
        used[a : a + i, b : b + j, c : c + k] |= E > 0
    return used


def pressed(E: np.ndarray, h: np.ndarray) -> dict[str, np.ndarray]:
    """Compression by 1 % between glued ends."""
    fixed = np.zeros((*(n + 1 for n in E.shape), 3), dtype=bool)
    fixed[:, :, [0, -1]] = True
    fixed &= in_use(E)[..., None]
    values = np.zeros(fixed.shape)
    values[:, :, -1, 2] = -0.01 * E.shape[2] * h[2]
    return {"E": E, "h": np.asarray(h, dtype=np.float64), "fixed": fixed, "values": values}


def femur(data: Path) -> dict[str, np.ndarray]:
    """A femur in a sideways fall: head pressed, trochanter held in y, the shaft's end glued."""
    import SimpleITK as sitk

    file = data / "fe-femur" / "parosol-py" / "material.nii.gz"
    E = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).transpose(2, 1, 0).astype(np.float64)
    fixed = np.zeros((*(n + 1 for n in E.shape), 3), dtype=bool)
    fixed[:, [0, -1], :, 1] = True
    fixed[:, :, 0] = True
    fixed &= in_use(E)[..., None]
    values = np.zeros(fixed.shape)
    values[:, -1, :, 1] = -3.52
    return {"E": E, "h": np.ones(3), "fixed": fixed, "values": values}


def random_bone(size: int) -> dict[str, np.ndarray]:
    """Gaussian random field cut at a volume fraction of 30 %, between plates."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((size,) * 3), 2.5)
    solid = noise > np.quantile(noise, 0.7)
    solid[..., [0, -1]] = True
    pieces = label(solid)[0]
    return pressed(np.where(pieces == pieces[0, 0, 0], 1e4, 0.0), np.ones(3))


def child(case: Path, threads: int) -> None:
    """Solve a case in this process and print what it took."""
    from bonekit.fem.solve import solve_grid

    with np.load(case) as file:
        E, h, fixed, values = (file[name] for name in ("E", "h", "fixed", "values"))
    before = high_water({"self"})
    start = time.perf_counter()
    s = solve_grid(E, h, 0.3, fixed, values, rtol=RTOL, threads=threads)
    seconds = time.perf_counter() - start
    row = {"s": seconds, "iterations": s.iterations, "residual": s.residual}
    print(json.dumps({**row, "MB_before": before}))


def roofline(case: Path, threads: int) -> None:
    """Time one product of the operator beside what the machine could do at best.

    A product needs 2 x 24 x 24 floating point operations per brick, and has to move at least the
    field in and out, eight node numbers and a modulus per brick. The rates are measured here: of
    a matrix product of that shape, and of a sum of two long vectors.
    """
    import torch

    from bonekit.fem.brick import stiffness
    from bonekit.fem.bricks import packed_bricks
    from bonekit.fem.operator import BrickProduct
    from bonekit.fem.threads import torch_threads

    with np.load(case) as file:
        E, h = file["E"], file["h"]
    bricks, _ = packed_bricks(E > 0)
    rows = {}
    for dtype, size in ((torch.float32, 4), (torch.float64, 8)):
        torch.set_num_threads(threads)
        a, b = torch.randn(24, 24, dtype=dtype), torch.randn(24, 1 << 14, dtype=dtype)
        gemm = 2 * 24 * 24 * b.shape[1] / best(lambda a=a, b=b: a @ b)
        x, y = torch.zeros(2, 1 << 25, dtype=dtype)
        bandwidth = 3 * size * len(x) / best(lambda x=x, y=y: x.add_(y), 8)
        with torch_threads(threads):
            K, cpu = stiffness(h, 0.3)[None], torch.device("cpu")
            product = BrickProduct(bricks, E[E > 0][None], K, dtype, cpu)
            u = torch.randn(3, bricks.n_nodes, dtype=dtype)
            measured_s = best(lambda p=product, u=u: p(u))
        operations = 2 * 24 * 24 * len(bricks)
        moved = 2 * 3 * size * bricks.n_nodes + (8 * 4 + size) * len(bricks)
        rows[str(dtype).removeprefix("torch.")] = {
            "product_s": measured_s,
            "million_unknowns_per_s": 3e-6 * bricks.n_nodes / measured_s,
            "GFlop_per_s_of_a_24x24_product": gemm / 1e9,
            "GB_per_s": bandwidth / 1e9,
            "least_s_by_operations": operations / gemm,
            "least_s_by_memory": moved / bandwidth,
        }
    print(json.dumps(rows))


def best(work: Callable[[], object], times: int = 20) -> float:
    """Shortest time of some tries."""
    found = np.inf
    for _ in range(times):
        start = time.perf_counter()
        work()
        found = min(found, time.perf_counter() - start)
    return float(found)


def high_water(processes: set[str]) -> float:
    """Sum the peak resident memory of processes in MB (Linux)."""
    total = 0.0
    for pid in processes:
        status = Path(f"/proc/{pid}/status")
        try:
            lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        except OSError:
            continue
        total += sum(float(line.split()[1]) for line in lines) / 1024
    return total


def descendants(pid: int) -> dict[str, str]:
    """Name the processes below a process, itself included, by number."""
    found, pending = {}, [str(pid)]
    while pending:
        one = pending.pop()
        try:
            found[one] = Path(f"/proc/{one}/comm").read_text().strip()
            for task in Path(f"/proc/{one}/task").iterdir():
                pending += (task / "children").read_text().split()
        except OSError:
            continue
    return found


def measured(command: list[str], only: str | None = None) -> dict[str, float]:
    """Run a command that prints JSON last; add its wall time and peak memory.

    ``only`` counts the memory of processes of that name.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peaks: dict[str, float] = {}

    def watch() -> None:
        while process.poll() is None:
            for pid, name in descendants(process.pid).items():
                if only is None or name == only:
                    peaks[pid] = max(peaks.get(pid, 0.0), high_water({pid}))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}: {errors[-500:]}")
    wall = time.perf_counter() - start
    row: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return {**row, "wall_s": wall, "peak_MB": sum(peaks.values())}


def ours(case: Path, threads: int) -> dict[str, float]:
    """Run the voxel engine."""
    return measured([sys.executable, __file__, "--child", str(case), "--threads", str(threads)])


def peer(case: Path, processes: int, python: Path, work: Path) -> dict[str, float]:
    """Run ParOSol; its memory is that of the solver's processes, without the Python around it."""
    arguments = [str(case), str(processes), str(RTOL), str(work / "parosol")]
    return measured([str(python), "-c", PEER, *arguments], only="parosol")


def installed_peer(folder: Path) -> Path:
    """Interpreter of an environment with parosol-py."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "-q", "install", "parosol-py"], check=True)
    return python


def draw(result: dict[str, object], file: Path) -> None:
    """Time and memory against size, and beside the peer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rows = result["size"]
    dof = np.array([row["dof"] for row in rows]) / 1e6  # type: ignore[union-attr, index]
    for axis, key, unit in ((left, "s", "s"), (right, "peak_MB", "MB")):
        values = np.array([row[key] for row in rows])  # type: ignore[union-attr, index]
        axis.loglog(dof, values, "o-", label="random bone, 30 %")
        for name, pair in result["peer"].items():  # type: ignore[attr-defined]
            x = pair["dof"] / 1e6
            axis.plot(x, pair["bonekit"][key], "s", label=f"{name}, bonekit")
            axis.plot(x, pair["parosol"][key], "x", label=f"{name}, ParOSol")
        axis.set(xlabel="million unknowns", ylabel=unit)
    left.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Run all and write the numbers and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--json", type=Path, default=Path("solver.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[44, 76, 122])
    parser.add_argument("--peer", type=Path, help="environment that has parosol-py")
    parser.add_argument("--child", type=Path)
    parser.add_argument("--roofline", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.threads)
        return
    if options.roofline:
        roofline(options.roofline, options.threads)
        return
    result: dict[str, object] = {
        "rtol": RTOL,
        "threads": options.threads,
        "load_average_before": os.getloadavg(),
    }
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python = installed_peer(options.peer or work / "peer")
        beside: dict[str, object] = {}
        for name, make in (("femur", femur), ("trab1240", trabecular_cube)):
            case = make(options.data)
            np.savez(work / "case.npz", **case)
            mine = ours(work / "case.npz", options.threads)
            arguments = ["--roofline", str(work / "case.npz"), "--threads", str(options.threads)]
            limits = measured([sys.executable, __file__, *arguments])
            theirs = peer(work / "case.npz", options.threads, python, work)
            row = {"dof": 3 * int(in_use(case["E"]).sum()), "bonekit": mine, "parosol": theirs}
            row["roofline"] = {name: limits[name] for name in ("float32", "float64")}
            row["times_faster"] = theirs["s"] / mine["s"]
            row["memory_share"] = mine["peak_MB"] / theirs["peak_MB"]
            row["memory_share_beside_imports"] = (mine["peak_MB"] - mine["MB_before"]) / theirs[
                "peak_MB"
            ]
            beside[name] = row
            print(name, json.dumps(row), flush=True)
        result["peer"] = beside
        rows = []
        for size in options.sizes:
            case = random_bone(size)
            np.savez(work / "case.npz", **case)
            rows.append(
                {
                    "dof": 3 * int(in_use(case["E"]).sum()),
                    **ours(work / "case.npz", options.threads),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
        result["size"] = rows
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    draw(result, options.json.with_suffix(".png"))


if __name__ == "__main__":
    main()

"""Time the voxel engine beside ParOSol on real bone, and against its own size.

ParOSol (parosol-py, GPL) is a peer: it is installed in an environment of its own, runs as a child
process and is never imported. Both get the same moduli, prescribed displacements and tolerance;
each run is a process of its own. Memory: ``whole_MB`` is the peak of all its processes together,
Python included; ``solver_MB`` that of ParOSol's own processes, and for us what is not there before
the solve (the imports and the input). Pages that processes of one program share count once.

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
from typing import Any

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
    before = resident("self")["VmHWM"]
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


def resident(pid: str) -> dict[str, float]:
    """Peak of a process's resident memory and its pages of files now, in MB (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in lines)
    keys = [key for key in ("VmHWM", "RssFile") if key in fields]
    return {key: float(fields[key].split()[0]) / 1024 for key in keys}


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


class Job:
    """Peak memory of the processes of a job, each pages of files counted once per program."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.peak: dict[str, float] = {}
        self.files: dict[str, float] = {}

    def look(self, pid: int) -> None:
        """See what the processes hold now."""
        for one, name in descendants(pid).items():
            now = resident(one)
            self.names[one] = name
            self.peak[one] = max(self.peak.get(one, 0.0), now.get("VmHWM", 0.0))
            self.files[one] = max(self.files.get(one, 0.0), now.get("RssFile", 0.0))

    def total_MB(self, program: str | None = None) -> float:  # noqa: N802
        """Sum over all processes, or those of one program."""
        total = 0.0
        for name in {program} if program else set(self.names.values()):
            own = [pid for pid in self.names if self.names[pid] == name]
            total += sum(self.peak[pid] for pid in own)
            total -= sum(sorted(self.files[pid] for pid in own)[:-1])
        return total


def measured(command: list[str], solver: str | None = None) -> dict[str, float]:
    """Run a command that prints JSON last; add its wall time and peak memory.

    ``solver`` names the program whose processes are also summed by themselves.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    job = Job()

    def watch() -> None:
        while process.poll() is None:
            job.look(process.pid)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}: {errors[-500:]}")
    wall = time.perf_counter() - start
    row: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    row |= {"wall_s": wall, "whole_MB": job.total_MB()}
    if "MB_before" in row:
        row["solver_MB"] = row["whole_MB"] - row["MB_before"]
    if solver:
        row["solver_MB"] = job.total_MB(solver)
    return row


def ours(case: Path, threads: int) -> dict[str, float]:
    """Run the voxel engine."""
    return measured([sys.executable, __file__, "--child", str(case), "--threads", str(threads)])


def peer(case: Path, processes: int, python: Path, work: Path) -> dict[str, float]:
    """Run ParOSol; its solver is apart from the Python around it."""
    arguments = [str(case), str(processes), str(RTOL), str(work / "parosol")]
    return measured([str(python), "-c", PEER, *arguments], solver="parosol")


def installed_peer(folder: Path) -> Path:
    """Interpreter of an environment with parosol-py."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "-q", "install", "parosol-py"], check=True)
    return python


def draw(result: dict[str, Any], file: Path) -> None:
    """Time and memory against size, and beside the peer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rows = result["size"]
    dof = np.array([row["dof"] for row in rows]) / 1e6
    for axis, key, unit in ((left, "s", "s"), (right, "solver_MB", "MB of the solver")):
        values = np.array([row[key] for row in rows])
        axis.loglog(dof, values, "o-", label="random bone, 30 %")
        for name, pair in result["peer"].items():
            x = pair["dof"] / 1e6
            axis.plot(x, pair["bonekit"][key], "s", label=f"{name}, bonekit")
            axis.plot(x, pair["parosol"][key], "x", label=f"{name}, ParOSol")
        axis.set(xlabel="million unknowns", ylabel=unit)
    left.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def beside_peer(name: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Solve a case with both engines."""
    case = CASES[name](options.data)
    file = work / "case.npz"
    np.savez(file, **case)
    python = installed_peer(options.peer or work / "peer")
    load = os.getloadavg()
    mine = ours(file, options.threads)
    arguments = ["--roofline", str(file), "--threads", str(options.threads)]
    limits = measured([sys.executable, __file__, *arguments])
    theirs = peer(file, options.threads, python, work)
    return {
        "dof": 3 * int(in_use(case["E"]).sum()),
        "load_average_before": load,
        "bonekit": mine,
        "parosol": theirs,
        "roofline": {name: limits[name] for name in ("float32", "float64")},
        "times_faster": theirs["s"] / mine["s"],
        "memory_share": mine["solver_MB"] / theirs["solver_MB"],
        "memory_share_of_all": mine["whole_MB"] / theirs["whole_MB"],
    }


def at_size(size: int, threads: int, work: Path) -> dict[str, Any]:
    """Solve random bone of so many bricks along an edge."""
    case = random_bone(size)
    np.savez(work / "case.npz", **case)
    row = {"dof": 3 * int(in_use(case["E"]).sum()), "load_average_before": os.getloadavg()}
    return {**row, **ours(work / "case.npz", threads)}


CASES = {"femur": femur, "trab1240": trabecular_cube}


def main() -> None:
    """Run what is asked and write each row at once beside what the file holds already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--json", type=Path, default=Path("solver.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
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
    result: dict[str, Any] = {"rtol": RTOL, "threads": options.threads, "peer": {}, "size": []}
    if options.json.exists():
        result = json.loads(options.json.read_text())
    options.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            result["peer"][name] = beside_peer(name, options, Path(folder))
            write(result, options.json)
        for size in options.sizes:
            row = at_size(size, options.threads, Path(folder))
            others = [one for one in result["size"] if one["dof"] != row["dof"]]
            result["size"] = sorted([*others, row], key=lambda one: one["dof"])
            write(result, options.json)


def write(result: dict[str, Any], file: Path) -> None:
    """Store and draw what there is."""
    text = json.dumps(result, indent=2) + "\n"
    part = file.with_name(file.name + ".part")
    part.write_text(text)
    part.replace(file)
    draw(result, file.with_suffix(".png"))


if __name__ == "__main__":
    main()

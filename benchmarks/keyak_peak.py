"""How long a femur takes to its nonlinear peak by Keyak's law: the path only, segmented and meshed.

Two stances of one bone: the force spread over the head with the shaft clamped, and a guided cup
with the shaft on springs. The aim is under 60 s on two cores with bricks of 2 mm.

    python benchmarks/keyak_peak.py --json benchmarks/results/keyak_peak.json
    python benchmarks/keyak_peak.py --bone femur_right \\
        --scan ../shared/data/ct-femur/STS_040_CT.nii.gz \\
        --json benchmarks/results/keyak_peak_real.json

The second is of a real femur, segmented by the built-in method; its density is by the default line
(uncalibrated), so that its strength says nothing. Other work on the machine slows the path, two
threads more than one, which wait for each other: the load average stands beside the seconds. Where
others work as well take --threads 1 and OMP_NUM_THREADS=1, for an upper bound.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import bonekit
from bonekit.density import DEFAULT, DensityImage
from bonekit.fem.peak import after_yield, peak_load
from bonekit.fem.simulation import Problem
from bonekit.fem.stance import SingleLegStance
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom
from bonekit.segmentation.base import Segmentation

STANCES = {
    "spread, clamped": SingleLegStance(),
    "guided cup, springs": SingleLegStance(head="guided", distal="springs"),
}
AIM_S = 60.0


def phantom(seed: int) -> tuple[Segmentation, DensityImage]:
    scanner = ScannerParameters(spacing_mm=(1.0, 1.0, 1.0))
    made = femur_phantom(FemurParameters(side="right"), scanner=scanner, seed=seed)
    return bonekit.segment(made.ct.canonical(), "femur_right"), made.density


def patient(scan: Path, bone: str) -> tuple[Segmentation, DensityImage]:
    ct = bonekit.read(scan).canonical()
    return bonekit.segment(ct, bone), bonekit.to_ash(bonekit.density_image(ct, DEFAULT))


def peak_MB(*, forget: bool = False) -> float:  # noqa: N802
    """Largest resident memory of this process, or since it was last forgotten; 0: unknown."""
    try:
        if forget:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(ln.split()[1]) / 1024 for ln in lines if ln.startswith("VmHWM")), 0.0)


def walk(problem: Problem, threads: int) -> dict[str, Any]:
    """Walk to the peak; what it took."""
    mesh, before = problem.model.mesh, peak_MB(forget=True)
    load, start, used = os.getloadavg(), time.perf_counter(), time.process_time()
    found = peak_load(problem, threads=threads)
    seconds = time.perf_counter() - start
    steps = found.failure.steps[1:]
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "under_60_s": seconds < AIM_S,
        "load_average": [load, os.getloadavg()],
        "memory_MB": round(peak_MB() - before),
        "bricks": mesh.n_elements,
        "unknowns": 3 * mesh.n_nodes,
        "increments": len(steps),
        "newton": sum(step.iterations for step in steps),
        "linear": sum(step.linear_iterations for step in steps),
        "halvings": sum(step.cuts for step in steps),
        "strength_N": round(found.strength.strength_N, 1),
        "displacement_mm": round(found.failure.displacement_mm, 3),
        "ended": found.failure.reason,
        "above": round(found.failure.above, 5),
        "yielded": round(float(found.failure.yielded.mean()), 3),
        "law": after_yield(problem).name,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge-mm", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--bone", default="femur_right")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    femur, ash = patient(given.scan, given.bone) if given.scan else phantom(given.seed)
    told: dict[str, Any] = {
        "femur": f"{given.scan.name} {given.bone}" if given.scan else f"phantom, seed {given.seed}",
        "edge_mm": given.edge_mm,
        "threads": given.threads,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for words, stance in STANCES.items():
        mesh = bonekit.mesh(femur, given.edge_mm, stance.axes(femur.anatomy))
        told[words] = walk(bonekit.set_up(mesh, ash, femur, loading=stance), given.threads)
        print(words, told[words], flush=True)
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()

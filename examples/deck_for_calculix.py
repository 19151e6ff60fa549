"""A vertebra as a CalculiX deck, solved there and here: two solvers, one answer.

The patient is synthetic.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import bonekit
from bonekit.fem.simulation import Problem
from bonekit.phantom import ScannerParameters, vertebra_phantom


def vertebra(edge_mm: float = 3.0) -> Problem:
    """Set up the compression of a synthetic vertebra."""
    phantom = vertebra_phantom(scanner=ScannerParameters(spacing_mm=(1.2, 1.2, 1.5)), seed=2)
    a, b = phantom.hu_per_g_cm3, phantom.hu_at_zero
    line = bonekit.Calibration(1 / a, -b / a, bonekit.DensityKind.ASH, "synthetic scanner")
    ct = phantom.ct.canonical()
    bone = bonekit.segment(ct, "vertebra_L3")
    mesh = bonekit.mesh(bone, edge_mm)
    ash = bonekit.to_ash(bonekit.density_image(ct, line))
    return bonekit.set_up(mesh, ash, bone)


def solve_with_calculix(problem: Problem, folder: Path) -> float:
    """Return the force in N on the superior endplate, by CalculiX."""
    bonekit.export(problem.model, folder / "vertebra.inp", bins_MPa=5.0)
    subprocess.run(["ccx", "vertebra"], cwd=folder, check=True, capture_output=True)
    text = (folder / "vertebra.dat").read_text()
    sums = re.search(r"total force .* set SUPERIOR_ENDPLATE .*\n\s*\n(.*)\n", text)
    if sums is None:
        raise RuntimeError("CalculiX printed no total force")
    return abs(float(sums[1].split()[2]))


if __name__ == "__main__":
    problem = vertebra()
    ours = bonekit.judge(problem, bonekit.solve(problem)).applied_N
    print(f"synthetic vertebra at 0.68 % shortening: {ours:.1f} N by bonekit")
    if shutil.which("ccx"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{solve_with_calculix(problem, Path(folder)):.1f} N by CalculiX")

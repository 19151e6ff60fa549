"""Stiffness of the sideways fall of fe-femur by bonekit's own rules, and what moves it.

python benchmarks/fe_femur_fall.py prints the table of docs/load_cases.md and writes
results/fe_femur_fall.json; the model is that of tests/verification/test_fe_femur_fall.py.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "verification")]

from conftest import DATA  # noqa: E402
from test_fe_femur_fall import EMBEDDED_MM, PUBLISHED_N_MM, femur, pose, published, stiffness  # noqa: E402


def main() -> None:
    """Solve the published fall and its variants."""
    anatomy = femur(DATA)[0].anatomy
    ours = published(anatomy, 2.0)
    sphere = float(np.degrees(np.arccos(1.0 - EMBEDDED_MM / anatomy.head_radius_mm)))
    cases = {
        "bricks of 1 mm": (published(anatomy, 1.0), 1.0),
        "bricks of 2 mm": (ours, 2.0),
        "2 mm, cement 6 mm up a sphere": (replace(ours, cap_deg=sphere), 2.0),
        "2 mm, no cement": (replace(ours, cement_mm=0.0), 2.0),
        "2 mm, 10 mm of shaft held": (replace(ours, fixed_mm=10.0), 2.0),
        "2 mm, shaft clamped": (replace(ours, distal="clamped"), 2.0),
        "2 mm, shaft on a hinge": (replace(ours, distal="pivot"), 2.0),
        "2 mm, 10 and 15 degrees": (replace(ours, adduction_deg=10.0, rotation_deg=15.0), 2.0),
    }
    found = {"published_N_mm": PUBLISHED_N_MM, "pose_deg": [round(x, 1) for x in pose(anatomy)]}
    for name, (loading, edge_mm) in cases.items():
        found[name] = round(stiffness(DATA, loading, edge_mm)[0], 1)
        print(
            f"{name:32} {found[name]:8.1f} N/mm  {found[name] / PUBLISHED_N_MM - 1:+.1%}",
            flush=True,
        )
    path = HERE / "results" / "fe_femur_fall.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

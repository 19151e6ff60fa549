"""Compare our Dice, NSD, HD95 and volume with surface-distance and seg-metrics on the same masks.

The peers live in an interpreter of their own:

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install surface-distance seg-metrics
    python benchmarks/metrics_against_peers.py --peers /tmp/peers/bin/python \
        --json benchmarks/results/metrics_against_peers.json

surface-distance weighs surface elements by their area, as we do: the numbers must be the same.
seg-metrics takes voxels of the border for the surface, so that its HD95 may differ by the size of
a voxel (and is no number where a mask fills the image, which is left out). The script fails if
they don't agree so far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.image import LabelMap
from bonekit.segmentation.evaluation.overlap import overlap
from bonekit.segmentation.synthesis import simulate_rater
from bonekit.segmentation.synthesis.anatomy import brain, femur

Mask = NDArray[np.bool_]
Case = tuple[Mask, Mask, tuple[float, float, float]]
TOLERANCE_MM = 1.0
FILLED = "at the border of the image"
SAME = 1e-4  # of float32 distances and areas

PEERS = """
import contextlib, io, json, sys
from importlib.metadata import version
import numpy as np, surface_distance as sd
with contextlib.redirect_stdout(io.StringIO()):
    import seg_metrics.seg_metrics as sg
found = {}
with np.load(sys.argv[1]) as file:
    for name in file["names"]:
        a, b, spacing = (file[f"{name}/{part}"] for part in ("reference", "prediction", "spacing"))
        distances = sd.compute_surface_distances(a, b, spacing)
        with contextlib.redirect_stdout(io.StringIO()):
            other = sg.write_metrics([1], gdth_img=a.astype(np.uint8), pred_img=b.astype(np.uint8),
                spacing=list(spacing), metrics=["dice", "hd95"])
        other = other[0] if isinstance(other, list) else other
        found[str(name)] = {
            "surface_distance": {
                "dice": float(sd.compute_dice_coefficient(a, b)),
                "nsd": float(sd.compute_surface_dice_at_tolerance(distances, float(sys.argv[2]))),
                "hd95_mm": float(sd.compute_robust_hausdorff(distances, 95)),
            },
            "seg_metrics": {"dice": float(other["dice"][0]), "hd95_mm": float(other["hd95"][0])},
        }
names = ("surface-distance", "seg-metrics", "numpy")
print(json.dumps({"versions": {n: version(n) for n in names}, "cases": found}))
"""


def ball(radius: float, shift: float, spacing: tuple[float, float, float]) -> Mask:
    index = np.indices((40, 40, 28)).reshape(3, -1).T - np.array([20, 20, 14]) + [shift, 0, 0]
    mask = np.linalg.norm(index * spacing, axis=1) < radius
    return np.asarray(mask.reshape(40, 40, 28))


def cube(shift: int) -> Mask:
    mask = np.zeros((24, 24, 24), bool)
    mask[4 + shift : 14 + shift, 6:16, 6:16] = True
    return mask


def cases() -> dict[str, Case]:
    """Pairs of masks with their voxel size."""
    rng = np.random.default_rng(0)
    fine, slices = (1.0, 1.0, 1.0), (0.7, 0.7, 3.0)
    border = np.ones((12, 12, 12), bool)
    cut = border.copy()
    cut[:2] = False
    found: dict[str, Case] = {
        "shifted cubes": (cube(0), cube(4), fine),
        "cubes, anisotropic": (cube(0), cube(3), slices),
        "balls": (ball(9.0, 0.0, fine), ball(10.5, 1.5, fine), fine),
        "balls, anisotropic": (ball(9.0, 0.0, slices), ball(8.0, 2.0, slices), slices),
        FILLED: (border, cut, fine),
        "far apart": (ball(3.0, 10.0, fine), ball(3.0, -10.0, fine), fine),
    }
    for draw, name in ((femur, "cortex"), (brain, "white_matter")):
        tissues = draw((48, 48, 48), (3.0, 3.0, 3.0), rng)
        labels = LabelMap(tissues.mask(name).astype(np.uint8), tissues.grid)
        rater = simulate_rater(labels, rng, border_mm=2.0)
        found[f"{name} and a rater"] = (labels.array > 0, rater.array > 0, (3.0, 3.0, 3.0))
    return found


def ask_peers(python: str, pairs: dict[str, Case]) -> dict[str, Any]:
    """Run the peers on all pairs."""
    arrays: dict[str, Any] = {"names": np.array(list(pairs))}
    for name, (reference, prediction, spacing) in pairs.items():
        arrays |= {f"{name}/reference": reference, f"{name}/prediction": prediction}
        arrays[f"{name}/spacing"] = np.array(spacing)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "masks.npz"
        np.savez_compressed(file, **arrays)
        command = [python, "-c", PEERS, str(file), str(TOLERANCE_MM)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", required=True, help="interpreter that has the peers")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pairs = cases()
    answer = ask_peers(given.peers, pairs)
    rows, failed = {}, []
    for name, (reference, prediction, spacing) in pairs.items():
        ours = overlap(reference, prediction, np.array(spacing), TOLERANCE_MM)
        theirs = answer["cases"][name]
        mine = {key: ours[key] for key in ("dice", "nsd", "hd95_mm")}
        rows[name] = {"spacing_mm": spacing, "bonekit": mine, **theirs}
        exact = {k: abs(v - theirs["surface_distance"][k]) for k, v in mine.items()}
        voxel = float(np.linalg.norm(spacing))
        other = theirs["seg_metrics"]["hd95_mm"]
        # seg-metrics has no border voxel in a mask that fills the image, and gives 1e19 mm
        near = name == FILLED or abs(mine["hd95_mm"] - other) <= voxel
        same = abs(mine["dice"] - theirs["seg_metrics"]["dice"]) <= SAME
        if max(exact.values()) > SAME or not near or not same:
            failed.append(name)
        print(name, json.dumps(rows[name]["bonekit"]), json.dumps(theirs))
    versions = {**answer["versions"], "monai": version("monai")}
    if given.json:
        content = {"tolerance_mm": TOLERANCE_MM, "versions": versions, "cases": rows}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{len(pairs) - len(failed)} of {len(pairs)} agree" + f"; not: {failed}" * bool(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

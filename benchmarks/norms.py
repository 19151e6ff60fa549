"""Instance, batch and group norm on synthetic CT in HU: bone and lesion Dice, several seeds.

    python benchmarks/norms.py --json benchmarks/results/norms.json

Run again after it was stopped, it goes on: rows that are in the file are kept.
The same slices in the same order for all three. Scores are those of patches of subjects kept out
of training (pseudo Dice, one number for all voxels), by the running mean of the weights at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from bonekit.segmentation.data.cache import cached
from bonekit.segmentation.networks import build, count_parameters
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.synthesis.dataset import make_dataset
from bonekit.segmentation.task import Norm
from bonekit.segmentation.task_files import load_task
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.train import fit

TRAINING, KEPT_OUT = 12, 6
SHAPE, SPACING_MM = (32, 32, 40), (3.0, 3.0, 3.0)
FEATURES = (8, 16, 32, 32)


def small(plan: Plan) -> Plan:
    """Cut the plan down to what a processor trains in half a minute."""
    update = {
        "patch": (32, 32),
        "batch": 12,
        "features": FEATURES,
        "kernels": ((3, 3),) * len(FEATURES),
        "strides": ((1, 1), *((2, 2),) * (len(FEATURES) - 1)),
        "low_resolution": None,
    }
    return Plan.model_validate({**plan.model_dump(), **update})


def score(folder: Path) -> dict[str, Any]:
    """Last row of a history."""
    row = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    return {"dice": row["dice"], "loss": row["loss"], "validation_loss": row["validation_loss"]}


def begin(path: Path | None, setup: dict[str, Any]) -> dict[str, Any]:
    """Take up the rows of an earlier run of the same setup."""
    empty = {**setup, "results": {norm: [] for norm in get_args(Norm)}}
    if path is None or not path.is_file():
        return empty
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = all(found.get(key) == value for key, value in setup.items())
    return found if same else empty


def save(path: Path | None, content: dict[str, Any]) -> None:
    """Write what there is so far; a run that is stopped leaves the rows it has."""
    if path:
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(path)


def spread(rows: list[dict[str, Any]], structure: str) -> dict[str, float]:
    """Mean, and standard deviation between seeds, of one structure's Dice."""
    dice = np.array([row["dice"][structure] for row in rows])
    return {"mean": float(dice.mean()), "sd": float(dice.std(ddof=1)) if len(dice) > 1 else 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    asked = parser.parse_args()
    task = load_task("bone_metastases_ct")
    settings = TrainSettings(
        steps=asked.steps, every=asked.steps, validation_batches=20,
        optimiser="adamw", learning_rate=3e-3, ema=0.98, device="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        dataset = make_dataset(
            work / "data", task, TRAINING + KEPT_OUT, seed=1, shape=SHAPE, spacing_mm=SPACING_MM
        )
        plan = small(make_plan(fingerprint(dataset), task, "cpu"))
        subjects = [cached(s, task, plan, work / "cache") for s in dataset.subjects]
        content = begin(asked.json, {
            "task": task.name,
            "subjects": {"training": TRAINING, "kept_out": KEPT_OUT},
            "torch": torch.__version__,
            "parameters": count_parameters(build(task, plan)),
            "settings": settings.model_dump(mode="json", exclude={"seed"}),
        })  # fmt: skip
        results = content["results"]
        for seed, norm in product(asked.seeds, results):
            if seed in [row["seed"] for row in results[norm]]:
                continue
            chosen = task.model_copy(update={"norm": norm})
            now = settings.model_copy(update={"seed": seed})
            folder = work / f"{norm}{seed}"
            fit(subjects[:TRAINING], subjects[TRAINING:], chosen, plan, folder, now)
            results[norm].append({"seed": seed, **score(folder)})
            print(norm, results[norm][-1], flush=True)
            save(asked.json, content)
    content["summary"] = {
        norm: {structure: spread(rows, structure) for structure in rows[0]["dice"]}
        for norm, rows in results.items()
        if rows
    }
    save(asked.json, content)
    print(json.dumps(content["summary"], indent=1))


if __name__ == "__main__":
    main()

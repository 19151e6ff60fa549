"""bonekit beside nnU-Net: the same synthetic scans, the same wall time, the same two cores.

Both are trained on scans of generated femora with lesions and judged on others by bonekit's own
metrics. nnU-Net (its 3d_fullres plan, its trainer) runs in an environment of its own:

    python -m venv /tmp/nnunet && /tmp/nnunet/bin/pip install torch==2.13.0 nnunetv2==2.8.1
    python benchmarks/nnunet.py --nnunet-python /tmp/nnunet/bin/python --minutes 6

Preparation and prediction are outside of the time for both. nnU-Net is made for days on a graphics
card: this says what each gets out of minutes on a laptop, and nothing about its best.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import torch

from bonekit.segmentation.evaluation import evaluate, pairs_of
from bonekit.segmentation.inference import to_files
from bonekit.segmentation.learning import measures
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.task_files import load_task
from bonekit.segmentation.training import TrainSettings
from bonekit.segmentation.training.train import train

TASK = load_task("bone_metastases_ct")
NAME = "Dataset501_toy"
RESULTS = Path(__file__).parent / "results" / "nnunet.json"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nnunet-python", type=Path)
    arguments.add_argument("--minutes", type=float, default=6.0)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--work", type=Path, default=Path("out/nnunet"))
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    raw = given.work / "nnUNet_raw" / NAME
    raw.parent.mkdir(parents=True, exist_ok=True)
    data = make_dataset(raw, TASK, 20, seed=1)
    test = make_dataset(given.work / "test", TASK, 10, seed=2)
    shutil.copytree(given.work / "test" / "imagesTr", raw / "imagesTs", dirs_exist_ok=True)
    result = {"minutes": given.minutes, "threads": given.threads, "synthetic": True}
    result["load_average"] = os.getloadavg()

    settings = TrainSettings(
        minutes=given.minutes, steps=6000, every=200, batch=24,
        optimiser="adamw", learning_rate=0.004, ema=0.98,
    )  # fmt: skip
    plan = make_plan(fingerprint(data), TASK, "cpu")
    start = time.perf_counter()
    folder = train(data.subjects, (), TASK, plan, given.work / "model", settings)
    ours = {"train_s": time.perf_counter() - start}
    start = time.perf_counter()
    to_files(load_model(folder), test.subjects, given.work / "predictions")
    ours["predict_s"] = time.perf_counter() - start
    lines = (folder / "history.jsonl").read_text().splitlines()
    ours["iterations"] = json.loads(lines[-1])["step"]
    result["bonekit"] = ours | judged(test, given.work / "predictions")

    if given.nnunet_python:
        peer = Path(__file__).with_name("nnunet_peer.py")
        command = [given.nnunet_python, peer, given.work.resolve(), "--name", NAME]
        command += ["--seconds", str(60 * given.minutes), "--threads", str(given.threads)]
        subprocess.run([str(c) for c in command], check=True)
        theirs = json.loads((given.work / "nnunet.json").read_text())
        result["nnunet"] = theirs | judged(test, given.work / "nnunet_predictions")
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def judged(test, predictions: Path) -> dict[str, float]:
    """Judge by bonekit's metrics: mean over subjects."""
    found = evaluate(pairs_of(test, predictions), TASK)
    return {one.name: round(one.value, 4) for one in measures(found)}


if __name__ == "__main__":
    main()

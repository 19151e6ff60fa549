"""A model that nnU-Net trained, imported: the same logits, and the same labels but for their edges.

nnU-Net (in an environment of its own, see benchmarks/nnunet.py) trains for a minute on synthetic
femora with lesions and predicts others with its own command's defaults; the imported model predicts
the same.

    python benchmarks/nnunet_import.py --nnunet-python /tmp/nnunet/bin/python
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch

from bonekit.image import read_labels
from bonekit.segmentation.inference import PredictSettings, to_files
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.models.nnunet import import_nnunet
from bonekit.segmentation.networks import build
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.task_files import load_task

TASK = load_task("bone_metastases_ct")
NAME = "Dataset501_toy"
RESULTS = Path(__file__).parent / "results" / "nnunet_import.json"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nnunet-python", type=Path, required=True)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--work", type=Path, default=Path("out/nnunet_import"))
    given = arguments.parse_args()
    raw = given.work / "nnUNet_raw" / NAME
    raw.parent.mkdir(parents=True, exist_ok=True)
    make_dataset(raw, TASK, 8, seed=1)
    test = make_dataset(given.work / "test", TASK, 2, seed=6)
    shutil.copytree(given.work / "test" / "imagesTr", raw / "imagesTs", dirs_exist_ok=True)

    peer = Path(__file__).with_name("nnunet_import_peer.py")
    command = [given.nnunet_python, peer, given.work.resolve(), NAME, given.seconds]
    subprocess.run([str(c) for c in command], check=True)
    like = test.subjects[0].images[0]
    trained = next((given.work / "nnUNet_results" / NAME).glob("*__3d_fullres"))
    model = load_model(import_nnunet(trained, given.work / "model", like=like, synthetic=True))
    to_files(model, test.subjects, given.work / "ours", PredictSettings(mirror=True))

    result = {"nnunet": "2.8.1", "train_s": given.seconds, "synthetic": True}
    result["logits_difference"] = patch_difference(model, np.load(given.work / "patch.npz"))
    result["dice"] = {s.name: agreement(given.work, s.name) for s in test.subjects}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def patch_difference(model, known) -> float:
    """Largest difference of the logits of one patch, over their standard deviation."""
    network = build(model.task, model.plan)
    network.load_state_dict(dict(model.weights[0]))
    # isotropic spacing, files to LPS: nnU-Net's axes are ours from the last to the first
    x = torch.from_numpy(known["patch"]).permute(0, 1, 4, 3, 2)
    with torch.inference_mode():
        ours = network.eval()(x).permute(0, 1, 4, 3, 2).numpy()
    return float(np.abs(ours - known["logits"]).max() / known["logits"].std())


def agreement(work: Path, name: str) -> dict[str, float]:
    """Dice of each label between both predictions."""
    ours = read_labels(work / "ours" / f"{name}.nii.gz").array
    theirs = read_labels(work / "nnunet_predictions" / f"{name}.nii.gz").array
    found = {}
    for label, value in TASK.labels.items():
        a, b = ours == value, theirs == value
        if value and (a | b).any():
            found[label] = round(2 * float((a & b).sum()) / float(a.sum() + b.sum()), 5)
    return found


if __name__ == "__main__":
    main()

"""Models that nnU-Net trained, imported: the same logits of a patch, and the same labels.

nnU-Net (in an environment of its own, see benchmarks/nnunet.py) trains for a minute each on
synthetic CT of femora with lesions (cubes of 3 mm) and on three channels of synthetic brains (thick
slices, zero outside of the head, files to RAS), and predicts others with its own defaults; test
brains have other pixels and slices, so that they are resampled. The imported models do the same.

    python benchmarks/nnunet_import.py --nnunet-python /tmp/nnunet/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from bonekit.image import read_labels
from bonekit.segmentation.data.nnunet import read_dataset
from bonekit.segmentation.inference import PredictSettings, to_files
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.models.nnunet import import_nnunet
from bonekit.segmentation.networks import build
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.task_files import load_task

RESULTS = Path(__file__).parent / "results" / "nnunet_import.json"
SHAPE = (56, 64, 20)  # of the brains
THICK = ((2.0, 2.0, 7.0), (2.3, 2.3, 7.0), (2.3, 2.3, 8.0))  # mm, of training and two tests


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nnunet-python", type=Path, required=True)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--work", type=Path, default=Path("out/nnunet_import"))
    given = arguments.parse_args()
    sets = {"Dataset501_toy": femora(given.work), "Dataset502_thick": brains(given.work)}
    result = {"nnunet": "2.8.1", "train_s": given.seconds, "synthetic": True}
    for name, (task, letters) in sets.items():
        work = given.work / name
        peer = Path(__file__).with_name("nnunet_import_peer.py")
        command = [given.nnunet_python, peer, work.resolve(), name, given.seconds]
        subprocess.run([str(c) for c in command], check=True)
        result[name] = compared(work, name, task, letters)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def femora(root: Path):
    """Write CT of femora with lesions; files to LPS."""
    task, work = load_task("bone_metastases_ct"), root / "Dataset501_toy"
    folders(work, "Dataset501_toy")
    make_dataset(work / "nnUNet_raw" / "Dataset501_toy", task, 8, seed=1)
    make_dataset(work / "test", task, 2, seed=6)
    return task, "LPS"


def brains(root: Path):
    """Write brains of three channels; files to RAS, test files on other grids."""
    task, work = load_task("dawm"), root / "Dataset502_thick"
    folders(work, "Dataset502_thick")
    raw = work / "nnUNet_raw" / "Dataset502_thick"
    if not (raw / "dataset.json").is_file():
        make_dataset(raw, task, 6, seed=3, shape=SHAPE, spacing_mm=THICK[0])
        for number, spacing in enumerate(THICK[1:], start=1):
            make_dataset(work / f"t{number}", task, 1, seed=7, shape=SHAPE, spacing_mm=spacing)
            for path in (work / f"t{number}").glob("*sTr/*.nii.gz"):
                target = work / "test" / path.parent.name / f"t{number}_{path.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
        content = (work / "t1" / "dataset.json").read_text()
        (work / "test" / "dataset.json").write_text(content.replace('g": 1', 'g": 2'))
        for path in [*raw.glob("*sTr/*.nii.gz"), *work.glob("test/*sTr/*.nii.gz")]:
            turn(path, image="images" in path.parent.name)
    return task, "RAS"


def folders(work: Path, name: str) -> None:
    (work / "nnUNet_raw" / name).parent.mkdir(parents=True, exist_ok=True)


def turn(path: Path, image: bool) -> None:
    """Turn a file to RAS; an image becomes zero outside of an ellipsoid."""
    found = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    if image:
        array = sitk.GetArrayFromImage(found)
        axes = np.meshgrid(*(np.linspace(-1.05, 1.05, n) for n in array.shape), indexing="ij")
        array[sum(a**2 for a in axes) > 1] = 0
        found, like = sitk.GetImageFromArray(array), found
        found.CopyInformation(like)
    sitk.WriteImage(found, str(path))


def compared(work: Path, name: str, task, letters: str) -> dict:
    """Import the model, predict the test images, and compare with what nnU-Net made."""
    trained = next((work / "nnUNet_results" / name).glob("*__3d_fullres"))
    model = load_model(import_nnunet(trained, work / "model", orientation=letters, synthetic=True))
    subjects = read_dataset(work / "test", model.task).subjects
    to_files(model, subjects, work / "ours", PredictSettings(mirror=True))
    return {
        "spacing_mm": model.plan.spacing_mm,
        "patch": model.plan.patch,
        "logits_difference": patch_difference(model, np.load(work / "patch.npz")),
        "dice": {s.name: agreement(work, s.name, task) for s in subjects},
    }


def patch_difference(model, known) -> float:
    """Largest difference of the logits of one patch, over their standard deviation."""
    network = build(model.task, model.plan)
    network.load_state_dict(dict(model.weights[0]))
    # files to LPS or RAS, not transposed: nnU-Net's axes are ours from the last to the first
    x = torch.from_numpy(known["patch"]).permute(0, 1, 4, 3, 2)
    with torch.inference_mode():
        ours = network.eval()(x).permute(0, 1, 4, 3, 2).numpy()
    return float(np.abs(ours - known["logits"]).max() / known["logits"].std())


def agreement(work: Path, name: str, task) -> dict[str, float]:
    """Dice of each label between both predictions."""
    ours = read_labels(work / "ours" / f"{name}.nii.gz").array
    theirs = read_labels(work / "nnunet_predictions" / f"{name}.nii.gz").array
    found = {}
    for label, value in task.labels.items():
        a, b = ours == value, theirs == value
        if value and (a | b).any():
            found[label] = round(2 * float((a & b).sum()) / float(a.sum() + b.sum()), 5)
    return found


if __name__ == "__main__":
    main()

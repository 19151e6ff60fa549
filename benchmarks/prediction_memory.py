"""Peak memory of a prediction of five classes on volumes of 200 million voxels.

python benchmarks/prediction_memory.py [part of a case's name] writes
results/prediction_memory.json. Every volume is
written as an int16 NIfTI file to a temporary folder and predicted by `to_files` in a process of
its own, under /usr/bin/time -v. The network is a small DynUNet with random weights: its labels
are noise, the worst case for the quality control. Tiles do not overlap, which changes the time
and not the memory of the slices.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SPACING_MM = (0.7, 0.7, 0.8)
CASES = {  # shape, spacing of the network
    "512x512x800, at its own spacing": ((512, 512, 800), SPACING_MM),
    "512x512x800, network at 0.9 mm": ((512, 512, 800), (0.9, 0.9, 0.9)),
    "1000x1000x200, at its own spacing": ((1000, 1000, 200), SPACING_MM),
}
TIME = ("/usr/bin/time", "-v")


def predict(folder: Path, spacing_mm: tuple[float, float, float]) -> None:
    """Predict the image of a folder on the CPU."""
    import torch

    from bonekit.segmentation.data.subjects import Subject
    from bonekit.segmentation.inference import PredictSettings, to_files
    from bonekit.segmentation.models.card import Card
    from bonekit.segmentation.models.folder import Model
    from bonekit.segmentation.networks import build
    from bonekit.segmentation.planning.plan import Plan, Statistics
    from bonekit.segmentation.task import Channel, Task

    names = ("background", "cortex", "trabecular", "lesion", "metal")
    task = Task(
        name="five",
        description="Five classes.",
        channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
        labels={name: value for value, name in enumerate(names)},
    )
    plan = Plan(
        spacing_mm=spacing_mm,
        median_shape=(512, 512, 512),
        patch=(128, 128, 64),
        batch=2,
        features=(4, 4, 8),
        kernels=((1, 1, 1), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        statistics=(Statistics(mean=0.0, std=500.0, low=-1000.0, high=1500.0),),
    )
    torch.manual_seed(0)
    weights = build(task, plan).state_dict()
    model = Model(task, plan, (weights,), Card(training_data="none", synthetic=True))
    settings = PredictSettings(overlap=0.0, batch=1, device="cpu")
    to_files(model, [Subject("volume", (folder / "volume.nii",))], folder / "out", settings)


def write_volume(shape: tuple[int, int, int], path: Path) -> None:
    """Write smooth noise in HU."""
    from scipy.ndimage import zoom

    from bonekit.image import Grid, Image, write

    coarse = np.random.default_rng(0).normal(100.0, 400.0, [n // 10 for n in shape])
    array = np.empty(shape, dtype=np.int16)
    flat = zoom(
        coarse, (*(n / c for n, c in zip(shape[:2], coarse.shape, strict=False)), 1), order=1
    )
    for k in range(shape[2]):
        array[:, :, k] = flat[:, :, min(k // 10, flat.shape[2] - 1)]
    write(Image(array, Grid.of(shape, SPACING_MM)), path)


def measure(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> dict[str, float]:
    """Run one case in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volume(shape, folder / "volume.nii")
        command = (*TIME, sys.executable, __file__, name, *map(str, spacing_mm))
        done = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    told = dict(line.strip().rsplit(": ", 1) for line in done.stderr.splitlines() if ": " in line)
    clock = told["Elapsed (wall clock) time (h:mm:ss or m:ss)"].split(":")
    seconds = sum(float(part) * 60**n for n, part in enumerate(reversed(clock)))
    peak_GB = int(told["Maximum resident set size (kbytes)"]) * 1024 / 1e9
    return {"peak_GB": round(peak_GB, 2), "seconds": round(seconds, 1)}


def main(part: str) -> None:
    """Measure the cases that have a part in their names, and keep what is known of the others."""
    path = HERE / "results" / "prediction_memory.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    for name, (shape, spacing_mm) in CASES.items():
        if part not in name:
            continue
        found[name] = measure(shape, spacing_mm)
        print(
            f"{name:36} {found[name]['peak_GB']:5.2f} GB  {found[name]['seconds']:6.1f} s",
            flush=True,
        )
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        x, y, z = (float(v) for v in sys.argv[2:])
        predict(Path(sys.argv[1]), (x, y, z))
    else:
        main("".join(sys.argv[1:]))

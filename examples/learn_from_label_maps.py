"""A model of thigh muscles from label maps alone: no image is needed to begin.

Give a folder of your own label maps (numbered as in `TASK`: 1 sartorius, 2 rectus femoris ...):

    python examples/learn_from_label_maps.py LABELS

Without one, eight thighs are drawn. Every third map is kept for the test; the others, bent anew,
give training images. Test images are synthetic too: real ones are harder.
"""

import sys
from pathlib import Path

import numpy as np

from bonekit.image import LabelMap, write
from bonekit.segmentation.evaluation import Evaluation
from bonekit.segmentation.learning import judge, learn
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.synthesis.cases import draw_case
from bonekit.segmentation.synthesis.maps import read_label_maps
from bonekit.segmentation.task import Task
from bonekit.segmentation.task_files import load_task
from bonekit.segmentation.training import TrainSettings

DIXON = load_task("leg_muscle_dixon")
TASK = Task.model_validate(  # its water image only, in axial slices: trains on a processor
    {**dict(DIXON), "channels": DIXON.channels[1:2], "views": ("axial",), "name": "thigh_water"}
)


def drawn(folder: Path, n: int = 8) -> Path:
    """Draw label maps in the place of a user's."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(n):
        labels = draw_case(TASK, np.random.default_rng(seed), body="thigh").labels
        write(LabelMap(labels.array, labels.grid), folder / f"thigh_{seed}.nii.gz")
    return folder


def learned(labels: Path, out: Path, cases: int, settings: TrainSettings) -> Evaluation:
    """Make images of the label maps, train on them, and judge on those of other maps."""
    maps = read_label_maps(labels, TASK, spacing_mm=(3.0, 3.0, 5.0))
    training = [one for number, one in enumerate(maps) if number % 3]
    data = make_dataset(out / "data", TASK, cases, seed=1, label_maps=training)
    test = make_dataset(out / "test", TASK, len(maps[::3]), seed=2, label_maps=maps[::3])
    plan = make_plan(fingerprint(data), TASK, "cpu")
    model = learn(data, plan, out / "model", settings=settings)
    return judge(load_model(model), test, out / "predictions")


if __name__ == "__main__":
    place = Path("out/learn_from_label_maps")
    given = Path(sys.argv[1]) if sys.argv[1:] else drawn(place / "labels")
    asked = TrainSettings(minutes=5, optimiser="adamw", learning_rate=0.004, ema=0.98, batch=16)
    for muscle, found in learned(given, place, 20, asked).model.items():
        print(f"{muscle:>28}  Dice {found['dice'].mean:.3f} (synthetic images)")

"""From 20 generated scans to a trained, calibrated, evaluated model of bone and its lesions.

All scans are synthetic: femora of capsules and spheres at 3 mm, with lytic, blastic and mixed
lesions. Ten more, that training has not seen, judge the model: one view, then three views fused.
Under 15 minutes on two cores.
"""

from pathlib import Path

from bonekit.segmentation.data.subjects import Dataset
from bonekit.segmentation.evaluation import Evaluation
from bonekit.segmentation.inference import PredictSettings
from bonekit.segmentation.learning import judge, learn
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.planning.fingerprint import fingerprint
from bonekit.segmentation.planning.rules import make_plan
from bonekit.segmentation.synthesis import make_dataset
from bonekit.segmentation.task_files import load_task
from bonekit.segmentation.training import TrainSettings

TASK = load_task("bone_metastases_ct")
VIEWS = {"one view": ("axial",), "three views": TASK.views}


def trained(out: Path, cases: int, settings: TrainSettings) -> Path:
    """Generate the scans, plan a network for a processor, train it."""
    data = make_dataset(out / "data", TASK, cases, seed=1)
    plan = make_plan(fingerprint(data), TASK, "cpu")
    return learn(data, plan, out / "model", folds=5, settings=settings)


def tested(out: Path, model: Path, test: Dataset) -> dict[str, Evaluation]:
    """Judge the model on scans it has not seen."""
    return {
        name: judge(load_model(model), test, out / name, PredictSettings(views=views))
        for name, views in VIEWS.items()
    }


def main(out: Path = Path("out/learn_to_segment"), minutes: float = 8.0) -> None:
    """Print the table; out/learn_to_segment/three views/evaluation.html tells more."""
    settings = TrainSettings(
        steps=3000, every=100, minutes=minutes, batch=24,
        optimiser="adamw", learning_rate=0.004, ema=0.98,
    )  # fmt: skip
    model = trained(out, 20, settings)
    test = make_dataset(out / "test", TASK, 10, seed=2)
    print(f"{'synthetic scans':>16}  bone Dice  lesion Dice  lesion F1  false lesions per scan")
    for name, found in tested(out, model, test).items():
        bone, lesion = found.model["bone"], found.model["lesion"]
        print(
            f"{name:>16}  {bone['dice'].mean:9.3f}  {lesion['dice'].mean:11.3f}  "
            f"{lesion['f1'].mean:9.3f}  {lesion['n_false'].mean:22.2f}"
        )


if __name__ == "__main__":
    main()

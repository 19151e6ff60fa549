"""Plans of nnU-Net itself for eight geometries, as the reference of our planner.

Needs its own environment: ``pip install nnunetv2==2.8.1``; then
``python benchmarks/nnunet_plans.py tests/unit/segmentation/planning/nnunet_plans.json``.
"""

import json
import os
import sys
import types
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp

for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(variable, mkdtemp())

import nnunetv2.experiment_planning.experiment_planners.default_experiment_planner as planner  # noqa: E402
from nnunetv2.utilities.json_export import recursive_fix_for_json_export  # noqa: E402

CASES = 20
GEOMETRIES = {  # shape and spacing along x, y, z
    "femur_ct": ((280, 280, 500), (0.7, 0.7, 0.7)),
    "hip_ct": ((400, 300, 300), (0.8, 0.8, 1.25)),
    "leg_dixon": ((320, 208, 400), (1.0, 1.0, 1.0)),
    "leg_dixon_thick": ((384, 320, 60), (1.0, 1.0, 5.0)),
    "flair": ((400, 500, 170), (0.5, 0.5, 1.0)),
    "ultrasound": ((1000, 1000, 200), (0.3, 0.3, 0.3)),
    "toy_femur": ((48, 48, 48), (3.0, 3.0, 3.0)),
    "brain_template": ((181, 217, 181), (1.0, 1.0, 1.0)),
}


def plan(shape, spacing, memory_GB):
    """Let nnU-Net plan for a fingerprint; its planner writes nothing."""
    folder = Path(mkdtemp())
    planner.maybe_convert_to_dataset_name = lambda name: "Dataset001_made"
    planner.load_json = lambda path: {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "bone": 1},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
        "spacings": [spacing[::-1]] * CASES,
        "shapes_after_crop": [shape[::-1]] * CASES,
        "median_relative_size_after_cropping": 1.0,
        "foreground_intensity_properties_per_channel": {},
    }
    planner.get_filenames_of_train_images_and_targets = lambda *_: {}
    planner.isfile = lambda path: "fingerprint" in path
    planner.shutil = types.SimpleNamespace(copy=lambda *_: None)
    planner.paths = types.SimpleNamespace(nnUNet_raw=str(folder), nnUNet_preprocessed=str(folder))
    theirs = planner.ExperimentPlanner(1, gpu_memory_target_in_gb=memory_GB)
    theirs.determine_reader_writer = lambda: type("Reader", (), {})
    theirs.save_plans = lambda plans: None
    with redirect_stdout(StringIO()):
        made = theirs.plan_experiment()
    recursive_fix_for_json_export(made)
    return {
        name: {
            "axes": [2 - a for a in made["transpose_forward"]][3 - len(p["patch_size"]) :],
            "spacing": p["spacing"],
            "patch": p["patch_size"],
            "batch": p["batch_size"],
            "features": p["architecture"]["arch_kwargs"]["features_per_stage"],
            "kernels": p["architecture"]["arch_kwargs"]["kernel_sizes"],
            "strides": p["architecture"]["arch_kwargs"]["strides"],
        }
        for name, p in made["configurations"].items()
        if "patch_size" in p
    }


def main(target: Path) -> None:
    plans = {
        name: {"shape": shape, "spacing": spacing}
        | {f"{memory}GB": plan(list(shape), list(spacing), memory) for memory in (8, 24)}
        for name, (shape, spacing) in GEOMETRIES.items()
    }
    made = {"nnunetv2": version("nnunetv2"), "cases": CASES, "plans": plans}
    target.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

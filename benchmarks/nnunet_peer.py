"""nnU-Net on a folder in its raw layout, for a given wall time; run by its own interpreter.

`benchmarks/nnunet.py` calls it. The trainer is nnU-Net's own with its own plan, losses,
augmentation, sampling and decaying rate; only the number of iterations follows from the time: a few
are timed first, so that the rate reaches its end when the time is over.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with nnUNet_raw/DatasetNNN_name in it")
    arguments.add_argument("--name", default="Dataset501_toy")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    set_folders(given.work)
    times = {}
    start = time.perf_counter()
    prepare(given.name)
    times["prepare_s"] = time.perf_counter() - start
    start = time.perf_counter()
    trainer = train(given.name, given.seconds, given.threads)
    times |= {"train_s": time.perf_counter() - start, "iterations": trainer.done}
    start = time.perf_counter()
    predict(trainer, given.work, given.name)
    times["predict_s"] = time.perf_counter() - start
    plan = trainer.configuration_manager
    times |= {"patch": list(map(int, plan.patch_size)), "batch": int(plan.batch_size)}
    (given.work / "nnunet.json").write_text(json.dumps(times, indent=1))


def set_folders(work: Path) -> None:
    """Tell nnU-Net where its folders are; one process more is enough for it."""
    for part in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{part}"] = str(work / f"nnUNet_{part}")
    os.environ.update({"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"})


def prepare(name: str) -> None:
    """Plan and preprocess as nnUNetv2_plan_and_preprocess does."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    number = int(name[7:10])
    extract_fingerprints([number], num_processes=1)
    plan_experiments([number])
    preprocess([number], configurations=("3d_fullres",), num_processes=(1,))


def train(name: str, seconds: float, threads: int):
    """Train 3d_fullres on all cases for about a given time."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    torch.set_num_threads(threads)

    class Timed(module.nnUNetTrainer):
        """nnU-Net's trainer with as many iterations as fit into the time."""

        num_probe = 3

        def on_train_start(self) -> None:
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 10, 1
            self.began, self.done = time.perf_counter(), 0
            super().on_train_start()
            start = time.perf_counter()
            for _ in range(self.num_probe):
                self.train_step(next(self.dataloader_train))
            each = (time.perf_counter() - start) / self.num_probe
            left = seconds - (time.perf_counter() - self.began)
            self.num_epochs = max(1, int(left / (each * 10.7)))  # .7: validation and logging
            self.lr_scheduler.max_steps = self.num_epochs

        def train_step(self, batch: dict) -> dict:
            self.done += 1
            return super().train_step(batch)

        def on_train_end(self) -> None:
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_final.pth"))

    kept, module.nnUNetTrainer = module.nnUNetTrainer, Timed
    import nnunetv2.run.run_training as runner

    runner.recursive_find_trainer_class_by_name = lambda _: Timed
    trainer = get_trainer_from_args(name, "3d_fullres", "all", device=torch.device("cpu"))
    module.nnUNetTrainer = kept
    trainer.run_training()
    return trainer


def predict(trainer, work: Path, name: str) -> None:
    """Predict imagesTs with nnU-Net's own defaults: step .5, Gaussian, mirrored."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    trainer.set_deep_supervision_enabled(False)
    out = work / "nnunet_predictions"
    out.mkdir(exist_ok=True)
    images = work / "nnUNet_raw" / name / "imagesTs"
    groups: dict[str, list[str]] = {}
    for path in sorted(images.glob("*.nii.gz")):
        groups.setdefault(path.name[: -len("_0000.nii.gz")], []).append(str(path))
    predictor.predict_from_files_sequential(
        list(groups.values()), [str(out / case) for case in groups], save_probabilities=False
    )


if __name__ == "__main__":
    main()

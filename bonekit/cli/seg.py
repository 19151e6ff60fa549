"""The commands that learn to segment: seg tasks, synth, plan, train, predict, evaluate and more."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from bonekit.cli.app import Output, app
from bonekit.cli.seg_data import (
    GROUP,
    PLAIN,
    Bids,
    dataset_of,
    subjects_of,
    write_derivatives,
)

if TYPE_CHECKING:
    from bonekit.segmentation.data.subjects import Dataset
    from bonekit.segmentation.planning.plan import Plan

Flag = Annotated[bool, Parameter(negative=())]
Device = Literal["auto", "cpu", "cuda"]

seg = App(
    name="seg",
    help="Learn to segment: from a data set to a trained, calibrated, evaluated model.\n\n"
    "A task says what is segmented (`bonekit seg tasks`), or is your own file by "
    "data_schema/task.schema.json. A data set is a folder in nnU-Net's raw layout (dataset.json, "
    "imagesTr, labelsTr) or in BIDS (dataset_description.json, sub-*).",
    help_epilogue="Start with: bonekit seg synth bone_metastases_ct -o DATA; "
    "bonekit seg train DATA --task bone_metastases_ct -o MODEL --minutes 10",
)
app.command(seg)


@seg.command
def tasks() -> None:
    """List the built-in tasks, with their channels and labels."""
    from bonekit.segmentation.task_files import built_in_tasks, load_task

    for name in built_in_tasks():
        task = load_task(name)
        channels = ", ".join(c.name + ("?" if c.optional else "") for c in task.channels)
        labels = ", ".join(name for name in task.labels if name != "background")
        print(f"{name}: {channels} -> {labels}\n    {' '.join(task.description.split())}")


@seg.command
def synth(
    task: str,
    /,
    *,
    out: Output,
    number: Annotated[int, Parameter(name=["--number", "-n"])] = 20,
    seed: int = 0,
    body: str | None = None,
    labels: Path | None = None,
    spacing: tuple[float, float, float] | None = None,
    raters: int = 0,
) -> None:
    """Make a synthetic data set of a task, with exact truth: images from label maps.

    Called again, it goes on where it was stopped.

    Parameters
    ----------
    task
        Name of a built-in task, or a task file.
    out
        Folder, in nnU-Net's raw layout, with a case sheet (sheet.csv).
    number
        Of subjects.
    seed
        The same seed gives the same subjects.
    body
        femur, thigh, brain, organ, or phantom for bonekit's finer bones; by default the task's.
    labels
        Folder of label maps of your own to make images from; their labels have the names or the
        numbers of the task's (or names of tissues around: fat, muscle, csf ...).
    spacing
        Of the synthetic images in mm, to the left, back and head; by default that of the body or of
        your label maps.
    raters
        Simulated raters beside the truth.
    """
    from bonekit.segmentation.synthesis import make_dataset
    from bonekit.segmentation.synthesis.maps import read_label_maps
    from bonekit.segmentation.task_files import load_task

    described = load_task(task)
    maps = read_label_maps(labels, described, spacing_mm=spacing) if labels else ()
    made = make_dataset(
        out, described, number, seed=seed, body=body, label_maps=maps, raters=raters,
        spacing_mm=None if labels else spacing,
    )  # fmt: skip
    print(f"{len(made.subjects)} synthetic subjects: {out}")
    print(f"next: bonekit seg train {out} --task {task} -o MODEL --minutes 10")


@seg.command
def plan(
    data: Path,
    /,
    *,
    task: str,
    out: Output,
    memory: float | None = None,
    bids: Bids = PLAIN,
) -> None:
    """Plan spacing, patch, network and batch from a data set, by nnU-Net's rules.

    Parameters
    ----------
    data
        Data set.
    task
        Name of a built-in task, or a task file.
    out
        Plan: .json.
    memory
        Of the graphics card in GB; without it the plan is one that trains on a processor.
    """
    from bonekit.segmentation.planning.files import describe, save

    made = _plan(dataset_of(data, task, bids), memory)
    save(made, out)
    print(describe(made))


@seg.command
def train(
    data: Path,
    /,
    *,
    task: str,
    out: Output,
    plan: Path | None = None,
    memory: float | None = None,
    fold: int = 0,
    folds: int = 5,
    group: str | None = None,
    steps: int = 250_000,
    minutes: float | None = None,
    patience: int | None = None,
    start: Path | None = None,
    seed: int = 12345,
    device: Device = "auto",
    licence: str | None = None,
    bids: Bids = PLAIN,
) -> None:
    """Train, calibrate and evaluate a model; stopped, the same command goes on.

    Parameters
    ----------
    data
        Data set.
    task
        Name of a built-in task, or a task file.
    out
        Folder of the model.
    plan
        Plan of `bonekit seg plan`; by default it is made.
    memory
        Of the graphics card in GB, for the plan; without it, one for a processor.
    fold
        The part of the data that is kept out: for stopping, temperature and evaluation.
    folds
        Parts of the data.
    group
        Column of the case sheet whose values stay in one part, such as patient.
    steps
        Updates of the weights; by default as nnU-Net.
    minutes
        Time limit.
    patience
        Rounds without a better Dice before it stops.
    start
        Model to start from (fine-tuning).
    seed
        Of weights and patches.
    device
        cpu or cuda; auto takes a graphics card where there is one. `torchrun -m bonekit.cli seg
        train ...` takes several.
    licence
        Of the weights, for the card.
    """
    from bonekit.console import bar
    from bonekit.segmentation.learning import learn
    from bonekit.segmentation.models.card import render
    from bonekit.segmentation.models.folder import load_model
    from bonekit.segmentation.planning.files import load_plan
    from bonekit.segmentation.training import TrainSettings

    dataset = dataset_of(data, task, bids)
    settings = TrainSettings(
        steps=steps, minutes=minutes, patience=patience, seed=seed, device=device
    )
    out.mkdir(parents=True, exist_ok=True)
    made = load_plan(plan) if plan else _plan(dataset, memory)
    with bar() as progress:

        def step(done: int, all_steps: int, loss: float) -> None:
            progress("training", done / all_steps, f"step {done}, loss {loss:.3f}")

        learn(
            dataset, made, out, fold=fold, folds=folds, group=group, settings=settings,
            start=start, licence=licence, progress=step,
        )  # fmt: skip
    print(render(load_model(out).card, dataset.task))
    print(f"next: bonekit seg predict {out} IMAGE -o PREDICTIONS")


@seg.command
def predict(
    model: Path,
    images: list[Path],
    /,
    *,
    out: Output,
    overlap: float = 0.5,
    mirror: Flag = False,
    dropout: int = 0,
    samples: int = 0,
    probabilities: Flag = False,
    allow_demo: Flag = False,
    device: Device = "auto",
    as_bids: Annotated[Path | None, Parameter(group=GROUP)] = None,
    bids: Bids = PLAIN,
) -> None:
    """Predict labels, their entropy and a verdict on them; stopped, the same command goes on.

    Parameters
    ----------
    model
        Folder of a model.
    images
        A data set or its folder of images; or the files of one subject, channels in the order of
        the task.
    out
        Folder.
    overlap
        Of neighbouring tiles.
    mirror
        Average over mirrored images.
    dropout
        Passes with dropout switched on, averaged.
    samples
        Label maps drawn from the probabilities.
    probabilities
        Keep them, on the grid of the images.
    allow_demo
        Let a model trained on synthetic images predict those of a patient.
    device
        cpu or cuda.
    as_bids
        Folder to write the labels to a second time, as a derivative in BIDS.
    """
    from bonekit.console import bar
    from bonekit.segmentation.inference import PredictSettings, to_files
    from bonekit.segmentation.models.folder import load_model

    found = load_model(model, allow_demo=allow_demo)
    settings = PredictSettings(
        overlap=overlap, mirror=mirror, dropout=dropout, samples=samples,
        probabilities=probabilities, device=device,
    )  # fmt: skip
    subjects = subjects_of(images, found.task, bids)
    with bar() as progress:

        def slab(name: str, done: int, slabs: int) -> None:
            progress(name, done / slabs, f"slab {done} of {slabs}")

        made = to_files(found, subjects, out, settings, slab)
    if as_bids is not None:
        write_derivatives(as_bids, subjects, found.task, made)
    _say_verdicts(made)


def _plan(dataset: Dataset, memory_GB: float | None) -> Plan:
    from bonekit.segmentation.planning.fingerprint import fingerprint
    from bonekit.segmentation.planning.rules import make_plan

    return make_plan(fingerprint(dataset), dataset.task, memory_GB or "cpu")


def _say_verdicts(labels: Sequence[Path]) -> None:
    """Tell which predictions the quality control wants looked at."""
    doubted = 0
    for path in labels:
        name = path.name.removesuffix(".nii.gz")
        report = json.loads((path.parent / f"{name}_report.json").read_text(encoding="utf-8"))
        for finding in report["findings"]:
            print(f"{finding['severity']}: {name}: {finding['message']}", file=sys.stderr)
        doubted += not report["sound"]
    print(f"{len(labels)} predicted, {doubted} to look at: {labels[0].parent}")

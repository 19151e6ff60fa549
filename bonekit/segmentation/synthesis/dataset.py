"""A synthetic data set on disk in nnU-Net's raw layout, with its truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bonekit.errors import InputError
from bonekit.image import LabelMap, write
from bonekit.image.writing import replacing
from bonekit.segmentation.data.nnunet import dataset_json
from bonekit.segmentation.data.sheet import write_sheet
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.synthesis.anatomy import Shape, Size
from bonekit.segmentation.synthesis.cases import Case, draw_case
from bonekit.segmentation.synthesis.raters import simulate_rater
from bonekit.segmentation.synthesis.recipe import Recipe
from bonekit.segmentation.task import Task

SETTINGS = "synthesis.json"


def make_dataset(
    folder: str | Path,
    task: Task,
    n: int,
    *,
    seed: int,
    body: str | None = None,
    label_maps: Sequence[LabelMap] = (),
    shape: Shape | None = None,
    spacing_mm: Size | None = None,
    recipes: Mapping[str, Recipe] | None = None,
    raters: int = 0,
) -> Dataset:
    """Make a synthetic data set of a task.

    Writes ``imagesTr``, ``labelsTr``, ``dataset.json`` (nnU-Net raw), ``labelsTr_rater{k}``,
    ``sheet.csv`` with scanner and site (scanner B has thicker slices, more noise and a stronger
    bias field), ``truth/{subject}.json`` with every lesion, and ``synthesis.json`` with what was
    asked for. A folder that was begun with the same settings is continued: subject i depends on
    the seed and i alone, so that a killed run gives the same files and `n` can grow.

    Parameters
    ----------
    folder : str or Path
        Made if need be.
    task : Task
    n : int
        Number of subjects.
    seed : int
    body : str, optional
        "femur", "thigh", "brain", "organ" or "phantom", see `cases.draw_case`.
    label_maps : sequence of LabelMap, optional
        Bodies in the place of `body`, used in turn, each bent anew.
    shape, spacing_mm : tuple, optional
        Grid of a drawn body.
    recipes : mapping of str to Recipe, optional
        Looks of channels by name.
    raters : int
        Simulated raters beside the truth.

    Raises
    ------
    InputError
        If `n` is below 1, if `folder` holds something else, or as `cases.draw_case`.
    """
    if n < 1 or raters < 0:
        raise InputError(f"{n} subjects and {raters} raters: at least 1 subject, raters from 0")
    if body is not None and label_maps:
        raise InputError("both body and label_maps are given; leave one of them out")
    target = Path(folder)
    asked = {
        "task": task.model_dump(mode="json"),
        "seed": seed,
        "body": body,
        "label_maps": [_hash(labels) for labels in label_maps],
        "shape": shape,
        "spacing_mm": spacing_mm,
        "recipes": {k: r.model_dump(mode="json") for k, r in (recipes or {}).items()},
        "raters": raters,
    }
    _claim(target, asked, raters)
    for index in range(n):
        name = _name(task, index)
        if not (target / "truth" / f"{name}.json").is_file():
            rng = np.random.default_rng([seed, index])
            own = label_maps[index % len(label_maps)] if label_maps else body
            case = draw_case(
                task, rng, body=own, shape=shape, spacing_mm=spacing_mm, recipes=recipes
            )
            _write_case(target, name, case, raters, rng)
    return _finish(target, task, n)


def _name(task: Task, index: int) -> str:
    return f"{task.name}_{index:03d}"


def _hash(labels: LabelMap) -> str:
    content = np.ascontiguousarray(labels.array).tobytes() + labels.affine.tobytes()
    return hashlib.sha256(content + repr(sorted(labels.names.items())).encode()).hexdigest()


def _claim(target: Path, asked: Mapping[str, Any], raters: int) -> None:
    """Make the folder, or see that it was begun with the same settings."""
    text = json.dumps(asked, indent=1)
    known = target / SETTINGS
    if known.is_file():
        if known.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{target} holds a synthetic data set that was made with other settings "
                f"({SETTINGS}): choose a new folder, or delete this one"
            )
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder: choose a new one")
    for name in ("imagesTr", "labelsTr", "truth", *_rater_folders(raters)):
        (target / name).mkdir(parents=True, exist_ok=True)
    _write(known, text)


def _rater_folders(raters: int) -> list[str]:
    return [f"labelsTr_rater{k + 1}" for k in range(raters)]


def _write_case(target: Path, name: str, case: Case, raters: int, rng: np.random.Generator) -> None:
    """Write a subject, its truth last: with it the subject is complete."""
    for number, image in enumerate(case.images):
        write(image, target / "imagesTr" / f"{name}_{number:04d}.nii.gz")
    plain = LabelMap(case.labels.array, case.labels.grid)  # names stand in dataset.json
    write(plain, target / "labelsTr" / f"{name}.nii.gz")
    for folder in _rater_folders(raters):
        write(simulate_rater(plain, rng), target / folder / f"{name}.nii.gz")
    truth = {"columns": dict(case.columns), "lesions": [asdict(one) for one in case.lesions]}
    _write(target / "truth" / f"{name}.json", json.dumps(truth, indent=1))


def _finish(target: Path, task: Task, n: int) -> Dataset:
    """Write the sheet and dataset.json, and gather the subjects."""
    subjects = []
    for index in range(n):
        name = _name(task, index)
        truth = json.loads((target / "truth" / f"{name}.json").read_text(encoding="utf-8"))
        channels = range(len(task.channels))
        images = tuple(target / "imagesTr" / f"{name}_{k:04d}.nii.gz" for k in channels)
        labels = target / "labelsTr" / f"{name}.nii.gz"
        subjects.append(Subject(name, images, labels, truth["columns"]))
    write_sheet(subjects, target / "sheet.csv")
    _write(target / "dataset.json", json.dumps(dataset_json(task, n), indent=1))
    return Dataset(task, tuple(subjects))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

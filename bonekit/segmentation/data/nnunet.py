"""The raw layout of nnU-Net, in and out.

``dataset.json``, ``imagesTr/{case}_{0000}.nii.gz``, ``labelsTr/{case}.nii.gz``, ``imagesTs``,
``labelsTs``; beside it ``sheet.csv`` (ours) and ``splits_final.json``. Source: nnU-Net 2.8.1,
documentation of its dataset format.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bonekit.errors import InputError
from bonekit.image import read, read_labels, write
from bonekit.image.writing import replacing
from bonekit.segmentation.data.sheet import read_sheet, with_columns, write_sheet
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.task import Task


def read_dataset(
    folder: str | Path, task: Task, sheet: str | Path | None = None, *, test: bool = False
) -> Dataset:
    """Find the subjects of a folder.

    Parameters
    ----------
    folder : str or Path
    task : Task
        Its channels and labels must be those of ``dataset.json``, in the same order.
    sheet : str or Path, optional
        Case sheet; by default ``sheet.csv`` or ``sheet.tsv`` of the folder, if there is one.
    test : bool
        ``imagesTs`` in place of ``imagesTr``; labels are then optional.

    Raises
    ------
    InputError
        If ``dataset.json`` is missing or contradicts the task, or if a file lacks its partner.
    """
    root = Path(folder)
    content = _dataset_json(root)
    _check_channels(content, task, root)
    _check_labels(content, task, root)
    ending = str(content.get("file_ending", ".nii.gz"))
    images, labels = ("imagesTs", "labelsTs") if test else ("imagesTr", "labelsTr")
    subjects = _subjects(root / images, root / labels, ending, task, test)
    expected = content.get("numTraining")
    if not test and expected is not None and int(expected) != len(subjects):
        raise InputError(
            f"{root}/dataset.json says {expected} training cases, {images} holds {len(subjects)}: "
            "is the copy complete?"
        )
    beside = (root / "sheet.csv", root / "sheet.tsv")
    found = Path(sheet) if sheet is not None else next((b for b in beside if b.is_file()), None)
    if found is not None:
        subjects = with_columns(subjects, read_sheet(found), str(found))
    return Dataset(task, subjects)


def write_dataset(dataset: Dataset, folder: str | Path) -> Path:
    """Write subjects in nnU-Net's raw layout.

    Subjects with labels go to ``imagesTr``, those without to ``imagesTs``. A file that is
    ``.nii.gz`` already is copied, any other converted; in place of an absent optional channel goes
    an image of zeros, for nnU-Net wants all channels always.

    Parameters
    ----------
    dataset : Dataset
    folder : str or Path
        Made if it does not exist (its parent must).

    Raises
    ------
    InputError
        If the folder holds a data set already.
    """
    root = Path(folder)
    if (root / "dataset.json").exists():
        raise InputError(f"{root} holds a data set already: choose another folder, or remove it")
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for subject in dataset.subjects:
        images = root / ("imagesTs" if subject.labels is None else "imagesTr")
        for number, path in enumerate(subject.images):
            _copy_image(path, subject, images / f"{subject.name}_{number:04d}.nii.gz")
        if subject.labels is not None:
            _copy_labels(subject.labels, root / "labelsTr" / f"{subject.name}.nii.gz")
    if any(s.columns for s in dataset.subjects):
        write_sheet(dataset.subjects, root / "sheet.csv")
    count = sum(s.labels is not None for s in dataset.subjects)
    with replacing(root / "dataset.json") as temporary:  # last: a folder without it is no data set
        text = json.dumps(dataset_json(dataset.task, count), indent=1) + "\n"
        temporary.write_text(text, encoding="utf-8")
    return root


def dataset_json(task: Task, count: int) -> dict[str, Any]:
    """Content of ``dataset.json`` for a task and a number of training cases."""
    content: dict[str, Any] = {
        "channel_names": {str(i): c.name for i, c in enumerate(task.channels)},
        "labels": dict(task.labels),
        "numTraining": count,
        "file_ending": ".nii.gz",
        "name": task.name,
        "description": task.description,
    }
    if task.regions is not None and task.region_order is not None:
        content["labels"] = {"background": 0} | _regions(task)
        content["regions_class_order"] = [task.labels[name] for name in task.region_order]
    return content


def _regions(task: Task) -> dict[str, list[int]]:
    return {
        name: sorted(task.labels[p] for p in parts) for name, parts in (task.regions or {}).items()
    }


def _dataset_json(root: Path) -> Mapping[str, Any]:
    source = root / "dataset.json"
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{root} is no data set of nnU-Net: {source} can't be read ({error}). Expected: "
            "dataset.json, imagesTr and labelsTr"
        ) from error
    if not isinstance(content, dict) or "labels" not in content:
        raise InputError(f"{source} has no 'labels': is it nnU-Net's dataset.json?")
    return content


def plain_name(name: object) -> str:
    """Name as tasks have them: in lower case, other signs as underscores: ``T1-w`` is ``t1_w``."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def _check_channels(content: Mapping[str, Any], task: Task, root: Path) -> None:
    listed = content.get("channel_names", content.get("modality", {}))
    found = [plain_name(listed[key]) for key in sorted(listed, key=int)]
    wanted = [c.name for c in task.channels]
    if found != wanted:
        order = "in another order" if sorted(found) == sorted(wanted) else "others"
        raise InputError(
            f"{root}/dataset.json has channels {', '.join(found) or 'none'}; the task {task.name} "
            f"takes {', '.join(wanted)}: these are {order}. Correct the task or dataset.json; "
            "files are numbered by it"
        )


def _check_labels(content: Mapping[str, Any], task: Task, root: Path) -> None:
    """Labels of the file are the task's, as labels or as its regions."""
    if "ignore" in content["labels"]:
        raise InputError(
            f"{root}/dataset.json has a label 'ignore', which bonekit's losses don't know: correct "
            "or leave out those cases"
        )
    found = {
        plain_name(k): sorted(map(int, v)) if isinstance(v, list) else [int(v)]
        for k, v in content["labels"].items()
    }
    allowed = [{name: [value] for name, value in task.labels.items()}]
    if task.regions is not None:
        allowed.append({"background": [0]} | _regions(task))
    if found not in allowed:
        raise InputError(
            f"{root}/dataset.json has labels {_words(found)}; the task {task.name} has "
            f"{' or '.join(map(_words, allowed))}. Correct the one that is wrong"
        )


def _words(labels: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {'+'.join(map(str, v))}" for name, v in labels.items())


def _subjects(
    images: Path, labels: Path, ending: str, task: Task, test: bool
) -> tuple[Subject, ...]:
    if not images.is_dir():
        raise InputError(f"there is no folder {images}")
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(images.iterdir()):
        if match := pattern.fullmatch(path.name):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        raise InputError(f"{images} holds no file named like case_0000{ending}")
    masks = {p.name.removesuffix(ending): p for p in labels.glob(f"*{ending}")}
    if alone := sorted(set(masks) - set(found)):
        raise InputError(f"{labels}: no images for {', '.join(alone)}")
    if not test and (bare := sorted(set(found) - set(masks))):
        raise InputError(f"{images}: no labels for {', '.join(bare)} in {labels}")
    return tuple(
        Subject(name, _channels(name, files, task, images), masks.get(name))
        for name, files in sorted(found.items())
    )


def _channels(
    name: str, files: Mapping[int, Path], task: Task, images: Path
) -> tuple[Path | None, ...]:
    """Files in the task's order; None for an absent optional channel."""
    if extra := sorted(set(files) - set(range(len(task.channels)))):
        raise InputError(
            f"{files[extra[0]]}: the task {task.name} has {len(task.channels)} channels, numbered "
            "from 0000"
        )
    for number, channel in enumerate(task.channels):
        if number not in files and not channel.optional:
            raise InputError(f"{images}: {name} lacks channel {channel.name} ({number:04d})")
    return tuple(files.get(number) for number in range(len(task.channels)))


def _copy_image(path: Path | None, subject: Subject, target: Path) -> None:
    if path is not None and path.name.endswith(".nii.gz"):
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    elif path is not None:
        write(read(path), target)
    else:
        like = read(next(p for p in subject.images if p is not None))
        write(like.with_array(np.zeros(like.shape, dtype=np.int16)), target)


def _copy_labels(path: Path, target: Path) -> None:
    if path.name.endswith(".nii.gz"):
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        labels = read_labels(path)
        write(type(labels)(labels.array, labels.grid), target)  # no table of names beside it

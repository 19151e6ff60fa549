"""BIDS: images and labels in, labels out as a derivative.

Source: Brain Imaging Data Structure 1.10, imaging derivatives (``_dseg`` with its ``.tsv`` of
index, name and colour, and ``.json``). Which file is which channel BIDS can't say for every task,
so the caller gives a pattern for each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.image import LabelMap, write
from bonekit.image.slicer import PALETTE
from bonekit.image.writing import replacing
from bonekit.segmentation.data.sheet import read_sheet
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.task import Task

VERSION = "1.10.0"


def read_bids(
    folder: str | Path,
    task: Task,
    channels: Mapping[str, str],
    *,
    labels: str | None = None,
    derivatives: str | Path | None = None,
    sessions: bool = False,
    sheet: str | Path | None = None,
) -> Dataset:
    """Find the subjects of a BIDS folder.

    Parameters
    ----------
    folder : str or Path
        Holds ``sub-*`` folders.
    task : Task
    channels : mapping of str to str
        For each channel a pattern of its file inside of the subject's folder
        (``{"flair_baseline": "ses-01/anat/*_FLAIR.nii.gz"}``).
    labels : str, optional
        Pattern of the label file inside of the subject's folder of `derivatives`.
    derivatives : str or Path, optional
        Where labels are, ``derivatives/labels`` for example; by default in `folder` itself.
    sessions : bool
        Each ``sub-X/ses-Y`` is a subject of its own, named ``X_Y``; patterns start inside of it.
    sheet : str or Path, optional
        Case sheet; by default ``participants.tsv``, if there is one.

    Returns
    -------
    Dataset
        Subjects without any image are left out. Columns are those of the sheet, and
        ``participant`` and ``session`` to keep together in folds.

    Raises
    ------
    InputError
        If a pattern fits to several files of a subject, a required channel or the labels of a
        subject are missing, or a channel of the task has no pattern.
    """
    root = Path(folder)
    known = {c.name for c in task.channels}
    needed = {c.name for c in task.channels if not c.optional}
    if wrong := sorted(set(channels) - known) or sorted(needed - set(channels)):
        raise InputError(
            f"patterns are given for {', '.join(channels)}; the task {task.name} has channels "
            f"{', '.join(known)}: {', '.join(wrong)} is wrong or missing"
        )
    rows = _rows(root, sheet)
    places = sorted(root.glob("sub-*/ses-*" if sessions else "sub-*"))
    subjects = []
    for place in (p for p in places if p.is_dir()):
        images = tuple(_one(place, channels.get(c.name)) for c in task.channels)
        if any(image is not None for image in images):
            beside = Path(derivatives or root) / place.relative_to(root)
            subjects.append(_subject(place.relative_to(root), images, beside, task, labels, rows))
    if not subjects:
        patterns = ", ".join(channels.values())
        raise InputError(f"{root} holds no sub-* folder with a file of {patterns}")
    return Dataset(task, tuple(subjects))


def write_bids(
    folder: str | Path,
    subject: str,
    labels: LabelMap,
    task: Task,
    *,
    session: str | None = None,
    description: str = "bonekit",
    sources: tuple[str, ...] = (),
    manual: bool = False,
) -> Path:
    """Write labels as a BIDS derivative.

    Parameters
    ----------
    folder : str or Path
        Of the derivative data set; made, with its ``dataset_description.json``, if new.
    subject, session : str
        Signs other than letters and digits are left out of their names, which BIDS asks for.
    labels : LabelMap
    task : Task
        Gives the names of the labels.
    description : str
        The ``desc-`` of the file name.
    sources : tuple of str
        Images the labels were made from, as BIDS URIs or paths.
    manual : bool
        Drawn by a reader.

    Returns
    -------
    Path
        The ``_dseg.nii.gz``, written last.

    Raises
    ------
    InputError
        If the file exists, or nothing is left of a name.
    """
    root, target = Path(folder), dseg_path(folder, subject, session, description)
    if target.exists():
        raise InputError(f"{target} exists already: choose another description, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    _describe(root)
    _text(target.with_name(target.name.replace(".nii.gz", ".tsv")), _table(task, labels))
    named = {name: value for name, value in task.labels.items() if value}
    content = {"Manual": manual, "Sources": list(sources), "labels": named}
    _text(target.with_name(target.name.replace(".nii.gz", ".json")), json.dumps(content, indent=1))
    write(LabelMap(labels.array, labels.grid), target)
    return target


def dseg_path(
    folder: str | Path, subject: str, session: str | None = None, description: str = "bonekit"
) -> Path:
    """Return where `write_bids` writes labels."""
    stem = f"sub-{bids_label(subject)}"
    place = Path(folder) / stem
    if session is not None:
        stem, place = f"{stem}_ses-{bids_label(session)}", place / f"ses-{bids_label(session)}"
    return place / "anat" / f"{stem}_desc-{bids_label(description)}_dseg.nii.gz"


def bids_label(name: str) -> str:
    """Letters and digits of a name."""
    kept = re.sub(r"[^0-9a-zA-Z]", "", name)
    if not kept:
        raise InputError(f"{name!r} has no letter or digit, which a BIDS name is made of")
    return kept


def _rows(root: Path, sheet: str | Path | None) -> dict[str, dict[str, str]]:
    """Rows of participants, by name without ``sub-``."""
    table = Path(sheet) if sheet is not None else root / "participants.tsv"
    if sheet is None and not table.is_file():
        return {}
    return {name.removeprefix("sub-"): row for name, row in read_sheet(table).items()}


def _one(place: Path, pattern: str | None) -> Path | None:
    """File that fits a pattern; None if there is none."""
    found = sorted(place.glob(pattern)) if pattern is not None else []
    if len(found) > 1:
        raise InputError(
            f"{place}: {pattern} fits to {len(found)} files ({', '.join(p.name for p in found[:4])}"
            "); make the pattern narrower"
        )
    return found[0] if found else None


def _subject(
    relative: Path,
    images: tuple[Path | None, ...],
    beside: Path,
    task: Task,
    labels: str | None,
    rows: Mapping[str, Mapping[str, str]],
) -> Subject:
    names = [part.split("-", 1)[1] for part in relative.parts]
    name = "_".join(names)
    for channel, image in zip(task.channels, images, strict=True):
        if image is None and not channel.optional:
            raise InputError(f"{relative}: no file of channel {channel.name}")
    drawn = _one(beside, labels)
    if labels is not None and drawn is None:
        raise InputError(f"{beside}: no labels {labels}; draw them, or leave the subject out")
    if rows and names[0] not in rows:
        raise InputError(f"the case sheet has no row for {names[0]}; add it, fields may be empty")
    columns = {"participant": names[0], "session": "_".join(names[1:])}
    return Subject(name, images, drawn, columns | dict(rows.get(names[0], {})))


def _describe(root: Path) -> None:
    target = root / "dataset_description.json"
    if not target.exists():
        content: dict[str, Any] = {
            "Name": "Segmentations",
            "BIDSVersion": VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "bonekit", "Version": __version__}],
        }
        _text(target, json.dumps(content, indent=1))


def _table(task: Task, labels: LabelMap) -> str:
    """Index, name and colour of each label."""
    lines = ["index\tname\tcolor"]
    for name, value in sorted(task.labels.items(), key=lambda pair: pair[1]):
        red, green, blue = labels.colours.get(value, PALETTE[(value - 1) % len(PALETTE)])
        if value:
            lines.append(f"{value}\t{name}\t#{red:02x}{green:02x}{blue:02x}")
    return "\n".join(lines)


def _text(target: Path, text: str) -> None:
    with replacing(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")

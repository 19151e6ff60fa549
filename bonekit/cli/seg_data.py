"""Where the commands of `bonekit seg` find subjects: nnU-Net's raw layout, BIDS, single files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from bonekit.errors import InputError

if TYPE_CHECKING:
    from bonekit.segmentation.data.subjects import Dataset, Subject
    from bonekit.segmentation.task import Task

GROUP = Group(
    "Data set in BIDS",
    help="A folder with dataset_description.json is read as BIDS, which can't say which file is "
    "which channel: give a pattern for each, inside of the subject's folder.",
)


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True)
class Bids:
    """How a data set in BIDS is read.

    Parameters
    ----------
    bids_channel
        CHANNEL=PATTERN, once for each channel: 'flair=anat/*_FLAIR.nii.gz'.
    bids_labels
        Pattern of the reference labels: 'anat/*_dseg.nii.gz'.
    bids_derivatives
        Folder that labels are in, such as BIDS/derivatives/manual; by default the data set itself.
    bids_sessions
        Each session is a subject of its own; patterns start inside of ses-*.
    """

    bids_channel: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, negative=(), show_default=False)
    ] = ()
    bids_labels: str | None = None
    bids_derivatives: Path | None = None
    bids_sessions: Annotated[bool, Parameter(negative=())] = False


PLAIN = Bids()


def dataset_of(folder: Path, task: str, bids: Bids = PLAIN) -> Dataset:
    """Read a data set with its references.

    Raises
    ------
    InputError
        If the folder is neither of both layouts, or as their readers.
    """
    from bonekit.segmentation.data.nnunet import read_dataset
    from bonekit.segmentation.task_files import load_task

    described = load_task(task)
    if not is_bids(folder):
        _refuse_patterns(folder, bids)
        return read_dataset(folder, described)
    if bids.bids_labels is None:
        raise InputError(
            f"{folder} is a data set in BIDS: say where its reference labels are, for example "
            "--bids-labels 'anat/*_dseg.nii.gz' --bids-derivatives "
            f"{folder / 'derivatives' / 'manual'}"
        )
    return _bids(folder, described, bids)


def subjects_of(given: list[Path], task: Task, bids: Bids = PLAIN) -> Sequence[Subject]:
    """Subjects of a data set, or the one whose channels are given.

    Raises
    ------
    InputError
        If the number of files is not that of the task's channels, or as `dataset_of`.
    """
    from bonekit.segmentation.data.nnunet import read_dataset
    from bonekit.segmentation.data.subjects import Subject

    if len(given) == 1 and is_bids(given[0]):
        return _bids(given[0], task, bids).subjects
    _refuse_patterns(given[0], bids)
    if len(given) == 1 and (given[0] / "dataset.json").is_file():
        tests = (given[0] / "imagesTs").is_dir()
        return read_dataset(given[0], task, test=tests).subjects
    if len(given) != len(task.channels):
        names = ", ".join(one.name for one in task.channels)
        raise InputError(
            f"{len(given)} images; the task {task.name} takes {len(task.channels)}, in this order: "
            f"{names}. Or give one data set: a folder with dataset.json (nnU-Net's raw layout) or "
            "dataset_description.json (BIDS)"
        )
    name = given[0].name.split(".")[0].removesuffix("_0000")  # nnU-Net's number of a channel
    return [Subject(name, tuple(given))]


def is_bids(folder: Path) -> bool:
    """Whether a folder is a data set in BIDS and none in nnU-Net's raw layout."""
    described = (folder / "dataset_description.json").is_file()
    return described and not (folder / "dataset.json").is_file()


def write_derivatives(
    folder: Path, subjects: Sequence[Subject], task: Task, labels: Sequence[Path]
) -> None:
    """Write label maps as a derivative in BIDS; what is there and the same is left.

    Raises
    ------
    InputError
        If other labels of a subject are there already.
    """
    import numpy as np

    from bonekit.image import read_labels
    from bonekit.segmentation.data.bids import dseg_path, write_bids

    for subject, path in zip(subjects, labels, strict=True):
        found = read_labels(path)
        name = subject.columns.get("participant") or subject.name
        session = subject.columns.get("session") or None
        target = dseg_path(folder, name, session)
        if target.is_file() and np.array_equal(read_labels(target).array, found.array):
            continue
        sources = tuple(str(image) for image in subject.images if image is not None)
        write_bids(folder, name, found, task, session=session, sources=sources)


def _bids(folder: Path, task: Task, bids: Bids) -> Dataset:
    from bonekit.segmentation.data.bids import read_bids

    return read_bids(
        folder,
        task,
        _patterns(folder, task, bids),
        labels=bids.bids_labels,
        derivatives=bids.bids_derivatives,
        sessions=bids.bids_sessions,
    )


def _patterns(folder: Path, task: Task, bids: Bids) -> Mapping[str, str]:
    """Patterns by channel; an error shows what the first subject has."""
    if not bids.bids_channel:
        first = next(iter(sorted(folder.glob("sub-*"))), folder)
        files = [str(p.relative_to(first)) for p in sorted(first.rglob("*.nii*"))]
        asked = " ".join(f"--bids-channel '{c.name}=PATTERN'" for c in task.channels)
        raise InputError(
            f"{folder} is a data set in BIDS: say which file is which channel of the task "
            f"{task.name}: {asked}. {first.name} has {', '.join(files[:8]) or 'no image'}"
        )
    parts = [one.partition("=") for one in bids.bids_channel]
    if wrong := [name for name, sign, pattern in parts if not (sign and pattern)]:
        raise InputError(f"--bids-channel {wrong[0]}; expected CHANNEL=PATTERN")
    return {name: pattern for name, _, pattern in parts}


def _refuse_patterns(folder: Path, bids: Bids) -> None:
    if bids != PLAIN:
        raise InputError(
            f"{folder} is no data set in BIDS (dataset_description.json is missing, or it holds "
            "nnU-Net's dataset.json): the options --bids-... don't apply"
        )

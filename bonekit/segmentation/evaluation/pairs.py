"""What is compared: a prediction with its reference, and what else is known of the subject."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image import Image, LabelMap, read
from bonekit.image.volume import Volume
from bonekit.segmentation.data.subjects import Dataset
from bonekit.segmentation.task import Task

Labels = Path | LabelMap
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and its reference.

    Parameters
    ----------
    name : str
    reference, prediction : Path or LabelMap
        Numbers of the task, on one grid.
    columns : mapping of str to str
        Row of the case sheet.
    image : Path or Image, optional
        What to draw behind the contours of a bad case.
    probabilities : Path or ndarray, optional
        float, (outputs, ni, nj, nk) in the order of `Task.outputs`, on the grid of the labels; a
        file is ``.npy``, or ``.npz`` with the entry ``probabilities``.
    entropy : Path or Image, optional
        0..255 for 0 to the largest, as prediction writes it.
    raters : tuple of Path or LabelMap
        The same subject by other raters.
    """

    name: str
    reference: Labels
    prediction: Labels
    columns: Mapping[str, str] = field(default_factory=dict)
    image: Path | Image | None = None
    probabilities: Path | NDArray[Any] | None = None
    entropy: Path | Image | None = None
    raters: tuple[Labels, ...] = ()


def pairs_of(dataset: Dataset, predictions: str | Path) -> tuple[Pair, ...]:
    """Match a data set with a folder of predictions ``{subject}.nii.gz``.

    Beside them ``{subject}_probabilities.npy`` (or ``.npz``) and ``{subject}_entropy.nii.gz`` are
    taken if there; raters are the files of the same name in ``labelsTr_rater1``, ... beside the
    folder of the reference labels.

    Raises
    ------
    InputError
        If a prediction or a reference is missing; all that are missing are named.
    """
    folder = Path(predictions)
    known = [subject for subject in dataset.subjects if subject.labels is not None]
    missing = [one.name for one in known if not (folder / f"{one.name}.nii.gz").is_file()]
    if missing or not known:
        wanted = ", ".join(missing[:8]) + (" ..." if len(missing) > 8 else "")
        raise InputError(
            f"{folder} lacks predictions of {len(missing)} of {len(known)} subjects with reference "
            f"labels ({wanted or 'there are none'}): predict them first, one file "
            "{subject}.nii.gz each"
        )
    return tuple(
        Pair(
            one.name,
            labels,
            folder / f"{one.name}.nii.gz",
            one.columns,
            next((path for path in one.images if path is not None), None),
            _first(folder, f"{one.name}_probabilities.npy", f"{one.name}_probabilities.npz"),
            _first(folder, f"{one.name}_entropy.nii.gz"),
            _raters(labels),
        )
        for one in known
        if (labels := one.labels) is not None
    )


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _raters(labels: Path) -> tuple[Path, ...]:
    """Files of the raters, in the order of their numbers."""
    folders = labels.parent.parent.glob(f"{labels.parent.name}_rater*")
    files = [folder / labels.name for folder in folders if (folder / labels.name).is_file()]
    return tuple(sorted(files, key=lambda file: (len(file.parent.name), file.parent.name)))


def opened(labels: Labels, task: Task, like: Volume | None = None) -> LabelMap:
    """Read labels and check their numbers and their grid.

    Raises
    ------
    InputError
        If a number is none of the task's, or the grid is not that of `like`.
    """
    name = str(labels) if isinstance(labels, Path) else "the label map"
    found = read(labels) if isinstance(labels, Path) else labels
    foreign = sorted(set(np.unique(found.array).tolist()) - set(task.labels.values()))
    if foreign:
        listed = ", ".join(f"{value:g}" for value in foreign[:8])
        raise InputError(
            f"{name} holds the labels {listed}; the task {task.name!r} has "
            + ", ".join(f"{value} {label}" for label, value in task.labels.items())
        )
    if like is not None and not found.grid.same_as(like.grid):
        raise InputError(
            f"{name} lies on another grid than the reference (shape {found.shape} and "
            f"{like.shape}): predictions belong on the grid of the image; resample the labels"
        )
    return LabelMap(found.array.astype(np.uint8), found.grid)


def probabilities(pair: Pair, task: Task, shape: Sequence[int]) -> NDArray[Any] | None:
    """Probabilities of a pair, from the disk as they are needed.

    Raises
    ------
    InputError
        If their shape does not fit the task and the labels.
    """
    found = pair.probabilities
    if found is None:
        return None
    if isinstance(found, Path):
        loaded = np.load(found, mmap_mode="r", allow_pickle=False)
        found = loaded if isinstance(loaded, np.ndarray) else loaded["probabilities"]
    wanted = (len(task.outputs), *shape)
    if found.shape != wanted:
        raise InputError(
            f"probabilities of {pair.name}: shape {found.shape}; the task's outputs "
            f"({', '.join(task.outputs)}) on the labels' grid have the shape {wanted}"
        )
    return found


def entropy(pair: Pair, like: Volume) -> NDArray[Any] | None:
    """Entropy of a pair, (ni, nj, nk).

    Raises
    ------
    InputError
        If it lies on another grid than the labels.
    """
    if pair.entropy is None:
        return None
    found = read(pair.entropy) if isinstance(pair.entropy, Path) else pair.entropy
    if not found.grid.same_as(like.grid):
        raise InputError(f"the entropy of {pair.name} lies on another grid than its labels")
    return found.array


def masks(labels: LabelMap, task: Task) -> dict[str, Mask]:
    """Mask of every output of the task but the background, then of counted labels."""
    wanted = {name: (name,) for name in task.metrics.lesions}
    outputs = {name: (name,) for name in task.labels if name != "background"}
    regions = outputs if task.regions is None else dict(task.regions)
    return {
        name: np.isin(labels.array, [task.labels[one] for one in members])
        for name, members in {**regions, **wanted}.items()
    }


def fingerprint(pair: Pair) -> str:
    """Hash of all that a pair's score depends on."""
    parts = [pair.reference, pair.prediction, pair.probabilities, pair.entropy, *pair.raters]
    digest = hashlib.sha256(pair.name.encode() + repr(sorted(pair.columns.items())).encode())
    for part in parts:
        digest.update(_hash(part))
    return digest.hexdigest()


def _hash(part: Path | Volume | NDArray[Any] | None) -> bytes:
    if part is None:
        return b"none"
    if isinstance(part, Path):
        with part.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    if isinstance(part, Volume):
        affine = hashlib.sha256(part.affine.tobytes()).digest()
        return affine + _hash(part.array)
    header = f"{part.dtype}{part.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(part).tobytes()).digest()

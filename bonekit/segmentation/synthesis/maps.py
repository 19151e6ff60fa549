"""Label maps of users, read as bodies that synthetic images are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonekit.errors import InputError
from bonekit.image import LabelMap, read_labels
from bonekit.image.files import suffix_of
from bonekit.segmentation.data.resample import resample_labels, target_grid
from bonekit.segmentation.synthesis.anatomy import Size
from bonekit.segmentation.task import Task


def read_label_maps(
    folder: str | Path, task: Task, *, spacing_mm: Size | None = None
) -> tuple[LabelMap, ...]:
    """Read all label maps of a folder, for `dataset.make_dataset`.

    Parameters
    ----------
    folder : str or Path
        Of NIfTI, NRRD or MHA files. One without names is numbered as the task's labels are.
    task : Task
    spacing_mm : tuple of float, optional
        To bring them to, axes to the left, back and head: fine maps cost time. By default as read.

    Returns
    -------
    tuple of LabelMap
        On canonical axes, in the order of the files' names.

    Raises
    ------
    InputError
        If there is no file, one is empty, or one holds a number that is nameless and not the
        task's.
    """
    files = [p for p in sorted(Path(folder).glob("*")) if p.is_file() and suffix_of(p)]
    if not files:
        raise InputError(
            f"{folder} holds no label map; expected are .nii.gz, .nii, .nrrd or .mha files"
        )
    return tuple(_read(path, task, spacing_mm) for path in files)


def _read(path: Path, task: Task, spacing_mm: Size | None) -> LabelMap:
    numbered = {value: name for name, value in task.labels.items() if value}
    labels = read_labels(path)
    labels = LabelMap(labels.array, labels.grid, labels.names or numbered).canonical()
    found = {int(v) for v in np.unique(labels.array)} - {0}
    if unknown := sorted(found - set(labels.names)):
        raise InputError(
            f"{path}: labels {', '.join(map(str, unknown))} have no name; the task {task.name} has "
            f"{', '.join(f'{v} {n}' for v, n in numbered.items())}. Renumber the map, or write the "
            "task for it"
        )
    if not found:
        raise InputError(f"{path} is empty: no voxel has a label")
    if spacing_mm is None:
        return labels
    return resample_labels(labels, target_grid(labels.grid, spacing_mm))

"""Bones that TotalSegmentator found, as a label map that bonekit takes.

``bonekit run --labels`` reads TotalSegmentator's multilabel NIfTI (option ``--ml``, with names in
its header) as it is. This module is for what that does not cover: files without names, a folder
with one file for each structure, and a selection of bones under bonekit's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from bonekit.errors import InputError
from bonekit.image import LabelMap, read_labels

LEVELS = (
    *(f"L{n}" for n in range(5, 0, -1)),
    *(f"T{n}" for n in range(12, 0, -1)),
    *(f"C{n}" for n in range(7, 0, -1)),
)
# Numbers of the bones in its task `total`: totalsegmentator/map_to_binary.py of the versions
# before 2 ("total_v1") and since ("total").
NUMBERS: Mapping[int, Mapping[int, str]] = {
    1: {
        **{18 + n: f"vertebrae_{level}" for n, level in enumerate(LEVELS)},
        88: "femur_left",
        89: "femur_right",
        90: "hip_left",
        91: "hip_right",
        92: "sacrum",
    },
    2: {
        25: "sacrum",
        26: "vertebrae_S1",
        **{27 + n: f"vertebrae_{level}" for n, level in enumerate(LEVELS)},
        75: "femur_left",
        76: "femur_right",
        77: "hip_left",
        78: "hip_right",
    },
}
OURS = "vertebra_"  # of TotalSegmentator's vertebrae_


def our_name(name: str) -> str:
    """Return bonekit's name of a structure: ``vertebrae_L3`` is ``vertebra_L3``."""
    return name.replace("vertebrae_", OURS, 1) if name.startswith("vertebrae_") else name


def read_totalsegmentator(
    path: str | Path, *bones: str, version: Literal[1, 2] | None = None
) -> LabelMap:
    """Read bones that TotalSegmentator found.

    Parameters
    ----------
    path : str or Path
        A multilabel file, or the folder with one file for each structure.
    bones : str, optional
        Names of ours (``femur_left``, ``vertebra_L3``) to keep; by default every structure that
        the file names, and that has voxels.
    version : {1, 2}, optional
        Of TotalSegmentator, for a multilabel file without names: both number bones differently.

    Returns
    -------
    LabelMap
        Numbered from 1 in the order asked for, on the grid of the file.

    Raises
    ------
    InputError
        If a bone is absent or was not found, if files lie on different grids or overlap.
    """
    source = Path(path)
    found = _from_folder(source, bones) if source.is_dir() else _from_file(source, version)
    present = {name: value for value, name in found.names.items() if (found.array == value).any()}
    wanted = bones or tuple(sorted(present, key=present.__getitem__))
    absent = [name for name in wanted if name not in present]
    if absent or not wanted:
        raise InputError(
            f"{source}: {', '.join(absent) or 'no structure'} has no voxel; found: "
            f"{', '.join(sorted(present)) or 'nothing'}. Check the bone's name and the image"
        )
    table = np.zeros(int(found.array.max()) + 1, dtype=np.uint8)
    for number, name in enumerate(wanted, start=1):
        table[present[name]] = number
    return LabelMap(table[found.array], found.grid, dict(enumerate(wanted, start=1)))


def _from_file(source: Path, version: int | None) -> LabelMap:
    labels = read_labels(source)
    if not labels.names and version is None:
        raise InputError(
            f"{source} holds no names of its labels, and versions 1 and 2 of TotalSegmentator "
            "number bones differently: say which (version=1 or 2), or write the file with --ml"
        )
    names = labels.names or NUMBERS[version or 2]
    return LabelMap(labels.array, labels.grid, {v: our_name(n) for v, n in names.items()})


def _from_folder(folder: Path, bones: tuple[str, ...]) -> LabelMap:
    """Join masks, one file for each structure (what TotalSegmentator writes without --ml)."""
    files = {our_name(p.name.removesuffix(".nii.gz")): p for p in sorted(folder.glob("*.nii.gz"))}
    if absent := [name for name in bones if name not in files]:
        raise InputError(
            f"{folder} has no file of {', '.join(absent)}; it holds {', '.join(files) or 'none'}"
        )
    chosen = {name: files[name] for name in (bones or tuple(files))}
    if not chosen:
        raise InputError(f"{folder} holds no .nii.gz file; give the output of TotalSegmentator")
    joined: LabelMap | None = None
    for number, (name, file) in enumerate(chosen.items(), start=1):
        mask = read_labels(file, {1: name})
        if joined is None:
            joined = LabelMap(np.zeros(mask.shape, dtype=np.uint8), mask.grid)
        joined = _with(joined, mask, number, name, file)
    assert joined is not None
    return joined


def _with(joined: LabelMap, mask: LabelMap, number: int, name: str, file: Path) -> LabelMap:
    if not mask.grid.same_as(joined.grid):
        raise InputError(f"{file} lies on another grid than the files before it: not of one scan")
    inside = mask.array > 0
    if other := sorted({joined.names[int(v)] for v in np.unique(joined.array[inside]) if v}):
        raise InputError(f"{file} overlaps with {', '.join(other)}; correct one of them")
    array = np.where(inside, np.uint8(number), joined.array)
    return LabelMap(array, joined.grid, {**joined.names, number: name})

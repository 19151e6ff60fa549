"""One image file (NIfTI, NRRD, MetaImage) to an array, its grid and its header fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.nifti import read_nifti
from bonekit.image.volume import Grid, grid_of

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
SUFFIXES = (*NIFTI, *NRRD, *META)


@dataclass(frozen=True, eq=False)
class Raw:
    """The content of a file before it is an `Image` or a `LabelMap`.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk) or (ni, nj, nk, layers)
    grid : Grid
    fields : mapping of str to str
        Header fields (NRRD key/value pairs and the like).
    extensions : tuple of bytes
        NIfTI header extensions.
    """

    array: NDArray[Any]
    grid: Grid
    fields: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[bytes, ...] = ()


def suffix_of(path: Path) -> str:
    """Return the known suffix of a file name, ``.seg.nrrd`` and ``.nii.gz`` as one; "" if none."""
    name = path.name.lower()
    return next(
        (s for s in (".seg.nrrd", *sorted(SUFFIXES, key=len)[::-1]) if name.endswith(s)), ""
    )


def existing(path: str | Path) -> Path:
    """Return the path, or raise `InputError` if there is nothing there."""
    found = Path(path)
    if not found.exists():
        raise InputError(f"there is no file or folder {found}")
    return found


def load(path: Path) -> Raw:
    """Read one image file.

    Raises
    ------
    InputError
        If it can't be read, has not three dimensions, or does not say where it lies.
    """
    if suffix_of(path) in NIFTI:
        content = read_nifti(path)
        return Raw(content.array, content.grid, {}, content.extensions)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} can't be read: {_reason(error)}") from error
    if image.GetDimension() != 3:
        raise InputError(
            f"{path} has {image.GetDimension()} dimensions {image.GetSize()}; bonekit reads "
            "three-dimensional images. Write the volume you mean to its own file"
        )
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    view = sitk.GetArrayViewFromImage(image)
    axes = (2, 1, 0, 3)[: view.ndim]
    array = np.array(view.transpose(axes), order="C")
    _check_space(fields, path)
    return Raw(array, _grid(image, path), fields)


def scalar(raw: Raw, path: Path) -> Raw:
    """Pass on a scalar image; refuse one with several values per voxel."""
    if raw.array.ndim != 3:
        raise InputError(
            f"{path} has {raw.array.shape[3]} values per voxel; bonekit reads one scalar image. "
            "Write the channel you mean to its own file"
        )
    return raw


def _grid(image: sitk.Image, path: Path) -> Grid:
    try:
        return grid_of(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_space(fields: Mapping[str, str], path: Path) -> None:
    """Refuse a NRRD whose frame is not a patient frame; ITK would take it for LPS."""
    if suffix_of(path) in META:
        return
    space = fields.get("NRRD_space")
    if space != "left-posterior-superior":  # ITK converts RAS and LAS and says LPS
        raise InputError(
            f"{path} does not say how it lies in the patient: its NRRD field 'space' is "
            f"{space or 'absent'}; allowed are left-posterior-superior, right-anterior-superior "
            "and left-anterior-superior. Save it again from a tool that knows the orientation "
            "(3D Slicer), or add the field if you know it"
        )


def _reason(error: RuntimeError) -> str:
    """Return the last line of an ITK error, which says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR:").strip() if lines else "unknown reason"

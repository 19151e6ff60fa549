"""Images whose voxels stay on the disk until they are looked at."""

from __future__ import annotations

import gzip
import mmap
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.files import suffix_of
from bonekit.image.nifti import map_nifti
from bonekit.image.reading import read
from bonekit.image.volume import Image

KEPT = ("int8", "uint8", "int16", "float32")  # `read` changes the values of none of these


def read_mapped(path: str | Path, scratch: Path, name: str) -> Image:
    """Read an image with its voxels memory-mapped; else as `read`.

    A ``.nii`` file is mapped where it lies, a ``.nii.gz`` file is unpacked to the disk piece by
    piece and mapped there. Images of another format, or of numbers that have to be converted, are
    read once and put on the disk.

    Parameters
    ----------
    path : str or Path
    scratch : Path
        Folder for voxels that don't lie on the disk as they are needed; the caller deletes it.
    name : str
        Of the file in it, without suffix; replaced if it is there.

    Raises
    ------
    InputError
        As `read`.
    OSError
        If the disk is full.
    """
    source = Path(path)
    if suffix_of(source) in (".nii", ".nii.gz") and source.is_file():
        plain = _unpacked(source, scratch / f"{name}.nii")
        mapped = map_nifti(plain, source)
        if mapped is not None and mapped.array.dtype.name in KEPT:
            return Image(mapped.array, mapped.grid)
    image = read(source)
    np.save(scratch / f"{name}.npy", image.array)
    return image.with_array(np.load(scratch / f"{name}.npy", mmap_mode="r"))


def release(array: NDArray[Any]) -> None:
    """Let the pages of a memory-mapped array go: what is on the disk need not stay in memory."""
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _unpacked(source: Path, target: Path) -> Path:
    with source.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return source
    try:
        with gzip.open(source) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{source} is damaged or cut short ({error}): copy or export it again"
        ) from error
    return target

"""One entry point for every image file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonekit.errors import InputError
from bonekit.image.dicom import assemble, series_of_file
from bonekit.image.files import SUFFIXES, existing, load, scalar, suffix_of
from bonekit.image.series import ScanInfo, SliceHeader, choose, opened, scan
from bonekit.image.volume import Image


def read(path: str | Path, series_uid: str | None = None) -> Image:
    """Read a scalar image and its place in the world.

    Parameters
    ----------
    path : str or Path
        A folder or zip archive of DICOM slices, one DICOM slice (its whole series is read from
        its folder), or a file ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` or ``.mhd``.
    series_uid : str, optional
        Which DICOM series to take (see `list_series`); without it the one with most slices.

    Returns
    -------
    Image
        CT in HU as int16 where that is exact, else float32; on the grid of the file, in LPS.
        Check a CT from an unknown source with `check_hu`.

    Raises
    ------
    InputError
        If there is nothing at `path` or it can't be read; if slices are missing, unevenly spaced,
        doubled or mixed; if a file does not say where it lies, or contradicts itself.
    """
    source = existing(path)
    if source.is_file() and suffix_of(source) in (*SUFFIXES, ".seg.nrrd"):
        raw = scalar(load(source), source)
        exact = raw.array.dtype.kind in "iub" and np.can_cast(raw.array.dtype, np.int16)
        if raw.array.dtype.kind in "iu" and not exact:
            exact = bool(raw.array.min() >= -32768 and raw.array.max() < 32768)
        return Image(raw.array.astype(np.int16 if exact else np.float32, copy=False), raw.grid)
    with opened(_folder(source)) as folder:
        return assemble(_chosen(source, folder, series_uid))


def scan_info(path: str | Path, series_uid: str | None = None) -> ScanInfo:
    """Say how a scan was made, for the record; never who was scanned.

    Parameters
    ----------
    path, series_uid
        As for `read`.

    Returns
    -------
    ScanInfo
        Empty for NIfTI, NRRD and MetaImage files, which do not hold it.
    """
    source = existing(path)
    if source.is_file() and suffix_of(source):
        return ScanInfo()
    with opened(_folder(source)) as folder:
        return _chosen(source, folder, series_uid)[0].info


def _folder(source: Path) -> Path:
    """Folder or archive to search for DICOM slices."""
    if source.is_dir() or source.suffix.lower() == ".zip":
        return source
    with source.open("rb") as stream:
        if stream.read(132)[128:] != b"DICM":
            raise InputError(
                f"{source} is of no known format; allowed: a folder or .zip of DICOM slices, .dcm, "
                + ", ".join(SUFFIXES)
            )
    return source.parent


def _chosen(source: Path, folder: Path, series_uid: str | None) -> list[SliceHeader]:
    single = source.is_file() and source.suffix.lower() != ".zip"
    groups = scan(folder, deep=not single)
    if series_uid is None and single:
        series_uid = series_of_file(source, groups)
    return choose(groups, series_uid)

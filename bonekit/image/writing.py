"""Writing volumes: every file appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image.files import suffix_of
from bonekit.image.slicer import slicer_fields
from bonekit.image.volume import Image, LabelMap, Volume

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")


def write(volume: Volume, path: str | Path) -> None:
    """Write an image or a label map; the suffix decides the format.

    Parameters
    ----------
    volume : Image or LabelMap
    path : str or Path
        ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``; for a label map also ``.seg.nrrd``, which
        3D Slicer opens as a segmentation with names and colours. The other formats have no room
        for names: those go to ``<stem>.json`` beside the file, where `read_labels` finds them.

    Raises
    ------
    InputError
        If the suffix is unknown or the folder does not exist.
    """
    target = Path(path)
    suffix = suffix_of(target)
    image = volume.to_sitk()
    if suffix == ".seg.nrrd":
        if not isinstance(volume, LabelMap):
            raise InputError(f"{target}: .seg.nrrd is for label maps; write an image as .nrrd")
        for key, value in slicer_fields(volume).items():
            image.SetMetaData(key, value)
    elif suffix not in WRITABLE:
        raise InputError(f"can't write {target}: allowed suffixes {', '.join(WRITABLE)}, .seg.nrrd")
    with replacing(target) as temporary:
        sitk.WriteImage(image, str(temporary), True)
    if isinstance(volume, LabelMap) and volume.names and suffix != ".seg.nrrd":
        with replacing(sidecar(target)) as temporary:
            table = {str(value): name for value, name in sorted(volume.names.items())}
            temporary.write_text(json.dumps(table, indent=1, ensure_ascii=False), encoding="utf-8")


def sidecar(path: Path) -> Path:
    """Name of the label table that belongs to a file."""
    return path.with_name(path.name[: -len(suffix_of(path))] + ".json")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file; on success it takes the file's place at once."""
    if not path.parent.is_dir():
        raise InputError(f"can't write {path}: the folder {path.parent} does not exist")
    suffix = suffix_of(path) or path.suffix
    temporary = path.with_name(f".{uuid.uuid4().hex}{suffix}")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)


def write_dicom(
    image: Image,
    folder: str | Path,
    *,
    kVp: float | None = None,
    kernel: str = "",
    slope: float = 1.0,
    intercept: float = -1024.0,
    series_uid: str | None = None,
) -> None:
    """Write an image as a CT series of 16-bit slices of a synthetic patient named PHANTOM.

    Parameters
    ----------
    image : Image
        In HU; values are rounded to the next ``slope * n + intercept``.
    folder : str or Path
        New or empty; one file per slice of the third array axis.
    kVp, kernel : float, str, optional
        Tube voltage and convolution kernel to note.
    slope, intercept : float
        Rescale slope and intercept.
    series_uid : str, optional

    Raises
    ------
    InputError
        If values don't fit into 16 bits, or the folder holds files.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"can't write a series to {target}: it exists and is not an empty folder")
    if not target.parent.is_dir():
        raise InputError(f"can't write {target}: the folder {target.parent} does not exist")
    stored = np.rint((image.array.astype(np.float64) - intercept) / slope)
    if not np.isfinite(stored).all() or stored.min() < -32768 or stored.max() > 32767:
        raise InputError(
            f"values from {image.array.min()} to {image.array.max()} don't fit into 16 bits with "
            f"slope {slope} and intercept {intercept}: choose another slope"
        )
    tags = _series_tags(image, kVp, kernel, slope, intercept, series_uid)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        temporary.chmod(0o777 & ~_umask())
        _write_slices(image.with_array(stored * slope + intercept), tags, temporary)
        os.replace(temporary, target)  # noqa: PTH105
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def new_uid() -> str:
    """Return a fresh DICOM UID."""
    return f"2.25.{uuid.uuid4().int}"


def _number(value: float) -> str:
    """Write a decimal string of at most 16 characters."""
    return f"{round(float(value), 9) + 0.0:.10g}"


def _series_tags(
    image: Image,
    kVp: float | None,
    kernel: str,
    slope: float,
    intercept: float,
    series_uid: str | None,
) -> dict[str, str]:
    axes = image.grid.direction[:, :2].T.ravel()
    tags = {
        "0008|0008": "DERIVED\\SECONDARY\\AXIAL",
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
        "0008|0020": "20000101",
        "0008|0030": "000000",
        "0008|0060": "CT",
        "0008|0070": "bonekit",
        "0008|1090": "phantom",
        "0010|0010": "PHANTOM^",
        "0010|0020": "PHANTOM",
        "0018|0050": _number(image.spacing_mm[2]),
        "0018|5100": "HFS",
        "0020|000d": new_uid(),
        "0020|000e": series_uid or new_uid(),
        "0020|0010": "1",
        "0020|0011": "1",
        "0020|0012": "1",
        "0020|0037": "\\".join(_number(x) for x in axes),
        "0020|0052": new_uid(),
        "0028|0100": "16",
        "0028|0101": "16",
        "0028|0102": "15",
        "0028|0103": "1",
        "0028|1052": _number(intercept),
        "0028|1053": _number(slope),
        "0028|1054": "HU",
    }
    optional = {"0018|0060": "" if kVp is None else _number(kVp), "0018|1210": kernel}
    return tags | {key: value for key, value in optional.items() if value}


def _write_slices(image: Image, tags: dict[str, str], folder: Path) -> None:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    whole = image.to_sitk()
    for k in range(image.shape[2]):
        piece = whole[:, :, k : k + 1]
        position = image.grid.world((0, 0, k))
        own = {
            "0008|0018": new_uid(),
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(_number(x) for x in position),
        }
        for key, value in (tags | own).items():
            piece.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{k + 1:05d}.dcm"))
        writer.Execute(piece)

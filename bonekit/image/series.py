"""What lies in a DICOM folder: its series and how they were scanned.

Nothing here holds the patient's name, number, dates or any free description.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image.files import existing
from bonekit.image.volume import Float

logger = logging.getLogger(__name__)

# Series that are made from images: never chosen unless asked for.
DERIVED = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG", "DOC", "OT")
_IMAGE_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4")  # CT, MR and enhanced


@dataclass(frozen=True)
class ScanInfo:
    """How a series was scanned; None or "" where the file does not say.

    Parameters
    ----------
    modality : str
        Such as ``CT`` or ``MR``.
    kVp : float, optional
        Tube voltage.
    kernel : str
        Convolution kernel.
    slice_thickness_mm : float, optional
    manufacturer, model : str
    contrast_agent : bool
        Whether the file names one: it raises HU and with them density.
    """

    modality: str = ""
    kVp: float | None = None
    kernel: str = ""
    slice_thickness_mm: float | None = None
    manufacturer: str = ""
    model: str = ""
    contrast_agent: bool = False


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """Geometry of one DICOM file.

    Parameters
    ----------
    file : Path
    position_mm : ndarray, (3,), optional
        Centre of the first pixel, LPS; None for a multi-frame file.
    row, column : ndarray, (3,)
        Directions in which the column index and the row index grow.
    spacing_mm : tuple of float
        Steps along `row` and along `column`.
    size : tuple of int
        Columns and rows.
    """

    file: Path
    series_uid: str
    instance_uid: str
    info: ScanInfo
    position_mm: Float | None
    row: Float
    column: Float
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    n_frames: int = 1
    localizer: bool = False
    acquisition: str = ""

    @property
    def normal(self) -> Float:
        """Unit normal of the slice."""
        return np.asarray(np.cross(self.row, self.column))


@dataclass(frozen=True)
class Series:
    """One DICOM series.

    Parameters
    ----------
    uid : str
        Series Instance UID, to pass to `bonekit.image.read`.
    n_slices : int
    spacing_mm : tuple of float
        Steps along the row, the column and the median step between slices (NaN if unknown).
    scan : ScanInfo
    files : tuple of Path
        Relative to the folder or the archive, by position.
    """

    uid: str
    n_slices: int
    spacing_mm: tuple[float, float, float]
    scan: ScanInfo
    files: tuple[Path, ...] = field(repr=False)

    @property
    def modality(self) -> str:
        """Such as ``CT`` or ``MR``."""
        return self.scan.modality


def list_series(path: str | Path) -> tuple[Series, ...]:
    """List the series of a DICOM folder or zip archive, largest first.

    Raises
    ------
    InputError
        If there is no DICOM image.
    """
    with opened(existing(path)) as folder:
        groups = scan(folder)
        found = [_series(uid, headers, folder) for uid, headers in groups.items()]
    return tuple(sorted(found, key=lambda s: (s.modality in DERIVED, -s.n_slices, s.uid)))


def choose(groups: Mapping[str, list[SliceHeader]], uid: str | None) -> list[SliceHeader]:
    """Pick a series by its UID, or the one with most slices.

    Raises
    ------
    InputError
        If no series has that UID, or none is the largest; the message lists them.
    """
    listing = "; ".join(
        f"{key} ({group[0].info.modality or 'no modality'}, {_n_slices(group)} slices)"
        for key, group in groups.items()
    )
    if uid is not None:
        if uid not in groups:
            raise InputError(f"there is no series {uid!r}; present: {listing}")
        return groups[uid]
    images = [g for g in groups.values() if g[0].info.modality not in DERIVED]
    ranked = sorted(images or list(groups.values()), key=_n_slices, reverse=True)
    if len(ranked) > 1 and _n_slices(ranked[0]) == _n_slices(ranked[1]):
        raise InputError(
            "several series are equally large; choose one (series_uid, --series). "
            f"Present: {listing}"
        )
    if len(groups) > 1:
        chosen = ranked[0][0].series_uid
        logger.warning("%d series found, took the largest, %s: %s", len(groups), chosen, listing)
    return ranked[0]


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Give the folder of DICOM files behind a folder or a zip archive (extracted, then removed)."""
    if path.is_dir():
        yield path
        return
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is neither a folder nor a readable zip archive")
    with tempfile.TemporaryDirectory(prefix="bonekit-") as folder:
        _extract(path, Path(folder))
        yield Path(folder)


DAMAGED = (zipfile.BadZipFile, zlib.error)  # by its check sum, or before one could be made


def _extract(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                raise InputError(f"{path} holds a member outside of its folder: {name}. Not opened")
        size = sum(member.file_size for member in archive.infolist())
        free = shutil.disk_usage(folder).free
        if size > free:
            raise InputError(f"{path} unpacks to {size} bytes, only {free} are free in {folder}")
        try:
            archive.extractall(folder)
        except (*DAMAGED, RuntimeError, EOFError, NotImplementedError) as error:
            raise InputError(f"{path} can't be unpacked: {error}") from error


def scan(folder: Path, *, deep: bool = True) -> dict[str, list[SliceHeader]]:
    """Read the headers of the DICOM images in a folder, grouped by Series Instance UID.

    Folders below it are searched too if `deep`.

    Raises
    ------
    InputError
        If there is none, or a CT or MR file is damaged.
    """
    found = folder.rglob("*") if deep else folder.glob("*")
    files = [p for p in sorted(found) if p.is_file() and p.name != "DICOMDIR"]
    groups: dict[str, list[SliceHeader]] = {}
    skipped = 0
    for file in files:
        header = read_slice_header(file) if _is_dicom(file) else None
        if header is None:
            skipped += 1
        else:
            groups.setdefault(header.series_uid, []).append(header)
    if not groups:
        raise InputError(
            f"no DICOM image among the {len(files)} files. Give the folder (or zip) that holds "
            "the slices of a CT"
        )
    if skipped:
        logger.info("%d files are no DICOM images and were left out", skipped)
    return groups


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(132)
    return head[128:] == b"DICM" or head[:2] == b"\x08\x00"


def _media_class(file: Path) -> str:
    """SOP class from the file's meta header, which outlives a damaged body."""
    with file.open("rb") as stream:
        head = stream.read(1024)
    at = head.find(b"\x02\x00\x02\x00UI")
    length = int.from_bytes(head[at + 6 : at + 8], "little") if at >= 0 else 0
    return head[at + 8 : at + 8 + length].decode("ascii", "replace").strip("\0 ")


def read_slice_header(file: Path) -> SliceHeader | None:
    """Read the header of a DICOM image; None for DICOM objects without pixels.

    Raises
    ------
    InputError
        If a CT or MR image can't be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        kind = _media_class(file)
        if any(kind == c or kind.startswith(c + ".") for c in _IMAGE_CLASSES):
            raise InputError(
                f"the DICOM image {file} can't be read: it is damaged or cut short. Export the "
                "series again"
            ) from error
        return None
    tags = _Tags({key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}, file)
    return _slice_header(tags, file)


@dataclass(frozen=True)
class _Tags:
    """The values of a file's tags, as text."""

    values: Mapping[str, str]
    file: Path

    def text(self, tag: str) -> str:
        return self.values.get(tag, "").strip("\0 ")

    def numbers(self, tag: str) -> list[float]:
        try:
            return [float(part) for part in self.text(tag).split("\\") if part.strip()]
        except ValueError as error:
            raise InputError(f"{self.file}: the DICOM tag ({tag}) holds no number") from error

    def number(self, tag: str) -> float | None:
        return next(iter(self.numbers(tag)), None)


def _slice_header(tags: _Tags, file: Path) -> SliceHeader:
    position, cosines = tags.numbers("0020|0032"), tags.numbers("0020|0037")
    step = tags.numbers("0028|0030")  # between rows, between columns
    placed = len(position) == 3 and len(cosines) == 6 and len(step) == 2
    axes = np.reshape(cosines if placed else [1.0, 0, 0, 0, 1, 0], (2, 3))
    return SliceHeader(
        file=file,
        series_uid=tags.text("0020|000e"),
        instance_uid=tags.text("0008|0018"),
        info=_info(tags),
        position_mm=np.array(position) if placed else None,
        row=axes[0] / np.linalg.norm(axes[0]),
        column=axes[1] / np.linalg.norm(axes[1]),
        spacing_mm=(step[1], step[0]) if placed else (float("nan"), float("nan")),
        size=(int(tags.number("0028|0011") or 0), int(tags.number("0028|0010") or 0)),
        n_frames=int(tags.number("0028|0008") or 1),
        localizer="LOCALIZER" in tags.text("0008|0008").upper().split("\\"),
        acquisition=tags.text("0020|0012"),
    )


def _info(tags: _Tags) -> ScanInfo:
    return ScanInfo(
        modality=tags.text("0008|0060"),
        kVp=tags.number("0018|0060"),
        kernel=tags.text("0018|1210"),
        slice_thickness_mm=tags.number("0018|0050"),
        manufacturer=tags.text("0008|0070"),
        model=tags.text("0008|1090"),
        contrast_agent=bool(tags.text("0018|0010")),
    )


def _n_slices(headers: list[SliceHeader]) -> int:
    return sum(header.n_frames for header in headers)


def _series(uid: str, headers: list[SliceHeader], folder: Path) -> Series:
    first = headers[0]

    def depth(header: SliceHeader) -> float:
        return 0.0 if header.position_mm is None else float(header.position_mm @ first.normal)

    ordered = sorted(headers, key=depth)
    steps = np.diff([depth(header) for header in ordered])
    step = float(np.median(steps)) if len(steps) else float("nan")
    files = tuple(header.file.relative_to(folder) for header in ordered)
    return Series(uid, _n_slices(headers), (*first.spacing_mm, step), first.info, files)

"""The NIfTI header: where the voxels lie in the world, and the label table some tools append.

SimpleITK reads the voxels; the geometry is taken from the header itself, because ITK corrects a
sheared or contradictory header without a word and prints its numbers with six digits only.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from bonekit.errors import InputError
from bonekit.image.volume import Float, Grid

AGREE_MM = 0.1  # qform and sform may put a corner of the image this far apart
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre


def _layout(fields: dict[str, tuple[str, int]], size: int) -> np.dtype[np.void]:
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype(
        {"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": size}
    )


_LAYOUTS = {
    348: _layout(
        {
            "dim": ("8i2", 40),
            "bitpix": ("i2", 72),
            "pixdim": ("8f4", 76),
            "vox_offset": ("f4", 108),
            "xyzt_units": ("u1", 123),
            "qform_code": ("i2", 252),
            "sform_code": ("i2", 254),
            "quatern": ("3f4", 256),
            "qoffset": ("3f4", 268),
            "srow": ("(3,4)f4", 280),
        },
        348,
    ),
    540: _layout(
        {
            "dim": ("8i8", 16),
            "bitpix": ("i2", 14),
            "pixdim": ("8f8", 104),
            "vox_offset": ("i8", 168),
            "xyzt_units": ("i4", 500),
            "qform_code": ("i4", 344),
            "sform_code": ("i4", 348),
            "quatern": ("3f8", 352),
            "qoffset": ("3f8", 376),
            "srow": ("(3,4)f8", 400),
        },
        540,
    ),
}


@dataclass(frozen=True)
class NiftiHeader:
    """What bonekit takes from a NIfTI-1 or NIfTI-2 header.

    Parameters
    ----------
    grid : Grid
        In LPS millimetres.
    extensions : tuple of bytes
        The contents of the header extensions.
    """

    grid: Grid
    extensions: tuple[bytes, ...]


def read_header(path: Path) -> NiftiHeader:
    """Read the header of a ``.nii`` or ``.nii.gz`` file and check the file's length.

    Raises
    ------
    InputError
        If the file is no NIfTI file or ends early, is not one three-dimensional image, or if
        qform and sform are absent, sheared, or disagree.
    """
    try:
        with _open(path) as file:
            raw = file.read(540)
            fields, order = _parse(raw, path)
            offset = int(fields["vox_offset"])
            rest = raw[len(raw) :] + file.read(max(0, offset - len(raw)))
            extensions = _extensions((raw + rest)[:offset], fields.dtype.itemsize, order)
            voxels = int(np.prod([max(1, n) for n in _dimensions(fields)], dtype=object))
            expected = offset + voxels * int(fields["bitpix"]) // 8
            found = len(raw) + len(rest) + _count(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is damaged or cut short ({error}): copy or export it again"
        ) from error
    if found < expected:
        raise InputError(
            f"{path} ends early: {found} bytes where its header announces {expected}. "
            "Copy or export it again"
        )
    shape = _shape(fields, path)
    return NiftiHeader(Grid(shape, _affine(fields, shape, path)), extensions)


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def _count(file: IO[bytes] | gzip.GzipFile) -> int:
    """Bytes up to the end of a stream; decompressing them also checks their checksum."""
    return sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))


def _parse(raw: bytes, path: Path) -> tuple[Any, str]:
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        size = int(np.frombuffer(raw[:4].ljust(4, b"\0"), order + "i4")[0])
        if size in _LAYOUTS and len(raw) >= size:
            return np.frombuffer(raw[:size], _LAYOUTS[size].newbyteorder(order))[0], order
    raise InputError(f"{path} is not a NIfTI file: its first bytes are no NIfTI header")


def _extensions(head: bytes, start: int, order: str) -> tuple[bytes, ...]:
    """Contents of the extensions between the header and the voxels."""
    found: list[bytes] = []
    if len(head) < start + 4 or head[start] == 0:
        return ()
    at = start + 4
    while at + 8 <= len(head):
        size = int(np.frombuffer(head[at : at + 4], order + "i4")[0])
        if size < 8 or at + size > len(head):
            break
        found.append(head[at + 8 : at + size])
        at += size
    return tuple(found)


def _dimensions(fields: Any) -> list[int]:
    rank = min(max(int(fields["dim"][0]), 0), 7)
    return [int(n) for n in fields["dim"][1 : 1 + rank]]


def _shape(fields: Any, path: Path) -> tuple[int, int, int]:
    sizes = _dimensions(fields)
    if len(sizes) < 3 or any(n != 1 for n in sizes[3:]):
        raise InputError(
            f"{path} has the dimensions {sizes}; bonekit reads one three-dimensional scalar image. "
            "Write the volume you mean (one time point, one channel) to its own file"
        )
    return sizes[0], sizes[1], sizes[2]


def _affine(fields: Any, shape: tuple[int, int, int], path: Path) -> Float:
    """Index to LPS millimetres, from the sform or the qform, which must agree if both are set."""
    codes = int(fields["qform_code"]), int(fields["sform_code"])
    if codes == (0, 0):
        raise InputError(
            f"{path} does not say how it lies in the patient: qform_code and sform_code are both "
            "0, so left and right are unknown. Convert the original DICOM again, or set the "
            "orientation with the tool that made the file"
        )
    scale = np.diag([_MM_PER_UNIT.get(int(fields["xyzt_units"]) & 7, 1.0)] * 3 + [1.0])
    sform = np.vstack([np.asarray(fields["srow"], dtype=float), [0, 0, 0, 1]])
    if codes[0] and codes[1]:
        _agree(_qform(fields), sform, shape, path)
    return np.asarray(_RAS_TO_LPS @ scale @ (sform if codes[1] else _qform(fields)))


def _agree(qform: Float, sform: Float, shape: tuple[int, int, int], path: Path) -> None:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], (1,))).reshape(4, -1)
    apart = float(np.linalg.norm(((qform - sform) @ corners)[:3], axis=0).max())
    if apart > AGREE_MM:
        raise InputError(
            f"{path}: its qform and sform place the image's corners up to {apart:.3g} mm apart "
            f"(allowed: {AGREE_MM} mm), so its place in the world is ambiguous. Decide which one "
            "is right and copy it over the other (for example fslorient -copyqform2sform or "
            "-copysform2qform), or convert the original DICOM again"
        )


def _qform(fields: Any) -> Float:
    """Index to RAS of the quaternion form (method 2 of the NIfTI standard)."""
    b, c, d = (float(x) for x in fields["quatern"])
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    if b * b + c * c + d * d > 1:
        b, c, d = np.array([b, c, d]) / np.linalg.norm([b, c, d])
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    steps = np.array(fields["pixdim"][1:4], dtype=float)
    steps[2] *= -1.0 if fields["pixdim"][0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * steps
    matrix[:3, 3] = fields["qoffset"]
    return matrix

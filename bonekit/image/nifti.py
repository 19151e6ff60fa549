"""Reading NIfTI-1 and NIfTI-2, without the repairs that ITK makes in silence.

ITK fills a file that was cut short with zeros, turns NaN into 0, drops a shear, prefers one of
two contradicting orientations, and does not show header extensions. Here each is an error or kept.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
            "datatype": ("i2", 70),
            "pixdim": ("8f4", 76),
            "vox_offset": ("f4", 108),
            "scl_slope": ("f4", 112),
            "scl_inter": ("f4", 116),
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
            "datatype": ("i2", 12),
            "pixdim": ("8f8", 104),
            "vox_offset": ("i8", 168),
            "scl_slope": ("f8", 176),
            "scl_inter": ("f8", 184),
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


_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}


@dataclass(frozen=True, eq=False)
class Nifti:
    """The content of a NIfTI-1 or NIfTI-2 file.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk)
        With the header's slope and intercept applied.
    grid : Grid
        In LPS millimetres.
    extensions : tuple of bytes
        The contents of the header extensions.
    """

    array: NDArray[Any]
    grid: Grid
    extensions: tuple[bytes, ...]


def read_nifti(path: Path) -> Nifti:
    """Read a ``.nii`` or ``.nii.gz`` file.

    Raises
    ------
    InputError
        If the file is no NIfTI file or ends early, is not one three-dimensional scalar image, or
        if qform and sform are absent, sheared, or disagree.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path} is damaged or cut short ({error}): copy or export it again"
            ) from error
    fields, order = _parse(content, path)
    shape = _shape(fields, path)
    array = _scaled(_stored(content, fields, shape, order, path), fields)
    head = content[: int(fields["vox_offset"])]
    extensions = _extensions(head, fields.dtype.itemsize, order)
    return Nifti(array, Grid(shape, _affine(fields, shape, path)), extensions)


def map_nifti(path: Path, name: Path | None = None) -> Nifti | None:
    """Read the header of an unpacked ``.nii`` file; the voxels stay on the disk.

    Parameters
    ----------
    path : Path
    name : Path, optional
        Of the file for errors, if `path` is a copy.

    Returns
    -------
    Nifti, its array memory-mapped and its extensions left out; or None if the voxels need to be
    scaled or have another order of bytes.

    Raises
    ------
    InputError
        As `read_nifti`.
    """
    named = name or path
    if path.stat().st_size == 0:
        raise InputError(f"{named} is not a NIfTI file: it is empty")
    content = np.memmap(path, np.uint8, mode="r")
    fields, order = _parse(content[: max(_LAYOUTS)].tobytes(), named)
    shape = _shape(fields, named)
    stored = _stored(content, fields, shape, order, named)
    if _scale(fields) is not None or not stored.dtype.isnative:
        return None
    return Nifti(stored, Grid(shape, _affine(fields, shape, named)), ())


def _stored(
    content: bytes | NDArray[np.uint8],
    fields: Any,
    shape: tuple[int, int, int],
    order: str,
    path: Path,
) -> NDArray[Any]:
    """View of the voxels as they are in the file."""
    code = int(fields["datatype"])
    if code not in _DTYPES:
        raise InputError(
            f"{path} holds NIfTI data of type {code} (colour, complex or extended); bonekit reads "
            "whole numbers and floats of 8 to 64 bits. Convert it"
        )
    dtype = np.dtype(order + _DTYPES[code])
    offset, count = int(fields["vox_offset"]), int(np.prod(shape, dtype=object))
    expected = offset + count * dtype.itemsize
    if len(content) < expected:
        raise InputError(
            f"{path} ends early: {len(content)} bytes where its header announces {expected}. "
            "Copy or export it again"
        )
    return np.frombuffer(content, dtype, count, offset).reshape(shape, order="F")


def _scaled(stored: NDArray[Any], fields: Any) -> NDArray[Any]:
    """Values of the voxels, scaled as the header says."""
    dtype = stored.dtype
    values = np.array(stored, dtype=dtype.newbyteorder("="), order="C")
    scale = _scale(fields)
    if scale is None:
        return values
    slope, intercept = scale
    scaled = values * slope + intercept  # float64
    whole = dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    return scaled.astype(np.int64) if whole else scaled


def _scale(fields: Any) -> tuple[float, float] | None:
    """Slope and intercept of the header, if they do anything."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite([slope, intercept]).all() or (slope, intercept) == (1, 0):
        return None
    return slope, intercept


def _parse(raw: bytes, path: Path) -> tuple[Any, Literal["<", ">"]]:
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
    if len(sizes) < 3 or min(sizes) < 1 or any(n != 1 for n in sizes[3:]):
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

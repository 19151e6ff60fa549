"""One DICOM series to a volume: order, gaps, duplicates, gantry tilt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.series import SliceHeader
from bonekit.image.volume import Float, Grid, Image, array_of

logger = logging.getLogger(__name__)

SAME_PLACE_MM = 0.01
DRIFT_PIXELS = 0.1  # a stack that leans less than this over its whole length is not tilted


def assemble(headers: Sequence[SliceHeader]) -> Image:
    """Stack the slices of one series by their position in the patient.

    File names and instance numbers play no role. A stack that leans (gantry tilt) is brought to
    a rectangular grid by shifting each slice within its own plane, with linear interpolation in
    the plane and none between slices; what lies outside gets the smallest value of the scan.

    Raises
    ------
    InputError
        If slices are missing, unevenly spaced, of mixed orientation or size, doubled with
        different pixels, multi-frame, or damaged.
    """
    slices = order(headers)
    array = _compact([read_pixels(header) for header in slices])
    first = slices[0]
    positions = np.array([_position(header) for header in slices])
    step = float((positions[-1] - positions[0]) @ first.normal) / (len(slices) - 1)
    linear = np.column_stack(
        [first.row * first.spacing_mm[0], first.column * first.spacing_mm[1], first.normal * step]
    )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, positions[0]
    shifts = np.linalg.solve(linear, (positions - positions[0]).T).T[:, :2]
    if np.abs(shifts).max() <= DRIFT_PIXELS:
        return Image(array, Grid(array.shape, affine))
    lean = np.degrees(
        np.arctan2(np.linalg.norm(shifts[-1] * first.spacing_mm), step * (len(shifts) - 1))
    )
    logger.warning("the stack leans by %.2f degrees (gantry tilt); resampled in the planes", lean)
    return _unshear(array, affine, shifts)


def grid_of_series(headers: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Grid]:
    """Order a series and give its grid, without reading its pixels (gantry tilt is refused)."""
    slices = order(headers)
    first, last = _position(slices[0]), _position(slices[-1])
    affine = np.eye(4)
    affine[:3, 0] = slices[0].row * slices[0].spacing_mm[0]
    affine[:3, 1] = slices[0].column * slices[0].spacing_mm[1]
    affine[:3, 2] = (last - first) / (len(slices) - 1)
    affine[:3, 3] = first
    return slices, Grid((*slices[0].size, len(slices)), affine)


def order(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Sort the slices of one series along their normal and check that they make a stack.

    Raises
    ------
    InputError
        See `assemble`.
    """
    slices = _one_geometry(_without_localizers(_placed(headers)))
    normal = slices[0].normal
    slices.sort(key=lambda header: _depth(header, normal))
    slices = _without_duplicates(slices)
    if len(slices) < 2:
        raise InputError(
            "the series has a single slice; a volume needs at least two. Give the whole folder, "
            "or choose another series (bonekit.image.list_series)"
        )
    _check_gaps(slices)
    return slices


def read_pixels(header: SliceHeader) -> NDArray[Any]:
    """Read the values of one slice with its own rescale slope and intercept, (ni, nj)."""
    try:
        image = sitk.ReadImage(str(header.file), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(
            f"the pixels of the DICOM image {header.file} can't be read: it is damaged, cut short "
            "or of an unknown compression. Export the series again, uncompressed"
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("the series is a colour picture, not a scan; choose another series")
    array = array_of(image)
    return array[:, :, 0] if array.ndim == 3 else array


def _position(header: SliceHeader) -> Float:
    assert header.position_mm is not None  # _placed() has seen to it
    return header.position_mm


def _depth(header: SliceHeader, normal: Float) -> float:
    return float(_position(header) @ normal)


def _placed(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    if any(header.n_frames > 1 for header in headers):
        raise InputError(
            "the series is a multi-frame (enhanced) DICOM file, which bonekit does not read. "
            "Convert it to single slices (dcm4che emf2sf) or to NIfTI (dcm2niix)"
        )
    missing = sum(header.position_mm is None for header in headers)
    if missing:
        raise InputError(
            f"{missing} of {len(headers)} slices do not say where they lie (Image Position, Image "
            "Orientation or Pixel Spacing is absent): screen captures or scouts? Choose another "
            "series (bonekit.image.list_series)"
        )
    return list(headers)


def _without_localizers(headers: list[SliceHeader]) -> list[SliceHeader]:
    slices = [header for header in headers if not header.localizer]
    if slices and len(slices) < len(headers):
        logger.warning("left out %d localizer images", len(headers) - len(slices))
    return slices or headers


def _one_geometry(headers: list[SliceHeader]) -> list[SliceHeader]:
    """Refuse slices of several orientations, sizes or pixel spacings."""
    groups: list[list[SliceHeader]] = []
    for header in headers:
        group = next((g for g in groups if _same_plane(g[0], header)), None)
        if group is None:
            groups.append([header])
        else:
            group.append(header)
    if len(groups) > 1:
        listing = "; ".join(
            f"{len(g)} of {g[0].size[0]}x{g[0].size[1]} pixels, "
            f"{g[0].spacing_mm[0]:.4g}x{g[0].spacing_mm[1]:.4g} mm, "
            f"normal {np.round(g[0].normal, 3).tolist()}"
            for g in groups
        )
        raise InputError(
            f"the series mixes {len(groups)} kinds of slices: {listing}. One volume has one "
            "orientation, size and pixel spacing: move the others to another folder"
        )
    return groups[0]


def _same_plane(a: SliceHeader, b: SliceHeader) -> bool:
    return (
        a.size == b.size
        and np.allclose(a.spacing_mm, b.spacing_mm, rtol=0, atol=1e-4)
        and np.allclose([a.row, a.column], [b.row, b.column], rtol=0, atol=1e-3)
    )


def _without_duplicates(slices: list[SliceHeader]) -> list[SliceHeader]:
    """Drop a slice that repeats its neighbour; refuse one that differs at the same place."""
    kept = slices[:1]
    for header in slices[1:]:
        previous = kept[-1]
        if np.abs(_position(header) - _position(previous)).max() > SAME_PLACE_MM:
            kept.append(header)
        elif not np.array_equal(read_pixels(header), read_pixels(previous)):
            raise InputError(
                f"two slices with different pixels lie at {_point(_position(header))} mm "
                f"(acquisitions {previous.acquisition or '?'} and {header.acquisition or '?'}). "
                "The series holds several phases, echoes or reconstructions: keep one of them"
            )
    if len(kept) < len(slices):
        logger.warning("left out %d slices that repeat another one", len(slices) - len(kept))
    return kept


def _check_gaps(slices: list[SliceHeader]) -> None:
    """Refuse missing slices and uneven steps."""
    positions = np.array([_position(header) for header in slices])
    depths = positions @ slices[0].normal
    gaps = np.diff(depths)
    step = float(np.median(gaps))
    tolerance = max(0.05, 0.02 * step)
    counts = np.rint(gaps / step).astype(int) if step > SAME_PLACE_MM else np.ones(len(gaps), int)
    holes = (counts >= 2) & (np.abs(gaps - counts * step) <= tolerance * counts)
    if holes.any():
        points = [
            _point(positions[i] + (positions[i + 1] - positions[i]) * m / counts[i])
            for i in np.flatnonzero(holes)
            for m in range(1, counts[i])
        ]
        more = f" and {len(points) - 8} more" if len(points) > 8 else ""
        raise InputError(
            f"{len(points)} slices are missing: the step is {step:.4g} mm and there is none at "
            f"{', '.join(points[:8])}{more} mm. Export the whole series again; a hole in a bone "
            "can't be interpolated"
        )
    even = np.linspace(depths[0], depths[-1], len(depths))
    worst = max(float(np.abs(gaps - step).max()), float(np.abs(depths - even).max()))
    if worst > tolerance:
        raise InputError(
            f"the slices are unevenly spaced: steps from {gaps.min():.4g} to {gaps.max():.4g} mm, "
            f"off an even stack by up to {worst:.3g} mm (allowed: {tolerance:.3g} mm). Use a "
            "reconstruction with one slice spacing"
        )


def _point(point: Float) -> str:
    return "(" + ", ".join(f"{x:.2f}" for x in point) + ")"


def _compact(slices: list[NDArray[Any]]) -> NDArray[Any]:
    """Stack slices as int16 where that is exact, else float32, (ni, nj, nk)."""
    whole = all(s.dtype.kind in "iu" for s in slices)
    exact = (
        whole and min(s.min() for s in slices) >= -32768 and max(s.max() for s in slices) < 32768
    )
    return np.stack(slices, axis=-1, dtype=np.int16 if exact else np.float32, casting="unsafe")


def _unshear(array: NDArray[Any], affine: Float, shifts: Float) -> Image:
    """Bring a leaning stack to a rectangular grid.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk)
    affine : ndarray, (4, 4)
        Of the rectangular grid that starts at the first slice.
    shifts : ndarray, (nk, 2)
        Where each slice begins, in pixels from the first slice.
    """
    low = np.floor(shifts.min(axis=0)).astype(int)
    high = np.ceil(shifts.max(axis=0)).astype(int)
    size = (array.shape[0] + high[0] - low[0], array.shape[1] + high[1] - low[1])
    straight = np.empty((*size, array.shape[2]), dtype=np.float32)
    for k, shift in enumerate(shifts):
        straight[:, :, k] = ndimage.affine_transform(
            array[:, :, k].astype(np.float32),
            np.ones(2),
            offset=low - shift,
            output_shape=size,
            order=1,
            cval=float(array.min()),
        )
    moved = affine.copy()
    moved[:3, 3] = affine[:3] @ [low[0], low[1], 0, 1]
    return Image(straight, Grid(straight.shape, moved))


def series_of_file(file: Path, groups: dict[str, list[SliceHeader]]) -> str:
    """Series Instance UID of the series that holds a file."""
    for uid, headers in groups.items():
        if any(header.file.samefile(file) for header in headers):
            return uid
    raise InputError(f"{file} is not a DICOM image")

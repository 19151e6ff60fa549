"""A guard against images that are not CT in Hounsfield units."""

from __future__ import annotations

import numpy as np

from bonekit.errors import InputError
from bonekit.image.volume import Image

SPACING_MM = (0.05, 10.0)
HU = (-4096.0, 40000.0)  # padding below air on one side, extended-scale metal on the other
_RESCALE = (
    "The rescale slope and intercept were probably not applied: convert the DICOM again, or "
    "compute slope * value + intercept (usually value - 1024)"
)


def check_hu(image: Image) -> None:
    """Refuse an image that can't be a CT in HU.

    Parameters
    ----------
    image : Image

    Raises
    ------
    InputError
        If voxels are NaN or infinite, all equal, or in a range that HU don't have (normalised,
        8-bit, attenuation coefficients, raw detector values), or if the voxel size is absurd.
        The message says what was found, what is allowed and what to do.
    """
    _check_spacing(image)
    bad = int(image.array.size - np.count_nonzero(np.isfinite(image.array)))
    if bad:
        raise InputError(
            f"{bad} of {image.array.size} voxels are NaN or infinite; a CT in HU has finite values "
            "only. Replace them (air is -1000 HU) or export the image again"
        )
    low, high = float(image.array.min()), float(image.array.max())
    problem = _range_problem(low, high, image)
    if problem:
        raise InputError(
            f"this image is not a CT in HU: its values run from {low:.6g} to {high:.6g} "
            f"(in HU: air -1000, water 0, bone 100 to 2000). {problem}"
        )


def _check_spacing(image: Image) -> None:
    least, most = SPACING_MM
    spacing = image.spacing_mm
    if spacing.min() < least or spacing.max() > most:
        raise InputError(
            f"voxel size {np.round(spacing, 6).tolist()} mm; allowed: {least} to {most} mm. "
            "Was the image written in metres or micrometres? Correct its spacing"
        )


def _range_problem(low: float, high: float, image: Image) -> str:
    """Say what is wrong with the range of values; empty if nothing is."""
    if low == high:
        return "All voxels are equal: the file is empty or was exported wrongly"
    if low < HU[0] or high > HU[1]:
        return f"Allowed: {HU[0]:.0f} to {HU[1]:.0f} HU. Check the rescale slope and the modality"
    if high - low <= 10:
        return (
            "So small a span is that of a normalised image or of attenuation coefficients (1/cm, "
            "1/mm). Use the image before normalisation, or HU = 1000 (mu - mu_water) / mu_water"
        )
    if high <= 0:
        return "No voxel is denser than water. Was the rescale intercept applied twice?"
    if low >= 0 and high <= 255:
        return "An 8-bit range: the image was windowed for display. Use the original CT"
    if low >= 0 and (high > 2000 or float(np.median(image.array)) > 700):
        return f"No voxel is below 0, where fat and air lie. {_RESCALE}"
    if low >= 0:
        return (
            "No voxel is below 0, where fat and air lie. Is it an MRI, or a CT whose background "
            "was set to 0? Use the original CT"
        )
    return ""

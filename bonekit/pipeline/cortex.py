"""The cortex of a run: as the scanner shows it, or corrected for partial volume."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from bonekit.cortex import correct, cortical_map, peel_and_dilate
from bonekit.density import DensityImage
from bonekit.figures.cortex import cortex_figure
from bonekit.image.volume import LabelMap

Way = Literal["as_seen", "peel", "profile"]


class Cortex(NamedTuple):
    """A density with its cortex put right, what was done, and a picture of it (PNG)."""

    density: DensityImage
    told: dict[str, Any]
    picture: bytes | None = None


def cortex_of(
    ash: DensityImage, labels: LabelMap, way: Way, slice_mm: float | None = None
) -> Cortex:
    """Correct the cortex of a bone in the way that a case asks for.

    Parameters
    ----------
    ash : DensityImage
    labels : LabelMap
        On the same grid.
    way : {"as_seen", "peel", "profile"}
    slice_mm : float, optional
        Slice thickness of the scan; the distance of the slices by default.

    Raises
    ------
    InputError, CalibrationError
        See `peel_and_dilate` and `cortical_map`.
    """
    if way == "as_seen":
        return Cortex(ash, {"method": way})
    if way == "peel":
        peeled = peel_and_dilate(ash, labels)
        changed = int(np.count_nonzero(peeled.array != ash.array))
        return Cortex(peeled, {"method": way, "n_voxels_changed": changed})
    found = cortical_map(ash, labels, slice_mm=slice_mm)
    made = correct(ash, labels, found)
    thickness = found.thickness_mm[found.ok]
    told = {
        "method": way,
        "n_voxels_changed": made.changed,
        "points": int(found.ok.size),
        "points_fitted": int(np.count_nonzero(found.ok)),
        "psf_fwhm_mm": found.psf_fwhm_mm,
        "median_thickness_mm": float(np.median(thickness)),
        "cortical_ash_density_g_cm3": float(np.median(found.density_g_cm3[found.ok])),
        "spilled_g": made.spilled_g,
    }
    return Cortex(made.density, told, cortex_figure(ash, labels, found))

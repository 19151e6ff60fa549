"""Samples of the patient's own tissues in a CT: air, fat, muscle and compact bone.

All work is done in axial slices: muscles, fat and the diaphysis run along the body, and slices are
often thicker than the cortex. A tissue is what lies in its window of HU a few millimetres away
from anything else; its HU is the mode of what is left there, which neither streaks nor
the fat in a muscle move much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Image

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]

TISSUES = ("air", "adipose", "muscle", "blood", "cortical_bone")
# HU between which a tissue lies from 80 to 140 kVp, its neighbours' partial volume left out
WINDOWS_HU = {"adipose": (-170.0, -50.0), "muscle": (5.0, 110.0)}
AIR_HU = -900.0
COMPACT_HU = 800.0  # no compact bone shows less, not even at 140 kVp
METAL_HU = 3000.0  # compact bone shows about 2500 HU at 80 kVp
METAL_REACH_MM = 15.0  # streaks reach further, but the mode bears them
SMOOTH_MM = 1.0  # standard deviation, so that noise does not take voxels out of a window
AWAY_MM = {"air": 5.0, "adipose": 2.5, "muscle": 3.0}
FLAT_MM = 1.2  # half width of a plateau of compact bone; at least a voxel
FLAT_SHARE = 0.88  # of a voxel's HU, which nothing near it falls below
DENSEST_SHARE = 0.8  # of the 98th percentile: leaves out cortex that is porous, or sclerosis
MOST_SLICES = 64
LEAST_VOXELS = 40
LEAST_COMPACT_MM3 = 500.0  # less is a patch of a vertebral arch, which is no compact bone
CORRELATED_VOXELS = 9.0  # share the noise of one


@dataclass(frozen=True)
class TissueSample:
    """What a tissue shows in a scan.

    Parameters
    ----------
    tissue : str
        Of `TISSUES`.
    mean_HU : float
        Of its voxels without outliers, see `typical`; the median for air, and in a mask that a
        user gave.
    std_HU : float
        Of its voxels.
    sem_HU : float
        Standard error of `mean_HU`, from the scatter between slices and of the voxels.
    n_voxels : int
    """

    tissue: str
    mean_HU: float
    std_HU: float
    sem_HU: float
    n_voxels: int


def sample_tissues(ct: Image, masks: Mapping[str, Mask] | None = None) -> dict[str, TissueSample]:
    """Measure air, fat, muscle and compact bone in a CT, as far as they are there.

    Parameters
    ----------
    ct : Image
        In HU.
    masks : mapping of str to ndarray of bool, (ni, nj, nk), optional
        Where a tissue of `TISSUES` is; it is then not sought. Whole blood (an aorta without
        contrast agent) is measured in such a mask only.

    Returns
    -------
    dict of str to TissueSample
        By tissue, in the order of `TISSUES`; what the scan lacks is left out.

    Raises
    ------
    InputError
        If a mask has an unknown name or another shape than the CT.
    CalibrationError
        If a mask holds fewer than 40 voxels.
    """
    given = dict(masks or {})
    _check_masks(ct, given)
    found = find_tissues(ct) | given
    axis = _slice_axis(ct)
    return {
        name: _measured(name, ct.array, found[name], axis, by_hand=name in given)
        for name in TISSUES
        if name in found
    }


def find_tissues(ct: Image) -> dict[str, Mask]:
    """Find air, fat, muscle and compact bone in up to 64 slices spread over a CT.

    Parameters
    ----------
    ct : Image
        In HU.

    Returns
    -------
    dict of str to ndarray of bool, (ni, nj, nk)
        Tissues with at least 40 voxels; compact bone with at least 500 mm3.
    """
    axis = _slice_axis(ct)
    slices = np.unique(np.linspace(0, ct.shape[axis] - 1, MOST_SLICES).astype(int))
    hu = np.moveaxis(ct.array, axis, 0)[slices].astype(np.float32)
    step = np.delete(ct.spacing_mm, axis)
    metal = _grown(hu > METAL_HU, METAL_REACH_MM, step)
    smooth = ndimage.gaussian_filter(hu, (0, *(SMOOTH_MM / step)), mode="nearest")
    picked = {"air": _air(hu, smooth, step), "cortical_bone": _compact(hu, step) & ~metal}
    for name, (low, high) in WINDOWS_HU.items():
        inside = (smooth > low) & (smooth < high) & ~metal
        picked[name] = _shrunk(inside, AWAY_MM[name], step)
    least = dict.fromkeys(picked, float(LEAST_VOXELS))
    stride = ct.shape[axis] / slices.size  # slices that one stands for
    least["cortical_bone"] = max(LEAST_COMPACT_MM3 / ct.grid.voxel_mm3 / stride, LEAST_VOXELS)
    return {
        name: _spread(mask, slices, axis, ct.shape)
        for name, mask in picked.items()
        if np.count_nonzero(mask) >= least[name]
    }


def _check_masks(ct: Image, masks: Mapping[str, Mask]) -> None:
    for name, mask in masks.items():
        if name not in TISSUES:
            raise InputError(f"a mask for {name!r}; allowed: {', '.join(TISSUES)}")
        if mask.shape != ct.shape:
            raise InputError(
                f"the mask of {name} has the shape {mask.shape}, the CT {ct.shape}: give it on "
                "the grid of the CT"
            )
        count = int(np.count_nonzero(mask))
        if count < LEAST_VOXELS:
            raise CalibrationError(
                f"the mask of {name} holds {count} voxels; at least {LEAST_VOXELS} are needed"
            )


def _slice_axis(ct: Image) -> int:
    """Array axis that runs nearest to the body's."""
    return int(np.abs(ct.grid.direction[2]).argmax())


def _spread(mask: Mask, slices: NDArray[np.intp], axis: int, shape: tuple[int, ...]) -> Mask:
    """Put the mask of some slices back into the whole image."""
    whole = np.zeros(shape, bool)
    np.moveaxis(whole, axis, 0)[slices] = mask
    return whole


def _distance_mm(mask: Mask, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of what is in a mask from what is not, slice by slice."""
    return np.stack([ndimage.distance_transform_edt(m, sampling=step) for m in mask])


def _shrunk(mask: Mask, by_mm: float, step: NDArray[np.float64]) -> Mask:
    return np.asarray(_distance_mm(mask, step) > by_mm)


def _grown(mask: Mask, by_mm: float, step: NDArray[np.float64]) -> Mask:
    """Grow a mask in its slices; an empty slice stays empty."""
    grown = mask.copy()
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        grown[k] = ndimage.distance_transform_edt(~mask[k], sampling=step) <= by_mm
    return grown


def _air(hu: Array, smooth: Array, step: NDArray[np.float64]) -> Mask:
    """Air around the patient: dark, joined to the border of its slice, and no padding."""
    dark = smooth < AIR_HU
    lowest = float(hu.min())
    if lowest < -1010:  # outside the circle of reconstruction: not measured
        dark &= hu > lowest
    labels = np.stack([_at_border(plane) for plane in dark])
    return _shrunk(labels, AWAY_MM["air"], step)


def _at_border(plane: Mask) -> Mask:
    labels, _ = ndimage.label(plane)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, np.unique(rim[rim > 0])))


def _compact(hu: Array, step: NDArray[np.float64]) -> Mask:
    """Plateaus of compact bone: where a cortex is thick enough to show its own HU."""
    near = _disc(max(FLAT_MM, float(step.max())), step)[None]
    dense = (hu > COMPACT_HU) & (hu < METAL_HU)
    if not dense.any():
        return dense
    flat = dense & (ndimage.minimum_filter(hu, footprint=near) > FLAT_SHARE * hu)
    if not flat.any():
        return flat
    return np.asarray(flat & (hu > DENSEST_SHARE * np.percentile(hu[flat], 98)))


def _disc(radius_mm: float, step: NDArray[np.float64]) -> Mask:
    """Voxels whose centres lie within a radius of the middle one."""
    i, j = (np.arange(-int(n), int(n) + 1) for n in (radius_mm + 1e-6) // step)
    return np.asarray(np.hypot(i[:, None] * step[0], j * step[1]) <= radius_mm + 1e-6)


def _measured(
    name: str, hu: NDArray[np.generic], mask: Mask, axis: int, *, by_hand: bool
) -> TissueSample:
    values = hu[mask].astype(np.float64)
    # air is often clipped at -1000: the median bears that
    middle = float(np.median(values)) if by_hand or name == "air" else typical(values)
    slices = np.nonzero(mask)[axis]
    medians = [np.median(values[slices == k]) for k in np.unique(slices)]
    scatter = float(np.std(medians) / np.sqrt(len(medians))) if len(medians) > 3 else 0.0
    within = float(np.std(values) / np.sqrt(values.size / CORRELATED_VOXELS))
    sem = float(np.hypot(scatter, within))
    return TissueSample(name, middle, float(values.std()), sem, values.size)


def typical(values: NDArray[np.float64]) -> float:
    """Robust centre of one tissue: the mode, moved to the mean of what lies around it.

    The mode is the top of a histogram of 1 HU, smoothed by a Gaussian whose width follows the rule
    of Silverman (1986, equation 3.31). Noise moves it, so it is followed by the mean within 1.5
    standard deviations (from the quartiles) of itself, until that stays.
    """
    low, high = np.percentile(values, [25, 75])
    spread = max(float(high - low) / 1.349, 1.0)
    width = max(0.9 * min(float(values.std()), spread) * values.size**-0.2, 1.0)
    first = np.floor(values.min()) - 0.5
    count = np.bincount((values - first).astype(int))
    smooth = ndimage.gaussian_filter1d(count.astype(np.float64), width, mode="constant")
    centre = float(first + 0.5 + int(smooth.argmax()))
    for _ in range(20):
        before, near = centre, np.abs(values - centre) <= 1.5 * spread
        centre = float(values[near].mean())
        if abs(centre - before) < 0.1:
            break
    return centre

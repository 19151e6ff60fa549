"""The bone without its lesions: what it might have been before they grew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.lesions.find import HEALTHY, LESION

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

CORTEX = "cortex"
RIM_MM = 2.0  # blur carries a lesion's density this far into healthy bone
REACHES_MM = (6.0, 12.0, 24.0, 48.0)  # standard deviations of the weights, until there is support
NEARLY = (0, 1, 2, 4, 8, 16, 32, 64)  # voxels that a depth may differ where none is the same
SUPPORT = 0.02  # least share of a kernel that must be healthy bone of the same depth
DEEP_MM = 8.0  # deeper bone is alike


@dataclass(frozen=True, eq=False)
class Intact:
    """A bone whose lesions are filled.

    Parameters
    ----------
    labels : LabelMap
        Lesions are cortex or trabecular bone now.
    density : DensityImage
        g/cm3.
    filled : ndarray of bool, (ni, nj, nk)
        Voxels whose density is made up: lesions and their rim.
    """

    labels: LabelMap
    density: DensityImage
    filled: Mask


def intact(labels: LabelMap, density: DensityImage, rim_mm: float = RIM_MM) -> Intact:
    """Fill the lesions of a bone by what healthy bone around them is like at the same depth.

    A voxel gets the mean density of the healthy bone of its own depth under the bone's surface,
    with weights that fall off with distance (normalised convolution, Knutsson and Westin 1993):
    cortex continues as cortex of the neighbouring thickness and density, trabecular bone as
    trabecular bone. The weights reach further where a lesion leaves no healthy bone of that depth
    nearby, and to other depths where it leaves none at all, as in the middle of a vertebral body.
    The outline of the bone stays that of the labels.

    Parameters
    ----------
    labels : LabelMap
        With the names of `bonekit.segmentation.base.REGIONS`, the lesions inside the outline.
    density : DensityImage
        On the grid of the labels.
    rim_mm : float
        How far round a lesion the density is taken for its blur.

    Returns
    -------
    Intact
        The same objects where there is no lesion.

    Raises
    ------
    InputError
        If the grids differ, or no healthy bone is left to learn from.
    """
    density.require(DensityKind.ASH)
    if not density.grid.same_as(labels.grid):
        raise InputError(
            "the labels and the density are on different grids; bring one to the other's with "
            "resample"
        )
    lesion = labels.mask(*_present(labels, LESION))
    if not lesion.any():
        return Intact(labels, density, lesion)
    bone = lesion | labels.mask(*_present(labels, CORTEX, HEALTHY))
    step = labels.spacing_mm
    near = ndimage.distance_transform_edt(~lesion, sampling=step) <= rim_mm
    filled = bone & near
    healthy = bone & ~near
    if not healthy.any():
        raise InputError("no healthy bone is left around the lesions: nothing to fill them with")
    depth = ndimage.distance_transform_edt(np.pad(bone, 1), sampling=step)[1:-1, 1:-1, 1:-1]
    layer = np.minimum(depth, DEEP_MM) // float(step.min())
    cortex = labels.mask(*_present(labels, CORTEX)).astype(np.float64)
    array = density.array.astype(np.float64)
    means = _from_around(np.stack([array, cortex]), layer, healthy, filled, step)
    names = {name: value for value, name in labels.names.items()}
    new, ash = labels.array.copy(), array.copy()
    ash[filled] = means[0][filled]
    new[lesion] = np.where(means[1][lesion] >= 0.5, names[CORTEX], names[HEALTHY])
    return Intact(
        replace(labels, array=new),
        DensityImage(ash.astype(density.array.dtype), density.grid, density.kind),
        filled,
    )


def _present(labels: LabelMap, *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in labels.names.values())


def _from_around(fields: Float, layer: Float, healthy: Mask, filled: Mask, step: Float) -> Float:
    """Weighted means of fields over the healthy voxels of each filled voxel's layer."""
    made = np.zeros_like(fields)
    for number in np.unique(layer[filled]):
        wanted = filled & (layer == number)
        for spread, reach in product(NEARLY, REACHES_MM):
            source = healthy & (np.abs(layer - number) <= spread)
            box = _around(wanted, 3.0 * reach, step)
            sigma = reach / step
            weight = _smooth(source[box].astype(np.float64), sigma)
            # a layer is thin: its share of a kernel is small even where it is complete
            open_ = wanted[box] & (weight > SUPPORT * min(1.0, step.min() / reach))
            for n, field in enumerate(fields):
                mean = _smooth(np.where(source[box], field[box], 0.0), sigma)
                made[n][box][open_] = mean[open_] / weight[open_]
            wanted[box] &= ~open_
            if not wanted.any():
                break
        if wanted.any():
            raise InputError(
                f"{np.count_nonzero(wanted)} voxels of lesions have no healthy bone "
                f"within {3 * REACHES_MM[-1]:.0f} mm: the bone is replaced altogether"
            )
    return made


def _around(mask: Mask, margin_mm: float, step: Float) -> tuple[slice, ...]:
    index = np.argwhere(mask)
    margin = np.ceil(margin_mm / step).astype(int)
    low = np.maximum(index.min(axis=0) - margin, 0)
    high = index.max(axis=0) + margin + 1
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _smooth(field: Float, sigma: Float) -> Float:
    return np.asarray(ndimage.gaussian_filter(field, sigma, mode="constant", truncate=3.0))

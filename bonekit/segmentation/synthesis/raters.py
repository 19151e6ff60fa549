"""Raters who see the same image and do not draw the same borders."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bonekit.image import LabelMap
from bonekit.segmentation.synthesis.render import smooth_noise


def simulate_rater(
    labels: LabelMap,
    rng: np.random.Generator,
    *,
    border_mm: float = 0.7,
    miss: float = 0.1,
    miss_mm3: float = 500.0,
) -> LabelMap:
    """Draw the labels as another rater might.

    Every border moves by a smooth random distance, and small pieces are missed now and then.

    Parameters
    ----------
    labels : LabelMap
    rng : numpy.random.Generator
    border_mm : float
        Standard deviation of the borders' displacement.
    miss : float
        Chance that a piece smaller than `miss_mm3` is overlooked.
    miss_mm3 : float
    """
    array = np.zeros_like(labels.array)
    spacing = labels.spacing_mm
    best = np.full(labels.shape, -np.inf)
    shift = border_mm * smooth_noise(labels.grid, 8.0, rng)
    for value in (int(v) for v in np.unique(labels.array)):
        own = labels.array == value
        if value:
            own = _without_missed(own, rng, miss, miss_mm3 / labels.grid.voxel_mm3)
        if not own.any():
            continue
        depth = ndimage.distance_transform_edt(own, spacing)
        depth -= ndimage.distance_transform_edt(~own, spacing)
        depth -= np.sign(depth) * spacing.min() / 2  # from the border, not from voxel centres
        # The neighbour's depth is minus this one: to move their border takes twice the shift
        depth = depth + (2 * shift if value else 0.0)
        closer = depth > best
        array[closer], best[closer] = value, depth[closer]
    return labels.with_array(array)


def _without_missed(
    own: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    rng: np.random.Generator,
    miss: float,
    most_voxels: float,
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    pieces, count = ndimage.label(own)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    missed = (rng.uniform(size=count + 1) < miss) & (sizes < most_voxels)
    missed[0] = False
    return np.asarray(own & ~missed[pieces])

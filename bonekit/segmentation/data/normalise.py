"""Intensities as a network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from bonekit.errors import InputError
from bonekit.image import Image
from bonekit.segmentation.planning.plan import Statistics
from bonekit.segmentation.task import Channel

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class Scaling:
    """``(clip(value, low, high) - shift) / scale``: a normalisation, measured once.

    It goes over an image in any pieces with the same result.
    """

    low: float
    high: float
    shift: float
    scale: float

    def apply(self, array: NDArray[Any], inside: Mask | None = None) -> Float:
        """Normalise an array of any shape; zero outside of `inside`, if given."""
        made = array.astype(np.float32)
        np.clip(made, self.low, self.high, out=made)
        made -= np.float32(self.shift)
        made /= np.float32(self.scale)
        if inside is not None:
            made[~inside] = 0.0
        return made


def scaling(
    array: NDArray[Any], channel: Channel, statistics: Statistics, *, inside: Mask | None = None
) -> Scaling:
    """Measure how a channel is normalised.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk)
        The whole image, cropped to `nonzero_box`: only ``zscore`` looks at it.
    channel : Channel
    statistics : Statistics
        Of the foreground of the data set; only ``ct`` looks at them.
    inside : ndarray of bool, optional
        Where a z-score is taken (`nonzero_mask`); ignored by the others, as in nnU-Net.

    Raises
    ------
    InputError
        If the image holds a value that is not finite.
    """
    if channel.normalisation == "ct":
        spread = max(statistics.std, 1e-8)
        return Scaling(statistics.low, statistics.high, statistics.mean, spread)
    if channel.normalisation == "rescale" and channel.values is not None:
        low, high = channel.values
        return Scaling(low, high, low, high - low)
    if channel.normalisation == "none":
        return Scaling(-np.inf, np.inf, 0.0, 1.0)
    mean, std = _moments(array, inside)
    if not np.isfinite([mean, std]).all():
        raise InputError(
            f"channel {channel.name} holds NaN or infinite values; replace them by the background"
        )
    return Scaling(-np.inf, np.inf, mean, max(std, 1e-8))


def _moments(array: NDArray[Any], inside: Mask | None) -> tuple[float, float]:
    """Mean and deviation, slice by slice: no float64 copy of the whole image."""

    def slices() -> Iterator[NDArray[np.float64]]:
        for i in range(array.shape[0]):
            yield (array[i] if inside is None else array[i][inside[i]]).astype(np.float64)

    count = array.size if inside is None else int(np.count_nonzero(inside))
    mean = sum(float(s.sum()) for s in slices()) / max(count, 1)
    square = sum(float(((s - mean) ** 2).sum()) for s in slices()) / max(count, 1)
    return mean, square**0.5


def normalise(
    array: NDArray[Any], channel: Channel, statistics: Statistics, *, inside: Mask | None = None
) -> Float:
    """Normalise a whole image: `scaling`, applied.

    Parameters
    ----------
    array : ndarray, (ni, nj, nk)
        Raw values. For ``ct``, ``rescale`` and ``none`` it may be a piece of the image.
    channel, statistics, inside
        As for `scaling`; outside of `inside` a z-score is zero.

    Returns
    -------
    ndarray of float32, (ni, nj, nk)
    """
    measured = scaling(array, channel, statistics, inside=inside)
    return measured.apply(array, inside if channel.normalisation == "zscore" else None)


def nonzero_mask(images: Sequence[Image | None]) -> Mask:
    """Voxels where any image is not zero, holes filled, (ni, nj, nk)."""
    mask = np.logical_or.reduce([image.array != 0 for image in images if image is not None])
    return np.asarray(binary_fill_holes(mask))


def nonzero_box(images: Sequence[Image | None]) -> Box:
    """First index and one past the last where any image is not zero.

    An image of zeros keeps its whole extent.
    """
    present = [image.array for image in images if image is not None]
    low, high = [0, 0, 0], [0, 0, 0]
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(np.logical_or.reduce([(p != 0).any(axis=others) for p in present]))
        if filled.size == 0:
            return (0, 0, 0), present[0].shape
        low[axis], high[axis] = int(filled[0]), int(filled[-1]) + 1
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])

"""Whether probabilities mean what they say: near the boundary, where it matters, and per lesion.

Over a whole image nearly all voxels are trivially certain, and the mean error says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics.calibration import calibration_binning
from numpy.typing import NDArray
from scipy import ndimage, stats

from bonekit.segmentation.evaluation.overlap import Mask, around

BINS = 10
BAND_VOXELS = 2


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probability and what came true, in `BINS` bins of equal width.

    Parameters
    ----------
    count, predicted, true : ndarray, (BINS,)
        Voxels (or lesions), the sum of their probabilities, and how many were true.
    """

    count: NDArray[np.float64]
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error (Guo et al., ICML 2017); nan without a voxel."""
        total = self.count.sum()
        return float(np.abs(self.predicted - self.true).sum() / total) if total else np.nan


def reliability(probability: NDArray[np.floating], true: NDArray[np.bool_]) -> Reliability:
    """Sort probabilities (n,) with their outcomes (n,) into bins."""
    p = torch.from_numpy(np.ascontiguousarray(probability, np.float32))[None, None]
    y = torch.from_numpy(np.ascontiguousarray(true, np.float32))[None, None]
    mean_p, mean_y, count = (t[0, 0].double().numpy() for t in calibration_binning(p, y, BINS))
    return Reliability(count, np.nan_to_num(mean_p) * count, np.nan_to_num(mean_y) * count)


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """Add up several."""
    empty = np.zeros(BINS)
    return Reliability(
        sum((one.count for one in parts), empty),
        sum((one.predicted for one in parts), empty),
        sum((one.true for one in parts), empty),
    )


def band(mask: Mask) -> Mask:
    """Voxels within `BAND_VOXELS` steps over faces of the boundary, on either side."""
    near = np.zeros_like(mask)
    if not mask.any():
        return near
    box = around(mask, BAND_VOXELS)
    wide = ndimage.binary_dilation(mask[box], iterations=BAND_VOXELS)
    core = ndimage.binary_erosion(mask[box], iterations=BAND_VOXELS, border_value=1)
    near[box] = wide & ~core
    return near


def error_auroc(entropy: NDArray[np.integer], wrong: NDArray[np.bool_]) -> float:
    """Chance that a wrong voxel has a larger entropy than a right one; nan if all are alike.

    The rank statistic of Mann and Whitney, ties counting half.
    """
    n_wrong = int(wrong.sum())
    n_right = wrong.size - n_wrong
    if not n_wrong or not n_right:
        return np.nan
    ranks = stats.rankdata(entropy)
    return float((ranks[wrong].sum() - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right))

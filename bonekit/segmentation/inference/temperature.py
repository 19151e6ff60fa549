"""Temperature scaling: one number that makes probabilities honest.

Guo et al., On calibration of modern neural networks, ICML 2017: divide logits by the T that
minimises the negative log-likelihood on data kept out of training. Labels do not change.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bonekit.errors import InputError

RANGE = (0.05, 20.0)


def fit(logits: ArrayLike | torch.Tensor, labels: ArrayLike | torch.Tensor) -> float:
    """Find the temperature of some voxels kept out of training.

    Parameters
    ----------
    logits : array or Tensor, (voxels, outputs) or (outputs, ...)
        Or log-probabilities, which serve as well. One-dimensional `labels` go with the first
        shape, all others with the second.
    labels : array or Tensor of int, (voxels,) or (...); of bool, like `logits`, where outputs
        overlap

    Returns
    -------
    float
        Above 1 where the network is too sure of itself.

    Raises
    ------
    InputError
        If shapes contradict, numbers are not finite, or no temperature from 0.05 to 20 is best.
    """
    x = torch.as_tensor(logits, dtype=torch.float64)
    y = torch.as_tensor(labels)
    overlapping = y.shape == x.shape
    if not overlapping and y.ndim != 1:
        x = x.movedim(0, -1)
    if not overlapping and x.shape[:-1] != y.shape:
        raise InputError(
            f"logits {tuple(x.shape)} do not go with labels {tuple(y.shape)}; allowed: (voxels, "
            "outputs) with (voxels,), (outputs, ...) with (...), or both the same"
        )
    if not bool(torch.isfinite(x).all()):
        raise InputError("logits hold NaN or infinity; clip probabilities before the logarithm")

    def loss(log_t: Any) -> float:
        scaled = x / float(torch.exp(torch.tensor(float(log_t))))
        if overlapping:
            return float(binary_cross_entropy_with_logits(scaled, y.double()))
        return float(cross_entropy(scaled.reshape(-1, x.shape[-1]), y.reshape(-1).long()))

    low, high = (float(torch.tensor(t, dtype=torch.float64).log()) for t in RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    best = float(torch.exp(torch.tensor(found.x, dtype=torch.float64)))
    if min(loss(low), loss(high)) <= loss(found.x):
        raise InputError(
            f"no temperature from {RANGE[0]} to {RANGE[1]} is best: the voxels are all right, all "
            "wrong, or too few. Fit on whole validation images"
        )
    return best

"""Several opinions on each voxel joined to one; the calibration of the result.

Arrays are (slices, outputs, ni, nj). Outputs either exclude each other and sum to one, or overlap
and are judged each on its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from bonekit.segmentation.task import Fusion

SHARPNESS = 4.0  # unverified choice: one value, tried on synthetic bones only
LEAST = 1e-6  # probabilities below count as this where a logarithm is taken
TIE = 1e-3  # weight of the mean probability among votes, so that it decides a tie


def fuse(views: Sequence[torch.Tensor], rule: Fusion, *, exclusive: bool) -> torch.Tensor:
    """Join the probabilities of several views.

    Parameters
    ----------
    views : sequence of Tensor, each (slices, outputs, ni, nj)
    rule : Fusion
        ``mean``; ``log_pool``: normalised geometric mean; ``entropy``: mean weighted with
        ``exp(-4 H)`` where H is the entropy of a view in the voxel; ``majority``: share of votes.
    exclusive : bool
        Whether outputs exclude each other.
    """
    if len(views) == 1:
        return views[0]
    if rule == "mean":
        return _mean(views)
    if rule == "log_pool":
        pooled = _mean([log_odds(view, exclusive=exclusive) for view in views])
        return _probabilities(pooled, exclusive=exclusive)
    if rule == "entropy":
        sure = [torch.exp(-SHARPNESS * entropy(view, exclusive=exclusive)) for view in views]
        return _mean([w * v for w, v in zip(sure, views, strict=True)]) / _mean(sure)
    votes = _mean([_vote(view, exclusive=exclusive) for view in views])
    return (1 - TIE) * votes + TIE * _mean(views)


def calibrate(found: torch.Tensor, temperature: float, *, exclusive: bool) -> torch.Tensor:
    """Soften or sharpen probabilities, ``softmax(log(p) / temperature)``; no label changes."""
    if temperature == 1.0:
        return found
    return _probabilities(log_odds(found, exclusive=exclusive) / temperature, exclusive=exclusive)


def entropy(found: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Entropy in nats: one for all outputs, (slices, 1, ni, nj), or one for each that overlaps."""
    own: torch.Tensor = torch.special.entr(found)
    if exclusive:
        return own.sum(1, keepdim=True)
    other: torch.Tensor = torch.special.entr(1 - found)
    return own + other


def uncertainty(found: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Entropy from 0 to 1 of its largest value, mean over overlapping outputs, (slices, ni, nj)."""
    most = math.log(found.shape[1]) if exclusive else math.log(2.0)
    return (entropy(found, exclusive=exclusive) / most).mean(1).clamp(0.0, 1.0)


def log_odds(found: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Logits that give the probabilities back."""
    own = found.clamp(min=LEAST).log()
    return own if exclusive else own - (1 - found).clamp(min=LEAST).log()


def _mean(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total / len(parts)


def _probabilities(logits: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    return logits.softmax(1) if exclusive else logits.sigmoid()


def _vote(found: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    if not exclusive:
        return (found > 0.5).float()
    best = found.max(1, keepdim=True).indices
    return torch.zeros_like(found).scatter_(1, best, 1.0)

"""The loss of a task, over all sizes that a network gives in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from monai.losses.unified_focal_loss import AsymmetricUnifiedFocalLoss
from torch import Tensor
from torch.nn import functional

from bonekit.segmentation.task import Task

Loss = Callable[[Tensor, Tensor], Tensor]  # logits and targets of one size
ALPHA, BETA = 0.3, 0.7  # weights of false positives and negatives: Salehi et al. 2017


def targets(labels: Tensor, task: Task) -> Tensor:
    """Return what each output should be.

    Parameters
    ----------
    labels : Tensor of int, (B, 1, *spatial)

    Returns
    -------
    Tensor of float, (B, outputs, *spatial)
        One-hot, or the regions.
    """
    if task.regions is None:
        whole = [[task.labels[name]] for name in task.outputs]
    else:
        whole = [[task.labels[name] for name in names] for names in task.regions.values()]
    known = [torch.isin(labels, labels.new_tensor(numbers)) for numbers in whole]
    return torch.cat(known, dim=1).float()


def make_loss(task: Task) -> Callable[[Sequence[Tensor], Tensor], Tensor]:
    """Return the loss of a network's outputs.

    Of lower sizes each counts half of the one above, all together one (nnU-Net, whose lowest size
    of weight zero our networks don't give). Labels come down to their size by nearest neighbour.

    Parameters
    ----------
    task : Task
        `loss`; softmax where outputs exclude each other, else sigmoid.

    Returns
    -------
    callable
        Takes logits [(B, outputs, *spatial), ...] and labels (B, 1, *spatial).
    """
    single = _LOSSES[task.loss](task)

    def loss(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        weights = [0.5**i for i in range(len(logits))]
        total = logits[0].new_zeros(())
        for weight, one in zip(weights, logits, strict=True):
            small = functional.interpolate(labels.float(), one.shape[2:]).to(labels.dtype)
            total = total + weight / sum(weights) * single(one.float(), targets(small, task))
        return total

    return loss


def _dice(task: Task) -> Loss:
    """Dice over the batch, without the background where it is an output."""
    loss: Loss = DiceLoss(
        include_background=not task.exclusive,
        softmax=task.exclusive,
        sigmoid=not task.exclusive,
        batch=True,
    )
    return loss


def _dice_ce(task: Task) -> Loss:
    """Dice + cross entropy. MONAI's `DiceCELoss` takes softmax for several sigmoid outputs."""
    dice = _dice(task)
    if not task.exclusive:
        return lambda x, y: dice(x, y) + functional.binary_cross_entropy_with_logits(x, y)
    return lambda x, y: dice(x, y) + functional.cross_entropy(x, y)


def _dice_focal(task: Task) -> Loss:
    dice, focal = _dice(task), FocalLoss(gamma=2.0, use_softmax=task.exclusive)
    return lambda x, y: dice(x, y) + focal(x, y)


def _tversky(task: Task) -> Loss:
    loss: Loss = TverskyLoss(
        include_background=not task.exclusive,
        softmax=task.exclusive,
        sigmoid=not task.exclusive,
        alpha=ALPHA,
        beta=BETA,
        batch=True,
    )
    return loss


def _unified_focal(task: Task) -> Loss:
    """Yeung et al. 2022, each foreground output against the rest: MONAI's has two classes only.

    MONAI's takes probabilities, whatever its documentation says.
    """
    binary = AsymmetricUnifiedFocalLoss()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        p = x.softmax(dim=1) if task.exclusive else x.sigmoid()
        first = 1 if task.exclusive else 0
        each = [binary(p[:, i : i + 1], y[:, i : i + 1]) for i in range(first, x.shape[1])]
        return torch.stack(each).mean()

    return loss


_LOSSES: dict[str, Callable[[Task], Loss]] = {
    "dice_ce": _dice_ce,
    "dice_focal": _dice_focal,
    "tversky": _tversky,
    "unified_focal": _unified_focal,
}

"""Dice and loss on the patches of validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bonekit.segmentation.networks import build
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task
from bonekit.segmentation.training.batches import Source
from bonekit.segmentation.training.losses import make_loss, targets


@dataclass(frozen=True)
class Scores:
    """Of one round.

    Parameters
    ----------
    loss : float
    dice : mapping of str to float, or None where neither truth nor prediction hold the output
        Over all voxels of all patches together (nnU-Net's pseudo Dice), for each output but the
        background.
    """

    loss: float
    dice: Mapping[str, float | None]


@torch.no_grad()
def validate(
    task: Task, plan: Plan, weights: Mapping[str, Tensor], source: Source, device: torch.device
) -> Scores:
    """Score weights on the fixed batches of validation."""
    network = build(task, plan).to(device).eval()
    network.load_state_dict(dict(weights))
    loss = make_loss(task)
    number = source.settings.validation_batches
    total, common, both = 0.0, torch.zeros(()), torch.zeros(())
    for i in range(number):
        batch = source.validation(i)
        labels = batch.labels.to(device)
        logits = network(batch.images.to(device))
        assert isinstance(logits, Tensor)
        total += loss([logits], labels).item() / number
        predicted, truth = chosen(logits, task), targets(labels, task).bool()
        axes = [0, *range(2, truth.ndim)]
        common = common + (predicted & truth).sum(axes).double().cpu()
        both = both + (predicted.sum(axes) + truth.sum(axes)).double().cpu()
    dice = {
        name: 2 * float(c) / float(b) if b > 0 else None
        for name, c, b in zip(task.outputs, common, both, strict=True)
        if not (task.exclusive and name == "background")
    }
    return Scores(total, dice)


def chosen(logits: Tensor, task: Task) -> Tensor:
    """Return where each output is predicted, bool of the shape of the logits."""
    if not task.exclusive:
        return logits > 0
    winner = logits.max(dim=1, keepdim=True).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, winner, True)

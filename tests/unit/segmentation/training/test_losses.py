"""Losses of exclusive labels and of overlapping regions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bonekit.segmentation.task import Channel, Loss, Task
from bonekit.segmentation.training.losses import make_loss, targets

torch.set_num_threads(1)
LOSSES: tuple[Loss, ...] = ("dice_ce", "dice_focal", "tversky", "unified_focal")
LABELS = torch.tensor([[[[0, 1, 2, 1], [0, 0, 2, 1], [1, 1, 0, 0], [2, 2, 2, 0]]]]).byte()


def task(loss: Loss = "dice_ce", regions: bool = False) -> Task:
    more: dict[str, Any] = {}
    if regions:
        more = {
            "regions": {"bone": ("bone", "lesion"), "lesion": ("lesion",)},
            "region_order": ("bone", "lesion"),
        }
    return Task(
        name="toy",
        description="",
        channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
        labels={"background": 0, "bone": 1, "lesion": 2},
        loss=loss,
        **more,
    )


def test_targets_are_one_hot_or_regions() -> None:
    assert torch.equal(targets(LABELS, task()).argmax(dim=1, keepdim=True), LABELS.long())
    regions = targets(LABELS, task(regions=True))
    assert torch.equal(regions[:, :1], (LABELS > 0).float())
    assert torch.equal(regions[:, 1:], (LABELS == 2).float())


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_right_is_zero_wrong_is_large_and_the_way_down_is_found(name: Loss, regions: bool) -> None:
    toy = task(name, regions)
    loss, truth = make_loss(toy), targets(LABELS, toy)
    right = 20 * (2 * truth - 1)
    assert float(loss([right], LABELS)) == pytest.approx(0, abs=2e-3)
    assert float(loss([-right], LABELS)) > 0.5
    logits = torch.zeros_like(right, requires_grad=True)
    loss([logits], LABELS).backward()
    # every output is pulled to its truth, except a background that only cross entropy looks at
    pull = -logits.grad * (2 * truth - 1)  # type: ignore[operator]
    first = 0 if regions else 1
    assert (pull[:, first:].mean(dim=(0, 2, 3)) > 0).all()


def test_cross_entropy_of_regions_does_not_let_them_compete() -> None:
    # both regions are certain at a lesion: softmax over them would stay at log 2
    toy = task(regions=True)
    labels = torch.full((1, 1, 4, 4), 2).byte()
    assert float(make_loss(toy)([torch.full((1, 2, 4, 4), 20.0)], labels)) < 1e-3


def test_lower_sizes_count_half_of_the_one_above() -> None:
    toy = task()
    loss = make_loss(toy)
    full = torch.randn(1, 3, 4, 4, generator=torch.manual_seed(0))
    half = torch.randn(1, 3, 2, 2, generator=torch.manual_seed(1))
    both = float(loss([full, half], LABELS))
    small = LABELS[:, :, ::2, ::2]
    expected = (2 * float(loss([full], LABELS)) + float(loss([half], small))) / 3
    assert both == pytest.approx(expected, rel=1e-6)


def test_dice_is_that_of_the_whole_batch() -> None:
    # a lesion in one sample only: the other one's empty lesion costs nothing by itself
    toy = task("tversky", regions=True)
    labels = torch.cat([LABELS, torch.zeros_like(LABELS)])
    right = 20 * (2 * targets(labels, toy) - 1)
    one_false = right.clone()
    one_false[1, 1, 0, 0] = 20
    assert float(make_loss(toy)([one_false], labels)) < 0.1

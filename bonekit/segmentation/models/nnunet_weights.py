"""Weights of nnU-Net's PlainConvUNet as those of MONAI's DynUNet, exactly.

Two differences are bridged. nnU-Net's convolutions have a bias before an instance norm, which
takes every constant away again: it is dropped. And on the way up nnU-Net takes the kernels of the
stage it comes to, MONAI those of the stage it comes from: a smaller kernel is padded with zeros.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bonekit.errors import InputError
from bonekit.segmentation.networks import build, inference_state
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

if TYPE_CHECKING:
    from bonekit.segmentation.models.nnunet_plans import Axes

# All that nnU-Net's checkpoints hold beside tensors: scalars of numpy, in the names of versions 1
# and 2. None of these can do more than make a number.
SAFE: list[Any] = [
    (np._core.multiarray.scalar, name)  # type: ignore[attr-defined]
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]
SAFE += [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "bool"))]
COPIES = (".all_modules.", "decoder.encoder.")  # the same tensors under other names


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint of nnU-Net says.

    Parameters
    ----------
    path : Path
    weights : mapping of str to Tensor
    configuration, trainer : str
    mirror : tuple of int
        Axes of the network that may be mirrored in prediction.
    """

    path: Path
    weights: Mapping[str, Tensor]
    configuration: str
    trainer: str
    mirror: tuple[int, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code in it.

    Raises
    ------
    InputError
        If it holds objects other than tensors, numbers and text, or is not nnU-Net's.
    """
    try:
        with torch.serialization.safe_globals(SAFE):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} can't be read as tensors, numbers and text ({str(error)[:300]}). Other "
            "content of a pickle can run code and is refused: is it nnU-Net's own checkpoint, and "
            "whole?"
        ) from error
    try:
        return Checkpoint(
            path,
            {_plain(name): value for name, value in found["network_weights"].items()},
            str(found["init_args"]["configuration"]),
            str(found.get("trainer_name", "nnUNetTrainer")),
            tuple(found.get("inference_allowed_mirroring_axes") or ()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no checkpoint of nnU-Net v2: {error!r} is missing") from error


def _plain(name: str) -> str:
    """Name without what compiled and distributed networks put before it."""
    return name.removeprefix("module.").removeprefix("_orig_mod.")


def state_of(checkpoint: Checkpoint, task: Task, plan: Plan, axes: Axes) -> dict[str, Tensor]:
    """Weights of the network that task and plan describe.

    Raises
    ------
    InputError
        If weights are missing, left over, or of other shapes.
    """
    network = build(task, plan)
    theirs = {
        name: value
        for name, value in checkpoint.weights.items()
        if not any(copy in name for copy in COPIES)
    }
    for ours, other, normed in _pairs(len(plan.strides)):
        module = network.get_submodule(f"core.{ours}")
        for kind, target in module.named_parameters(recurse=False):
            value = theirs.pop(f"{other}.{kind}", None)
            if value is None and kind == "bias" and "transp" in ours:
                value = torch.zeros_like(target)  # conv_bias is off
            if value is None:
                raise InputError(f"{checkpoint.path} lacks {other}.{kind}: another network?")
            _fill(target, value, axes, f"{checkpoint.path}: {other}.{kind}")
        if normed:
            theirs.pop(f"{other}.bias", None)
    for kind in ("weight", "bias"):  # the lowest supervision head, of weight zero in training
        theirs.pop(f"decoder.seg_layers.0.{kind}", None)
    if left := sorted(theirs):
        raise InputError(
            f"{checkpoint.path} holds {len(left)} tensors that PlainConvUNet has not, first "
            f"{left[0]}: it is another network than plans.json says"
        )
    return inference_state(network.state_dict())


def _pairs(stages: int) -> Iterator[tuple[str, str, bool]]:
    """Our name of each layer, nnU-Net's, and whether it is a convolution before a norm."""
    ways = ["input_block", *(f"downsamples.{n}" for n in range(stages - 2)), "bottleneck"]
    blocks = {way: f"encoder.stages.{n}.0" for n, way in enumerate(ways)}
    blocks |= {f"upsamples.{n}.conv_block": f"decoder.stages.{n}" for n in range(stages - 1)}
    for ours, theirs in blocks.items():
        for n in (0, 1):
            yield f"{ours}.conv{n + 1}.conv", f"{theirs}.convs.{n}.conv", True
            yield f"{ours}.norm{n + 1}", f"{theirs}.convs.{n}.norm", False
    for n in range(stages - 1):
        yield f"upsamples.{n}.transp_conv.conv", f"decoder.transpconvs.{n}", False
    yield "output_block.conv.conv", f"decoder.seg_layers.{stages - 2}", False
    for n in range(stages - 3):
        yield (
            f"deep_supervision_heads.{n}.conv.conv",
            f"decoder.seg_layers.{stages - 3 - n}",
            False,
        )


@torch.no_grad()
def _fill(target: Tensor, value: Tensor, axes: Axes, name: str) -> None:
    """Copy a tensor: its last three axes turned, a smaller kernel padded with zeros."""
    if value.ndim == 5:
        value = value.permute(0, 1, *(2 + n for n in axes.canonical(range(3))))
        room = [t - v for t, v in zip(target.shape[2:], value.shape[2:], strict=True)]
        if any(r < 0 or r % 2 for r in room):
            raise InputError(f"{name} has kernels {tuple(value.shape[2:])}: larger than MONAI's")
        value = functional.pad(value, [r // 2 for r in room[::-1] for _ in (0, 1)])
    if value.shape != target.shape:
        raise InputError(
            f"{name} has the shape {tuple(value.shape)}, plans.json asks for {tuple(target.shape)}"
        )
    target.copy_(value)

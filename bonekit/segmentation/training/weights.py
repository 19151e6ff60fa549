"""Weights of a network: copied, averaged, taken from another model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bonekit.errors import InputError
from bonekit.segmentation.networks import inference_state

Weights = dict[str, Tensor]


def copy_weights(network: nn.Module) -> Weights:
    """Copy all weights and buffers that prediction needs."""
    state = inference_state(network.state_dict())
    return {name: value.detach().clone() for name, value in state.items()}


@torch.no_grad()
def update_mean(mean: Weights, network: nn.Module, decay: float, step: int) -> None:
    """Let the running mean follow the weights, faster in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    state = inference_state(network.state_dict())
    for name, value in mean.items():
        if value.is_floating_point() and decay > 0:
            value.lerp_(state[name], 1 - decay)
        else:
            value.copy_(state[name])


def take_weights(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Start a network from the weights of another model.

    Raises
    ------
    InputError
        If names or shapes differ.
    """
    own = inference_state(network.state_dict())
    found = [
        f"{name}: {tuple(weights[name].shape)} there, {tuple(value.shape)} here"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if not found:
        missing, strange = network.load_state_dict(dict(weights), strict=False)
        found = [f"{name}: only here" for name in missing if name in own]
        found += [f"{name}: only there" for name in strange]
    if found:
        raise InputError(
            f"the weights of {origin} don't fit this network, {len(found)} tensors differ "
            f"({'; '.join(found[:3])}). Start from a model of the same channels, outputs, network "
            "and plan: pass its plan on"
        )

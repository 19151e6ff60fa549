"""One choice of normalisation for all networks, whatever they come with."""

from __future__ import annotations

from math import gcd

from torch import nn

from bonekit.segmentation.task import Norm

GROUPS = 8  # of channels, or fewer where their number asks for it
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)


def norm_layer(norm: Norm, dims: int, channels: int) -> nn.Module:
    """Return a layer with learned scale and shift.

    Parameters
    ----------
    norm : {'instance', 'batch', 'group'}
    dims : int
        2 or 3.
    channels : int
    """
    if norm == "group":
        return nn.GroupNorm(gcd(GROUPS, channels), channels)
    if norm == "batch":
        return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)
    return (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(channels, affine=True)


def set_norm(module: nn.Module, norm: Norm, dims: int) -> None:
    """Put layers of one kind in the place of all batch, instance and group norms of a module."""
    for name, child in module.named_children():
        if isinstance(child, _NORMS):
            channels = child.num_channels if isinstance(child, nn.GroupNorm) else child.num_features
            setattr(module, name, norm_layer(norm, dims, channels))
        else:
            set_norm(child, norm, dims)

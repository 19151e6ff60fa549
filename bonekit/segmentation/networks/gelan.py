"""GELAN for segmentation, with an auxiliary reversible branch that exists in training only.

Written from Wang, Yeh & Liao, YOLOv9: Learning what you want to learn using programmable gradient
information, 2024 (arXiv 2402.13616), sections 4.1 (PGI: an auxiliary reversible branch that gives
the main branch gradients free of its information bottleneck, and is dropped at inference) and 4.2
(GELAN: aggregation as in ELAN around any computational block, here cross-stage partial ones).
Widths and depths are the plan's and not the paper's; details unverified: quoted from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from bonekit.segmentation.networks.norms import norm_layer
from bonekit.segmentation.task import Norm

Steps = Sequence[int]


def unit(dims: int, a: int, b: int, norm: Norm, kernel: int = 1, stride: Steps = (1,)) -> nn.Module:
    """Convolution, normalisation, SiLU."""
    conv = Conv[Conv.CONV, dims]
    stride = tuple(stride) * (dims // len(stride))
    layers = conv(a, b, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(layers, norm_layer(norm, dims, b), nn.SiLU())


class CrossStage(nn.Module):
    """Half of the channels go through a residual pair of convolutions, half pass by."""

    def __init__(self, dims: int, channels: int, norm: Norm) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.through = unit(dims, channels, half, norm)
        self.by = unit(dims, channels, half, norm)
        self.inner = nn.Sequential(unit(dims, half, half, norm, 3), unit(dims, half, half, norm, 3))
        self.join = unit(dims, 2 * half, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, channels, *spatial)."""
        through = self.through(x)
        out: Tensor = self.join(torch.cat([through + self.inner(through), self.by(x)], dim=1))
        return out


class Aggregation(nn.Module):
    """GELAN's block: split, two blocks in a chain, and every state between goes to the end."""

    def __init__(self, dims: int, a: int, b: int, norm: Norm) -> None:
        super().__init__()
        half = max(1, b // 2)
        self.split = unit(dims, a, 2 * half, norm)
        self.chain = nn.ModuleList(
            nn.Sequential(CrossStage(dims, half, norm), unit(dims, half, half, norm, 3))
            for _ in range(2)
        )
        self.join = unit(dims, 4 * half, b, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, a, *spatial) to (B, b, *spatial)."""
        parts = list(self.split(x).chunk(2, dim=1))
        for block in self.chain:
            parts.append(block(parts[-1]))
        out: Tensor = self.join(torch.cat(parts, dim=1))
        return out


class Coupling(nn.Module):
    """Additive coupling, the reversible unit (Dinh et al. 2014, arXiv 1410.8516; RevNet 2017)."""

    def __init__(self, dims: int, channels: int, norm: Norm) -> None:
        super().__init__()
        half = channels // 2
        self.f = unit(dims, half, half, norm, 3)
        self.g = unit(dims, half, half, norm, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, channels, *spatial); `inverse` takes it back."""
        a, b = x.chunk(2, dim=1)
        a = a + self.f(b)
        return torch.cat([a, b + self.g(a)], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """Recover the input."""
        a, b = y.chunk(2, dim=1)
        b = b - self.g(a)
        return torch.cat([a - self.f(b), b], dim=1)


def fold(x: Tensor, stride: Steps) -> Tensor:
    """Move blocks of voxels into channels: a smaller picture, nothing lost.

    Parameters
    ----------
    x : Tensor, (B, C, *spatial)
    stride : sequence of int
        Size of a block along each axis.

    Returns
    -------
    Tensor, (B, C * prod(stride), *spatial / stride)
    """
    batch, channels, *size = x.shape
    parts = [n for whole, s in zip(size, stride, strict=True) for n in (whole // s, s)]
    dims = len(size)
    order = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    small = [whole // s for whole, s in zip(size, stride, strict=True)]
    return x.reshape(batch, channels, *parts).permute(order).reshape(batch, -1, *small)


class Auxiliary(nn.Module):
    """PGI: keeps the image by folding and coupling, takes in the main branch, gives logits.

    Between levels a 1 x 1 convolution sets the width, so that the branch is reversible unit by
    unit and not as a whole.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        outputs: int,
        features: Steps,
        strides: Sequence[Steps],
        norm: Norm,
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, dims]
        self.strides = [tuple(s) for s in strides]
        widths = [f + f % 2 for f in features]
        above = [inputs, *widths[:-1]]
        self.width = nn.ModuleList(
            conv(a * prod(s), w, 1) for a, s, w in zip(above, self.strides, widths, strict=True)
        )
        self.coupling = nn.ModuleList(Coupling(dims, w, norm) for w in widths)
        self.main = nn.ModuleList(conv(f, w, 1) for f, w in zip(features, widths, strict=True))
        # the level above adds what all levels below know: multi-level auxiliary information
        self.below = nn.ModuleList(conv(b, w, 1) for w, b in pairwise(widths))
        self.heads = nn.ModuleList(conv(w, outputs, 1) for w in widths[:-1])

    def forward(self, x: Tensor, main: Sequence[Tensor]) -> list[Tensor]:
        """Return logits of all levels but the lowest, full size first."""
        levels = []
        for i, stride in enumerate(self.strides):
            x = self.coupling[i](self.width[i](fold(x, stride))) + self.main[i](main[i])
            levels.append(x)
        for i in reversed(range(len(levels) - 1)):
            up = functional.interpolate(self.below[i](levels[i + 1]), levels[i].shape[2:])
            levels[i] = levels[i] + up
        return [head(level) for head, level in zip(self.heads, levels[:-1], strict=True)]


class Gelan(nn.Module):
    """Encoder and decoder of GELAN blocks.

    Parameters
    ----------
    dims, inputs, outputs : int
        Dimensions; channels.
    features : sequence of int
        Channels of each stage.
    strides : sequence of sequences of int
        Of each stage; the first is 1.
    norm : {'instance', 'batch', 'group'}
    auxiliary : bool
        With the branch of training. Its parameters are all under ``auxiliary.``.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        outputs: int,
        features: Steps,
        strides: Sequence[Steps],
        norm: Norm = "batch",
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        for a, b, stride in zip([inputs, *features[:-1]], features, strides, strict=True):
            first = unit(dims, a, b, norm, 3, stride)
            self.down.append(nn.Sequential(first, Aggregation(dims, b, b, norm)))
        pairs = list(pairwise(features))[::-1]
        self.up = nn.ModuleList(Aggregation(dims, a + b, a, norm) for a, b in pairs)
        self.head = Conv[Conv.CONV, dims](features[0], outputs, 1)
        self.auxiliary = (
            Auxiliary(dims, inputs, outputs, features, strides, norm) if auxiliary else None
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, outputs, *spatial); in training the auxiliary branch's after them."""
        image, levels = x, []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        for i, block in enumerate(self.up, start=2):
            x = functional.interpolate(x, levels[-i].shape[2:])
            x = block(torch.cat([x, levels[-i]], dim=1))
        out: Tensor = self.head(x)
        if self.training and self.auxiliary is not None:
            return [out, *self.auxiliary(image, levels)]
        return out

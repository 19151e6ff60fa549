"""UNeXt in two and three dimensions: convolutions above, shifted tokens in the two lowest stages.

Valanarasu & Patel, UNeXt: MLP-based rapid medical image segmentation network, MICCAI 2022
(arXiv 2203.04967). In three dimensions channels are shifted along three axes in turn, as in
Shen et al., 3D UNeXt, Application Research of Computers 41(6):1876, 2024.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from bonekit.segmentation.networks.norms import norm_layer
from bonekit.segmentation.task import Norm

WIDTHS = (16, 32, 128, 160, 256)  # of the published network with 1.47 million parameters
SHIFTS = (-2, -1, 0, 1, 2)  # voxels, one for each fifth of the channels
FACTOR = 32  # sizes are halved five times


def shift(x: Tensor, axis: int) -> Tensor:
    """Move each fifth of the channels along an axis by -2 to 2 voxels; zeros come in.

    Parameters
    ----------
    x : Tensor, (B, C, *spatial)
    axis : int
        Of the spatial ones.
    """
    reach, axis = max(SHIFTS), axis + 2
    room = [0, 0] * (x.ndim - 1 - axis) + [reach, reach]
    padded = functional.pad(x, room)
    parts = padded.chunk(len(SHIFTS), dim=1)
    moved = [part.roll(by, axis) for part, by in zip(parts, SHIFTS, strict=False)]
    return torch.cat(moved, dim=1).narrow(axis, reach, x.shape[axis])


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each token."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, *spatial)."""
        normed: Tensor = functional.layer_norm(
            x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.movedim(-1, 1)


class TokenMLP(nn.Module):
    """Linear layers over shifted channels, one for each axis, with a residual around them."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, dims]
        self.norm = ChannelNorm(channels)
        self.linear = nn.ModuleList(conv(channels, channels, 1) for _ in range(dims))
        self.depthwise = nn.ModuleList(
            conv(channels, channels, 3, padding=1, groups=channels) for _ in range(dims - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix (B, C, *spatial) along all axes."""
        y: Tensor = self.linear[0](shift(self.norm(x), 0))
        for axis, (depthwise, linear) in enumerate(
            zip(self.depthwise, self.linear[1:], strict=True), start=1
        ):
            y = linear(shift(functional.gelu(depthwise(y)), axis))
        return x + y


class UNeXt(nn.Module):
    """Encoder of three convolutional and two tokenised stages, decoder with added skips.

    Parameters
    ----------
    dims : int
        2 or 3.
    inputs, outputs : int
        Channels.
    norm : {'instance', 'batch', 'group'}
        After convolutions; the paper takes batch norm.
    widths : sequence of 5 int
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        outputs: int,
        norm: Norm = "batch",
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, dims]
        self.mode = "bilinear" if dims == 2 else "trilinear"

        def stage(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(conv(a, b, 3, padding=1), norm_layer(norm, dims, b))

        def embed(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(conv(a, b, 3, stride=2, padding=1), ChannelNorm(b))

        def tokens(channels: int) -> nn.Sequential:
            return nn.Sequential(TokenMLP(dims, channels), ChannelNorm(channels))

        a, b, c, d, e = widths
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        self.down = nn.ModuleList([stage(inputs, a), stage(a, b), stage(b, c)])
        self.embed = nn.ModuleList([embed(c, d), embed(d, e)])
        self.tokens = nn.ModuleList([tokens(d), tokens(e)])
        self.up = nn.ModuleList([stage(e, d), stage(d, c), stage(c, b), stage(b, a), stage(a, a)])
        self.up_tokens = nn.ModuleList([tokens(d), tokens(c)])
        self.head = conv(a, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, *spatial); sizes must be multiples of 32."""
        skips = []
        for stage in self.down:
            x = functional.relu(self.pool(stage(x)))
            skips.append(x)
        for embed, tokens in zip(self.embed, self.tokens, strict=True):
            x = tokens(embed(x))
            skips.append(x)
        skips.pop()
        for i, stage in enumerate(self.up):
            x = functional.interpolate(stage(x), scale_factor=2, mode=self.mode)
            x = functional.relu(x)
            x = x + skips.pop() if skips else x
            x = self.up_tokens[i](x) if i < len(self.up_tokens) else x
        out: Tensor = self.head(x)
        return out

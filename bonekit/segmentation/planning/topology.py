"""Stages of a U-Net for one patch and spacing, and what they cost.

The rules are nnU-Net's (Isensee et al., Nature Methods 18:203, 2021; nnU-Net 2.8.1): an axis is
halved while eight voxels of it are left and its spacing is near the finest one, so that receptive
fields grow to cubes in millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

Steps = tuple[int, ...]
LEAST_EDGE = 4  # voxels of the lowest stage along any halved axis
NEAR = 2.0  # spacings less than this factor apart are treated alike
CONVOLUTIONS = 2  # of each stage, on the way down and up


@dataclass(frozen=True)
class Topology:
    """A patch and the stages of its network.

    Parameters
    ----------
    patch : tuple of int, (dims,)
        Divisible by `divisor`.
    kernels, strides : tuple of tuple of int, (stages, dims)
    """

    patch: Steps
    kernels: tuple[Steps, ...]
    strides: tuple[Steps, ...]

    @property
    def divisor(self) -> Steps:
        """Product of the strides along each axis, (dims,)."""
        return tuple(prod(steps) for steps in zip(*self.strides, strict=True))


def topology(spacing_mm: Sequence[float], patch: Sequence[int]) -> Topology:
    """Find the stages for a patch, and pad the patch to a multiple of their strides.

    Parameters
    ----------
    spacing_mm : sequence of float, (dims,)
    patch : sequence of int, (dims,)
    """
    dims = len(patch)
    spacing, size = [float(s) for s in spacing_mm], [int(n) for n in patch]
    kernel, strides, kernels = [1] * dims, [(1,) * dims], []
    while axes := _halved(spacing, size):
        near = [s / min(spacing) < NEAR for s in spacing]
        kernel = [3 if k == 3 or close else 1 for k, close in zip(kernel, near, strict=True)]
        strides.append(tuple(2 if axis in axes else 1 for axis in range(dims)))
        kernels.append(tuple(kernel))
        for axis in axes:
            spacing[axis] *= 2
            size[axis] = ceil(size[axis] / 2)
    kernels.append((3,) * dims)
    divisor = [prod(steps) for steps in zip(*strides, strict=True)]
    padded = tuple(ceil(n / d) * d for n, d in zip(patch, divisor, strict=True))
    return Topology(padded, tuple(kernels), tuple(strides))


def _halved(spacing_mm: Sequence[float], size: Sequence[int]) -> list[int]:
    """Axes that the next stage halves; none where the network ends."""
    large = [axis for axis, n in enumerate(size) if n >= 2 * LEAST_EDGE]
    finest = min((spacing_mm[axis] for axis in large), default=0.0)
    axes = [axis for axis in large if spacing_mm[axis] / finest < NEAR]
    if len(axes) == 1 and size[axes[0]] < 3 * LEAST_EDGE:
        return []
    return axes


def feature_elements(shape: Topology, features: Sequence[int], outputs: int) -> int:
    """Numbers in all feature maps of one patch: nnU-Net's measure of memory.

    Two convolutions on the way down and two and a transposed one on the way up for each stage, the
    lowest one without the way up, and the output.
    """
    size, total = list(shape.patch), outputs * prod(shape.patch)
    for stage, (steps, channels) in enumerate(zip(shape.strides, features, strict=True)):
        size = [n // s for n, s in zip(size, steps, strict=True)]
        lowest = stage == len(shape.strides) - 1
        total += (CONVOLUTIONS if lowest else 2 * CONVOLUTIONS + 1) * channels * prod(size)
    return total

"""Overlapping tiles over a grid and the weight of each voxel in them.

Starts are every combination of starts along the three axes and weights are products of one
factor for each axis. The sum of all weights in a voxel is then such a product too, so no volume of
weights is ever stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from bonekit.errors import InputError

Triple = tuple[int, int, int]
SIGMA = 0.125  # of the tile: nnU-Net (Isensee et al., Nature Methods 18:203, 2021)
THINNEST = 4  # a tile that is more padding than this many times the image is not an image


@dataclass(frozen=True, eq=False)
class Tiling:
    """Tiles of one size over a grid.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the grid.
    tile : tuple of int
        Voxels of a tile; it may reach out of the grid.
    starts : three tuples of int
        First index of the tiles along each axis.
    """

    shape: Triple
    tile: Triple
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @cached_property
    def corners(self) -> list[Triple]:
        """First voxel of every tile, the third axis slowest."""
        first, second, third = self.starts
        return [(i, j, k) for k in third for i in first for j in second]

    @cached_property
    def window(self) -> torch.Tensor:
        """Weights within a tile, (ti, tj, tk)."""
        a, b, c = (_window(n) for n in self.tile)
        return a[:, None, None] * b[None, :, None] * c[None, None, :]

    @cached_property
    def totals(self) -> tuple[torch.Tensor, ...]:
        """Sum of the weights of all tiles along each axis, one factor each."""
        return tuple(map(_total, self.shape, self.tile, self.starts))

    def weight(self, low: int, high: int) -> torch.Tensor:
        """Sum of the weights in slices of the third axis, (slices, ni, nj)."""
        i, j, k = self.totals
        return k[low:high, None, None] * i[None, :, None] * j[None, None, :]


def tiling(shape: Triple, tile: Triple, overlap: float) -> Tiling:
    """Cover a grid with tiles.

    Raises
    ------
    InputError
        If the grid is so thin that tiles would hold mostly padding.
    """
    for axis, (n, t) in enumerate(zip(shape, tile, strict=True)):
        if n * THINNEST < t:
            raise InputError(
                f"the image has {n} voxels along {'xyz'[axis]} at the spacing of the plan, the "
                f"network's patch has {t}; at least {math.ceil(t / THINNEST)} are allowed. Use an "
                "image with a larger field of view, or a model with a smaller patch"
            )
    a, b, c = (_starts(n, t, overlap) for n, t in zip(shape, tile, strict=True))
    return Tiling(shape, tile, (a, b, c))


def _starts(n: int, tile: int, overlap: float) -> tuple[int, ...]:
    """Evenly spread starts; a grid thinner than the tile lies in its middle."""
    if n <= tile:
        return (-((tile - n) // 2),)
    count = math.ceil((n - tile) / max(tile * (1 - overlap), 1.0)) + 1
    return tuple(int(s) for s in np.linspace(0, n - tile, count).round())


def _window(n: int) -> torch.Tensor:
    """Gaussian round the middle; MONAI's is cut off below 1e-3, so that its product is none."""
    offset = torch.arange(n) - (n - 1) / 2
    return torch.exp(-0.5 * (offset / (SIGMA * n)) ** 2)


def _total(n: int, tile: int, starts: tuple[int, ...]) -> torch.Tensor:
    total, window = torch.zeros(n), _window(tile)
    for start in starts:
        low, high = max(start, 0), min(start + tile, n)
        total[low:high] += window[low - start : high - start]
    return total

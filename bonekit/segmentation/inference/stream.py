"""Probabilities of a whole image, a few slices at a time.

Tiles are taken along the third axis. A ring of slices holds what tiles have added up so far; as
soon as no later tile reaches a slice, it is divided by the weights and handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from bonekit.segmentation.inference.tiles import Tiling, Triple

Reader = Callable[[Triple, Triple], torch.Tensor]  # first voxel, tile -> (channels, ti, tj, tk)
Network = Callable[[torch.Tensor, int], torch.Tensor]  # (batch, channels, ...), its number
REACH = 16  # slices that tiles of a batch may lie apart: the ring holds them all


def slab_count(slices: int, thickness: int) -> int:
    """Return into how many slabs slices fall."""
    return -(-slices // thickness)


def slabs(
    read: Reader,
    tiles: Tiling,
    network: Network,
    outputs: int,
    *,
    thickness: int,
    batch: int,
    first: int = 0,
) -> Iterator[torch.Tensor]:
    """Predict slab by slab.

    Parameters
    ----------
    read : callable
        Gives the image of a tile, zeros where it reaches out.
    tiles : Tiling
    network : callable
        Gives probabilities (batch, outputs, ti, tj, tk) of a batch of tiles.
    outputs : int
    thickness, batch : int
        Slices of a slab, tiles of a batch.
    first : int
        Slab to begin with: from there on, the result is the same to the last bit.

    Yields
    ------
    Tensor of float32, (slices, outputs, ni, nj)
    """
    last, base = tiles.shape[2], first * thickness
    groups = batches(tiles.corners, batch)
    depth = tiles.tile[2] + thickness + max(g[-1][2] - g[0][2] for g in groups)
    ring = torch.zeros((min(depth, last), outputs, *tiles.shape[:2]))
    for number, group in enumerate(groups):
        if group[-1][2] + tiles.tile[2] <= base:
            continue
        found = network(torch.stack([read(corner, tiles.tile) for corner in group]), number)
        for one, corner in zip(found, group, strict=True):
            _add(ring, one * tiles.window, corner, tiles, base)
        done = groups[number + 1][0][2] if number + 1 < len(groups) else last
        while base < last and min(base + thickness, last) <= done:
            stop = min(base + thickness, last)
            yield _take(ring, base, stop) / tiles.weight(base, stop)[:, None]
            base = stop


def batches(corners: Sequence[Triple], size: int, reach: int = REACH) -> list[list[Triple]]:
    """Put tiles together that begin less than `reach` slices apart."""
    found: list[list[Triple]] = []
    for corner in corners:
        if found and len(found[-1]) < size and corner[2] - found[-1][0][2] < reach:
            found[-1].append(corner)
        else:
            found.append([corner])
    return found


def _add(
    ring: torch.Tensor, weighted: torch.Tensor, corner: Triple, tiles: Tiling, base: int
) -> None:
    """Add a tile to the ring; slices before `base` are gone."""
    low = [max(c, 0) for c in corner[:2]] + [max(corner[2], base)]
    high = [min(c + t, n) for c, t, n in zip(corner, tiles.tile, tiles.shape, strict=True)]
    if low[2] >= high[2]:
        return
    (a, b, c), (d, e, f) = (
        [v - o for v, o in zip(end, corner, strict=True)] for end in (low, high)
    )
    piece = weighted[:, a:d, b:e, c:f].permute(3, 0, 1, 2)
    for start, stop, at in _laps(low[2], high[2], len(ring)):
        place = ring[at : at + stop - start, :, low[0] : high[0], low[1] : high[1]]
        place += piece[start - low[2] : stop - low[2]]


def _take(ring: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Copy slices out of the ring and clear their places."""
    taken = []
    for start, stop, at in _laps(low, high, len(ring)):
        taken.append(ring[at : at + stop - start].clone())
        ring[at : at + stop - start] = 0.0
    return taken[0] if len(taken) == 1 else torch.cat(taken)


def _laps(low: int, high: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Cut a range of slices where the ring begins again: start, stop, place."""
    while low < high:
        at = low % size
        stop = min(high, low + size - at)
        yield low, stop, at
        low = stop

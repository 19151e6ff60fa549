from itertools import pairwise

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.segmentation.inference.stream import batches, slabs
from bonekit.segmentation.inference.tiles import Tiling, Triple, tiling

IMAGE = torch.rand((2, 13, 9, 17), generator=torch.Generator().manual_seed(0))


def read(corner: Triple, tile: Triple) -> torch.Tensor:
    made = torch.zeros((2, *tile))
    low = [max(c, 0) for c in corner]
    high = [min(c + t, n) for c, t, n in zip(corner, tile, IMAGE.shape[1:], strict=True)]
    at = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    made[(slice(None), *at)] = IMAGE[(slice(None), *box)]
    return made


def network(tiles: torch.Tensor, number: int) -> torch.Tensor:
    """Something that depends on the place in the tile and on the batch."""
    ramp = torch.linspace(0, 1, tiles.shape[-1])
    return torch.cat([tiles * ramp, tiles.flip(2) + number], dim=1)[:, :3]


def reference(tiles: Tiling, batch: int) -> np.ndarray:
    total, weight = np.zeros((3, *tiles.shape)), np.zeros(tiles.shape)
    groups = batches(tiles.corners, batch)
    for n, corner in ((n, corner) for n, group in enumerate(groups) for corner in group):
        found = network(read(corner, tiles.tile)[None], n)[0].numpy()
        for index in np.ndindex(*tiles.tile):
            place = tuple(c + i for c, i in zip(corner, index, strict=True))
            if all(0 <= p < s for p, s in zip(place, tiles.shape, strict=True)):
                w = float(tiles.window[index])
                total[(slice(None), *place)] += w * found[(slice(None), *index)]
                weight[place] += w
    return total / weight


@pytest.mark.parametrize("tile", [(8, 4, 6), (1, 6, 8), (8, 6, 1), (16, 12, 8), (13, 9, 17)])
@pytest.mark.parametrize(("thickness", "batch"), [(1, 1), (3, 2), (40, 5)])
def test_slabs_hold_the_weighted_mean_of_all_tiles(
    tile: Triple, thickness: int, batch: int
) -> None:
    tiles = tiling((13, 9, 17), tile, 0.5)
    found = list(slabs(read, tiles, network, 3, thickness=thickness, batch=batch))
    assert [len(one) for one in found[:-1]] == [thickness] * (len(found) - 1)
    whole = torch.cat(found).permute(1, 2, 3, 0).numpy()
    np.testing.assert_allclose(whole, reference(tiles, batch), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("tile", [(8, 4, 6), (1, 6, 8), (8, 6, 1)])
@pytest.mark.parametrize("first", [1, 2, 5])
def test_a_later_start_gives_the_same_bits(tile: Triple, first: int) -> None:
    tiles = tiling((13, 9, 17), tile, 0.5)
    whole = list(slabs(read, tiles, network, 3, thickness=3, batch=2))
    rest = list(slabs(read, tiles, network, 3, thickness=3, batch=2, first=first))
    assert len(rest) == len(whole) - first
    for one, other in zip(rest, whole[first:], strict=True):
        assert torch.equal(one, other)


def test_a_later_start_leaves_tiles_out() -> None:
    tiles, numbers = tiling((13, 9, 17), (8, 4, 6), 0.5), []

    def counted(batch: torch.Tensor, number: int) -> torch.Tensor:
        numbers.append(number)
        return network(batch, number)

    list(slabs(read, tiles, counted, 3, thickness=3, batch=2, first=4))
    assert 0 < len(numbers) < len(tiles.corners) / 2 / 2


@pytest.mark.parametrize(("size", "reach"), [(1, 1), (4, 1), (4, 5), (100, 7)])
def test_batches_are_full_and_reach_no_further_than_asked(size: int, reach: int) -> None:
    corners = tiling((13, 9, 17), (8, 4, 6), 0.5).corners
    groups = batches(corners, size, reach)
    assert [corner for group in groups for corner in group] == list(corners)
    for group, after in pairwise(groups):
        assert len(group) <= size
        assert group[-1][2] - group[0][2] < reach
        assert len(group) == size or after[0][2] - group[0][2] >= reach


def test_starts_are_spread_evenly_as_in_nnunet() -> None:
    assert tiling((100, 64, 40), (64, 64, 64), 0.5).starts == ((0, 18, 36), (0,), (-12,))
    assert tiling((128, 70, 3), (64, 64, 1), 0.0).starts == ((0, 64), (0, 6), (0, 1, 2))


def test_the_window_is_a_gaussian_of_an_eighth() -> None:
    window = tiling((20, 20, 20), (16, 8, 1), 0.5).window
    assert float(window[11, 3, 0] / window[8, 3, 0]) == pytest.approx(
        np.exp(-(3.5**2 - 0.5**2) / (2 * 2.0**2)), rel=1e-5
    )


def test_a_volume_much_thinner_than_the_patch_is_refused() -> None:
    assert tiling((16, 64, 64), (64, 64, 64), 0.5).starts[0] == (-24,)
    with pytest.raises(InputError, match=r"15 voxels along x .* patch has 64; at least 16"):
        tiling((15, 64, 64), (64, 64, 64), 0.5)

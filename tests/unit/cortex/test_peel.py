"""Peel and dilate on a box of bone whose surface voxels are thinned."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from bonekit.cortex import peel_and_dilate
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

GRID = Grid.of((24, 24, 24), 1.0)


def cube(low: int, high: int) -> NDArray[np.bool_]:
    mask = np.zeros(GRID.shape, bool)
    mask[low:high, low:high, low:high] = True
    return mask


def made(cortex: float, layers: int) -> tuple[DensityImage, LabelMap]:
    """Box of 16 voxels: the outermost layer half as dense as the cortex of `layers` beneath."""
    array = np.where(cube(4, 20), 0.5 * cortex, 0.02).astype(np.float32)
    array[cube(5, 19)] = cortex
    array[cube(4 + layers, 20 - layers)] = 0.2
    labels = np.where(cube(4, 20), 1, 0).astype(np.uint8)
    labels[cube(7, 17)] = 2
    return (
        DensityImage(array, GRID, DensityKind.ASH),
        LabelMap(labels, GRID, dict(REGIONS)),
    )


def test_the_outer_layer_takes_the_density_beneath() -> None:
    density, labels = made(1.0, 4)
    got = peel_and_dilate(density, labels).array
    assert_array_equal(got[cube(4, 20) & ~cube(5, 19)], np.float32(1.0))
    same = ~cube(4, 20) | cube(5, 19)
    assert_array_equal(got[same], density.array[same])


def test_a_cortex_peeled_away_whole_keeps_its_density() -> None:
    # one layer of 0.5 over 0.2: nothing denser lies beneath
    density, labels = made(1.0, 1)
    got = peel_and_dilate(density, labels, depth_mm=1.0).array
    assert_array_equal(got[cube(4, 20) & ~cube(5, 19)], np.float32(0.5))


def test_a_thin_cortex_spreads_over_all_that_was_peeled() -> None:
    # layers 0.5 and 1.0 over 0.2, both peeled: the peak along the normal fills them
    density, labels = made(1.0, 2)
    got = peel_and_dilate(density, labels, depth_mm=1.9).array
    assert got[4, 12, 12] == got[5, 12, 12] == np.float32(1.0)
    assert got[6, 12, 12] == np.float32(0.2)


def test_no_voxel_loses_density() -> None:
    density, labels = made(1.0, 2)
    noisy = density.with_array(
        density.array + np.random.default_rng(0).normal(0, 0.1, GRID.shape).astype(np.float32)
    )
    assert (peel_and_dilate(noisy, labels, depth_mm=2.0).array >= noisy.array).all()


def test_a_lesion_in_the_cortex_is_not_filled() -> None:
    density, labels = made(1.0, 4)
    hole = np.zeros(GRID.shape, bool)
    hole[4:9, 10:14, 10:14] = True
    regions = np.where(hole, 3, labels.array).astype(np.uint8)
    thinned = density.with_array(np.where(hole, 0.05, density.array).astype(np.float32))
    got = peel_and_dilate(thinned, labels.with_array(regions)).array
    assert_array_equal(got[hole], np.float32(0.05))
    assert got[4, 6, 6] == np.float32(1.0)


def test_bad_input() -> None:
    density, labels = made(1.0, 4)
    with pytest.raises(InputError, match=r"depth_mm is 9.0; allowed: 0.2 to 3"):
        peel_and_dilate(density, labels, depth_mm=9.0)
    with pytest.raises(InputError, match="no bone"):
        peel_and_dilate(density, labels.with_array(np.zeros_like(labels.array)))
    with pytest.raises(InputError, match="different grids"):
        peel_and_dilate(density, labels.crop((0, 0, 0), (20, 20, 20)))
    thin = np.zeros(GRID.shape, np.uint8)
    thin[12] = 1
    with pytest.raises(InputError, match="leaves nothing"):
        peel_and_dilate(density, labels.with_array(thin), depth_mm=2.0)

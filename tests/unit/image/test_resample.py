import numpy as np
import pytest

from bonekit.image import Grid, Image, LabelMap


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_same_lattice_keeps_its_border(ct, axis):
    """No voxel of an identical or flipped grid may fall outside by rounding."""
    affine = ct.affine.copy()
    expected = ct.array
    if axis is not None:
        affine[:3, 3] += affine[:3, axis] * (ct.shape[axis] - 1)
        affine[:3, axis] *= -1
        expected = np.flip(expected, axis)
    grid = Grid(ct.shape, affine)
    np.testing.assert_array_equal(ct.resample(grid, outside=-9999).array, expected)
    marks = LabelMap((ct.array % 250 + 1).astype(np.uint8), ct.grid)
    np.testing.assert_array_equal(marks.resample(grid).array, expected % 250 + 1)


def test_the_type_decides():
    grid = Grid.of((2, 2, 2), 2.0)
    fine = Grid.of((3, 2, 2), (1.0, 2.0, 2.0))
    step = np.zeros((2, 2, 2), np.int16)
    step[1] = 10
    assert Image(step, grid).resample(fine).array[1, 0, 0] == 5
    labels = LabelMap(step, grid, {10: "cortex"}).resample(fine)
    assert set(np.unique(labels.array)) == {0, 10}
    assert labels.array.dtype == np.int16
    assert labels.names == {10: "cortex"}


def test_outside_value():
    grid = Grid.of((2, 2, 2), 1.0)
    image = Image(np.ones((2, 2, 2), np.float32), grid)
    moved = image.resample(Grid.of((4, 2, 2), 1.0, (-1, 0, 0)), outside=-1000)
    assert moved.array[:, 0, 0].tolist() == [-1000, 1, 1, -1000]

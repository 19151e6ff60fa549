import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap
from bonekit.image.volume import array_of


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


def test_whole_numbers_are_rounded():
    step = np.zeros((2, 1, 1), np.int16)
    step[1] = -11
    quarter = Image(step, Grid.of((2, 1, 1), 1.0)).resample(Grid.of((5, 1, 1), (0.25, 1, 1)))
    assert quarter.array.dtype == np.int16
    assert quarter.array.ravel().tolist() == [0, -3, -6, -8, -11]


def test_outside_must_fit():
    image = Image(np.ones((2, 2, 2), np.uint8), Grid.of((2, 2, 2), 1.0))
    with pytest.raises(InputError, match="outside=-1000 does not fit into uint8"):
        image.resample(image.grid, outside=-1000)


def test_outside_value():
    grid = Grid.of((2, 2, 2), 1.0)
    image = Image(np.ones((2, 2, 2), np.float32), grid)
    moved = image.resample(Grid.of((4, 2, 2), 1.0, (-1, 0, 0)), outside=-1000)
    assert moved.array[:, 0, 0].tolist() == [-1000, 1, 1, -1000]


def test_thin_images_own_their_voxels():
    """An image with axes of one voxel is contiguous either way round: it must be copied still."""
    image = sitk.GetImageFromArray(np.full((4000, 1, 1), 7.0, np.float32))
    array = array_of(image)
    image += 1.0
    assert array.base is None
    assert (array == 7.0).all()

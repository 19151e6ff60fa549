"""Resampling against nnU-Net itself, see benchmarks/nnunet_resampling.py."""

from pathlib import Path

import numpy as np
import pytest

from bonekit.image import Grid, Image, LabelMap
from bonekit.segmentation.data.resample import resample_image, resample_labels, target_grid

REFERENCE = np.load(Path(__file__).parent / "nnunet_resampled.npz")


@pytest.mark.parametrize("name", ["finer", "thick_slices", "to_thick_slices"])
def test_images_are_those_of_nnunet(name: str) -> None:
    theirs = REFERENCE[name]
    old, new = REFERENCE[f"{name}_mm"].astype(float).round(6)
    image = Image(REFERENCE["image"], Grid.of(REFERENCE["image"].shape, old))
    ours = resample_image(image, target_grid(image.grid, tuple(new))).array
    assert ours.shape == theirs.shape
    if name != "finer":  # nnU-Net clips each thick slice to its own range, we clip the whole image
        above = ((np.arange(theirs.shape[2]) + 0.5) * image.shape[2] / theirs.shape[2]).astype(int)
        slices = image.array[:, :, above]
        ours = np.clip(ours, slices.min(axis=(0, 1)), slices.max(axis=(0, 1)))
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * np.ptp(theirs))


def test_labels_go_by_majority_and_thick_slices_by_the_nearest() -> None:
    values = np.zeros((8, 8, 4), dtype=np.uint8)
    values[3:, :, :2], values[3:, :, 2:] = 2, 5
    labels = LabelMap(values, Grid.of(values.shape, (1.0, 1.0, 4.0)), {2: "a", 5: "b"})
    made = resample_labels(labels, target_grid(labels.grid, (0.6, 0.6, 2.0)))
    assert set(np.unique(made.array)) == {0, 2, 5}  # no 3 or 4 between them
    assert made.names == labels.names
    assert (made.array[:, :, :4] != 5).all()
    assert (made.array[:, :, 4:] != 2).all()
    x = made.grid.world(np.argwhere(made.array > 0))[:, 0]
    assert 2.5 <= x.min() < 2.5 + 0.6  # the border of the voxels 2 and 3


def test_clipping_keeps_the_range_of_the_image_or_the_one_given() -> None:
    step = np.where(np.arange(12) < 6, -1000, 1000).astype(np.int16)
    array = np.broadcast_to(step[:, None, None], (12, 12, 12))
    image = Image(array, Grid.of(array.shape, 1.0))
    grid = target_grid(image.grid, (0.7, 0.7, 0.7))
    assert np.abs(resample_image(image, grid).array).max() == 1000
    assert np.abs(resample_image(image, grid, limits=(-2000.0, 2000.0)).array).max() > 1050

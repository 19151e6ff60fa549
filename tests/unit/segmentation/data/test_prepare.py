from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap
from bonekit.segmentation.data.prepare import prepare
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task_files import load_task

BONE = load_task("bone_ct")
LEG = load_task("leg_muscle_dixon")


def plan(spacing: tuple[float, float, float], channels: int = 1, inside: bool = False) -> Plan:
    return Plan(
        spacing_mm=spacing,
        median_shape=(16, 16, 16),
        patch=(16, 16, 16),
        batch=2,
        features=(8, 16),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        statistics=(Statistics(mean=300.0, std=200.0, low=0.0, high=1000.0),) * channels,
        inside_nonzero=inside,
    )


def ball(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> LabelMap:
    grid = Grid.of(shape, spacing, (5.0, -3.0, 40.0))
    centre = grid.world((np.array(shape) - 1) / 2)
    return LabelMap(
        (np.linalg.norm(grid.points() - centre, axis=-1) < 9.0).astype(np.uint8), grid, {1: "bone"}
    )


def ct(labels: LabelMap) -> Image:
    return Image(np.where(labels.array > 0, 500, -1000).astype(np.int16), labels.grid)


def test_ct_is_clipped_and_scaled_by_the_data_set() -> None:
    labels = ball((24, 24, 24), (1.0, 1.0, 1.0))
    made = prepare([ct(labels)], BONE, plan((1.0, 1.0, 1.0)), labels)
    assert made.labels is not None
    np.testing.assert_array_equal(made.labels, labels.array)
    np.testing.assert_allclose(np.unique(made.image), [-1.5, 1.0])
    assert made.image.dtype == np.float32
    assert made.grid.same_as(labels.grid)


@pytest.mark.parametrize(
    ("spacing", "volume_error"),
    [((2.0, 2.0, 2.0), 0.05), ((0.7, 0.7, 0.7), 0.02), ((1.0, 1.0, 5.0), 0.1)],
)
def test_labels_and_image_stay_together_and_in_place(
    spacing: tuple[float, float, float], volume_error: float
) -> None:
    labels = ball((30, 28, 26), (1.0, 1.0, 1.2))
    made = prepare([ct(labels)], BONE, plan(spacing), labels)
    assert made.labels is not None
    assert made.grid.shape == made.image.shape[1:] == made.labels.shape
    np.testing.assert_allclose(made.grid.spacing_mm, spacing)
    index = np.argwhere(made.labels > 0).mean(axis=0)
    centre = labels.grid.world((np.array(labels.shape) - 1) / 2)
    np.testing.assert_allclose(made.grid.world(index), centre, atol=0.1)  # ties at the rim
    volume = made.labels.sum() * made.grid.voxel_mm3
    assert volume == pytest.approx(labels.array.sum() * labels.grid.voxel_mm3, rel=volume_error)
    assert made.image.min() >= -1.5
    assert made.image.max() <= 1.0
    assert ((made.image[0] > -0.25) == (made.labels > 0)).mean() > 0.98


def test_thick_slices_are_not_mixed() -> None:
    grid = Grid.of((12, 12, 4), (1.0, 1.0, 6.0))
    array = np.broadcast_to(np.array([100, 900, 200, 700], dtype=np.int16), grid.shape)
    made = prepare([Image(array, grid)], BONE, plan((1.5, 1.5, 3.0)))
    raw = made.image[0] * 200.0 + 300.0
    np.testing.assert_allclose(raw[0, 0], np.repeat([100, 900, 200, 700], 2), atol=1e-2)


def test_axes_become_canonical_whatever_the_file_says() -> None:
    labels = ball((20, 24, 28), (1.0, 1.0, 1.0))
    labels = replace(labels, array=labels.array * (np.arange(20) < 9)[:, None, None])
    image = ct(labels)
    axes = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    grid = Grid.of((24, 28, 20), 1.0, labels.grid.world((19, 23, 0)), axes)
    turned = image.resample(grid, outside=-1000.0), labels.resample(grid)
    assert (turned[0].array > 0).sum() == (image.array > 0).sum()
    made = prepare([turned[0]], BONE, plan((1.0, 1.0, 1.0)), turned[1])
    plain = prepare([image], BONE, plan((1.0, 1.0, 1.0)), labels)
    np.testing.assert_array_equal(made.labels, plain.labels)
    np.testing.assert_allclose(made.image, plain.image, atol=1e-5)
    assert made.native.same_as(grid)


def test_rim_of_zeros_is_cut_off_and_z_scores_are_those_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    array = np.zeros((20, 20, 20), dtype=np.float32)
    array[3:17, 4:18, 2:12] = rng.normal(100.0, 20.0, (14, 14, 10))
    image = Image(array, Grid.of((20, 20, 20), 1.0))
    made = prepare([image, None, None, None], LEG, plan((1.0, 1.0, 1.0), 4))
    assert made.image.shape == (4, 14, 14, 10)
    assert made.image[0].mean() == pytest.approx(0.0, abs=1e-4)
    assert made.image[0].std() == pytest.approx(1.0, abs=1e-4)
    assert not made.image[1:].any()
    np.testing.assert_allclose(made.grid.origin_mm, (3.0, 4.0, 2.0))
    array[3:10, 4:11] = 0.0
    holed = prepare([image.with_array(array), None, None, None], LEG, plan((1, 1, 1), 4, True))
    assert (holed.image[0] == 0.0).sum() == 7 * 7 * 10
    assert holed.image[0].std() < 1.0


def test_bad_channels_are_refused_by_name() -> None:
    labels = ball((16, 16, 16), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="channel ct is missing"):
        prepare([None], BONE, plan((1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="channel every one is missing"):
        prepare([None] * 4, LEG, plan((1.0, 1.0, 1.0), 4))
    with pytest.raises(InputError, match="2 images for 1 channels"):
        prepare([ct(labels), ct(labels)], BONE, plan((1.0, 1.0, 1.0)))
    moved = Image(labels.array, Grid.of((16, 16, 16), 1.0, (6.0, -3.0, 40.0)))
    with pytest.raises(InputError, match=r"channel water lies elsewhere than fat.*Register"):
        prepare([ct(labels), moved, None, None], LEG, plan((1.0, 1.0, 1.0), 4))


def test_bad_labels_are_refused() -> None:
    labels = ball((16, 16, 16), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"label 2 is not in the task bone_ct; allowed: 0 backg"):
        prepare([ct(labels)], BONE, plan((1, 1, 1)), replace(labels, array=labels.array * 2))
    other = ball((16, 16, 15), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="the labels lie elsewhere"):
        prepare([ct(labels)], BONE, plan((1.0, 1.0, 1.0)), other)


def test_images_with_nan_are_refused() -> None:
    array = np.ones((8, 8, 8), dtype=np.float32)
    array[2, 2, 2] = np.nan
    image = Image(array, Grid.of((8, 8, 8), 1.0))
    with pytest.raises(InputError, match="channel fat holds NaN"):
        prepare([image, None, None, None], LEG, plan((1.0, 1.0, 1.0), 4))

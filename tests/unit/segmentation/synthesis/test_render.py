"""Painting tissues and seeing them through a scanner."""

import numpy as np
import pytest
from pydantic import ValidationError

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap
from bonekit.segmentation.synthesis import RECIPES, Recipe, Tissue, acquire, deform, paint
from bonekit.segmentation.synthesis.render import speckle, surrounded, synthesise, thick_slices

GRID = Grid.of((24, 24, 24), (1.0, 1.0, 2.0))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def halves(names: dict[int, str]) -> LabelMap:
    array = np.ones(GRID.shape, np.uint8)
    array[12:] = 2
    return LabelMap(array, GRID, names)


def test_hu_are_those_of_the_tissues() -> None:
    labels = halves({1: "muscle", 2: "cortex"})
    image = synthesise(labels, RECIPES["ct"], rng())
    assert image.array.dtype == np.int16
    assert 40 < image.array[2:8].mean() < 70
    assert 890 < image.array[16:22].mean() < 1410


def test_a_label_that_the_recipe_does_not_know_is_refused() -> None:
    recipe = Recipe(tissues={"muscle": Tissue(mean=(50, 60))})
    with pytest.raises(InputError, match=r"label 2 'stone'.*muscle.*`other`"):
        paint(halves({1: "muscle", 2: "stone"}), recipe, rng())


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ValidationError, match="psf_fwhm_mm runs from 2 to 1"):
        Recipe(psf_fwhm_mm=(2.0, 1.0))


def test_random_contrast_differs_between_draws() -> None:
    labels = halves({1: "a", 2: "b"})
    gaps = []
    for seed in range(6):
        array = synthesise(labels, RECIPES["random"], rng(seed)).array
        gaps.append(float(array[:10].mean() - array[14:].mean()))
    assert min(gaps) < -20
    assert max(gaps) > 20


def test_the_same_seed_gives_the_same_image() -> None:
    labels = halves({1: "muscle", 2: "fat"})
    for name in ("ct", "flair", "ultrasound", "random"):
        one, two = (synthesise(labels, RECIPES[name], rng(3)).array for _ in range(2))
        assert np.array_equal(one, two)
        assert not np.array_equal(one, synthesise(labels, RECIPES[name], rng(4)).array)


def test_noise_has_the_deviation_asked_for() -> None:
    flat = Image(np.full(GRID.shape, 500.0, np.float32), GRID)
    for noise in ("gaussian", "ct"):
        recipe = Recipe(noise=noise, noise_std=(20.0, 20.0))
        assert acquire(flat, recipe, rng()).array.std() == pytest.approx(20, rel=0.05)


def test_rician_noise_of_nothing_has_the_mean_of_rayleigh() -> None:
    nothing = Image(np.zeros(GRID.shape, np.float32), GRID)
    seen = acquire(nothing, Recipe(noise="rician", noise_std=(10.0, 10.0)), rng())
    # 13824 voxels: the mean's standard error is 0.06
    assert seen.array.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), abs=0.25)


def test_thick_slices_average_a_step() -> None:
    array = np.zeros((2, 2, 10), np.float32)
    array[..., 5:] = 60.0
    grid = Grid.of(array.shape, (1.0, 1.0, 1.0))
    assert thick_slices(array, grid, 3.0)[0, 0].tolist() == pytest.approx(
        [0, 0, 0, 0, 20, 40, 60, 60, 60, 60], abs=1e-4
    )
    assert thick_slices(array, grid, 0.5) is array


def test_speckle_is_rayleigh_on_a_log_scale() -> None:
    ideal = Image(np.full((48, 48, 48), 40.0, np.float32), Grid.of((48, 48, 48), (1.0, 1.0, 1.0)))
    shown = speckle(ideal, 1.5, rng())
    envelope = 10 ** (shown * 60 / 255 / 20) - 1
    # Burckhardt: mean over deviation of fully developed speckle is 1.91
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, rel=0.03)
    assert np.sqrt((envelope**2).mean()) == pytest.approx(10 ** (40 / 20), rel=0.05)


def test_deforming_bends_but_keeps_labels_whole() -> None:
    labels = halves({1: "a", 2: "b"})
    cube = np.zeros(GRID.shape, np.uint8)
    cube[8:16, 8:16, 8:16] = 7
    moved = deform(LabelMap(cube, GRID, {7: "cube"}), rng(), shift_mm=2.0)
    assert set(np.unique(moved.array)) == {0, 7}
    assert not np.array_equal(moved.array, cube)
    assert 0.5 < (moved.array == 7).sum() / (cube == 7).sum() < 1.8
    assert moved.names == {7: "cube"}
    assert labels.grid.same_as(moved.grid)


def test_a_body_gets_a_layer_of_fat() -> None:
    cube = np.zeros(GRID.shape, np.uint8)
    cube[8:16, 8:16, 8:16] = 1
    wrapped = surrounded(LabelMap(cube, GRID, {1: "muscle"}), layer_mm=3.0)
    fat = wrapped.mask("fat")
    assert np.array_equal(wrapped.mask("muscle"), cube == 1)
    assert fat[12, 12, 16]
    assert fat[5, 12, 12]  # 3 mm away
    assert not fat[4, 12, 12]  # 4 mm away


def plain(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> LabelMap:
    """One tissue everywhere."""
    return LabelMap(np.ones(shape, np.uint8), Grid.of(shape, spacing), {1: "bone"})


def test_texture_has_deviation_and_length_in_mm() -> None:
    """White noise through a Gaussian of L/sqrt(2) is correlated by exp(-1/2) at a distance L."""
    look = Tissue(mean=(100, 100), std=(10, 10))
    recipe = Recipe(tissues={"bone": look}, texture_mm=(4.0, 4.0))
    made = paint(plain((80, 40, 80), (1.0, 2.0, 1.0)), recipe, np.random.default_rng(0)).array
    assert made.mean() == pytest.approx(100, abs=1)
    assert made.std() == pytest.approx(10, rel=0.05)
    found = made - made.mean()
    for axis, voxels in enumerate((4, 2, 4)):
        product = np.mean(found * np.roll(found, voxels, axis))
        assert product / found.var() == pytest.approx(np.exp(-0.5), abs=0.05)


def test_point_spread_is_in_the_plane_of_the_slices() -> None:
    array = np.zeros((41, 41, 9), np.float32)
    array[20, 20, 4] = 1000.0
    ideal = Image(array, Grid.of(array.shape, (0.5, 0.5, 2.0)))
    seen = acquire(ideal, Recipe(psf_fwhm_mm=(3.0, 3.0)), np.random.default_rng(0)).array
    assert seen[:, :, 4].sum() == pytest.approx(1000, rel=1e-4)
    for axis in (0, 1):
        profile = seen[:, :, 4].sum(1 - axis)
        offset = 0.5 * (np.arange(41) - 20)
        assert np.sqrt(profile @ offset**2 / 1000) * 2.3548 == pytest.approx(3.0, rel=0.02)


def test_bias_bends_the_values_smoothly() -> None:
    ideal = Image(np.full((30, 30, 30), 500, np.float32), Grid.of((30, 30, 30), (3, 3, 3)))
    flat, bent = (
        acquire(ideal, Recipe(bias=(b, b)), np.random.default_rng(3)).array for b in (0.0, 0.3)
    )
    assert np.ptp(flat) == 0
    assert np.ptp(bent) > 50
    for axis in range(3):  # the exponential of a polynomial of degree 3
        assert np.abs(np.diff(np.log(bent), n=4, axis=axis)).max() < 1e-4


def test_limits_cut_and_round() -> None:
    ideal = Image(np.array([[[-5000.0, 0.4, 9000.0]]], np.float32), Grid.of((1, 1, 3), (1, 1, 1)))
    seen = acquire(ideal, Recipe(limits=(-1024, 3071)), np.random.default_rng(0)).array
    assert seen.dtype == np.int16
    assert seen.ravel().tolist() == [-1024, 0, 3071]


def test_deforming_shifts_by_the_deviation_asked_for() -> None:
    """A ball in the middle, which turning and growing leave there, moves by the bending alone."""
    index = np.indices((20, 20, 20)) - 9.5
    ball = LabelMap(
        (np.sqrt((index**2).sum(0)) < 3).astype(np.uint8), Grid.of((20,) * 3, (6, 6, 6))
    )
    moved = []
    for seed in range(24):
        array = deform(ball, np.random.default_rng(seed), shift_mm=4.0).array
        moved.append(6 * (np.argwhere(array).mean(0) - 9.5))
    assert np.std(moved) == pytest.approx(4.0, rel=0.2)


def test_deforming_grows_and_shrinks_by_up_to_a_tenth() -> None:
    """Without bending a volume is the product of three factors, each of deviation .0577."""
    index = np.indices((24, 24, 24)) - 11.5
    ball = LabelMap(
        (np.sqrt((index**2).sum(0)) < 8).astype(np.uint8), Grid.of((24,) * 3, (2, 2, 2))
    )
    grown = [
        deform(ball, np.random.default_rng(seed), shift_mm=0.0).array.sum() / ball.array.sum()
        for seed in range(30)
    ]
    assert np.std(grown) == pytest.approx(0.1, rel=0.3)

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

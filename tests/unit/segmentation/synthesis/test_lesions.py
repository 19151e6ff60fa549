"""Lesions with exact truth."""

import numpy as np
import pytest
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap
from bonekit.segmentation.synthesis import LESIONS, LesionRecipe, insert_lesions
from bonekit.segmentation.synthesis.lesions import Kind

GRID = Grid.of((40, 40, 40), (2.0, 2.0, 2.0))


def bone() -> tuple[Image, LabelMap]:
    array = np.zeros(GRID.shape, np.uint8)
    array[6:34, 6:34, 4:36] = 1
    labels = LabelMap(array, GRID, {1: "bone"})
    return Image(np.where(array == 1, 300, 40).astype(np.int16), GRID), labels


def fixed(kind: Kind, **changes: object) -> LesionRecipe:
    return LESIONS[kind].model_copy(update={"count": (3, 3), **changes})


@pytest.mark.parametrize("seed", range(3))
def test_each_lesion_is_one_piece_of_the_volume_told(seed: int) -> None:
    image, labels = bone()
    done = insert_lesions([image], labels, fixed("lytic"), np.random.default_rng(seed))
    mask = done.labels.mask("lesion")
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == len(done.lesions) == 3
    for number, lesion in enumerate(done.lesions, start=1):
        own = done.instances.array == number
        assert own.sum() * 8.0 == lesion.volume_mm3
        assert len(np.unique(pieces[own])) == 1
        index = tuple(np.rint(GRID.index(lesion.centre_mm)).astype(int))
        assert own[index]
    assert np.array_equal(mask, done.instances.array > 0)


def test_a_lesion_stays_in_its_host_and_changes_nothing_else() -> None:
    image, labels = bone()
    done = insert_lesions([image], labels, fixed("lytic"), np.random.default_rng(1))
    mask = done.labels.mask("lesion")
    assert (labels.array[mask] == 1).all()
    assert np.array_equal(done.images[0].array[~mask], image.array[~mask])


def test_lytic_is_soft_blastic_is_dense_and_mixed_is_both() -> None:
    image, labels = bone()
    values = {}
    kinds: tuple[Kind, ...] = ("lytic", "blastic", "mixed")
    for kind in kinds:
        recipe = fixed(kind, radius_mm=(12.0, 12.0), edge_mm=0.1, count=(1, 1))
        done = insert_lesions([image], labels, recipe, np.random.default_rng(2))
        values[kind] = done.images[0].array[done.labels.mask("lesion")]
    assert 10 <= np.median(values["lytic"]) <= 70
    assert 700 <= np.median(values["blastic"]) <= 1300
    assert values["mixed"].min() < 100
    assert values["mixed"].max() > 650


def test_a_new_lesion_is_in_the_follow_up_only() -> None:
    image, labels = bone()
    recipe = fixed("new_ms", hosts=("bone",))
    done = insert_lesions([image, image], labels, recipe, np.random.default_rng(0))
    mask = done.labels.mask("new_lesion")
    assert np.array_equal(done.images[0].array, image.array)
    assert done.images[1].array[mask].mean() > 1.2 * 300


def test_dark_lesions_by_sign() -> None:
    image, labels = bone()
    recipe = fixed("ms", hosts=("bone",))
    done = insert_lesions([image], labels, recipe, np.random.default_rng(0), signs=[-1.0])
    assert done.images[0].array[done.labels.mask("lesion")].mean() < 0.9 * 300


def test_no_host_is_refused_with_what_is_there() -> None:
    image, labels = bone()
    with pytest.raises(InputError, match=r"grow in white_matter; present: bone"):
        insert_lesions([image], labels, LESIONS["ms"], np.random.default_rng(0))


def test_no_room_is_refused() -> None:
    image, labels = bone()
    recipe = fixed("lytic", radius_mm=(60.0, 60.0))
    with pytest.raises(InputError, match=r"no room for a lytic lesion.*smaller or fewer"):
        insert_lesions([image], labels, recipe, np.random.default_rng(0))


def test_another_grid_is_refused() -> None:
    image, labels = bone()
    other = Image(image.array, Grid.of(GRID.shape, (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="different grids"):
        insert_lesions([other], labels, LESIONS["lytic"], np.random.default_rng(0))

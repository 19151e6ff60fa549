"""Cortex, spongiosa, lesions and metal of a bone whose make-up is known."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bonekit.image.volume import Grid, Image
from bonekit.segmentation.regions import label_regions, metal_near

GRID = Grid.of((60, 60, 40), (1.0, 1.0, 1.5), (-30, -30, -30))
P = GRID.points()
R = np.linalg.norm(P, axis=-1)
BONE = (np.abs(P) < 26).all(axis=-1)


def ct(hu: np.ndarray) -> Image:
    return Image(hu.astype(np.int16), GRID)


def healthy() -> np.ndarray:
    """Cube of spongiosa (300 HU) in a cortex of 3 mm (1200 HU) in muscle (50 HU)."""
    hu = np.where(BONE, 1200, 50)
    hu[(np.abs(P) < 23).all(axis=-1)] = 300
    return hu


def test_cortex_and_spongiosa_of_a_healthy_bone() -> None:
    hu = healthy()
    labels = label_regions(ct(hu), BONE)
    np.testing.assert_array_equal(labels.mask("cortex"), hu == 1200)
    np.testing.assert_array_equal(labels.mask("trabecular"), hu == 300)
    assert not labels.mask("lesion").any()
    np.testing.assert_array_equal(labels.array > 0, BONE)


def test_dense_trabecular_bone_in_the_depth_is_no_cortex() -> None:
    hu = healthy()
    hu[R < 6] = 600
    labels = label_regions(ct(hu), BONE)
    assert not labels.mask("cortex")[R < 6].any()


@pytest.mark.parametrize(("inside", "found"), [(50, True), (600, False), (1000, True)])
def test_a_focus_of_soft_or_dense_tissue_is_a_candidate(inside: int, found: bool) -> None:
    """A ball of 4.2 ml in the middle; 600 HU is a dense bundle."""
    hu = healthy()
    hu[R < 10] = inside
    lesion = label_regions(ct(hu), BONE).mask("lesion")
    assert lesion.any() == found
    if found:
        both = np.count_nonzero(lesion & (R < 10))
        assert 2 * both / (np.count_nonzero(lesion) + np.count_nonzero(R < 10)) > 0.75


def test_fatty_marrow_small_foci_and_the_canal_are_no_candidates() -> None:
    for hollow, hu_inside in (
        (R < 10, -80),  # fat
        (R < 4, 50),  # 0.3 ml
        (np.hypot(P[..., 0], P[..., 1]) < 7, 20),  # along the whole bone
    ):
        hu = healthy()
        hu[hollow & BONE] = hu_inside
        assert not label_regions(ct(hu), BONE).mask("lesion").any()


def test_a_drawn_lesion_is_taken_as_it_is_within_the_bone() -> None:
    hu = healthy()
    hu[R < 10] = 50  # looks like a lesion, but the reader drew another
    drawn = np.linalg.norm(P - [24, 0, 0], axis=-1) < 8
    labels = label_regions(ct(hu), BONE, lesion=drawn)
    np.testing.assert_array_equal(labels.mask("lesion"), drawn & BONE)


def test_other_bone_and_metal() -> None:
    hu = healthy()
    hu[:2] = 400
    hu[R < 3] = 3000
    hu[:2, :2] = 3000
    other = np.zeros(GRID.shape, dtype=bool)
    other[:6] = True
    labels = label_regions(ct(hu), BONE, other)
    np.testing.assert_array_equal(labels.mask("metal"), (hu == 3000) & ~BONE)
    np.testing.assert_array_equal(labels.mask("other_bone"), other & ~BONE & (hu < 3000))
    assert not labels.mask("other_bone", "metal")[BONE].any()  # no hole in the bone


def test_a_bone_cut_by_the_image_has_no_cortex_at_the_cut() -> None:
    """Depth is measured from the bone's own surface, not from the border of the image."""
    hu = np.where((np.abs(P[..., :2]) < 26).all(axis=-1), 300, 50)
    whole = hu == 300
    hu[(np.abs(P[..., :2]) < 12).all(axis=-1)] = 560  # dense, 14 mm deep, up to the border
    labels = label_regions(ct(hu), whole)
    assert not labels.mask("cortex").any()


def test_the_volume_of_metal_counts_within_reach_only() -> None:
    hu = ndi.grey_dilation(healthy(), size=1)
    hu[58:60, 29:31, 10:20] = 3000  # 2 x 2 x 15 mm, 1 to 3 mm from the bone's side
    assert metal_near(ct(hu), BONE) == pytest.approx(0.06)
    assert metal_near(ct(hu), BONE, reach_mm=1.0) == 0.0
    assert metal_near(ct(healthy()), BONE) == 0.0

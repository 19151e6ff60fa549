"""Femoral heads as bright balls: where they are, and what is none."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bonekit.anatomy.sphere import directions, robust_sphere
from bonekit.image.volume import Grid, Image
from bonekit.segmentation.head import find_heads, isotropic, sample

CENTRE = np.array([5.0, -8.0, 12.0])


def ball(radius_mm: float, bright: float = 350.0, spacing=(1.0, 1.0, 3.0), width: int = 130):
    """CT of a ball of spongiosa in muscle."""
    shape = tuple(int(width / h) for h in spacing)
    grid = Grid.of(shape, spacing, CENTRE - width / 2)
    r = np.linalg.norm(grid.points() - CENTRE, axis=-1)
    hu = ndi.gaussian_filter(np.where(r < radius_mm, bright, 50.0), 0.8 / np.array(spacing))
    return Image((hu + np.random.default_rng(0).normal(0, 15, shape)).astype(np.float32), grid)


@pytest.mark.parametrize("radius_mm", [20.0, 27.0])
def test_a_ball_of_bone_is_a_head(radius_mm: float) -> None:
    ct = ball(radius_mm)
    (head, *others) = find_heads(ct)
    assert not others
    (again,) = find_heads(ct)
    np.testing.assert_array_equal(again.centre_mm, head.centre_mm)  # deterministic
    assert np.linalg.norm(head.centre_mm - CENTRE) < 0.5
    assert head.radius_mm == pytest.approx(radius_mm, abs=0.5)
    assert head.inliers > 0.9
    assert head.visible > 0.99


@pytest.mark.parametrize("radius_mm", [13.0, 38.0])
def test_a_shaft_and_a_skull_are_no_head(radius_mm: float) -> None:
    assert find_heads(ball(radius_mm)) == []


def test_soft_tissue_has_no_head() -> None:
    assert find_heads(ball(23.0, bright=90.0)) == []


def test_half_a_head_is_found_and_known_to_be_half() -> None:
    ct = ball(24.0)
    middle = int(ct.grid.index(CENTRE)[0])
    (head, *_) = find_heads(ct.crop((0, 0, 0), (middle + 6, *ct.shape[1:])))
    assert np.linalg.norm(head.centre_mm - CENTRE) < 2.0
    assert head.radius_mm == pytest.approx(24.0, abs=1.5)
    assert 0.5 < head.visible < 0.75


def test_a_sphere_is_fitted_past_outliers() -> None:
    rng = np.random.default_rng(1)
    points = CENTRE + 22.0 * directions(300)
    points[:60] += rng.normal(0, 1, (60, 3)) + np.array([15.0, 0, 0])
    centre, radius, distance = robust_sphere(points)
    np.testing.assert_allclose(centre, CENTRE, atol=0.2)
    assert radius == pytest.approx(22.0, abs=0.1)
    assert np.median(np.abs(distance)) < 0.1


def test_directions_are_even() -> None:
    rays = directions(500)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0)
    np.testing.assert_allclose(rays.T @ rays / 500, np.eye(3) / 3, atol=0.01)


def test_isotropic_keeps_place_and_values() -> None:
    grid = Grid.of((11, 9, 5), (1.0, 1.0, 4.0), (3, 2, 1))
    ramp = Image((grid.points() @ [1.0, 2.0, 3.0]).astype(np.float32), grid)
    fine = isotropic(ramp, 2.0)
    assert fine.shape == (6, 5, 9)
    np.testing.assert_allclose(fine.spacing_mm, 2.0)
    np.testing.assert_allclose(fine.array, fine.grid.points() @ [1.0, 2.0, 3.0], rtol=1e-5)


def test_samples_outside_the_image_are_nan() -> None:
    image = Image(np.ones((3, 3, 3), dtype=np.float32), Grid.of((3, 3, 3), 1.0))
    values = sample(image, np.array([[1.0, 1.5, 0.2], [1.0, 1.0, 2.5]]))
    assert values[0] == 1.0
    assert np.isnan(values[1])

"""Parts of the femur's segmentation that a whole run does not show."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.image.volume import Grid, Image
from bonekit.phantom import FemurParameters, Phantom, ScannerParameters, femur_phantom
from bonekit.segmentation import femur as steps
from bonekit.segmentation.femur import anatomy_of, femur_of_mask, largest

SCANNER = ScannerParameters(spacing_mm=(1.5, 1.5, 2.5), noise_hu=0.0, supersampling=1)


@pytest.fixture(scope="module", params=["left", "right"])
def phantom(request: pytest.FixtureRequest) -> Phantom:
    return femur_phantom(FemurParameters(side=request.param), scanner=SCANNER)


def test_a_mask_made_elsewhere_is_described(phantom: Phantom) -> None:
    mask = phantom.labels.mask("cortex", "trabecular")
    side: Literal["left", "right"] = phantom.truth["parameters"]["femur"]["side"]
    found = femur_of_mask(mask, phantom.ct.grid, side)
    truth = phantom.truth
    assert np.linalg.norm(found.head.centre_mm - truth["head_centre_mm"]) < 0.5
    assert found.head.radius_mm == pytest.approx(truth["head_radius_mm"], abs=0.5)
    assert found.roundness > 0.95
    anatomy = anatomy_of(found, phantom.ct.grid)
    assert anatomy.neck_axis @ -np.array(truth["neck_axis"]) > np.cos(np.radians(1.5))
    assert anatomy.shaft_axis @ truth["shaft_axis"] > np.cos(np.radians(0.5))
    volume = np.count_nonzero(found.femur) * found.grid.voxel_mm3
    assert volume == pytest.approx(np.count_nonzero(mask) * phantom.ct.grid.voxel_mm3, rel=0.01)


def test_a_flattened_head_is_not_round() -> None:
    phantom = femur_phantom(scanner=SCANNER)
    centre = np.array(phantom.truth["head_centre_mm"])
    mask = phantom.labels.mask("cortex", "trabecular").copy()
    mask &= ((phantom.ct.grid.points() - centre) @ phantom.truth["neck_axis"]) < 10.0
    found = femur_of_mask(mask, phantom.ct.grid, "left")
    assert found.roundness < 0.75


def test_the_largest_piece() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, :2] = mask[2:5, 2:5, 2:5] = mask[5, 5, 5] = True
    assert np.count_nonzero(largest(mask)) == 27
    assert not largest(np.zeros((3, 3, 3), dtype=bool)).any()


def test_the_region_of_a_femur_lies_whole_in_the_crop_of_an_oblique_scan() -> None:
    """Its corners in the world must lie in the crop, or beyond the scan."""
    turn = Rotation.from_euler("xyz", (15, -10, 20), degrees=True).as_matrix()
    centre = np.array([80.0, 10.0, -500.0])
    grid = Grid.of((150, 150, 150), 5.0, centre - turn @ np.full(3, 375.0), turn)
    crop = steps._around(Image(np.zeros(grid.shape, dtype=np.int16), grid), centre)
    reach = np.array([[-120, -220, -260], [120, 160, 70.0]])
    corners = np.array(np.meshgrid(*reach.T)).reshape(3, -1).T + centre
    index = crop.grid.index(corners)
    assert (index > -1.0).all()
    assert (index < np.array(crop.shape)).all()
    assert crop.array.size < grid.shape[0] ** 3


def test_distances_of_an_oblique_grid() -> None:
    turn = Rotation.from_euler("xyz", (15, -10, 20), degrees=True).as_matrix()
    grid = Grid.of((7, 8, 9), 1.5, (1, 2, 3), turn)
    expected = np.linalg.norm(grid.points() - [4, 5, 6], axis=-1)
    np.testing.assert_allclose(
        steps._distance(grid, np.array([4.0, 5.0, 6.0])), expected, rtol=1e-5
    )


def test_two_hips_are_further_apart_than_head_and_trochanter() -> None:
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[5:35, 5:35, 5:35] = True
    one = femur_of_mask(mask, Grid.of(mask.shape, 1.5), "left")
    for distance_mm, apart in ((61.0, False), (140.0, True)):
        moved = replace(one.head, centre_mm=np.add(one.head.centre_mm, [distance_mm, 0, 0]))
        assert steps._apart(one, replace(one, head=moved)) is apart

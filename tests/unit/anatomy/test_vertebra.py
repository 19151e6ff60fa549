"""The vertebra's landmarks: against a shape made of known parts, and on real masks."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.anatomy.vertebra import body_region, vertebra_anatomy
from bonekit.errors import InputError
from bonekit.image import from_sitk
from bonekit.image.volume import Grid, LabelMap

CENTRE = np.array([12.0, -40.0, 300.0])
WIDTH, DEPTH, HEIGHT, CANAL = 46.0, 34.0, 28.0, 16.0


def pose(tilt_deg: float, turn_deg: float) -> np.ndarray:
    """Columns left, posterior, superior of a vertebra tilted forwards and turned to its left."""
    a, b = np.radians([tilt_deg, turn_deg])
    tilt = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    turn = [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
    return np.array(tilt) @ np.array(turn)


def parts(points: np.ndarray, axes: np.ndarray, wedge_deg: float = 0.0) -> tuple[np.ndarray, ...]:
    """Tell which world points are body and which are pedicles, arch and processes."""
    x, y, z = np.moveaxis((points - CENTRE) @ axes, -1, 0)
    top = HEIGHT / 2 - np.tan(np.radians(wedge_deg)) * y
    body = (x / WIDTH * 2) ** 2 + (y / DEPTH * 2) ** 2 < 1
    body &= (z < top) & (z > -HEIGHT / 2)
    back = DEPTH / 2
    root = (np.abs(np.abs(x) - 15) < 4) & (y > 8) & (y < back + CANAL) & (np.abs(z - 6) < 6)
    lamina = (np.abs(x) < 19) & (y > back + CANAL) & (y < back + CANAL + 7) & (np.abs(z) < 12)
    spine = (np.abs(x) < 4) & (y > back + CANAL) & (y < back + 48) & (np.abs(z + 3) < 8)
    return body, (root | lamina | spine) & ~body


def grid_around(shape: tuple[int, int, int], spacing_mm: float, direction: np.ndarray) -> Grid:
    middle = direction @ (np.array(shape) - 1) * spacing_mm / 2
    return Grid.of(shape, spacing_mm, CENTRE + np.array([0, 15, 0]) - middle, direction)


UPRIGHT = grid_around((90, 130, 70), 1.0, np.eye(3))


@pytest.mark.parametrize(("tilt", "turn"), [(0.0, 0.0), (20.0, 0.0), (-30.0, 8.0)])
def test_parts_of_a_known_shape_are_found(tilt: float, turn: float) -> None:
    axes = pose(tilt, turn)
    body, arch = parts(UPRIGHT.points(), axes)
    found = vertebra_anatomy(body | arch, UPRIGHT)
    assert np.abs(found.body_centre_mm - CENTRE).max() < 1.0
    assert np.degrees(np.arccos(found.axis @ axes[:, 2])) < 1.5
    assert np.degrees(np.arccos(-found.anterior @ axes[:, 1])) < 2.0
    assert found.height_mm == pytest.approx(HEIGHT, abs=0.7)
    assert found.depth_mm == pytest.approx(DEPTH, abs=1.5)
    assert found.width_mm == pytest.approx(WIDTH, abs=1.5)
    assert np.abs(found.frame.T @ found.frame - np.eye(3)).max() < 1e-9
    assert np.linalg.det(found.frame) == pytest.approx(1.0)


def test_endplate_normals_point_out_and_follow_a_wedge() -> None:
    body, arch = parts(UPRIGHT.points(), np.eye(3), wedge_deg=10.0)
    found = vertebra_anatomy(body | arch, UPRIGHT)
    assert found.wedge_deg == pytest.approx(10.0, abs=1.0)
    assert found.superior_normal == pytest.approx([0, np.sin(0.1745), np.cos(0.1745)], abs=0.02)
    assert found.inferior_normal == pytest.approx([0, 0, -1], abs=0.02)


def test_osteophytes_do_not_tilt_an_endplate() -> None:
    points = UPRIGHT.points()
    body, arch = parts(points, np.eye(3))
    x, y, z = np.moveaxis(points - CENTRE, -1, 0)
    spur = (y < -10) & (y > -17) & (np.abs(x) < 6) & (z > 0) & (z < 21)
    found = vertebra_anatomy(body | arch | spur, UPRIGHT)
    assert np.degrees(np.arccos(found.superior_normal[2])) < 1.0


def test_region_of_the_body_leaves_the_arch_out() -> None:
    axes = pose(15.0, 0.0)
    points = UPRIGHT.points()
    body, arch = parts(points, axes)
    inside = body_region(points, vertebra_anatomy(body | arch, UPRIGHT))
    assert inside[body].mean() > 0.99
    behind = arch & (((points - CENTRE) @ axes)[..., 1] > DEPTH / 2 + 3)
    assert not inside[behind].any()


@pytest.mark.parametrize("flip", [(0,), (1, 2), (0, 1, 2)])
def test_flipped_arrays_have_the_same_world(flip: tuple[int, ...]) -> None:
    body, arch = parts(UPRIGHT.points(), pose(10.0, 5.0))
    affine = UPRIGHT.affine.copy()
    for axis in flip:
        affine[:3, 3] += affine[:3, axis] * (UPRIGHT.shape[axis] - 1)
        affine[:3, axis] *= -1
    one = vertebra_anatomy(body | arch, UPRIGHT)
    two = vertebra_anatomy(np.flip(body | arch, flip), Grid(UPRIGHT.shape, affine))
    assert np.abs(one.body_centre_mm - two.body_centre_mm).max() < 0.3
    assert np.abs(one.frame - two.frame).max() < 0.01


def test_oblique_arrays_have_the_same_world() -> None:
    axes = pose(10.0, 5.0)
    oblique = grid_around((110, 140, 110), 1.0, pose(25.0, 30.0))
    one, two = (
        vertebra_anatomy(np.logical_or(*parts(grid.points(), axes)), grid)
        for grid in (UPRIGHT, oblique)
    )
    assert np.abs(one.body_centre_mm - two.body_centre_mm).max() < 0.7
    assert np.abs(one.frame - two.frame).max() < 0.03


def test_a_body_that_the_border_cuts_is_refused() -> None:
    body, arch = parts(UPRIGHT.points(), np.eye(3))
    low = (0, 0, int(UPRIGHT.index(CENTRE)[2] - 8))
    cut = LabelMap((body | arch).astype(np.uint8), UPRIGHT).crop(low, UPRIGHT.shape)
    with pytest.raises(InputError, match="border cuts the vertebral body"):
        vertebra_anatomy(cut.array > 0, cut.grid)


def test_masks_without_a_body_are_refused() -> None:
    with pytest.raises(InputError, match="no voxel"):
        vertebra_anatomy(np.zeros(UPRIGHT.shape, dtype=bool), UPRIGHT)
    plate = np.abs(UPRIGHT.points()[..., 2] - CENTRE[2]) < 3
    with pytest.raises(InputError, match="nowhere thicker"):
        vertebra_anatomy(plate, UPRIGHT)


def test_region_agrees_with_the_parts_of_an_fe_model(data) -> None:
    folder = data / "fe-vertebra"
    place = json.loads((folder / "fixture.json").read_text())["grid"]
    labels = np.load(folder / "labels.npz")["labels_zyx"].transpose(2, 1, 0)
    affine = np.eye(4)  # 1 mm voxels; what the file calls RAS is LPS: the arch lies at +y
    affine[:3, 3] = place["origin_ras"]
    grid = Grid(labels.shape, affine)
    found = vertebra_anatomy(labels > 0, grid)
    inside = body_region(grid.points(), found)
    body = labels == 20
    assert inside[labels == 48].mean() < 0.01
    assert found.anterior[1] < -0.98
    # their body reaches 7 mm further back, into the roots of the pedicles
    behind = found.local(grid.points())[..., 1] - found.depth_mm / 2
    assert inside[body].mean() > 0.93
    assert behind[body & ~inside].min() > 1.9
    assert inside[body & (behind < 2.0)].mean() > 0.999


def test_region_agrees_with_the_parts_of_a_network(data) -> None:
    folder = data / "ct-vertebra"
    whole, parts_ = (
        from_sitk(sitk.ReadImage(str(folder / f"sub-ct_seg-{kind}_label-22_msk.nii.gz")))
        for kind in ("vert", "subreg")
    )
    mask = whole.array == 22
    body = mask & np.isin(parts_.array, (49, 50))
    found = vertebra_anatomy(mask, whole.grid)
    inside = body_region(whole.grid.points(), found)
    assert inside[body].mean() > 0.98
    assert inside[mask & ~body].mean() < 0.01
    with pytest.raises(InputError, match="border cuts"):
        vertebra_anatomy(whole.array == 21, whole.grid)

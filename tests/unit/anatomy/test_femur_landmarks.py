"""Landmarks and angles of phantom femora against their truth, in any pose."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from bones import Posed, flexed_pose, random_pose

from bonekit.anatomy.femur import POINTS, FemurAnatomy
from bonekit.anatomy.find import find_femur, mask_of_surface
from bonekit.anatomy.landmark import between_deg
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.phantom.parameters import FemurParameters
from bonekit.segmentation.quality import check_heads

CONDYLES = ("medial_condyle", "lateral_condyle")
PROXIMAL = ("head_centre", "greater_trochanter", "lesser_trochanter")
TRUE = {
    "head_centre": "head_centre_mm",
    "greater_trochanter": "greater_trochanter_tip_mm",
    "lesser_trochanter": "lesser_trochanter_tip_mm",
    "medial_condyle": "medial_condyle",
    "lateral_condyle": "lateral_condyle",
}


def found(bone: Posed, spacing_mm: float = 1.5) -> FemurAnatomy:
    grid = bone.grid(spacing_mm)
    return find_femur(bone.mask(grid), grid)


def misses(bone: Posed, anatomy: FemurAnatomy, names: tuple[str, ...]) -> dict[str, float]:
    true = bone.landmarks()
    return {
        name: float(np.linalg.norm(anatomy.landmark(name).point_mm - true[TRUE[name]]))
        for name in names
    }


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_and_angles_in_any_pose(seed: int) -> None:
    bone = random_pose(seed)
    anatomy = found(bone)
    par = bone.parameters
    assert anatomy.side == par.side
    assert max(misses(bone, anatomy, PROXIMAL).values()) < 1.0
    assert anatomy.head_radius_mm == pytest.approx(par.head_radius_mm, abs=0.5)
    assert between_deg(anatomy.shaft_axis, bone.direction([0, 0, 1])) < 1.0
    assert between_deg(-anatomy.neck_axis, bone.direction(bone.shape.neck_axis)) < 1.0
    angle, version = anatomy.angles
    assert angle.value_deg == pytest.approx(par.neck_shaft_angle_deg, abs=1.0)
    assert version.value_deg is None
    assert "condyles" in version.note


@pytest.mark.parametrize(("seed", "lesion"), [(1, None), (4, ("neck", 12.0))])
def test_condyles_and_anteversion_of_a_whole_femur(
    seed: int, lesion: tuple[str, float] | None
) -> None:
    bone = random_pose(seed, knee=True, lesion=lesion)
    anatomy = found(bone)
    assert anatomy.side == bone.parameters.side
    assert max(misses(bone, anatomy, (*PROXIMAL, *CONDYLES)).values()) < 1.0
    assert max(misses(bone, anatomy, CONDYLES).values()) < 0.5  # measured 0.2
    assert all(anatomy.landmark(name).confidence > 0.9 for name in CONDYLES)
    version = anatomy.angles[1]
    assert version.value_deg == pytest.approx(bone.parameters.anteversion_deg, abs=1.0)
    assert anatomy.anteversion_deg == version.value_deg


@pytest.mark.parametrize(("seed", "flexion_deg"), [(0, 60.0), (1, -60.0)])
def test_a_whole_femur_of_a_flexed_limb(seed: int, flexion_deg: float) -> None:
    bone = flexed_pose(seed, flexion_deg, knee=True)
    anatomy = found(bone)
    assert anatomy.side == bone.parameters.side
    assert max(misses(bone, anatomy, (*PROXIMAL, *CONDYLES)).values()) < 1.0
    assert between_deg(anatomy.shaft_axis, bone.direction([0, 0, 1])) < 1.0
    assert between_deg(-anatomy.neck_axis, bone.direction(bone.shape.neck_axis)) < 1.0
    assert anatomy.anteversion_deg == pytest.approx(bone.parameters.anteversion_deg, abs=1.0)


def test_a_flexed_limb_mirrored_and_turned_with_its_image() -> None:
    """Anteversion, which needs all landmarks, has neither a side nor a world."""
    bone = flexed_pose(3, 60.0, knee=True)
    grid = bone.grid()
    mask = bone.mask(grid)
    oblique = bone.grid(1.5, flexed_pose(3, 60.0).turn)
    one, mirrored = find_femur(mask, grid), find_femur(np.flip(mask, 0), grid)
    turned = find_femur(bone.mask(oblique), oblique)
    assert {one.side, mirrored.side} == {"left", "right"}
    assert turned.side == one.side
    for other, within in ((mirrored, 0.05), (turned, 0.5)):
        np.testing.assert_allclose(values(other), values(one), atol=within)
        assert other.anteversion_deg == pytest.approx(one.anteversion_deg, abs=within)


def test_a_condyle_without_its_rear_is_missing_and_so_is_the_line() -> None:
    anatomy = found(random_pose(1, knee=True, lesion=("medial_condyle", 14.0)))
    for name in CONDYLES:
        assert anatomy.landmark(name).point_mm is None
        assert "rear of the medial condyle is not round" in anatomy.landmark(name).note
    assert anatomy.anteversion_deg is None


@pytest.mark.parametrize(("side", "anteversion_deg"), [("left", -15.0), ("right", 35.0)])
def test_anteversion_is_positive_where_the_neck_points_forward(
    side: str, anteversion_deg: float
) -> None:
    par = FemurParameters(side=side, anteversion_deg=anteversion_deg)
    bone = Posed(par, np.eye(3), np.zeros(3), knee=True)
    assert found(bone).anteversion_deg == pytest.approx(anteversion_deg, abs=1.0)


@pytest.mark.parametrize("keep_mm", [45.0, 60.0])
def test_a_crop_below_the_trochanters_keeps_the_landmarks(keep_mm: float) -> None:
    """The image ends across the shaft, obliquely for a turned limb."""
    turn = Rotation.from_euler("xyz", (15, -8, 20), degrees=True).as_matrix()
    bone = Posed(FemurParameters(side="right", shaft_length_mm=150.0), turn, np.zeros(3))
    full = bone.grid()
    low = bone.landmarks()["lesser_trochanter_mm"][2] - keep_mm
    start = int(np.ceil(full.index([0.0, 0.0, low])[2]))
    grid = Grid.of(
        (*full.shape[:2], full.shape[2] - start), full.spacing_mm, full.world([0, 0, start])
    )
    anatomy = find_femur(bone.mask(grid), grid)
    assert max(misses(bone, anatomy, PROXIMAL).values()) < 1.0
    assert between_deg(anatomy.shaft_axis, bone.direction([0, 0, 1])) < 1.0
    assert anatomy.side == "right"


def seen_above(bone: Posed, keep_mm: float, spacing_mm: float = 1.5) -> FemurAnatomy:
    """Landmarks where the image ends a distance below the lesser trochanter."""
    full = bone.grid(spacing_mm)
    low = bone.landmarks()["lesser_trochanter_mm"][2] - keep_mm
    start = int(np.ceil(full.index([0.0, 0.0, low])[2]))
    shape = (*full.shape[:2], full.shape[2] - start)
    grid = Grid.of(shape, full.spacing_mm, full.world([0, 0, start]))
    return find_femur(bone.mask(grid), grid)


@pytest.mark.parametrize(("seed", "flexion_deg", "keep_mm"), [(2, 40.0, 80.0), (7, 60.0, 60.0)])
def test_a_crop_of_a_flexed_limb_keeps_the_landmarks(
    seed: int, flexion_deg: float, keep_mm: float
) -> None:
    bone = flexed_pose(seed, flexion_deg, femur={"shaft_length_mm": 200.0})
    anatomy = seen_above(bone, keep_mm)
    assert anatomy.side == bone.parameters.side
    assert max(misses(bone, anatomy, PROXIMAL).values()) < 1.0
    assert between_deg(anatomy.shaft_axis, bone.direction([0, 0, 1])) < 1.0


@pytest.mark.parametrize(("seed", "flexion_deg"), [(6, 40.0), (7, 60.0), (9, 20.0)])
def test_a_shaft_hardly_long_enough_says_how_far_off_it_may_be(
    seed: int, flexion_deg: float
) -> None:
    """33 to 39 mm of it, of which the uppermost begin to widen."""
    bone = flexed_pose(seed, flexion_deg, femur={"shaft_length_mm": 200.0})
    anatomy = seen_above(bone, 45.0)
    assert 30.0 <= anatomy.shaft_length_mm < 42.0
    wrong = between_deg(anatomy.shaft_axis, bone.direction([0, 0, 1]))
    assert anatomy.shaft_error_deg is not None
    assert 1.0 < wrong < 2 * anatomy.shaft_error_deg < 6.0


def test_too_short_a_shaft_leaves_points_out_and_says_why() -> None:
    bone = Posed(FemurParameters(shaft_length_mm=12.0), np.eye(3), np.zeros(3))
    grid = bone.grid()
    anatomy = find_femur(bone.mask(grid), grid, "left")
    assert anatomy.landmark("head_centre").confidence > 0.8
    for name in ("lesser_trochanter", "shaft_distal", "medial_condyle"):
        assert anatomy.landmark(name).point_mm is None
        assert "too little shaft" in anatomy.landmark(name).note
    greater = anatomy.landmark("greater_trochanter")  # along the scan's axis, here nearly its own
    assert misses(bone, anatomy, ("greater_trochanter",))["greater_trochanter"] < 3.0
    assert greater.uncertainty_mm > 3.0
    assert greater.confidence < 0.3
    assert anatomy.lesser_trochanter_mm is None
    assert anatomy.angles[0].value_deg is None
    with pytest.raises(InputError, match="name the side"):
        find_femur(bone.mask(grid), grid)


@pytest.mark.parametrize("site", ["head", "neck", "intertrochanteric", "subtrochanteric"])
def test_a_hole_elsewhere_leaves_a_landmark_where_it_is(site: str) -> None:
    bone = random_pose(5, lesion=(site, 12.0))
    assert max(misses(bone, found(bone), PROXIMAL).values()) < 1.0


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (5, "greater_trochanter"),
        (19, "greater_trochanter"),
        (6, "lesser_trochanter"),
        (13, "lesser_trochanter"),
        (20, "lesser_trochanter"),
    ],
)
def test_what_is_left_beside_a_hole_is_not_trusted(seed: int, name: str) -> None:
    """The mask lacks the bone, and no label says why: a rim is the highest place then."""
    bone = random_pose(seed, lesion=(name, 12.0))
    grid = bone.grid()
    anatomy = find_femur(bone.mask(grid), grid, bone.parameters.side)
    mark = anatomy.landmark(name)
    assert mark.confidence < 0.2
    assert misses(bone, anatomy, (name,))[name] < 2 * mark.uncertainty_mm
    assert all(anatomy.landmark(n).confidence > 0.8 for n in PROXIMAL if n != name)


def test_a_destroyed_lesser_trochanter_is_missing_and_the_others_stay() -> None:
    bone = random_pose(5, lesion=("lesser_trochanter", 16.0))
    grid = bone.grid()
    anatomy = find_femur(bone.mask(grid), grid, "left")
    assert anatomy.lesser_trochanter_mm is None
    assert "no bump" in anatomy.landmark("lesser_trochanter").note
    assert max(misses(bone, anatomy, ("head_centre", "greater_trochanter")).values()) < 1.0


def test_errors_are_about_as_large_as_stated() -> None:
    """A root mean square of error over stated error far from 1 would make the statement idle."""
    ratio = []
    for seed in range(3):
        bone = random_pose(seed)
        anatomy = found(bone)
        for name, miss in misses(bone, anatomy, PROXIMAL).items():
            ratio.append(miss / anatomy.landmark(name).uncertainty_mm)
    assert 0.2 < np.sqrt(np.mean(np.square(ratio))) < 2.0  # measured 0.9


def values(anatomy: FemurAnatomy) -> np.ndarray:
    return np.array([anatomy.neck_shaft_angle_deg, anatomy.offset_mm, anatomy.head_radius_mm])


@pytest.mark.parametrize("seed", [2, 3])
def test_a_mirrored_femur_is_of_the_other_side_with_the_same_angles(seed: int) -> None:
    bone = random_pose(seed)
    grid = bone.grid()
    mask = bone.mask(grid)
    one, two = find_femur(mask, grid), find_femur(np.flip(mask, 0), grid)
    assert {one.side, two.side} == {"left", "right"}
    np.testing.assert_allclose(values(two), values(one), atol=0.05)
    middle = grid.world((np.array(grid.shape) - 1) / 2)[0]
    for name in POINTS[:-2]:  # no condyles here
        mirrored = two.landmark(name).point_mm * [-1, 1, 1] + [2 * middle, 0, 0]
        np.testing.assert_allclose(mirrored, one.landmark(name).point_mm, atol=0.3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_an_array_stored_otherwise_has_the_same_world(order: tuple[int, ...]) -> None:
    bone = random_pose(1)
    grid = bone.grid()
    mask = bone.mask(grid)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (grid.shape[0] - 1)
    affine[:3, 0] *= -1  # flipped, then permuted
    affine[:3, :3] = affine[:3, :3][:, order]
    stored = np.flip(mask, 0).transpose(order)
    one, two = find_femur(mask, grid), find_femur(stored, Grid(stored.shape, affine))
    assert two.side == one.side
    np.testing.assert_allclose(two.head_centre_mm, one.head_centre_mm, atol=0.05)
    np.testing.assert_allclose(two.shaft_axis, one.shaft_axis, atol=0.002)
    np.testing.assert_allclose(two.lesser_trochanter_mm, one.lesser_trochanter_mm, atol=0.3)


@pytest.mark.parametrize("seed", range(2))
def test_turning_the_image_changes_no_angle(seed: int) -> None:
    bone = random_pose(4)
    axes = Rotation.random(random_state=seed).as_matrix()
    upright, oblique = bone.grid(), bone.grid(1.5, axes)
    one, two = (find_femur(bone.mask(grid), grid) for grid in (upright, oblique))
    assert two.neck_shaft_angle_deg == pytest.approx(one.neck_shaft_angle_deg, abs=0.5)
    assert two.offset_mm == pytest.approx(one.offset_mm, abs=0.5)
    assert between_deg(one.shaft_axis, two.shaft_axis) < 0.5


def test_thick_slices_are_brought_to_cubes() -> None:
    bone = random_pose(3)
    fine = bone.grid(1.0)
    shape = (fine.shape[0], fine.shape[1], fine.shape[2] // 3)
    grid = Grid.of(shape, (1.0, 1.0, 3.0), fine.origin_mm + np.array([0, 0, 1.0]))
    anatomy = find_femur(bone.mask(grid), grid)
    assert max(misses(bone, anatomy, PROXIMAL).values()) < 1.5
    sharp = find_femur(bone.mask(fine), fine)
    name = "greater_trochanter"
    assert anatomy.landmark(name).uncertainty_mm > sharp.landmark(name).uncertainty_mm


class TestBadInput:
    def test_two_bones(self) -> None:
        one = Posed(FemurParameters(side="left"), np.eye(3), np.zeros(3))
        two = replace(one, shift=np.array([160.0, 0.0, 0.0]))
        grid, other = one.grid(2.0), two.grid(2.0)
        shape = (int(other.index(other.world(other.shape))[0]) + 80, *grid.shape[1:])
        wide = Grid.of(shape, 2.0, grid.origin_mm)
        with pytest.raises(InputError, match="holds two bones"):
            find_femur(one.mask(wide) | two.mask(wide), wide)

    def test_two_bones_grown_together(self) -> None:
        """Joined by a bar, such as a pelvis: one piece with two heads."""
        one = Posed(FemurParameters(side="left"), np.eye(3), np.zeros(3))
        two = Posed(FemurParameters(side="right"), np.eye(3), np.array([-150.0, 0.0, 0.0]))
        grid, other = one.grid(), two.grid()
        start = other.origin_mm
        width = int((grid.world(grid.shape) - start)[0] / 1.5)
        wide = Grid.of((width, *grid.shape[1:]), 1.5, [start[0], *grid.origin_mm[1:]])
        points = wide.points()
        bar = (np.linalg.norm(points[..., 1:], axis=-1) < 8.0) & (np.abs(points[..., 0] + 75) < 65)
        both = one.mask(wide) | two.mask(wide) | bar
        with pytest.raises(InputError, match="two femoral heads"):
            find_femur(both, wide)
        (finding,) = check_heads(both, wide)
        assert (finding.severity, finding.code) == ("error", "two-bones")
        assert "2 femoral heads, 150 mm apart" in finding.message
        assert check_heads(one.mask(grid), grid) == []

    def test_the_wrong_side(self) -> None:
        bone = random_pose(1)
        grid = bone.grid()
        wrong = "left" if bone.parameters.side == "right" else "right"
        with pytest.raises(InputError, match=f"given as {wrong}"):
            find_femur(bone.mask(grid), grid, wrong)

    def test_no_head(self) -> None:
        bone = Posed(FemurParameters(shaft_length_mm=150.0), np.eye(3), np.zeros(3))
        grid = bone.grid(2.0)
        headless = np.linalg.norm(grid.points() - bone.landmarks()["head_centre_mm"], axis=-1) > 32
        with pytest.raises(InputError, match="no femoral head"):
            find_femur(bone.mask(grid) & headless, grid)

    def test_nothing_at_all(self) -> None:
        grid = Grid.of((20, 20, 20), 2.0)
        with pytest.raises(InputError, match="no voxel"):
            find_femur(np.zeros(grid.shape, dtype=bool), grid)

    def test_an_unknown_landmark(self) -> None:
        with pytest.raises(InputError, match="known: head_centre"):
            found(random_pose(4)).landmark("patella")


def test_a_surface_is_filled_and_an_open_one_refused() -> None:
    import pyvista as pv

    ball = pv.Sphere(radius=30.0, center=(5.0, 6.0, 7.0)).triangulate()
    triangles = ball.faces.reshape(-1, 4)[:, 1:]
    mask, grid = mask_of_surface(np.asarray(ball.points), triangles)
    assert np.count_nonzero(mask) * grid.voxel_mm3 == pytest.approx(ball.volume, rel=0.01)
    np.testing.assert_allclose(grid.world(np.argwhere(mask)).mean(axis=0), [5, 6, 7], atol=0.1)
    with pytest.raises(InputError, match="not closed"):
        mask_of_surface(np.asarray(ball.points), triangles[5:])
    with pytest.raises(InputError, match="in mm"):
        mask_of_surface(np.asarray(ball.points) / 1000.0, triangles)

"""Axes and angles of a femur put together from a ball and cylinders."""

from typing import Literal

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy, femur_anatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid

Side = Literal["left", "right"]
HEAD_MM, NECK_MM, SHAFT_MM = 24.0, 14.0, 15.0  # radii
NECK_LENGTH_MM, ANGLE_DEG = 54.0, 127.0
CENTRE = np.array([40.0, -20.0, 300.0])
VOXEL_MM = 1.5


class Bone:
    """Ball, neck, trochanter and shaft; `turn` is the posture."""

    def __init__(self, side: Side, turn: np.ndarray, angle_deg: float = ANGLE_DEG) -> None:
        lateral = np.array([1.0 if side == "left" else -1.0, 0.0, 0.0])  # of the patient
        angle = np.radians(angle_deg)
        self.up = turn @ np.array([0.0, 0.0, 1.0])
        self.medial = turn @ -lateral
        self.neck = turn @ (np.sin(angle) * lateral + np.cos(angle) * np.array([0.0, 0.0, 1.0]))
        self.top = CENTRE + NECK_LENGTH_MM * self.neck
        self.offset_mm = NECK_LENGTH_MM * np.sin(angle)

    def mask(self, grid: Grid, shaft_mm: float = 130.0) -> np.ndarray:
        p = grid.points()
        along = (p - self.top) @ self.up
        beside = np.linalg.norm((p - self.top) - along[..., None] * self.up, axis=-1)
        shaft = (beside < SHAFT_MM) & (along < 0) & (along > -shaft_mm)
        trochanter = np.linalg.norm(p - (self.top + 2 * self.up), axis=-1) < 22.0
        on_neck = np.clip((p - CENTRE) @ self.neck, 0.0, NECK_LENGTH_MM)
        neck = np.linalg.norm(p - CENTRE - on_neck[..., None] * self.neck, axis=-1) < NECK_MM
        return shaft | trochanter | neck | (np.linalg.norm(p - CENTRE, axis=-1) < HEAD_MM)


def field(low=(-60, -60, -170), high=(60, 60, 40)) -> Grid:
    shape = ((np.array(high) - low) / VOXEL_MM).astype(int)
    return Grid.of(tuple(shape), VOXEL_MM, CENTRE + low)


def measure(bone: Bone, side: Side, grid: Grid, shaft_mm: float = 130.0) -> FemurAnatomy:
    return femur_anatomy(bone.mask(grid, shaft_mm), grid, side, CENTRE, HEAD_MM)


def degrees(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ two, -1.0, 1.0))))


POSTURES = {
    "upright": (0.0, 0.0, 0.0),
    "flexed": (25.0, 0.0, 0.0),
    "abducted": (0.0, -20.0, 0.0),
    "turned": (10.0, 12.0, 30.0),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("posture", POSTURES.values(), ids=POSTURES)
def test_axes_of_a_turned_femur(side: Side, posture: tuple[float, float, float]) -> None:
    bone = Bone(side, Rotation.from_euler("xyz", posture, degrees=True).as_matrix())
    found = measure(bone, side, field((-110, -110, -185), (110, 110, 40)))
    assert degrees(found.shaft_axis, bone.up) < 0.2  # measured 0.02
    assert degrees(found.neck_axis, bone.neck) < 1.0  # measured 0.2
    assert found.neck_shaft_angle_deg == pytest.approx(ANGLE_DEG, abs=1.0)
    assert found.offset_mm == pytest.approx(bone.offset_mm, abs=0.5)
    assert degrees(found.medial, bone.medial) < 0.5
    assert found.section_mm2 == pytest.approx(np.pi * SHAFT_MM**2, rel=0.02)
    assert found.shaft_length_mm == pytest.approx(130.0 - 15.0, abs=6.0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_frame_is_right_handed_left_posterior_superior(side: Side) -> None:
    turn = Rotation.from_euler("xyz", (10, 12, 30), degrees=True).as_matrix()
    frame = measure(Bone(side, turn), side, field((-110, -110, -185), (110, 110, 40))).frame
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    for n in range(3):  # left, posterior, superior of the turned patient
        assert degrees(frame[:, n], turn[:, n]) < 2.0


@pytest.mark.parametrize("angle_deg", [112.0, 142.0])
def test_other_neck_shaft_angles(angle_deg: float) -> None:
    found = measure(Bone("left", np.eye(3), angle_deg), "left", field())
    assert found.neck_shaft_angle_deg == pytest.approx(angle_deg, abs=3.0)


def test_height_is_measured_along_the_shaft_from_its_end() -> None:
    bone = Bone("left", np.eye(3))
    found = measure(bone, "left", field())
    end = bone.top - 130.0 * bone.up
    assert found.height_mm(end) == pytest.approx(0.0, abs=1.5)
    assert found.height_mm(bone.top) == pytest.approx(130.0, abs=1.5)
    assert found.distal_mm == pytest.approx(0.0, abs=3.0)
    assert np.linalg.norm(found.shaft_point_mm - end) < 2.0


def test_sections_cut_obliquely_by_the_field_of_view_are_left_out() -> None:
    tilt = 25.0
    bone = Bone("right", Rotation.from_euler("x", tilt, degrees=True).as_matrix())
    grid = field((-60, -60, -110), (60, 110, 40))  # the shaft runs out of it below
    found = measure(bone, "right", grid, shaft_mm=200.0)
    wedge = 2 * SHAFT_MM * np.tan(np.radians(tilt))  # height of the oblique end
    assert wedge - 1.5 <= found.distal_mm <= wedge + 6.0
    assert degrees(found.shaft_axis, bone.up) < 1.0
    height = found.height_mm(grid.points())
    lowest = bone.mask(grid, 200.0) & (np.abs(height - found.distal_mm - 1.5) <= 1.5)
    area = np.count_nonzero(lowest) * grid.voxel_mm3 / 3.0
    assert area == pytest.approx(np.pi * SHAFT_MM**2, rel=0.03)


def test_a_shaft_that_ends_within_the_scan_is_measured_too() -> None:
    """As where the femur is followed no further than a distance from the head."""
    turn = Rotation.from_euler("xyz", (12, -10, 0), degrees=True).as_matrix()
    bone, grid = Bone("left", turn), field((-60, -110, -180), (110, 60, 40))
    near = np.linalg.norm(grid.points() - CENTRE, axis=-1) < 150.0
    larger = field((-200, -200, -300), (200, 200, 100))
    found = femur_anatomy(bone.mask(grid, 300.0) & near, grid, "left", CENTRE, HEAD_MM, larger)
    assert degrees(found.shaft_axis, bone.up) < 0.5
    assert found.shaft_length_mm > 60.0
    assert 3.0 <= found.distal_mm <= 18.0  # the ball cuts the shaft obliquely


@pytest.mark.parametrize("posture", [(20.0, 0.0, 0.0), (15.0, 10.0, 20.0)])
def test_a_rather_short_shaft_is_found_in_a_turned_limb(posture: tuple) -> None:
    """With 35 mm of it in view the line to the head is a poor first guess."""
    bone = Bone("left", Rotation.from_euler("xyz", posture, degrees=True).as_matrix())
    found = measure(bone, "left", field((-110, -110, -85), (110, 110, 40)), 200.0)
    assert degrees(found.shaft_axis, bone.up) < 0.5
    assert 30.0 <= found.shaft_length_mm <= 45.0


def test_a_trochanter_cut_by_the_side_of_the_image_leaves_the_shaft_alone() -> None:
    bone = Bone("left", Rotation.from_euler("y", 5, degrees=True).as_matrix())
    found = measure(bone, "left", field((-60, -60, -170), (54, 60, 40)), 100.0)
    assert bone.mask(field((-60, -60, -170), (54, 60, 40)))[-1].any()
    assert degrees(found.shaft_axis, bone.up) < 0.5
    assert found.shaft_length_mm == pytest.approx(100.0 - 15.0, abs=8.0)


@pytest.mark.parametrize("shaft_mm", [5.0, 20.0, 35.0])
def test_a_short_shaft_gives_no_axis(shaft_mm: float) -> None:
    """The axis is then the scan's, and the length says so."""
    turn = Rotation.from_euler("xyz", (0, 5, 0), degrees=True).as_matrix()
    found = measure(Bone("left", turn), "left", field(), shaft_mm)
    assert found.shaft_length_mm == 0.0
    np.testing.assert_array_equal(found.shaft_axis, [0, 0, 1])
    assert 25.0 < found.offset_mm < 50.0


def test_a_head_alone_is_refused() -> None:
    grid = field((-40, -40, -40), (40, 40, 40))
    ball = np.linalg.norm(grid.points() - CENTRE, axis=-1) < HEAD_MM
    with pytest.raises(InputError, match="only the head of the femur is in view"):
        femur_anatomy(ball, grid, "left", CENTRE, HEAD_MM)

"""What landmarks say about a bone, and a user's points in their place."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "anatomy"))
from bones import Posed, posed_vertebra

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.find import find_femur, find_vertebra
from bonekit.anatomy.given import with_landmarks
from bonekit.anatomy.landmark import between_deg
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.phantom.parameters import FemurParameters
from bonekit.segmentation.base import REGIONS, Segmentation
from bonekit.segmentation.landmarks import described, findings_of

BONE = Posed(FemurParameters(side="right"), np.eye(3), np.zeros(3))
SPINE = posed_vertebra(1)


@pytest.fixture(scope="module")
def femur() -> tuple[FemurAnatomy, Grid]:
    grid = BONE.grid()
    return find_femur(BONE.mask(grid), grid), grid


@pytest.fixture(scope="module")
def vertebra() -> tuple[VertebraAnatomy, Grid]:
    grid = SPINE.grid()
    return find_vertebra(SPINE.mask(grid), grid), grid


def codes(anatomy: FemurAnatomy | VertebraAnatomy) -> list[str]:
    return [f"{f.severity} {f.code}" for f in findings_of(anatomy)]


class TestGiven:
    def test_a_given_head_turns_the_neck(self, femur) -> None:
        anatomy, grid = femur
        head = anatomy.head_centre_mm + np.array([0.0, 5.0, 0.0])
        made = with_landmarks(anatomy, {"head_centre": head.tolist()}, grid)
        assert made.head_centre_mm == pytest.approx(head)
        neck = made.landmark_mm("neck_centre") - head
        assert between_deg(made.neck_axis, neck) < 1e-6
        assert made.landmark("head_centre").given
        assert not made.landmark("neck_centre").given
        assert made.neck_shaft_angle_deg != anatomy.neck_shaft_angle_deg

    def test_a_given_shaft_turns_the_axis_and_keeps_the_heights(self, femur) -> None:
        anatomy, grid = femur
        lower = anatomy.landmark_mm("shaft_distal") + np.array([3.0, 0.0, 0.0])
        upper = anatomy.landmark_mm("shaft_proximal")
        points = {"shaft_distal": lower.tolist(), "shaft_proximal": upper.tolist()}
        made = with_landmarks(anatomy, points, grid)
        assert between_deg(made.shaft_axis, upper - lower) < 1e-6
        assert float(made.height_mm(lower)) == pytest.approx(made.distal_mm)
        assert float(made.height_mm(upper)) == pytest.approx(made.flare_mm)
        length = np.linalg.norm(upper - lower)
        expected = np.degrees(2 * np.sqrt(2) / length)  # both ends err by 2 mm
        assert made.shaft_error_deg == pytest.approx(expected)

    def test_a_given_endplate_changes_the_height(self, vertebra) -> None:
        anatomy, grid = vertebra
        point = anatomy.landmark_mm("superior_endplate") - 3.0 * anatomy.axis
        made = with_landmarks(anatomy, {"superior_endplate": point.tolist()}, grid)
        assert made.height_mm == pytest.approx(anatomy.height_mm - 3.0)
        moved = made.body_centre_mm - anatomy.body_centre_mm
        assert moved == pytest.approx(-1.5 * anatomy.axis)
        assert made.heights_mm == pytest.approx(np.array(anatomy.heights_mm) - 3.0)
        assert made.inferior_centre_mm == pytest.approx(anatomy.inferior_centre_mm)

    def test_nothing_given_changes_nothing(self, femur) -> None:
        assert with_landmarks(femur[0], {}, femur[1]) is femur[0]

    @pytest.mark.parametrize(
        ("point", "message"),
        [
            ({"patella": (0, 0, 0)}, "known: head_centre"),
            ({"head_centre": (0, 0)}, "three numbers"),
            ({"head_centre": (0, 0, np.nan)}, "three numbers"),
            ({"head_centre": (0, 0, 5000)}, "outside the image"),
        ],
    )
    def test_what_is_no_point_is_refused(self, femur, point, message: str) -> None:
        with pytest.raises(InputError, match=message):
            with_landmarks(femur[0], point, femur[1])

    def test_points_that_contradict_each_other_are_refused(self, femur, vertebra) -> None:
        anatomy, grid = femur
        upside_down = {
            "shaft_distal": anatomy.landmark_mm("shaft_proximal").tolist(),
            "shaft_proximal": anatomy.landmark_mm("shaft_distal").tolist(),
        }
        with pytest.raises(InputError, match="proximal side"):
            with_landmarks(anatomy, upside_down, grid)
        spine, grid = vertebra
        low = spine.landmark_mm("inferior_endplate")
        with pytest.raises(InputError, match="exchanged"):
            with_landmarks(spine, {"superior_endplate": low.tolist()}, grid)


class TestFindings:
    def test_a_sound_bone_has_none(self, femur, vertebra) -> None:
        assert codes(femur[0]) == []
        assert codes(vertebra[0]) == []

    def test_the_wrong_side(self, femur) -> None:
        wrong = replace(femur[0], side="left")
        assert codes(wrong) == ["error side-by-shape"]
        assert "right femur, given as left" in findings_of(wrong)[0].message

    def test_a_missing_trochanter_is_named_with_the_reason(self) -> None:
        bone = replace(BONE, lesion=("lesser_trochanter", 17.0))
        grid = bone.grid()
        anatomy = find_femur(bone.mask(grid), grid, "right")
        assert codes(anatomy) == ["warning landmark-missing"]
        assert "lesser trochanter was not found" in findings_of(anatomy)[0].message

    @pytest.mark.parametrize(
        ("front", "grade"), [(0.85, None), (0.78, 1), (0.70, 2), (0.55, 3), (1.2, None), (1.75, 1)]
    )
    def test_a_collapsed_body_is_graded(self, vertebra, front: float, grade: int | None) -> None:
        """Tilt the upper endplate's surface until the front has that share of the rear."""
        anatomy = vertebra[0]
        flat = np.array([1.0, 0, 0, 0, 0, 0]) * anatomy.height_mm / 2
        y = 0.75 * anatomy.depth_mm / 2
        rear = anatomy.height_mm
        slope = rear * (1 - front) / (2 * y)
        upper = flat - [slope * y, 0, 0, 0, 0, 0] + slope * np.array([0, 0, 1.0, 0, 0, 0])
        made = replace(anatomy, superior_surface=upper, inferior_surface=-flat)
        assert made.heights_mm[0] / made.heights_mm[2] == pytest.approx(front)
        assert codes(made) == ([] if grade is None else ["warning vertebra-deformed"])
        if grade is not None:
            assert f"grade {grade}" in findings_of(made)[0].message

    def test_an_arch_in_front_of_the_body(self, vertebra) -> None:
        turned = replace(vertebra[0], anterior=-vertebra[0].anterior)
        assert codes(turned) == ["error orientation"]


def test_a_lesion_at_a_landmark_makes_it_less_sure(femur) -> None:
    anatomy, grid = femur
    mask = BONE.mask(grid)
    at = anatomy.lesser_trochanter_mm
    near = np.linalg.norm(grid.points() - at, axis=-1) < 9.0
    array = np.where(mask, np.where(near, 3, 2), 0).astype(np.uint8)
    found = Segmentation("femur_right", LabelMap(array, grid, dict(REGIONS)), anatomy)
    made = described(found, {}, grid)
    lesser = made.anatomy.landmark("lesser_trochanter")
    assert lesser.confidence < 0.3
    assert "a lesion takes" in lesser.note
    assert made.anatomy.landmark("head_centre").confidence > 0.9
    assert [f.code for f in made.findings] == ["landmark-unsure"]
    assert made.measures["neck_shaft_angle_deg"] == pytest.approx(127.0, abs=1.0)
    assert "anteversion_deg" not in made.measures


def test_the_level_of_a_vertebra_comes_from_its_name(vertebra) -> None:
    anatomy, grid = vertebra
    array = (2 * SPINE.mask(grid)).astype(np.uint8)
    made = described(
        Segmentation("vertebra_L2", LabelMap(array, grid, dict(REGIONS)), anatomy), {}, grid
    )
    assert made.anatomy.level == "L2"
    assert made.measures["middle_height_mm"] == pytest.approx(anatomy.heights_mm[1])

"""Landmarks of phantom vertebrae against their truth, in any pose."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bones import posed_vertebra

from bonekit.anatomy.find import find_vertebra
from bonekit.anatomy.landmark import between_deg
from bonekit.errors import InputError
from bonekit.image.volume import Grid

TRUE = {
    "superior_endplate": "superior_endplate_mm",
    "inferior_endplate": "inferior_endplate_mm",
    "canal": "canal_centre_mm",
    "left_pedicle": "left_pedicle_mm",
    "right_pedicle": "right_pedicle_mm",
    "spinous_process": "spinous_process_tip_mm",
}


@pytest.mark.parametrize("seed", range(3))
def test_landmarks_in_any_pose(seed: int) -> None:
    bone = posed_vertebra(seed)
    grid, true = bone.grid(), bone.landmarks()
    found = find_vertebra(bone.mask(grid), grid)
    for name, other in TRUE.items():
        mark = found.landmark(name)
        miss = (mark.point_mm - true[other]) @ bone.turn
        # the pedicle is a tube and the canal too: any place along them is right
        across = {"canal": [0, 1], "left_pedicle": [0, 2], "right_pedicle": [0, 2]}
        assert np.linalg.norm(miss[across.get(name, [0, 1, 2])]) < 1.0, name
        assert mark.confidence > 0.9
    assert between_deg(found.axis, bone.turn[:, 2]) < 1.0
    assert between_deg(-found.anterior, bone.turn[:, 1]) < 1.0
    wedge = found.angles[0]
    assert wedge.value_deg < 1.0
    assert 0.3 < wedge.uncertainty_deg < 3.0


def test_endplates_are_bowls_and_heights_follow_them() -> None:
    bone = posed_vertebra(0)
    grid = bone.grid()
    found = find_vertebra(bone.mask(grid), grid)
    par = bone.parameters
    front, middle, rear = found.heights_mm
    assert middle == pytest.approx(par.height_mm - 2 * par.endplate_concavity_mm, abs=0.7)
    assert front == pytest.approx(rear, abs=0.7)
    assert front > middle + par.endplate_concavity_mm
    assert found.superior_surface[3] > 0 > found.inferior_surface[3]  # both curve to the middle


def test_a_mirrored_vertebra_has_its_sides_exchanged() -> None:
    bone = posed_vertebra(1)
    grid = bone.grid()
    mask = bone.mask(grid)
    one, two = find_vertebra(mask, grid), find_vertebra(np.flip(mask, 0), grid)
    middle = grid.world((np.array(grid.shape) - 1) / 2)[0]
    for name, other in (("left_pedicle", "right_pedicle"), ("canal", "canal")):
        mirrored = two.landmark(other).point_mm * [-1, 1, 1] + [2 * middle, 0, 0]
        assert np.linalg.norm(mirrored - one.landmark(name).point_mm) < 1.0
    assert two.wedge_deg == pytest.approx(one.wedge_deg, abs=0.2)
    np.testing.assert_allclose(two.heights_mm, one.heights_mm, atol=0.2)


def test_a_body_without_arch_says_what_it_lacks() -> None:
    # without an arch the scan tells where the back is
    bone = replace(posed_vertebra(2), turn=np.eye(3))
    grid = bone.grid()
    local = (grid.points() - bone.shift) @ bone.turn
    body = bone.mask(grid) & (local[..., 1] < bone.parameters.depth_mm / 2)
    found = find_vertebra(body, grid)
    for name in ("left_pedicle", "canal", "spinous_process"):
        assert found.landmark(name).point_mm is None
        assert found.landmark(name).note
    assert found.landmark("superior_endplate").confidence > 0.9


def test_a_destroyed_pedicle_makes_both_less_sure() -> None:
    bone = posed_vertebra(3, lesion=("left_pedicle", 6.0))
    grid = bone.grid()
    found = find_vertebra(bone.mask(grid), grid)
    whole = found.landmark("right_pedicle").point_mm - bone.landmarks()["right_pedicle_mm"]
    assert np.linalg.norm((whole @ bone.turn)[[0, 2]]) < 1.0
    left = found.landmark("left_pedicle")
    assert left.point_mm is None or left.confidence < 0.8


def test_two_vertebrae_in_one_mask_are_refused() -> None:
    bone = posed_vertebra(4)
    grid = bone.grid()
    mask = bone.mask(grid)
    shift = round(bone.shape.pitch_mm)
    both = np.zeros((*grid.shape[:2], grid.shape[2] + shift), dtype=bool)
    both[:, :, : grid.shape[2]] = mask
    both[:, :, shift:] |= mask
    with pytest.raises(InputError, match="two vertebral bodies"):
        find_vertebra(both, Grid(both.shape, grid.affine))


def test_an_unknown_landmark_is_refused() -> None:
    bone = posed_vertebra(4)
    grid = bone.grid()
    with pytest.raises(InputError, match="known: superior_endplate"):
        find_vertebra(bone.mask(grid), grid).landmark("dens")


def test_a_world_that_is_turned_about_changes_nothing() -> None:
    """Surfaces of other programs have their own axes: there the back may be in front."""
    bone = posed_vertebra(1)
    around = np.diag([-1.0, -1.0, 1.0])
    turned = replace(bone, turn=around @ bone.turn, shift=around @ bone.shift)
    one, two = (find_vertebra(b.mask(g), g) for b in (bone, turned) for g in (b.grid(),))
    for mark, other in zip(one.landmarks, two.landmarks, strict=True):
        assert mark.name == other.name
        miss = np.linalg.norm(around @ other.point_mm - mark.point_mm)
        assert miss < (2.5 if "pedicle" in mark.name else 1.0)  # anywhere along its tube
    assert between_deg(around @ two.anterior, one.anterior) < 0.5

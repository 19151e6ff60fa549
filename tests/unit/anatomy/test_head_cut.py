"""A head that the image cuts: its centre errs by no more than it says, and it is trusted less."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bones import Posed, random_pose

from bonekit.anatomy.find import find_femur
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.segmentation.femur import anatomy_of, femur_of_mask

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4)  # of the volume of the head


def cap_mm(share: float, radius_mm: float) -> float:
    """Height of the cap that holds a share of a ball."""
    height = np.linspace(0.0, 2 * radius_mm, 2001)
    volume = height**2 * (3 * radius_mm - height) / (4 * radius_mm**3)
    return float(np.interp(share, volume, height))


def cut(bone: Posed, share: float) -> tuple[np.ndarray, Grid]:
    """End the image in the head, on the side where its border is nearest."""
    grid, mask = bone.grid(), bone.mask(bone.grid())
    centre = grid.index(bone.landmarks()["head_centre_mm"])
    off = centre - (np.array(grid.shape) - 1) / 2
    axis = int(np.abs(off / np.array(grid.shape)).argmax())
    radius = bone.parameters.head_radius_mm
    in_mm = radius - cap_mm(share, radius)
    low, high = np.zeros(3, dtype=int), np.array(grid.shape)
    if off[axis] > 0:
        high[axis] = round(centre[axis] + in_mm / grid.spacing_mm[axis])
    else:
        low[axis] = round(centre[axis] - in_mm / grid.spacing_mm[axis])
    seen = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return seen, Grid.of(seen.shape, grid.spacing_mm, grid.world(low))


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_a_cut_head_errs_by_no_more_than_it_says(seed: int) -> None:
    bone = random_pose(seed)
    true = bone.landmarks()["head_centre_mm"]
    sure, ratio = [], []
    for share in SHARES:
        mask, grid = cut(bone, share)
        found = anatomy_of(femur_of_mask(mask, grid, bone.parameters.side), grid)
        head = found.landmark("head_centre")
        miss = float(np.linalg.norm(found.head_centre_mm - true))
        assert miss < 1.0
        assert found.head_radius_mm == pytest.approx(bone.parameters.head_radius_mm, abs=0.5)
        ratio.append(miss / head.uncertainty_mm)
        sure.append(head.confidence)
    assert max(ratio) < 1.5
    assert sure == sorted(sure, reverse=True)
    assert sure[0] > 0.7
    assert sure[-1] < 0.5


def test_a_mask_alone_whose_head_is_cut_is_refused_by_name() -> None:
    """Without an image a flat head may as well be no head."""
    mask, grid = cut(random_pose(0), 0.3)
    with pytest.raises(InputError, match=r"no femoral head.*outside the image"):
        find_femur(mask, grid, "left")

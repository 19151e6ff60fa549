"""Parts of a vertebra that lesions of known shape take, in a turned image."""

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.lesions import Vertebral, vertebral_involvement

TURN = Rotation.from_euler("xyz", [12.0, -8.0, 20.0], degrees=True).as_matrix()
LEFT, BACK, UP = TURN.T
WIDTH, DEPTH, HEIGHT = 44.0, 32.0, 28.0
GRID = Grid.of((90, 100, 50), 1.0, (-45.0, -40.0, -25.0))
X, Y, Z = np.moveaxis(GRID.points() @ TURN, -1, 0)
ANGLE = np.degrees(np.arctan2(Y, X))
BODY = (np.hypot(2 * X / WIDTH, 2 * Y / DEPTH) < 1.0) & (np.abs(Z) < HEIGHT / 2)
PEDICLES = (np.abs(np.abs(X) - 13.0) < 4.0) & (Y > 8.0) & (Y < 28.0) & (np.abs(Z - 4.0) < 6.0)
ARCH = (np.abs(X) < 20.0) & (Y >= 28.0) & (Y < 36.0) & (np.abs(Z) < 10.0)
BONE = BODY | PEDICLES | ARCH
RIM = 1.0 - np.hypot(2 * X / WIDTH, 2 * Y / DEPTH) < 0.16  # 2.6 to 3.5 mm


@cache
def anatomy() -> VertebraAnatomy:
    top, bottom = HEIGHT / 2 * UP, -HEIGHT / 2 * UP
    return VertebraAnatomy(np.zeros(3), top, bottom, UP, -UP, UP, -BACK, HEIGHT, DEPTH, WIDTH)


def measured(lesion: np.ndarray) -> Vertebral:
    return vertebral_involvement(lesion & BONE, BONE, GRID, anatomy())


def test_a_window_in_the_wall_at_some_levels() -> None:
    found = measured(BODY & RIM & (np.abs(ANGLE) < 40.0) & (Z > 2.0) & (Z < 10.0))
    assert found.circumference == pytest.approx(80.0 / 360.0, abs=0.03)
    inside = (found.levels_mm > 3.0) & (found.levels_mm < 9.0)
    outside = (found.levels_mm < 1.0) | (found.levels_mm > 11.0)
    assert found.wall[inside] == pytest.approx(80.0 / 360.0, abs=0.03)
    assert found.wall[outside].max() == 0.0
    assert found.posterior_wall == 0.0
    assert found.posterolateral == "none"


def test_a_lesion_in_the_middle_takes_no_wall() -> None:
    found = measured(np.hypot(X, Y) < 8.0)
    assert found.circumference == 0.0
    assert found.body == pytest.approx(8.0**2 / (WIDTH * DEPTH / 4), rel=0.05)


def test_the_lower_half_of_the_posterior_wall() -> None:
    found = measured(BODY & RIM & (Y > 0) & (np.abs(X) < 11.0) & (Z < 0))
    assert found.posterior_wall == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("sign", "left", "right", "item"),
    [(1.0, 1.0, 0.0, "unilateral"), (-1.0, 0.0, 1.0, "unilateral"), (0.0, 1.0, 1.0, "bilateral")],
)
def test_pedicles_by_side(sign: float, left: float, right: float, item: str) -> None:
    found = measured((Y > DEPTH / 2) & (Y < 28.0) & (X * sign >= 0))
    assert found.left_pedicle == pytest.approx(left, abs=0.05)
    assert found.right_pedicle == pytest.approx(right, abs=0.05)
    assert found.posterolateral == item
    assert found.left_arch == found.right_arch == 0.0


def test_the_arch_counts_as_posterolateral_and_may_be_missing() -> None:
    found = measured(ARCH & (X > 12.0))
    assert found.left_arch == pytest.approx(8.0 / 15.0, abs=0.06)
    assert (found.right_arch, found.posterolateral) == (0.0, "unilateral")
    alone = vertebral_involvement(BODY & (X > 0), BODY, GRID, anatomy())
    assert alone.left_arch is None
    assert alone.posterolateral == "none"
    assert alone.body == pytest.approx(0.5, abs=0.02)


def test_a_lesion_outside_the_bone_is_refused() -> None:
    with pytest.raises(InputError, match="lie outside the vertebra"):
        vertebral_involvement(~BONE, BONE, GRID, anatomy())

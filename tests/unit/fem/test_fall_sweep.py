"""Strength over a cone of falls on a coarse femur."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.cement import loaded_mesh
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.fall_sweep import sweep_falls
from bonekit.fem.simulation import judge, set_up, solve_problem
from bonekit.fem.sweep import Cone
from bonekit.figures.directions import FALL, strength_by_direction
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import COLOURS, REGIONS, Segmentation

GRID = Grid.of((30, 16, 38), 4.0, (-34.0, -30.0, -118.0))  # head centre in the origin
X, Y, Z = np.moveaxis(GRID.points(), -1, 0)
BENT = np.array([0.8, 0.0, -0.6])
END, UP = np.array([42.0, 0.0, -120.0]), np.array([0.0, 0.0, 1.0])
ANATOMY = FemurAnatomy("left", np.zeros(3), 24.0, BENT, END, UP, 0.0, 80.0, 600.0)
CONE = Cone(adduction_half_deg=8.0, flexion_half_deg=8.0, step_deg=8.0)
FALLEN = SidewaysFall(distal="clamped")


def femur() -> tuple[Segmentation, DensityImage]:
    head = np.sqrt(X**2 + Y**2 + Z**2) < 24
    neck = (np.hypot(Y, Z) < 14) & (X > 0) & (X < 56)
    mask = 2 * (head | neck | ((np.hypot(X - 42, Y) < 14) & (Z < 14))).astype(np.uint8)
    labels = LabelMap(mask, GRID, dict(REGIONS), dict(COLOURS))
    ash = np.where(Y < 0, 0.7, 0.4).astype(np.float32)  # denser in front
    return (
        Segmentation("femur_left", labels, ANATOMY),
        DensityImage(ash, GRID, DensityKind.ASH),
    )


def test_each_direction_is_a_fall_of_its_own() -> None:
    segmentation, ash = femur()
    told: list[float] = []
    found = sweep_falls(
        segmentation,
        ash,
        FALLEN,
        CONE,
        edge_mm=4.0,
        progress=lambda share, words: told.append(share),
    )
    assert found.angles == ("adduction", "rotation")
    assert found.directions_deg.tolist() == [[2, 15], [10, 7], [10, 15], [10, 23], [18, 15]]
    assert found.minimum == found.strengths_N.min() < found.central
    assert told == [0.0, 0.2, 0.4, 0.6, 0.8]
    turned = replace(FALLEN, rotation_deg=23.0)
    problem = set_up(loaded_mesh(segmentation, turned, 4.0), ash, segmentation, loading=turned)
    alone = judge(problem, solve_problem(problem)).strength_N
    assert found.strengths_N[3] == pytest.approx(alone, rel=1e-6)
    assert abs(found.strengths_N[3] / found.strengths_N[1] - 1) > 0.01
    picture = strength_by_direction(found.directions_deg, found.strengths_N, found.centre_deg, FALL)
    assert picture.startswith(b"\x89PNG")


def test_a_direction_out_of_range_is_refused_before_anything_is_solved() -> None:
    segmentation, ash = femur()
    with pytest.raises(InputError, match="adduction_deg must lie between"):
        sweep_falls(segmentation, ash, replace(FALLEN, adduction_deg=38.0), CONE, edge_mm=4.0)

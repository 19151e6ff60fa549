"""Torsion and bending of a shaft that is a square tube: Saint-Venant and beam theory."""

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.response import response
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

E_MPA, NU, SIDE, LENGTH = 10_000.0, 0.3, 24.0, 160.0
INERTIA = SIDE**4 / 12
UP = np.array([0.0, 0.0, 1.0])


def femur(side: str = "left", flare_mm: float = LENGTH) -> FemurAnatomy:
    head = np.array([-40.0 if side == "left" else 40.0, 0.0, LENGTH + 40.0])
    return FemurAnatomy(side, head, 24.0, -UP, np.zeros(3), UP, 0.0, flare_mm, SIDE**2)


def shaft() -> tuple[VoxelMesh, Grid]:
    n = (12, 12, 80)
    grid = Grid.of(n, 2.0, (1 - SIDE / 2, 1 - SIDE / 2, 1.0))
    return VoxelMesh(np.ones(n, dtype=np.uint8), grid, {1: "cortex"}), grid


def solved(loading, nu: float = NU, side: str = "left") -> tuple[VoxelMesh, LoadCase, object]:
    mesh, grid = shaft()
    load = loading.on(mesh, femur(side), grid)
    made = solve(load.model(mesh, np.full(mesh.n_elements, E_MPA), nu), rtol=1e-10)
    return mesh, load, made


def test_square_bar_twists_as_saint_venant_says() -> None:
    """theta = T L / (G J), J = 0.1406 a^4 (Timoshenko); the grips shorten the bar."""
    mesh, load, made = solved(ShaftTorsion(moment_Nmm=10_000.0, grip_mm=10.0))
    answer = response(mesh, made, load)
    assert load.measure == "moment"
    assert answer.applied == pytest.approx(10_000.0)
    J, G = 0.1406 * SIDE**4, E_MPA / (2 * (1 + NU))
    free = LENGTH - 20.0
    assert answer.travel == pytest.approx(10_000.0 * free / (G * J), rel=0.03)
    assert made.force_balance < 1e-6


def test_torsion_to_either_side_is_alike() -> None:
    travels = []
    for sign in (1.0, -1.0):
        mesh, load, made = solved(ShaftTorsion(moment_Nmm=sign * 10_000.0))
        answer = response(mesh, made, load)
        assert answer.applied == pytest.approx(10_000.0)
        travels.append(answer.travel)
    assert travels[0] == pytest.approx(travels[1], rel=1e-9)


@pytest.mark.parametrize("toward", ["anterior", "posterior", "medial", "lateral"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_middle_of_the_span_bends_as_a_beam(toward: str, side: str) -> None:
    """Constant moment F L / 8 and the strain M y / E I, stretched on the side that is named."""
    mesh, load, made = solved(FourPointBending(toward=toward), nu=0.0, side=side)
    assert made.force_balance < 1e-6
    away = (mesh.centres_mm - [0, 0, LENGTH / 2]) @ load.direction
    moment = 1000.0 * load.parameters["moment_arm_mm"]
    middle = np.abs(mesh.centres_mm[:, 2] - LENGTH / 2) < 8
    expected = moment * away / (E_MPA * INERTIA)
    peak = np.abs(expected).max()
    np.testing.assert_allclose(made.strain[middle, 2], expected[middle], atol=0.02 * peak)
    names = {"anterior": [0, -1, 0], "posterior": [0, 1, 0]}
    names |= {"medial": [-1, 0, 0] if side == "left" else [1, 0, 0]}
    names |= {"lateral": -np.array(names["medial"])}
    np.testing.assert_allclose(load.direction, names[toward], atol=1e-12)


def test_rollers_share_the_force_with_the_supports() -> None:
    mesh, load, made = solved(FourPointBending(force_N=800.0))
    answer = response(mesh, made, load)
    assert answer.applied == pytest.approx(800.0)
    lower, upper = (made.reaction_N[n] @ load.direction for n in ("lower_support", "upper_support"))
    assert lower == pytest.approx(-400.0, rel=0.01)
    assert lower + upper == pytest.approx(-800.0, rel=1e-6)


@pytest.mark.parametrize("loading", [ShaftTorsion(), FourPointBending()])
def test_a_short_shaft_is_refused(loading) -> None:
    mesh, grid = shaft()
    with pytest.raises(InputError, match="only 30 mm of shaft are in view"):
        loading.on(mesh, femur(flare_mm=30.0), grid)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: ShaftTorsion(moment_Nmm=0.0), "moment_Nmm must not be 0"),
        (lambda: FourPointBending(toward="up"), "toward is one of anterior"),
        (lambda: FourPointBending(roller_mm=0.0), "roller_mm lie between 1 and 30"),
    ],
)
def test_wrong_numbers_are_named(made, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made()

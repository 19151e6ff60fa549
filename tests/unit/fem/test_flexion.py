"""Flexion and combined loads of a vertebral body that is a plain column: beam theory holds."""

import numpy as np
import pytest

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.flexion import CombinedLoad, ForwardFlexion
from bonekit.fem.response import response
from bonekit.fem.solve import solve
from bonekit.fem.strength import utilisation
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

E_MPA, WIDTH, DEPTH, HEIGHT = 1000.0, 40.0, 32.0, 40.0
AREA, INERTIA = WIDTH * DEPTH, WIDTH * DEPTH**3 / 12
LEFT, BACK, UP = np.eye(3)


@pytest.fixture(scope="module")
def column() -> tuple[VoxelMesh, VertebraAnatomy, Grid]:
    n = (20, 16, 20)
    grid = Grid.of(n, 2.0, (-19.0, -15.0, -19.0))
    mesh = VoxelMesh(np.ones(n, dtype=np.uint8), grid, {1: "cortex"})
    middle = np.zeros(3)
    anatomy = VertebraAnatomy(
        middle, HEIGHT / 2 * UP, -HEIGHT / 2 * UP, UP, -UP, UP, -BACK, HEIGHT, DEPTH, WIDTH
    )
    return mesh, anatomy, grid


def solved(column: tuple, loading):
    mesh, anatomy, grid = column
    load = loading.on(mesh, anatomy, grid)
    return load, solve(load.model(mesh, np.full(mesh.n_elements, E_MPA), 0.0), rtol=1e-11)


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_eccentric_force_presses_and_bends_as_a_beam(column: tuple, offset: float) -> None:
    """sigma = F/A + F e y/I, exact for Poisson's ratio 0 but for the bricks' own bending."""
    mesh = column[0]
    load, solution = solved(column, ForwardFlexion(force_N=1000.0, offset=offset))
    y = mesh.centres_mm[:, 1]
    expected = -1000.0 / AREA + 1000.0 * offset * DEPTH * y / INERTIA  # y runs to the back
    inner = np.abs(mesh.centres_mm[:, 2]) < 15
    np.testing.assert_allclose(
        E_MPA * solution.strain[inner, 2], expected[inner], atol=0.02 * 1000.0 / AREA
    )
    answer = response(mesh, solution, load)
    assert answer.applied == pytest.approx(1000.0)
    arm = offset * DEPTH
    sinks = 1000.0 * HEIGHT / E_MPA * (1 / AREA + arm**2 / INERTIA)
    assert answer.travel == pytest.approx(sinks, rel=0.02)
    np.testing.assert_allclose(solution.reaction_N["inferior_endplate"], [0, 0, 1000], atol=1e-5)


def test_flexion_takes_the_front_first(column: tuple) -> None:
    mesh = column[0]
    _, solution = solved(column, ForwardFlexion(offset=0.25))
    worst = mesh.centres_mm[np.argmax(utilisation(solution.strain))]
    assert worst[1] < -10  # anterior


def test_combined_load_is_the_sum_of_its_parts(column: tuple) -> None:
    parts = [
        CombinedLoad(1000.0, 0.0),
        CombinedLoad(0.0, 5000.0),
        CombinedLoad(0.0, 0.0, 4000.0),
        CombinedLoad(0.0, 0.0, 0.0, 3000.0),
    ]
    total = sum(solved(column, part)[1].displacement_mm for part in parts)
    _, together = solved(column, CombinedLoad(1000.0, 5000.0, 4000.0, 3000.0))
    np.testing.assert_allclose(together.displacement_mm, total, atol=1e-8)


def test_moments_are_measured_as_moments_and_turn_as_they_say(column: tuple) -> None:
    mesh = column[0]
    load, solution = solved(column, CombinedLoad(0.0, 5000.0))
    answer = response(mesh, solution, load)
    assert load.measure == "moment"
    assert answer.applied == pytest.approx(5000.0)
    assert answer.travel == pytest.approx(5000.0 * HEIGHT / (E_MPA * INERTIA), rel=0.02)
    front = solution.displacement_mm[np.argmin(mesh.nodes_mm @ (BACK - 10 * UP))]
    assert front[2] < 0  # forward: the front goes down
    _, twisted = solved(column, CombinedLoad(0.0, 0.0, 0.0, 3000.0))
    front = twisted.displacement_mm[np.argmin(mesh.nodes_mm @ (BACK - 10 * UP))]
    assert front[0] > 0  # the front goes to the left


def test_same_strain_by_force_or_by_offset_moment(column: tuple) -> None:
    _, by_offset = solved(column, ForwardFlexion(force_N=1000.0, offset=0.25))
    _, by_moment = solved(column, CombinedLoad(1000.0, 1000.0 * 0.25 * DEPTH))
    np.testing.assert_allclose(by_offset.strain, by_moment.strain, atol=1e-10)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: ForwardFlexion(offset=0.8), "offset lie between -0.5 and 0.5"),
        (lambda: CombinedLoad(0.0, 0.0), "something that acts"),
        (lambda: CombinedLoad(-5.0), "a force of 0 or more"),
    ],
)
def test_wrong_numbers_are_named(made, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made()

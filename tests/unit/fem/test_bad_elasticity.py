"""Moduli and Poisson's ratios that no engine takes: the message says how many, where, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import HexMesh
from bonekit.fem.model import Constraint, Mesh, Model
from bonekit.fem.solve import solve, solve_grid
from bonekit.image.volume import Grid
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import BRICK_CORNERS, VoxelMesh

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = Callable[[], Mesh]
    Solved = Callable[[Any, np.ndarray, Any], None]

SHAPE = (2, 2, 3)
MODULI = [(0.0, "0.0"), (-5.0, "-5.0"), (np.nan, "nan"), (np.inf, "inf")]
RATIOS = [(0.5, "0.5"), (0.7, "0.7"), (np.nan, "nan"), (-1.0, "-1.0")]
HELD = (Constraint("foot", np.arange(4)),)


def bricks() -> VoxelMesh:
    return VoxelMesh(np.ones(SHAPE, np.uint8), Grid.of(SHAPE, 1.0), {1: "bone"})


def hexahedra() -> HexMesh:
    mesh = bricks()
    return HexMesh(mesh.nodes_mm, mesh.elements)


def tetrahedra() -> TetMesh:
    """Twelve times the same: only their number counts here."""
    corners = np.array([[0, 1, 3, 4]]) * np.ones((12, 1), dtype=int)
    return TetMesh(BRICK_CORNERS.astype(float), corners, np.ones(12, np.uint8), {1: "bone"})


def by_voxel(mesh: Any, E: np.ndarray, nu: Any) -> None:
    solve(Model(mesh, E, nu, HELD))


def by_conforming(mesh: Mesh, E: np.ndarray, nu: Any) -> None:
    solve_conforming(Model(mesh, E, nu, HELD), interpreter="unasked")


ENGINES = pytest.mark.parametrize(
    ("made", "solved"),
    [
        pytest.param(bricks, by_voxel, id="voxel"),
        pytest.param(bricks, by_conforming, id="conforming bricks"),
        pytest.param(hexahedra, by_conforming, id="conforming hexahedra"),
        pytest.param(tetrahedra, by_conforming, id="conforming tetrahedra"),
    ],
)


@ENGINES
@pytest.mark.parametrize(("value", "printed"), MODULI)
def test_bad_moduli_are_counted_and_placed(
    made: Made, solved: Solved, value: float, printed: str
) -> None:
    E = np.full(12, 1000.0)
    E[[7, 9]] = value
    words = (
        rf"2 of 12 elements have a modulus that is not a positive number \(first: element 7, "
        rf"E = {printed} MPa\)\. Leave void out of the mesh, or give it a small modulus"
    )
    with pytest.raises(InputError, match=words):
        solved(made(), E, 0.3)


@ENGINES
@pytest.mark.parametrize(("value", "printed"), RATIOS)
def test_bad_ratios_are_counted_and_placed(
    made: Made, solved: Solved, value: float, printed: str
) -> None:
    E, nu = np.full(12, 1000.0), np.full(12, 0.3)
    nu[[4, 5, 11]] = value
    limits = "Poisson's ratio must lie between -1 and 0.5"
    advice = r"\. For what hardly changes its volume take 0\.49 or less"
    words = rf"{limits}, got {printed} in 3 of 12 elements \(first: element 4\){advice}"
    with pytest.raises(InputError, match=words):
        solved(made(), E, nu)
    with pytest.raises(InputError, match=rf"{limits}, got {printed}{advice}"):
        solved(made(), E, value)


def by_grid(E: np.ndarray, nu: Any) -> None:
    fixed = np.zeros((*(n + 1 for n in SHAPE), 3), dtype=bool)
    fixed[:, :, 0] = True
    solve_grid(E, (1.0, 1.0, 1.0), nu, fixed)


@pytest.mark.parametrize(("value", "printed"), MODULI[1:])
def test_bad_moduli_of_a_grid_are_counted_and_placed(value: float, printed: str) -> None:
    E = np.full(SHAPE, 1000.0)
    E[1, 0, 2] = E[1, 1, 1] = value
    words = (
        rf"2 of 12 moduli are not numbers >= 0 MPa \(first: brick \(1, 0, 2\), E = {printed} MPa\)"
        r"\. Set those of void to 0"
    )
    with pytest.raises(InputError, match=words):
        by_grid(E, 0.3)


def test_zero_is_void_in_a_grid_unless_all_is() -> None:
    E = np.full(SHAPE, 1000.0)
    E[0, 0, 2] = 0.0
    by_grid(E, np.where(E > 0, 0.3, 0.5))  # nor does Poisson's ratio matter there
    with pytest.raises(InputError, match="every modulus is 0: there is no element"):
        by_grid(np.zeros(SHAPE), 0.3)


@pytest.mark.parametrize(("value", "printed"), RATIOS)
def test_bad_ratios_of_a_grid_are_counted_and_placed(value: float, printed: str) -> None:
    E, nu = np.full(SHAPE, 1000.0), np.full(SHAPE, 0.3)
    E[0, 0, 0] = 0.0
    nu[0, 0, 0] = nu[0, 1, 2] = nu[1, 0, 0] = value  # the first is void
    limits = "Poisson's ratio must lie between -1 and 0.5"
    advice = r"\. For what hardly changes its volume take 0\.49 or less"
    words = rf"{limits}, got {printed} in 2 of 12 bricks \(first: brick \(0, 1, 2\)\){advice}"
    with pytest.raises(InputError, match=words):
        by_grid(E, nu)
    with pytest.raises(InputError, match=rf"{limits}, got {printed}{advice}"):
        by_grid(E, value)

"""Loads on named sets: the other load cases can be written with them."""

import numpy as np
import pytest

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.named_loads import NamedLoad
from bonekit.fem.response import response
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

E_MPA, WIDTH, DEPTH, HEIGHT = 1000.0, 40.0, 32.0, 40.0
LEFT, BACK, UP = np.eye(3)
ALL = ("left", "posterior", "superior")


@pytest.fixture(scope="module")
def column() -> tuple[VoxelMesh, VertebraAnatomy, Grid]:
    n = (20, 16, 20)
    grid = Grid.of(n, 2.0, (-19.0, -15.0, -19.0))
    mesh = VoxelMesh(np.ones(n, dtype=np.uint8), grid, {1: "cortex"})
    anatomy = VertebraAnatomy(
        np.zeros(3), HEIGHT / 2 * UP, -HEIGHT / 2 * UP, UP, -UP, UP, -BACK, HEIGHT, DEPTH, WIDTH
    )
    return mesh, anatomy, grid


def solved(column: tuple, loading):
    mesh, anatomy, grid = column
    load = loading.on(mesh, anatomy, grid)
    return load, solve(load.model(mesh, np.full(mesh.n_elements, E_MPA), 0.3), rtol=1e-10)


def test_compression_written_with_sets_is_compression(column: tuple) -> None:
    shift = -0.0068 * HEIGHT
    mine = NamedLoad(
        (("inferior_face", ALL, 0.0), ("superior_face", ("superior",), shift)),
    )
    load, made = solved(column, mine)
    theirs, expected = solved(column, EndplateCompression())
    assert load.acting == "superior_face"
    ours = response(column[0], made, load)
    reference = response(column[0], expected, theirs)
    assert ours.applied == pytest.approx(reference.applied, rel=1e-8)
    assert ours.travel == pytest.approx(reference.travel, rel=1e-8)


def test_force_on_a_set_has_its_size_and_direction(column: tuple) -> None:
    loading = NamedLoad((("inferior_face", ALL, 0.0),), (("superior_face", (300.0, 0.0, -400.0)),))
    load, made = solved(column, loading)
    np.testing.assert_allclose(load.direction, [0.6, 0.0, -0.8], atol=1e-12)
    assert response(column[0], made, load).applied == pytest.approx(500.0)
    np.testing.assert_allclose(made.reaction_N["inferior_face"], [-300.0, 0.0, 400.0], atol=1e-5)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: NamedLoad((("inferior_face", ALL, 0.0),)), "nothing loads the bone"),
        (lambda: NamedLoad((("inferior_face", ("up",), 1.0),)), "axes are left, posterior"),
    ],
)
def test_loads_that_say_nothing_are_refused(made, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made()


def test_unknown_set_is_named_with_those_there_are(column: tuple) -> None:
    mesh, anatomy, grid = column
    loading = NamedLoad((("bottom", ALL, 0.0),), (("superior_face", (0.0, 0.0, -1.0)),))
    with pytest.raises(InputError, match="no set 'bottom'; it has superior_face, inferior_face"):
        loading.on(mesh, anatomy, grid)

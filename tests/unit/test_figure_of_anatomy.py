"""The picture of the landmarks: each point stands where it is in the world."""

import io

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image as Pillow

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.landmark import Landmark
from bonekit.figures.anatomy import GIVEN, UNSURE, anatomy_drawing, on_mesh
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GRID = Grid.of((20, 10, 40), 3.0, (50.0, -20.0, 5.0), TURN)


def block() -> VoxelMesh:
    return VoxelMesh(np.ones(GRID.shape, dtype=np.uint8), GRID, {1: "cortex"}, 0)


def anatomy(*landmarks: Landmark) -> FemurAnatomy:
    middle = GRID.world([10.0, 5.0, 0.0])
    up = np.array([0.0, 0.0, 1.0])
    head = GRID.world([2.0, 5.0, 36.0])
    aslant = (TURN[:, 0] - up) / np.sqrt(2.0)
    return FemurAnatomy("left", head, 20.0, aslant, middle, up, 5.0, 80.0, 700.0, 0.3, landmarks)


def reddest(png: bytes, colour: str) -> np.ndarray:
    """Places (row, column) of a colour, in 0..1."""
    picture = np.asarray(Pillow.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64) / 255
    near = np.abs(picture - np.array(to_rgb(colour))).max(axis=2) < 0.02
    return np.argwhere(near) / np.array(near.shape)


def test_a_point_of_the_world_is_found_on_the_mesh() -> None:
    mesh = block()
    np.testing.assert_allclose(on_mesh(mesh, mesh.nodes_mm[7]), mesh.node_ijk[7] * 3.0)


def test_a_higher_point_stands_higher_and_colours_tell_who_found_it() -> None:
    low = Landmark("low", GRID.world([10.0, 5.0, 3.0]), 1.0, 0.2, "")
    high = Landmark("high", GRID.world([10.0, 5.0, 36.0]), None, 1.0, "", given=True)
    missing = Landmark.missing("lost", "not in view")
    drawn = anatomy_drawing(block(), anatomy(low, high, missing))
    unsure, given = reddest(drawn, UNSURE), reddest(drawn, GIVEN)
    # the key below the picture has both colours too
    assert given[:, 0].min() < 0.3
    assert 0.5 < unsure[:, 0].min() < 0.85


def test_nothing_found_is_drawn_as_well() -> None:
    assert anatomy_drawing(block(), anatomy()).startswith(b"\x89PNG")

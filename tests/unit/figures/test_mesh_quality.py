import io

import numpy as np
from matplotlib.image import imread

from bonekit.figures.mesh_quality import mesh_quality_figure, plane_cut
from bonekit.meshing.tetmesh import TetMesh

NODES = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 2]])
MESH = TetMesh(
    NODES,
    np.array([[0, 1, 2, 3], [1, 2, 3, 4]]),
    np.array([1, 3], dtype=np.uint8),
    {1: "cortex", 3: "lesion"},
)


def test_cuts_through_elements_have_their_area() -> None:
    """At z = 1 the corner element has a triangle of legs 1, the other a square."""
    polygons, element = plane_cut(MESH, 2, 1.0)
    np.testing.assert_array_equal(element, [0, 1])
    np.testing.assert_array_equal(polygons[..., 2], 1.0)
    x, y = polygons[..., 0], polygons[..., 1]
    area = np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)) / 2
    np.testing.assert_allclose(area, [0.5, 2.0])


def test_the_picture_is_drawn() -> None:
    picture = imread(io.BytesIO(mesh_quality_figure(MESH)))
    assert picture.shape[1] == 1600
    assert np.ptp(picture[..., 0]) > 0.5

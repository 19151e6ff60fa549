import numpy as np
import pytest

from bonekit.image.volume import Grid
from bonekit.meshing.lattice import edge_numbers
from bonekit.meshing.quadratic import MIDDLES, curved, curved_volumes, least_ratio, quadratic
from bonekit.meshing.shapes import body_shape

CORNER = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
ONE = np.array([[0, 1, 2, 3]])


def test_middles_are_in_the_order_of_abaqus_and_vtk() -> None:
    made = quadratic(CORNER, ONE)
    np.testing.assert_array_equal(made.tetrahedra[0, :4], ONE[0])
    expected = [
        CORNER[[a, b]].mean(axis=0) for a, b in ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))
    ]
    np.testing.assert_allclose(made.nodes_mm[made.tetrahedra[0, 4:]], expected)
    assert least_ratio(made.nodes_mm, made.tetrahedra) == pytest.approx(1.0)


def test_volume_of_a_curved_element() -> None:
    """A shear by x squared keeps the volume; narrowing by 1 - x/2 makes it 7/8."""
    made = quadratic(CORNER, ONE)
    x, y, z = made.nodes_mm.T
    sheared = np.stack([x, y, z + 0.8 * x**2], axis=1)
    assert curved_volumes(sheared, made.tetrahedra) == pytest.approx(1 / 6)
    assert least_ratio(sheared, made.tetrahedra) == pytest.approx(1.0)
    narrowed = np.stack([x, y * (1 - x / 2), z], axis=1)
    assert curved_volumes(narrowed, made.tetrahedra) == pytest.approx(7 / 8 / 6)
    assert least_ratio(narrowed, made.tetrahedra) == pytest.approx(0.5)


def test_a_folded_element_is_found() -> None:
    made = quadratic(CORNER, ONE)
    nodes = made.nodes_mm.copy()
    nodes[made.tetrahedra[0, 4]] += (0.3, 0, 0)  # 3/4 of the way and more: the edge turns back
    assert least_ratio(nodes, made.tetrahedra) < 0


def test_edges_that_would_fold_stay_straight() -> None:
    """A ball bulges through a flat element that sits on it, not through a high one."""
    points = np.stack(np.meshgrid(*[np.arange(25.0)] * 3, indexing="ij"), axis=-1)
    ball = np.linalg.norm(points - 12, axis=-1) < 8
    shape = body_shape(ball, Grid.of(ball.shape, 1.0), 2.0, 1.0)
    triangle = 12 + 8 * np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    inner = triangle.mean(axis=0)
    surfaces = np.array([[0, 1, 2]]), np.array([0])
    for height, straight in ((12.0, 0), (1.0, 1)):
        nodes = np.vstack([triangle, inner + height * np.ones(3) / np.sqrt(3)])
        tetrahedra = np.array([[0, 1, 2, 3]])
        made = curved(nodes, tetrahedra, surfaces, [shape], 3.0)
        assert made.n_straight == straight
        assert least_ratio(made.nodes_mm, made.tetrahedra).min() > 0.1
        edges, _ = edge_numbers(tetrahedra)
        middle = made.nodes_mm[4:][(edges < 3).all(axis=1)]
        radius = np.linalg.norm(middle - 12, axis=1)
        np.testing.assert_allclose(radius, 8 / np.sqrt(2) if straight else 8, atol=0.2)
    assert len(MIDDLES) == 6

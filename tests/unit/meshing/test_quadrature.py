"""Quadrature rules and shape functions on reference elements."""

from itertools import product
from math import factorial

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.meshing.quadrature import TETRA_EDGES, rule, shape_functions, volume_factor
from bonekit.meshing.voxel import BRICK_CORNERS

CORNERS = np.vstack([np.zeros(3), np.eye(3)])
NODES = {
    4: CORNERS,
    8: BRICK_CORNERS.astype(float),
    10: np.vstack([CORNERS, CORNERS[TETRA_EDGES].mean(axis=1)]),
}


def integral(n_nodes: int, powers: tuple[int, ...]) -> float:
    """Of a monomial over the reference element."""
    if n_nodes == 8:
        return float(1 / np.prod(np.add(powers, 1)))
    return float(np.prod([factorial(p) for p in powers]) / factorial(sum(powers) + 3))


@pytest.mark.parametrize("n_nodes", NODES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_polynomials_are_exact_to_degree_2n_minus_1(n_nodes: int, n: int) -> None:
    at = rule(n_nodes, n)
    assert (at.weights > 0).all()
    assert at.weights.shape == (n**3,)
    for powers in product(range(2 * n), repeat=3):
        if sum(powers) < 2 * n:
            found = at.weights @ np.prod(at.points ** np.array(powers), axis=1)
            assert found == pytest.approx(integral(n_nodes, powers), rel=1e-11)
    if n > 4:  # the next degree is off by less than rounding
        return
    beyond = at.weights @ at.points[:, 0] ** (2 * n)
    assert beyond != pytest.approx(integral(n_nodes, (2 * n, 0, 0)), rel=1e-11)


@pytest.mark.parametrize("n_nodes", NODES)
def test_one_point_is_the_centroid(n_nodes: int) -> None:
    centre = [0.5] * 3 if n_nodes == 8 else [0.25] * 3
    np.testing.assert_allclose(rule(n_nodes, 1).points, [centre], atol=1e-15)


@pytest.mark.parametrize(("n_nodes", "nodes"), NODES.items())
def test_shape_functions_are_1_at_their_node_alone(n_nodes: int, nodes: np.ndarray) -> None:
    shape, gradient = shape_functions(n_nodes, nodes)
    np.testing.assert_allclose(shape, np.eye(n_nodes), atol=1e-14)
    points = rule(n_nodes, 3).points
    shape, gradient = shape_functions(n_nodes, points)
    np.testing.assert_allclose(shape @ nodes, points, atol=1e-14)
    for axis, step in enumerate(1e-6 * np.eye(3)):
        ahead, behind = (shape_functions(n_nodes, points + s)[0] for s in (step, -step))
        np.testing.assert_allclose(gradient[..., axis], (ahead - behind) / 2e-6, atol=1e-8)


@pytest.mark.parametrize(("n_nodes", "nodes"), NODES.items())
def test_volume_factor_of_a_linear_map_is_its_determinant(n_nodes: int, nodes: np.ndarray) -> None:
    A = np.array([[2.0, 0.3, 0], [0, 1.5, -0.4], [0.2, 0, 1.0]])
    factor = volume_factor((nodes @ A.T)[None], rule(n_nodes, 2).gradient)
    np.testing.assert_allclose(factor, np.full((1, 8), np.linalg.det(A)), rtol=1e-12)


def test_unknown_elements_are_refused() -> None:
    with pytest.raises(InputError, match="4, 8 or 10 nodes, got 6"):
        rule(6, 2)
    with pytest.raises(InputError, match="1 or more, got 0"):
        rule(8, 0)

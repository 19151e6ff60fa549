"""Mapping onto elements against closed forms: all element types, in images of any axes.

A density ramp from 0 to 1 along an edge and ``E = rho ** 2.29``. On a brick the integral of E is
1 / 3.29 and E of the mean density is 0.5 ** 2.29; on a tetrahedron with the ramp from one face to
the opposite corner they are ``6 / (3.29 * 4.29 * 5.29)`` and ``0.25 ** 2.29``.
"""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.errors import InputError
from bonekit.fem.mapping import element_values
from bonekit.image.volume import Grid, Image
from bonekit.meshing.quadrature import TETRA_EDGES
from bonekit.meshing.sampling import integral
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import BRICK_CORNERS, VoxelMesh

P = 2.29
BRICK = {"modulus": 1 / 3.29, "density": 0.5**P, "centroid": 0.5**P, "nodal": 0.5}
TETRA = {"modulus": 6 / 3.29 / 4.29 / 5.29, "density": 0.25**P, "centroid": 0.25**P, "nodal": 0.25}
EDGE = 5.0
CORNERS = np.vstack([np.zeros(3), np.eye(3)])
TURN = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
AXES = {
    "straight": (np.eye(3), (1.0, 1.0, 1.0)),
    "thick": (np.eye(3), (0.7, 0.7, 3.0)),
    "flipped": (np.diag([-1.0, -1.0, 1.0]), (0.9, 0.8, 1.7)),
    "mirrored": (np.diag([1.0, -1.0, 1.0]), (0.9, 0.8, 1.7)),
    "permuted": (np.eye(3)[[2, 0, 1]], (0.9, 0.8, 1.7)),
    "oblique": (TURN, (0.9, 0.8, 1.7)),
    "oblique and mirrored": (TURN @ np.diag([1.0, 1.0, -1.0]), (0.9, 0.8, 1.7)),
}


def image_of(field, axes: str = "oblique") -> Image:
    """A field of the world's points round the elements."""
    direction, spacing = AXES[axes]
    shape = tuple(np.ceil(24 / np.array(spacing)).astype(int))
    centre = direction @ (np.array(spacing) * (np.array(shape) - 1) / 2)
    grid = Grid.of(shape, spacing, np.full(3, EDGE / 2) - centre, direction)
    return Image(field(grid.points()), grid)


def power(density: np.ndarray) -> np.ndarray:
    return np.maximum(density, 0.0) ** P


def with_edge_nodes(nodes: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ten-node tetrahedra, their nodes not shared."""
    corner = nodes[cells]
    ten = np.concatenate([corner, corner[:, TETRA_EDGES].mean(axis=2)], axis=1)
    return ten.reshape(-1, 3), np.arange(10 * len(cells)).reshape(-1, 10)


def bricks(n: int = 1) -> VoxelMesh:
    """A cube of edge length EDGE from n^3 bricks."""
    grid = Grid.of((n,) * 3, EDGE / n, np.full(3, EDGE / n / 2))
    return VoxelMesh(np.ones((n,) * 3, dtype=np.uint8), grid, {1: "bone"})


def tetrahedra(n: int = 1) -> TetMesh:
    """The same cube, six tetrahedra in each brick."""
    nodes = np.stack(np.meshgrid(*[np.arange(n + 1.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    corners = np.zeros((6, 4, 3), dtype=int)
    for corner, path in zip(corners, permutations(range(3)), strict=True):
        for step, axis in enumerate(path):
            corner[step + 1 :, axis] = 1
    ijk = np.argwhere(np.ones((n,) * 3))[:, None, None] + corners
    cells = (ijk @ [(n + 1) ** 2, n + 1, 1]).reshape(-1, 4)
    turned = np.linalg.det(nodes[cells][:, 1:] - nodes[cells][:, :1]) < 0
    cells[turned] = cells[turned][:, [0, 1, 3, 2]]
    return TetMesh(nodes * EDGE / n, cells, np.ones(len(cells), dtype=np.uint8), {1: "bone"})


ONE = {
    "brick": (bricks(), BRICK),
    "hexahedron": ((EDGE * BRICK_CORNERS, np.arange(8)[None]), BRICK),
    "tetrahedron": ((EDGE * CORNERS, np.arange(4)[None]), TETRA),
    "curved tetrahedron": (with_edge_nodes(EDGE * CORNERS, np.arange(4)[None]), TETRA),
}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("element", ONE)
def test_a_ramp_in_one_element(element: str, axes: str) -> None:
    mesh, exact = ONE[element]
    ramp = image_of(lambda points: points[..., 0] / EDGE, axes)
    for how in ("modulus", "density", "centroid"):
        found = element_values(ramp, mesh, power, how, order=8)
        assert found == pytest.approx(exact[how], rel=2e-6), how
    by_default = element_values(ramp, mesh, power)
    assert by_default == pytest.approx(exact["modulus"], rel=2e-3)
    nodal = element_values(ramp, mesh, power, "nodal")
    if element == "curved tetrahedron":  # shares of 1/36 and 4/27, three nodes half way
        assert nodal == pytest.approx((1 / 36 + 3 * 4 / 27 * 0.5**P), rel=1e-12)
    else:
        assert nodal == pytest.approx(exact["nodal"], rel=1e-12)


def test_the_closed_forms_are_those_of_the_literature() -> None:
    assert round(BRICK["modulus"], 6) == 0.303951
    assert round(BRICK["density"], 6) == 0.204476


@pytest.mark.parametrize("axes", ["thick", "oblique and mirrored"])
def test_six_tetrahedra_make_a_cube(axes: str) -> None:
    ramp, mesh = image_of(lambda points: points[..., 0] / EDGE, axes), tetrahedra()
    for cells in (mesh, with_edge_nodes(mesh.nodes_mm, mesh.tetrahedra)):
        found = element_values(ramp, cells, power, order=8)
        assert found.mean() == pytest.approx(0.303951, rel=2e-6)


def test_the_modulus_converges_with_the_order_of_the_rule() -> None:
    """Of a power that isn't whole: by a power of n, some 6.6 for Gauss's rule."""
    ramp = image_of(lambda points: points[..., 0] / EDGE)
    for mesh, exact in ONE.values():
        error = [
            abs(element_values(ramp, mesh, power, order=n)[0] / exact["modulus"] - 1)
            for n in (1, 2, 4, 8)
        ]
        assert error[0] > 0.2
        assert (np.divide(error[:-1], error[1:]) > [10, 30, 50]).all()


@pytest.mark.parametrize("make", [bricks, tetrahedra])
def test_every_mapping_converges_with_the_mesh(make) -> None:
    """To the integral of E over the cube; the error of all but the first falls fourfold."""
    ramp = image_of(lambda points: 0.2 + 0.5 * points[..., 0] / EDGE + 0.02 * points[..., 1])
    exact = element_values(ramp, bricks(), power, order=10)[0]
    for how in ("density", "centroid", "nodal"):
        error = [element_values(ramp, make(n), power, how).mean() / exact - 1 for n in (2, 4, 8)]
        assert (error[-1] > 0) == (how == "nodal")
        np.testing.assert_allclose(np.divide(error[:-1], error[1:]), 4.0, atol=0.1)
    assert element_values(ramp, make(2), power).mean() == pytest.approx(exact, rel=1e-5)


def test_the_default_order_follows_the_element_to_voxel_ratio() -> None:
    """White noise from voxel to voxel, the worst there is: 2 % of the mean of the cube."""
    rng = np.random.default_rng(0)
    noise = image_of(lambda points: 0.5 + 0.15 * rng.standard_normal(points.shape[:-1]))
    for make, n in ((bricks, 1), (bricks, 4), (tetrahedra, 1), (tetrahedra, 4)):
        found, fine = (element_values(noise, make(n), power, order=o) for o in (None, 16))
        assert np.sqrt(np.mean((found - fine) ** 2)) < 0.02 * fine.mean()


def test_curved_elements_are_weighted_by_their_jacobian() -> None:
    """``x = X + a X^2`` has the Jacobian ``1 + 2 a X``; mean X, X^2, X^3 are 1/4, 1/10, 1/20."""
    a, field = 0.4, image_of(lambda points: points[..., 0] / EDGE)
    nodes, cells = with_edge_nodes(CORNERS, np.arange(4)[None])
    nodes[:, 0] += a * nodes[:, 0] ** 2
    mean = (1 / 4 + a / 10 + 2 * a / 10 + 2 * a * a / 20) / (1 + 2 * a / 4)
    found = element_values(field, (EDGE * nodes, cells), lambda rho: rho, "density", order=3)
    assert found == pytest.approx(mean, rel=1e-12)
    _, volume = integral(field, (EDGE * nodes, cells))
    assert volume == pytest.approx(EDGE**3 / 6 * (1 + a / 2), rel=1e-12)


def test_hexahedra_are_weighted_by_their_jacobian() -> None:
    """``x = X (1 + c Z)`` has the Jacobian ``1 + c Z``."""
    c, field = 0.8, image_of(lambda points: points[..., 0] / EDGE)
    nodes = BRICK_CORNERS.astype(float)
    nodes[:, 0] *= 1 + c * nodes[:, 2]
    mean = 0.5 * (1 + c + c * c / 3) / (1 + c / 2)
    for how in ("density", "nodal"):
        found = element_values(field, (EDGE * nodes, np.arange(8)[None]), lambda rho: rho, how)
        if how == "density":
            assert found == pytest.approx(mean, rel=1e-12)
        else:  # x is trilinear in the element, so its nodal interpolation is exact
            assert found == pytest.approx(mean, rel=1e-12)


def test_left_handed_and_inverted_elements() -> None:
    field = image_of(lambda points: points[..., 0])
    grid = Grid.of((2, 2, 2), 1.0, (1.0, 1.0, 1.0), np.diag([-1.0, 1.0, 1.0]))
    left = VoxelMesh(np.ones((2, 2, 2), dtype=np.uint8), grid, {1: "bone"})
    np.testing.assert_allclose(
        element_values(field, left, lambda rho: rho), left.centres_mm[:, 0], atol=1e-12
    )
    with pytest.raises(InputError, match=r"inverted or flat \(first: 0, 1, 2, 3, 4, \.\.\.\)"):
        element_values(field, (left.nodes_mm, left.elements), lambda rho: rho)


@pytest.mark.parametrize(
    ("cells", "message"),
    [([[0, 1, 2]], "4, 8 or 10"), ([[0, 1, 2, 4]], r"0\.\.3"), ([[0.0, 1, 2, 3]], "whole")],
)
def test_what_is_no_mesh_is_refused(cells: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        element_values(image_of(lambda p: p[..., 0]), (CORNERS, cells), power)

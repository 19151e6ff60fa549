"""The voxel engine against fields known everywhere: Lame's sphere and cylinder, a made-up one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import jacrev, vmap

from bonekit.fem.solve import GridSolution, solve_grid
from bonekit.meshing.voxel import BRICK_CORNERS

Float = NDArray[np.float64]
Field = Callable[[Tensor], Tensor]
CORNERS = np.array(BRICK_CORNERS)
GAUSS = (1 + np.array([-1, 0, 1]) * np.sqrt(0.6)) / 2
WEIGHT = np.array([5.0, 8.0, 5.0]) / 18


def stress_of(u: Field, E: Callable[[Tensor], Tensor], nu: float) -> Field:
    """Stress tensor at a point of a displacement field."""

    def stress(x: Tensor) -> Tensor:
        H = jacrev(u)(x)
        strain = (H + H.T) / 2
        one = torch.eye(3, dtype=x.dtype)
        return E(x) / (1 + nu) * (strain + nu / (1 - 2 * nu) * strain.trace() * one)

    return stress


def at(field: Field, points: Float) -> Float:
    rows = torch.as_tensor(points.reshape(-1, 3))
    found = vmap(field)(rows).numpy()
    return np.asarray(found.reshape(*points.shape[:-1], *found.shape[1:]))


def shape(corners: Float, points: Float) -> Float:
    """Products of linear functions, (points, corners), over as many axes as there are."""
    return np.where(corners == 1, points[:, None], 1 - points[:, None]).prod(axis=-1)


def error_in_l2(solution: GridSolution, mask: NDArray[np.bool_], h: float, u: Field) -> float:
    """Over the norm of the field."""
    cells = np.argwhere(mask)
    ours = solution.displacement_mm[tuple(np.moveaxis(cells[:, None] + CORNERS, -1, 0))]
    points = np.stack(np.meshgrid(GAUSS, GAUSS, GAUSS, indexing="ij"), -1).reshape(-1, 3)
    w = np.einsum("i,j,k->ijk", WEIGHT, WEIGHT, WEIGHT).ravel()
    exact = at(u, (cells[:, None] + points) * h)
    gap = np.einsum("qk,mki->mqi", shape(CORNERS, points), ours) - exact
    return float(np.sqrt((w[:, None] * gap**2).sum() / (w[:, None] * exact**2).sum()))


def lame(dimension: int) -> Field:
    """a = 1, b = 2, E = 1000, nu = 0.3, a pressure of 1 inside: sphere, or cylinder (plane strain).

    A r + B / r^2 with A = (1 - 2 nu) / (7 E), B = 8 (1 + nu) / (14 E); for the cylinder
    A = (1 + nu)(1 - 2 nu) / (3 E), B = 4 (1 + nu) / (3 E), over r.
    """
    sphere = dimension == 3
    A, B = (4e-4 / 7, 10.4e-3 / 14) if sphere else (5.2e-4 / 3, 5.2e-3 / 3)

    def u(x: Tensor) -> Tensor:
        across = x if sphere else x * torch.tensor([1.0, 1.0, 0.0], dtype=x.dtype)
        return across * (A + B / (across @ across) ** (dimension / 2))

    return u


@pytest.mark.parametrize("dimension", [2, 3])
def test_lame(dimension: int) -> None:
    """On an octant of bricks whose stairs bear the tractions of the exact field.

    So the error is that of the elements, and not that of stairs in place of a sphere.
    """
    u = lame(dimension)
    on_axis = at(u, np.array([[1.0, 0, 0], [2.0, 0, 0]]))[:, 0]
    # Timoshenko and Goodier; the cylinder in plane strain
    expected = [8.0e-4, 3.0e-4] if dimension == 3 else [1.9066667e-3, 1.2133333e-3]
    np.testing.assert_allclose(on_axis, expected, rtol=1e-6)
    stress = at(stress_of(u, lambda x: 0 * x[0] + 1000.0, 0.3), np.array([[1.0, 0, 0]]))[0]
    hoop = 0.7142857 if dimension == 3 else 1.6666667
    np.testing.assert_allclose(np.diag(stress)[:2], [-1, hoop], rtol=1e-6)
    errors = [octant(n, dimension, u) for n in (8, 16)]
    assert errors[1] < 4e-3
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.3, errors


def octant(n: int, dimension: int, u: Field) -> float:
    h, counts = 2.0 / n, (n, n, n if dimension == 3 else 1)
    centre = (np.indices(counts) + 0.5) * h
    radius = np.linalg.norm(centre[:dimension], axis=0)
    mask = (radius > 1) & (radius < 2)
    fixed = np.zeros((*(c + 1 for c in counts), 3), dtype=bool)
    for a in range(3):
        np.moveaxis(fixed, a, 0)[0, ..., a] = True
    if dimension == 2:
        fixed[:, :, 1, 2] = True
    force = tractions(mask, h, stress_of(u, lambda x: 0 * x[0] + 1000.0, 0.3), dimension)
    solution = solve_grid(np.where(mask, 1000.0, 0), (h, h, h), 0.3, fixed, 0.0, force, rtol=1e-9)
    return error_in_l2(solution, mask, h, u)


def tractions(mask: NDArray[np.bool_], h: float, stress: Field, dimension: int) -> Float:
    """Nodal forces of the exact stress on the bare faces of bricks, but for symmetry planes."""
    force = np.zeros((*(n + 1 for n in mask.shape), 3))
    padded = np.pad(mask, 1)
    quarter = np.stack(np.meshgrid([0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(GAUSS, GAUSS, indexing="ij"), -1).reshape(-1, 2)
    w = h * h * np.outer(WEIGHT, WEIGHT).ravel()[:, None] * shape(quarter, points)
    for axis in range(dimension):
        for side in (0, 1):
            step = np.eye(3, dtype=int)[axis]
            cells = np.argwhere(mask)
            beyond = padded[tuple((cells + 1 + (2 * side - 1) * step).T)]
            bare = cells[~beyond & (cells[:, axis] + side > 0)]
            corners, on_face = np.insert(quarter, axis, side, 1), np.insert(points, axis, side, 1)
            pull = (2 * side - 1) * at(stress, (bare[:, None] + on_face) * h)[..., axis]
            nodes = tuple(np.moveaxis(bare[:, None] + corners, -1, 0))
            np.add.at(force, nodes, np.einsum("qk,mqi->mki", w, pull))
    return force


def graded(x: Tensor) -> Tensor:
    """Young's modulus of the made-up field."""
    return 1000 * (1 + 0.5 * torch.sin(2 * torch.pi * x[0]))


def waves(x: Tensor) -> Tensor:
    """A displacement that is 0 on the faces of the unit cube."""
    return torch.sin(torch.pi * x).prod() * torch.tensor([1.0, 0.5, -0.7], dtype=x.dtype)


def test_a_made_up_field_of_graded_bone_converges_at_second_order() -> None:
    """u given, E = 1000 (1 + sin(2 pi x) / 2), body force from both; E is that of each centre."""
    errors = [made_up(n) for n in (8, 16)]
    assert errors[1] < 0.012
    assert 1.85 < np.log2(errors[0] / errors[1]) < 2.15, errors


def made_up(n: int) -> float:
    nu, h = 0.3, 1 / n
    stress = stress_of(waves, graded, nu)

    def body_force(x: Tensor) -> Tensor:
        return -torch.einsum("ijj->i", jacrev(stress)(x))

    mask = np.ones((n, n, n), dtype=bool)
    cells = np.argwhere(mask)
    points = np.stack(np.meshgrid(GAUSS, GAUSS, GAUSS, indexing="ij"), -1).reshape(-1, 3)
    w = np.einsum("i,j,k->ijk", WEIGHT, WEIGHT, WEIGHT).ravel()[:, None] * shape(CORNERS, points)
    load = h**3 * np.einsum("qk,mqi->mki", w, at(body_force, (cells[:, None] + points) * h))
    force = np.zeros((n + 1, n + 1, n + 1, 3))
    np.add.at(force, tuple(np.moveaxis(cells[:, None] + CORNERS, -1, 0)), load)
    fixed = np.ones(force.shape, dtype=bool)
    fixed[1:-1, 1:-1, 1:-1] = False
    E = at(lambda x: graded(x)[None], (cells + 0.5) * h).reshape(mask.shape)
    return error_in_l2(solve_grid(E, (h, h, h), nu, fixed, 0.0, force, rtol=1e-9), mask, h, waves)

"""The voxel engine against answers known in closed form or by an independent assembly."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.brick import strain_displacement
from bonekit.fem.solve import GridSolution, solve_grid
from bonekit.meshing.voxel import BRICK_CORNERS


def positions(shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    axes = [np.arange(n + 1) * h for n, h in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def centroid_strain(solution: GridSolution, spacing: tuple[float, ...]) -> np.ndarray:
    u = solution.displacement_mm
    shape = tuple(n - 1 for n in u.shape[:3])
    corners = [
        u[tuple(slice(o, o + n) for o, n in zip(c, shape, strict=True))] for c in BRICK_CORNERS
    ]
    return np.concatenate(corners, axis=-1) @ strain_displacement(spacing).T


def compress(E: np.ndarray, spacing, nu: float, axis: int = 2, **options) -> tuple[float, object]:
    """Rollers on three faces, unit strain along an axis: the reaction over the far face."""
    nodes = tuple(n + 1 for n in E.shape)
    fixed = np.zeros((*nodes, 3), dtype=bool)
    values = np.zeros((*nodes, 3))
    for a in range(3):
        face = [slice(None)] * 3
        face[a] = 0
        fixed[(*face, a)] = True
    face = [slice(None)] * 3
    face[axis] = -1
    fixed[(*face, axis)] = True
    values[(*face, axis)] = E.shape[axis] * spacing[axis]
    if options.pop("confined", False):
        for a in range(3):
            side = [slice(None)] * 3
            side[a] = -1
            fixed[(*side, a)] = True
    solution = solve_grid(E, spacing, nu, fixed, values, **options)
    return float(solution.reaction_N[(*face, axis)].sum()), solution


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.7, 2.4)])
def test_patch(spacing: tuple[float, float, float]) -> None:
    shape = (4, 5, 6)
    A = np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 0.3], [0.7, 1.1, 3.0]]) * 1e-3
    u = positions(shape, spacing) @ A.T
    fixed = np.ones(u.shape, dtype=bool)
    fixed[1:-1, 1:-1, 1:-1] = False
    solution = solve_grid(np.full(shape, 700.0), spacing, 0.3, fixed, u, rtol=1e-12)
    shear = A + A.T
    expected = [A[0, 0], A[1, 1], A[2, 2], shear[0, 1], shear[1, 2], shear[0, 2]]
    strain = centroid_strain(solution, spacing)
    np.testing.assert_allclose(strain, np.broadcast_to(expected, strain.shape), rtol=1e-9)
    np.testing.assert_allclose(solution.displacement_mm, u, atol=1e-12)


def test_graded_bar_is_springs_in_series() -> None:
    layers = np.linspace(1000, 10000, 40)
    E = np.broadcast_to(layers, (2, 3, 40)).copy()
    force, _ = compress(E, (1.0, 1.0, 0.25), nu=0.0, rtol=1e-11)
    stress = 1.0 / np.mean(1 / layers)  # unit mean strain
    assert force == pytest.approx(6.0 * stress, rel=1e-9)


def test_graded_bar_tends_to_the_logarithm() -> None:
    """L = 10, stress 1 MPa, E from 1000 to 10000: u = ln(10) 10 / 9000."""
    errors = []
    for n in (20, 40, 80):
        E = np.broadcast_to(1000 + 9000 * (np.arange(n) + 0.5) / n, (1, 1, n)).copy()
        force, _ = compress(E, (1.0, 1.0, 10.0 / n), nu=0.0, rtol=1e-12)
        errors.append(abs(10.0 / force - 0.00255843) / 0.00255843)
    assert errors[-1] < 2.5e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)  # midpoint rule: second order


def test_confined_compression() -> None:
    force, _ = compress(np.full((3, 4, 5), 1000.0), (1.0, 0.5, 2.0), 0.3, confined=True, rtol=1e-12)
    assert force / (3 * 2 * 1000.0) == pytest.approx(1.346154, rel=1e-6)


def test_bilayers_in_series_and_in_parallel() -> None:
    E = np.full((4, 4, 4), 100.0)
    E[..., 2:] = 10000.0
    series, _ = compress(E, (1.0, 1.0, 1.0), 0.0, axis=2, rtol=1e-11)
    parallel, _ = compress(E, (1.0, 1.0, 1.0), 0.0, axis=0, rtol=1e-11)
    assert series == pytest.approx(16 * 2 / (1 / 100 + 1 / 10000), rel=1e-9)
    assert parallel == pytest.approx(8 * (100 + 10000), rel=1e-9)


def cantilever(n: int) -> float:
    """Tip deflection of a beam L = 8, b = h = 1, n bricks through its depth, end shear 1 N."""
    shape, h = (8 * n, n, n), (1 / n,) * 3
    fixed = np.zeros((8 * n + 1, n + 1, n + 1, 3), dtype=bool)
    fixed[0] = True
    force = np.zeros(fixed.shape)
    weight = np.ones(n + 1)
    weight[[0, -1]] = 0.5
    force[-1, :, :, 2] = np.outer(weight, weight) / n**2
    solution = solve_grid(np.full(shape, 1000.0), h, 0.3, fixed, 0.0, force, rtol=1e-10)
    return float(solution.displacement_mm[-1, n // 2, n // 2, 2])


def test_cantilever_converges_at_second_order() -> None:
    inertia, G = 1 / 12, 1000.0 / 2.6
    kappa = 10 * 1.3 / (12 + 11 * 0.3)
    timoshenko = 8**3 / (3 * 1000 * inertia) + 8 / (kappa * G)
    tips = [cantilever(n) for n in (2, 4, 8)]
    assert tips[0] < tips[1] < tips[2] < timoshenko  # displacement elements are too stiff
    rate = (tips[1] - tips[0]) / (tips[2] - tips[1])
    assert 3.2 < rate < 4.2  # 4, but for the singular clamped edge
    limit = tips[2] + (tips[2] - tips[1]) / 3  # Richardson, order 2
    assert limit == pytest.approx(timoshenko, rel=0.01)  # the clamped end stops warping


def loaded_block(spacing=(1.0, 1.2, 0.8)) -> tuple[np.ndarray, tuple, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    E = 10 ** rng.uniform(1, 4, (7, 6, 9))
    E[rng.random(E.shape) < 0.1] = 0.0
    E[0], E[-1], E[3, 3] = 500.0, 800.0, 50.0
    E[:, 2, 2] = 70.0
    fixed = np.zeros((8, 7, 10, 3), dtype=bool)
    fixed[0] = True
    force = np.zeros(fixed.shape)
    force[-1] = rng.standard_normal((7, 10, 3))
    return E, spacing, fixed, force


def keep_supported(E: np.ndarray) -> np.ndarray:
    from scipy.ndimage import label

    pieces = label(E > 0)[0]
    return np.where(pieces == pieces[0, 0, 0], E, 0.0)


def test_equilibrium_and_energy() -> None:
    E, spacing, fixed, force = loaded_block()
    s = solve_grid(keep_supported(E), spacing, 0.3, fixed, 0.0, force, rtol=1e-11)
    total = force.sum(axis=(0, 1, 2))
    np.testing.assert_allclose(
        s.reaction_N.sum(axis=(0, 1, 2)), -total, atol=1e-9 * abs(total).max()
    )
    work = 0.5 * (force * s.displacement_mm).sum()
    assert s.energy_Nmm == pytest.approx(work, rel=1e-9)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_axes_may_be_permuted(order: tuple[int, int, int]) -> None:
    E, spacing, fixed, force = loaded_block()
    E = keep_supported(E)
    plain = solve_grid(E, spacing, 0.3, fixed, 0.0, force, rtol=1e-11).displacement_mm
    turned = solve_grid(
        E.transpose(order),
        np.array(spacing)[list(order)],
        0.3,
        fixed.transpose(*order, 3)[..., list(order)],
        0.0,
        force.transpose(*order, 3)[..., list(order)],
        rtol=1e-11,
    ).displacement_mm
    expected = plain.transpose(*order, 3)[..., list(order)]
    np.testing.assert_allclose(turned, expected, atol=1e-8 * abs(plain).max())


def element_stiffness(spacing, nu: float) -> np.ndarray:
    """Independent of the engine: tensor-product Gauss rule, stress from Lame's constants."""
    lam, mu = nu / ((1 + nu) * (1 - 2 * nu)), 1 / (2 * (1 + nu))
    K = np.zeros((8, 3, 8, 3))
    points = (-1 / np.sqrt(3), 1 / np.sqrt(3))
    sign = 2.0 * np.array(BRICK_CORNERS) - 1
    h = np.asarray(spacing)
    for p in itertools.product(points, repeat=3):
        f = 1 + sign * np.array(p)
        g = np.stack(
            [sign[:, a] * f[:, (a + 1) % 3] * f[:, (a + 2) % 3] / 4 / h[a] for a in range(3)], 1
        )
        dot = g @ g.T
        K += lam * np.einsum("ai,bj->aibj", g, g) + mu * np.einsum("aj,bi->aibj", g, g)
        K += mu * np.einsum("ab,ij->aibj", dot, np.eye(3))
    return K.reshape(24, 24) * h.prod() / 8


def test_contrast_of_ten_thousand_against_a_direct_solve() -> None:
    shape, spacing = (8, 9, 10), (1.0, 0.8, 1.3)
    ijk = np.argwhere(np.ones(shape))
    E = np.where(ijk.sum(1) % 2, 1.0, 1e4)
    E[(abs(ijk - [4, 4, 5]) < 2).all(1)] = 1e-1
    E[ijk[:, 0] == 7] = 1e4  # a thin stiff skin
    number = np.arange(9 * 10 * 11).reshape(9, 10, 11)
    nodes = number[tuple(np.moveaxis(ijk[:, None] + BRICK_CORNERS, -1, 0))]
    dof = (3 * nodes[..., None] + np.arange(3)).reshape(-1, 24)
    K = E[:, None, None] * element_stiffness(spacing, 0.3)
    rows, columns = np.repeat(dof, 24, axis=1).ravel(), np.tile(dof, (1, 24)).ravel()
    A = sp.csr_matrix((K.ravel(), (rows, columns)))
    fixed = np.zeros((9, 10, 11, 3), dtype=bool)
    fixed[:, :, 0], fixed[:, :, -1, 2] = True, True
    values = np.zeros(fixed.shape)
    values[:, :, -1, 2] = -0.1
    u, free = values.ravel().copy(), ~fixed.ravel()
    u[free] = spsolve(A[free][:, free].tocsc(), -(A @ u)[free])
    engine = solve_grid(E.reshape(shape), spacing, 0.3, fixed, values, rtol=1e-11)
    error = np.linalg.norm(engine.displacement_mm.ravel() - u) / np.linalg.norm(u)
    assert error < 1e-7
    reaction = (A @ u).reshape(fixed.shape)[:, :, -1, 2].sum()
    assert engine.reaction_N[:, :, -1, 2].sum() == pytest.approx(reaction, rel=1e-9)


def test_threads_of_torch_are_restored() -> None:
    import torch

    before = torch.get_num_threads()
    compress(np.ones((2, 2, 2)), (1.0, 1.0, 1.0), 0.3, threads=before + 1)
    assert torch.get_num_threads() == before


def test_few_iterations_whatever_the_size() -> None:
    counts = []
    for n in (8, 16, 32):
        _, s = compress(np.full((n, n, n), 1.0), (1.0, 1.0, 1.0), 0.3, confined=True, rtol=1e-8)
        counts.append(s.iterations)
    assert max(counts) <= 15


def clamped(E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fixed = np.zeros((*(n + 1 for n in E.shape), 3), dtype=bool)
    fixed[:, :, 0] = True
    force = np.zeros(fixed.shape)
    force[0, 0, -1, 0] = 1.0
    return fixed, force


def test_a_floating_piece_is_named() -> None:
    E = np.zeros((5, 5, 5))
    E[:2, :2], E[4, 4, 3:] = 1.0, 1.0
    fixed, force = clamped(E)
    with pytest.raises(InputError, match="2 of 22 elements float"):
        solve_grid(E, (1, 1, 1), 0.3, fixed, 0.0, force)


def test_a_rigid_motion_is_refused() -> None:
    E = np.ones((3, 3, 3))
    fixed, force = clamped(E)
    fixed[:] = False
    fixed[0, 0, :] = True  # a line of nodes: it may turn
    with pytest.raises(InputError, match="1 of its 6 rigid-body"):
        solve_grid(E, (1, 1, 1), 0.3, fixed, 0.0, force)


def test_a_hinge_does_not_pass_for_an_answer() -> None:
    E = np.zeros((2, 2, 4))
    E[0, 0, :2], E[1, 1, 2:] = 1.0, 1.0  # joined at one corner
    fixed, force = clamped(E)
    force[:] = 0
    force[2, 2, 4] = 1.0
    with pytest.raises(ConvergenceError, match=r"residual.*1 parts.*hinges"):
        solve_grid(E, (1, 1, 1), 0.3, fixed, 0.0, force, max_iterations=200)


def test_too_few_iterations_is_an_error() -> None:
    E, spacing, fixed, force = loaded_block()
    with pytest.raises(ConvergenceError, match=r"after 2 iterations.*asked 1e-10"):
        solve_grid(keep_supported(E), spacing, 0.3, fixed, 0.0, force, rtol=1e-10, max_iterations=2)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_moduli_must_be_numbers(bad: float) -> None:
    E = np.ones((2, 2, 2))
    E[1, 1, 1] = bad
    fixed, force = clamped(E)
    with pytest.raises(InputError, match="1 of 8 moduli"):
        solve_grid(E, (1, 1, 1), 0.3, fixed, 0.0, force)

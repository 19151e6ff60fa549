"""Bricks of nonlinear points: stiffness, tangent operator, what is skipped, indefinite solves."""

import numpy as np
import pytest
import torch

from bonekit.fem.brick import stiffness
from bonekit.fem.gmres import flexible_gmres
from bonekit.fem.operator import Lattice
from bonekit.fem.plastic_laws import drucker_prager, j2
from bonekit.fem.tangents import NonlinearBricks, brick_stiffness, point_matrices

SPACING = np.array([1.0, 1.5, 0.8])
SHAPE = (3, 2, 4)


def bricks(law_of=None, *, bbar: bool = True) -> NonlinearBricks:
    lattice = Lattice(SHAPE)
    mask = np.ones(SHAPE, dtype=bool)
    mask[0, 0, 1] = False
    cells = lattice.number(np.argwhere(mask))
    E = np.random.default_rng(0).uniform(500, 2000, len(cells))
    law = (law_of or (lambda E: j2(E, 0.3, [0.0, 0.02], np.outer(E, [0.004, 0.003]))))(E)
    return NonlinearBricks(lattice, cells, law, SPACING, bbar=bbar)


def field(seed: int, size: float) -> torch.Tensor:
    n = Lattice(SHAPE).size
    return size * torch.randn(3, n, dtype=torch.float64, generator=torch.manual_seed(seed))


def test_full_integration_is_the_linear_engine() -> None:
    np.testing.assert_allclose(
        brick_stiffness(SPACING, 0.3, bbar=False), stiffness(SPACING, 0.3), atol=1e-14
    )


def test_bbar_keeps_rigid_motions_and_uniform_strain_and_frees_bending() -> None:
    bbar, full = point_matrices(SPACING, bbar=True), point_matrices(SPACING, bbar=False)
    volume = bbar[:, :3].sum(axis=1)
    np.testing.assert_allclose(volume, np.broadcast_to(volume[0], volume.shape), atol=1e-14)
    np.testing.assert_allclose(bbar.mean(axis=0), full.mean(axis=0), atol=1e-14)
    nearly = [brick_stiffness(SPACING, 0.4999, bbar=b) for b in (True, False)]
    # nearly incompressible: one stiff mode, that of the volume, with B-bar; six without
    stiff = [np.count_nonzero(np.linalg.eigvalsh(K) > 100.0) for K in nearly]
    assert stiff == [1, 6]
    assert np.count_nonzero(np.abs(np.linalg.eigvalsh(nearly[0])) < 1e-9) == 6


@pytest.mark.parametrize("bbar", [True, False])
def test_the_tangent_is_the_derivative_of_the_forces(bbar: bool) -> None:
    part = bricks(bbar=bbar)
    first = part.evaluate(field(0, 0.003), part.start())
    u = field(1, 0.006)
    at, direction, h = part.evaluate(u, first.state), field(2, 1.0), 1e-7
    assert 0 < len(at.busy) <= part.n
    numeric = part.evaluate(u + h * direction, first.state).force_N
    numeric = (numeric - part.evaluate(u - h * direction, first.state).force_N) / (2 * h)
    analytic = part.tangent(at)(direction)
    torch.testing.assert_close(numeric, analytic, rtol=1e-5, atol=1e-5 * float(analytic.max()))
    single = part.tangent(at, torch.float32)(direction.float())
    assert float((single - analytic).norm() / analytic.norm()) < 1e-6


def test_skipping_elastic_bricks_changes_nothing() -> None:
    part = bricks()
    u = field(3, 0.003)
    u[:, u.shape[1] // 2 :] *= 0.05
    quick = part.evaluate(u, part.start())
    assert 0 < len(quick.busy) < part.n
    law = part.law
    visited = law.update(part.strain(u), part.start())
    force = torch.zeros_like(u)
    local = part.weight * (visited.stress_MPa.reshape(-1, 48) @ part.B)
    part.scatter(local, torch.arange(part.n), force)
    torch.testing.assert_close(quick.force_N, force, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(quick.state.plastic, visited.state.plastic)
    stored = float(law.stored_energy(visited.state).sum()) * part.weight
    assert part.stored_energy(quick.state) == pytest.approx(stored, rel=1e-12)


def test_softened_moduli_fall_where_bricks_yield_only() -> None:
    part = bricks()
    u = field(3, 0.003)
    u[:, u.shape[1] // 2 :] *= 0.05
    at = part.evaluate(u, part.start())
    ratio = part.softened(at)[part.corners[:, 0]] / part.E_lattice[part.corners[:, 0]]
    calm = np.setdiff1d(np.arange(part.n), at.busy)
    assert (ratio[calm] == 1).all()
    assert ratio[at.busy].min() < 0.95
    assert (ratio >= 0.02).all()


def test_a_flow_that_is_not_associated_makes_the_tangent_unsymmetric() -> None:
    x, y = field(5, 1.0), field(6, 1.0)
    for dilatancy, symmetric in ((None, True), (0.1, False)):
        part = bricks(
            lambda E, d=dilatancy: drucker_prager(E, 0.3, 0.002 * E, 0.004 * E, dilatancy=d)
        )
        A = part.tangent(part.evaluate(field(4, 0.005), part.start()))
        forth, back = float((x * A(y)).sum()), float((y * A(x)).sum())
        assert (abs(forth - back) < 1e-9 * abs(forth)) == symmetric
        assert part.law.symmetric == symmetric


def test_gmres_solves_what_is_indefinite_and_not_symmetric() -> None:
    rng = np.random.default_rng(0)
    matrix = np.diag(np.linspace(1, 20, 60)) + 0.3 * rng.normal(size=(60, 60))
    matrix[:3, :3] *= -1
    A, b = torch.as_tensor(matrix), torch.as_tensor(rng.normal(size=60))
    diagonal = torch.as_tensor(np.linspace(1, 20, 60))
    solved, history = flexible_gmres(lambda x: A @ x, lambda r: r / diagonal, b, 1e-10, restart=40)
    torch.testing.assert_close(solved, torch.linalg.solve(A, b), rtol=1e-7, atol=1e-8)
    assert history[-1] <= 1e-10
    assert flexible_gmres(lambda x: A @ x, lambda r: r, 0 * b, 1e-8)[1] == (0.0,)

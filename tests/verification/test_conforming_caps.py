"""Rigid caps of the conforming engine beside the voxel engine, other elements and plasticity."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ElasticSupport, HexMesh
from bonekit.fem.conforming_plastic import solve_conforming_nonlinear
from bonekit.fem.conforming_problem import mesh_axes_mm
from bonekit.fem.elastic_law import Elastic
from bonekit.fem.failure import Assembly
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.model import Constraint, Load, Mesh, Model
from bonekit.fem.nonlinear import Control
from bonekit.fem.plastic_laws import j2
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

pytestmark = [
    pytest.mark.dolfinx,
    pytest.mark.skipif(not find_interpreters(), reason="no interpreter has dolfinx"),
]
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
# A cup that is pushed off its centre and turns as it likes, and a plate that is given its motion.
CUP: dict[str, Any] = {"displacement_mm": (0.0, None, -0.02), "moment_Nmm": (30.0, -20.0, 10.0)}
PLATE: dict[str, Any] = {"rotation_rad": (0.002, None, 0.0), "force_N": (1.0, 2.0, 3.0)}


def post(cup: dict[str, Any], plate: dict[str, Any]) -> Model:
    """Bricks turned in the world, clamped at the foot, with a cap on top and one at a side."""
    region = np.ones((4, 3, 6), dtype=np.uint8)
    region[1, 1, 2:4] = 0
    mesh = VoxelMesh(region, Grid.of(region.shape, (1.5, 1.0, 1.2), (10, -20, 30), TURN), {1: "b"})
    E = np.random.default_rng(1).choice([500.0, 2000.0, 5000.0], mesh.n_elements)
    i, _, k = mesh.node_ijk.T
    top, side = np.flatnonzero(k == 6), np.flatnonzero((i == 4) & (k > 1) & (k < 5))
    centre = mesh.nodes_mm[top].mean(axis=0)
    caps = (
        RigidCap("cup", top, centre + np.array([0.4, -0.3, 2.0]), **cup),
        RigidCap("plate", side, mesh.nodes_mm[side[0]], **plate),
    )
    on_cap = Load("on the cup", top[:2], np.array([[0.0, 1.0, -2.0], [0.5, 0.0, 0.0]]))
    foot = Constraint("foot", np.flatnonzero(k == 0))
    return Model(mesh, E, 0.3, (foot,), (on_cap,), (), caps)


@pytest.mark.parametrize(
    ("method", "processes"), [("direct", 1), ("cg", 1), ("cg", 2), ("direct", 2)]
)
def test_the_voxel_engine_agrees_with_caps(method: str, processes: int) -> None:
    model = post(CUP, PLATE)
    ours = solve(model, 1e-12)
    s = solve_conforming(model, 1e-12, method=method, processes=processes)  # type: ignore[arg-type]
    scale = np.abs(ours.displacement_mm).max()
    np.testing.assert_allclose(s.displacement_mm, ours.displacement_mm, atol=1e-9 * scale)
    for name, cap in ours.caps.items():
        for field in ("displacement_mm", "rotation_rad", "reaction_N", "moment_Nmm"):
            theirs, own = getattr(s.caps[name], field), getattr(cap, field)
            np.testing.assert_allclose(theirs, own, rtol=1e-8, atol=1e-8 * abs(own).max() + 1e-12)
    assert s.energy_Nmm == pytest.approx(ours.energy_Nmm, rel=1e-9)
    assert s.reaction_N.keys() == ours.reaction_N.keys()
    assert s.force_balance < 1e-9
    assert s.energy_balance < 1e-9


def tetrahedra(n: int, order: int) -> TetMesh:
    """Six of each cube of an n^3 grid in the unit cube."""
    ijk = np.stack(np.meshgrid(*3 * [np.arange(n + 1)], indexing="ij"), -1).reshape(-1, 3)
    start = np.ravel_multi_index(tuple(np.indices((n, n, n)).reshape(3, -1)), 3 * (n + 1,))
    walks = [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)]
    step = np.array([(n + 1) ** 2, n + 1, 1])
    paths = np.array([np.concatenate([[0], np.cumsum(step[list(w)])]) for w in walks])
    paths[3:] = paths[3:, [0, 2, 1, 3]]
    cells = (np.asarray(start)[:, None, None] + paths).reshape(-1, 4)
    mesh = TetMesh(ijk / n, cells, np.ones(len(cells), np.uint8))
    if order == 1:
        return mesh
    made = quadratic(mesh.nodes_mm, mesh.tetrahedra)
    return TetMesh(made.nodes_mm, made.tetrahedra, mesh.region)


def capped(mesh: Mesh, E: float, cap: dict[str, Any]) -> Model[Mesh]:
    """A cube on the ground with a cap on top."""
    x = mesh_axes_mm(mesh)
    top = RigidCap("cup", np.flatnonzero(x[:, 2] == 1), np.array([0.7, 0.5, 1.5]), **cap)
    foot = Constraint("foot", np.flatnonzero(x[:, 2] == 0))
    return Model(mesh, np.full(mesh.n_elements, E), 0.3, (foot,), caps=(top,))


@pytest.mark.parametrize(("order", "processes", "most"), [(1, 1, 26), (1, 2, 28), (2, 2, 48)])
def test_a_cap_costs_few_iterations(order: int, processes: int, most: int) -> None:
    """A free cap, pressed off its centre, of which the foot takes force and moment."""
    model = capped(tetrahedra(12 // order, order), 1000.0, {"force_N": (0.0, 0.0, -10.0)})
    s = solve_conforming(model, 1e-10, method="cg", processes=processes)
    exact = solve_conforming(model, 1e-12, method="direct")
    np.testing.assert_allclose(
        s.displacement_mm, exact.displacement_mm, atol=1e-8 * np.abs(exact.displacement_mm).max()
    )
    np.testing.assert_allclose(s.reaction_N["foot"], [0, 0, 10], atol=1e-7)
    assert s.caps["cup"].rotation_rad[1] > 0  # towards the pivot's side
    assert s.iterations < most


def test_caps_that_yield() -> None:
    """A free cap over plastic bricks; given the motion it found, it needs no moment.

    One step, so that the answer depends on where it ends only.
    """
    n = 3
    ijk = np.stack(np.meshgrid(*3 * [np.arange(n + 1)], indexing="ij"), -1).reshape(-1, 3)
    start = np.ravel_multi_index(tuple(np.indices((n, n, n)).reshape(3, -1)), 3 * (n + 1,))
    place = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    offset = np.array(place) @ np.array([(n + 1) ** 2, n + 1, 1])
    mesh = HexMesh(ijk / n, np.asarray(start)[:, None] + offset)
    law = j2(np.full(mesh.n_elements, 1000.0), 0.3, [0.0, 1.0], [10.0, 60.0])
    free = capped(mesh, 1000.0, {"displacement_mm": (None, None, -0.03)})
    s = solve_conforming_nonlinear(free, law, (1.0,), 1e-11)
    assert (s.history[..., 0] > 0).mean() > 0.5
    cup = s.caps["cup"]
    assert abs(cup.rotation_rad[1]) > 0.01
    np.testing.assert_array_equal(cup.moment_Nmm, 0.0)
    assert s.reaction_N["cup"][2] == pytest.approx(-s.reaction_N["foot"][2], rel=1e-9)
    motion = {
        "displacement_mm": tuple(cup.displacement_mm),
        "rotation_rad": tuple(cup.rotation_rad),
    }
    for processes in (1, 2):
        given = solve_conforming_nonlinear(
            capped(mesh, 1000.0, motion), law, (1.0,), 1e-11, processes=processes
        )
        np.testing.assert_allclose(given.displacement_mm, s.displacement_mm, atol=1e-10)
        np.testing.assert_allclose(given.caps["cup"].moment_Nmm, 0.0, atol=1e-8)
        np.testing.assert_allclose(given.reaction_N["cup"], s.reaction_N["cup"], atol=1e-8)


def test_an_elastic_law_gives_the_linear_answer_with_caps() -> None:
    model = post(CUP, PLATE)
    linear = solve_conforming(model, 1e-12)
    law = Elastic(model.E_MPa, 0.3)
    s = solve_conforming_nonlinear(model, law, (0.4, 1.0), 1e-12, bbar=False)
    scale = np.abs(linear.displacement_mm).max()
    np.testing.assert_allclose(s.displacement_mm, linear.displacement_mm, atol=1e-10 * scale)
    assert s.work_Nmm[-1] == pytest.approx(linear.energy_Nmm, rel=1e-9)
    np.testing.assert_allclose(
        s.caps["cup"].reaction_N, linear.caps["cup"].reaction_N, rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("on_springs", [False, True], ids=["clamped", "springs"])
@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "moved"])
def test_the_voxel_engine_agrees_with_caps_over_yielding_bricks(
    pushed: bool, on_springs: bool
) -> None:
    """The same bricks, law and steps."""
    if pushed:
        model = post(
            {"force_N": (1.0, 0.0, -40.0), "moment_Nmm": (30.0, -20.0, 10.0)},
            {"force_N": (4, 2, 3)},
        )
    else:
        turned = {"displacement_mm": (0.0, None, -0.04), "rotation_rad": (0.01, None, None)}
        model = replace(post(turned, {"rotation_rad": (0.002, None, 0.0)}), loads=())
    if on_springs:
        springs = ElasticSupport("foot", model.constraints[0].nodes, (200.0, 100.0, 400.0))
        model = replace(model, constraints=(), supports=(springs,))
    law = j2(model.E_MPa, 0.3, [0.0, 1.0], [4.0, 200.0])
    theirs = solve_conforming_nonlinear(model, law, (0.5, 1.0), 1e-11)
    assert len(theirs.factors) == 3  # no step was cut
    problem = Assembly.of(model, law, 1e-11, bbar=True, device=torch.device("cpu"))
    point = problem.equilibrium.rest()
    for factor in (0.5, 1.0):
        point = problem.equilibrium.advance(point, Control(), factor)
    u, held = problem.nodes_mm(point), problem.supported(point)
    assert (theirs.history[..., 0] > 0).mean() > 0.3
    np.testing.assert_allclose(u, theirs.displacement_mm, atol=1e-8 * np.abs(u).max())
    for name, cap in held.caps.items():
        for field in ("displacement_mm", "rotation_rad", "reaction_N", "moment_Nmm"):
            own, other = getattr(cap, field), getattr(theirs.caps[name], field)
            np.testing.assert_allclose(other, own, atol=1e-7 * abs(own).max() + 1e-9)
    for name, reaction in held.reaction_N.items():
        np.testing.assert_allclose(theirs.reaction_N[name], reaction, atol=1e-7)
    assert held.force_balance < 1e-9
    stored = problem.equilibrium.stored_energy(point)
    assert stored == pytest.approx(theirs.stored_Nmm, rel=1e-8)

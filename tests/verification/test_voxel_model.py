"""Supports, caps, pressures, Poisson ratios and load cases of the voxel engine, in closed form."""

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem import memory
from bonekit.fem.caps import RigidCap, outer_faces
from bonekit.fem.conforming_model import ElasticSupport, pressure_load
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.solve import solve, solve_cases, solve_grid
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

E_MPA = 1000.0


def beam(shape=(4, 4, 16), spacing=(0.5, 0.5, 0.5)) -> VoxelMesh:
    return VoxelMesh(np.ones(shape, dtype=np.uint8), Grid.of(shape, spacing), {1: "bone"})


def layer(mesh: VoxelMesh, k: int) -> np.ndarray:
    return np.flatnonzero(mesh.node_ijk[:, 2] == k)


def uniform(mesh: VoxelMesh, nu, constraints=(), loads=(), caps=(), supports=()) -> Model:
    E = np.full(mesh.n_elements, E_MPA)
    return Model(mesh, E, nu, tuple(constraints), tuple(loads), tuple(supports), tuple(caps))


def end_cap(mesh: VoxelMesh, **kw) -> RigidCap:
    top = layer(mesh, mesh.node_ijk[:, 2].max())
    return RigidCap("head", top, mesh.nodes_mm[top].mean(axis=0), **kw)


def bent(n: int) -> float:
    """Rotation of the end under an end moment over M L / E I."""
    mesh = beam((n, n, 4 * n), (2 / n, 2 / n, 2 / n))
    cap = end_cap(mesh, moment_Nmm=(50.0, 0.0, 0.0))
    model = uniform(mesh, 0.0, constraints=[Constraint("foot", layer(mesh, 0))], caps=[cap])
    s = solve(model, 1e-10)
    np.testing.assert_allclose(s.reaction_N["foot"], 0, atol=1e-7)
    assert s.energy_balance < 1e-8
    assert s.energy_Nmm == pytest.approx(0.5 * 50.0 * s.caps["head"].rotation_rad[0], rel=1e-8)
    return float(s.caps["head"].rotation_rad[0]) / (50.0 * 8.0 / (E_MPA * 2.0**4 / 12))


def test_moment_on_a_cap_bends_a_beam() -> None:
    """nu = 0: theta = M L / E I; trilinear bricks are too stiff by 1/n^2."""
    two, four = bent(2), bent(4)
    assert two < four < 1
    assert (1 - two) / (1 - four) == pytest.approx(4.0, rel=0.25)
    assert four + (four - two) / 3 == pytest.approx(1.0, abs=0.01)


def test_a_cap_stretches_a_bar() -> None:
    mesh = beam()
    cap = end_cap(mesh, displacement_mm=(None, None, 0.08))
    s = solve(uniform(mesh, 0.0, constraints=[Constraint("foot", layer(mesh, 0))], caps=[cap]))
    assert s.reaction_N["head"][2] == pytest.approx(E_MPA * 4 * 0.01, rel=1e-8)
    np.testing.assert_allclose(s.caps["head"].rotation_rad, 0, atol=1e-9)
    assert s.force_balance < 1e-8


def test_a_pivot_transmits_no_moment_and_a_clamp_does() -> None:
    mesh = beam()
    foot = Constraint("foot", layer(mesh, 0))
    moved = (0.1, 0.0, 0.0)
    free = end_cap(mesh, displacement_mm=moved)
    clamp = end_cap(mesh, displacement_mm=moved, rotation_rad=(0.0, 0.0, 0.0))
    pivoted = solve(uniform(mesh, 0.3, constraints=[foot], caps=[free]), 1e-10).caps["head"]
    clamped = solve(uniform(mesh, 0.3, constraints=[foot], caps=[clamp]), 1e-10).caps["head"]
    np.testing.assert_array_equal(pivoted.moment_Nmm, 0)
    assert abs(pivoted.rotation_rad[1]) > 0.01
    # a beam held at both ends: M = F L / 2, and four times the force but for shear
    assert abs(clamped.moment_Nmm[1]) == pytest.approx(abs(clamped.reaction_N[0]) * 4, rel=1e-6)
    assert 3 < clamped.reaction_N[0] / pivoted.reaction_N[0] < 4


def test_a_load_on_a_cap_goes_to_its_pivot() -> None:
    """Forces on nodes of a cap do what their sum and moment do; none is lost."""
    mesh = beam()
    foot, top = Constraint("foot", layer(mesh, 0)), layer(mesh, 16)
    force = np.zeros((len(top), 3))
    force[0], force[-1] = (1.0, 0.0, -2.0), (0.0, 0.5, 0.0)
    cap = end_cap(mesh)
    moment = np.cross(cap.arms_mm(mesh), force).sum(axis=0)
    by_nodes = uniform(mesh, 0.3, (foot,), (Load("on", top, force),), (cap,))
    pivot = end_cap(mesh, force_N=tuple(force.sum(axis=0)), moment_Nmm=tuple(moment))
    a, b = solve(by_nodes, 1e-10), solve(uniform(mesh, 0.3, (foot,), (), (pivot,)), 1e-10)
    scale = np.abs(b.displacement_mm).max()
    np.testing.assert_allclose(a.displacement_mm, b.displacement_mm, atol=1e-9 * scale)
    np.testing.assert_allclose(a.reaction_N["foot"], -force.sum(axis=0), atol=1e-8)
    assert a.force_balance < 1e-8


def test_a_rigid_rotation_of_a_cap_strains_nothing() -> None:
    mesh = beam((3, 3, 3))
    pivot = np.array([5.0, -2.0, 1.0])
    turn = (1e-3, -2e-3, 3e-3)
    parts = [
        RigidCap(name, layer(mesh, k), pivot, (0.1, 0.2, 0.3), turn)
        for name, k in (("foot", 0), ("head", 3))
    ]
    s = solve(uniform(mesh, 0.3, caps=parts), 1e-12)
    expected = np.array([0.1, 0.2, 0.3]) + np.cross(turn, mesh.nodes_mm - pivot)
    np.testing.assert_allclose(s.displacement_mm, expected, atol=1e-12)
    np.testing.assert_allclose(s.strain, 0, atol=1e-12)


def test_springs_and_pressure_in_series() -> None:
    """Uniaxial bar on springs: u = p A / k at its foot, and p L / E more at its top."""
    mesh = beam()
    nodes = mesh.node_ijk * 0.5
    pressure = pressure_load("press", nodes, outer_faces(mesh, (0, 0, 1)), 2.0)
    np.testing.assert_allclose(pressure.force_N.sum(axis=0), [0, 0, -8.0], atol=1e-12)
    foot = outer_faces(mesh, (0, 0, -1))
    share = pressure_load("unit", nodes, foot, 1.0)  # spread as the faces' areas are
    k = np.zeros((len(share.nodes), 3))
    k[:, 2] = 10.0 * share.force_N[:, 2]  # 40 N/mm in all
    sides = [Constraint("x", np.flatnonzero(nodes[:, 0] == 0), (0,))]
    sides += [Constraint("y", np.flatnonzero(nodes[:, 1] == 0), (1,))]
    model = uniform(
        mesh,
        0.3,
        constraints=sides,
        supports=[ElasticSupport("ground", share.nodes, k)],
        loads=[pressure],
    )
    s = solve(model, 1e-11)
    np.testing.assert_allclose(s.displacement_mm[layer(mesh, 0), 2], -8 / 40, rtol=1e-8)
    np.testing.assert_allclose(
        s.displacement_mm[layer(mesh, 16), 2], -8 / 40 - 2 * 8 / E_MPA, rtol=1e-8
    )
    assert s.reaction_N["ground"][2] == pytest.approx(8.0, rel=1e-8)
    assert s.force_balance < 1e-8
    assert s.energy_balance < 1e-8


def test_poisson_of_each_brick() -> None:
    """Layers in confined compression are springs in series of stiffness E M(nu)."""
    shape = (2, 3, 6)
    nu = np.broadcast_to(np.linspace(-0.2, 0.45, 6), shape)
    E = np.broadcast_to(np.linspace(500, 900, 6), shape)
    fixed = np.zeros((3, 4, 7, 3), dtype=bool)
    fixed[[0, -1], :, :, 0] = fixed[:, [0, -1], :, 1] = fixed[:, :, [0, -1], 2] = True
    values = np.zeros(fixed.shape)
    values[:, :, -1, 2] = -0.06
    s = solve_grid(E, (1, 1, 1), nu, fixed, values, rtol=1e-11)
    modulus = (E * (1 - nu) / ((1 + nu) * (1 - 2 * nu)))[0, 0]
    force = s.reaction_N[:, :, -1, 2].sum()
    assert force == pytest.approx(-0.06 * 6 / (1 / modulus).sum(), rel=1e-8)
    assert s.iterations < 25


def test_poisson_of_one_value_is_that_of_all() -> None:
    mesh = beam((3, 3, 4))
    held = [Constraint("foot", layer(mesh, 0)), Constraint("head", layer(mesh, 4), (0, 2), 0.01)]
    one = solve(uniform(mesh, 0.3, constraints=held), 1e-12)
    nu = np.full(mesh.n_elements, 0.3)
    nu[0] = 0.3 + 1e-13  # the way of two unit stiffnesses
    two = solve(uniform(mesh, nu, constraints=held), 1e-12)
    np.testing.assert_allclose(two.displacement_mm, one.displacement_mm, atol=1e-8)
    np.testing.assert_allclose(two.sed_MPa, one.sed_MPa, rtol=1e-6)


def test_cases_together_are_cases_apart() -> None:
    mesh = beam((4, 4, 8))
    foot, top = Constraint("foot", layer(mesh, 0)), layer(mesh, 8)
    forces = [(1.0, 0, 0), (0, 0, -5.0), (2.0, 0, 5.0)]
    models = [
        uniform(mesh, 0.3, constraints=[foot], loads=[Load("hip", top, np.tile(f, (25, 1)))])
        for f in forces
    ]
    together = solve_cases(models, 1e-9)
    for model, s in zip(models, together, strict=True):
        alone = solve(model, 1e-9)
        np.testing.assert_allclose(s.displacement_mm, alone.displacement_mm, atol=1e-8)
    assert together[2].iterations < 0.5 * together[0].iterations  # a combination of the others
    assert len(together[0].history) == together[0].iterations + 1


def test_cases_must_share_their_supports() -> None:
    mesh = beam((2, 2, 2))
    load = [Load("hip", layer(mesh, 2), np.ones((9, 3)))]
    a = uniform(mesh, 0.3, constraints=[Constraint("foot", layer(mesh, 0))], loads=load)
    b = uniform(mesh, 0.3, constraints=[Constraint("head", layer(mesh, 1))], loads=load)
    with pytest.raises(InputError, match="case 1 differs from the first in the components"):
        solve_cases([a, b])


def test_free_motions_are_named() -> None:
    mesh = beam((2, 2, 2))
    cap = end_cap(mesh, displacement_mm=(0.0, 0.0, 0.0))
    turns = "rotation about axis 0, rotation about axis 1, rotation about axis 2"
    with pytest.raises(InputError, match=f"3 of its 6 rigid-body motions: {turns}"):
        solve(uniform(mesh, 0.3, caps=[cap]))
    slide = [Constraint("foot", layer(mesh, 0), (0, 2))]
    with pytest.raises(InputError, match="1 of its 6 rigid-body motions: translation along axis 1"):
        solve(uniform(mesh, 0.3, constraints=slide))


def test_a_node_follows_one_master() -> None:
    mesh = beam((2, 2, 2))
    cap, held = end_cap(mesh), Constraint("foot", layer(mesh, 2)[:2])
    with pytest.raises(InputError, match="2 nodes of cap 'head' are also held by a constraint"):
        solve(uniform(mesh, 0.3, caps=[cap], constraints=[held]))
    line = RigidCap("line", layer(mesh, 2)[:3], np.zeros(3))
    with pytest.raises(InputError, match="3 nodes of cap 'line' lie in one line"):
        solve(uniform(mesh, 0.3, caps=[line], constraints=[Constraint("foot", layer(mesh, 0))]))


@pytest.mark.parametrize("nu", [0.5, np.nan, -1.0])
def test_poisson_is_checked(nu: float) -> None:
    mesh = beam((2, 2, 2))
    values = np.full(mesh.n_elements, 0.3)
    values[3] = nu
    with pytest.raises(InputError, match=r"between -1 and 0.5, got .* in 1 of 8"):
        uniform(mesh, values, constraints=[Constraint("foot", layer(mesh, 0))])


@pytest.mark.parametrize(
    ("there", "advice"),
    [(1.0001e8, r"bricks of 0.94 mm instead of 0.50"), (1e4, "free some memory")],
)
def test_a_model_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, there: float, advice: str
) -> None:
    mesh = beam((4, 4, 4))
    monkeypatch.setattr(memory, "available_bytes", lambda device: there)
    with pytest.raises(InputError, match=rf"64 elements need about .* GB .*{advice}"):
        solve(uniform(mesh, 0.3, constraints=[Constraint("foot", layer(mesh, 0))]))

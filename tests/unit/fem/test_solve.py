import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.model import Constraint, Load, Model, Solution
from bonekit.fem.solve import solve, solve_grid
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh


@pytest.fixture
def mesh() -> VoxelMesh:
    region = np.zeros((6, 6, 8), dtype=np.uint8)
    region[1:5, 1:5, :6] = 1  # void around it: node numbers are not lattice numbers
    return VoxelMesh(region, Grid.of((6, 6, 8), (1.0, 0.5, 2.0)), {1: "bone"})


def layer(mesh: VoxelMesh, k: int) -> np.ndarray:
    return np.flatnonzero(mesh.node_ijk[:, 2] == k)


def bar(mesh: VoxelMesh, *loads: Load, top: float | None = None, **kw: float) -> Solution:
    held = [Constraint("distal", layer(mesh, 0))]
    if top is not None:
        held.append(Constraint("head", layer(mesh, 6), (2,), top))
    rng = np.random.default_rng(1)
    E = rng.uniform(100, 2000, mesh.n_elements)
    return solve(Model(mesh, E, 0.3, tuple(held), loads), rtol=1e-11, **kw)


def test_a_pulled_bar_balances(mesh: VoxelMesh) -> None:
    top = layer(mesh, 6)
    force = np.tile([3.0, -2.0, 10.0], (top.size, 1)) / top.size
    s = bar(mesh, Load("hip", top, force))
    np.testing.assert_allclose(s.reaction_N["distal"], [-3, 2, -10], atol=1e-8)
    work = 0.5 * float((force * s.displacement_mm[top]).sum())
    assert s.energy_Nmm == pytest.approx(work, rel=1e-9)
    assert s.force_balance < 1e-9
    assert s.energy_balance < 1e-9
    assert 0 < s.residual <= 1e-11
    assert 0 < s.iterations < 40


def test_a_pressed_bar_balances(mesh: VoxelMesh) -> None:
    s = bar(mesh, top=-0.1)
    assert s.reaction_N["head"][2] < 0  # the support pushes down
    np.testing.assert_allclose(s.reaction_N["head"][:2], 0)
    assert s.reaction_N["distal"][2] == pytest.approx(-s.reaction_N["head"][2], rel=1e-8)
    assert s.energy_Nmm == pytest.approx(0.5 * -0.1 * s.reaction_N["head"][2], rel=1e-9)
    assert s.force_balance < 1e-9


def test_balances_show_an_unfinished_solve(mesh: VoxelMesh) -> None:
    held = (Constraint("distal", layer(mesh, 0)), Constraint("head", layer(mesh, 6), (2,), -0.1))
    s = solve(Model(mesh, np.full(mesh.n_elements, 100.0), 0.3, held), rtol=1e-2)
    assert s.residual > 1e-6
    assert s.force_balance > 1e-9  # CG keeps the energy balance at every step


def test_energy_density_is_that_of_the_centroid(mesh: VoxelMesh) -> None:
    E = np.full(mesh.n_elements, 1000.0)
    free = (
        Constraint("distal", layer(mesh, 0), (2,)),
        Constraint("head", layer(mesh, 6), (2,), -0.12),
        Constraint("corner", np.array([0]), (0, 1)),
        Constraint("edge", np.array([layer(mesh, 0)[1]]), (0,)),
    )
    s = solve(Model(mesh, E, 0.3, free), rtol=1e-12)
    expected = [0.003, 0.003, -0.01, 0, 0, 0]
    np.testing.assert_allclose(s.strain, np.tile(expected, (mesh.n_elements, 1)), atol=1e-9)
    np.testing.assert_allclose(s.sed_MPa, 0.5 * 1000 * 0.01**2, rtol=1e-7)


def test_constraints_that_disagree_are_refused(mesh: VoxelMesh) -> None:
    top = layer(mesh, 6)
    held = (
        Constraint("distal", layer(mesh, 0)),
        Constraint("cup", top, (2,), -0.1),
        Constraint("cement", top[:3], (2,), 0.0),
    )
    with pytest.raises(InputError, match=r"'cup' and 'cement'.*3 components"):
        solve(Model(mesh, np.ones(mesh.n_elements), 0.3, held))


def test_progress_is_reported(mesh: VoxelMesh) -> None:
    seen: list[tuple[int, float]] = []
    s = bar(mesh, top=-0.1, progress=lambda i, r: seen.append((i, r)))
    assert [i for i, _ in seen] == list(range(1, s.iterations + 1))
    assert seen[-1][1] == s.residual


def test_a_similar_solution_is_a_good_start(mesh: VoxelMesh) -> None:
    E = np.linspace(1000.0, 3000.0, mesh.n_elements)
    fixed = Constraint("bottom", layer(mesh, 0), (0, 1, 2))
    top = layer(mesh, 6)
    force = Load("top", top, np.tile((10.0, 0.0, -100.0), (len(top), 1)))

    def model(E: np.ndarray) -> Model:
        return Model(mesh, E, 0.3, (fixed,), (force,))

    first = solve(model(E), 1e-10)
    again = solve(model(E), 1e-8, start=first)
    assert again.iterations == 0
    # moduli all doubled: the start is scaled to the least energy, which is the solution
    half = solve(model(2 * E), 1e-8, start=first)
    assert half.iterations == 0
    np.testing.assert_allclose(half.displacement_mm, first.displacement_mm / 2, atol=1e-9)
    other = solve(model(E**1.01), 1e-6, start=first)
    assert 0 < other.iterations < solve(model(E**1.01), 1e-6).iterations
    np.testing.assert_allclose(
        other.reaction_N["bottom"], first.reaction_N["bottom"], rtol=1e-5, atol=1e-3
    )


def test_a_grid_keeps_the_nodes_of_bricks_and_what_is_prescribed_beside_them() -> None:
    E = np.zeros((4, 3, 5))
    E[1:3, :2, :4] = 100.0
    fixed = np.zeros((5, 4, 6, 3), dtype=bool)
    values = np.zeros(fixed.shape)
    fixed[:, :, [0, 4]] = True
    values[1:4, :3, 4, 2] = -0.1
    fixed[0, 3, 5, 1], values[0, 3, 5, 1] = True, 7.0  # in the void
    s = solve_grid(E, (1, 1, 1), 0.0, fixed, values)
    assert s.kept.sum() == 3 * 3 * 5 + 1
    assert s.displacement_mm.shape == s.reaction_N.shape == fixed.shape
    assert s.displacement_mm[0, 3, 5].tolist() == [0.0, 7.0, 0.0]
    np.testing.assert_allclose(s.displacement_mm[1:4, :3, 2, 2], -0.05, rtol=1e-7)
    assert s.reaction_N[..., 4, 2].sum() == pytest.approx(-100 * 4 * 0.1 / 4, rel=1e-7)
    assert not s.reaction_N[~s.kept].any()

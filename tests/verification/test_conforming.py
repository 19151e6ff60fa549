"""The conforming engine against closed forms, the voxel engine, and itself on two processes."""

import itertools

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.conforming import ConformingSolution, solve_conforming
from bonekit.fem.conforming_model import (
    ElasticSupport,
    HexMesh,
    pressure_load,
)
from bonekit.fem.conforming_problem import mesh_axes_mm
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.model import Constraint, Load, Mesh, Model
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.quadrature import rule, volume_factor
from bonekit.meshing.quality import TETRA_FACES, boundary_faces
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import BRICK_CORNERS, VoxelMesh

pytestmark = [
    pytest.mark.dolfinx,
    pytest.mark.skipif(
        not find_interpreters(), reason="dolfinx not found: apt-get install python3-dolfinx-real"
    ),
]
A = np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 0.3], [0.7, 1.1, 3.0]]) * 1e-3
STRAIN = [A[0, 0], A[1, 1], A[2, 2], A[0, 1] + A[1, 0], A[1, 2] + A[2, 1], A[0, 2] + A[2, 0]]


def bricks(n: int, jitter: float = 0.0) -> HexMesh:
    """The unit cube in n**3 hexahedra, inner nodes moved by a part of the edge."""
    ijk = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = np.array(list(itertools.product(range(n), repeat=3)))
    corner = cells[:, None] + BRICK_CORNERS
    elements = (corner[..., 0] * (n + 1) + corner[..., 1]) * (n + 1) + corner[..., 2]
    inner = ((ijk > 0) & (ijk < n)).all(axis=1)
    move = np.random.default_rng(2).uniform(-jitter, jitter, ijk.shape) * inner[:, None]
    return HexMesh((ijk + move) / n, elements)


def tetrahedra(n: int, jitter: float = 0.2) -> TetMesh:
    """Each of those bricks in six (Kuhn's subdivision: neighbours conform)."""
    mesh = bricks(n, jitter)
    place = {tuple(c): i for i, c in enumerate(BRICK_CORNERS.tolist())}
    parts = []
    for order in itertools.permutations(range(3)):
        path = np.cumsum(np.vstack([np.zeros(3, int), np.eye(3, dtype=int)[list(order)]]), axis=0)
        rows = mesh.elements[:, [place[tuple(c)] for c in path.tolist()]]
        odd = np.linalg.det(np.diff(path, axis=0)) < 0
        parts.append(rows[:, [0, 2, 1, 3]] if odd else rows)
    cells = np.concatenate(parts)
    return TetMesh(mesh.nodes_mm, cells, np.ones(len(cells), np.uint8))


def ten_nodes(mesh: TetMesh, bow: float = 0.0) -> TetMesh:
    """Middles of edges added, those inside moved: curved edges."""
    made = quadratic(mesh.nodes_mm, mesh.tetrahedra)
    nodes = made.nodes_mm.copy()
    middle = np.arange(len(nodes)) >= mesh.n_nodes
    inside = middle & ((nodes > 1e-9) & (nodes < 1 - 1e-9)).all(axis=1)
    nodes[inside] += np.random.default_rng(4).uniform(-bow, bow, (inside.sum(), 3))
    return TetMesh(nodes, made.tetrahedra, mesh.region)


MESHES = {
    "tetrahedra-4": tetrahedra(3),
    "tetrahedra-10": ten_nodes(tetrahedra(3)),
    "tetrahedra-10-curved": ten_nodes(tetrahedra(3), 0.03),
    "hexahedra-distorted": bricks(3, 0.2),
}


def on_faces(x: np.ndarray) -> np.ndarray:
    return np.flatnonzero(((x < 1e-9) | (x > 1 - 1e-9)).any(axis=1))


@pytest.mark.parametrize("method", ["direct", "cg"])
@pytest.mark.parametrize("name", [name for name in MESHES if "curved" not in name])
def test_patch(name: str, method: str) -> None:
    """A linear displacement of the surface is that of the inside: node order and rule are right."""
    mesh = MESHES[name]
    expected = mesh.nodes_mm @ A.T
    surface = on_faces(mesh.nodes_mm)
    assert mesh.n_nodes - surface.size >= 8
    held = Constraint("surface", surface, displacement_mm=expected[surface])
    model = Model(mesh, np.full(mesh.n_elements, 700.0), 0.3, (held,))
    s = solve_conforming(model, 1e-12, method=method)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(s.displacement_mm, expected, atol=1e-10 * scale)
    np.testing.assert_allclose(s.strain, np.tile(STRAIN, (mesh.n_elements, 1)), atol=1e-10 * scale)
    np.testing.assert_allclose(s.mean_strain, s.strain, atol=1e-10 * scale)
    assert s.energy_balance < 1e-10
    assert s.iterations > (3 if method == "cg" else 0)


def test_curved_edges_pass_the_patch_test_to_the_square_of_their_bow() -> None:
    """Four points, as C3D10 has: what they miss of a constant stress has the bow twice in it."""
    straight = tetrahedra(3)
    off = []
    for bow in (0.03, 0.015):  # on edges of a third
        mesh = ten_nodes(straight, bow)
        expected = mesh.nodes_mm @ A.T
        surface = on_faces(mesh.nodes_mm)
        held = Constraint("surface", surface, displacement_mm=expected[surface])
        s = solve_conforming(Model(mesh, np.full(mesh.n_elements, 700.0), 0.3, (held,)), 1e-12)
        off.append(np.abs(s.displacement_mm - expected).max() / np.abs(expected).max())
        assert s.energy_balance < 1e-10
    assert off[0] < 2e-4, off
    assert 3.5 < off[0] / off[1] < 4.5, off


def loaded(mesh: TetMesh | HexMesh) -> Model[Mesh]:
    """Moduli over two decades, plates, springs, a pressure and forces."""
    x = mesh.nodes_mm
    rng = np.random.default_rng(7)
    k = mesh.elements.shape[1]
    faces = {4: TETRA_FACES, 10: TETRA_FACES}.get(k)
    loads = [Load("side", np.flatnonzero(x[:, 0] > 1 - 1e-9), np.array([0.0, 3.0, 1.0]))]
    loads = [Load(p.name, p.nodes, np.tile(p.force_N, (p.nodes.size, 1))) for p in loads]
    if k == 4 and faces is not None:
        outer = boundary_faces(mesh.elements, TETRA_FACES)
        loads.append(pressure_load("p", x, outer[(x[outer][..., 1] > 1 - 1e-9).all(axis=1)], 2.0))
    return Model(
        mesh,
        10 ** rng.uniform(2, 4, mesh.n_elements),
        rng.uniform(0.1, 0.4, mesh.n_elements),
        (
            Constraint("bottom", np.flatnonzero(x[:, 2] < 1e-9), (2,)),
            Constraint(
                "plate", np.flatnonzero(x[:, 2] > 1 - 1e-9), (0, 2), np.array([0.01, -0.02])
            ),
        ),
        tuple(loads),
        (ElasticSupport("bed", np.flatnonzero(x[:, 1] < 1e-9), np.array([0.0, 40.0, 5.0])),),
    )


@pytest.mark.parametrize("name", MESHES)
def test_forces_and_energies_balance(name: str) -> None:
    s = solve_conforming(loaded(MESHES[name]), 1e-11)
    assert s.force_balance < 1e-9
    assert s.energy_balance < 1e-9
    assert s.residual <= 1e-11
    assert np.abs(s.reaction_N["bed"]).min() >= 0
    assert s.reaction_N["bed"][0] == 0
    assert abs(s.reaction_N["bed"][1]) > 0.1


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_same_answer(processes: int) -> None:
    model = loaded(MESHES["tetrahedra-10"])
    one, two = (solve_conforming(model, 1e-12, method="cg", processes=n) for n in (1, processes))
    assert (one.processes, two.processes) == (1, processes)
    scale = np.abs(one.displacement_mm).max()
    np.testing.assert_allclose(one.displacement_mm, two.displacement_mm, atol=1e-9 * scale)
    np.testing.assert_allclose(one.sed_MPa, two.sed_MPa, rtol=1e-7)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("order", "most"), [(1, 26), (2, 45)])
def test_stiff_and_soft_side_by_side_cost_few_iterations(
    order: int, most: int, processes: int
) -> None:
    """Moduli over three decades; elements of ten nodes have those of four below them."""
    mesh = tetrahedra(8) if order == 1 else ten_nodes(tetrahedra(5))
    E = 10 ** np.random.default_rng(3).uniform(1, 4, mesh.n_elements)
    held = (
        Constraint("bottom", np.flatnonzero(mesh.nodes_mm[:, 2] < 1e-9)),
        Constraint("top", np.flatnonzero(mesh.nodes_mm[:, 2] > 1 - 1e-9), (1, 2), -0.01),
    )
    model = Model(mesh, E, 0.3, held)
    s = solve_conforming(model, 1e-8, method="cg", processes=processes)
    assert s.residual < 1e-8
    assert 5 < s.iterations <= most


@pytest.mark.skipif(
    not find_interpreters()
    or [int(n) for n in find_interpreters()[0].dolfinx.split(".")[:2]] < [0, 7],
    reason="dolfinx before 0.7 always has PETSc; scripts/dolfinx_chroots.sh makes later ones",
)
@pytest.mark.parametrize("method", ["direct", "cg"])
@pytest.mark.parametrize("name", MESHES)
def test_without_petsc(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SciPy's factorisation or pyamg where dolfinx came without petsc4py."""
    model = loaded(MESHES[name])
    expected = solve_conforming(model, 1e-11)
    monkeypatch.setenv("BONEKIT_PETSC", "no")
    s = solve_conforming(model, 1e-10, method=method)
    scale = np.abs(expected.displacement_mm).max()
    np.testing.assert_allclose(s.displacement_mm, expected.displacement_mm, atol=1e-7 * scale)
    with pytest.raises(InputError, match="one process only"):
        solve_conforming(model, processes=2)


def test_the_voxel_engine_agrees_on_bricks() -> None:
    """The same hexahedra, anisotropic and turned, a hole, moduli over two decades."""
    region = np.ones((6, 5, 7), dtype=np.uint8)
    region[2:4, 1:3, 2:5] = 0
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    mesh = VoxelMesh(region, Grid.of(region.shape, (1.0, 0.7, 1.6), (5, 9, -3), turn), {1: "bone"})
    k, i = mesh.node_ijk[:, 2], mesh.node_ijk[:, 0]
    side = np.flatnonzero((i == 6) & (k == 3))
    model = Model(
        mesh,
        10 ** np.random.default_rng(1).uniform(2, 4, mesh.n_elements),
        0.35,
        (
            Constraint("bottom", np.flatnonzero(k == 0)),
            Constraint("top", np.flatnonzero(k == 7), (0, 2), np.array([0.02, -0.05])),
        ),
        (Load("side", side, np.tile([0.0, 30.0, 5.0], (side.size, 1))),),
    )
    voxel, conforming = solve(model, 1e-12), solve_conforming(model, 1e-12)
    scale = np.abs(voxel.displacement_mm).max()
    np.testing.assert_allclose(conforming.displacement_mm, voxel.displacement_mm, atol=1e-8 * scale)
    np.testing.assert_allclose(conforming.sed_MPa, voxel.sed_MPa, rtol=1e-7)
    assert conforming.energy_Nmm == pytest.approx(voxel.energy_Nmm, rel=1e-10)
    for name, reaction in voxel.reaction_N.items():
        np.testing.assert_allclose(conforming.reaction_N[name], reaction, atol=1e-8 * 30)


def manufactured(mesh: TetMesh) -> float:
    """Error in L2 of u = (w, 0, 0), w = sin(pi x) sin(pi y) sin(2 pi z)^2, where E jumps tenfold.

    At z = 1/2, where E jumps, displacement and strain vanish, so that forces are in balance there.
    """
    nu, pi = 0.3, np.pi
    lam, mu = nu / ((1 + nu) * (1 - 2 * nu)), 1 / (2 * (1 + nu))

    def field(x: np.ndarray) -> np.ndarray:
        return np.sin(pi * x[..., 0]) * np.sin(pi * x[..., 1]) * np.sin(2 * pi * x[..., 2]) ** 2

    def body_force(x: np.ndarray) -> np.ndarray:
        """For E = 1: -(lam + mu) grad div u - mu laplace u."""
        sx, sy, sz = np.sin(pi * x[..., 0]), np.sin(pi * x[..., 1]), np.sin(2 * pi * x[..., 2]) ** 2
        cx, cy = pi * np.cos(pi * x[..., 0]), pi * np.cos(pi * x[..., 1])
        cz, czz = (k * pi * f(4 * pi * x[..., 2]) for k, f in ((2, np.sin), (8 * pi, np.cos)))
        f = -(lam + mu) * np.stack([-(pi**2) * sx * sy * sz, cx * cy * sz, cx * sy * cz], axis=-1)
        f[..., 0] -= mu * sx * sy * (czz - 2 * pi**2 * sz)
        return f

    gauss = rule(mesh.elements.shape[1], 4)
    x = mesh.nodes_mm[mesh.elements]
    at = np.einsum("qk,mkx->mqx", gauss.shape, x)
    w = volume_factor(x, gauss.gradient) * gauss.weights
    E = np.where(mesh.centres_mm[:, 2] < 0.5, 1.0, 10.0)
    force = np.zeros((mesh.n_nodes, 3))
    load = np.einsum("m,mq,qk,mqi->mki", E, w, gauss.shape, body_force(at))
    np.add.at(force, mesh.elements, load)
    held = Constraint("surface", on_faces(mesh.nodes_mm))
    model = Model(mesh, E, nu, (held,), (Load("b", np.arange(mesh.n_nodes), force),))
    error = np.einsum(
        "qk,mki->mqi", gauss.shape, solve_conforming(model).displacement_mm[mesh.elements]
    )
    error[..., 0] -= field(at)
    return float(np.sqrt((w[..., None] * error**2).sum()))


@pytest.mark.parametrize(("order", "sizes"), [(2, (8, 16)), (3, (6, 12))])
def test_manufactured_solution_converges_at_the_right_order(order: int, sizes: tuple) -> None:
    errors = []
    for n in sizes:
        mesh = tetrahedra(n, jitter=0.0)
        errors.append(manufactured(ten_nodes(mesh) if order == 3 else mesh))
    rate = np.log2(errors[0] / errors[1])
    assert order - 0.25 < rate < order + 0.5, (errors, rate)


def test_lame_sphere() -> None:
    """An eighth of a hollow sphere, a = 1, b = 2, p = 1, E = 1000, nu = 0.3: u(a) = 8e-4."""
    s, nodes = sphere(6)
    r = np.linalg.norm(nodes, axis=1)
    radial = (s.displacement_mm * nodes).sum(axis=1) / r
    assert radial[np.isclose(r, 1)].mean() == pytest.approx(8.0e-4, rel=2e-3)
    assert radial[np.isclose(r, 2)].mean() == pytest.approx(3.0e-4, rel=2e-3)
    assert s.energy_balance < 1e-9
    # a third of pi/2 of the surface, (1/2) p u(a) area
    assert s.energy_Nmm == pytest.approx(0.5 * 8.0e-4 * 4 * np.pi / 8, rel=4e-3)


def sphere(n: int) -> tuple[ConformingSolution, np.ndarray]:
    """Kuhn tetrahedra mapped: the cube's corner opposite face to the radius, ten nodes, curved."""
    made = ten_nodes(tetrahedra(n, jitter=0.0))
    x = made.nodes_mm
    # Two coordinates place a point on the triangle of an octant, folded; the third is the radius.
    a, b = x[:, 0], x[:, 1]
    octant = np.column_stack([1 - np.maximum(a, b), np.minimum(a, b), np.abs(a - b)])
    keep = a >= b - 1e-9  # one half of the square: the triangle (0,0) (1,0) (1,1)
    cells = made.tetrahedra[(keep[made.tetrahedra]).all(axis=1)]
    direction = octant / np.linalg.norm(octant, axis=1)[:, None]
    nodes = direction * (1 + x[:, 2])[:, None]
    used, cells = np.unique(cells, return_inverse=True)
    nodes, cells = nodes[used], cells.reshape(-1, 10)
    flip = np.linalg.det(nodes[cells[:, 1:4]] - nodes[cells[:, :1]]) < 0
    cells[flip] = cells[flip][:, [0, 2, 1, 3, 6, 5, 4, 7, 9, 8]]
    mesh = TetMesh(nodes, cells, np.ones(len(cells), np.uint8))
    faces = np.concatenate([cells[:, f] for f in SIX_NODE_FACES])
    inner = faces[np.isclose(np.linalg.norm(nodes[faces], axis=2), 1).all(axis=1)]
    held = tuple(
        Constraint(f"plane {i}", np.flatnonzero(np.abs(nodes[:, i]) < 1e-9), (i,)) for i in range(3)
    )
    model = Model(
        mesh,
        np.full(len(cells), 1000.0),
        0.3,
        held,
        (pressure_load("p", nodes, inner, 1.0),),
    )
    return solve_conforming(model, 1e-11), nodes


# Nodes of the faces of ten-node tetrahedra, outward.
SIX_NODE_FACES = [
    [0, 2, 1, 6, 5, 4],
    [0, 1, 3, 4, 8, 7],
    [1, 2, 3, 5, 9, 8],
    [0, 3, 2, 7, 9, 6],
]


def test_mesh_axes_of_voxels_start_at_the_corner() -> None:
    mesh = VoxelMesh(np.ones((2, 1, 1), np.uint8), Grid.of((2, 1, 1), (2.0, 3.0, 4.0)), {1: "b"})
    np.testing.assert_allclose(mesh_axes_mm(mesh).max(axis=0), [4.0, 3.0, 4.0])

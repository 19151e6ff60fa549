"""Load cases on bones whose surfaces are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.criteria import CRITERIA, contiguous_volume
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.patches import head_patch, surface_nodes, through_the_centre
from bonekit.fem.response import response
from bonekit.fem.solve import solve
from bonekit.fem.stance import CONVENTIONS, SingleLegStance
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

TURN = Rotation.from_euler("xyz", (15, -10, 25), degrees=True).as_matrix()
HEAD_MM, OFFSET_MM = 24.0, 42.0
CENTRE = np.array([10.0, 20.0, 30.0])
FIELD = Grid.of((400, 400, 400), 1.0, CENTRE - 200.0)


def femur(side: str) -> FemurAnatomy:
    """Head on a bent bar: the shaft hangs 42 mm beside the head and 100 mm below it."""
    up, lateral = TURN[:, 2], TURN[:, 0] * (1 if side == "left" else -1)
    end = CENTRE + OFFSET_MM * lateral - 100.0 * up
    return FemurAnatomy(side, CENTRE, HEAD_MM, lateral, end, up, 0.0, 70.0, 900.0)


def femur_mesh(
    anatomy: FemurAnatomy, edge_mm: float = 2.0, axes: np.ndarray | None = None
) -> VoxelMesh:
    frame, axes = anatomy.frame, anatomy.frame if axes is None else axes
    shape = tuple(int(n / edge_mm) for n in (140, 60, 140))
    low = np.array([-70.0, -30.0, -101.0])
    if axes is not frame:
        shape, low = (int(280 / edge_mm),) * 3, np.full(3, -140.0)
    grid = Grid.of(shape, edge_mm, CENTRE + axes @ (low + edge_mm / 2), axes)
    across = (grid.points() - CENTRE) @ frame
    lateral = -across[..., 0] if anatomy.side == "right" else across[..., 0]
    head = np.linalg.norm(across, axis=-1) < HEAD_MM
    neck = (np.hypot(across[..., 1], across[..., 2]) < 13) & (lateral > 0) & (lateral < 55)
    beside = np.hypot(lateral - OFFSET_MM, across[..., 1])
    shaft = (beside < 14) & (across[..., 2] < 10) & (across[..., 2] > -100)
    return VoxelMesh((head | neck | shaft).astype(np.uint8), grid, {1: "cortex"})


def stance(side: str = "right", field: Grid = FIELD, **options: float) -> tuple:
    anatomy = femur(side)
    mesh = femur_mesh(anatomy)
    return anatomy, mesh, SingleLegStance(**options).on(mesh, anatomy, field)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("adduction_deg", [0.0, 8.0, 20.0])
def test_the_force_points_down_and_outwards(side: str, adduction_deg: float) -> None:
    _, mesh, load = stance(side, force_N=700.0, adduction_deg=adduction_deg)
    total = mesh.grid.direction @ load.loads[0].force_N.sum(axis=0)
    np.testing.assert_allclose(total, 700.0 * load.direction, atol=1e-9)
    lateral = TURN[:, 0] * (1 if side == "left" else -1)
    angle = np.radians(adduction_deg)
    expected = -np.cos(angle) * TURN[:, 2] + np.sin(angle) * lateral
    np.testing.assert_allclose(load.direction, expected, atol=1e-12)
    assert np.linalg.norm(load.direction) == pytest.approx(1.0)


def test_the_force_is_spread_over_a_cap_of_the_heads_surface() -> None:
    _, mesh, load = stance(cap_deg=30.0)
    part = load.loads[0]
    away = mesh.nodes_mm[part.nodes] - CENTRE
    reach = np.linalg.norm(away, axis=1)
    cosine = away @ -load.direction / reach
    assert np.isin(part.nodes, surface_nodes(mesh)).all()
    assert np.abs(reach - HEAD_MM).max() < 2.5  # the steps of bricks of 2 mm
    assert cosine.min() > np.cos(np.radians(30.0))
    assert cosine.min() < np.cos(np.radians(27.0))  # and reaches the rim
    expected = 2 * np.pi * HEAD_MM**2 * (1 - np.cos(np.radians(30.0)))
    assert 4.0 * len(part.nodes) == pytest.approx(expected, rel=0.5)
    size = np.linalg.norm(part.force_N, axis=1)
    plane = np.column_stack([np.ones(len(away)), away])
    _, rest, *_ = np.linalg.lstsq(plane, size / cosine, rcond=None)
    assert rest[0] < 1e-18 * (size**2).sum()  # the cosine, tilted
    np.testing.assert_allclose(size / cosine, size.sum() / cosine.sum(), rtol=0.1)
    assert (
        np.linalg.norm(np.cross(away @ mesh.grid.direction, part.force_N).sum(axis=0))
        < 1e-9 * size.sum()
    )
    assert np.linalg.norm(np.cross(part.force_N, part.force_N[0])) == pytest.approx(0, abs=1e-6)


def test_a_force_is_tilted_through_the_centre_unless_that_would_pull() -> None:
    rng = np.random.default_rng(0)
    away = np.column_stack([rng.uniform(-10, 11, (200, 2)), np.full(200, 20.0)])
    down = np.array([0.0, 0.0, -1.0])
    even = through_the_centre(np.ones(200), away, down)
    assert even.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(even @ away, [0.0, 0.0, 20.0], atol=1e-12)
    assert 0 < even.min() < even.max() < 2 / 200
    half = away[away[:, 0] > 1.0]  # of a head cut by the field of view
    np.testing.assert_array_equal(
        through_the_centre(np.full(len(half), 3.0), half, down), np.full(len(half), 1 / len(half))
    )


@pytest.mark.parametrize("fixed_mm", [10.0, 25.0])
def test_the_distal_end_is_held(fixed_mm: float) -> None:
    anatomy, mesh, load = stance(fixed_mm=fixed_mm)
    (held,) = load.constraints
    assert held.name == load.support == "distal_shaft"
    assert held.components == (0, 1, 2)
    assert held.displacement_mm == 0.0
    height = anatomy.height_mm(mesh.nodes_mm)
    low = height - height.min() <= fixed_mm + 1e-6
    np.testing.assert_array_equal(held.nodes, np.flatnonzero(low))
    assert height[held.nodes].max() - height.min() > fixed_mm - 2.0
    assert np.isin(held.nodes, load.loads[0].nodes).sum() == 0


def test_a_cap_that_is_not_in_view_is_refused() -> None:
    """The field of view ends 12 mm above the head's centre: the top is a cut, not a joint."""
    mesh = femur_mesh(femur("right"))
    height = (mesh.grid.points() - CENTRE) @ TURN[:, 2]
    cut = VoxelMesh(mesh.region * (height < 12.0).astype(np.uint8), mesh.grid, mesh.names)
    field = Grid.of((200, 200, 213), 1.0, CENTRE + TURN @ np.array([-100, -100, -200.0]), TURN)
    with pytest.raises(InputError, match=r"only 0\.\d of 8\.5 cm2 of the femoral head"):
        SingleLegStance().on(cut, femur("right"), field)


def test_nodes_of_a_cut_surface_carry_nothing() -> None:
    """Cut by the field's side in the middle of the cap: the other half carries the force."""
    anatomy = femur("right")
    mesh = femur_mesh(anatomy)
    medial = (mesh.grid.points() - CENTRE) @ anatomy.medial
    cut = VoxelMesh(mesh.region * (medial < 4.0).astype(np.uint8), mesh.grid, mesh.names)
    axes = np.column_stack([anatomy.medial, np.cross(TURN[:, 2], anatomy.medial), TURN[:, 2]])
    field = Grid.of((205, 200, 400), 1.0, CENTRE + axes @ np.array([-200, -100, -200.0]), axes)
    load = SingleLegStance().on(cut, anatomy, field)
    away = (cut.nodes_mm[load.loads[0].nodes] - CENTRE) @ anatomy.medial
    assert away.max() < 4.0
    total = mesh.grid.direction @ load.loads[0].force_N.sum(axis=0)
    np.testing.assert_allclose(total, 1000.0 * load.direction, atol=1e-9)


WIDTH_MM, DEPTH_MM, HEIGHT_MM = 44.0, 32.0, 28.0


def vertebra_anatomy(lift_mm: float = 0.0) -> VertebraAnatomy:
    up = TURN[:, 2]
    return VertebraAnatomy(
        body_centre_mm=CENTRE,
        superior_centre_mm=CENTRE + (HEIGHT_MM / 2 + lift_mm) * up,
        inferior_centre_mm=CENTRE - HEIGHT_MM / 2 * up,
        superior_normal=up,
        inferior_normal=-up,
        axis=up,
        anterior=-TURN[:, 1],
        height_mm=HEIGHT_MM,
        depth_mm=DEPTH_MM,
        width_mm=WIDTH_MM,
    )


def vertebra_mesh() -> VoxelMesh:
    """Body with elliptic endplates, a bowl and a hole in the upper one, an arch behind."""
    shape = (30, 40, 30)
    low = CENTRE + TURN @ np.array([-30.0, -20.0, -30.0])
    grid = Grid.of(shape, 2.0, low + TURN @ np.ones(3), TURN)
    x, y, z = np.moveaxis((grid.points() - CENTRE) @ TURN, -1, 0)
    body = ((2 * x / WIDTH_MM) ** 2 + (2 * y / DEPTH_MM) ** 2 < 1) & (np.abs(z) < HEIGHT_MM / 2)
    body &= ~((np.hypot(x, y) < 8) & (z > HEIGHT_MM / 2 - 2))  # bowl of one brick
    body &= ~((np.hypot(x - 12, y) < 4) & (z > HEIGHT_MM / 2 - 8))  # hole of four bricks
    arch = (np.abs(x) < 8) & (y > 10) & (y < 50) & (z > -8) & (z < 20)
    return VoxelMesh((body | arch).astype(np.uint8), grid, {1: "cortex"})


@pytest.fixture(scope="module")
def compression() -> tuple[VoxelMesh, LoadCase]:
    mesh = vertebra_mesh()
    return mesh, EndplateCompression().on(mesh, vertebra_anatomy(), FIELD)


def local(mesh: VoxelMesh, nodes: np.ndarray) -> np.ndarray:
    return (mesh.nodes_mm[nodes] - CENTRE) @ TURN


def test_the_upper_endplate_is_moved_down_and_free_to_slide(compression) -> None:
    mesh, load = compression
    lower, upper = load.constraints
    assert (lower.name, lower.components, lower.displacement_mm) == (
        "inferior_endplate",
        (0, 1, 2),
        0.0,
    )
    assert (upper.name, upper.components) == ("superior_endplate", (2,))
    assert upper.displacement_mm == pytest.approx(-0.0068 * HEIGHT_MM)
    assert load.support == "superior_endplate"
    assert load.loads == ()
    np.testing.assert_allclose(load.direction, -TURN[:, 2], atol=1e-12)
    half = EndplateCompression(strain=0.0034).on(mesh, vertebra_anatomy(), FIELD)
    assert half.constraints[1].displacement_mm == pytest.approx(-0.0034 * HEIGHT_MM)


def test_the_endplates_are_the_ends_of_the_body(compression) -> None:
    mesh, load = compression
    bottom, top = (local(mesh, part.nodes) for part in load.constraints)
    np.testing.assert_allclose(bottom[:, 2], -HEIGHT_MM / 2, atol=1e-9)
    assert set(np.round(top[:, 2], 6)) == {HEIGHT_MM / 2, HEIGHT_MM / 2 - 2}  # rim and bowl
    ellipse = np.pi / 4 * WIDTH_MM * DEPTH_MM
    assert 4.0 * len(bottom) == pytest.approx(ellipse, rel=0.15)
    assert not (np.hypot(top[:, 0] - 12, top[:, 1]) < 2).any()  # the hole hangs free
    for part in (bottom, top):
        assert part[:, 1].max() <= DEPTH_MM / 2 + 2.0  # no arch
        assert len(np.unique(part[:, :2].round(3), axis=0)) == len(part)  # one for each column


def test_a_small_cap_leaves_the_bowl_free(compression) -> None:
    mesh, _ = compression
    load = EndplateCompression(cap_mm=1.0).on(mesh, vertebra_anatomy(), FIELD)
    assert load.parameters["cap_mm"] == 1.0
    np.testing.assert_allclose(local(mesh, load.constraints[1].nodes)[:, 2], HEIGHT_MM / 2)


def test_an_endplate_that_is_not_on_the_mesh_is_refused(compression) -> None:
    mesh, _ = compression
    with pytest.raises(InputError, match=r"of the superior endplate were found"):
        EndplateCompression().on(mesh, vertebra_anatomy(lift_mm=8.0), FIELD)


# Other heads and other supports of a stance


@pytest.mark.parametrize("convention", list(CONVENTIONS))
def test_every_convention_balances(convention: str) -> None:
    anatomy = femur("right")
    loading = CONVENTIONS[convention]
    assert loading.convention == convention
    mesh = femur_mesh(anatomy, 4.0, loading.axes(anatomy))
    load = loading.on(mesh, anatomy, FIELD)
    solution = solve(load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3), rtol=1e-10)
    assert solution.force_balance < 1e-7
    answer = response(mesh, solution, load)
    assert answer.applied == pytest.approx(1000.0, rel=1e-9)
    assert answer.travel > 0
    assert load.parameters["convention"] == convention


def test_a_guided_head_keeps_to_the_forces_line_and_turns_freely() -> None:
    anatomy = femur("left")
    loading = SingleLegStance(head="guided", distal="pivot", pivot_mm=30.0)
    mesh = femur_mesh(anatomy, 4.0, loading.axes(anatomy))
    load = loading.on(mesh, anatomy, FIELD)
    solution = solve(load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3), rtol=1e-10)
    head, shaft = solution.caps["femoral_head"], solution.caps["distal_shaft"]
    np.testing.assert_allclose(head.displacement_mm[:2], 0.0, atol=1e-12)
    assert head.displacement_mm[2] < 0  # the third axis is against the force
    assert np.abs(head.moment_Nmm).max() < 1e-3
    np.testing.assert_allclose(shaft.displacement_mm, 0.0, atol=1e-12)
    assert np.abs(shaft.moment_Nmm[:2]).max() < 1e-3
    assert shaft.rotation_rad[2] == 0.0


def test_stiff_springs_are_like_a_clamp_and_soft_ones_give() -> None:
    travel = {}
    for name, loading in (
        ("clamped", SingleLegStance()),
        ("stiff", SingleLegStance(distal="springs", spring_N_mm=1e9)),
        ("soft", SingleLegStance(distal="springs", spring_N_mm=1e3)),
    ):
        anatomy = femur("left")
        mesh = femur_mesh(anatomy, 4.0)
        load = loading.on(mesh, anatomy, FIELD)
        solution = solve(load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3), rtol=1e-10)
        travel[name] = response(mesh, solution, load).travel
    assert travel["stiff"] == pytest.approx(travel["clamped"], rel=1e-3)
    # 1000 N sink at least 1 mm into 1000 N/mm
    assert travel["soft"] > travel["clamped"] + np.cos(np.radians(8.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distal": "pivot"}, "with head 'spread' and distal 'pivot' the femur would topple"),
        ({"adduction_deg": 90.0}, "adduction_deg must lie between -30 and 40, got 90"),
        ({"head": "glued"}, "head is one of spread, cup, guided"),
    ],
)
def test_stances_that_make_no_sense_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SingleLegStance(**options)


def test_loads_of_another_bone_are_refused() -> None:
    with pytest.raises(InputError, match="endplate_compression is for a vertebra"):
        EndplateCompression().axes(femur("left"))
    with pytest.raises(InputError, match="single_leg_stance is for a femur"):
        SingleLegStance().axes(vertebra_anatomy())


# What can't be answered


def test_a_load_direction_that_misses_the_bone_is_named() -> None:
    """From the neck's side there is no surface of the head to press on."""
    anatomy = femur("right")
    mesh = femur_mesh(anatomy)
    with pytest.raises(InputError, match="load direction misses the bone: it meets the head 0 deg"):
        head_patch(mesh, anatomy, FIELD, anatomy.neck_axis, 25.0)
    nodes, _ = head_patch(mesh, anatomy, FIELD, -anatomy.neck_axis, 25.0)
    assert len(nodes) > 50


def test_a_criterion_that_the_model_cannot_answer_is_named() -> None:
    _, mesh, load = stance()
    model = load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3)
    solution = solve(model, rtol=1e-6)
    with pytest.raises(InputError, match="stiffness_at_strain is for the compression of a vert"):
        CRITERIA["stiffness_at_strain"](model, solution, load)
    with pytest.raises(InputError, match="no connected piece of 1e\\+06 mm3 of bone"):
        contiguous_volume(model, solution, load, volume_mm3=1e6)

"""Sideways fall on a femur whose shape is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.patches import surface_nodes
from bonekit.fem.response import response
from bonekit.fem.solve import solve
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


def femur_mesh(anatomy: FemurAnatomy, axes: np.ndarray, edge_mm: float = 4.0) -> VoxelMesh:
    """Head, neck, shaft, and a trochanter: a ball 60 mm beside the head, 10 mm behind."""
    n = int(280 / edge_mm)
    low = CENTRE - axes @ np.full(3, 140.0 - edge_mm / 2)
    grid = Grid.of((n, n, n), edge_mm, low, axes)
    frame = anatomy.frame
    across = (grid.points() - CENTRE) @ frame
    lateral = -across[..., 0] if anatomy.side == "right" else across[..., 0]
    back, up = across[..., 1], across[..., 2]
    head = np.linalg.norm(across, axis=-1) < HEAD_MM
    neck = (np.hypot(back, up) < 13) & (lateral > 0) & (lateral < 55)
    shaft = (np.hypot(lateral - OFFSET_MM, back) < 14) & (up < 10) & (up > -100)
    ball = np.sqrt((lateral - 50) ** 2 + (back - 8) ** 2 + (up + 5) ** 2) < 16
    return VoxelMesh((head | neck | shaft | ball).astype(np.uint8), grid, {1: "cortex"})


def fallen(side: str = "left", **options: object) -> tuple[FemurAnatomy, VoxelMesh, LoadCase]:
    anatomy = femur(side)
    load = SidewaysFall(**options)
    mesh = femur_mesh(anatomy, load.axes(anatomy))
    return anatomy, mesh, load.on(mesh, anatomy, FIELD)


@pytest.mark.parametrize("side", ["left", "right"])
def test_angles_are_those_of_shaft_and_rotation(side: str) -> None:
    anatomy = femur(side)
    along = SidewaysFall(adduction_deg=12.0, rotation_deg=20.0).direction(anatomy)
    assert along @ anatomy.shaft_axis == pytest.approx(np.sin(np.radians(12.0)))  # knee off it
    flat = along - (along @ anatomy.shaft_axis) * anatomy.shaft_axis
    flat /= np.linalg.norm(flat)
    assert flat @ -anatomy.medial == pytest.approx(np.cos(np.radians(20.0)))
    assert flat @ anatomy.frame[:, 1] == pytest.approx(np.sin(np.radians(20.0)))  # from behind


@pytest.mark.parametrize("side", ["left", "right"])
def test_axes_are_right_handed_and_hold_the_load(side: str) -> None:
    anatomy, mesh, load = fallen(side)
    axes = mesh.grid.direction
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert abs(axes[:, 0] @ load.direction) == pytest.approx(1.0)
    assert axes[:, 0] @ anatomy.frame[:, 0] > 0.9  # still runs to the left
    assert axes[:, 2] @ anatomy.shaft_axis > 0.95


@pytest.mark.parametrize("side", ["left", "right"])
def test_plates_press_head_and_trochanter_together(side: str) -> None:
    anatomy, mesh, load = fallen(side, travel_mm=2.0)
    head, ground = load.constraints
    push = mesh.grid.direction[:, 0] * float(head.displacement_mm)
    np.testing.assert_allclose(push, 2.0 * load.direction, atol=1e-12)
    assert (head.components, ground.components) == ((0,), (0,))
    assert ground.displacement_mm == 0.0
    for part in (head, ground):
        assert np.isin(part.nodes, surface_nodes(mesh)).all()
    reach = (mesh.nodes_mm - CENTRE) @ load.direction
    assert reach[head.nodes].max() < -0.7 * HEAD_MM
    assert reach[ground.nodes].min() > 50.0
    assert np.ptp(reach[ground.nodes]) <= 6.0 + 1e-9
    assert anatomy.height_mm(mesh.nodes_mm[ground.nodes]).min() > 70.0


@pytest.mark.parametrize("distal", ["pivot", "clamped", "sliding"])
def test_forces_balance_and_supports_do_what_they_say(distal: str) -> None:
    _, mesh, load = fallen(distal=distal)
    solution = solve(load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3), rtol=1e-10)
    assert solution.force_balance < 1e-7
    answer = response(mesh, solution, load)
    assert answer.applied > 0
    assert answer.travel == pytest.approx(1.0, rel=1e-9)
    shaft = solution.reaction_N["distal_shaft"]
    ground = solution.reaction_N["greater_trochanter"]
    sign = np.sign(mesh.grid.direction[:, 0] @ load.direction)
    assert sign * (ground[0] + shaft[0]) == pytest.approx(-answer.applied, rel=1e-6)
    assert abs(ground[1]) + abs(ground[2]) < 1e-6 * answer.applied  # plates let it slide
    if distal == "sliding":
        assert abs(shaft[0]) < 1e-6 * answer.applied
    if distal == "pivot":
        hinge = solution.caps["distal_shaft"]
        assert abs(hinge.moment_Nmm[1]) < 1e-6 * answer.applied * HEAD_MM
        assert abs(hinge.rotation_rad[1]) > 1e-5
        np.testing.assert_allclose(hinge.rotation_rad[[0, 2]], 0.0)


def test_left_and_right_are_mirror_images() -> None:
    stiffness = []
    for side in ("left", "right"):
        _, mesh, load = fallen(side)
        solution = solve(load.model(mesh, np.full(mesh.n_elements, 5000.0), 0.3), rtol=1e-10)
        stiffness.append(response(mesh, solution, load).stiffness)
    assert stiffness[0] == pytest.approx(stiffness[1], rel=1e-6)


def test_a_trochanter_out_of_view_is_refused() -> None:
    anatomy = femur("left")
    load = SidewaysFall()
    mesh = femur_mesh(anatomy, load.axes(anatomy))
    lateral = (mesh.grid.points() - CENTRE) @ -anatomy.medial
    cut = VoxelMesh(mesh.region * (lateral < 20).astype(np.uint8), mesh.grid, mesh.names)
    with pytest.raises(InputError, match="greater trochanter is not in view"):
        load.on(cut, anatomy, FIELD)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adduction_deg": 50.0}, "adduction_deg must lie between -30 and 40, got 50"),
        ({"travel_mm": -1.0}, "travel_mm must lie between"),
        ({"distal": "glued"}, "distal is one of pivot, clamped, sliding, got 'glued'"),
    ],
)
def test_wrong_numbers_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SidewaysFall(**options)

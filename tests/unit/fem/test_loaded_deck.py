"""Steps, sets and materials of decks on a bone with parts whose surfaces are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.deck import Deck
from bonekit.fem.decks import WRITERS, write_deck
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.flexion import ForwardFlexion
from bonekit.fem.load_on_patches import node_areas
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.loaded_deck import PMMA, loaded_deck
from bonekit.fem.muscles import Activity, MuscleLoad
from bonekit.fem.named_loads import NamedLoad
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.stance import SingleLegStance
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.columns import WithParts
from bonekit.meshing.fitted_parts import fitted_parts
from bonekit.meshing.named_sets import NamedSet, interfaces
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import BONE_REGIONS, PARTS

ALL = (*BONE_REGIONS, *PARTS.values())
STANCE = {"force_N": 1000.0, "fixed_mm": 10.0, "cap_deg": 40.0}
FALL = {"travel_mm": 1.0, "fixed_mm": 10.0, "distal": "sliding"}
UP, RIGHT = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


def block() -> tuple[LabelMap, VertebraAnatomy]:
    """A body of 28 x 28 x 24 mm, its upper half another region."""
    grid = Grid.of((18, 18, 16), 2.0, (-17.0, -17.0, -15.0))
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    inside = (np.abs(x) < 15) & (np.abs(y) < 15) & (np.abs(z) < 12)
    array = np.where(inside, np.where(z > 0, 3, 2), 0).astype(np.uint8)
    top = np.array([0.0, 0.0, 12.0])
    front = np.array([0.0, -1.0, 0.0])
    anatomy = VertebraAnatomy(np.zeros(3), top, -top, UP, -UP, UP, front, 24.0, 30.0, 30.0)
    return LabelMap(array, grid, {2: "trabecular", 3: "lesion"}), anatomy


def femur() -> tuple[LabelMap, FemurAnatomy]:
    """Head on a neck into a shaft with a trochanter."""
    grid = Grid.of((36, 20, 60), 3.0, (-30.0, -30.0, -140.0))
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    head = x**2 + y**2 + z**2 < 24.0**2
    neck = (np.hypot(y, z) < 13) & (x > 0) & (x < 45)
    shaft = (np.hypot(x - 42, y) < 15) & (z < 15) & (z > -120)
    array = np.where(head | neck | shaft, 2, 0).astype(np.uint8)
    end = np.array([42.0, 0.0, -120.0])
    anatomy = FemurAnatomy("left", np.zeros(3), 24.0, RIGHT, end, UP, 0.0, 70.0, 700.0)
    return LabelMap(array, grid, {2: "trabecular"}), anatomy


def load_case(name: str, numbers: dict[str, float | str], direction: np.ndarray) -> LoadCase:
    return LoadCase(name, "words", "none", numbers, "femoral_head", "distal_shaft", direction)


def in_tetrahedra(mesh: VoxelMesh, n_nodes: int) -> TetMesh:
    """Five tetrahedra for each brick, turned in every other one so that faces meet."""
    even = np.array([(0, 1, 2, 5), (0, 2, 3, 7), (0, 5, 7, 4), (2, 7, 5, 6), (0, 2, 7, 5)])
    odd = np.array([(1, 2, 3, 6), (1, 3, 0, 4), (1, 6, 4, 5), (3, 4, 6, 7), (1, 3, 4, 6)])
    turned = (mesh.element_ijk.sum(axis=1) % 2 == 1)[:, None, None]
    cells = np.where(turned, mesh.elements[:, odd], mesh.elements[:, even]).reshape(-1, 4)
    region = np.repeat(mesh.element_region, 5)
    nodes = mesh.nodes_mm
    if n_nodes == 10:
        made = quadratic(nodes, cells)
        nodes, cells = made.nodes_mm, made.tetrahedra
    return TetMesh(nodes, cells, region, mesh.names)


@pytest.mark.parametrize("n_nodes", [4, 8, 10])
def test_a_vertebra_is_pressed_between_its_caps(n_nodes: int) -> None:
    labels, anatomy = block()
    made = fitted_parts(labels, anatomy, ["caps"])
    bricks = voxel_mesh(made.labels, 2.0, anatomy.frame, ALL)
    mesh = bricks if n_nodes == 8 else in_tetrahedra(bricks, n_nodes)
    load = load_case("endplate_compression", {"strain": 0.01, "height_mm": 24.0}, -UP)
    E = np.where(mesh.element_region == 3, 500.0, 1000.0)
    bone = mesh.element_region < 20
    E[np.flatnonzero(bone)[0]] = 500.0
    deck, bins = loaded_deck(mesh, E, 0.4, anatomy, load, anatomy.frame, made.parts)
    (step,) = deck.steps
    bottom, top = step.constraints
    z = deck.nodes_mm[:, 2]
    # all nodes of the flat faces, middle ones too
    np.testing.assert_array_equal(bottom.nodes, np.flatnonzero(z < z.min() + 1e-6))
    np.testing.assert_array_equal(top.nodes, np.flatnonzero(z > z.max() - 1e-6))
    assert (top.components, top.displacement_mm) == ((2,), pytest.approx(-0.24))
    assert bottom.components == (0, 1, 2)
    assert [m.E_MPa for m in deck.materials] == [1000.0, 500.0, 2500.0]
    assert [m.nu for m in deck.materials] == [0.4, 0.4, PMMA.nu]
    np.testing.assert_array_equal(bins.material == 2, mesh.element_region > 20)
    np.testing.assert_array_equal(np.array([1000.0, 500.0])[bins.material[bone]], E[bone])
    regions = {f"R_{name}" for name in ("trabecular", "lesion", "cap_superior", "cap_inferior")}
    assert set(deck.element_sets) == regions
    assert {"S_cap_superior_face", "S_superior_face", "trabecular_lesion"} <= set(deck.surfaces)
    assert "lesion_cap_superior" in deck.surfaces
    assert "lesion_cap_inferior" not in deck.surfaces
    np.testing.assert_array_equal(deck.node_sets["N_cap_superior_face"], top.nodes)


def stance(
    parts: bool, axes: np.ndarray, numbers: dict[str, float | str] = STANCE
) -> tuple[Deck, FemurAnatomy, np.ndarray, WithParts]:
    labels, anatomy = femur()
    direction = np.array([0.1, 0.0, -1.0]) / np.hypot(0.1, 1.0)
    made = fitted_parts(labels, anatomy, ["cup"] if parts else [], direction)
    mesh = in_tetrahedra(voxel_mesh(made.labels, 3.0, regions=ALL), 10)
    load = load_case("single_leg_stance", numbers, direction)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, axes, made.parts)
    return deck, anatomy, direction, made


def test_a_stance_presses_on_the_cup() -> None:
    turned = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    deck, anatomy, direction, made = stance(True, turned)
    (step,) = deck.steps
    (load,), (held,) = step.loads, step.constraints
    world = deck.nodes_mm @ turned.T
    np.testing.assert_allclose(load.force_N.sum(axis=0), 1000.0 * turned.T @ direction, atol=1e-9)
    (cup,) = made.parts
    assert ((world[load.nodes] - cup.face_mm) @ cup.axis > -4.0).all()
    # even over the face: the force's line goes through its middle
    share = np.linalg.norm(load.force_N, axis=1) / 1000.0
    middle = share @ world[load.nodes] - cup.face_mm
    assert np.linalg.norm(middle - (middle @ cup.axis) * cup.axis) < 1.5
    height = anatomy.height_mm(world)  # counted from the lowest complete section, at 0
    assert height.min() < -1.0
    np.testing.assert_array_equal(held.nodes, np.flatnonzero(height <= 10.0 + 1e-6))


def test_a_stance_presses_on_the_head() -> None:
    deck, anatomy, direction, _ = stance(False, np.eye(3))
    (load,) = deck.steps[0].loads
    np.testing.assert_allclose(load.force_N.sum(axis=0), 1000.0 * direction, atol=1e-9)
    away = deck.nodes_mm[load.nodes] - anatomy.head_centre_mm
    cosine = away @ -direction / np.linalg.norm(away, axis=1)
    assert cosine.min() > np.cos(np.radians(50.0))  # the patch's faces have their middle within 40
    share = np.linalg.norm(load.force_N, axis=1) / 1000.0
    middle = share @ away
    assert np.linalg.norm(np.cross(middle, direction)) < 1e-9  # through the head's centre
    assert share.min() >= 0
    assert set(deck.node_sets) == {"N_head_cap", "N_distal_face"}


def test_caps_and_springs_of_a_stance_are_put_on_another_mesh() -> None:
    labels, anatomy = femur()
    loading = SingleLegStance(head="guided", distal="springs", fixed_mm=20.0)
    axes = loading.axes(anatomy)
    load = loading.on(voxel_mesh(labels, 3.0, axes), anatomy, labels.grid)
    mesh = in_tetrahedra(voxel_mesh(labels, 3.0, regions=ALL), 4)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, axes)
    (step,) = deck.steps
    (cup,), (bed,) = step.caps, step.supports
    assert step.constraints == step.loads == ()
    np.testing.assert_allclose(cup.pivot_mm, anatomy.head_centre_mm @ axes, atol=1e-9)
    np.testing.assert_allclose(cup.force_N, axes.T @ load.direction * 1000.0, atol=1e-9)
    assert cup.displacement_mm == (0.0, 0.0, None)
    np.testing.assert_array_equal(cup.nodes, deck.node_sets["N_head_cap"])
    height = anatomy.height_mm(mesh.nodes_mm)
    np.testing.assert_array_equal(bed.nodes, np.flatnonzero(height <= height.min() + 20.0 + 1e-6))
    assert step.springs()[1].sum(axis=0) == pytest.approx([1e5] * 3)


def test_a_plate_on_a_vertebra_and_a_twisted_shaft() -> None:
    labels, anatomy = block()
    bend = ForwardFlexion(force_N=300.0)
    load = bend.on(voxel_mesh(labels, 2.0, anatomy.frame), anatomy, labels.grid)
    mesh = in_tetrahedra(voxel_mesh(labels, 2.0), 4)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, anatomy.frame)
    (plate,), (held,) = deck.steps[0].caps, deck.steps[0].constraints
    z = deck.nodes_mm[:, 2]
    np.testing.assert_array_equal(plate.nodes, np.flatnonzero(z > z.max() - 1e-6))
    np.testing.assert_array_equal(held.nodes, np.flatnonzero(z < z.min() + 1e-6))
    (own,) = load.caps
    assert plate.force_N == own.force_N
    np.testing.assert_allclose(anatomy.frame @ plate.pivot_mm, own.pivot_mm, atol=1e-9)

    bone, femoral = femur()
    twist = ShaftTorsion(grip_mm=12.0)
    load = twist.on(voxel_mesh(bone, 3.0, femoral.frame), femoral, bone.grid)
    mesh = in_tetrahedra(voxel_mesh(bone, 3.0), 4)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, femoral, load, femoral.frame)
    (grip,), (held,) = deck.steps[0].caps, deck.steps[0].constraints
    height = femoral.height_mm(mesh.nodes_mm)
    within = (height >= femoral.flare_mm - 12.0 - 1e-6) & (height <= femoral.flare_mm + 1e-6)
    np.testing.assert_array_equal(grip.nodes, np.flatnonzero(within))
    np.testing.assert_array_equal(held.nodes, np.flatnonzero(height <= height.min() + 12.0 + 1e-6))
    assert grip.moment_Nmm == (0.0, 0.0, 10_000.0)


def test_a_shaft_is_bent_between_rollers() -> None:
    bone, anatomy = femur()
    bend = FourPointBending(toward="medial")
    load = bend.on(voxel_mesh(bone, 3.0, anatomy.frame), anatomy, bone.grid)
    mesh = in_tetrahedra(voxel_mesh(bone, 3.0), 10)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, anatomy.frame)
    (step,) = deck.steps
    (rollers,), (below, above) = step.loads, step.caps
    np.testing.assert_allclose(
        rollers.force_N.sum(axis=0), 1000.0 * anatomy.frame.T @ anatomy.medial, atol=1e-9
    )
    x = mesh.nodes_mm
    assert (np.hypot(x[rollers.nodes, 0] - 42, x[rollers.nodes, 1]) > 10).all()  # the outside
    side = x @ anatomy.medial
    assert side[rollers.nodes].max() < side[below.nodes].min() - 10
    height = anatomy.height_mm(x)
    assert height[below.nodes].max() <= height.min() + 8.0 + 1e-6
    assert height[above.nodes].min() >= anatomy.flare_mm - 8.0 - 1e-6
    assert np.isin(range(mesh.corners.max() + 1, mesh.n_nodes), below.nodes).any()  # middles too


def test_each_roller_bears_half_on_an_uneven_mesh() -> None:
    """Moment in the middle of the span: half the force over a quarter of the span."""
    bone, anatomy = femur()
    load = FourPointBending().on(voxel_mesh(bone, 3.0, anatomy.frame), anatomy, bone.grid)
    fine = in_tetrahedra(voxel_mesh(bone, 3.0), 4)
    x = fine.nodes_mm.copy()
    low = x[:, 2].min()
    x[:, 2] = low + (x[:, 2] - low) ** 1.15 / (x[:, 2].max() - low) ** 0.15  # finer below
    mesh = TetMesh(x, fine.tetrahedra, fine.region, fine.names)
    deck, _ = loaded_deck(mesh, np.full(mesh.n_elements, 1e3), 0.3, anatomy, load, anatomy.frame)
    (rollers,) = deck.steps[0].loads
    force = np.linalg.norm(rollers.force_N, axis=1)
    height = anatomy.height_mm(x[rollers.nodes])
    upper = height > (height.min() + height.max()) / 2
    assert force[upper].sum() == pytest.approx(500.0)
    assert np.count_nonzero(upper) != np.count_nonzero(~upper)
    apart = (force[upper] @ height[upper] - force[~upper] @ height[~upper]) / 500.0
    assert apart == pytest.approx(load.parameters["span_mm"] / 2, abs=3.0)


def test_a_mesh_too_coarse_for_the_rollers_is_refused() -> None:
    bone, anatomy = femur()
    bend = FourPointBending(roller_mm=2.0)
    too_coarse = (
        r"four_point_bending: the mesh has \d surface nodes under the (rollers|lower_support), on "
        r"2 mm of shaft within 4 mm .* Take edges of 1 mm or less, or longer rollers \(roller_mm\)"
    )
    with pytest.raises(InputError, match=too_coarse):
        bend.on(voxel_mesh(bone, 9.0, anatomy.frame), anatomy, bone.grid)
    load = bend.on(voxel_mesh(bone, 1.5, anatomy.frame), anatomy, bone.grid)
    mesh = in_tetrahedra(voxel_mesh(bone, 9.0), 4)
    with pytest.raises(InputError, match=too_coarse):
        loaded_deck(mesh, np.full(mesh.n_elements, 1e3), 0.3, anatomy, load, anatomy.frame)


def test_named_sets_keep_their_names_forces_and_axes() -> None:
    labels, anatomy = block()
    load = NamedLoad(
        (("inferior_face", ("left", "posterior", "superior"), 0.0),),
        (("superior_face", (10.0, 0.0, -300.0)),),
    )
    bricks = voxel_mesh(labels, 2.0, anatomy.frame)
    case = load.on(bricks, anatomy, labels.grid)
    mesh = in_tetrahedra(voxel_mesh(labels, 2.0), 10)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, case, anatomy.frame)
    (held,), (pressed,) = deck.steps[0].constraints, deck.steps[0].loads
    z = deck.nodes_mm[:, 2]
    np.testing.assert_array_equal(held.nodes, np.flatnonzero(z < z.min() + 1e-6))
    np.testing.assert_array_equal(pressed.nodes, np.flatnonzero(z > z.max() - 1e-6))
    np.testing.assert_allclose(pressed.force_N.sum(axis=0), [10.0, 0.0, -300.0])


def test_a_fall_presses_the_head_towards_the_pad() -> None:
    labels, anatomy = femur()
    made = fitted_parts(labels, anatomy, ["pad", "cup"], RIGHT, -RIGHT)
    mesh = voxel_mesh(made.labels, 3.0, regions=ALL)
    E = np.full(mesh.n_elements, 1000.0)
    load = load_case("sideways_fall", FALL, RIGHT)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, np.eye(3), made.parts)
    head, ground, shaft = deck.steps[0].constraints
    assert (head.components, head.displacement_mm) == ((0,), 1.0)
    assert (ground.components, ground.displacement_mm) == ((0,), 0.0)
    assert shaft.components == (1, 2)
    x = deck.nodes_mm[:, 0]
    assert x[ground.nodes].min() > x.max() - 3.1
    assert x[head.nodes].max() < x.min() + 3.1
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, np.diag([-1.0, -1.0, 1.0]), made.parts)
    assert deck.steps[0].constraints[0].displacement_mm == -1.0


def test_a_fall_without_a_pad_rests_on_as_much_of_the_trochanter() -> None:
    labels, anatomy = femur()
    fall = SidewaysFall(adduction_deg=0.0, rotation_deg=0.0, distal="sliding", intrusion_mm=4.0)
    axes = fall.axes(anatomy)
    bricks = voxel_mesh(labels, 3.0, axes)
    load = fall.on(bricks, anatomy, labels.grid)
    mesh = in_tetrahedra(bricks, 4)
    deck, _ = loaded_deck(mesh, np.full(mesh.n_elements, 1e3), 0.3, anatomy, load, axes)
    head, ground, shaft = deck.steps[0].constraints
    np.testing.assert_array_equal(ground.nodes, load.constraints[1].nodes)
    np.testing.assert_array_equal(shaft.nodes, load.constraints[2].nodes)
    assert head.displacement_mm == load.constraints[0].displacement_mm
    assert len(ground.nodes) > 10


@pytest.mark.parametrize("n_nodes", [4, 10])
@pytest.mark.parametrize("activity", ["walking", "stair_climbing"])
def test_muscles_pull_at_the_same_places_of_another_mesh(n_nodes: int, activity: Activity) -> None:
    labels, anatomy = femur()
    muscles = MuscleLoad(activity, mass_kg=70.0)
    bricks = voxel_mesh(labels, 3.0, anatomy.frame)
    load = muscles.on(bricks, anatomy, labels.grid)
    mesh = in_tetrahedra(bricks, n_nodes)
    E = np.full(mesh.n_elements, 1e3)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, load, anatomy.frame)
    (step,) = deck.steps
    np.testing.assert_array_equal(
        step.constraints[0].nodes[step.constraints[0].nodes < bricks.n_nodes],
        load.constraints[0].nodes,
    )
    assert [one.name for one in step.loads] == [one.name for one in load.loads]
    for one, other in zip(step.loads, load.loads, strict=True):
        force = other.force_N.sum(axis=0)
        np.testing.assert_allclose(one.force_N.sum(axis=0), force, atol=1e-9)
        size = np.linalg.norm(force)
        middles = [
            np.linalg.norm(part.force_N, axis=1) @ where[part.nodes] / size
            for part, where in ((one, mesh.nodes_mm), (other, bricks.nodes_mm))
        ]
        assert np.linalg.norm(middles[0] - middles[1]) < 3.0  # an edge: nodes are not areas


@pytest.mark.parametrize("n_nodes", [4, 8, 10])
def test_nodes_of_a_patch_share_its_area(n_nodes: int) -> None:
    bricks = VoxelMesh(np.ones((3, 3, 1), np.uint8), Grid.of((3, 3, 1), 2.0), {1: "bone"})
    mesh = bricks if n_nodes == 8 else in_tetrahedra(bricks, n_nodes)
    cells = mesh.world_elements[:, : 8 if n_nodes == 8 else 4]
    faces = [((4, 5, 6, 7), 1)] if n_nodes == 8 else [
        ((0, 2, 1), 0), ((0, 1, 3), 1), ((1, 2, 3), 2), ((2, 0, 3), 3)
    ]  # fmt: skip
    top = mesh.nodes_mm[:, 2].max()
    chosen = [
        (e, f)
        for corners, f in faces
        for e in np.flatnonzero((mesh.nodes_mm[cells[:, corners], 2] > top - 1e-6).all(axis=1))
    ]
    nodes, area = node_areas(mesh, NamedSet(np.zeros(0, int), np.array(chosen), 36.0))
    assert area.sum() == pytest.approx(36.0)
    on_top = np.flatnonzero(mesh.nodes_mm[:, 2] > top - 1e-6)
    np.testing.assert_array_equal(nodes, on_top)
    middle = area @ mesh.nodes_mm[nodes] / 36.0
    np.testing.assert_allclose(middle[:2], [2.0, 2.0], atol=1e-9)
    if n_nodes == 10:
        assert (area[nodes < bricks.n_nodes] == 0).all()


def test_interfaces_lie_between_two_regions() -> None:
    labels, _ = block()
    mesh = in_tetrahedra(voxel_mesh(labels, 2.0), 4)
    found = interfaces(mesh)
    assert set(found) == {"trabecular_lesion"}
    patch = found["trabecular_lesion"]
    assert patch.area_mm2 == pytest.approx(28.0**2, rel=1e-6)
    np.testing.assert_allclose(mesh.nodes_mm[patch.nodes, 2], 0.0, atol=1e-9)
    assert (mesh.region[patch.faces[:, 0]] == 2).all()


def test_what_a_deck_cannot_hold_is_refused(tmp_path: Path) -> None:
    for numbers, cap in (({"head": "cup"}, "femoral_head"), ({"distal": "pivot"}, "distal_shaft")):
        with pytest.raises(InputError, match=f"has no rigid cap '{cap}' to put on another mesh"):
            stance(False, np.eye(3), STANCE | numbers)
    labels, anatomy = block()
    mesh = voxel_mesh(labels, 2.0, anatomy.frame)
    E = np.full(mesh.n_elements, 1000.0)
    other = load_case("torsion", {}, UP)
    with pytest.raises(InputError, match=r"'torsion' can't be put on another mesh; known: single"):
        loaded_deck(mesh, E, 0.3, anatomy, other, anatomy.frame)
    press = load_case("endplate_compression", {"strain": 0.01, "height_mm": 24.0}, -UP)
    with pytest.raises(InputError, match=r"\(3,\) moduli for"):
        loaded_deck(mesh, E[:3], 0.3, anatomy, press, anatomy.frame)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, press, anatomy.frame)
    with pytest.raises(InputError, match="names 1 that the mesh does not have"):
        replace(deck, node_sets={"N_far": np.array([10**6])})
    made = fitted_parts(labels, anatomy, ["caps"])
    mesh = voxel_mesh(made.labels, 2.0, anatomy.frame, ALL)
    E = np.full(mesh.n_elements, 1000.0)
    deck, _ = loaded_deck(mesh, E, 0.3, anatomy, press, anatomy.frame, made.parts)
    for suffix in WRITERS:  # names are short enough for all
        write_deck(deck, tmp_path / f"a{suffix}")


def test_parts_belong_to_a_bone() -> None:
    labels, anatomy = block()
    with pytest.raises(InputError, match="a vertebra takes caps, each once; asked for cup"):
        fitted_parts(labels, anatomy, ["cup"])
    bone, femoral = femur()
    with pytest.raises(
        InputError, match="a femur takes cup and pad, each once; asked for cup, cup"
    ):
        fitted_parts(bone, femoral, ["cup", "cup"])
    assert fitted_parts(labels, anatomy, []).labels is labels
    with pytest.raises(InputError, match="from back to front"):
        fitted_parts(bone, femoral, ["cup"], femoral.frame[:, 1])

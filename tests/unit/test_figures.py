"""Figures: what stands where in the picture, and in which colour."""

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image as Pillow

from bonekit.errors import InputError
from bonekit.fem.model import Constraint, Load, Model
from bonekit.figures import levels, load_drawing, modulus_map, overlay, preview, strain_map
from bonekit.figures.canvas import canvas, letter, panel, png
from bonekit.figures.load import HELD, LOADED, MOVED, _resultant, marks, side_view
from bonekit.figures.maps import LESION, OVER, cut_indices, draw_cut, modulus_colours
from bonekit.figures.overlay import PLANES, Plane, draw_plane, level_indices, scene
from bonekit.figures.shell import BACK, FRONT, LEFT, RIGHT, View, paint, shell
from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import COLOURS, REGIONS

Array = NDArray[np.float64]


def pixels(data: bytes) -> Array:
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64) / 255


def where(picture: Array, colour: str | tuple[float, ...], tolerance: float = 0.02) -> Array:
    """Row and column, in 0..1, of the pixels of a colour, (n, 2)."""
    near = np.abs(picture - np.array(to_rgb(colour))).max(axis=2) < tolerance
    return np.argwhere(near) / np.array(near.shape)


def region_colour(value: int) -> tuple[float, ...]:
    return tuple(part / 255 for part in COLOURS[value])


def one_panel(width: float = 400, height: float = 400) -> tuple[Figure, Axes]:
    figure = canvas(width, height)
    return figure, panel(figure, 0, 0, width, height)


def ball(spacing: tuple[float, float, float] = (1, 1, 1), lesion: bool = False) -> LabelMap:
    """Ball of 15 mm radius in a cube of 60 mm."""
    shape = tuple(round(60 / step) for step in spacing)
    grid = Grid.of((shape[0], shape[1], shape[2]), spacing, (-30, 40, 100))
    centre = grid.world((np.array(shape) - 1) / 2)
    distance = np.linalg.norm(grid.points() - centre, axis=-1)
    array = np.where(distance < 15, 2, 0)
    array[(distance < 15) & (distance > 12)] = 1
    if lesion:
        array[distance < 4] = 3
    return LabelMap(array.astype(np.uint8), grid, REGIONS, COLOURS)


def ct_of(labels: LabelMap) -> Image:
    """CT with a bright mark to the right, front and top of the bone (low x, low y, high z)."""
    hu = np.full(labels.shape, -100, dtype=np.int16)
    low = [n // 4 for n in labels.shape]
    hu[low[0] - 1 : low[0] + 2, low[1] - 1 : low[1] + 2, -low[2] - 2 : -low[2] + 1] = 2000
    return Image(hu, labels.grid)


def box(shape: tuple[int, int, int] = (6, 8, 16), lesion: bool = False) -> VoxelMesh:
    region = np.full(shape, 2, dtype=np.uint8)
    if lesion:
        region[2:4, 3:5, 6:9] = 3
    return VoxelMesh(region, Grid.of(shape, 2.0, (5, 6, 7)), {2: "trabecular", 3: "lesion"})


def pressed(mesh: VoxelMesh, force: tuple[float, float, float] = (0, 0, -50)) -> Model:
    height = mesh.node_ijk[:, 2]
    top = np.flatnonzero((height == height.max()) & (mesh.node_ijk[:, 0] <= 3))
    load = Load("upper_end", top, np.tile(force, (len(top), 1)) / len(top))
    held = Constraint("lower_end", np.flatnonzero(height == 0))
    return Model(mesh, np.full(mesh.n_elements, 1000.0), 0.3, (held,), (load,))


# -- the CT ------------------------------------------------------------------------------------


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_right_and_front_are_left_and_front_and_head_are_up(plane: Plane) -> None:
    labels = ball()
    view = scene(ct_of(labels), labels, margin_mm=15)
    mark = np.argwhere(view.ct.array == 2000).mean(axis=0).astype(int)
    through = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    figure, axes = one_panel()
    draw_plane(axes, view, plane, int(mark[through]))
    for text in axes.texts + axes.lines:
        text.remove()
    row, column = where(pixels(png(figure)), "white").mean(axis=0)
    assert row < 0.45
    assert column < 0.45


def test_the_way_the_voxels_are_stored_does_not_matter() -> None:
    labels = ball()
    ct = ct_of(labels)
    affine = labels.affine.copy()
    affine[:3, 3] = labels.grid.world((labels.shape[0] - 1, 0, labels.shape[2] - 1))
    affine[:, [0, 2]] *= -1
    flipped = Grid(labels.shape, affine)
    other = LabelMap(labels.array[::-1, :, ::-1], flipped, REGIONS, COLOURS)
    drawn = overlay(Image(ct.array[::-1, :, ::-1], flipped), other)
    assert np.array_equal(pixels(drawn), pixels(overlay(ct, labels)))


@pytest.mark.parametrize("spacing", [(1, 1, 3), (0.5, 2, 1)])
def test_a_ball_is_round_on_anisotropic_voxels(spacing: tuple[float, float, float]) -> None:
    labels = ball(spacing)
    view = scene(ct_of(labels), labels)
    middle = view.index(None)
    for plane, (*_, through) in PLANES.items():
        figure, axes = one_panel()
        draw_plane(axes, view, plane, int(middle[through]))
        found = where(pixels(png(figure)), region_colour(1), 0.1)
        height, width = np.ptp(found, axis=0)
        assert width / height == pytest.approx(1, abs=0.11)


def test_the_outline_lies_on_the_border_of_the_region() -> None:
    labels = ball()
    ct = Image(np.where(labels.array > 0, 1000, -200).astype(np.int16), labels.grid)
    figure, axes = one_panel()
    view = scene(ct, labels, margin_mm=15)
    draw_plane(axes, view, "axial", view.ct.shape[2] // 2)
    for text in axes.texts + axes.lines:
        text.remove()
    picture = pixels(png(figure))
    bone, line = where(picture, "white"), where(picture, region_colour(1), 0.05)
    assert_allclose(line.max(axis=0), bone.max(axis=0), atol=0.02)
    assert_allclose(line.min(axis=0), bone.min(axis=0), atol=0.02)


@pytest.mark.parametrize("draw", [overlay, levels])
def test_only_regions_that_are_there_are_drawn_and_named(
    draw: Callable[[Image, LabelMap], bytes],
) -> None:
    without, lesion = ball(), ball(lesion=True)
    purple = region_colour(3)
    assert len(where(pixels(draw(ct_of(without), without)), purple)) == 0
    assert len(where(pixels(draw(ct_of(lesion), lesion)), purple)) > 200


def test_planes_go_through_the_point() -> None:
    labels = ball(lesion=True)
    inside, outside = labels.grid.world((29.5, 29.5, 29.5)), labels.grid.world((29.5, 29.5, 38))
    counts = [
        len(where(pixels(overlay(ct_of(labels), labels, at)), region_colour(3)))
        for at in (inside, outside)
    ]
    assert counts[0] > 1.2 * counts[1]


def test_planes_go_through_the_lesion_unless_told_otherwise() -> None:
    labels = ball(lesion=True)
    array = np.where(labels.array == 3, 2, labels.array).astype(np.uint8)
    array[22, 30, 35] = 3
    with_lesion = labels.with_array(array)
    view = scene(ct_of(labels), with_lesion, margin_mm=3)
    assert view.labels.array[tuple(view.index(None))] == 3


def test_levels_run_down_and_share_the_bone() -> None:
    labels = ball()
    view = scene(ct_of(labels), labels)
    at = level_indices(view)
    assert at == sorted(at, reverse=True)
    share = [view.bone[:, :, : k + 1].sum() / view.bone.sum() for k in at]
    assert_allclose(share, [0.96, 0.74, 0.5, 0.26, 0.04], atol=0.06)


def test_ct_and_labels_must_share_a_grid_and_hold_bone() -> None:
    labels = ball()
    with pytest.raises(InputError, match="different grids"):
        overlay(ct_of(ball((1, 1, 2))), labels)
    with pytest.raises(InputError, match="no bone"):
        levels(ct_of(labels), labels.with_array(np.zeros_like(labels.array)))


def test_directions_are_named_in_lps() -> None:
    named = {"L": (1, 0.2, 0), "R": (-1, 0, 0.9), "P": (0, 1, 0), "A": (0, -1, 0)}
    for name, vector in (named | {"S": (0, 0.1, 1), "I": (0.3, 0, -1)}).items():
        assert letter(vector) == name


# -- maps over the elements --------------------------------------------------------------------


def test_a_cut_puts_values_where_the_elements_are() -> None:
    mesh = box()
    E = np.full(mesh.n_elements, 10.0)
    right_top = (mesh.element_ijk[:, 0] < 3) & (mesh.element_ijk[:, 2] >= 8)
    E[right_top] = 10_000.0
    colours = modulus_colours(E)
    figure, axes = one_panel(200, 400)
    draw_cut(axes, mesh, E, "coronal", cut_indices(mesh), colours)
    picture = pixels(png(figure))
    stiff = where(picture, colours.to_rgba(10_000.0)[:3])  # type: ignore[index,arg-type]
    soft = where(picture, colours.to_rgba(10.0)[:3])  # type: ignore[index,arg-type]
    assert stiff.max() < 0.51
    assert len(soft) == pytest.approx(3 * len(stiff), rel=0.1)


def test_a_cut_goes_through_the_point_or_the_most_bone() -> None:
    region = np.ones((5, 6, 7), dtype=np.uint8)
    region[:2, :3, :4] = 0
    mesh = VoxelMesh(region, Grid.of((5, 6, 7), 2.0, (10, 20, 30)), {1: "cortex"})
    assert cut_indices(mesh, (16, 28, 33)).tolist() == [3, 4, 2]
    assert cut_indices(mesh, (1000, 28, -1000)).tolist() == [4, 4, 0]
    assert cut_indices(mesh).tolist() == [2, 3, 4]
    region[4, 5, 4:] = 3
    mesh = VoxelMesh(region, mesh.grid, {1: "cortex", 3: "lesion"})
    assert cut_indices(mesh).tolist() == [4, 5, 5]


def test_only_elements_over_the_limit_are_red() -> None:
    mesh = box()
    below = np.full(mesh.n_elements, 0.999)
    above = below.copy()
    above[mesh.element_ijk[:, 2] >= 8] = 1.001
    none, half = (len(where(pixels(strain_map(mesh, r)), OVER)) for r in (below, above))
    assert none < 600  # the box of the colour bar
    assert half > 10_000


def test_the_lesion_is_outlined_if_there_is_one() -> None:
    for mesh, least, most in ((box(), 0, 0), (box(lesion=True), 200, 10**6)):
        drawn = where(pixels(modulus_map(mesh, np.full(mesh.n_elements, 500.0))), LESION)
        in_legend = drawn[:, 0] > 0.92
        assert least <= np.count_nonzero(in_legend) <= most
        assert least <= np.count_nonzero(~in_legend) <= most


def test_values_must_fit_the_mesh() -> None:
    mesh = box()
    with pytest.raises(InputError, match=r"\(3,\) moduli for a mesh of 768 elements"):
        modulus_map(mesh, np.ones(3))
    with pytest.raises(InputError, match="strain ratios"):
        strain_map(mesh, np.ones(3))
    with pytest.raises(InputError, match="positive"):
        modulus_map(mesh, np.zeros(mesh.n_elements))


def test_a_uniform_modulus_can_be_drawn() -> None:
    mesh = box()
    assert pixels(modulus_map(mesh, np.full(mesh.n_elements, 500.0))).shape[1] == 1600


# -- the surface -------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0, 30])
def test_the_shell_is_closed_and_keeps_its_volume(smoothing: int) -> None:
    labels = ball((2, 2, 2))
    mesh = VoxelMesh(labels.array, labels.grid, dict(REGIONS))
    outer = shell(mesh, smoothing)
    assert_allclose(outer.flat_normals.sum(axis=0), 0, atol=1e-8)
    centre = outer.points_mm[outer.quads].mean(axis=1)
    volume = np.einsum("ij,ij->", centre, outer.flat_normals) / 6
    assert volume == pytest.approx(8 * mesh.n_elements, rel=0.05 if smoothing else 1e-12)
    assert_allclose(np.linalg.norm(outer.normals, axis=1), 1)


@pytest.mark.parametrize(
    ("view", "axis", "first"),
    [(FRONT, 1, True), (BACK, 1, False), (RIGHT, 0, True), (LEFT, 0, False)],
)
def test_near_faces_hide_far_ones(view: View, axis: int, first: bool) -> None:
    region = np.zeros((9, 9, 9), dtype=np.uint8)
    near, far = [slice(2, 7)] * 3, [slice(2, 7)] * 3
    near[axis], far[axis] = slice(0, 2), slice(6, 8)
    region[tuple(near)], region[tuple(far)] = 1, 2
    mesh = VoxelMesh(region, Grid.of((9, 9, 9), 1.0), {1: "cortex", 2: "trabecular"})
    outer = shell(mesh, 0)
    red = np.array([(1.0, 0, 0), (0, 0, 1.0)])[mesh.element_region[outer.element] - 1]
    figure, axes = one_panel()
    paint(axes, outer, view, red)
    picture = pixels(png(figure))
    reds = np.count_nonzero((picture[..., 0] > 0.3) & (picture[..., 2] < 0.1))
    blues = np.count_nonzero((picture[..., 2] > 0.3) & (picture[..., 0] < 0.1))
    assert (reds > 10_000) == first
    assert (blues > 10_000) == (not first)
    assert min(reds, blues) == 0


@pytest.mark.parametrize("view", [FRONT, BACK, LEFT, RIGHT])
def test_views_are_rotations(view: View) -> None:
    assert_allclose(view.axes.T @ view.axes, np.eye(3))
    assert np.linalg.det(view.axes) == pytest.approx(1)


# -- the load ----------------------------------------------------------------------------------


def test_arrows_stand_on_the_loaded_end_and_the_held_end_is_coloured() -> None:
    picture = pixels(load_drawing(pressed(box())))
    loaded, legend_at = where(picture, LOADED), 0.93
    arrows = loaded[loaded[:, 0] < legend_at]
    assert len(arrows) > 500
    assert arrows[:, 0].max() < 0.6
    assert len(where(picture, MOVED)) == 0
    assert len(where(picture, HELD)) > 0


def test_a_push_ends_on_the_bone_and_a_pull_starts_there() -> None:
    """The head of the large arrow, its widest part, is near the bone or away from it."""
    spread = {}
    for name, force in (("push", (0, 0, -50)), ("pull", (0, 0, 50))):
        picture = pixels(load_drawing(pressed(box(), force)))
        arrow = where(picture, LOADED)
        arrow = arrow[(arrow[:, 0] < 0.93) & (arrow[:, 1] < 0.5)]
        rows, counts = np.unique(arrow[:, 0], return_counts=True)
        free = rows < np.quantile(arrow[:, 0], 0.75)
        spread[name] = float(np.average(rows[free], weights=counts[free] ** 2))
    assert spread["push"] > spread["pull"] + 0.01


@pytest.mark.parametrize("force", [(0, 0, -50), (0, 0, 50), (20, 0, -50)])
def test_arrows_lie_outside_the_bone(force: tuple[float, float, float]) -> None:
    model = pressed(box(), force)
    outer = shell(model.mesh)
    near, far = _resultant(outer, marks(model)[1], FRONT)
    assert outer.points_mm[:, 2].max() < near[1] < far[1]
    along = (far - near) / np.linalg.norm(far - near)
    assert abs(along @ (force[0], force[2])) == pytest.approx(np.linalg.norm(force))


def test_marks_name_forces_displacements_and_supports() -> None:
    mesh = box()
    nodes = np.arange(5)
    moved = Constraint("upper_end", nodes, (2,), -0.25)
    roller = Constraint("side", nodes, (0,))
    model = Model(
        mesh,
        np.ones(mesh.n_elements),
        0.3,
        (Constraint("base", nodes), roller, moved),
        (Load("head", nodes, np.tile((0.0, 300.0, -400.0), (5, 1))),),
    )
    found = marks(model)
    assert [mark.name for mark in found] == [
        "base: held",
        "side: held in part",
        "upper end: moved",
        "head: loaded",
    ]
    assert [mark.value for mark in found] == ["", "", "0.25 mm", "2,500 N"]
    assert [mark.colour for mark in found] == [HELD, HELD, MOVED, LOADED]
    assert [mark.acts for mark in found] == [False, False, True, True]
    assert_allclose(found[2].vector, (0, 0, -0.25))
    assert len(load_drawing(model)) > 10_000


def test_the_side_view_is_from_the_loaded_side() -> None:
    model = pressed(box())
    assert side_view(model, marks(model)) is RIGHT
    assert side_view(model, []) is LEFT


# -- all of them -------------------------------------------------------------------------------


def test_the_preview_says_its_headline() -> None:
    labels, mesh = ball(lesion=True), box()
    ratio = np.linspace(0, 1.2, mesh.n_elements)
    named, other = (
        pixels(preview(ct_of(labels), labels, pressed(mesh), ratio, headline=text))
        for text in ("Left femur: 4.32 kN", "")
    )
    changed = np.argwhere(np.abs(named - other).max(axis=2) > 0.1)
    assert len(changed) > 1000
    assert changed[:, 0].max() < 80
    for colour in (LOADED, OVER, region_colour(3)):
        assert len(where(named, colour)) > 50


def test_the_same_input_gives_the_same_bytes() -> None:
    model = pressed(box())
    assert load_drawing(model) == load_drawing(model)


def test_neither_vtk_nor_pyplot_is_loaded() -> None:
    code = (
        "import sys, bonekit.figures; "
        "print([m for m in ('vtkmodules', 'pyvista', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

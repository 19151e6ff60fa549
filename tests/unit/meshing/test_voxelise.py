from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import distance_field
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import REGIONS

Bone = Callable[..., LabelMap]
CENTRE = (3.0, -40.0, 120.0)
TURN = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])


@pytest.mark.parametrize("axes", ["cubic", "thick", "flipped", "mirrored", "oblique"])
@pytest.mark.parametrize("direction", [None, TURN], ids=["world", "turned"])
def test_volume_and_place_are_kept(bone: Bone, axes: str, direction: np.ndarray | None) -> None:
    labels = bone(axes)
    mesh = voxel_mesh(labels, 1.5, direction)
    voxels = np.count_nonzero(labels.array) * labels.grid.voxel_mm3
    assert mesh.n_elements * 1.5**3 == pytest.approx(voxels, rel=1e-4)
    np.testing.assert_allclose(mesh.centres_mm.mean(axis=0), CENTRE, atol=0.15)
    for value, tolerance in ((1, 0.06), (2, 0.03), (3, 0.08)):
        expected = np.count_nonzero(labels.array == value) * labels.grid.voxel_mm3
        found = np.count_nonzero(mesh.element_region == value) * 1.5**3
        assert found == pytest.approx(expected, rel=tolerance)


def test_bricks_of_the_voxel_size_are_the_voxels(bone: Bone) -> None:
    labels = bone("cubic")
    mesh = voxel_mesh(labels, 1.0)
    voxel = tuple(np.rint(labels.grid.index(mesh.centres_mm)).astype(int).T)
    assert mesh.n_elements == pytest.approx(np.count_nonzero(labels.array), rel=0.002)
    assert np.mean(labels.array[voxel] == mesh.element_region) > 0.99


def test_thick_slices_leave_no_steps(bone: Bone) -> None:
    """The brick surface lies nearer to the ellipsoid than that of the nearest voxel."""
    labels = bone("thick", lesion=False)
    mesh = voxel_mesh(labels, 1.0)
    centres = mesh.grid.points()
    radius = np.sqrt((((centres - CENTRE) / (20.0, 14.0, 30.0)) ** 2).sum(axis=-1))
    index = np.rint(labels.grid.index(centres)).astype(int)
    index = np.clip(index, 0, np.array(labels.shape) - 1)
    nearest = labels.array[tuple(np.moveaxis(index, -1, 0))] > 0
    wrong = np.count_nonzero(mesh.mask != (radius < 1))
    assert wrong < 0.75 * np.count_nonzero(nearest != (radius < 1))


def test_distance_field_has_the_volume_of_its_mask(bone: Bone) -> None:
    labels = bone("thick")
    mask = labels.array == 3
    field = distance_field(mask, labels.grid)
    inside = np.count_nonzero(field.resampled(0.25).values < 0) * 0.25**3
    assert inside == pytest.approx(np.count_nonzero(mask) * labels.grid.voxel_mm3, rel=0.01)


def test_only_the_largest_piece_stays(bone: Bone) -> None:
    array = bone().array.copy()
    array[2:6, 2:6, 2:6] = 1
    labels = bone().with_array(array)
    mesh = voxel_mesh(labels, 1.0)
    assert mesh.n_removed == pytest.approx(64, abs=12)
    assert mesh.n_elements == voxel_mesh(bone(), 1.0).n_elements


def test_threshold_orders_the_meshes(bone: Bone) -> None:
    counts = [voxel_mesh(bone(), 2.0, threshold=t).n_elements for t in (0.1, 0.5, 1.0)]
    assert counts[0] > counts[1] > counts[2]


def test_a_bone_cut_by_the_border_ends_there(bone: Bone) -> None:
    whole = bone("thick")
    cut = whole.crop((0, 0, 12), whole.shape)
    mesh = voxel_mesh(cut, 1.0)
    voxels = np.count_nonzero(cut.array) * cut.grid.voxel_mm3
    assert mesh.n_elements == pytest.approx(voxels, rel=0.015)
    assert mesh.nodes_mm[:, 2].min() == pytest.approx(cut.grid.world((0, 0, -0.5))[2], abs=0.6)


@pytest.mark.parametrize("edge_mm", [1.0, 3.0, 6.0])
def test_cubes_have_the_volume_of_the_label(bone: Bone, edge_mm: float) -> None:
    """Whole cubes can't hold it nearer than half of one."""
    labels = bone("thick")
    mesh = voxel_mesh(labels, edge_mm, TURN)
    voxels = np.count_nonzero(labels.array) * labels.grid.voxel_mm3
    assert abs(mesh.n_elements * edge_mm**3 - voxels) <= 0.5 * edge_mm**3


def test_a_corner_can_be_chosen(bone: Bone) -> None:
    for corner in ((0.3, -7.7, 41.9), (900.0, -800.0, 1000.1)):
        mesh = voxel_mesh(bone(), 2.0, TURN, corner_mm=corner)
        off = (mesh.nodes_mm - corner) @ TURN / 2.0
        np.testing.assert_allclose(off, np.rint(off), atol=1e-9)
        assert mesh.n_elements == pytest.approx(voxel_mesh(bone(), 2.0, TURN).n_elements, rel=1e-3)


@pytest.mark.parametrize(
    ("edge", "message"),
    [(0.01, "million"), (25.0, "too coarse"), (np.nan, "positive"), (-1.0, "positive")],
)
def test_absurd_edges_are_refused(bone: Bone, edge: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        voxel_mesh(bone(), edge)


def test_bad_input_is_refused(bone: Bone) -> None:
    labels = bone()
    one = np.zeros_like(labels.array)
    with pytest.raises(InputError, match="0 voxels"):
        voxel_mesh(labels.with_array(one), 1.0)
    one[40, 40, 40] = 1
    with pytest.raises(InputError, match=r"1 voxel of .* near \(3.5, -39.5, 120.5\) mm"):
        voxel_mesh(labels.with_array(one), 1.0)
    with pytest.raises(InputError, match=r"none of the regions.*cortex"):
        voxel_mesh(labels, 1.0, regions=("vertebra",))
    with pytest.raises(InputError, match="right-handed"):
        voxel_mesh(labels, 1.0, np.diag([1, 1, -1]))
    with pytest.raises(InputError, match="perpendicular"):
        voxel_mesh(labels, 1.0, np.ones((3, 3)))
    with pytest.raises(InputError, match="threshold"):
        voxel_mesh(labels, 1.0, threshold=0.0)
    assert 10 in REGIONS  # a label map may name more than the bone


def test_left_handed_bricks_turn_outward() -> None:
    grid = Grid.of((1, 1, 1), 2.0, (0, 0, 0), np.diag([-1.0, 1.0, 1.0]))
    mesh = VoxelMesh(np.ones((1, 1, 1), dtype=np.uint8), grid, {1: "bone"})
    x = mesh.nodes_mm[mesh.world_elements[0]]
    assert np.linalg.det(x[[1, 3, 4]] - x[0]) == pytest.approx(8.0)


def test_a_region_without_a_cube_is_refused_with_its_place() -> None:
    array = np.zeros((12, 12, 12), dtype=np.uint8)
    array[1:11, 1:11, 1:11] = 1
    array[6, 6, 6] = 3
    labels = LabelMap(
        array, Grid.of(array.shape, 1.0, (10.0, 0.0, 0.0)), {1: "cortex", 3: "lesion"}
    )
    with pytest.raises(
        InputError, match=r"'lesion' \(1 mm3 near \(16.0, 6.0, 6.0\) mm\) has no cube"
    ):
        voxel_mesh(labels, 3.0)
    assert set(np.unique(voxel_mesh(labels, 3.0, keep_regions=False).region)) == {0, 1}


@pytest.mark.parametrize(("spacing", "unit"), [(1e-3, "metres"), (1e3, "micrometres")])
def test_an_image_in_other_units_is_refused(spacing: float, unit: str) -> None:
    array = np.pad(np.ones((10, 10, 10), dtype=np.uint8), 1)
    labels = LabelMap(array, Grid.of(array.shape, spacing), {1: "cortex"})
    with pytest.raises(InputError, match=rf"near \(.*looks like {unit}: multiply"):
        voxel_mesh(labels, 2.0)

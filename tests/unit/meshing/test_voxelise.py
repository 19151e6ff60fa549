import time
from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.meshing.distance import distance_field
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import sample_elements, voxel_mesh
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
    assert mesh.n_elements * 1.5**3 == pytest.approx(voxels, rel=0.015)
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


def test_linear_image_is_sampled_exactly(bone: Bone) -> None:
    labels = bone("oblique")
    gradient = np.array([2.0, -3.0, 0.5])
    image = Image(labels.grid.points() @ gradient, labels.grid)
    mesh = voxel_mesh(labels, 2.0)
    for n in (1, 2, 3):
        sampled = sample_elements(image, mesh, None, n)
        np.testing.assert_allclose(sampled, mesh.centres_mm @ gradient, atol=1e-6)


def test_mask_keeps_the_surroundings_out(bone: Bone) -> None:
    labels = bone("thick")
    image = Image(np.where(labels.array > 0, 1000.0, -100.0), labels.grid)
    mesh = voxel_mesh(labels, 2.0)
    plain, masked = sample_elements(image, mesh), sample_elements(image, mesh, labels)
    surface = plain < 999
    assert surface.sum() > 500
    assert (masked >= plain - 1e-9).all()
    assert masked[surface].mean() > plain[surface].mean() + 80
    assert masked.min() > 400


def test_outside_and_nan_are_refused(bone: Bone) -> None:
    labels = bone()
    mesh = voxel_mesh(labels, 2.0)
    image = Image(np.zeros(labels.shape), labels.grid)
    with pytest.raises(InputError, match=r"\d+ of \d+ bricks lie outside"):
        sample_elements(image.crop((0, 0, 40), labels.shape), mesh)
    bad = np.zeros(labels.shape)
    bad[40, 40, 40] = np.nan
    with pytest.raises(InputError, match="not finite in"):
        sample_elements(Image(bad, labels.grid), mesh)


def test_a_hundred_thousand_bricks_take_seconds() -> None:
    region = np.ones((50, 50, 40), dtype=np.uint8)
    mesh = VoxelMesh(region, Grid.of(region.shape, 1.0, (1, 1, 1)), {1: "bone"})
    image = Image(np.zeros((60, 60, 50), dtype=np.int16), Grid.of((60, 60, 50), 1.0))
    start = time.perf_counter()
    assert sample_elements(image, mesh).shape == (100_000,)
    assert time.perf_counter() - start < 10


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
    with pytest.raises(InputError, match="1 voxels"):
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

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import distance_field
from bonekit.meshing.smooth_bricks import (
    SmoothBricks,
    corner_jacobians,
    smooth_boundary,
    volumes_mm3,
)
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh

Bone = Callable[..., LabelMap]
CENTRE, RADII = np.array([3.0, -40.0, 120.0]), np.array([20.0, 14.0, 30.0])


def off_ellipsoid(points: np.ndarray) -> np.ndarray:
    x = (points - CENTRE) / RADII
    radius = np.linalg.norm(x, axis=1)
    return np.abs(radius - 1) * radius / np.linalg.norm(x / RADII, axis=1)


@pytest.mark.parametrize("axes", ["cubic", "oblique"])
@pytest.mark.parametrize("edge_mm", [2.0, 3.0])
def test_outer_nodes_come_to_the_surface(bone: Bone, axes: str, edge_mm: float) -> None:
    labels = bone(axes)
    mesh = voxel_mesh(labels, edge_mm)
    made = smooth_boundary(mesh, distance_field(labels.array > 0, labels.grid, edge_mm))
    outer = np.bincount(made.cells.ravel()) < 8
    before, after = (off_ellipsoid(x[outer]) for x in (mesh.nodes_mm, made.nodes_mm))
    assert after.mean() < 0.5 * before.mean()
    jacobian = corner_jacobians(made.nodes_mm, made.cells).min()
    assert made.least_jacobian == jacobian >= 0.2 - 1e-12
    assert (volumes_mm3(made.nodes_mm, made.cells) > 0).all()
    moved = np.linalg.norm(made.nodes_mm - mesh.nodes_mm, axis=1)
    assert made.largest_mm == moved.max() <= 0.7 * edge_mm + 1e-9
    np.testing.assert_array_equal(made.cells, mesh.world_elements)
    np.testing.assert_array_equal(made.region, mesh.element_region)
    total = volumes_mm3(made.nodes_mm, made.cells).sum()
    assert total == pytest.approx(4 / 3 * np.pi * RADII.prod(), rel=0.05)


def test_a_higher_limit_gives_better_bricks_further_off(bone: Bone) -> None:
    labels = bone()
    mesh, field = voxel_mesh(labels, 2.5), distance_field(labels.array > 0, labels.grid, 2.5)
    low, high = (smooth_boundary(mesh, field, limit) for limit in (0.1, 0.8))
    assert high.least_jacobian >= 0.8 - 1e-12
    assert low.least_jacobian < 0.5
    assert high.off_mm > 1.2 * low.off_mm
    assert high.held > low.held


def test_random_meshes_never_invert() -> None:
    """Walls of one brick, edges and corners that touch: at the worst a brick stays as it is."""
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.standard_normal((14, 13, 12)), 1.0)
    region = np.pad((noise > 0.1), 1).astype(np.uint8)
    mesh = VoxelMesh(region, Grid.of(region.shape, 1.0), {1: "bone"})
    made = smooth_boundary(mesh, distance_field(region > 0, mesh.grid, 1.0))
    assert corner_jacobians(made.nodes_mm, made.cells).min() >= 0.2 - 1e-12
    assert made.largest_mm > 0.1


def test_jacobians_and_volumes_of_known_bricks() -> None:
    cells = np.arange(8)[None]
    cube = np.array(
        [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
        dtype=float,
    )
    np.testing.assert_allclose(corner_jacobians(2 * cube, cells), 1.0)
    sheared = cube + cube[:, 2:] * np.array([1.0, 0.0, 0.0])  # by 45 degrees
    np.testing.assert_allclose(corner_jacobians(sheared, cells), np.sqrt(0.5))
    assert volumes_mm3(sheared, cells)[0] == pytest.approx(1.0)
    frustum = cube.copy()
    frustum[4:, :2] = 0.25 + 0.5 * frustum[4:, :2]
    assert volumes_mm3(frustum, cells)[0] == pytest.approx((1 + 0.5 + 0.25) / 3)
    with pytest.raises(MeshQualityError, match="inverted"):
        SmoothBricks(cube * [1, 1, -1], cells, np.ones(1, dtype=np.uint8))


def test_bad_input_is_refused(bone: Bone) -> None:
    labels = bone()
    mesh = voxel_mesh(labels, 3.0)
    field = distance_field(labels.array > 0, labels.grid, 3.0)
    with pytest.raises(InputError, match="least_jacobian"):
        smooth_boundary(mesh, field, 1.5)
    small = ndimage.binary_erosion(labels.array > 0, iterations=9)
    with pytest.raises(InputError, match="belong together"):
        smooth_boundary(mesh, distance_field(small, labels.grid, 20.0))

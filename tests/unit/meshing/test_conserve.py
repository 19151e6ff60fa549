"""An image of the bone alone, and its mean over a mesh."""

from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.meshing.conserve import bone_image, conserving_factor
from bonekit.meshing.sampling import integral, sample_elements
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh

Bone = Callable[..., LabelMap]
AXES = ["cubic", "thick", "mirrored", "oblique"]


def amount(image: Image, labels: LabelMap) -> float:
    """Sum over the voxels of the bone, in the image's unit times mm3."""
    return float(image.array[labels.array > 0].sum(dtype=float) * labels.grid.voxel_mm3)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("conserve", [True, False])
def test_even_bone_stays_even_whatever_is_round_it(bone: Bone, axes: str, conserve: bool) -> None:
    labels = bone(axes)
    image = Image(np.where(labels.array > 0, 0.7, -0.1).astype(np.float32), labels.grid)
    mesh = voxel_mesh(labels, 3.0)
    made = sample_elements(bone_image(image, labels, mesh, conserve), mesh)
    np.testing.assert_allclose(made, 0.7, rtol=1e-6)
    assert sample_elements(image, mesh).min() < 0.5


@pytest.mark.parametrize("axes", AXES)
def test_a_dense_shell_keeps_its_mineral(bone: Bone, axes: str) -> None:
    labels = bone(axes)
    density = np.choose(labels.array, [-0.1, 1.2, 0.2, 0.4]).astype(np.float32)
    image, mesh = Image(density, labels.grid), voxel_mesh(labels, 3.0)
    wanted = amount(image, labels)
    kept, _ = integral(bone_image(image, labels, mesh), mesh)
    assert kept == pytest.approx(wanted, rel=0.001)  # whole cubes: half of one of 1300
    carried, _ = integral(bone_image(image, labels, mesh, conserve=False), mesh)
    plain, _ = integral(image, mesh)
    assert abs(carried / wanted - 1) < 0.025
    assert plain / wanted - 1 < -0.08
    factor = conserving_factor(image, labels, mesh)
    assert carried * factor == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
def test_an_image_stored_otherwise_is_carried_over_alike(
    bone: Bone, order: tuple[int, int, int]
) -> None:
    """Of several voxels of the bone that are equally near, none is preferred."""
    labels = bone("cubic")
    noise = np.random.default_rng(0).normal(0.7, 0.2, labels.shape).astype(np.float32)
    affine = labels.grid.affine.copy()
    affine[:, :3] = affine[:, list(order)]
    grid = Grid(tuple(labels.shape[n] for n in order), affine)
    stored = LabelMap(labels.array.transpose(order), grid, labels.names)
    mesh = voxel_mesh(labels, 3.0)
    one = sample_elements(bone_image(Image(noise, labels.grid), labels, mesh), mesh)
    two = sample_elements(bone_image(Image(noise.transpose(order), grid), stored, mesh), mesh)
    np.testing.assert_allclose(two, one, rtol=1e-5)


def test_a_mask_on_a_grid_of_its_own(bone: Bone) -> None:
    labels = bone("cubic")
    image = Image(np.where(labels.array > 0, 0.7, -0.1).astype(np.float32), labels.grid)
    mesh = voxel_mesh(labels, 3.0)
    cropped = labels.crop((5, 5, 5), labels.shape)
    same = bone_image(image, cropped, mesh).array
    np.testing.assert_array_equal(same, bone_image(image, labels, mesh).array)


def test_bone_without_density_is_left_alone(bone: Bone) -> None:
    labels = bone("cubic")
    mesh = voxel_mesh(labels, 3.0)
    assert conserving_factor(Image(np.zeros(labels.shape), labels.grid), labels, mesh) == 1.0


def test_what_does_not_belong_together_is_refused(bone: Bone) -> None:
    labels = bone("cubic")
    mesh = voxel_mesh(labels, 3.0)
    density = np.choose(labels.array, [-0.1, 1.2, 0.2, 0.4]).astype(np.float32)
    image = Image(density, labels.grid)
    core = labels.with_array((labels.array == 2).astype(np.uint8))
    with pytest.raises(
        InputError, match=r"in the mask is .* times .* Label only the bone that was"
    ):
        bone_image(
            Image(np.where(labels.array == 2, 0.1, 1.0 + image.array), labels.grid),
            labels,
            VoxelMesh(mesh.region * (mesh.region == 2), mesh.grid, mesh.names),
        )
    assert bone_image(image, core, mesh).array.max() < 0.3
    with pytest.raises(InputError, match="no voxel near the mesh"):
        bone_image(image, labels.with_array(np.zeros_like(labels.array)), mesh)
    away = VoxelMesh(np.ones((2, 2, 2), np.uint8), Grid.of((2, 2, 2), 1.0, (900, 0, 0)), {1: "b"})
    with pytest.raises(InputError, match="all elements lie outside"):
        bone_image(image, labels, away)
    broken = density.copy()
    broken[0, 0, 0] = np.nan  # far from the bone: no matter
    bone_image(Image(broken, labels.grid), labels, mesh)
    broken[tuple(np.argwhere(labels.array == 2)[0])] = np.nan
    with pytest.raises(InputError, match=r"not finite in 1 of \d+ voxels of the bone \(first: at"):
        bone_image(Image(broken, labels.grid), labels, mesh)

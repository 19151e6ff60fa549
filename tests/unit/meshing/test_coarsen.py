from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.coarsen import coarsen
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh

Bone = Callable[..., LabelMap]
TURN = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_mass_and_volume_are_kept(bone: Bone, factor: int) -> None:
    mesh = voxel_mesh(bone("thick"), 1.0, TURN)
    density = np.random.default_rng(0).uniform(0.1, 1.5, mesh.n_elements)
    made = coarsen(mesh, density, factor)
    mass = density.sum() * mesh.grid.voxel_mm3
    assert made.density_g_cm3.sum() * made.mesh.grid.voxel_mm3 == pytest.approx(mass, rel=1e-13)
    assert abs(made.mesh.n_elements * factor**3 - mesh.n_elements) <= factor**3 / 2
    np.testing.assert_allclose(made.mesh.grid.spacing_mm, factor)
    assert 0 < made.moved < {2: 0.06, 3: 0.09, 5: 0.16}[factor]
    # the centre of mass stays: mass moves to neighbours only
    before = density @ mesh.centres_mm / density.sum()
    after = made.density_g_cm3 @ made.mesh.centres_mm / made.density_g_cm3.sum()
    np.testing.assert_allclose(after, before, atol=0.05 * factor)


def test_full_blocks_are_averaged_exactly() -> None:
    shape = (4, 6, 8)
    region = np.ones(shape, dtype=np.uint8)
    region[:, :, 4:] = 2
    mesh = VoxelMesh(region, Grid.of(shape, 0.5, (1, 2, 3), TURN), {1: "cortex", 2: "trabecular"})
    density = np.random.default_rng(1).random(mesh.n_elements)
    made = coarsen(mesh, density, 2)
    expected = density.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(made.density_g_cm3, expected.ravel(), rtol=1e-14)
    assert made.moved == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_array_equal(made.mesh.region[..., :2], 1)
    np.testing.assert_array_equal(made.mesh.region[..., 2:], 2)
    low, high = mesh.nodes_mm.min(axis=0), mesh.nodes_mm.max(axis=0)
    np.testing.assert_allclose(made.mesh.nodes_mm.min(axis=0), low, atol=1e-12)
    np.testing.assert_allclose(made.mesh.nodes_mm.max(axis=0), high, atol=1e-12)


def test_the_lower_end_stays(bone: Bone) -> None:
    mesh = voxel_mesh(bone().crop((0, 0, 30), bone().shape), 1.0)
    made = coarsen(mesh, np.ones(mesh.n_elements), 3)
    assert made.mesh.nodes_mm[:, 2].min() == pytest.approx(mesh.nodes_mm[:, 2].min(), abs=1e-9)


def test_small_pieces_go_but_their_mass_stays() -> None:
    region = np.zeros((20, 6, 6), dtype=np.uint8)
    region[:10] = 1
    region[14:18, 2:4, 2:4] = 1
    mesh = VoxelMesh(region, Grid.of(region.shape, 1.0), {1: "bone"})
    made = coarsen(mesh, np.full(mesh.n_elements, 2.0), 2)
    assert made.mesh.n_removed == 2
    assert made.density_g_cm3.sum() * 8 == pytest.approx(2.0 * mesh.n_elements, rel=1e-14)


def test_bad_input_is_refused(bone: Bone) -> None:
    mesh = voxel_mesh(bone(), 2.0)
    ones = np.ones(mesh.n_elements)
    for factor in (1, 8, 2.5):
        with pytest.raises(InputError, match=r"factor .* from 2 to 7"):
            coarsen(mesh, ones, factor)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one finite density"):
        coarsen(mesh, ones[1:], 2)
    with pytest.raises(InputError, match="1 that are not finite"):
        coarsen(mesh, np.where(np.arange(len(ones)) == 3, np.nan, ones), 2)

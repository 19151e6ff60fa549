import numpy as np
import pytest
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.sampling import sample_elements
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.mineral import mineral
from bonekit.segmentation.base import COLOURS, REGIONS, Segmentation

GRID = Grid.of((60, 56, 50), (0.8, 0.8, 1.0), (-24.0, -22.0, -25.0))
P = GRID.world(np.moveaxis(np.indices(GRID.shape), 0, -1))
RADIUS = np.linalg.norm(P, axis=-1)
SOFT, TRABECULAR, CORTEX = 0.1, 0.3, 1.0


def ball(distal_mm: float = -100.0) -> Segmentation:
    """A ball of bone with a shell, another bone beside it."""
    region = np.zeros(GRID.shape, dtype=np.uint8)
    region[RADIUS < 15] = 1
    region[RADIUS < 11] = 2
    region[P[..., 0] > 21] = 10
    zero = np.zeros(3)
    anatomy = FemurAnatomy(
        "right", zero, 15.0, np.array([1.0, 0, 0]), zero, np.array([0, 0, 1.0]), distal_mm, 60, 700
    )  # fmt: skip
    return Segmentation(
        "femur_right", LabelMap(region, GRID, dict(REGIONS), dict(COLOURS)), anatomy
    )


def seen(segmentation: Segmentation, sigma_mm: float) -> DensityImage:
    value = np.array([SOFT, CORTEX, TRABECULAR, 0, 0, 0, 0, 0, 0, 0, CORTEX])
    exact = value[segmentation.labels.array]
    blurred = ndimage.gaussian_filter(exact, sigma_mm / GRID.spacing_mm, mode="nearest")
    return DensityImage(blurred.astype(np.float32), GRID, DensityKind.ASH)


def exact_g(segmentation: Segmentation, where: np.ndarray) -> float:
    count = np.bincount(segmentation.labels.array[where], minlength=3)
    return float(count[1] * CORTEX + count[2] * TRABECULAR) * GRID.voxel_mm3 / 1000


def test_without_blur_all_mineral_is_in_the_mask() -> None:
    bone = ball()
    density = seen(bone, 0.0)
    mesh = voxel_mesh(bone.labels, 1.0)
    found = mineral(density, bone, mesh, np.full(mesh.n_elements, 0.5))
    total = exact_g(bone, np.ones(GRID.shape, bool))
    assert found.mask_g == pytest.approx(total, rel=1e-6)
    assert found.spilled_g == pytest.approx(0.0, abs=1e-6)
    assert found.mask["cortex"].density_g_cm3 == pytest.approx(CORTEX)
    assert found.mask["trabecular"].density_g_cm3 == pytest.approx(TRABECULAR)
    assert found.mask["lesion"].volume_ml == found.mask["lesion"].density_g_cm3 == 0.0
    assert found.mesh_g == pytest.approx(0.5 * mesh.n_elements / 1000)
    cortex = np.count_nonzero(mesh.element_region == 1)
    assert found.mesh["cortex"].mass_g == pytest.approx(0.5 * cortex / 1000)


def test_what_the_blur_spills_is_found_around_the_mask() -> None:
    bone = ball()
    density = seen(bone, 0.7)
    mesh = voxel_mesh(bone.labels, 1.0)
    found = mineral(density, bone, mesh, sample_elements(density, mesh))
    shell = (bone.labels.array == 0) & (RADIUS < 19) & (P[..., 0] < 16)
    truth = float((density.array[shell] - SOFT).sum()) * GRID.voxel_mm3 / 1000
    assert found.spilled_g == pytest.approx(truth, rel=0.1)  # what lies near the other bone is left
    assert 0.05 < found.spilled_g / found.mask_g < 0.2
    assert found.image_g == pytest.approx(found.mask_g + found.spilled_g)


def test_a_femur_counts_from_where_it_was_cut() -> None:
    bone = ball(distal_mm=-5.0)
    mesh = voxel_mesh(bone.labels, 1.0)
    found = mineral(seen(bone, 0.0), bone, mesh, np.zeros(mesh.n_elements))
    assert found.mask_g == pytest.approx(exact_g(bone, P[..., 2] >= -5.0), rel=1e-6)
    assert found.mesh_g == 0.0

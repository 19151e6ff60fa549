"""Voxel mesh of a bone along its own axes, and the density that its elements get."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.bone import bone_mesh, bone_of, element_density
from bonekit.meshing.sampling import sample_elements
from bonekit.segmentation.base import COLOURS, REGIONS, Segmentation

TURN = Rotation.from_euler("xyz", (12, -8, 25), degrees=True).as_matrix()
CENTRE = np.array([12.0, -7.0, 40.0])  # of the head
GRID = Grid.of((70, 60, 90), (1.2, 1.2, 1.5), CENTRE - [55.0, 36.0, 95.0])
ACROSS = (GRID.points() - CENTRE) @ TURN  # right, posterior, superior
HEIGHT = ACROSS[..., 2]


def femur(distal_mm: float = 20.0) -> Segmentation:
    """Right femur as a head on a leaning bar; a lesion in the bar, the pelvis over it."""
    anatomy = FemurAnatomy(
        "right", CENTRE, 20.0, -TURN[:, 0],
        CENTRE + TURN @ np.array([-30.0, 0.0, -80.0]), TURN[:, 2], distal_mm, 60.0, 700.0,
    )  # fmt: skip
    beside = np.hypot(ACROSS[..., 0] + 30, ACROSS[..., 1])
    head = np.linalg.norm(ACROSS, axis=-1) < 20
    neck = (np.abs(ACROSS[..., 0] + 15) < 25) & (np.hypot(ACROSS[..., 1], HEIGHT) < 12)
    bar = (beside < 14) & (HEIGHT < 8) & (HEIGHT > -80)
    region = np.zeros(GRID.shape, dtype=np.uint8)
    region[HEIGHT > 24] = 10
    region[head | neck | bar] = 2
    region[bar & (beside > 10)] = 1
    lesion = np.linalg.norm(ACROSS - [-30, 0, -30], axis=-1) < 8
    region[lesion] = 3
    labels = LabelMap(region, GRID, dict(REGIONS), dict(COLOURS))
    return Segmentation("femur_right", labels, anatomy)


def density(segmentation: Segmentation, inside, outside: float = 0.0) -> DensityImage:
    array = np.where(segmentation.bone_mask, inside, outside).astype(np.float32)
    return DensityImage(array, GRID, DensityKind.ASH)


def test_the_mesh_runs_along_the_bones_axes() -> None:
    segmentation = femur()
    mesh = bone_mesh(segmentation, 2.0)
    np.testing.assert_allclose(mesh.grid.direction, segmentation.anatomy.frame, atol=1e-12)
    np.testing.assert_allclose(mesh.grid.spacing_mm, 2.0)
    assert set(np.unique(mesh.element_region)) == {1, 2, 3}
    assert mesh.names == {1: "cortex", 2: "trabecular", 3: "lesion"}
    index = np.rint(GRID.index(mesh.centres_mm)).astype(int)
    same = segmentation.labels.array[tuple(index.T)] == mesh.element_region
    assert same.mean() > 0.85
    lesion = 8 * np.count_nonzero(mesh.element_region == 3)
    assert lesion == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.05)


@pytest.mark.parametrize("distal_mm", [0.0, 20.0])
def test_a_femur_is_cut_square_at_its_lowest_complete_section(distal_mm: float) -> None:
    segmentation = femur(distal_mm)
    mesh = bone_mesh(segmentation, 2.0)
    height = segmentation.anatomy.height_mm(mesh.centres_mm)
    assert distal_mm <= height.min() < distal_mm + 2.0
    whole = segmentation.bone_mask & (distal_mm - 80.0 <= HEIGHT)
    expected = np.count_nonzero(whole) * GRID.voxel_mm3
    assert 8.0 * mesh.n_elements == pytest.approx(expected, rel=0.02)  # measured -1.2 %
    lowest = np.count_nonzero(height < height.min() + 1e-6)
    if distal_mm > 0:  # no wedge
        assert 4.0 * lowest == pytest.approx(np.pi * 14**2, rel=0.06)


def test_a_vertebra_is_not_cut() -> None:
    labels = femur().labels
    frame = VertebraAnatomy(CENTRE, CENTRE, CENTRE, TURN[:, 2], -TURN[:, 2], TURN[:, 2],
                            -TURN[:, 1], 30.0, 30.0, 40.0)  # fmt: skip
    whole = Segmentation("vertebra_L3", labels, frame)
    mesh = bone_mesh(whole, 2.0)
    np.testing.assert_allclose(mesh.grid.direction, TURN, atol=1e-12)
    expected = np.count_nonzero(whole.bone_mask) * GRID.voxel_mm3
    assert 8.0 * mesh.n_elements == pytest.approx(expected, rel=0.02)  # measured -1.2 %


def test_surface_elements_take_the_bone_in_them_alone() -> None:
    segmentation = femur()
    mesh = bone_mesh(segmentation, 2.0)
    image = density(segmentation, 1.0)
    made = element_density(image, mesh, segmentation)
    assert made.shape == (mesh.n_elements,)
    assert made.max() == pytest.approx(1.0)
    assert made.min() > 0.5  # a point of the bone is inside to half at least
    plain = sample_elements(image, mesh)
    assert plain.min() < 0.5
    assert (made >= plain - 1e-6).all()
    assert made.mean() > plain.mean() + 0.015


def test_density_in_the_depth_is_the_mean_over_the_element() -> None:
    """A linear field is its own mean at the centre of each element."""
    segmentation = femur()
    mesh = bone_mesh(segmentation, 2.0)
    slope = np.array([0.004, -0.003, 0.005])
    image = DensityImage((0.5 + (GRID.points() - CENTRE) @ slope).astype(np.float32), GRID)
    made = element_density(image, mesh, segmentation, conserve=False)
    exact = 0.5 + (mesh.centres_mm - CENTRE) @ slope
    assert np.mean(np.abs(made - exact) < 1e-5) > 0.6
    assert np.abs(made - exact).max() < 0.01  # surface elements: the mean of their inner part


def test_other_bone_is_left_out() -> None:
    segmentation = femur()
    mesh = bone_mesh(segmentation, 2.0)
    dense_pelvis = np.where(segmentation.labels.array == 10, 5.0, 0.5).astype(np.float32)
    made = element_density(DensityImage(dense_pelvis, GRID), mesh, segmentation)
    far = np.linalg.norm((mesh.centres_mm - CENTRE) @ TURN - [0, 0, 24], axis=1) > 8
    np.testing.assert_allclose(made[far], 0.5, atol=1e-6)


@pytest.mark.parametrize("distal_mm", [0.0, 20.3])
@pytest.mark.parametrize("edge_mm", [1.5, 3.0])
def test_mass_is_kept(edge_mm: float, distal_mm: float) -> None:
    """Of a field with a wavelength of 16 mm that drops to zero outside the bone."""
    segmentation = femur(distal_mm)
    image = density(segmentation, 0.6 + 0.3 * np.sin(GRID.points() @ [0.3, 0.2, 0.15]))
    mesh = bone_mesh(segmentation, edge_mm)
    meshed = bone_of(segmentation).array > 0
    voxels = float(image.array[meshed].sum(dtype=float) * GRID.voxel_mm3)
    elements = float(element_density(image, mesh, segmentation).sum() * edge_mm**3)
    assert elements == pytest.approx(voxels, rel=0.005)


def test_the_bone_ends_where_the_mesh_does() -> None:
    segmentation = femur(20.3)
    bone, whole = bone_of(segmentation).array > 0, segmentation.bone_mask
    height = segmentation.anatomy.height_mm(GRID.points())
    np.testing.assert_array_equal(bone, whole & (height >= 20.3))
    mesh = bone_mesh(segmentation, 2.0)
    assert segmentation.anatomy.height_mm(mesh.nodes_mm).min() == pytest.approx(20.3, abs=1e-9)

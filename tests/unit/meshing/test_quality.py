import numpy as np
import pytest

from bonekit.errors import MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.quality import check, dihedral_angles, report, scaled_jacobian
from bonekit.meshing.surface import Surface
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import REGIONS

REGULAR = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[[0, 2, 1, 3]]
CORNER = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
ONE = np.array([[0, 1, 2, 3]])
OUTWARD = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def tetrahedron(nodes: np.ndarray) -> TetMesh:
    return TetMesh(nodes, ONE, np.ones(1, dtype=np.uint8), {1: "cortex"})


def test_known_tetrahedra() -> None:
    assert scaled_jacobian(REGULAR, ONE) == pytest.approx(1.0)
    assert scaled_jacobian(CORNER, ONE) == pytest.approx(1 / np.sqrt(2))
    np.testing.assert_allclose(dihedral_angles(REGULAR, ONE), np.degrees(np.arccos(1 / 3)))
    slant = np.degrees(np.arccos(1 / np.sqrt(3)))
    np.testing.assert_allclose(np.sort(dihedral_angles(CORNER, ONE)[0]), [slant] * 3 + [90] * 3)


def test_inverted_and_flat_elements_are_named() -> None:
    check(report(tetrahedron(CORNER)))
    for bad in (CORNER[[0, 2, 1, 3]], CORNER * (1, 1, 1e-6)):
        with pytest.raises(MeshQualityError, match=r"inverted or flat elements \(elements 0\)"):
            check(report(tetrahedron(bad)))


def test_slivers_are_only_remarked() -> None:
    found = report(tetrahedron(CORNER * (1, 1, 0.02)))
    assert [issue.severity for issue in found.issues] == ["warning", "warning"]
    check(found)


def test_open_and_inward_surfaces_are_refused() -> None:
    closed = Surface(CORNER, OUTWARD, np.ones(4, dtype=np.uint8))
    check(report(closed))
    assert report(closed).volume_ml == pytest.approx(1 / 6000)
    with pytest.raises(MeshQualityError, match="3 open edges"):
        check(report(Surface(CORNER, OUTWARD[:3], closed.region[:3])))
    with pytest.raises(MeshQualityError, match="inward"):
        check(report(Surface(CORNER, OUTWARD[:, ::-1], closed.region)))


def test_voxels_joined_by_an_edge_are_remarked() -> None:
    region = np.zeros((2, 2, 1), dtype=np.uint8)
    region[0, 0, 0] = region[1, 1, 0] = 1
    mesh = VoxelMesh(region, Grid.of(region.shape, 2.0), {1: "cortex"})
    found = report(mesh)
    assert found.non_manifold_edges == 1
    assert found.region_volume_ml == {"cortex": pytest.approx(0.016)}
    check(found)


def test_lost_volume_is_remarked_and_printed() -> None:
    labels = LabelMap(np.ones((2, 2, 2), dtype=np.uint8), Grid.of((2, 2, 2), 2.0), REGIONS)
    region = np.ones((2, 2, 1), dtype=np.uint8)
    mesh = VoxelMesh(region, Grid.of(region.shape, 2.0), {1: "cortex"})
    text = str(report(mesh, labels))
    assert "cortex: 0.032 ml (label 0.064 ml, 50.0%)" in text
    assert "warning: volume 0.03 ml against 0.06 ml of the label map (-50.0%)" in text

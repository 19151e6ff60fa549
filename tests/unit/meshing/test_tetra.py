from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.meshing.fidelity import surface_distances
from bonekit.meshing.levelset import largest_piece
from bonekit.meshing.quality import TETRA_FACES, report
from bonekit.meshing.tetra import TetMesh, tetra_mesh

Bone = Callable[..., LabelMap]
CENTRE, RADII = np.array([3.0, -40.0, 120.0]), np.array([20.0, 14.0, 30.0])


@pytest.fixture(scope="module")
def mesh(bone: Bone) -> TetMesh:
    return tetra_mesh(bone("oblique"), 4.0)


def faces(mesh: TetMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each face once, how many elements it has, and of which regions it is."""
    every = np.sort(mesh.tetrahedra[:, TETRA_FACES].reshape(-1, 3), axis=1)
    face, number, count = np.unique(every, axis=0, return_inverse=True, return_counts=True)
    region = np.repeat(mesh.region.astype(int), 4)
    low, high = np.full(len(face), 99), np.zeros(len(face), dtype=int)
    np.minimum.at(low, number.ravel(), region)
    np.maximum.at(high, number.ravel(), region)
    return face, count, np.stack([low, high], axis=1)


def test_volumes_and_quality(bone: Bone, mesh: TetMesh) -> None:
    found = report(mesh, bone("oblique"))
    assert found.issues == ()
    for name, volume in found.label_volume_ml.items():
        assert found.region_volume_ml[name] == pytest.approx(volume, rel=0.01)
    assert found.scaled_jacobian is not None
    assert found.dihedral_deg is not None
    assert found.scaled_jacobian[0] > 0.15  # what mending reaches; 0.1 is the limit
    assert found.scaled_jacobian[1] > 0.5
    assert found.dihedral_deg[0] > 15
    assert found.dihedral_deg[1] < 157
    for region in (None, "cortex", "trabecular", "lesion"):
        away = surface_distances(mesh, bone("oblique"), region, in_voxels=True)
        assert np.percentile(away, 95) < 0.5


def test_conforming_with_the_lesion_as_faces(mesh: TetMesh) -> None:
    face, count, region = faces(mesh)
    assert count.max() == 2
    interface = face[(region[:, 1] == 3) & (region[:, 0] != 3) & (count == 2)]
    away = np.linalg.norm(mesh.nodes_mm[interface] - CENTRE - (13, 0, 4), axis=-1)
    assert len(interface) > 30
    assert np.abs(np.median(away) - 9) < 0.3
    outer = np.unique(face[count == 1])
    x = (mesh.nodes_mm[outer] - CENTRE) / RADII
    radius = np.linalg.norm(x, axis=1)
    distance = np.abs(radius - 1) * radius / np.linalg.norm(x / RADII, axis=1)
    assert np.percentile(distance, 95) < 0.5


def test_the_same_twice_and_silent(
    bone: Bone, mesh: TetMesh, capfd: pytest.CaptureFixture[str]
) -> None:
    again = tetra_mesh(bone("oblique"), 4.0)
    np.testing.assert_array_equal(again.tetrahedra, mesh.tetrahedra)
    np.testing.assert_array_equal(again.nodes_mm, mesh.nodes_mm)
    assert capfd.readouterr() == ("", "")


def test_one_body_has_the_regions_by_sampling(bone: Bone) -> None:
    labels = bone("mirrored")
    body = tetra_mesh(labels, 4.0, interfaces=())
    assert body.volumes_mm3.min() > 0
    assert set(np.unique(body.region)) == {1, 2, 3}
    voxels = np.count_nonzero(labels.array == 3) * labels.grid.voxel_mm3
    assert body.volumes_mm3[body.region == 3].sum() == pytest.approx(voxels, rel=0.15)


def test_pieces_apart_are_dropped(bone: Bone) -> None:
    array = bone().array.copy()
    array[2:12, 2:12, 2:12] = 1
    mesh = tetra_mesh(bone().with_array(array), 5.0)
    assert mesh.n_removed == 1000
    assert mesh.nodes_mm[:, 2].min() > CENTRE[2] - 32


def test_largest_piece_joins_by_faces_only() -> None:
    tetrahedra = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 5, 6]])  # the last by an edge
    kept, removed = largest_piece(tetrahedra)
    np.testing.assert_array_equal(kept, [True, True, False])
    assert removed == 1


def test_bad_input_is_refused(bone: Bone) -> None:
    with pytest.raises(InputError, match="interfaces"):
        tetra_mesh(bone(), 4.0, interfaces=("marrow",))
    with pytest.raises(InputError, match="million"):
        tetra_mesh(bone(), 0.1)
    with pytest.raises(InputError, match="too coarse"):
        tetra_mesh(bone(), 20.0)
    with pytest.raises(InputError, match="fine_mm"):
        tetra_mesh(bone(), 4.0, fine_mm={"marrow": 1.0})
    with pytest.raises(InputError, match="order of the elements is 1 or 2, got 3"):
        tetra_mesh(bone(), 4.0, order=3)
    with pytest.raises(InputError, match="positive number of mm, got -1"):
        tetra_mesh(bone(), -1.0)
    with pytest.raises(InputError, match="tetrahedra must be"):
        TetMesh(np.zeros((4, 3)), np.zeros((1, 3), dtype=int), np.ones(1, dtype=np.uint8))

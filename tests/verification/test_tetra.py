"""Tetrahedra of hard label maps: thin walls, touching lesions, caps, cut bones, and noise."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.fidelity import surface_distances
from bonekit.meshing.levelset import boundary, crowded_edges, faces
from bonekit.meshing.quality import report
from bonekit.meshing.tetra import Near, TetMesh, tetra_mesh

NAMES = {1: "cortex", 2: "trabecular", 3: "lesion", 4: "second", 5: "cap"}
REGIONS = tuple(NAMES.values())


def hard_bone() -> LabelMap:
    """Ellipsoid cut by the border, a wall of one voxel, two touching lesions, a cap."""
    x, y, z = np.meshgrid(*[np.arange(34.0)] * 3, indexing="ij")

    def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        return sum(((u - c) / r) ** 2 for u, c, r in zip((x, y, z), centre, radii, strict=True))

    array = np.zeros(x.shape, dtype=np.uint8)
    outer = ball((16.3, 16.1, 8.0), (12.0, 11.0, 20.0)) < 1
    array[(ball((16.3, 16.1, 8.0), (14.5, 13.5, 22.5)) < 1) & (z > 20)] = 5
    array[outer] = 1
    array[ball((16.3, 16.1, 8.0), (11.0, 10.0, 19.0)) < 1] = 2
    array[outer & (ball((25.0, 16.0, 9.0), (5.0, 5.0, 5.0)) < 1)] = 3
    array[outer & (array != 3) & (ball((19.0, 16.0, 9.0), (4.5, 4.5, 4.5)) < 1)] = 4
    return LabelMap(array, Grid.of(array.shape, 1.0, (10.0, -20.0, 5.0)), NAMES)


@pytest.fixture(scope="module")
def mesh() -> TetMesh:
    return tetra_mesh(hard_bone(), 4.0, REGIONS, order=2)


def test_every_region_keeps_its_volume_and_its_surface(mesh: TetMesh) -> None:
    labels = hard_bone()
    found = report(mesh, labels)
    assert found.issues == ()
    assert set(found.region_volume_ml) == set(REGIONS)
    assert found.curved_ratio is not None
    assert found.curved_ratio > 0.1
    for name, volume in found.label_volume_ml.items():
        allowed = 0.02 if volume < 1 else 0.01
        assert found.region_volume_ml[name] == pytest.approx(volume, rel=allowed)
        assert np.percentile(surface_distances(mesh, labels, name), 95) < 0.5


def test_regions_share_their_faces_and_the_middles_of_edges(mesh: TetMesh) -> None:
    corners, of = faces(mesh.corners)
    assert len(np.unique(np.sort(corners, axis=1), axis=0)) == len(corners)
    pairs = {tuple(p) for p in np.sort(mesh.region[of[of[:, 1] >= 0]], axis=1).tolist()}
    assert {(1, 2), (1, 3), (2, 3), (3, 4), (2, 4), (1, 5)} <= pairs
    assert not len(crowded_edges(boundary(mesh.corners)))
    assert mesh.n_nodes == len(np.unique(mesh.tetrahedra))  # no middle twice, none unused


def test_the_cut_end_of_the_bone_is_flat(mesh: TetMesh) -> None:
    corners, of = faces(mesh.corners)
    x = mesh.nodes_mm[corners[of[:, 1] < 0]]
    end = np.abs(x.mean(axis=1)[:, 2] - 4.5) < 0.3
    area = np.linalg.norm(np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]), axis=1)[end].sum() / 2
    voxels = np.count_nonzero(hard_bone().array[:, :, 0])
    assert 0.85 * voxels < area < voxels  # less the rounded rim


def test_loads_and_lesions_get_small_elements() -> None:
    array = np.zeros((30, 30, 30), dtype=np.uint8)
    array[4:26, 4:26, 4:26] = 2
    array[11:17, 11:17, 11:17] = 3
    labels = LabelMap(array, Grid.of(array.shape, 1.0), NAMES)
    xy = np.stack(np.meshgrid(np.arange(12, 18.0), np.arange(12, 18.0)), axis=-1).reshape(-1, 2)
    load = Near(np.column_stack([xy, np.full(len(xy), 25.5)]), 1.0)
    mesh = tetra_mesh(labels, 5.0, REGIONS, near=(load,), fine_mm={"lesion": 2.0})
    size = np.cbrt(8.5 * mesh.volumes_mm3)  # edge of the regular tetrahedron

    def about(point: tuple[float, float, float], radius: float) -> float:
        return float(np.median(size[np.linalg.norm(mesh.centres_mm - point, axis=1) < radius]))

    sizes = about((15, 15, 25), 3), about((13.5, 13.5, 13.5), 3), about((22, 22, 8), 4)
    assert all(a < 0.85 * b for a, b in pairwise(sizes)), sizes


@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_noise_is_meshed_well_or_refused_by_name(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(2, 3)] * 3))
    seed = data.draw(st.integers(0, 10_000))
    grain = data.draw(st.sampled_from([1, 2]))
    array = np.random.default_rng(seed).integers(0, 4, shape)
    for axis in range(3):
        array = np.repeat(array, grain, axis=axis)
    spacing = data.draw(st.sampled_from([(1.0, 1.0, 1.0), (0.8, 1.0, 2.0)]))
    labels = LabelMap(array.astype(np.uint8), Grid.of(array.shape, spacing), NAMES)
    try:
        mesh = tetra_mesh(labels, 1.5, REGIONS)
    except (InputError, MeshQualityError) as refusal:
        if len(str(refusal)) < 40:
            raise
        return
    found = report(mesh, labels)
    assert not [issue for issue in found.issues if issue.severity == "error"]
    assert found.scaled_jacobian is not None
    assert found.scaled_jacobian[0] > 0.1
    assert found.dihedral_deg is not None
    assert 10 < found.dihedral_deg[0] < found.dihedral_deg[1] < 165
    assert (found.open_edges, found.non_manifold_edges) == (0, 0)
    assert set(np.unique(mesh.region)) == set(np.unique(array)) - {0}

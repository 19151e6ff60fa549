"""Edges as long as chords of surfaces may be, and the check of what comes of it."""

import re

import numpy as np
import pytest

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing import tetra
from bonekit.meshing.conforming import PoorPlacesError
from bonekit.meshing.distance import DistanceField
from bonekit.meshing.fidelity import allowed_error, check_fidelity, distance_p95_voxels
from bonekit.meshing.quality import report
from bonekit.meshing.sag import bent, chord_sag, surface_points
from bonekit.meshing.shapes import Shape
from bonekit.meshing.sizing import GROWTH
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh

X, Y, Z = np.meshgrid(*[np.arange(31.0)] * 3, indexing="ij")
RADIUS = 10.0
BALL = LabelMap(
    ((X - 15) ** 2 + (Y - 15) ** 2 + (Z - 15) ** 2 < RADIUS**2).astype(np.uint8),
    Grid.of(X.shape, 1.0),
    {1: "cortex"},
)


@pytest.fixture(scope="module")
def exact() -> Shape:
    """A ball as it is between the voxels."""
    values = np.linalg.norm(np.stack([X, Y, Z]) - 15, axis=0) - RADIUS
    return Shape(0, DistanceField(values.astype(np.float32), BALL.grid), 4 / 3 * np.pi * RADIUS**3)


@pytest.fixture(scope="module")
def mesh() -> TetMesh:
    return tetra_mesh(BALL, 8.0)


def test_sag_of_a_chord_on_a_ball(exact: Shape) -> None:
    points = surface_points(exact, BALL)
    assert np.abs(np.linalg.norm(points - 15, axis=1) - RADIUS).max() < 0.05
    length = np.full(len(points), 6.0)
    sag = np.hypot(RADIUS, 3.0) - RADIUS  # of the ends beyond the ball
    np.testing.assert_allclose(chord_sag(points, length, exact), sag, atol=0.08)
    assert chord_sag(points, length / 100, exact).max() < 0.02


def test_lengths_keep_the_sag_and_stay_where_it_is_flat(exact: Shape) -> None:
    size = DistanceField(np.full(X.shape, 8.0, dtype=np.float32), BALL.grid)
    out = bent(size, [exact], BALL, 0.3)
    wanted = 2 * np.sqrt((RADIUS + 0.3) ** 2 - RADIUS**2)
    there = out.at(surface_points(exact, BALL))
    assert 0.6 * wanted < there.min() <= np.median(there) < 1.1 * wanted
    assert out.at([15.0, 15.0, 15.0]) > there.max() + GROWTH * RADIUS / 2
    slab = LabelMap((Z < 15).astype(np.uint8), BALL.grid, {1: "cortex"})
    flat = Shape(0, DistanceField((Z - 14.5).astype(np.float32), BALL.grid), 1.0)
    np.testing.assert_array_equal(bent(size, [flat], slab, 0.05).values, size.values)
    # Thick slices: the same sag across them is less of a voxel.
    lengths = []
    for grid in (BALL.grid, Grid.of(X.shape, (1.0, 1.0, 3.0))):
        x, y, z = np.moveaxis(grid.points(), -1, 0)
        bowl = z - 14.5 + 0.02 * ((x - 15) ** 2 + (y - 15) ** 2)
        shape = Shape(0, DistanceField(bowl.astype(np.float32), grid), 1.0)
        labels = LabelMap((bowl < 0).astype(np.uint8), grid, {1: "cortex"})
        lengths.append(bent(size, [shape], labels, 0.2).at([15.0, 15.0, 14.5]))
    assert lengths[1] > 1.3 * lengths[0]


def test_a_coarse_wish_is_met_with_edges_that_follow_the_surface(mesh: TetMesh) -> None:
    assert distance_p95_voxels(mesh, BALL) < 0.5
    coarse = tetra_mesh(BALL, 8.0, surface_voxels=3.0)
    assert coarse.n_elements < 0.8 * mesh.n_elements
    with pytest.raises(InputError, match="surface_voxels"):
        tetra_mesh(BALL, 8.0, surface_voxels=0.0)


def test_the_call_refuses_a_surface_that_is_too_far_off(caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros((12, 12, 12), dtype=np.uint8)
    array[3:9, 3:9, 3:9] = 1
    box = LabelMap(array, Grid.of(array.shape, 1.0), {1: "cortex"})
    with pytest.raises(MeshQualityError, match=r"the bone is 0\.\d+ voxels off .*0\.1 are allowed"):
        tetra_mesh(box, 2.0, surface_voxels=0.1)
    assert len(caplog.records) == 3  # one for each try


def test_volumes_and_surfaces_are_named_with_their_numbers(mesh: TetMesh) -> None:
    volume = float(np.count_nonzero(BALL.array))
    check_fidelity(mesh, BALL, {0: volume, 1: volume}, 0.5)
    with pytest.raises(MeshQualityError, match=r"region 'cortex' has -5\.\d% .*1% is allowed"):
        check_fidelity(mesh, BALL, {0: volume, 1: 1.055 * volume}, 0.5)
    moved = TetMesh(mesh.nodes_mm + np.array([1.2, 0, 0]), mesh.tetrahedra, mesh.region, mesh.names)
    with pytest.raises(MeshQualityError, match=r"'cortex' is 1\.\d+ voxels off.*most near"):
        check_fidelity(moved, BALL, {1: volume}, 0.5)
    assert report(mesh, BALL).issues == ()
    found = report(moved, BALL)
    assert found.distance_p95_voxels["cortex"] == distance_p95_voxels(moved, BALL, "cortex")
    assert "'cortex' is 1." in found.issues[0].message
    assert "off the faces of its voxels" in str(found)
    assert (allowed_error(999.0), allowed_error(1000.0)) == (0.02, 0.01)


def test_a_mesh_that_fails_at_a_place_is_made_again_with_shorter_edges_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[DistanceField] = []
    place = np.array([[15.0, 15, 6]])

    def attempt(ready: object, shapes: object, size: DistanceField, *rest: object) -> TetMesh:
        sizes.append(size)
        failed = place if len(sizes) < 3 else np.repeat(place, tetra.MOST_PLACES + 1, axis=0)
        raise PoorPlacesError(f"try {len(sizes)}", failed)

    monkeypatch.setattr(tetra, "_attempt", attempt)
    with pytest.raises(MeshQualityError, match="try 4"):
        tetra_mesh(BALL, 4.0)
    far = np.array([[15.0, 15, 24]])
    first, local, shorter, last = (size.at(np.concatenate([place, far])) for size in sizes)
    assert local[0] == pytest.approx(first[0] / 2)
    assert local[1] == pytest.approx(first[1])
    assert (shorter < first).all()  # everywhere, and no more at single places
    assert (last < shorter).all()


def test_the_refusal_of_a_surface_names_its_worst_place(mesh: TetMesh) -> None:
    grid = Grid.of(X.shape, 1.0, (100.0, 0, -40))
    ball = LabelMap(BALL.array, grid, BALL.names)
    top = int(mesh.nodes_mm[:, 2].argmax())
    spiked = mesh.nodes_mm + grid.origin_mm
    spiked[top, 2] += 4.0
    there = ", ".join(f"{x:.1f}" for x in spiked[top])
    spike = TetMesh(spiked, mesh.tetrahedra, mesh.region, mesh.names)
    with pytest.raises(MeshQualityError, match=re.escape(f"most near ({there}) mm: ")):
        check_fidelity(spike, ball, {0: float(spike.volumes_mm3.sum())}, 0.3)

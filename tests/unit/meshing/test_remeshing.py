import logging
import re
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.decimation import decimate
from bonekit.meshing.remeshing import remesh
from bonekit.meshing.repair import check_surface, repair
from bonekit.meshing.shared_surfaces import region_surfaces
from bonekit.meshing.surface import Surface
from bonekit.meshing.surface_reading import read_surface
from bonekit.meshing.triangles import away, edge_lengths

LIMIT_MM = 0.2


@pytest.fixture(scope="module")
def egg() -> Surface:
    mesh = pv.Icosphere(radius=1.0, nsub=4).clean().scale((20.0, 14.0, 30.0))
    triangles = np.asarray(mesh.regular_faces, dtype=np.int64)
    region = np.where(mesh.points[triangles].mean(axis=1)[:, 2] > 0, 2, 1).astype(np.uint8)
    return Surface(np.asarray(mesh.points, dtype=float), triangles, region, {1: "low", 2: "high"})


@pytest.mark.parametrize("edge_mm", [1.0, 3.0])
def test_edges_get_one_length(egg: Surface, edge_mm: float) -> None:
    made, found = remesh(egg, edge_mm)
    check_surface(made)
    low, median, high = np.percentile(edge_lengths(made.points_mm, made.triangles), [5, 50, 95])
    assert 0.7 * edge_mm < low
    assert median == pytest.approx(edge_mm, rel=0.1)
    assert high < 1.4 * edge_mm
    assert found.edge_mm == (low, median, high)
    assert found.least_angle_deg > 25
    assert made.volume_mm3 == pytest.approx(egg.volume_mm3, rel=1e-6)
    # over triangles of edge e the surface bulges by e^2 / (6 r); r = 14^2/30 mm at the poles
    assert found.largest_mm < (edge_mm**2 + 1.6**2) / (6 * 14**2 / 30)
    assert (found.largest_mm, found.mean_mm) == away(
        made.points_mm, made.triangles, egg.points_mm, egg.triangles
    )


def test_regions_are_kept(egg: Surface) -> None:
    made, _ = remesh(egg, 2.0)
    height = made.points_mm[made.triangles].mean(axis=1)[:, 2]
    assert (made.region[height > 1.5] == 2).all()
    assert (made.region[height < -1.5] == 1).all()
    assert made.names == egg.names


@pytest.mark.parametrize("limit_mm", [0.2, 0.4])
def test_decimation_keeps_within_its_distance(egg: Surface, limit_mm: float) -> None:
    made, found = decimate(egg, limit_mm)
    check_surface(made)
    assert found.largest_mm <= limit_mm
    assert found.n_after < {0.2: 0.6, 0.4: 0.3}[limit_mm] * found.n_before
    assert made.volume_mm3 == pytest.approx(egg.volume_mm3, rel=1e-6)


def test_too_far_off_is_refused(egg: Surface) -> None:
    with pytest.raises(MeshQualityError, match=r"over 0.01 mm off at .* near \(-?\d"):
        remesh(egg, 3.0, limit_mm=0.01)


@pytest.mark.parametrize(
    ("edge_mm", "message"),
    [(0.0, "positive"), (np.nan, "positive"), (0.01, "million"), (20.0, "too coarse")],
)
def test_absurd_edges_are_refused(egg: Surface, edge_mm: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        remesh(egg, edge_mm)
    with pytest.raises(InputError, match="positive"):
        decimate(egg, -1.0)


def box(size: float) -> Surface:
    """Cube of twelve triangles about the origin."""
    mesh = pv.Cube(x_length=size, y_length=size, z_length=size).triangulate().clean()
    triangles = np.asarray(mesh.regular_faces, dtype=np.int64)
    ones = np.ones(len(triangles), dtype=np.uint8)
    return Surface(np.asarray(mesh.points, dtype=float), triangles, ones, {1: "bone"})


def with_cavity(outer: Surface, inner: Surface) -> Surface:
    """Outer surface with the inner one turned inward."""
    n = len(outer.points_mm)
    triangles = np.concatenate([outer.triangles, inner.triangles[:, ::-1] + n])
    points = np.concatenate([outer.points_mm, inner.points_mm])
    return Surface(points, triangles, np.ones(len(triangles), dtype=np.uint8), {1: "bone"})


def test_a_cavity_of_a_voxel_keeps_its_triangles(egg: Surface) -> None:
    """MMG would flatten it to two triangles back to back."""
    hollow = with_cavity(egg, box(1.0))
    for made, found in (remesh(hollow, 3.0), decimate(hollow, 0.3)):
        check_surface(made)
        assert found.n_kept == 12
        assert found.n_after < len(egg.triangles) / 2
        assert made.volume_mm3 == pytest.approx(hollow.volume_mm3, rel=1e-6)


def test_edges_are_shorter_only_where_it_takes(egg: Surface) -> None:
    """Edges of 3 mm cut the poles by 0.3 mm, where the radius is 6.5 mm, the sides by 0.1 mm."""
    assert remesh(egg, 3.0)[1].largest_mm > LIMIT_MM
    made, found = remesh(egg, 3.0, LIMIT_MM)
    check_surface(made)
    assert 0 < found.finer < 0.4
    assert found.largest_mm <= LIMIT_MM
    height = np.abs(made.points_mm[:, 2])[made.triangles]
    side, pole = made.triangles[height.max(axis=1) < 10], made.triangles[height.min(axis=1) > 28]
    assert np.median(edge_lengths(made.points_mm, side)) == pytest.approx(3.0, rel=0.15)
    assert np.median(edge_lengths(made.points_mm, pole)) < 2.0


def ball(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Surface:
    mesh = pv.Icosphere(radius=radius, center=centre, nsub=4).clean()
    triangles = np.asarray(mesh.regular_faces, dtype=np.int64)
    ones = np.ones(len(triangles), dtype=np.uint8)
    return Surface(np.asarray(mesh.points, dtype=float), triangles, ones, {1: "bone"})


def thin_at_one_place() -> Surface:
    """Ball of 20 mm with a cavity that comes as near as 0.015 mm to its surface."""
    return with_cavity(ball(20.0), ball(12.0, (8.0 - 0.015, 0.0, 0.0)))


def test_walls_that_new_triangles_would_cross_get_shorter_edges(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Triangles of 3 mm cut off 0.06 mm of the ball, more than its wall has."""
    bone = thin_at_one_place()
    check_surface(bone)
    with caplog.at_level(logging.INFO, "bonekit.meshing.remeshing"):
        made, found = remesh(bone, 3.0)
    assert "crosses or touches itself at" in caplog.text
    check_surface(made)
    assert 0 < found.finer < 0.2
    assert made.volume_mm3 == pytest.approx(bone.volume_mm3, rel=1e-6)


def test_walls_that_stay_crossed_are_refused_with_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bonekit.meshing.remeshing.ATTEMPTS", 1)
    with pytest.raises(MeshQualityError, match=r"crosses or touches itself at .* near") as refused:
        remesh(thin_at_one_place(), 3.0)
    where = re.search(r"near \((.*?)\) mm", str(refused.value))
    assert where
    np.testing.assert_allclose([float(x) for x in where[1].split(",")], [20, 0, 0], atol=3.0)


# Voxels of 1 x 1 x 3 mm of a pelvis, 13 x 13 x 5 of them, with a neck of half a millimetre.
NECK = (
    "08421084000000000c6318c21080000006739ce318c600000f7bdef79ce7188407bdef7bdef79ce733def7bdef7b"
    "def7bcef7bdef5ef6b7bde33bdef7bffbdef7f004677bdefdef7bd800008cef7bffbdfc000002119cef7ffe00000"
    "00042339dff000000000108c6778"
)


def test_a_neck_that_new_triangles_would_pinch_off_keeps_its_own() -> None:
    """MMG joins both sides of it at two edges of four triangles."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(NECK), dtype=np.uint8))
    array = bits[: 13 * 13 * 5].reshape(13, 13, 5)
    labels = LabelMap(array, Grid.of(array.shape, (1.0, 1.0, 3.0)), {1: "pelvis"})
    bone = region_surfaces(labels, ("pelvis",)).of("pelvis")
    made, found = remesh(bone, 1.5)
    check_surface(made)
    assert 0 < found.n_kept < 0.05 * found.n_before
    assert found.finer == 0
    assert made.volume_mm3 == pytest.approx(bone.volume_mm3, rel=1e-6)


def test_what_cannot_be_fewer_comes_back_and_says_why() -> None:
    cube = box(20.0)
    made, found = decimate(cube, 0.1)
    assert made is cube
    assert found.n_after == found.n_before == 12
    assert "% of the triangles" in found.note


def test_a_real_femur(data: Path) -> None:
    bone, _ = repair(read_surface(data / "bone-meshes" / "gfxmorph_femur_cortex.stl"))
    made, found = remesh(bone, 3.0)
    check_surface(made)
    assert found.least_angle_deg > 15
    assert found.mean_mm < 0.1

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from bonekit.errors import InputError
from bonekit.meshing.holes import smallest_area
from bonekit.meshing.repair import Repairs, check_surface, repair
from bonekit.meshing.surface import Surface, write_surface
from bonekit.meshing.surface_reading import read_surface
from bonekit.meshing.triangles import area_vectors, faces_per_edge, volume

RADIUS = 20.0
CENTRE = np.array([30.0, -60.0, 900.0])


def ball(radius: float = RADIUS, centre: np.ndarray = CENTRE, n: int = 3) -> Surface:
    mesh = pv.Icosphere(radius=radius, center=centre, nsub=n).clean()
    return of(np.asarray(mesh.points, dtype=float), np.asarray(mesh.regular_faces, dtype=np.int64))


def of(points: np.ndarray, triangles: np.ndarray) -> Surface:
    return Surface(points, triangles, np.ones(len(triangles), dtype=np.uint8), {1: "bone"})


def joined(*parts: Surface) -> Surface:
    start = np.cumsum([0] + [len(p.points_mm) for p in parts])
    return of(
        np.concatenate([p.points_mm for p in parts]),
        np.concatenate([p.triangles + n for p, n in zip(parts, start, strict=False)]),
    )


def test_a_sound_surface_is_left_alone() -> None:
    made, done = repair(ball())
    assert done == Repairs()
    assert str(done) == "nothing to repair"
    assert made.triangles.shape == ball().triangles.shape
    check_surface(made)


def test_a_soup_of_triangles_is_stitched() -> None:
    whole = ball()
    soup = of(
        whole.points_mm[whole.triangles].reshape(-1, 3),
        np.arange(whole.triangles.size).reshape(-1, 3),
    )
    made, done = repair(soup)
    assert done.merged_points == whole.triangles.size - len(whole.points_mm)
    assert made.volume_mm3 == pytest.approx(whole.volume_mm3, rel=1e-12)
    check_surface(made)


def test_inverted_normals_are_turned_and_counted() -> None:
    triangles = ball().triangles.copy()
    triangles[::7] = triangles[::7, ::-1]
    turned = of(ball().points_mm, triangles)
    with pytest.raises(InputError, match=r"inverted normals, first near \(\d"):
        check_surface(turned)
    made, done = repair(turned)
    assert done.flipped == len(triangles[::7])
    assert made.volume_mm3 == pytest.approx(ball().volume_mm3, rel=1e-12)
    made, done = repair(of(ball().points_mm, ball().triangles[:, ::-1]))
    assert done.flipped == len(triangles)
    assert made.volume_mm3 > 0


def test_a_cavity_faces_inward() -> None:
    both = joined(ball(), ball(8.0), ball(3.0))
    made, done = repair(both)
    sizes = [ball(r).volume_mm3 for r in (RADIUS, 8.0, 3.0)]
    assert made.volume_mm3 == pytest.approx(sizes[0] - sizes[1] + sizes[2], rel=1e-12)
    assert done.flipped == len(ball().triangles)


@pytest.mark.parametrize("n", [1, 7])
def test_holes_are_closed(n: int) -> None:
    whole = ball()
    keep = np.ones(len(whole.triangles), dtype=bool)
    near = np.argsort(
        np.linalg.norm(whole.points_mm[whole.triangles].mean(axis=1) - (50, -60, 900), axis=1)
    )
    keep[near[:n]] = False
    made, done = repair(of(whole.points_mm, whole.triangles[keep]), hole_mm=12)
    assert (done.holes, done.flipped) == (1, 0)
    assert made.volume_mm3 == pytest.approx(whole.volume_mm3, rel=3e-3)
    check_surface(made)


def test_an_open_end_is_refused_with_its_place_and_closed_on_demand() -> None:
    whole = ball()
    cut = of(
        whole.points_mm,
        whole.triangles[(whole.points_mm[whole.triangles][..., 2] > 890).all(axis=1)],
    )
    with pytest.raises(
        InputError, match=r"open: 1 holes, the largest \d+\.\d mm wide at .*hole_mm=5\d"
    ):
        repair(cut)
    made, done = repair(cut, hole_mm=60)
    assert done.holes == 1
    height = RADIUS + 900 - made.points_mm[:, 2].min()
    assert made.volume_mm3 == pytest.approx(np.pi * height**2 * (RADIUS - height / 3), rel=0.02)
    check_surface(made)


def test_flaps_doubles_and_degenerate_triangles_go() -> None:
    whole = ball()
    a, b, _ = whole.triangles[0]
    points = np.concatenate([whole.points_mm, whole.points_mm[[a]] * 2 - CENTRE])
    extra = [whole.triangles[5], whole.triangles[5], (a, a, b), (a, b, len(points) - 1)]
    made, done = repair(of(points, np.concatenate([whole.triangles, extra])))
    assert (done.duplicate, done.degenerate, done.flaps, done.holes) == (2, 1, 1, 0)
    assert made.volume_mm3 == pytest.approx(whole.volume_mm3, rel=1e-12)
    check_surface(made)


def test_specks_go() -> None:
    made, done = repair(joined(ball(), ball(1.0, CENTRE + np.array([40, 0, 0]))))
    assert done.specks == 1
    assert made.volume_mm3 == pytest.approx(ball().volume_mm3, rel=1e-12)


def test_crossings_are_found_and_cut_out() -> None:
    whole = ball()
    points = whole.points_mm.copy()
    spike = int(np.argmax(points[:, 2]))
    points[spike, 2] -= 50.0  # out at the other side
    bad = of(points, whole.triangles)
    with pytest.raises(InputError, match="pairs of triangles cross, first near"):
        check_surface(bad)
    made, done = repair(bad)
    assert 6 <= done.cut_out < 150
    assert made.volume_mm3 == pytest.approx(whole.volume_mm3, rel=0.01)
    check_surface(made)


def test_two_bones_through_each_other_are_refused() -> None:
    with pytest.raises(InputError, match=r"crosses itself.*near \("):
        repair(joined(ball(n=2), ball(n=2, centre=CENTRE + np.array([15, 3, 2]))))


def test_a_wall_without_thickness_is_refused() -> None:
    sheet = pv.Plane(i_size=30, j_size=30, i_resolution=8, j_resolution=8).triangulate()
    front = np.asarray(sheet.regular_faces, dtype=np.int64)
    points = np.asarray(sheet.points, dtype=float)
    with pytest.raises(InputError, match=r"without thickness.*\(-?\d"):
        repair(of(points, np.concatenate([front, front[:, ::-1]])))
    box = pv.Box((0, 30, 0, 30, 0, 0.005), level=8).triangulate().clean()
    with pytest.raises(InputError, match=r"thinner than 0.01 mm.*near"):
        repair(
            of(np.asarray(box.points, dtype=float), np.asarray(box.regular_faces, dtype=np.int64))
        )


def test_one_sided_surface_is_refused() -> None:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    across = np.stack(
        [np.cos(turn / 2) * np.cos(turn), np.cos(turn / 2) * np.sin(turn), np.sin(turn / 2)]
    )
    ring = 20 * np.stack([np.cos(turn), np.sin(turn), 0 * turn])
    points = np.concatenate([(ring + 5 * across).T, (ring - 5 * across).T])
    k = np.arange(39)
    triangles = np.concatenate(
        [
            np.stack([k, k + 1, k + 41], axis=1),
            np.stack([k, k + 41, k + 40], axis=1),
            [(39, 40, 0), (39, 0, 79)],
        ]
    )
    with pytest.raises(InputError, match=r"one side only .*near \("):
        repair(of(points, triangles), hole_mm=1000)


def test_smallest_area_of_a_flat_polygon() -> None:
    """Of a star, whose fan from any corner overlaps itself."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    reach = np.where(np.arange(16) % 2, 1.0, 3.0)
    loop = np.stack([reach * np.cos(angle), reach * np.sin(angle), np.ones(16)], axis=1)
    triangles = smallest_area(loop)
    area = area_vectors(loop, triangles)[:, 2]
    x, y, _ = loop.T
    shoelace = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    assert (area > 0).all()
    assert area.sum() == pytest.approx(shoelace, rel=1e-12)


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".vtp", ".obj"])
def test_files_come_back(tmp_path: Path, suffix: str) -> None:
    write_surface(ball(), tmp_path / f"ball{suffix}")
    made, _ = repair(read_surface(tmp_path / f"ball{suffix}"))
    assert made.volume_mm3 == pytest.approx(ball().volume_mm3, rel=1e-4)
    np.testing.assert_allclose(made.points_mm.mean(axis=0), CENTRE, atol=1e-3)
    assert made.names == {1: "bone"}


def test_the_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ball.stl"
    write_surface(ball(), path)
    data = path.read_bytes().replace(b"SPACE=LPS", b"SPACE=RAS")
    path.write_bytes(data)
    made = read_surface(path)
    np.testing.assert_allclose(made.points_mm.mean(axis=0), CENTRE * (-1, -1, 1), atol=1e-3)
    assert made.volume_mm3 > 0
    assert read_surface(path, space="LPS").points_mm[:, 1].max() < 0


@pytest.mark.parametrize(("unit", "mm"), [("m", 1000.0), ("cm", 10.0)])
def test_other_units_are_refused_with_advice(tmp_path: Path, unit: str, mm: float) -> None:
    small = ball(centre=np.zeros(3))
    path = tmp_path / "ball.ply"
    write_surface(of(small.points_mm / mm, small.triangles), path)
    with pytest.raises(InputError, match=rf"no bone.*(unit=\"{unit}\"|as {unit})"):
        read_surface(path)
    assert volume(read_surface(path, unit).points_mm, small.triangles) > 30000  # type: ignore[arg-type]


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.stl, \.vtp"):
        read_surface(tmp_path / "bone.step")
    with pytest.raises(InputError, match="does not exist"):
        read_surface(tmp_path / "bone.stl")
    (tmp_path / "empty.stl").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_surface(tmp_path / "empty.stl")


@pytest.mark.parametrize(
    ("name", "unit"),
    [("gfxmorph_femur_cortex.stl", "mm"), ("comodo_vertebra.stl", "mm"), ("lss_L3_body.obj", "m")],
)
def test_real_surfaces_become_sound(data: Path, name: str, unit: str) -> None:
    path = data / "bone-meshes" / name
    if unit == "m":
        with pytest.raises(InputError, match="metres"):
            read_surface(path)
    raw = read_surface(path, unit)  # type: ignore[arg-type]
    made, _ = repair(raw)
    check_surface(made)
    assert (faces_per_edge(made.triangles)[2] == 2).all()
    assert made.volume_mm3 == pytest.approx(raw.volume_mm3, rel=0.004)

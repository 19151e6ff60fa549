"""Bad shapes through `bonekit mesh`: refused with the place, and nothing is left behind."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from bonekit.image import write
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

Command = Callable[..., tuple[int, str, str]]
PLACE = r"\(-?\d+\.\d, -?\d+\.\d, -?\d+\.\d\) mm"


def block(folder: Path, change: Callable[[np.ndarray], None], spacing: float = 1.0) -> Path:
    array = np.zeros((14, 14, 14), dtype=np.uint8)
    array[2:12, 2:12, 2:12] = 1
    change(array)
    path = folder / "labels.nii.gz"
    write(LabelMap(array, Grid.of(array.shape, spacing, (10.0, -200.0, 900.0)), REGIONS), path)
    return path


def nothing(array: np.ndarray) -> None:
    """Leave the block as it is."""


def empty(array: np.ndarray) -> None:
    array[:] = 0


def one_voxel(array: np.ndarray) -> None:
    array[:] = 0
    array[5, 5, 5] = 1


def one_voxel_lesion(array: np.ndarray) -> None:
    array[5, 5, 5] = 3


def at_an_edge(array: np.ndarray) -> None:
    array[:] = 0
    array[2:7, 2:7, 2:12] = 1
    array[7:12, 7:12, 2:12] = 2


def at_a_corner(array: np.ndarray) -> None:
    array[:] = 0
    array[2:7, 2:7, 2:7] = 1
    array[7:12, 7:12, 7:12] = 2


def plate(array: np.ndarray) -> None:
    array[:] = 0
    array[2:12, 2:12, 6] = 1


TETRA = ["--kind", "tetra"]
REFUSED = [
    (empty, "bone.stl", [], 1.0, "0 voxels of cortex.*nothing to mesh"),
    (empty, "bone.vtu", [], 1.0, "0 voxels of cortex.*nothing to mesh"),
    (empty, "bone.vtu", TETRA, 1.0, "0 voxels of cortex.*nothing to mesh"),
    (at_a_corner, "bone.vtu", TETRA, 1.0, f"only at an edge or a corner .* near {PLACE}"),
    (at_a_corner, "bone.vtu", ["--edge", "1"], 1.0, f"near {PLACE}.*hangs apart"),
    (plate, "bone.vtu", TETRA, 1.0, f"too coarse .* near {PLACE}: take 0.5 mm or less"),
    (nothing, "bone.vtu", TETRA, 0.001, f"near {PLACE}.*looks like metres"),
    (nothing, "bone.stl", [], 0.001, f"near {PLACE}.*looks like metres"),
    (nothing, "bone.vtu", [*TETRA, "--edge", "0.02"], 1.0, "million elements.*Take .* mm or more"),
    (nothing, "bone.vtu", [*TETRA, "--edge", "0"], 1.0, "positive number of mm, got 0"),
    (nothing, "bone.vtu", ["--edge", "0"], 1.0, "positive number of mm, got 0"),
    (one_voxel, "bone.stl", [], 1.0, f"1 voxel of .* near {PLACE}"),
    (one_voxel_lesion, "bone.vtu", ["--edge", "4"], 1.0, f"'lesion' .* near {PLACE}.*no cube"),
    (one_voxel_lesion, "bone.vtu", ["--kind", "tetra"], 1.0, f"'lesion' has 1 voxel near {PLACE}"),
    (at_an_edge, "bone.vtu", ["--kind", "tetra"], 1.0, f"only at an edge .* near {PLACE}"),
    (at_an_edge, "bone.vtu", ["--edge", "1"], 1.0, f"near {PLACE}.*hangs apart"),
    (nothing, "bone.vtu", ["--edge", "2"], 0.001, f"near {PLACE}.*looks like metres"),
    (nothing, "bone.vtu", ["--edge", "0.01"], 1.0, "million elements.*Take .* mm or more"),
    (nothing, "bone.stl", ["--edge", "0.005"], 1.0, "million triangles.*Take .* mm or more"),
]


@pytest.mark.parametrize(("change", "name", "options", "spacing", "says"), REFUSED)
def test_bad_labels_are_refused(
    tmp_path: Path,
    command: Command,
    change: Callable[[np.ndarray], None],
    name: str,
    options: list[str],
    spacing: float,
    says: str,
) -> None:
    source = block(tmp_path, change, spacing)
    before = sorted(tmp_path.iterdir())
    code, _, errors = command("mesh", source, "-o", tmp_path / name, *options)
    assert code == 2, errors
    assert re.search(says, " ".join(errors.replace("│", " ").split())), errors
    assert sorted(tmp_path.iterdir()) == before


def of_cubes(*centres: tuple[float, float, float]) -> pv.PolyData:
    """Cubes of 20 mm; points that two share are one."""
    cubes = [pv.Cube(center=c, x_length=20, y_length=20, z_length=20) for c in centres]
    return pv.merge(cubes).extract_surface(algorithm="dataset_surface").triangulate().clean()


def with_a_fin() -> pv.PolyData:
    """Cube with a sheet that stands on one of its edges: three faces meet there."""
    cube = of_cubes((0, 0, 0))
    points = np.concatenate([cube.points, [[10, -10, 30], [10, 10, 30]]])
    low, high = (int(np.argmin(np.linalg.norm(points - (10, y, 10), axis=1))) for y in (-10, 10))
    n = len(cube.points)
    fin = [[low, high, n], [high, n + 1, n]]
    return pv.PolyData.from_regular_faces(points, np.concatenate([cube.regular_faces, fin]))


def back_to_back() -> pv.PolyData:
    """Two sides of a sheet and nothing between them."""
    sheet = pv.Plane(i_size=30, j_size=30, i_resolution=8, j_resolution=8).triangulate()
    other = sheet.regular_faces[:, ::-1] + sheet.n_points
    points = np.concatenate([sheet.points, sheet.points])
    return pv.PolyData.from_regular_faces(points, np.concatenate([sheet.regular_faces, other]))


def ball(radius: float = 20.0) -> pv.PolyData:
    return pv.Icosphere(radius=radius, nsub=3)


def crossed() -> pv.PolyData:
    return (
        ball()
        .merge(pv.Icosphere(20.0, center=(15, 3, 2), nsub=3))
        .extract_surface(algorithm="dataset_surface")
    )


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        (of_cubes((0, 0, 0), (20, 20, 0)), [], f"crosses itself: .* near {PLACE}"),
        (with_a_fin(), [], f"is open: .* at {PLACE}"),
        (back_to_back(), [], f"wall without thickness: 256 triangles .* near {PLACE}"),
        (crossed(), [], f"crosses itself, .* near {PLACE}"),
        (ball(0.02), [], "looks like metres: .*--unit m"),
        (ball(), ["--edge", "0.005"], "million triangles .*Take .* mm or more"),
        (ball(), ["--edge", "0"], "positive number of mm, got 0"),
        (ball(), ["--edge", "50"], "too coarse"),
    ],
)
def test_bad_surfaces_are_refused(
    tmp_path: Path, command: Command, shape: pv.PolyData, options: list[str], says: str
) -> None:
    shape.save(tmp_path / "bone.ply")
    code, _, errors = command("mesh", tmp_path / "bone.ply", "-o", tmp_path / "out.stl", *options)
    assert code == 2, errors
    assert re.search(says, " ".join(errors.replace("│", " ").split())), errors
    assert [path.name for path in tmp_path.iterdir()] == ["bone.ply"]


def test_inverted_normals_are_turned_and_told(tmp_path: Path, command: Command) -> None:
    inward = pv.PolyData.from_regular_faces(ball().points, ball().regular_faces[:, ::-1])
    inward.save(tmp_path / "bone.ply")
    code, told, _ = command("mesh", tmp_path / "bone.ply", "-o", tmp_path / "out.stl")
    assert code == 0
    assert told.startswith("1280 flipped")
    assert pv.read(tmp_path / "out.stl").regular_faces.shape == (1280, 3)
    assert signed_volume(pv.read(tmp_path / "out.stl")) == pytest.approx(ball().volume, rel=1e-5)


def signed_volume(mesh: pv.PolyData) -> float:
    """Positive if the triangles face outward."""
    a, b, c = np.moveaxis(np.asarray(mesh.points, dtype=float)[mesh.regular_faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)

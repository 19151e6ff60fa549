from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from scipy.spatial import cKDTree

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.quality import report
from bonekit.meshing.surface import Surface, surface, without_pinches, write_surface
from bonekit.segmentation.base import REGIONS

Bone = Callable[..., LabelMap]
CENTRE, RADII = np.array([3.0, -40.0, 120.0]), np.array([20.0, 14.0, 30.0])


def distance_to_ellipsoid(points: np.ndarray) -> np.ndarray:
    x = (points - CENTRE) / RADII
    radius = np.linalg.norm(x, axis=1)
    return np.abs(radius - 1) * radius / np.linalg.norm(x / RADII, axis=1)


@pytest.mark.parametrize("axes", ["cubic", "thick", "flipped", "mirrored", "oblique"])
def test_closed_outward_and_true(bone: Bone, axes: str) -> None:
    labels = bone(axes)
    made = surface(labels)
    assert report(made, labels).issues == ()
    voxels = np.count_nonzero(labels.array) * labels.grid.voxel_mm3
    assert made.volume_mm3 == pytest.approx(voxels, rel=0.005)
    away = distance_to_ellipsoid(made.points_mm)
    half = labels.spacing_mm.min() / 2
    assert np.median(away) < half / 3
    assert np.percentile(away, 95) < half


def test_smoothing_takes_the_steps_away(bone: Bone) -> None:
    labels = bone("thick")
    steps, smooth = surface(labels, smoothing=0), surface(labels)
    true = 4 / 3 * np.pi * RADII.prod()
    assert smooth.volume_mm3 == pytest.approx(true, rel=0.01)
    median = [np.median(distance_to_ellipsoid(s.points_mm)) for s in (smooth, steps)]
    assert median[0] < 0.4 * median[1]
    assert smooth.area_mm2 < 0.8 * steps.area_mm2


def test_closed_at_the_border_of_the_image(bone: Bone) -> None:
    whole = bone("thick")
    cut = whole.crop((0, 0, 12), whole.shape)
    made = surface(cut)
    assert report(made, cut).issues == ()
    assert made.points_mm[:, 2].min() == pytest.approx(cut.grid.world((0, 0, -0.5))[2], abs=0.6)


def test_regions_lie_where_the_labels_are(bone: Bone) -> None:
    made = surface(bone())
    centres = made.points_mm[made.triangles].mean(axis=1) - CENTRE
    near = np.linalg.norm(centres - (13, 0, 4), axis=1)
    assert (made.region[near < 8] == 3).all()
    assert (made.region[near > 10.5] == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_random_masks_give_closed_manifolds(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 10, 11)) < 0.4
    labels = LabelMap(mask.astype(np.uint8), Grid.of(mask.shape, 1.0), REGIONS)
    found = report(surface(labels, smoothing=0))
    assert (found.open_edges, found.non_manifold_edges) == (0, 0)
    assert without_pinches(without_pinches(mask)).sum() == without_pinches(mask).sum()


def test_corner_contact_is_filled() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[1:3, 1:3, 1:3] = mask[3:5, 3:5, 3:5] = True
    filled = without_pinches(mask)
    assert 16 < filled.sum() <= 20


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".vtp", ".obj"])
def test_files_hold_the_surface_in_lps(bone: Bone, tmp_path: Path, suffix: str) -> None:
    made = surface(bone())
    path = tmp_path / f"femur{suffix}"
    write_surface(made, path)
    back = pv.read(path)
    assert back.n_cells == len(made.triangles)
    np.testing.assert_allclose(back.bounds, pv.PolyData(made.points_mm).bounds, atol=1e-3)
    distance, _ = cKDTree(back.points).query(made.points_mm)
    assert distance.max() < 1e-3
    head = path.read_bytes()[:400]
    assert b"SPACE=LPS" in head or (suffix == ".vtp" and back.field_data["SPACE"][0] == "LPS")
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input_is_refused(bone: Bone, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"femur\.step.*\.stl"):
        write_surface(surface(bone()), tmp_path / "femur.step")
    with pytest.raises(InputError, match="smoothing"):
        surface(bone(), smoothing=-1)
    with pytest.raises(InputError, match="0 voxels"):
        surface(bone().with_array(np.zeros_like(bone().array)))
    with pytest.raises(InputError, match="triangles"):
        Surface(np.zeros((3, 3)), np.zeros((0, 3), dtype=int), np.zeros(0, dtype=np.uint8))

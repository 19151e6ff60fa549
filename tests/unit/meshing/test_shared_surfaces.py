from collections.abc import Callable

import numpy as np
import pytest

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.repair import check_surface
from bonekit.meshing.shared_surfaces import region_surfaces, well_composed
from bonekit.meshing.smoothing import Smoothing
from bonekit.meshing.surface import surface

Bone = Callable[..., LabelMap]


@pytest.mark.parametrize("axes", ["cubic", "thick", "mirrored", "oblique"])
def test_each_region_is_closed_and_has_its_volume(bone: Bone, axes: str) -> None:
    labels = bone(axes)
    made = region_surfaces(labels)
    total = 0.0
    for value, name in ((1, "cortex"), (2, "trabecular"), (3, "lesion")):
        one = made.of(name)
        check_surface(one)
        expected = np.count_nonzero(labels.array == value) * labels.grid.voxel_mm3
        tolerance = 1e-6 if axes == "cubic" else 0.04  # thick slices are interpolated first
        assert one.volume_mm3 == pytest.approx(expected, rel=tolerance)
        assert set(one.region) == {value}
        total += one.volume_mm3
    whole = made.of("cortex", "trabecular", "lesion")
    check_surface(whole)
    assert whole.volume_mm3 == pytest.approx(total, rel=1e-9)
    assert whole.volume_mm3 == pytest.approx(
        np.count_nonzero(labels.array) * labels.grid.voxel_mm3, rel=0.005
    )


def test_smoothing_keeps_within_half_a_voxel(bone: Bone) -> None:
    for axes in ("cubic", "thick"):
        labels = bone(axes)
        rough, smooth = region_surfaces(labels, smoothing=0), region_surfaces(labels)
        moved = (smooth.points_mm - rough.points_mm) / labels.spacing_mm
        found = smooth.smoothing
        assert found is not None
        assert np.linalg.norm(moved, axis=1).max() == pytest.approx(found.largest_voxels, rel=1e-6)
        assert 0.4 < found.largest_voxels <= 0.5 + 1e-9
        assert max(map(abs, found.volume_change.values())) < 1e-6
        assert smooth.of("lesion").area_mm2 < 0.8 * rough.of("lesion").area_mm2
    alone = surface(bone("thick")).smoothing
    assert alone is not None
    assert alone.largest_voxels <= 0.5 + 1e-9


def test_a_report_beyond_the_bound_is_refused() -> None:
    with pytest.raises(MeshQualityError, match=r"0\.600 voxels; 0\.5 are allowed"):
        Smoothing(0.6, 1.0, 0.1, 0.0, {})


def test_interfaces_are_shared(bone: Bone) -> None:
    made = region_surfaces(bone("cubic"))
    # trabecular bone meets only cortex and lesion: their interfaces are all of its surface
    parts = [made.interface_mm2("trabecular", other) for other in ("cortex", "lesion")]
    assert sum(parts) == pytest.approx(made.of("trabecular").area_mm2, rel=1e-9)
    assert made.interface_mm2("lesion", "trabecular") == parts[1]
    assert min(parts) > 100
    key = np.sort(made.triangles, axis=1)
    assert len(np.unique(key, axis=0)) == len(key)


@pytest.mark.parametrize("seed", range(6))
def test_random_labels_give_closed_regions(seed: int) -> None:
    """As long as there is room to fill; each region of what is left is a solid."""
    random = np.random.default_rng(seed)
    array = np.zeros((14, 14, 14), dtype=np.uint8)
    array[3:11, 3:11, 3:11] = 2
    at = random.integers(3, 10, (6, 3))
    for i, j, k in at:
        array[i : i + 3, j : j + 3, k : k + 3] = random.integers(1, 3)
    labels = LabelMap(array, Grid.of(array.shape, 1.0), {1: "a", 2: "b"})
    made = region_surfaces(labels, ("a", "b"), smoothing=0)
    for name in made.names.values():
        check_surface(made.of(name))
    assert made.n_filled < 40


def test_regions_that_touch_at_an_edge_are_joined() -> None:
    array = np.full((6, 6, 6), 2, dtype=np.uint8)
    array[1:3, 1:3, 1:5] = array[3:5, 3:5, 1:5] = 1
    made, n = well_composed(array, [1, 2])
    assert n > 0
    assert set(np.unique(made)) == {1, 2}
    assert (made[array == 1] == 1).all()


def quarters() -> LabelMap:
    """Two quarters of a block at an edge; one of the others is a smaller region, one is void."""
    array = np.zeros((12, 12, 12), dtype=np.uint8)
    array[2:6, 2:6, 2:10] = array[6:10, 6:10, 2:10] = 1
    array[6:10, 2:6, 2:10] = 3
    return LabelMap(
        array, Grid.of(array.shape, 1.0, (10.0, -20.0, 5.0)), {1: "cortex", 3: "lesion"}
    )


@pytest.mark.parametrize("smoothing", [0, 20])
def test_a_region_takes_from_a_smaller_one_where_only_that_joins_it(smoothing: int) -> None:
    made = region_surfaces(quarters(), smoothing=smoothing)
    for names in (("cortex",), ("lesion",), ("cortex", "lesion")):
        check_surface(made.of(*names))
    assert 0 < made.n_filled <= 8  # voxels along the edge


def test_a_region_that_cannot_be_joined_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bonekit.meshing.shared_surfaces.ROUNDS", 0)
    with pytest.raises(
        InputError, match=r"'cortex' touches itself only at an edge .* near \(15.0, -14.0, 7.0\) mm"
    ):
        region_surfaces(quarters())


def test_bad_input_is_refused(bone: Bone) -> None:
    with pytest.raises(InputError, match="smoothing"):
        region_surfaces(bone(), smoothing=-1)
    with pytest.raises(InputError, match="no region cup; present: cortex, trabecular, lesion"):
        region_surfaces(bone()).of("cup")
    with pytest.raises(InputError, match="none of the regions"):
        region_surfaces(bone(), ("cup",))

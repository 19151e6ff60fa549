import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing import sizing
from bonekit.meshing.prepare import prepared
from bonekit.meshing.sizing import GROWTH, Near, check_number, estimate, size_map

NAMES = {1: "cortex", 2: "trabecular", 3: "lesion"}
REGIONS = ("cortex", "trabecular", "lesion")


def labels(array: np.ndarray, spacing: float = 1.0) -> LabelMap:
    return LabelMap(array.astype(np.uint8), Grid.of(array.shape, spacing), NAMES)


def block(n: int = 12) -> np.ndarray:
    array = np.zeros((n + 6,) * 3, dtype=np.uint8)
    array[3:-3, 3:-3, 3:-3] = 1
    array[6:-6, 6:-6, 6:-6] = 2
    return array


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ((slice(15, 18), slice(15, 18), slice(3, 15)), r"edge or a corner .* \(15.0, 15.0, "),
        ((slice(15, 18), slice(15, 18), slice(15, 18)), r"edge or a corner .*\(15.0, 15.0, 15.0"),
    ],
    ids=["edge", "corner"],
)
def test_parts_on_an_edge_or_corner_are_refused(part: tuple[slice, ...], where: str) -> None:
    array = block()
    array[part] = 1
    with pytest.raises(InputError, match=where):
        prepared(labels(array), REGIONS, REGIONS, 4.0)


def test_small_pieces_apart_are_counted() -> None:
    array = block()
    array[15, 15, 15] = array[0, 0, 0:2] = 1
    ready = prepared(labels(array), REGIONS, REGIONS, 4.0)
    assert ready.n_removed == 3
    assert ready.order == [2, 1]
    assert ready.left == [1]


def test_one_voxel_and_a_region_apart_are_refused_by_name() -> None:
    array = block()
    array[9, 9, 9] = 3
    with pytest.raises(InputError, match=r"has 1 voxel near \(9.0, 9.0, 9.0\) mm; at least 8"):
        prepared(labels(array), REGIONS, REGIONS, 4.0)
    assert prepared(labels(array), REGIONS, ("trabecular",), 4.0).order == [2, 3, 1]
    array = block()
    array[0:2, 0:2, 0:2] = 3
    with pytest.raises(InputError, match=r"'lesion' hangs apart from the bone, near \(0.0, 0.0"):
        prepared(labels(array), REGIONS, REGIONS, 4.0)
    with pytest.raises(InputError, match="0 voxels"):
        prepared(labels(0 * block()), REGIONS, REGIONS, 4.0)


def test_specks_go_to_what_is_about_them() -> None:
    array = block()
    array[4, 4, 4] = 2
    ready = prepared(labels(array), REGIONS, REGIONS, 4.0)
    assert ready.n_merged == 1
    assert np.count_nonzero(ready.labels.array == 2) == 6**3
    assert ready.volume_mm3 == {2: 6**3 + 1}
    assert prepared(labels(array), REGIONS, REGIONS, 1.0).n_merged == 0


def test_sizes_are_small_at_thin_walls_and_loads_and_grow_slowly() -> None:
    array = np.zeros((60, 40, 40), dtype=np.uint8)
    array[5:55, 5:35, 5:35] = 1
    array[6:54, 6:34, 6:34] = 2
    near = (Near(np.array([[30.0, 20.0, 20.0]]), 1.0),)
    size = size_map(labels(array), [2, 1], 8.0, {}, near)
    assert size.at([5.0, 20, 20]) == pytest.approx(2.0, abs=0.7)  # twice the wall of 1 mm
    assert size.at([30.0, 20, 20]) < 1.8
    assert size.at([18.0, 20, 20]) > 4.2
    steps = np.abs(np.diff(size.values, axis=0)) / size.grid.spacing_mm[0]
    assert steps.max() <= GROWTH + 1e-6
    finer = size_map(labels(array), [2, 1], 8.0, {2: 1.5}, ())
    assert finer.at([18.0, 20, 20]) == pytest.approx(1.5)


def test_more_than_the_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    size = size_map(labels(block()), [2, 1], 2.0, {}, ())
    number = estimate(size, labels(block()))
    assert number == pytest.approx(sizing.PER_CUBE * 12**3 / 8, rel=0.3)
    check_number(number, 2.0)
    monkeypatch.setattr(sizing, "_memory_bytes", lambda: 1e6)
    with pytest.raises(InputError, match=r"at most 0.0005 million are allowed .memory: 0.001 GB"):
        check_number(number, 2.0)

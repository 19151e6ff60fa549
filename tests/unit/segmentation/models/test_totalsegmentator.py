from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, LabelMap, read_labels, write
from bonekit.segmentation.models.totalsegmentator import NUMBERS, read_totalsegmentator

GRID = Grid.of((6, 5, 4), (1.5, 1.5, 1.5), (10.0, 20.0, 30.0))


def labels(**names: int) -> LabelMap:
    """One slice of the first axis for each structure."""
    array = np.zeros(GRID.shape, dtype=np.uint8)
    for n, value in enumerate(names.values()):
        array[n] = value
    return LabelMap(array, GRID, {value: name for name, value in names.items()})


def test_bones_are_kept_by_our_names_in_our_order(tmp_path: Path) -> None:
    write(labels(liver=5, vertebrae_L3=29, femur_left=75), tmp_path / "seg.nii.gz")
    found = read_totalsegmentator(tmp_path / "seg.nii.gz", "femur_left", "vertebra_L3")
    assert found.names == {1: "femur_left", 2: "vertebra_L3"}
    assert found.grid.same_as(GRID)
    assert found.array[:, 0, 0].tolist() == [0, 2, 1, 0, 0, 0]
    every = read_totalsegmentator(tmp_path / "seg.nii.gz")
    assert every.names == {1: "liver", 2: "vertebra_L3", 3: "femur_left"}


def test_the_map_feeds_the_importer_of_labels(tmp_path: Path) -> None:
    write(labels(vertebrae_L3=29), tmp_path / "seg.nii.gz")
    write(read_totalsegmentator(tmp_path / "seg.nii.gz"), tmp_path / "ours.nii.gz")
    assert read_labels(tmp_path / "ours.nii.gz").mask("vertebra_L3").sum() == 20


def test_a_file_without_names_needs_the_version(tmp_path: Path) -> None:
    bare = labels(a=88, b=75)
    write(LabelMap(bare.array, GRID), tmp_path / "seg.nii.gz")
    with pytest.raises(InputError, match="say which"):
        read_totalsegmentator(tmp_path / "seg.nii.gz")
    first = read_totalsegmentator(tmp_path / "seg.nii.gz", "femur_left", version=1)
    second = read_totalsegmentator(tmp_path / "seg.nii.gz", "femur_left", version=2)
    assert first.array[0].all()
    assert second.array[1].all()


def test_numbers_are_those_of_the_class_maps() -> None:
    assert NUMBERS[2][31] == "vertebrae_L1"
    assert NUMBERS[2][32] == "vertebrae_T12"
    assert NUMBERS[2][50] == "vertebrae_C1"
    assert NUMBERS[1][41] == "vertebrae_C1"
    assert len(set(NUMBERS[1].values())) == len(NUMBERS[1]) == 29
    assert len(set(NUMBERS[2].values())) == len(NUMBERS[2]) == 30


def test_one_file_for_each_structure(tmp_path: Path) -> None:
    whole = labels(femur_left=1, vertebrae_L3=2)
    for name, value in (("femur_left", 1), ("vertebrae_L3", 2), ("liver", 9)):
        mask = (whole.array == value).astype(np.uint8)
        write(LabelMap(mask, GRID), tmp_path / f"{name}.nii.gz")
    found = read_totalsegmentator(tmp_path)
    assert found.names == {1: "femur_left", 2: "vertebra_L3"}
    np.testing.assert_array_equal(found.array, whole.array)
    with pytest.raises(InputError, match="no file of hip_left"):
        read_totalsegmentator(tmp_path, "hip_left")
    with pytest.raises(InputError, match="liver has no voxel"):
        read_totalsegmentator(tmp_path, "liver")
    write(LabelMap((whole.array > 0).astype(np.uint8), GRID), tmp_path / "hip_left.nii.gz")
    with pytest.raises(InputError, match=r"overlaps with femur_left"):
        read_totalsegmentator(tmp_path, "femur_left", "hip_left")


def test_other_grids_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        read_totalsegmentator(tmp_path)
    write(labels(femur_left=1), tmp_path / "femur_left.nii.gz")
    other = LabelMap(np.ones((2, 2, 2), np.uint8), Grid.of((2, 2, 2), (1, 1, 1)))
    write(other, tmp_path / "hip_left.nii.gz")
    with pytest.raises(InputError, match="another grid"):
        read_totalsegmentator(tmp_path)

"""Label maps of users as bodies."""

from pathlib import Path

import numpy as np
import pytest

from bonekit.cli import _code
from bonekit.errors import InputError
from bonekit.image import Grid, LabelMap, read_labels, write
from bonekit.segmentation.synthesis.maps import read_label_maps
from bonekit.segmentation.task_files import load_task

TASK = load_task("bone_ct")
GRID = Grid.of((24, 24, 20), (1.5, 1.5, 2.0), (3.0, 4.0, 5.0), np.diag([-1.0, -1.0, 1.0]))


def block(value: int = 1, names: dict[int, str] | None = None) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[6:18, 6:18, 4:16] = value
    return LabelMap(array, GRID, names or {})


def test_a_map_without_names_is_numbered_as_the_task(tmp_path: Path) -> None:
    write(block(), tmp_path / "a.nii.gz")
    write(block(7, {7: "bone"}), tmp_path / "b.nrrd")
    (tmp_path / "readme.txt").write_text("mine")
    plain, named = read_label_maps(tmp_path, TASK, spacing_mm=(3.0, 3.0, 3.0))
    assert dict(plain.names) == {1: "bone"}
    assert dict(named.names) == {7: "bone"}
    assert plain.shape == (12, 12, 13)
    volume = plain.array.astype(bool).sum() * plain.grid.voxel_mm3
    assert volume == pytest.approx(12 * 12 * 12 * 4.5, rel=0.15)
    np.testing.assert_allclose(plain.spacing_mm, 3.0)
    (as_read, _) = read_label_maps(tmp_path, TASK)
    assert as_read.shape == GRID.shape
    np.testing.assert_array_equal(as_read.array, block().canonical().array)


@pytest.mark.parametrize(
    ("labels", "message"), [(block(3), "labels 3 have no name"), (block(0), "is empty")]
)
def test_maps_that_cannot_serve(tmp_path: Path, labels: LabelMap, message: str) -> None:
    write(labels, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=message):
        read_label_maps(tmp_path, TASK)


def test_a_folder_without_maps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no label map"):
        read_label_maps(tmp_path, TASK)


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    write(block(), tmp_path / "maps" / "a.nii.gz")
    given = ["seg", "synth", "bone_ct", "-o", str(tmp_path / "set"), "-n", "1"]
    asked = ["--labels", str(tmp_path / "maps"), "--spacing", "3", "3", "3"]
    assert _code([*given, *asked]) == 0
    made = read_labels(tmp_path / "set" / "labelsTr" / "bone_ct_000.nii.gz")
    np.testing.assert_allclose(made.spacing_mm, 3.0)
    assert 200 < made.array.sum() < 400  # 288 voxels, bent and up to a tenth larger

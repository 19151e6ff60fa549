"""Voxels that stay on the disk are those that `read` gives."""

from __future__ import annotations

import gzip
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import Grid, Image, read, write
from bonekit.image.mapped import read_mapped, release

GRID = Grid.of((9, 7, 5), (0.8, 0.9, 2.0), (5.0, -20.0, 30.0))


def image(kind: Any = np.int16) -> Image:
    values = np.random.default_rng(0).integers(0, 120, GRID.shape)
    return Image(values.astype(kind), GRID)


def owner(array: Any) -> Any:
    while isinstance(array, np.ndarray | memoryview):
        array = array.obj if isinstance(array, memoryview) else array.base
    return array


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_values_and_place_are_those_of_read(kind: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ct{suffix}"
    write(image(kind), path)
    found, known = read_mapped(path, tmp_path, "one"), read(path)
    np.testing.assert_array_equal(found.array, known.array)
    assert found.grid.same_as(known.grid)
    assert isinstance(owner(found.array), mmap.mmap)
    release(found.array)  # pages go, values stay
    np.testing.assert_array_equal(found.array, known.array)


def test_a_plain_file_is_mapped_where_it_lies(tmp_path: Path) -> None:
    write(image(), tmp_path / "ct.nii")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    read_mapped(tmp_path / "ct.nii", scratch, "one")
    assert not list(scratch.iterdir())


def test_scaled_values_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    write(image(), path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2.0, -100.0], "<f4").tobytes()
    path.write_bytes(raw)
    found = read_mapped(path, tmp_path, "one")
    np.testing.assert_array_equal(found.array, 2 * image().array - 100)


def test_damaged_files_are_refused_by_their_own_name(tmp_path: Path) -> None:
    write(image(), tmp_path / "ct.nii.gz")
    packed = (tmp_path / "ct.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(packed[:-20])
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(gzip.decompress(packed)[:-20]))
    (tmp_path / "empty.nii.gz").write_bytes(gzip.compress(b""))
    for name, words in (("cut", "damaged"), ("short", "ends early"), ("empty", "not a NIfTI")):
        with pytest.raises(InputError, match=rf"{name}\.nii\.gz.*{words}"):
            read_mapped(tmp_path / f"{name}.nii.gz", tmp_path, "one")


def test_release_leaves_other_arrays_alone() -> None:
    array = np.arange(5)
    release(array[::2])
    np.testing.assert_array_equal(array, range(5))
    sitk_view = sitk.GetArrayViewFromImage(sitk.Image(3, 3, sitk.sitkUInt8))
    release(sitk_view)

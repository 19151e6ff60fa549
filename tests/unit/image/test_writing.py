import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import Image, LabelMap, read, read_labels, write, write_dicom


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_image_round_trip(ct, same_world, tmp_path: Path, suffix):
    write(ct, tmp_path / f"ct{suffix}")
    back = read(tmp_path / f"ct{suffix}")
    assert back.array.dtype == np.int16
    assert back.grid.same_as(ct.grid)
    same_world(ct, back)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".seg.nrrd"])
def test_label_round_trip(labels, same_world, tmp_path: Path, suffix):
    write(labels, tmp_path / f"mask{suffix}")
    back = read_labels(tmp_path / f"mask{suffix}")
    assert isinstance(back, LabelMap)
    assert back.array.dtype == np.uint8
    assert back.names == labels.names
    same_world(labels, back)


def test_float_values_survive(ct, tmp_path: Path):
    density = Image(ct.array / np.float32(7), ct.grid)
    write(density, tmp_path / "rho.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "rho.nii.gz").array, density.array)


def test_dicom_round_trip(ct, series, same_world):
    back = read(series)
    assert back.array.dtype == np.int16
    same_world(ct, back)


def test_dicom_rescale_round_trip(ct, same_world, tmp_path: Path):
    fractions = Image(ct.array * np.float32(0.5), ct.grid)
    write_dicom(fractions, tmp_path / "half", slope=0.5, intercept=-8192)
    same_world(fractions, read(tmp_path / "half"))
    write_dicom(fractions, tmp_path / "tenth", slope=0.1)
    same_world(fractions, read(tmp_path / "tenth"), atol=0.0501)


def test_dicom_refuses_values_beyond_16_bits(ct, tmp_path: Path):
    with pytest.raises(InputError, match="don't fit into 16 bits"):
        write_dicom(Image(ct.array * np.float32(40), ct.grid), tmp_path / "big")
    assert list(tmp_path.iterdir()) == []


def test_dicom_refuses_a_full_folder(ct, series):
    with pytest.raises(InputError, match="not an empty folder"):
        write_dicom(ct, series)


def test_failed_write_leaves_the_old_file(ct, tmp_path: Path, monkeypatch):
    target = tmp_path / "ct.nii.gz"
    write(ct, target)
    before = target.read_bytes()

    def fail(image, name, compress):
        Path(name).write_bytes(b"half a file")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        write(ct, target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("name", "message"), [("ct.jpg", "allowed"), ("no/ct.nii", "not exist")])
def test_write_says_what_is_wrong(ct, tmp_path: Path, name, message):
    with pytest.raises(InputError, match=message):
        write(ct, tmp_path / name)


def test_an_image_is_no_segmentation(ct, tmp_path: Path):
    with pytest.raises(InputError, match="for label maps"):
        write(ct, tmp_path / "ct.seg.nrrd")


def test_names_go_beside_the_file(labels, tmp_path: Path):
    write(labels, tmp_path / "mask.nii.gz")
    table = json.loads((tmp_path / "mask.json").read_text())
    assert table == {"1": "cortex", "5": "lesion", "9": "metal"}

import sys
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import LabelMap, read_labels, write_dicom_seg

pytest.importorskip("highdicom")


def test_round_trip(labels, series, same_world, tmp_path: Path):
    write_dicom_seg(labels, series, tmp_path / "seg.dcm")
    back = read_labels(tmp_path / "seg.dcm")
    assert back.names == {1: "cortex", 2: "lesion"}  # metal is empty; numbers are consecutive
    for name, value in (("cortex", 1), ("lesion", 5)):
        assert np.abs(np.subtract(back.colours[back.label(name)], labels.colours[value])).max() <= 2
        mask = labels.with_array((labels.array == value).astype(np.uint8))
        same_world(mask, back.with_array(back.mask(name).astype(np.uint8)))


def test_axes_in_another_order(labels, series, same_world, tmp_path: Path):
    write_dicom_seg(labels.canonical(), series, tmp_path / "seg.dcm")
    back = read_labels(tmp_path / "seg.dcm")
    same_world(
        labels.with_array((labels.array == 5).astype(np.uint8)),
        back.with_array(back.mask("lesion").astype(np.uint8)),
    )


def test_other_grid(labels, series, tmp_path: Path):
    with pytest.raises(InputError, match=r"labels\.resample"):
        write_dicom_seg(labels.crop((0, 0, 1), (9, 7, 5)), series, tmp_path / "seg.dcm")


def test_empty(labels, series, tmp_path: Path):
    empty = LabelMap(np.zeros_like(labels.array), labels.grid)
    with pytest.raises(InputError, match="empty"):
        write_dicom_seg(empty, series, tmp_path / "seg.dcm")


def test_a_ct_slice_is_no_segmentation(series):
    with pytest.raises(InputError, match="DICOM SEG"):
        read_labels(series / "00001.dcm")


def test_without_the_extra(labels, series, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install bonekit\[dicom-seg\]"):
        write_dicom_seg(labels, series, tmp_path / "seg.dcm")

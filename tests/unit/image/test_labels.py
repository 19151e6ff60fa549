import json
import struct
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, LabelMap, read_labels, write

GRID = Grid.of((4, 5, 6), (1, 2, 3), (10, 20, 30))


def plain(path: Path, values=(0, 1, 2), dtype=np.uint8) -> Path:
    array = np.resize(np.array(values, dtype), GRID.shape)
    write(LabelMap(array, GRID), path)
    return path


def with_extension(path: Path, text: str) -> None:
    """Put a NIfTI header extension between header and voxels, as nibabel does."""
    content = bytearray(path.read_bytes())
    body = text.encode() + b"\0" * (-(len(text.encode()) + 8) % 16)
    extension = struct.pack("<ii", len(body) + 8, 0) + body
    struct.pack_into("<f", content, 108, 352 + len(extension))
    path.write_bytes(content[:348] + b"\1\0\0\0" + extension + content[352:])


def test_total_segmentator_header(tmp_path: Path):
    path = plain(tmp_path / "multilabel.nii")
    with_extension(
        path,
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0">'
        ' <LabelTable>\n<Label Key="1" Red="1.0" Green="0.0" Blue="0.5" Alpha="1">'
        "<![CDATA[femur_left]]></Label>\n<Label Key='2' Red='0' Green='1' Blue='0' Alpha='1'>"
        "<![CDATA[hip_left]]></Label>\n</LabelTable> </VolumeInformation></CaretExtension>\n     ",
    )
    labels = read_labels(path)
    assert labels.names == {1: "femur_left", 2: "hip_left"}
    assert labels.colours == {1: (255, 0, 128), 2: (0, 255, 0)}
    assert labels.mask("hip_left").sum() == 40


def test_damaged_header_table(tmp_path: Path):
    path = plain(tmp_path / "multilabel.nii")
    with_extension(path, "<CaretExtension><LabelTable><Label Key='1'>")
    with pytest.raises(InputError, match="label table in the header is damaged"):
        read_labels(path)


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("mask.json", {"1": "cortex", "2": "lesion"}),
        ("dataset.json", {"labels": {"background": 0, "cortex": 1, "lesion": 2}}),
        ("dataset.json", {"labels": {"0": "background", "1": "cortex", "2": "lesion"}}),
        (
            "dataset.json",
            {
                "labels": {"background": 0, "cortex": [1, 2], "lesion": [2]},
                "regions_class_order": [1, 2],
            },
        ),
    ],
)
def test_table_beside_the_file(tmp_path: Path, file, table):
    path = plain(tmp_path / "mask.nii.gz")
    (tmp_path / file).write_text(json.dumps(table))
    assert read_labels(path).names == {1: "cortex", 2: "lesion"}


def test_names_passed(tmp_path: Path):
    path = plain(tmp_path / "mask.nii.gz")
    (tmp_path / "other.json").write_text('{"1": "a", "2": "b"}')
    assert read_labels(path, {1: "x"}).names == {1: "x"}
    assert read_labels(path, tmp_path / "other.json").names == {1: "a", 2: "b"}


def test_no_names_is_logged(tmp_path: Path, caplog):
    labels = read_labels(plain(tmp_path / "mask.nii.gz"))
    assert labels.names == {}
    assert "no names found" in caplog.text
    with pytest.raises(InputError, match="no named labels"):
        labels.label("cortex")


def test_value_without_a_name_is_logged(tmp_path: Path, caplog):
    read_labels(plain(tmp_path / "mask.nii.gz"), {1: "cortex"})
    assert "labels without a name: [2]" in caplog.text


@pytest.mark.parametrize("content", ["no json", "[1]", '{"labels": {"a": "b"}}'])
def test_broken_table(tmp_path: Path, content):
    path = plain(tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").write_text(content)
    with pytest.raises(InputError, match="no label table"):
        read_labels(path)


def test_doubled_name(tmp_path: Path):
    with pytest.raises(InputError, match="several labels are named bone"):
        read_labels(plain(tmp_path / "mask.nii.gz"), {1: "bone", 2: "bone"})


@pytest.mark.parametrize("values", [(0.0, 0.5), (0.0, -1.0), (0.0, np.nan)])
def test_not_whole_numbers(tmp_path: Path, values):
    path = plain(tmp_path / "mask.nii.gz", values, np.float32)
    with pytest.raises(InputError, match="no label map"):
        read_labels(path)


def test_whole_floats_become_integers(tmp_path: Path):
    labels = read_labels(plain(tmp_path / "mask.nii.gz", (0, 300), np.float32), {300: "a"})
    assert labels.array.dtype == np.uint16
    assert labels.mask("a").sum() == 60


def test_real_label_table(data: Path):
    labels = read_labels(data / "ct-pelvis-spine" / "example_ct_labels_v1.nii.gz")
    assert labels.names[13] == "femur_left"
    assert labels.mask("femur_left").sum() == (labels.array == 13).sum() > 1000


def test_unknown_file(tmp_path: Path):
    (tmp_path / "mask.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no label map; allowed"):
        read_labels(tmp_path / "mask.png")

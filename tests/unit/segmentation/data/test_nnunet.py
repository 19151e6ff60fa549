import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, read, read_labels, write
from bonekit.segmentation.data.nnunet import dataset_json, read_dataset, write_dataset
from bonekit.segmentation.data.sheet import read_sheet
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.task_files import load_task

BONE = load_task("bone_metastases_ct")
LEG = load_task("leg_muscle_dixon")
MS = load_task("ms_new_lesions")
GRID = Grid.of((6, 5, 4), (1.0, 1.5, 2.0), (3.0, 4.0, 5.0))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two subjects as loose files: labels 0 to 2, one image as .mha."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for number, name in enumerate(["a.nii.gz", "b.mha"]):
        array = np.arange(120, dtype=np.int16).reshape(GRID.shape) + number
        write(Image(array, GRID), folder / name)
    write(
        LabelMap((np.arange(120) % 3).astype("u1").reshape(GRID.shape), GRID), folder / "s.nii.gz"
    )
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    subjects = (
        Subject("a", (source / "a.nii.gz",), source / "s.nii.gz", {"site": "x, y", "T": "3"}),
        Subject("b", (source / "b.mha",), source / "s.nii.gz", {"site": "z"}),
        Subject("c", (source / "b.mha",)),
    )
    return write_dataset(Dataset(BONE, subjects), tmp_path / "Dataset001_bone")


def change(folder: Path, **entries: Any) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_what_was_written_is_read(folder: Path, source: Path) -> None:
    found = read_dataset(folder, BONE)
    assert [s.name for s in found.subjects] == ["a", "b"]
    assert found.subjects[0].columns == {"site": "x, y", "T": "3"}
    assert found.subjects[1].columns == {"site": "z", "T": ""}
    image = found.subjects[1].images[0]
    assert image is not None
    np.testing.assert_array_equal(read(image).array, read(source / "b.mha").array)
    assert found.subjects[0].labels is not None
    np.testing.assert_array_equal(
        read_labels(found.subjects[0].labels).array, read_labels(source / "s.nii.gz").array
    )
    (only,) = read_dataset(folder, BONE, test=True).subjects
    assert (only.name, only.labels) == ("c", None)
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_dataset_json_is_nnunets(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "ct"}
    assert content["labels"] == {"background": 0, "bone": [1, 2], "lesion": [2]}
    assert content["regions_class_order"] == [1, 2]
    assert content["numTraining"] == 2
    plain = dataset_json(LEG, 3)
    assert plain["labels"]["gracilis"] == 7
    assert "regions_class_order" not in plain


def test_other_names_of_the_same_are_known(folder: Path) -> None:
    change(folder, channel_names={"0": "CT"}, labels={"background": 0, "Bone": 1, "LESION": 2})
    assert len(read_dataset(folder, BONE).subjects) == 2


def test_absent_channels(source: Path, tmp_path: Path) -> None:
    subject = Subject("a", (None, source / "a.nii.gz", None, None), source / "s.nii.gz")
    folder = write_dataset(Dataset(LEG, (subject,)), tmp_path / "legs")
    files = sorted((folder / "imagesTr").iterdir())
    assert [f.name for f in files] == [f"a_{i:04d}.nii.gz" for i in range(4)]
    assert not read(files[0]).array.any()
    files[0].unlink()
    files[3].unlink()
    found = read_dataset(folder, LEG).subjects[0].images
    assert found == (None, files[1], files[2], None)
    write(read(files[1]), folder / "imagesTr" / "a_0004.nii.gz")
    with pytest.raises(
        InputError, match=r"a_0004.nii.gz: the task leg_muscle_dixon has 4 channels"
    ):
        read_dataset(folder, LEG)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"channel_names": {"0": "MRI"}}, "channels mri; the task bone_metastases_ct takes ct"),
        ({"labels": {"background": 0, "bone": 2, "lesion": 1}}, "labels background 0, bone 2, les"),
        ({"labels": {"background": 0, "bone": 1, "lesion": 2, "ignore": 3}}, "label 'ignore'"),
        ({"numTraining": 3}, "says 3 training cases, imagesTr holds 2"),
        ({"file_ending": ".mha"}, r"no file named like case_0000.mha"),
    ],
)
def test_contradictions_are_refused(folder: Path, entries: dict[str, Any], message: str) -> None:
    change(folder, **entries)
    with pytest.raises(InputError, match=message):
        read_dataset(folder, BONE)


def test_channels_in_the_wrong_order_are_named(source: Path, tmp_path: Path) -> None:
    subject = Subject("a", (source / "a.nii.gz", source / "b.mha"), source / "s.nii.gz")
    folder = write_dataset(Dataset(MS, (subject,)), tmp_path / "ms")
    change(folder, channel_names={"0": "flair_followup", "1": "flair_baseline"})
    with pytest.raises(InputError, match="these are in another order"):
        read_dataset(folder, MS)


def test_files_without_their_partner_are_named(folder: Path) -> None:
    (folder / "labelsTr" / "b.nii.gz").rename(folder / "labelsTr" / "d.nii.gz")
    with pytest.raises(InputError, match="no images for d"):
        read_dataset(folder, BONE)
    (folder / "labelsTr" / "d.nii.gz").unlink()
    with pytest.raises(InputError, match="no labels for b"):
        read_dataset(folder, BONE)
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match="is no data set of nnU-Net"):
        read_dataset(folder, BONE)


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="holds a data set already"):
        write_dataset(read_dataset(folder, BONE), folder)


def test_missing_required_channel_is_named(source: Path, tmp_path: Path) -> None:
    subject = Subject("a", (source / "a.nii.gz", source / "b.mha"), source / "s.nii.gz")
    folder = write_dataset(Dataset(MS, (subject,)), tmp_path / "ms")
    (folder / "imagesTr" / "a_0000.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a lacks channel flair_baseline \(0000\)"):
        read_dataset(folder, MS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,site\na,1\n", "no column 'subject'; found: name, site"),
        ("subject,site\na,1\na,2\n", "subject a occurs twice"),
        ("subject,site\na,1,2\n", "line 2: its fields don't fit"),
        ("subject,site\na\n", "line 2: its fields don't fit"),
        ("", "found: none"),
        ("subject\na\n", "has no row for b"),
    ],
)
def test_bad_sheets_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "other.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(folder, BONE, folder / "other.csv")


def test_sheets_of_bids_and_excel(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("\ufeffparticipant_id\tsex\nsub-01\tF\n", encoding="utf-8")
    assert read_sheet(tmp_path / "p.tsv") == {"01": {"sex": "F"}}

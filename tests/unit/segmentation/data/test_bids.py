import json
from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, read_labels, write
from bonekit.segmentation.data.bids import read_bids, write_bids
from bonekit.segmentation.data.splits import folds
from bonekit.segmentation.task_files import load_task

MS = load_task("ms_lesions")
NEW = load_task("ms_new_lesions")
GRID = Grid.of((5, 6, 7), (1.0, 1.0, 3.0), (-4.0, 2.0, 9.0), np.diag([-1.0, -1.0, 1.0]))
FLAIR = {"flair": "anat/*_FLAIR.nii.gz", "t1": "anat/*_T1w.nii.gz"}
DSEG = "anat/*_dseg.nii.gz"


def mask(value: int = 1) -> LabelMap:
    return LabelMap((np.arange(210) % 5 == 0).astype("u1").reshape(GRID.shape) * value, GRID)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two participants of two sessions, the first with a T1 at its first session."""
    image = Image(np.arange(210, dtype=np.int16).reshape(GRID.shape), GRID)
    for name in ("01", "02"):
        for session in ("a", "b"):
            anat = tmp_path / "raw" / f"sub-{name}" / f"ses-{session}" / "anat"
            anat.mkdir(parents=True)
            write(image, anat / f"sub-{name}_ses-{session}_FLAIR.nii.gz")
            out = tmp_path / "raw" / "derivatives" / "hand"
            write_bids(out, name, mask(), MS, session=session, description="hand", manual=True)
    t1 = tmp_path / "raw" / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T1w.nii.gz"
    write(image, t1)
    table = "participant_id\tsite\nsub-01\tnorth\nsub-02\tsouth\n"
    (tmp_path / "raw" / "participants.tsv").write_text(table)
    return tmp_path / "raw"


def test_sessions_are_subjects_of_their_participant(folder: Path) -> None:
    hand = folder / "derivatives" / "hand"
    found = read_bids(folder, MS, FLAIR, labels=DSEG, derivatives=hand, sessions=True)
    assert [s.name for s in found.subjects] == ["01_a", "01_b", "02_a", "02_b"]
    assert found.subjects[3].columns == {"participant": "02", "session": "b", "site": "south"}
    assert [p is not None for p in found.subjects[0].images] == [True, True, False]
    assert [p is not None for p in found.subjects[1].images] == [True, False, False]
    for train, validation in folds(found.subjects, 2, group="participant"):
        assert len(train) == len(validation) == 2
    labels = found.subjects[0].labels
    assert labels is not None
    np.testing.assert_array_equal(read_labels(labels).array, mask().array)


def test_two_sessions_of_one_subject(folder: Path) -> None:
    visits = {"baseline": "a", "followup": "b"}
    channels = {f"flair_{n}": f"ses-{s}/anat/*_FLAIR.nii.gz" for n, s in visits.items()}
    found = read_bids(folder, NEW, channels)
    assert [s.name for s in found.subjects] == ["01", "02"]
    first, second = found.subjects[0].images
    assert first is not None
    assert second is not None
    assert ("ses-a" in first.name, "ses-b" in second.name) == (True, True)


def test_labels_are_written_as_bids_has_them(folder: Path) -> None:
    out = folder / "derivatives" / "bonekit"
    path = write_bids(out, "case_7", mask(), MS, sources=("bids:raw:sub-01",))
    assert path.relative_to(out).as_posix() == "sub-case7/anat/sub-case7_desc-bonekit_dseg.nii.gz"
    beside = path.with_name("sub-case7_desc-bonekit_dseg.tsv")
    assert beside.read_text() == "index\tname\tcolor\n1\tlesion\t#1f77b4\n"
    content = json.loads(beside.with_suffix(".json").read_text())
    assert content["Manual"] is False
    assert content["Sources"] == ["bids:raw:sub-01"]
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "bonekit"
    back = read_labels(path)
    np.testing.assert_array_equal(back.array, mask().array)
    assert back.grid.same_as(GRID)
    assert back.names == {1: "lesion"}
    with pytest.raises(InputError, match="exists already"):
        write_bids(out, "case7", mask(), MS)
    with pytest.raises(InputError, match="'__' has no letter"):
        write_bids(out, "__", mask(), MS)


def test_bad_folders_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"\*\*/\*_FLAIR.nii.gz fits to 2 files"):
        read_bids(folder, MS, {"flair": "**/*_FLAIR.nii.gz"})
    with pytest.raises(InputError, match="t3 is wrong or missing"):
        read_bids(folder, MS, FLAIR | {"t3": "*"})
    with pytest.raises(InputError, match="flair is wrong or missing"):
        read_bids(folder, MS, {"t1": "*"})
    with pytest.raises(InputError, match="no labels anat"):
        read_bids(folder, MS, FLAIR, labels=DSEG, sessions=True)
    with pytest.raises(InputError, match="holds no sub-"):
        read_bids(folder / "derivatives", MS, FLAIR)
    anat = folder / "sub-01" / "ses-a" / "anat"
    (anat / "sub-01_ses-a_FLAIR.nii.gz").unlink()
    with pytest.raises(InputError, match="sub-01/ses-a: no file of channel flair"):
        read_bids(folder, MS, FLAIR, sessions=True)
    (anat / "sub-01_ses-a_T1w.nii.gz").unlink()
    assert len(read_bids(folder, MS, FLAIR, sessions=True).subjects) == 3
    (folder / "participants.tsv").write_text("participant_id\nsub-01\n")
    with pytest.raises(InputError, match="no row for 02"):
        read_bids(folder, MS, FLAIR, sessions=True)

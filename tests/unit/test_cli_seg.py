"""`bonekit seg`, from generated scans to an evaluation, as a user types it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bonekit.cli import _code
from bonekit.image import Grid, LabelMap, read_labels, write
from bonekit.segmentation.data.bids import bids_label, write_bids
from bonekit.segmentation.data.nnunet import read_dataset
from bonekit.segmentation.planning.files import load_plan
from bonekit.segmentation.task_files import load_task

GRID = Grid.of((4, 5, 6), (1.0, 1.0, 1.0))
SMALL = ["--steps", "10", "--folds", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and a model of a few steps."""
    root = tmp_path_factory.mktemp("seg")
    task = root / "task.yaml"
    task.write_text(
        "name: bone_slices\n"
        "description: A bone in one view.\n"
        "channels: [{name: ct, modality: ct, normalisation: ct}]\n"
        "labels: {background: 0, bone: 1}\n"
        "views: [axial]\n"
        "network: unext\n"
    )
    data, model = str(root / "data"), str(root / "model")
    assert _code(["seg", "synth", str(task), "-o", data, "-n", "4", "--body", "femur"]) == 0
    assert _code(["seg", "plan", data, "--task", str(task), "-o", str(root / "plan.json")]) == 0
    made = ["--plan", str(root / "plan.json"), "--seed", "4"]
    assert _code(["seg", "train", data, "--task", str(task), "-o", model, *SMALL, *made]) == 0
    return root


def test_train_leaves_a_model_with_its_card(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(["seg", "card", str(folder / "model")]) == 0
    text = capsys.readouterr().out
    assert "Trained on synthetic images only" in text
    assert "not for diagnosis or treatment" in text
    assert "| bone dice |" in text


def test_predict_and_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = str(folder / "data"), folder / "predictions"
    asked = ["--overlap", "0", "--samples", "1"]
    assert _code(["seg", "predict", str(folder / "model"), data, "-o", str(out), *asked]) == 0
    assert len(list(out.glob("*_entropy.nii.gz"))) == 4
    assert "4 predicted" in capsys.readouterr().out
    task = str(folder / "task.yaml")
    report = folder / "evaluation"
    assert _code(["seg", "evaluate", data, str(out), "--task", task, "-o", str(report)]) == 0
    assert "bone dice" in capsys.readouterr().out
    found = json.loads((report / "evaluation.json").read_text())
    assert found["model"]["bone"]["dice"]["n"] == 4
    assert (report / "evaluation.html").is_file()


def test_one_subject_by_its_files(folder: Path) -> None:
    (image, *_) = sorted((folder / "data/imagesTr").iterdir())
    out = folder / "one"
    assert _code(["seg", "predict", str(folder / "model"), str(image), "-o", str(out)]) == 0
    assert (out / image.name.replace("_0000", "")).is_file()  # named by subject, not by channel


def test_wrong_number_of_channels_names_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one, two, *_) = sorted((folder / "data/imagesTr").iterdir())
    given = ["seg", "predict", str(folder / "model"), str(one), str(two), "-o", str(folder / "no")]
    assert _code(given) == 2
    assert "2 images; the task bone_slices takes 1, in this order: ct" in capsys.readouterr().err
    assert not (folder / "no").exists()


def test_unknown_task_lists_the_built_in_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(["seg", "synth", "bones", "-o", str(tmp_path / "data")]) == 2
    assert "bone_metastases_ct" in capsys.readouterr().err


def test_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(["seg", "tasks"]) == 0
    text = capsys.readouterr().out
    assert "ms_new_lesions: flair_baseline, flair_followup -> new_lesion" in text
    assert "leg_muscle_dixon: fat?, water?" in text


@pytest.fixture(scope="module")
def bids(folder: Path) -> Path:
    """The same data set in BIDS, the labels as a derivative of a reader."""
    root = folder / "bids"
    data = read_dataset(folder / "data", load_task(folder / "task.yaml"))
    for subject in data.subjects:
        name = bids_label(subject.name)
        anat = root / f"sub-{name}" / "anat"
        anat.mkdir(parents=True)
        assert subject.images[0] is not None
        assert subject.labels is not None
        shutil.copy(subject.images[0], anat / f"sub-{name}_ct.nii.gz")
        write_bids(root / "derivatives" / "manual", name, read_labels(subject.labels), data.task)
    (root / "dataset_description.json").write_text('{"Name": "toy", "BIDSVersion": "1.10.0"}')
    return root


def test_bids_in_and_out(folder: Path, bids: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, task, out = str(folder / "model"), str(folder / "task.yaml"), folder / "from_bids"
    channel = ["--bids-channel", "ct=anat/*_ct.nii.gz"]
    given = ["seg", "predict", model, str(bids), "-o", str(out), "--overlap", "0", *channel]
    assert _code([*given, "--as-bids", str(folder / "made")]) == 0
    assert _code([*given, "--as-bids", str(folder / "made")]) == 0  # the same is left there
    made = sorted((folder / "made").rglob("*_desc-bonekit_dseg.nii.gz"))
    assert [p.parts[-3] for p in made] == sorted(p.name for p in bids.glob("sub-*"))
    first = read_labels(out / f"{made[0].parts[-3].removeprefix('sub-')}.nii.gz")
    assert (read_labels(made[0]).array == first.array).all()
    hand = ["--bids-labels", "anat/*_dseg.nii.gz", "--bids-derivatives"]
    hand += [str(bids / "derivatives" / "manual"), "--task", task]
    asked = ["seg", "evaluate", str(bids), str(out), *channel, *hand]
    assert _code([*asked, "-o", str(folder / "bids_evaluation")]) == 0
    assert "bone dice" in capsys.readouterr().out
    assert _code(["seg", "plan", str(bids), *channel, *hand, "-o", str(folder / "bids.json")]) == 0
    assert load_plan(folder / "bids.json").patch == load_plan(folder / "plan.json").patch


def test_bids_without_patterns_says_what_to_give(
    folder: Path, bids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["seg", "predict", str(folder / "model"), str(bids), "-o", str(folder / "no")]
    assert _code(given) == 2
    said = capsys.readouterr().err
    assert "--bids-channel 'ct=PATTERN'" in said
    assert "_ct.nii.gz" in said
    assert _code([*given, "--bids-channel", "ct"]) == 2
    assert "expected CHANNEL=PATTERN" in capsys.readouterr().err
    plan = ["seg", "plan", str(bids), "--task", str(folder / "task.yaml"), "-o", "no.json"]
    assert _code(plan) == 2
    assert "--bids-labels" in capsys.readouterr().err


def test_patterns_are_refused_where_there_is_no_bids(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [
        "seg",
        "plan",
        str(folder / "data"),
        "--task",
        str(folder / "task.yaml"),
        "-o",
        "p.json",
    ]
    assert _code([*data, "--bids-channel", "ct=*.nii.gz"]) == 2
    assert "is no data set in BIDS" in capsys.readouterr().err


def test_import_labels_of_totalsegmentator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    array = np.zeros((4, 5, 6), np.uint8)
    for number, name in enumerate(["femur_left", "vertebrae_L3", "hip_left"]):
        one = LabelMap((np.arange(120).reshape(array.shape) == number).astype(np.uint8), GRID)
        write(one, masks / f"{name}.nii.gz")
    given = ["seg", "import-labels", str(masks), "vertebra_L3", "femur_left"]
    assert _code([*given, "-o", str(tmp_path / "bones.nii.gz")]) == 0
    assert "--bone vertebra_L3" in capsys.readouterr().out
    found = read_labels(tmp_path / "bones.nii.gz")
    assert dict(found.names) == {1: "vertebra_L3", 2: "femur_left"}
    assert found.array.ravel()[:3].tolist() == [2, 1, 0]
    assert _code(["seg", "import-labels", str(masks), "rib", "-o", str(tmp_path / "no.mha")]) == 2
    assert "femur_left" in capsys.readouterr().err

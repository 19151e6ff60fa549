"""`bonekit seg`, from generated scans to an evaluation, as a user types it."""

import json
from pathlib import Path

import pytest

from bonekit.cli import _code

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
    assert (out / image.name).is_file()


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

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.image import read, read_labels, write, write_dicom
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.inference import PredictSettings, predict, to_files
from bonekit.segmentation.inference.ensemble import Ensemble
from bonekit.segmentation.models.card import Card

from .conftest import ct, toy_model, toy_task

SETTINGS = PredictSettings(slab_MB=0.002, samples=2, dropout=1, probabilities=True)
SMALL = (14, 24, 18)


@pytest.fixture
def subjects(tmp_path: Path) -> list[Subject]:
    made = []
    for n in range(2):
        path = tmp_path / f"ct{n}.nii.gz"
        write(ct(SMALL, seed=n), path)
        made.append(Subject(f"case{n}", (path,)))
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


class Killed(BaseException):
    pass


def test_files_hold_what_predict_gives(subjects: list[Subject], tmp_path: Path) -> None:
    model = toy_model(toy_task())
    paths = to_files(model, subjects, tmp_path / "out", SETTINGS)
    assert [p.name for p in paths] == ["case0.nii.gz", "case1.nii.gz"]
    direct = predict(model, subjects[1], SETTINGS)
    labels = read_labels(paths[1])
    np.testing.assert_array_equal(labels.array, direct.labels.array)
    assert labels.names == {1: "bone", 2: "lesion"}
    assert labels.grid.same_as(direct.labels.grid)
    entropy = read(tmp_path / "out" / "case1_entropy.nii.gz")
    np.testing.assert_array_equal(entropy.array, direct.entropy.array)
    sample = read_labels(tmp_path / "out" / "case1_sample1.nii.gz", {1: "bone", 2: "lesion"})
    np.testing.assert_array_equal(sample.array, direct.samples[1].array)
    report = json.loads((tmp_path / "out" / "case1_report.json").read_text())
    assert report["measures"] == dict(direct.verdict.measures)
    assert report["task"] == "toy"


def test_a_killed_run_goes_on_to_the_same_files(subjects: list[Subject], tmp_path: Path) -> None:
    model = toy_model(toy_task(("sagittal", "axial"), fusion="entropy"))
    to_files(model, subjects, tmp_path / "whole", SETTINGS)
    for kill_at in (1, 4, 7):
        out = tmp_path / f"out{kill_at}"
        seen: list[tuple[object, ...]] = []

        def kill(*state: object, seen: list[tuple[object, ...]] = seen, at: int = kill_at) -> None:
            seen.append(state)
            if len(seen) == at:
                raise Killed

        with pytest.raises(Killed):
            to_files(model, subjects, out, SETTINGS, kill)
        to_files(model, subjects, out, SETTINGS, kill)
        assert len(seen) > kill_at
        assert seen == sorted(set(seen))  # no slab twice, and all in turn
        assert contents(out) == contents(tmp_path / "whole")


def test_what_is_done_is_not_done_again(
    subjects: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy_model(toy_task())
    to_files(model, subjects, tmp_path / "out")
    calls: list[int] = []
    once = Ensemble.__call__

    def counted(self: Ensemble, tiles: torch.Tensor, number: int) -> torch.Tensor:
        calls.append(number)
        return once(self, tiles, number)

    monkeypatch.setattr(Ensemble, "__call__", counted)
    to_files(model, subjects, tmp_path / "out")
    assert not calls
    write(ct(SMALL, seed=7), subjects[0].images[0])  # type: ignore[arg-type]
    to_files(model, subjects, tmp_path / "out")
    per_case = len(calls)
    assert per_case > 0
    to_files(model, subjects, tmp_path / "out", PredictSettings(seed=1))
    assert len(calls) == 3 * per_case


def test_names_and_missing_images_are_checked(subjects: list[Subject], tmp_path: Path) -> None:
    model = toy_model(toy_task())
    with pytest.raises(InputError, match="several subjects are named case0"):
        to_files(model, [subjects[0], subjects[0]], tmp_path / "out")
    with pytest.raises(InputError, match="file name"):
        to_files(model, [Subject("a/b", subjects[0].images)], tmp_path / "out")
    with pytest.raises(InputError, match="no image"):
        to_files(model, [Subject("a", (tmp_path / "gone.nii.gz",))], tmp_path / "out")


def test_a_full_disk_is_an_error_by_name(
    subjects: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left"):
        to_files(toy_model(toy_task()), subjects, tmp_path / "out")


def test_a_demonstration_refuses_a_dicom_patient(tmp_path: Path) -> None:
    image = ct(turned=False)
    write_dicom(image, tmp_path / "dicom")
    subject = Subject("patient", (tmp_path / "dicom",))
    demo = Card(training_data="phantoms", synthetic=True)
    with pytest.raises(InputError, match="trained on synthetic images only"):
        predict(toy_model(toy_task(), card=demo), subject)
    found = predict(toy_model(toy_task(), card=demo, allow_demo=True), subject)
    assert found.labels.shape == image.shape
    assert predict(toy_model(toy_task(), card=demo), [image]).labels.shape == image.shape

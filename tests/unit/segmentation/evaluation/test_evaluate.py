"""From pairs to tables, intervals, groups, raters and a report."""

import csv
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, write
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.evaluation import Pair, estimate, evaluate, pairs_of, write_report
from bonekit.segmentation.evaluation.report import plain
from bonekit.segmentation.evaluation.score import from_plain, score, to_plain
from bonekit.segmentation.task import Channel, Metrics, Task

# The package gives the function of this name the module's place
module = import_module("bonekit.segmentation.evaluation.evaluate")
GRID = Grid.of((24, 20, 16), (1.0, 1.0, 2.0))
TASK = Task(
    name="toy",
    description="A bone with lesions",
    channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
    labels={"background": 0, "bone": 1, "lesion": 2},
    regions={"bone": ("bone", "lesion"), "lesion": ("lesion",)},
    region_order=("bone", "lesion"),
    metrics=Metrics(lesions=("lesion",), least_lesion_mm3=3.0),
)


def labels(shift: int = 0, lesion: bool = True) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[4 + shift : 16 + shift, 4:16, 3:13] = 1
    if lesion:
        array[8 + shift : 11 + shift, 8:11, 6:9] = 2
    return LabelMap(array, GRID)


def subjects(count: int = 6) -> list[Pair]:
    pairs = []
    for n in range(count):
        sheet = {"scanner": "AB"[n % 2], "patient": f"p{n // 2}"}
        pairs.append(Pair(f"s{n}", labels(), labels(n % 3, lesion=n != 4), sheet))
    return pairs


def test_regions_are_unions_of_labels() -> None:
    found = score(Pair("a", labels(), labels(lesion=False)), TASK)
    assert found.values["bone"]["dice"] == 1.0  # the lesion's voxels are bone all the same
    assert found.values["lesion"]["dice"] == 0.0
    assert found.values["lesion"]["n_reference"] == 1
    assert found.values["lesion"]["sensitivity"] == 0.0


def test_means_are_those_of_the_subjects() -> None:
    found = evaluate(subjects(), TASK)
    dice = [one.values["bone"]["dice"] for one in found.scores]
    assert dice[:3] == pytest.approx([1.0, 11 / 12, 10 / 12])
    assert found.model["bone"]["dice"].mean == pytest.approx(np.mean(dice))
    assert found.model["bone"]["dice"].n == 6
    low, high = found.model["bone"]["dice"].low, found.model["bone"]["dice"].high
    assert min(dice) < low < np.mean(dice) < high < max(dice)
    assert found.model["lesion"]["n_false"].mean == 0.0


def test_groups_of_a_column() -> None:
    found = evaluate(subjects(), TASK, columns=["scanner"])
    dice = {one.name: one.values["bone"]["dice"] for one in found.scores}
    by = found.groups["scanner"]
    assert by["A"]["bone"]["dice"].mean == pytest.approx(
        np.mean([dice["s0"], dice["s2"], dice["s4"]])
    )
    assert by["B"]["bone"]["dice"].n == 3
    assert set(evaluate(subjects(), TASK).groups) == {"patient", "scanner"}
    with pytest.raises(InputError, match=r"no column 'vendor' for s0.*patient, scanner"):
        evaluate(subjects(), TASK, columns=["vendor"])


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = rng.normal(size=25)
        found = estimate(values.tolist(), [str(n) for n in range(25)], seed=trial)
        covered += found.low <= 0.0 <= found.high
    assert 0.88 < covered / 200 < 0.99  # 95 % less what 25 values miss, +- 3 standard errors


def test_intervals_know_that_scans_of_a_patient_are_alike() -> None:
    rng = np.random.default_rng(1)
    patients = rng.normal(size=12)
    values = np.repeat(patients, 8)
    single = estimate(values.tolist(), [str(n) for n in range(values.size)])
    grouped = estimate(values.tolist(), [str(n // 8) for n in range(values.size)])
    assert grouped.mean == pytest.approx(single.mean)
    # 8 equal scans add nothing: the width grows by the square root of 8
    assert (grouped.high - grouped.low) / (single.high - single.low) == pytest.approx(
        8**0.5, rel=0.2
    )


def test_intervals_of_special_values() -> None:
    same = estimate([0.5, 0.5, 0.5], ["a", "b", "c"])
    assert (same.mean, same.low, same.high, same.n) == (0.5, 0.5, 0.5, 3)
    one = estimate([0.5, float("nan")], ["a", "b"])
    assert one.mean == 0.5
    assert np.isnan(one.low)
    assert one.n == 1
    assert estimate([float("nan")], ["a"]).n == 0


def test_raters_stand_beside_the_prediction() -> None:
    pairs = [replace(pair, raters=(labels(1), labels(-1))) for pair in subjects(3)]
    found = evaluate(pairs, TASK)
    assert found.raters["bone"]["dice"].mean == pytest.approx(11 / 12)
    assert found.raters["bone"]["dice"].n == 6
    assert found.between_raters["bone"]["dice"].mean == pytest.approx(10 / 12)


def with_probabilities(pair: Pair, sure: float) -> Pair:
    assert isinstance(pair.prediction, LabelMap)
    array = pair.prediction.array
    p = np.stack([array > 0, array == 2]).astype(np.float32)
    return replace(pair, probabilities=sure * p + (1 - sure) * (1 - p))


def test_calibration_and_froc_from_probabilities() -> None:
    sure, unsure = (
        evaluate([with_probabilities(pair, p) for pair in subjects()], TASK) for p in (0.99, 0.6)
    )
    assert 0 < sure.reliability["bone"].ece < 0.2 < unsure.reliability["bone"].ece
    assert sure.sensitivity["lesion"]["0.25"] == pytest.approx(5 / 6)
    # 0.4 everywhere is one suspected lesion as large as the image
    assert unsure.sensitivity["lesion"]["0.25"] == 0.0
    assert unsure.scores[0].candidates["lesion"].score.tolist() == pytest.approx([0.6])
    assert set(sure.group_reliability["scanner"]) == {"A", "B"}
    assert sure.model["bone"]["ece"].n == 6


def test_entropy_that_marks_the_errors() -> None:
    pair = subjects()[1]
    assert isinstance(pair.prediction, LabelMap)
    wrong = pair.prediction.array != labels().array
    found = score(replace(pair, entropy=Image((200 * wrong).astype(np.uint8), GRID)), TASK)
    assert found.values["bone"]["error_auroc"] > 0.95


def test_change_of_the_failure_load() -> None:
    found = evaluate(
        subjects(3), TASK, failure_load=lambda name, one: 1000.0 - 5 * float((one.array == 2).sum())
    )
    assert found.failure_load.mean == 0.0
    weaker = Pair("x", labels(), labels(lesion=False))
    one = evaluate(
        [weaker], TASK, failure_load=lambda _, seen: 1e3 - float((seen.array == 2).sum())
    )
    assert one.scores[0].failure_load["reference_N"] == 973.0
    assert one.failure_load.mean == pytest.approx(100 * (1000 / 973 - 1))


def test_a_score_survives_the_disk_bit_by_bit() -> None:
    pair = replace(with_probabilities(subjects()[4], 0.7), raters=(labels(1),))
    found = score(pair, TASK)
    again = from_plain(json.loads(json.dumps(to_plain(found), allow_nan=False)))
    assert to_plain(again) == to_plain(found)
    assert np.isnan(again.values["lesion"]["ppv"])


def test_killed_and_run_again_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plain(evaluate(subjects(), TASK))
    told: list[str] = []

    def kill(name: str) -> None:
        told.append(name)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(subjects(), TASK, folder=tmp_path, progress=kill)
    measured: list[str] = []
    real = module.score

    def counting(pair: Pair, *rest: Any) -> Any:
        measured.append(pair.name)
        return real(pair, *rest)

    monkeypatch.setattr(module, "score", counting)
    assert plain(evaluate(subjects(), TASK, folder=tmp_path)) == whole
    assert measured == ["s3", "s4", "s5"]
    measured.clear()
    changed = subjects()
    changed[0] = replace(changed[0], prediction=labels(2))
    found = evaluate(changed, TASK, folder=tmp_path)
    assert measured == ["s0"]
    assert found.scores[0].values["bone"]["dice"] == pytest.approx(10 / 12)


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate([], TASK)
    with pytest.raises(InputError, match="subjects occur twice: s0"):
        evaluate([subjects()[0]] * 2, TASK)
    foreign = LabelMap(np.full(GRID.shape, 7, np.uint8), GRID)
    with pytest.raises(InputError, match=r"holds the labels 7; the task 'toy' has 0 background"):
        score(Pair("a", labels(), foreign), TASK)
    moved = LabelMap(labels().array, Grid.of(GRID.shape, (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="another grid than the reference"):
        score(Pair("a", labels(), moved), TASK)
    with pytest.raises(InputError, match=r"shape \(3, 24, 20, 16\).*bone, lesion.*\(2, 24"):
        score(Pair("a", labels(), labels(), probabilities=np.zeros((3, *GRID.shape))), TASK)


def on_disk(folder: Path) -> Dataset:
    for name in ("imagesTr", "labelsTr", "labelsTr_rater2", "labelsTr_rater10", "pred"):
        (folder / name).mkdir()
    found = []
    for n in range(2):
        write(
            Image(100 * labels().array.astype(np.int16), GRID), folder / "imagesTr" / f"s{n}.nii.gz"
        )
        write(labels(), folder / "labelsTr" / f"s{n}.nii.gz")
        write(labels(1), folder / "labelsTr_rater2" / f"s{n}.nii.gz")
        write(labels(-1), folder / "labelsTr_rater10" / f"s{n}.nii.gz")
        image = folder / "imagesTr" / f"s{n}.nii.gz"
        found.append(
            Subject(f"s{n}", (image,), folder / "labelsTr" / f"s{n}.nii.gz", {"site": "north"})
        )
    return Dataset(TASK, tuple(found))


def test_pairs_on_disk_and_a_report(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path)
    predictions = tmp_path / "pred"
    write(labels(2), predictions / "s0.nii.gz")
    with pytest.raises(InputError, match=r"lacks predictions of 1 of 2 subjects.*s1"):
        pairs_of(dataset, predictions)
    write(labels(), predictions / "s1.nii.gz")
    p = np.stack([labels(2).array > 0, labels(2).array == 2]).astype(np.float32)
    np.save(predictions / "s0_probabilities.npy", p)
    np.savez(predictions / "s1_probabilities.npz", probabilities=p)
    pairs = pairs_of(dataset, predictions)
    assert [file.parent.name for file in pairs[0].raters] == ["labelsTr_rater2", "labelsTr_rater10"]
    found = evaluate(pairs, TASK, folder=predictions)
    page = write_report(found, predictions)
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 3 + 2  # three charts, and one bad case of each output
    assert "Raters against each other" in text
    assert "All images are synthetic" not in text
    content = json.loads((predictions / "evaluation.json").read_text())
    assert content["model"]["bone"]["dice"]["mean"] == pytest.approx((1 + 10 / 12) / 2)
    with (predictions / "scores.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["subject"], line["output"]) for line in lines] == [
        ("s0", "bone"),
        ("s0", "lesion"),
        ("s1", "bone"),
        ("s1", "lesion"),
    ]
    assert float(lines[0]["dice"]) == pytest.approx(10 / 12)
    assert lines[0]["site"] == "north"


def test_the_report_says_that_images_are_synthetic(tmp_path: Path) -> None:
    pairs = [replace(pair, columns={"synthetic": "yes"}) for pair in subjects(2)]
    text = write_report(evaluate(pairs, TASK), tmp_path).read_text(encoding="utf-8")
    assert "All images are synthetic" in text
    assert "not for diagnosis or treatment" in text


def test_limits_of_the_change_of_the_failure_load(tmp_path: Path) -> None:
    """By hand: changes of -10, 0 and 25 % have a mean of 5 and a deviation of 18.03."""
    strengths = iter([1000.0, 900.0, 1000.0, 1000.0, 1000.0, 1250.0, 1000.0, np.nan])
    found = evaluate(subjects(4), TASK, failure_load=lambda *_: next(strengths))
    limits = found.failure_load_limits
    assert (limits.n, limits.mean) == (3, pytest.approx(5.0))
    assert [limits.low, limits.high] == pytest.approx([5 - 35.334, 5 + 35.334], abs=1e-3)
    text = write_report(found, tmp_path).read_text(encoding="utf-8")
    assert "Strength of each subject" in text
    assert "<td>1000</td><td>1250</td><td>25.0</td>" in text
    assert "<td>1000</td><td>not defined</td><td>not defined</td>" in text
    assert "limits -30.3 to 40.3" in text


def test_scores_of_another_way_to_strengths_are_measured_again(tmp_path: Path) -> None:
    class Law:
        def __init__(self, key: str) -> None:
            self.key, self.calls = key, 0

        def __call__(self, name: str, one: LabelMap) -> float:
            self.calls += 1
            return 1.0

    laws = [Law("a"), Law("a"), Law("b")]
    for law in laws:
        evaluate(subjects(2), TASK, failure_load=law, folder=tmp_path)
    assert [law.calls for law in laws] == [4, 0, 4]

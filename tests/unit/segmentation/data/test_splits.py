import json
from pathlib import Path

import pytest

from bonekit.errors import InputError
from bonekit.segmentation.data.splits import folds, read_splits, write_splits
from bonekit.segmentation.data.subjects import Subject


def subjects(n: int, **columns: list[str]) -> list[Subject]:
    return [
        Subject(f"case_{i:03d}", (), None, {name: c[i] for name, c in columns.items()})
        for i in range(n)
    ]


# KFold(5, shuffle=True, random_state=12345) of scikit-learn 1.9.1, as nnU-Net calls it.
NNUNET = {
    7: [[3, 6], [0, 4], [1], [5], [2]],
    20: [[3, 8, 13, 16], [0, 10, 12, 15], [6, 7, 11, 17], [9, 14, 18, 19], [1, 2, 4, 5]],
}


@pytest.mark.parametrize("n", NNUNET)
def test_folds_are_those_of_nnunet(n: int) -> None:
    everyone = subjects(n)
    made = folds(everyone[::-1])
    assert [[everyone.index(s) for s in validation] for _, validation in made] == NNUNET[n]
    for train, validation in made:
        assert sorted([*train, *validation], key=lambda s: s.name) == everyone


def test_groups_stay_together_and_folds_are_even() -> None:
    patients = [*"aaaaaabbbbccddeeffgg"]
    everyone = subjects(20, patient=patients)
    made = folds(everyone, 3, group="patient")
    assert sorted(len(v) for _, v in made) == [6, 6, 8]
    for train, validation in made:
        assert not {s.columns["patient"] for s in train} & {
            s.columns["patient"] for s in validation
        }
    assert sorted(s.name for _, v in made for s in v) == [s.name for s in everyone]
    assert folds(everyone, 3, group="patient", seed=1) != made


def test_bad_splits_are_refused() -> None:
    with pytest.raises(InputError, match="4 subjects can't be split into 5 folds"):
        folds(subjects(4))
    with pytest.raises(InputError, match="2 values of the column site can't be split"):
        folds(subjects(9, site=[*"aaaaabbbb"]), 3, group="site")
    with pytest.raises(
        InputError, match="case_000 has nothing in the column scanner; there are: s"
    ):
        folds(subjects(5, site=[*"abcde"]), group="scanner")
    with pytest.raises(InputError, match="case_000 occur more than once"):
        folds([*subjects(5), *subjects(1)])
    with pytest.raises(InputError, match="1 folds"):
        folds(subjects(5), 1)


def test_a_split_written_is_the_split_read(tmp_path: Path) -> None:
    everyone = subjects(7)
    write_splits(folds(everyone), tmp_path / "splits_final.json")
    assert read_splits(tmp_path / "splits_final.json", everyone) == folds(everyone)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"train": ["case_000"], "val": ["case_000"]}], "case_000 occurs twice"),
        (
            [{"train": ["case_000"], "val": ["case_001"]}, {"train": [], "val": ["case_001"]}],
            "fold 1: case_001 occurs twice",
        ),
        ([{"train": ["case_000", "case_000"], "val": []}], "a subject occurs twice"),
        ([{"train": ["other"], "val": []}], "no such subject: other"),
        ({"train": []}, "is no list of splits"),
    ],
)
def test_bad_split_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_splits(path, subjects(3))

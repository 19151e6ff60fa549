"""Subjects in folds for cross-validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.data.subjects import Subject

Subjects = tuple[Subject, ...]
Folds = tuple[tuple[Subjects, Subjects], ...]
SEED = 12345  # nnU-Net's


def folds(
    subjects: Sequence[Subject], n: int = 5, group: str | None = None, seed: int = SEED
) -> Folds:
    """Split subjects; each is in one validation set.

    Without groups the folds are those of nnU-Net (sorted names, shuffled by its seed, cut into
    pieces), so that scores can be compared.

    Parameters
    ----------
    subjects : sequence of Subject
    n : int
    group : str, optional
        Column of the case sheet (patient, site): subjects with the same value stay together, the
        largest groups are placed first, each into the smallest fold.
    seed : int

    Returns
    -------
    tuple of (training, validation)
        Both sorted by name.

    Raises
    ------
    InputError
        If there are fewer subjects or groups than folds, a name occurs twice, or a subject has
        nothing in the column.
    """
    ordered = sorted(subjects, key=lambda s: s.name)
    names = [s.name for s in ordered]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{', '.join(doubled)} occur more than once: a subject is in one fold")
    if n < 2:
        raise InputError(f"{n} folds; allowed: 2 and more")
    keys = names if group is None else [_value(s, group) for s in ordered]
    unique = sorted(set(keys))
    if len(unique) < n:
        what = "subjects" if group is None else f"values of the column {group}"
        raise InputError(
            f"{len(unique)} {what} can't be split into {n} folds: add some, or ask for fewer folds"
        )
    order = np.arange(len(unique))
    np.random.RandomState(seed).shuffle(order)  # the generator nnU-Net's splits come from
    place = (
        _pieces(order, n) if group is None else _balanced(order, [keys.count(u) for u in unique], n)
    )
    fold_of = dict(zip(unique, place, strict=True))
    return tuple(
        (
            tuple(s for s, k in zip(ordered, keys, strict=True) if fold_of[k] != fold),
            tuple(s for s, k in zip(ordered, keys, strict=True) if fold_of[k] == fold),
        )
        for fold in range(n)
    )


def _pieces(order: np.ndarray, n: int) -> list[int]:
    """Fold of each item: consecutive pieces of the shuffled order, the first ones longer."""
    place = [0] * len(order)
    for fold, piece in enumerate(np.array_split(order, n)):
        for item in piece:
            place[item] = fold
    return place


def _balanced(order: np.ndarray, sizes: Sequence[int], n: int) -> list[int]:
    """Fold of each group: the largest first, into the smallest fold."""
    place, filled = [0] * len(order), [0] * n
    for item in sorted(order.tolist(), key=lambda i: -sizes[i]):
        place[item] = filled.index(min(filled))
        filled[place[item]] += sizes[item]
    return place


def _value(subject: Subject, group: str) -> str:
    if not subject.columns.get(group):
        raise InputError(
            f"{subject.name} has nothing in the column {group}; there are: "
            f"{', '.join(subject.columns) or 'none (no case sheet)'}"
        )
    return subject.columns[group]


def read_splits(path: str | Path, subjects: Sequence[Subject]) -> Folds:
    """Read nnU-Net's ``splits_final.json``.

    Raises
    ------
    InputError
        If it names a subject that isn't there, has one in training and validation of the same fold
        or in validation twice.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        parts = [([str(x) for x in f["train"]], [str(x) for x in f["val"]]) for f in content]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} is no list of splits: {error!r}. Expected [{{"train": [...], "val": [...]}}]'
        ) from error
    known = {s.name: s for s in subjects}
    seen: set[str] = set()
    for number, (train, validation) in enumerate(parts):
        if unknown := sorted({*train, *validation} - set(known)):
            raise InputError(f"{path}, fold {number}: no such subject: {', '.join(unknown)}")
        both = sorted(set(train) & set(validation) | seen & set(validation))
        if both or len({*train}) < len(train) or len({*validation}) < len(validation):
            raise InputError(
                f"{path}, fold {number}: {', '.join(both) or 'a subject'} occurs twice; a subject "
                "is validated once, and not trained on there"
            )
        seen |= set(validation)
    return tuple(
        (tuple(known[x] for x in sorted(t)), tuple(known[x] for x in sorted(v))) for t, v in parts
    )


def write_splits(made: Folds, path: str | Path) -> None:
    """Write folds as nnU-Net's ``splits_final.json``."""
    content = [
        {"train": [s.name for s in train], "val": [s.name for s in validation]}
        for train, validation in made
    ]
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

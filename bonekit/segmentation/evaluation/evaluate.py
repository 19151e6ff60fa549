"""From pairs of predictions and references to tables with intervals; killed, it goes on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.evaluation import summary
from bonekit.segmentation.evaluation.calibration import Reliability
from bonekit.segmentation.evaluation.lesions import Froc, froc
from bonekit.segmentation.evaluation.pairs import Pair, fingerprint
from bonekit.segmentation.evaluation.score import FailureLoad, Score, from_plain, score, to_plain
from bonekit.segmentation.evaluation.summary import Agreement, Estimate, Row
from bonekit.segmentation.task import Task

log = logging.getLogger(__name__)
VERSION = "1"  # of what is measured: kept scores of another version are measured again


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good predictions are.

    Parameters
    ----------
    task : Task
    scores : tuple of Score
        One for each subject.
    model : mapping
        output -> metric -> `summary.Estimate` over subjects.
    raters, between_raters : mapping
        The same for raters against the reference, and for raters against each other.
    groups : mapping
        column -> value -> output -> metric -> estimate.
    reliability, group_reliability : mapping
        Pooled over voxels at the boundary: output -> `Reliability`; column -> value -> the same.
    lesion_reliability : mapping of str to Reliability
    froc : mapping of str to Froc
    sensitivity : mapping
        label -> false lesions per subject -> sensitivity.
    failure_load : Estimate
        Change of the failure load in percent; nan if it was not asked for.
    failure_load_limits : Agreement
        Limits that 95 % of these changes lie in.
    pairs : tuple of Pair
        What was compared, for pictures.
    """

    task: Task
    scores: tuple[Score, ...]
    model: Row
    raters: Row
    between_raters: Row
    groups: dict[str, dict[str, dict[str, dict[str, Estimate]]]]
    reliability: dict[str, Reliability]
    group_reliability: dict[str, dict[str, dict[str, Reliability]]]
    lesion_reliability: dict[str, Reliability]
    froc: dict[str, Froc]
    sensitivity: dict[str, dict[str, float]]
    failure_load: Estimate
    failure_load_limits: Agreement
    pairs: tuple[Pair, ...] = ()


def evaluate(
    pairs: Sequence[Pair],
    task: Task,
    *,
    columns: Sequence[str] | None = None,
    group: str | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    failure_load: FailureLoad | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure predictions against their references.

    Parameters
    ----------
    pairs : sequence of Pair
        See `pairs.pairs_of`.
    task : Task
    columns : sequence of str, optional
        Of the case sheet, to show groups of; by default those that make two to eight groups.
    group : str, optional
        Column that says what is independent, such as the patient of several scans; intervals
        draw whole groups. By default each subject.
    folder : str or Path, optional
        Where to keep the score of each subject (``scores/{subject}.json``): an evaluation that
        was killed goes on there and gives the same result, and a score is measured again if a
        file of its subject has changed.
    seed : int
        Of the bootstrap.
    failure_load : callable, optional
        ``failure_load(name, labels)`` in N: the change from reference to prediction is what a
        segmentation for mechanics is for (`bonekit.strength_of_labels`). If it has a ``key``, kept
        scores of another key are measured again.
    progress : callable, optional
        Told each subject's name when it is done.

    Raises
    ------
    InputError
        If there are no pairs, two of one name, or as `score.score` and `summary.table_by`.
    """
    names = [pair.name for pair in pairs]
    if not names or len(set(names)) < len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise InputError(
            f"subjects occur twice: {', '.join(doubled)}" if doubled else "nothing to evaluate"
        )
    scores = []
    for pair in pairs:
        scores.append(_kept(pair, task, folder, failure_load))
        if progress is not None:
            progress(pair.name)
    found = gather(tuple(scores), task, columns=columns, group=group, seed=seed)
    return replace(found, pairs=tuple(pairs))


def _kept(
    pair: Pair, task: Task, folder: str | Path | None, failure_load: FailureLoad | None
) -> Score:
    """Take a subject's score from the folder if it was measured there, else measure it."""
    if folder is None:
        return score(pair, task, failure_load)
    target = Path(folder) / "scores" / f"{pair.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    asked = f"{VERSION} {task.model_dump_json()} {_key(failure_load)} {fingerprint(pair)}"
    key = hashlib.sha256(asked.encode()).hexdigest()
    if target.is_file():
        content = json.loads(target.read_text(encoding="utf-8"))
        if content["key"] == key:
            return from_plain(content["score"])
        log.info("%s has changed and is measured again", pair.name)
    done = score(pair, task, failure_load)
    with replacing(target) as temporary:
        text = json.dumps({"key": key, "score": to_plain(done)}, allow_nan=False)
        temporary.write_text(text, encoding="utf-8")
    return done


def _key(failure_load: FailureLoad | None) -> str:
    """Say how strengths were found: the hook's `key`, if it has one."""
    return str(getattr(failure_load, "key", failure_load is not None))


def gather(
    scores: tuple[Score, ...],
    task: Task,
    *,
    columns: Sequence[str] | None = None,
    group: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Put the scores of subjects together (parameters as for `evaluate`)."""
    columns = summary.usual_columns(scores) if columns is None else columns
    units = summary.groups_of(scores, group)
    rated = [(values, unit) for s, unit in zip(scores, units, strict=True) for values in s.raters]
    among = [
        (values, unit) for s, unit in zip(scores, units, strict=True) for values in s.between_raters
    ]
    labels = dict.fromkeys(name for one in scores for name in one.candidates)
    curves = {
        label: froc([s.candidates[label] for s in scores if label in s.candidates])
        for label in labels
    }
    change = [one.failure_load.get("change_percent", float("nan")) for one in scores]
    return Evaluation(
        task,
        scores,
        summary.row([one.values for one in scores], units, seed),
        summary.row([values for values, _ in rated], [unit for _, unit in rated], seed),
        summary.row([values for values, _ in among], [unit for _, unit in among], seed),
        {column: summary.table_by(scores, column, group, seed) for column in columns},
        summary.boundary_reliability(scores),
        {column: _reliability_by(scores, column) for column in columns},
        summary.lesion_reliability(scores),
        {label: curve for label, curve in curves.items() if curve is not None},
        summary.sensitivities(scores),
        summary.estimate(change, units, seed),
        summary.agreement(change),
    )


def _reliability_by(scores: Sequence[Score], column: str) -> dict[str, dict[str, Reliability]]:
    values = sorted({one.columns[column] for one in scores})
    return {
        value: summary.boundary_reliability([s for s in scores if s.columns[column] == value])
        for value in values
    }

"""Everything that is measured on one subject."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from bonekit.image import LabelMap
from bonekit.segmentation.evaluation.calibration import (
    Reliability,
    band,
    error_auroc,
    reliability,
)
from bonekit.segmentation.evaluation.lesions import Candidates, candidates, detection, pieces
from bonekit.segmentation.evaluation.overlap import Mask, Values, overlap
from bonekit.segmentation.evaluation.pairs import Pair, entropy, masks, opened, probabilities
from bonekit.segmentation.task import Task

FailureLoad = Callable[[str, LabelMap], float]
CANDIDATE_ABOVE = 0.1  # probability from which on voxels belong to a suspected lesion


@dataclass(frozen=True, eq=False)
class Score:
    """What was measured on one subject.

    Parameters
    ----------
    name : str
    columns : mapping of str to str
    values : mapping of str to mapping
        For each output of the task (not the background): see `overlap.overlap`; with
        probabilities ``ece`` in a band at the boundary, with entropy ``error_auroc``; for labels
        that are counted also `lesions.detection`.
    reliability : mapping of str to Reliability
        In the band at the boundary of each output.
    candidates : mapping of str to Candidates
        Of labels that are counted.
    raters : tuple of mapping
        `values` of each rater against the reference.
    between_raters : tuple of mapping
        `values` of each pair of raters.
    failure_load : mapping of str to float
        ``reference_N``, ``prediction_N``, ``change_percent``; empty if not asked for.
    """

    name: str
    columns: Mapping[str, str]
    values: Mapping[str, Values]
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    candidates: Mapping[str, Candidates] = field(default_factory=dict)
    raters: tuple[Mapping[str, Values], ...] = ()
    between_raters: tuple[Mapping[str, Values], ...] = ()
    failure_load: Values = field(default_factory=dict)


def score(pair: Pair, task: Task, failure_load: FailureLoad | None = None) -> Score:
    """Measure one subject.

    Parameters
    ----------
    pair : Pair
    task : Task
    failure_load : callable, optional
        ``failure_load(name, labels)`` in N, of the reference and of the prediction.

    Raises
    ------
    InputError
        If labels are none of the task's, or grids or shapes differ.
    """
    reference = opened(pair.reference, task)
    prediction = opened(pair.prediction, task, reference)
    values = compare(reference, prediction, task)
    reliable, suspected = _calibrated(pair, task, reference, values)
    _with_entropy(pair, task, reference, prediction, values)
    raters = [opened(one, task, reference) for one in pair.raters]
    return Score(
        pair.name,
        dict(pair.columns),
        values,
        reliable,
        suspected,
        tuple(compare(reference, rater, task) for rater in raters),
        tuple(compare(a, b, task) for a, b in combinations(raters, 2)),
        _failure_load(pair.name, reference, prediction, failure_load),
    )


def compare(reference: LabelMap, prediction: LabelMap, task: Task) -> dict[str, Values]:
    """Overlap, surfaces, volumes and lesions of every output of a task."""
    spacing, voxel = reference.spacing_mm, reference.grid.voxel_mm3
    truth, guess = masks(reference, task), masks(prediction, task)
    values = {}
    for name, true in truth.items():
        values[name] = overlap(true, guess[name], spacing, task.metrics.tolerance_mm)
        if name in task.metrics.lesions:
            least = task.metrics.least_lesion_mm3
            own = (pieces(true, voxel, least), pieces(guess[name], voxel, least))
            values[name] |= detection(*own, voxel)
    return values


def _calibrated(
    pair: Pair, task: Task, reference: LabelMap, values: dict[str, Values]
) -> tuple[dict[str, Reliability], dict[str, Candidates]]:
    """Calibration at the boundaries, and suspected lesions; the ECE is added to the values."""
    found = probabilities(pair, task, reference.shape)
    reliable: dict[str, Reliability] = {}
    suspected: dict[str, Candidates] = {}
    if found is None:
        return reliable, suspected
    voxel, least = reference.grid.voxel_mm3, task.metrics.least_lesion_mm3
    for name, true in masks(reference, task).items():
        if name not in task.outputs:
            continue
        probability = found[task.outputs.index(name)]
        near = band(true)
        reliable[name] = reliability(probability[near], true[near])
        values[name]["ece"] = reliable[name].ece
        if name in task.metrics.lesions:
            numbered = pieces(true, voxel, least)
            suspected[name] = candidates(probability, numbered, voxel, least, CANDIDATE_ABOVE)
    return reliable, suspected


def _with_entropy(
    pair: Pair, task: Task, reference: LabelMap, prediction: LabelMap, values: dict[str, Values]
) -> None:
    """Add how well the entropy tells wrong voxels, in the band of reference and prediction."""
    found = entropy(pair, reference)
    if found is None:
        return
    guess = masks(prediction, task)
    for name, true in masks(reference, task).items():
        near: Mask = band(true) | band(guess[name])
        wrong = true[near] != guess[name][near]
        values[name]["error_auroc"] = error_auroc(found[near], wrong)


def _failure_load(
    name: str, reference: LabelMap, prediction: LabelMap, law: FailureLoad | None
) -> Values:
    if law is None:
        return {}
    true, found = float(law(name, reference)), float(law(name, prediction))
    return {
        "reference_N": true,
        "prediction_N": found,
        "change_percent": 100 * (found / true - 1),
    }


def to_plain(one: Score) -> dict[str, Any]:
    """Turn a score into what JSON holds: nan becomes null."""
    return {
        "name": one.name,
        "columns": dict(one.columns),
        "values": _plain(one.values),
        "reliability": {k: _plain(vars(v)) for k, v in one.reliability.items()},
        "candidates": {k: _plain(vars(v)) for k, v in one.candidates.items()},
        "raters": _plain(one.raters),
        "between_raters": _plain(one.between_raters),
        "failure_load": _plain(one.failure_load),
    }


def from_plain(content: Mapping[str, Any]) -> Score:
    """Read what `to_plain` gave, bit by bit the same."""
    arrays = {k: _arrays(v) for k, v in content["reliability"].items()}
    suspected = {
        name: Candidates(
            np.array(one["score"], np.float64), np.array(one["hit"], np.int64), one["n_reference"]
        )
        for name, one in content["candidates"].items()
    }
    return Score(
        content["name"],
        content["columns"],
        _numbers(content["values"]),
        {name: Reliability(**one) for name, one in arrays.items()},
        suspected,
        tuple(_numbers(one) for one in content["raters"]),
        tuple(_numbers(one) for one in content["between_raters"]),
        {k: math.nan if v is None else v for k, v in content["failure_load"].items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(content: Mapping[str, Mapping[str, float | None]]) -> dict[str, Values]:
    return {
        name: {key: math.nan if one is None else one for key, one in part.items()}
        for name, part in content.items()
    }


def _arrays(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.array(one, np.float64) for key, one in content.items()}

"""Means over subjects with bootstrap intervals: the model, groups of subjects, the raters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bonekit.errors import InputError
from bonekit.segmentation.evaluation.calibration import Reliability, pooled, reliability
from bonekit.segmentation.evaluation.lesions import froc
from bonekit.segmentation.evaluation.overlap import Values
from bonekit.segmentation.evaluation.score import Score

METRICS = (
    "dice",
    "nsd",
    "hd95_mm",
    "volume_error_ml",
    "volume_error_percent",
    "ece",
    "error_auroc",
    "f1",
    "sensitivity",
    "ppv",
    "pq",
    "n_false",
    "false_ml",
)
CONFIDENCE = 0.95
RESAMPLES = 2000
FALSE_PER_SUBJECT = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Estimate:
    """A mean over subjects with its confidence interval.

    Parameters
    ----------
    mean, low, high : float
        nan where nothing is defined; the bounds also for a single group.
    n : int
        Subjects with a defined value.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Agreement:
    """Differences of pairs: their mean and the limits that 95 % of them lie in.

    Bland and Altman, Lancet 327:307 (1986): mean and mean -/+ 1.96 standard deviations.

    Parameters
    ----------
    mean, low, high : float
        nan where nothing is defined; the limits also for a single pair.
    n : int
    """

    mean: float
    low: float
    high: float
    n: int


def agreement(differences: Sequence[float]) -> Agreement:
    """Summarise differences; nan are left out."""
    found = np.array([d for d in differences if np.isfinite(d)])
    if found.size == 0:
        return Agreement(np.nan, np.nan, np.nan, 0)
    mean = float(found.mean())
    half = 1.96 * float(found.std(ddof=1)) if found.size > 1 else np.nan
    return Agreement(mean, mean - half, mean + half, found.size)


Row = Mapping[str, Mapping[str, Estimate]]  # output -> metric -> estimate


def estimate(values: Sequence[float], groups: Sequence[str], seed: int = 0) -> Estimate:
    """Mean with a BCa bootstrap interval that draws groups of values, not single ones.

    Efron, J. Am. Stat. Assoc. 82:171, 1987 (`scipy.stats.bootstrap`); groups are what is
    independent: patients, not their scans. Where BCa is not defined (its acceleration is 0/0),
    the percentile interval stands in.

    Parameters
    ----------
    values : sequence of float, (n,)
        nan where undefined, which leaves the subject out.
    groups : sequence of str, (n,)
    seed : int
    """
    array = np.asarray(values, np.float64)
    known = np.isfinite(array)
    if not known.any():
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, place = np.unique(np.asarray(groups)[known], return_inverse=True)
    sums = np.bincount(place, array[known]).astype(np.float64)
    low, high = _interval(sums, np.bincount(place).astype(np.float64), seed)
    return Estimate(float(array[known].mean()), low, high, int(known.sum()))


def _interval(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    if sums.size < 2:
        return np.nan, np.nan
    means = sums / counts
    if np.ptp(means) == 0:
        return float(means[0]), float(means[0])
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # degenerate: the interval is nan, and the next is tried
            found: Any = stats.bootstrap(
                (sums, counts),
                lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
                paired=True,
                vectorized=True,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)


def row(
    values: Sequence[Mapping[str, Values]], groups: Sequence[str], seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Estimate every metric of every output over subjects."""
    outputs = list(dict.fromkeys(name for one in values for name in one))
    return {
        output: {
            metric: estimate([one[output].get(metric, np.nan) for one in values], groups, seed)
            for metric in METRICS
            if any(metric in one[output] for one in values)
        }
        for output in outputs
    }


def groups_of(scores: Sequence[Score], column: str | None) -> list[str]:
    """Name of the independent group of each subject: by a column, else the subject itself.

    Raises
    ------
    InputError
        If a subject lacks the column.
    """
    if column is None:
        return [one.name for one in scores]
    _check_column(scores, column)
    return [one.columns[column] for one in scores]


def table_by(
    scores: Sequence[Score], column: str, group: str | None = None, seed: int = 0
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Rows for the subjects of each value of a column of the case sheet.

    Raises
    ------
    InputError
        If a subject lacks the column.
    """
    _check_column(scores, column)
    parts: dict[str, list[Score]] = {}
    for one in sorted(scores, key=lambda s: s.columns[column]):
        parts.setdefault(one.columns[column], []).append(one)
    return {
        value: row([one.values for one in part], groups_of(part, group), seed)
        for value, part in parts.items()
    }


def _check_column(scores: Sequence[Score], column: str) -> None:
    lacking = [one.name for one in scores if column not in one.columns]
    if lacking:
        known = sorted(set.intersection(*(set(one.columns) for one in scores)))
        raise InputError(
            f"no column {column!r} for {', '.join(lacking[:5])}; the case sheet has "
            f"{', '.join(known) or 'no columns'} for all subjects"
        )


def usual_columns(scores: Sequence[Score]) -> tuple[str, ...]:
    """Columns that divide the subjects into two to eight groups of more than one on average."""
    shared = set.intersection(*(set(one.columns) for one in scores)) if scores else set()
    counts = {column: len({one.columns[column] for one in scores}) for column in shared}
    return tuple(sorted(c for c, n in counts.items() if 2 <= n <= 8 and 2 * n <= len(scores)))


def boundary_reliability(scores: Sequence[Score]) -> dict[str, Reliability]:
    """Reliability at the boundary of each output, all subjects together."""
    outputs = list(dict.fromkeys(name for one in scores for name in one.reliability))
    return {
        name: pooled([one.reliability[name] for one in scores if name in one.reliability])
        for name in outputs
    }


def lesion_reliability(scores: Sequence[Score]) -> dict[str, Reliability]:
    """Score of every suspected lesion against whether it is one, all subjects together."""
    labels = list(dict.fromkeys(name for one in scores for name in one.candidates))
    return {
        label: pooled(
            [
                reliability(found.score, found.hit > 0)
                for one in scores
                if (found := one.candidates.get(label)) is not None
            ]
        )
        for label in labels
    }


def sensitivities(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Sensitivity at `FALSE_PER_SUBJECT` false lesions per subject, and their mean, by label."""
    result = {}
    for label in dict.fromkeys(name for one in scores for name in one.candidates):
        curve = froc([one.candidates[label] for one in scores if label in one.candidates])
        if curve is not None:
            at = {f"{rate:g}": curve.at(rate) for rate in FALSE_PER_SUBJECT}
            result[label] = at | {"mean": float(np.mean(list(at.values())))}
    return result

"""An evaluation on disk: JSON for programs, CSV for spreadsheets, HTML with pictures to read."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

import bonekit
from bonekit.figures.evaluation import froc_curves, reliability_diagram, worst_case
from bonekit.image import Image, LabelMap, read
from bonekit.image.writing import replacing
from bonekit.segmentation.evaluation.calibration import Reliability
from bonekit.segmentation.evaluation.evaluate import Evaluation
from bonekit.segmentation.evaluation.pairs import Pair, masks, opened
from bonekit.segmentation.evaluation.score import Score, to_plain
from bonekit.segmentation.evaluation.summary import Agreement, Estimate, Row

WORST = 3  # cases pictured for each output
TITLES: Mapping[str, str] = {
    "dice": "Dice",
    "nsd": "NSD",
    "hd95_mm": "HD95, mm",
    "volume_error_ml": "Volume error, ml",
    "volume_error_percent": "Volume error, %",
    "ece": "ECE at the boundary",
    "error_auroc": "AUROC of entropy for errors",
    "f1": "Lesion F1",
    "sensitivity": "Lesion sensitivity",
    "ppv": "Lesion PPV",
    "pq": "Panoptic quality",
    "n_false": "False lesions per subject",
    "false_ml": "Volume of false lesions, ml",
}
UNDEFINED = "not defined"
POOLED = "ECE at the boundary, voxels of all subjects"
Lines = list[list[str]]


def write_report(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write an evaluation.

    Writes ``evaluation.json``, ``scores.csv`` (a line for each subject and output), ``groups.csv``
    (a line for each group, output and metric) and ``evaluation.html``, which needs no other file.

    Returns
    -------
    Path
        Of the HTML page.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _write(target / "evaluation.json", json.dumps(plain(evaluation), indent=1, allow_nan=False))
    _write_csv(target / "scores.csv", _score_lines(evaluation.scores))
    _write_csv(target / "groups.csv", _group_lines(evaluation))
    page = target / "evaluation.html"
    _write(page, render(evaluation))
    return page


def plain(evaluation: Evaluation) -> dict[str, Any]:
    """Turn an evaluation into what JSON holds; undefined values are null."""
    return {
        "bonekit_version": bonekit.__version__,
        "task": evaluation.task.model_dump(mode="json"),
        "subjects": len(evaluation.scores),
        "model": _plain_row(evaluation.model),
        "raters": _plain_row(evaluation.raters),
        "between_raters": _plain_row(evaluation.between_raters),
        "groups": {
            column: {value: _plain_row(one) for value, one in part.items()}
            for column, part in evaluation.groups.items()
        },
        "boundary_ece": {k: _number(v.ece) for k, v in evaluation.reliability.items()},
        "group_boundary_ece": {
            column: {
                value: {k: _number(v.ece) for k, v in one.items()} for value, one in part.items()
            }
            for column, part in evaluation.group_reliability.items()
        },
        "lesion_ece": {k: _number(v.ece) for k, v in evaluation.lesion_reliability.items()},
        "sensitivity_at_false_per_subject": evaluation.sensitivity,
        "failure_load_change_percent": _plain_estimate(evaluation.failure_load),
        "failure_load_limits_percent": _plain_estimate(evaluation.failure_load_limits),
        "scores": [to_plain(one) for one in evaluation.scores],
    }


def render(evaluation: Evaluation) -> str:
    """Make the HTML page."""
    environment = Environment(
        loader=PackageLoader("bonekit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    synthetic = all(one.columns.get("synthetic") == "yes" for one in evaluation.scores)
    return environment.get_template("evaluation.html.j2").render(
        task=evaluation.task,
        version=bonekit.__version__,
        subjects=len(evaluation.scores),
        synthetic=synthetic,
        tables=_tables(evaluation),
        groups=_group_tables(evaluation),
        sensitivity=_sensitivity(evaluation),
        failure_load=_failure_loads(evaluation),
        charts=_charts(evaluation),
        worst=[_picture(*one) for one in worst(evaluation)],
    )


def estimated(one: Estimate | None) -> str:
    """Write a mean with its interval and the number of subjects."""
    if one is None or not one.n:
        return UNDEFINED
    if math.isnan(one.low):
        return f"{_short(one.mean)} (n = {one.n})"
    return f"{_short(one.mean)} [{_short(one.low)}, {_short(one.high)}] (n = {one.n})"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _tables(evaluation: Evaluation) -> list[tuple[str, list[str], Lines]]:
    """One table for each output: metrics down, the model and the raters across."""
    columns: dict[str, Row] = {"Prediction": evaluation.model}
    if evaluation.raters:
        columns["Raters against the reference"] = evaluation.raters
    if evaluation.between_raters:
        columns["Raters against each other"] = evaluation.between_raters
    tables = []
    for output, found in evaluation.model.items():
        lines = [
            [TITLES[metric], *(estimated(one[output].get(metric)) for one in columns.values())]
            for metric in found
        ]
        tables.append((output, ["Metric", *columns], lines))
    return tables


def _group_tables(evaluation: Evaluation) -> list[tuple[str, str, list[str], Lines]]:
    """One table for each column of the case sheet and each output: metrics down, groups across."""
    tables = []
    for column, part in evaluation.groups.items():
        pooled = evaluation.group_reliability[column]
        for output, found in evaluation.model.items():
            lines = [
                [TITLES[metric], *(estimated(one[output].get(metric)) for one in part.values())]
                for metric in found
            ]
            if output in evaluation.reliability:
                eces = [pooled[value].get(output) for value in part]
                lines.append([POOLED, *(_short(e.ece) if e else UNDEFINED for e in eces)])
            tables.append((column, output, ["Metric", *part], lines))
    return tables


def _sensitivity(evaluation: Evaluation) -> tuple[list[str], Lines]:
    if not evaluation.sensitivity:
        return [], []
    rates = list(next(iter(evaluation.sensitivity.values())))
    return (
        ["False lesions per subject", *rates],
        [
            [label, *(f"{found[rate]:.3f}" for rate in rates)]
            for label, found in evaluation.sensitivity.items()
        ],
    )


def _failure_loads(evaluation: Evaluation) -> tuple[str, list[str], Lines]:
    """Mean change with its limits, and a table of all subjects; empty if it was not asked for."""
    known = [one for one in evaluation.scores if one.failure_load]
    if not known:
        return "", [], []
    lines = [
        [
            one.name,
            f"{one.failure_load['reference_N']:.0f}",
            f"{one.failure_load['prediction_N']:.0f}",
            _short(one.failure_load["change_percent"]),
        ]
        for one in known
    ]
    return (
        in_words(evaluation.failure_load, evaluation.failure_load_limits),
        ["Subject", "Reference, N", "Prediction, N", "Change, %"],
        [[UNDEFINED if cell == "nan" else cell for cell in line] for line in lines],
    )


def in_words(mean: Estimate, limits: Agreement) -> str:
    """Say how much a failure load changes, in percent."""
    if limits.n < 2:
        return estimated(mean)
    return f"{estimated(mean)}, limits {_short(limits.low)} to {_short(limits.high)}"


def _charts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Captions and pictures of reliability and FROC, where there are probabilities."""
    charts = []
    if evaluation.reliability:
        picture = reliability_diagram(_curves(evaluation.reliability))
        charts.append(("Probabilities within two voxels of the boundary", _embedded(picture)))
    if evaluation.lesion_reliability:
        picture = reliability_diagram(_curves(evaluation.lesion_reliability))
        charts.append(("Largest probability of suspected lesions", _embedded(picture)))
    if evaluation.froc:
        curves = {k: (v.false_per_subject, v.sensitivity) for k, v in evaluation.froc.items()}
        charts.append(("Free-response curve of lesions", _embedded(froc_curves(curves))))
    return charts


def _curves(found: Mapping[str, Reliability]) -> dict[str, tuple[Any, Any]]:
    curves = {}
    for name, one in found.items():
        full = one.count > 0
        curves[name] = one.predicted[full] / one.count[full], one.true[full] / one.count[full]
    return curves


def worst(evaluation: Evaluation) -> list[tuple[Pair, str, Score, Evaluation]]:
    """Pick the subjects with the lowest Dice for each output."""
    known = {pair.name: pair for pair in evaluation.pairs}
    picked = []
    for output in evaluation.model:
        order = sorted(evaluation.scores, key=lambda one: (one.values[output]["dice"], one.name))
        for one in order[:WORST]:
            if one.name in known and one.values[output]["dice"] < 1.0:
                picked.append((known[one.name], output, one, evaluation))
    return picked


def _picture(pair: Pair, output: str, one: Score, evaluation: Evaluation) -> tuple[str, str]:
    """Caption and picture of a bad case."""
    task = evaluation.task
    reference = opened(pair.reference, task)
    prediction = opened(pair.prediction, task, reference)
    reference, prediction = reference.canonical(), prediction.canonical()
    picture = worst_case(
        _behind(pair, reference),
        masks(reference, task)[output],
        masks(prediction, task)[output],
        reference.grid,
    )
    values = one.values[output]
    listed = ", ".join(
        f"{TITLES[m]} {_short(values[m])}"
        for m in ("dice", "nsd", "hd95_mm", "f1")
        if m in values and math.isfinite(values[m])
    )
    sheet = "; ".join(f"{k} {v}" for k, v in one.columns.items())
    return f"{pair.name}, {output}: {listed}" + (f" ({sheet})" if sheet else ""), _embedded(picture)


def _behind(pair: Pair, labels: LabelMap) -> Image | None:
    """Image of a pair on the canonical grid of its labels."""
    if pair.image is None:
        return None
    image = read(pair.image) if isinstance(pair.image, Path) else pair.image
    image = image.canonical()
    return image if image.grid.same_as(labels.grid) else image.resample(labels.grid)


def _embedded(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _plain_row(found: Row) -> dict[str, Any]:
    return {
        output: {metric: _plain_estimate(one) for metric, one in part.items()}
        for output, part in found.items()
    }


def _plain_estimate(one: Estimate | Agreement) -> dict[str, Any]:
    return {key: _number(value) for key, value in asdict(one).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _score_lines(scores: Sequence[Score]) -> Iterable[dict[str, Any]]:
    for one in scores:
        for output, values in one.values.items():
            yield {"subject": one.name, "output": output, **one.columns, **values}


def _group_lines(evaluation: Evaluation) -> Iterable[dict[str, Any]]:
    parts: list[tuple[str, str, Row]] = [
        ("all", "all", evaluation.model),
        ("raters", "against the reference", evaluation.raters),
        ("raters", "against each other", evaluation.between_raters),
        *(
            (c, value, found)
            for c, part in evaluation.groups.items()
            for value, found in part.items()
        ),
    ]
    for column, value, found in parts:
        for output, metrics in found.items():
            for metric, one in metrics.items():
                place = {"column": column, "value": value, "output": output, "metric": metric}
                yield {**place, **asdict(one)}


def _write_csv(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write lines whose keys may differ; undefined numbers are empty."""
    found = list(lines)
    names = list(dict.fromkeys(name for line in found for name in line))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        for line in found:
            writer.writerow({k: "" if _undefined(v) else v for k, v in line.items()})


def _undefined(value: Any) -> bool:
    return isinstance(value, float | np.floating) and not math.isfinite(value)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

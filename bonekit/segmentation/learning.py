"""From a data set and a plan to a trained, calibrated, evaluated model: one call, one folder.

One fold of the data set is kept out of training. On it training stops at its best, the temperature
of the probabilities is found, and the model is judged; the card says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.segmentation.data import guards, splits
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.evaluation.calibration import band
from bonekit.segmentation.evaluation.evaluate import Evaluation, evaluate
from bonekit.segmentation.evaluation.pairs import masks, opened, pairs_of
from bonekit.segmentation.evaluation.report import write_report
from bonekit.segmentation.inference import PredictSettings, predict, to_files
from bonekit.segmentation.inference.fusion import log_odds
from bonekit.segmentation.inference.temperature import fit
from bonekit.segmentation.models.card import Card, Measure
from bonekit.segmentation.models.folder import Model, load_model, set_card, set_temperature
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.training import TrainSettings
from bonekit.segmentation.training.loop import Report
from bonekit.segmentation.training.train import train

log = logging.getLogger(__name__)
Pair = tuple[NDArray[np.float32], NDArray[np.bool_]]
SUBJECTS = 8  # that the temperature is found on, at most
VOXELS = 100_000  # of each
CARD = ("dice", "nsd", "hd95_mm", "volume_error_percent", "ece", "f1", "sensitivity", "n_false")


def learn(
    dataset: Dataset,
    plan: Plan,
    folder: str | Path,
    *,
    fold: int = 0,
    folds: int = 5,
    group: str | None = None,
    settings: TrainSettings | None = None,
    prediction: PredictSettings | None = None,
    start: str | Path | None = None,
    licence: str | None = None,
    progress: Report | None = None,
) -> Path:
    """Train on all folds but one; on that one calibrate and evaluate.

    Killed and called again, it goes on where it was.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    folder : str or Path
        Of the model. It also gets ``validation`` with predictions and report.
    fold, folds : int
    group : str, optional
        Column of the case sheet whose values stay together, such as the patient.
    settings : TrainSettings, optional
    prediction : PredictSettings, optional
        Of the kept-out fold.
    start : str or Path, optional
        Model whose weights training starts from.
    licence : str, optional
        Of the weights.
    progress : callable, optional

    Returns
    -------
    Path
        The folder, for `models.folder.load_model`.

    Raises
    ------
    InputError
        As `guards.check`, `splits.folds` and `training.train`.
    ConvergenceError
        As `training.train`.
    """
    guards.check(dataset, plan)
    parts = splits.folds(dataset.subjects, folds, group=group)
    if not 0 <= fold < len(parts):
        raise InputError(f"fold {fold}; allowed: 0 to {len(parts) - 1}")
    training, kept = parts[fold]
    settings = settings or TrainSettings()
    card = _card(training, fold, len(parts), settings, licence)
    target = Path(folder)
    train(
        training, kept, dataset.task, plan, target, settings,
        card=card, start=start, progress=progress,
    )  # fmt: skip
    failures: tuple[str, ...] = ()
    try:
        temperature = find_temperature(load_model(target), kept, prediction)
    except InputError as error:
        log.warning("probabilities stay as they are: %s", error)
        temperature, failures = 1.0, (f"Its probabilities are not calibrated: {error}.",)
    model = load_model(set_temperature(target, temperature))
    found = judge(model, Dataset(dataset.task, tuple(kept)), target / "validation", prediction)
    told = {"metrics": measures(found), "failure_modes": failures}
    return set_card(target, card.model_copy(update=told))


def find_temperature(
    model: Model, subjects: Sequence[Subject], settings: PredictSettings | None = None
) -> float:
    """Find the temperature of a model on subjects it was not trained on.

    Voxels near the boundary of an output count, some of each subject: far from it all is said
    (`inference.temperature.fit` has the method).

    Raises
    ------
    InputError
        If no temperature is best: too few voxels are wrong, or nearly all.
    """
    pairs = list(voxels_near_boundaries(model, subjects[:SUBJECTS], settings))
    if not pairs:
        raise InputError("no subject with reference labels to find a temperature on")
    logits, true = (np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))
    if model.task.exclusive:
        return fit(logits.T, true.argmax(0))
    return fit(logits, true)


def voxels_near_boundaries(
    model: Model, subjects: Sequence[Subject], settings: PredictSettings | None = None
) -> Iterator[Pair]:
    """Log odds, as they are before any temperature, and truth of voxels near a boundary.

    Yields
    ------
    tuple of ndarray of float32 and of bool, (outputs, voxels)
        For each subject with labels.
    """
    task = model.task
    asked = (settings or PredictSettings()).model_copy(update={"probabilities": True, "samples": 0})
    rng = np.random.default_rng(asked.seed)
    for subject in subjects:
        if subject.labels is None:
            continue
        found = predict(replace(model, temperature=1.0), subject, asked)
        assert found.probabilities is not None
        reference = opened(subject.labels, task, found.labels)
        parts = masks(reference, task)
        near = np.logical_or.reduce([band(mask) for mask in parts.values()])
        chosen = np.flatnonzero(near)
        chosen = rng.permutation(chosen)[:VOXELS]
        p = torch.from_numpy(found.probabilities.reshape(len(task.outputs), -1)[:, chosen])
        own = reference.array.reshape(-1)[chosen]
        true = np.stack([np.isin(own, task.numbers(name)) for name in task.outputs])
        yield log_odds(p.T, exclusive=task.exclusive).T.numpy(), true


def judge(
    model: Model,
    dataset: Dataset,
    folder: str | Path,
    settings: PredictSettings | None = None,
    *,
    columns: Sequence[str] | None = None,
) -> Evaluation:
    """Predict a data set, evaluate it, and write the report, all into one folder.

    Probabilities are kept beside the labels: calibration and FROC need them.
    """
    asked = (settings or PredictSettings()).model_copy(update={"probabilities": True})
    to_files(model, dataset.subjects, folder, asked)
    found = evaluate(pairs_of(dataset, folder), dataset.task, columns=columns, folder=folder)
    write_report(found, folder)
    return found


def measures(found: Evaluation) -> tuple[Measure, ...]:
    """Select what a card tells of an evaluation."""
    return tuple(
        Measure(
            name=f"{output} {metric}",
            value=one.mean,
            low=one.low if np.isfinite(one.low) else None,
            high=one.high if np.isfinite(one.high) else None,
            subjects=one.n,
        )
        for output, row in found.model.items()
        for metric, one in row.items()
        if one.n and metric in CARD
    )


def _card(
    training: Sequence[Subject],
    fold: int,
    folds: int,
    settings: TrainSettings,
    licence: str | None,
) -> Card:
    """Write down what is known before training; the case sheet says what is synthetic."""
    synthetic = all(one.columns.get("synthetic") == "yes" for one in training)
    kind = "synthetic subjects" if synthetic else "subjects"
    card = Card(
        training_data=f"{len(training)} {kind}. Fold {fold} of {folds} was kept out: training "
        "stopped at the best of it, the temperature was found on it, and the results are of it.",
        synthetic=synthetic,
        seed=settings.seed,
    )
    return card if licence is None else card.model_copy(update={"licence": licence})

"""The training of a network: a loop that can be killed at any time and taken up again.

A batch depends on seed and step alone, so that a state is: weights, their running mean, optimiser,
step. On a CPU with the same number of threads, a training that was killed and taken up gives bit
by bit the same weights as one that was not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from bonekit.errors import InputError
from bonekit.segmentation.data.cache import cached
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import save_model
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task
from bonekit.segmentation.training import state
from bonekit.segmentation.training.loop import Report, Run
from bonekit.segmentation.training.machine import make_machine
from bonekit.segmentation.training.processes import place
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.state import Progress
from bonekit.segmentation.training.weights import copy_weights

logger = logging.getLogger(__name__)


def train(
    training: Sequence[Subject],
    validation: Sequence[Subject],
    task: Task,
    plan: Plan,
    folder: str | Path,
    settings: TrainSettings | None = None,
    *,
    card: Card | None = None,
    start: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Report | None = None,
) -> Path:
    """Train a network on subjects; run again after a kill, it goes on.

    Parameters
    ----------
    training, validation : sequence of Subject
        The second may be empty: then the last weights are kept, else the best ones.
    task : Task
    plan : Plan
    folder : str or Path
        Of the model. It also gets ``history.jsonl``, ``curves.png`` and, until the end, the state.
    settings : TrainSettings, optional
    card : Card, optional
        Of the model; without one it says that the data are not described.
    start : str or Path, optional
        Folder of a model whose weights training starts from (fine-tuning).
    cache : str or Path, optional
        Folder of prepared subjects, by default ``cache`` in `folder`.
    progress : callable, optional
        Called after each step with step, steps and loss.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        As `fit` does, and if subjects are in both lists or can't be prepared.
    ConvergenceError
        As `fit` does.
    """
    twice = {s.name for s in training} & {s.name for s in validation}
    if twice:
        raise InputError(
            f"subjects in both training and validation: {', '.join(sorted(twice))}; take them out "
            "of one"
        )
    kept = Path(cache) if cache is not None else Path(folder) / "cache"
    first, second = ([cached(s, task, plan, kept) for s in p] for p in (training, validation))
    return fit(
        first, second, task, plan, folder, settings, card=card, start=start, progress=progress
    )


def fit(
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    task: Task,
    plan: Plan,
    folder: str | Path,
    settings: TrainSettings | None = None,
    *,
    card: Card | None = None,
    start: str | Path | None = None,
    progress: Report | None = None,
) -> Path:
    """Train a network on prepared subjects; else as `train`.

    Raises
    ------
    InputError
        If there are no subjects or labels, the folder holds another training, the weights of
        `start` don't fit, the state can't be written, or there are more processes than patches.
    ConvergenceError
        If loss or gradient are not finite. The last state stays in the folder.
    """
    settings = settings or TrainSettings()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if plan.low_resolution is not None:
        coarse = " x ".join(f"{s:.3g}" for s in plan.low_resolution.spacing_mm)
        logger.warning(
            "a patch sees little of a volume: nnU-Net would put a network at %s mm before this one "
            "(a cascade), bonekit trains this one alone. If it mixes up what only lies elsewhere, "
            "train at a `spacing_mm` like that, set in the task",
            coarse,
        )
    with place(settings.device) as here:
        machine = make_machine(task, plan, settings, here.device, start)
        names = [p.name for p in training] + [p.name for p in validation]
        made_of = state.key(task, plan, settings, [*names, str(start)])
        now = state.load(target, made_of, machine, here.device)
        now = now or Progress(mean=copy_weights(machine.network))
        run = Run(task, plan, settings, here, machine, now, target, made_of)
        run.loop(run.source(training), run.source(validation) if validation else None, progress)
        if here.first:
            weights = now.best if now.best is not None else now.mean
            save_model(target, task, plan, weights, card or _card(settings))
            logger.info("trained to step %d: %s", now.step, now.stopped)
    return target


def _card(settings: TrainSettings) -> Card:
    return Card(training_data="Not described.", synthetic=False, seed=settings.seed)

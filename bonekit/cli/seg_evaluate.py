"""The command that judges predictions: seg evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bonekit.cli.app import Config, Output
from bonekit.cli.seg import seg
from bonekit.cli.seg_data import PLAIN, Bids, dataset_of

if TYPE_CHECKING:
    from bonekit.segmentation.data.subjects import Dataset
    from bonekit.segmentation.evaluation import Evaluation
    from bonekit.strength_of_labels import FailureLoads


@seg.command
def evaluate(
    data: Path,
    predictions: Path,
    /,
    *,
    task: str,
    out: Output,
    by: list[str] | None = None,
    group: str | None = None,
    strength: str | None = None,
    config: Config = None,
    bids: Bids = PLAIN,
) -> None:
    """Judge predictions against references; stopped, the same command goes on.

    Parameters
    ----------
    data
        Data set with references.
    predictions
        Folder of label maps named as the subjects, as `bonekit seg predict` leaves them.
    task
        Name of a built-in task, or a task file.
    out
        Folder: evaluation.html, tables, scores.
    by
        Columns of the case sheet to show groups of; by default those with two to eight values.
    group
        Column that says which subjects belong together, such as patient.
    strength
        The bone of all subjects (femur_left, vertebra_L3 ...), or the column of the case sheet that
        names it: also simulate reference and prediction as `bonekit run` does, and tell how much
        the failure load changes. Two solves for each subject: minutes.
    config
        Case file for these simulations, as of `bonekit run`.
    """
    from bonekit.segmentation.evaluation import evaluate as measure
    from bonekit.segmentation.evaluation import pairs_of, write_report
    from bonekit.segmentation.evaluation.report import in_words

    dataset = dataset_of(data, task, bids)
    out.mkdir(parents=True, exist_ok=True)
    found = measure(
        pairs_of(dataset, predictions), dataset.task, columns=by, group=group, folder=out,
        failure_load=_failure_loads(dataset, strength, out, config) if strength else None,
    )  # fmt: skip
    write_report(found, out)
    _say_measures(found)
    if strength:
        change = in_words(found.failure_load, found.failure_load_limits)
        print(f"{'change of failure load, %':>30} {change}")
    print(f"report: {out / 'evaluation.html'}")


def _failure_loads(dataset: Dataset, bone: str, out: Path, config: Path | None) -> FailureLoads:
    """Strength of a subject's labels; `bone` is a bone or a column of the case sheet."""
    from bonekit.case import read_case
    from bonekit.segmentation.baseline import check_name
    from bonekit.strength_of_labels import FailureLoads

    bones = {one.name: one.columns.get(bone, bone) for one in dataset.subjects}
    for name in set(bones.values()):
        check_name(name)
    scans = {one.name: one.images[0] for one in dataset.subjects if one.images[0] is not None}
    folder = out.resolve() / "strength"
    return FailureLoads(scans, bones, dataset.task, folder, read_case(config))


def _say_measures(found: Evaluation) -> None:
    from bonekit.segmentation.learning import measures

    for one in measures(found):
        span = "" if one.low is None else f" ({one.low:.3g} to {one.high:.3g})"
        print(f"{one.name:>30} {one.value:.3g}{span}, {one.subjects} subjects")

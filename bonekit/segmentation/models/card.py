"""What a user must know of a model before trusting it."""

from __future__ import annotations

from pydantic import Field

from bonekit.part import Part
from bonekit.segmentation.task import Task

WARNING = "Research software: not a medical device; not for diagnosis or treatment."
SYNTHETIC = "Trained on synthetic images only: a demonstration, not for images of patients."


class Measure(Part):
    """One metric of a model on subjects it was not trained on, with its interval."""

    name: str  # with its unit, such as "femur dice" or "femur HD95 mm"
    value: float
    low: float | None = None  # of the 95 % interval
    high: float | None = None
    subjects: int | None = Field(default=None, ge=1)


class Card(Part):
    """The history and the limits of a model.

    Parameters
    ----------
    training_data : str
        What it was trained on: source, number, scanners, resolution.
    synthetic : bool
        Whether no image of a patient was among them. Such a model is a demonstration:
        prediction refuses it on DICOM images unless allowed.
    licence : str
        Of the weights: they inherit the terms of the training data.
    """

    training_data: str = Field(min_length=1)
    synthetic: bool
    metrics: tuple[Measure, ...] = ()
    failure_modes: tuple[str, ...] = ()
    licence: str = "not stated: ask the authors before passing the weights on"
    authors: str = ""
    seed: int | None = None


def render(card: Card, task: Task) -> str:
    """Write a card as Markdown."""
    lines = [f"# {task.name}", "", task.description, "", f"**{WARNING}**"]
    if card.synthetic:
        lines += ["", f"**{SYNTHETIC}**"]
    channels = ", ".join(f"{c.name} ({c.modality})" for c in task.channels)
    lines += ["", "## Use", "", f"- Images: {channels}"]
    lines += [
        f"- Outputs: {', '.join(task.outputs)}",
        f"- Network: {task.network}, {task.norm} norm",
    ]
    lines += ["", "## Training data", "", card.training_data]
    if card.seed is not None:
        lines += ["", f"Seed {card.seed}."]
    lines += ["", "## Results on subjects kept out of training", "", *_table(card.metrics)]
    lines += ["", "## Known failures", ""]
    lines += [f"- {mode}" for mode in card.failure_modes] or ["None recorded; that is not none."]
    lines += ["", "## Licence", "", card.licence]
    if card.authors:
        lines += ["", f"Authors: {card.authors}"]
    return "\n".join(lines) + "\n"


def _table(metrics: tuple[Measure, ...]) -> list[str]:
    if not metrics:
        return ["Not evaluated."]
    rows = ["| metric | value | 95 % interval | subjects |", "|---|---|---|---|"]
    for one in metrics:
        known = one.low is not None and one.high is not None
        span = f"{one.low:.3g} to {one.high:.3g}" if known else "-"
        rows.append(f"| {one.name} | {one.value:.3g} | {span} | {one.subjects or '-'} |")
    return rows

"""Loss and Dice of a training over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bonekit.figures.canvas import FONT, INK, png

LOSS, CHECK = "#2f6f9f", "#d1495b"
OUTPUTS = ("#2f6f9f", "#d1495b", "#3f8f5f", "#b5803b", "#7a5fa8", "#4a4f57")


def learning_curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw loss and Dice of all rounds.

    Parameters
    ----------
    history : sequence of mapping
        Rows with ``step`` and ``loss``, and where there is validation ``validation_loss`` and
        ``dice``: output -> number or None.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(10.0, 4.2), dpi=140)
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in history]
    _line(left, steps, [row["loss"] for row in history], "training", LOSS)
    checked = [row for row in history if "dice" in row]
    at = [row["step"] for row in checked]
    if checked:
        _line(left, at, [row["validation_loss"] for row in checked], "validation", CHECK)
        for i, name in enumerate(checked[0]["dice"]):
            values = [row["dice"][name] for row in checked]
            known = [float("nan") if v is None else v for v in values]
            _line(right, at, known, name, OUTPUTS[i % len(OUTPUTS)])
    _finish(left, "Loss")
    _finish(right, "Dice of validation patches")
    right.set_ylim(0, 1)
    figure.tight_layout()
    return png(figure)


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], name: str, colour: str) -> None:
    axes.plot(x, y, color=colour, lw=1.6, marker="o", ms=2.5, label=name)


def _finish(axes: Axes, title: str) -> None:
    axes.set_xlabel("Step", fontfamily=FONT, color=INK)
    axes.set_title(title, fontfamily=FONT, color=INK, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e9ee", lw=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)

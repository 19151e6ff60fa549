"""Density-modulus laws side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bonekit.density import DensityKind, conversion
from bonekit.fem.laws import SITE_GROUPS, Law, site_group
from bonekit.figures.canvas import FONT, INK, MUTED, canvas, note, panel, png, title

Float = NDArray[np.float64]

ASH_G_CM3 = np.linspace(0.0, 1.3, 400)
_PANEL = (385, 186)  # px


def compare_laws(laws: Iterable[Law]) -> bytes:
    """Draw the modulus of laws over ash density, as PNG: one panel for each kind of site.

    Each law gets its own kind of density by a published line, and is drawn between its limits;
    dashed where its numbers are unverified, broad over the densities that it was measured on. The
    laws of the other panels are grey.
    """
    drawn = list(laws)
    figure = canvas(900, 520)
    for n, group in enumerate(SITE_GROUPS):
        row, column = divmod(n, 2)
        axes = panel(figure, 62 + 445 * column, 36 + 240 * row, *_PANEL)
        _panel(axes, group, drawn)
        if column == 0:
            axes.set_ylabel("Young's modulus in MPa", fontsize=7.5, color=INK, fontfamily=FONT)
        if row == 1:
            axes.set_xlabel("ash density in g/cm³", fontsize=7.5, color=INK, fontfamily=FONT)
    note(figure, "dashed: unverified. Broad: densities it was measured on, where they are known.")
    return png(figure)


def _panel(axes: Axes, group: str, laws: Sequence[Law]) -> None:
    axes.set_axis_on()
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    own = [law for law in laws if site_group(law) == group]
    for law in laws:
        if law not in own:
            axes.plot(*_curve(law), color=MUTED, alpha=0.25, lw=0.8)
    for n, law in enumerate(own):
        style: dict[str, Any] = {"ls": "-" if law.verified else "--", "color": colours[n % 10]}
        axes.plot(*_curve(law), lw=1.5, label=law.name, **style)
        if law.valid is not None:
            axes.plot(*_curve(law, *law.valid), lw=5, alpha=0.35, color=colours[n % 10])
    axes.set_yscale("log")
    axes.set_ylim(3, 1e5)
    axes.set_xlim(0, ASH_G_CM3[-1])
    axes.tick_params(labelsize=7, labelcolor=INK, labelfontfamily=FONT)
    axes.grid(visible=True, color=MUTED, alpha=0.2, lw=0.5)
    if own:
        axes.legend(
            loc="lower right",
            frameon=False,
            prop={"family": FONT, "size": 6.5},
            labelcolor=INK,
            labelspacing=0.3,
        )
    title(axes, group)


def _curve(law: Law, low: float = -np.inf, high: float = np.inf) -> tuple[Float, Float]:
    """Ash densities and moduli of a law within its limits, and within others of its own kind."""
    density = conversion(DensityKind.ASH, law.kind)(ASH_G_CM3)
    inside = (density >= max(law.low, low)) & (density <= min(law.high, high))
    return ASH_G_CM3[inside], law.modulus(density[inside])

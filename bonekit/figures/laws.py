"""Density-modulus laws side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np

from bonekit.density import DensityKind, conversion
from bonekit.fem.materials import Law
from bonekit.figures.canvas import FONT, INK, MUTED, canvas, note, panel, png, title

ASH_G_CM3 = np.linspace(0.0, 1.3, 400)


def compare_laws(laws: Iterable[Law]) -> bytes:
    """Draw the modulus of laws over ash density, as PNG.

    Each law gets its own kind of density by a published line, and is drawn between its limits;
    dashed where its numbers are unverified.
    """
    figure = canvas(900, 520)
    axes = panel(figure, 70, 40, 540, 410)
    axes.set_axis_on()
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for n, law in enumerate(laws):
        density = conversion(DensityKind.ASH, law.kind)(ASH_G_CM3)
        inside = (density >= law.low) & (density <= law.high)
        label = f"{law.name} ({law.kind})"
        style: dict[str, Any] = {"ls": "-" if law.verified else "--", "color": colours[n % 10]}
        axes.plot(ASH_G_CM3[inside], law.modulus(density[inside]), lw=1.6, label=label, **style)
    axes.set_yscale("log")
    axes.set_ylim(3, 5e4)
    axes.set_xlim(0, ASH_G_CM3[-1])
    axes.set_xlabel("ash density in g/cm³", fontsize=8, color=INK, fontfamily=FONT)
    axes.set_ylabel("Young's modulus in MPa", fontsize=8, color=INK, fontfamily=FONT)
    axes.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT)
    axes.grid(visible=True, color=MUTED, alpha=0.2, lw=0.5)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        prop={"family": FONT, "size": 7.5},
        labelcolor=INK,
    )
    title(axes, "Density-modulus laws")
    note(figure, "dashed: unverified. Density of each law from ash by the lines of bonekit.density")
    return png(figure)

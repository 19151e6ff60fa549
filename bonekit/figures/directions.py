"""Strength by the direction of the force, seen along the force of the stance."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Circle
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from bonekit.figures.canvas import (
    FONT,
    INK,
    MUTED,
    canvas,
    colour_bar,
    colour_scale,
    note,
    panel,
    png,
    write,
)

Float = NDArray[np.float64]

WEAKEST, RING = "#d1495b", "#8d99a6"
RINGS = 3
# How the force changes towards each side of the map.
SIDES = (
    (1.02, 0.5, "more\nadduction", {"ha": "left", "va": "center"}),
    (-0.02, 0.5, "less\nadduction", {"ha": "right", "va": "center"}),
    (0.5, 1.02, "pushes the head backwards", {"ha": "center", "va": "bottom"}),
    (0.5, -0.02, "pushes the head forwards", {"ha": "center", "va": "top"}),
)


def strength_by_direction(
    directions_deg: Float, strengths_N: Float, centre_deg: tuple[float, float]
) -> bytes:
    """Draw the strength over a cone of directions as a polar map.

    Parameters
    ----------
    directions_deg : ndarray, (n, 2)
        Adduction and flexion.
    strengths_N : ndarray, (n,)
    centre_deg : tuple of float
        Adduction and flexion of the stance, in the middle of the map.

    Returns
    -------
    bytes
        PNG.
    """
    figure = canvas(760, 540)
    axes = panel(figure, 110, 80, 400, 400)
    offset, kilo = directions_deg - np.array(centre_deg), strengths_N / 1000.0
    norm = Normalize(float(kilo.min()), float(kilo.max()))
    colours = colour_scale("viridis", norm)
    if np.linalg.matrix_rank(offset) == 2:
        axes.tripcolor(
            Triangulation(offset[:, 0], offset[:, 1]),
            kilo,
            shading="gouraud",
            cmap="viridis",
            norm=norm,
        )
    axes.scatter(
        offset[:, 0],
        offset[:, 1],
        c=colours.to_rgba(kilo),
        edgecolors="white",
        lw=0.7,
        s=34,
        zorder=3,
    )
    low, middle = int(kilo.argmin()), int(np.linalg.norm(offset, axis=1).argmin())
    axes.plot(*offset[low], "o", mec=WEAKEST, mfc="none", ms=14, mew=2.6, zorder=4)
    axes.plot(0, 0, "+", color=INK, ms=13, mew=2.4, zorder=4)
    _frame(axes, float(np.linalg.norm(offset, axis=1).max()))
    head = panel(figure, 14, 8, 732, 30)
    words = "{}: {:.2f} kN at adduction {:g}°, flexion {:g}°"
    bold = {"fontsize": 9.5, "fontweight": "bold", "va": "center"}
    write(
        head,
        0,
        0.5,
        words.format("Weakest", kilo[low], *directions_deg[low]),
        **bold,
        color=WEAKEST,
    )
    write(head, 1, 0.5, words.format("Stance (+)", kilo[middle], *centre_deg), **bold, ha="right")
    ticks = np.linspace(kilo.min(), kilo.max(), 4)
    colour_bar(figure, colours, ticks.tolist(), [f"{x:.2f}" for x in ticks], "Strength in kN")
    note(
        figure, "Rings: angle from the force of the stance. Dots: directions that were calculated."
    )
    return png(figure)


def _frame(axes: Axes, reach: float) -> None:
    """Rings with their angles, and what lies at each side."""
    limit = 1.06 * reach
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.set_aspect("equal")
    slope = np.sqrt(0.5)
    for radius in reach * np.arange(1, RINGS + 1) / RINGS:
        axes.add_patch(Circle((0, 0), radius, fill=False, ec=RING, lw=0.7, zorder=2))
        axes.annotate(
            f"{radius:.3g}°",
            (radius * slope, radius * slope),
            (2, 2),
            textcoords="offset points",
            fontsize=7,
            fontfamily=FONT,
            color=INK,
            zorder=5,
        )
    for x, y, text, style in SIDES:
        write(axes, x, y, text, color=MUTED, **style)

"""Strength by the direction of the force, seen along the force of the stance or the fall."""

from __future__ import annotations

from dataclasses import dataclass

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
# Where on the map what lies at its sides is said: right, left, above, below.
PLACES = (
    (1.02, 0.5, {"ha": "left", "va": "center"}),
    (-0.02, 0.5, {"ha": "right", "va": "center"}),
    (0.5, 1.02, {"ha": "center", "va": "bottom"}),
    (0.5, -0.02, {"ha": "center", "va": "top"}),
)


@dataclass(frozen=True)
class MapWords:
    """Words of a map of directions.

    Parameters
    ----------
    middle : str
        What lies in the middle.
    out_of_plane : str
        Name of the angle out of the frontal plane.
    sides : tuple of str
        How the force changes towards the right, the left, the top and the bottom.
    """

    middle: str
    out_of_plane: str
    sides: tuple[str, str, str, str]


MORE_LESS = ("more\nadduction", "less\nadduction")
STANCE = MapWords(
    "stance", "flexion", (*MORE_LESS, "pushes the head backwards", "pushes the head forwards")
)
FALL = MapWords(
    "fall",
    "rotation",
    (*MORE_LESS, "rotated inwards: onto the back of the trochanter", "rotated outwards"),
)


def strength_by_direction(
    directions_deg: Float,
    strengths_N: Float,
    centre_deg: tuple[float, float],
    words: MapWords = STANCE,
) -> bytes:
    """Draw the strength over a cone of directions as a polar map.

    Parameters
    ----------
    directions_deg : ndarray, (n, 2)
        Adduction and flexion of a stance, or adduction and rotation of a fall.
    strengths_N : ndarray, (n,)
    centre_deg : tuple of float
        Of the stance or the fall, in the middle of the map.
    words : MapWords
        `STANCE` or `FALL`.

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
    _frame(axes, float(np.linalg.norm(offset, axis=1).max()), words)
    head = panel(figure, 14, 8, 732, 30)
    title = f"{{}}: {{:.2f}} kN at adduction {{:g}}°, {words.out_of_plane} {{:g}}°"
    bold = {"fontsize": 9.5, "fontweight": "bold", "va": "center"}
    write(
        head,
        0,
        0.5,
        title.format("Weakest", kilo[low], *directions_deg[low]),
        **bold,
        color=WEAKEST,
    )
    central = title.format(f"{words.middle.capitalize()} (+)", kilo[middle], *centre_deg)
    write(head, 1, 0.5, central, **bold, ha="right")
    ticks = np.linspace(kilo.min(), kilo.max(), 4)
    colour_bar(figure, colours, ticks.tolist(), [f"{x:.2f}" for x in ticks], "Strength in kN")
    note(
        figure,
        f"Rings: angle from the force of the {words.middle}. Dots: directions that were "
        "calculated.",
    )
    return png(figure)


def _frame(axes: Axes, reach: float, words: MapWords) -> None:
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
    for (x, y, style), text in zip(PLACES, words.sides, strict=True):
        write(axes, x, y, text, color=MUTED, **style)

"""Canvas of all pictures: panels placed in pixels, scale bars, orientation letters, colours."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

PIXEL_RATIO = 1.6  # real pixels per pixel of the layout: sharp on fine screens and on paper
INK = "#1f2933"
MUTED = "#66717f"
FONT = "DejaVu Sans"  # comes with matplotlib, so it is there on every system
SCALE_MM = 20.0
LEGEND_COLUMNS = 4
ROOM = 0.055  # of the larger extent, at each side of a bright panel

Size = tuple[float, float]


def canvas(width_px: float, height_px: float) -> Figure:
    """Return an empty white picture; sizes in pixels of the layout."""
    figure = Figure(figsize=(width_px / 100, height_px / 100), dpi=100 * PIXEL_RATIO)
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    return figure


def size_px(figure: Figure) -> Size:
    """Width and height of a picture in pixels of the layout."""
    width, height = figure.get_size_inches()
    return float(width) * 100, float(height) * 100


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes without frame or ticks at a place in pixels, counted from the top left."""
    w, h = size_px(figure)
    place = (left / w, 1 - (top + height) / h, width / w, height / h)
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return axes


def row(
    sizes_mm: Sequence[Size],
    width_px: float = 1000,
    *,
    highest_px: float = 520,
    head_px: float = 26,
    foot_px: float = 30,
    right_px: float = 0,
    gap_px: float = 16,
) -> tuple[Figure, list[Axes]]:
    """Lay panels side by side at one scale, as large as they fit.

    Parameters
    ----------
    sizes_mm : sequence of (width, height)
    width_px, highest_px : float
        Width of the picture and the largest height of a panel.
    head_px, foot_px, right_px : float
        Room for titles above, a legend below, and a colour bar at the right.
    gap_px : float
        Between panels.
    """
    wide = sum(size[0] for size in sizes_mm)
    tall = max(size[1] for size in sizes_mm)
    room = width_px - right_px - gap_px * (len(sizes_mm) - 1)
    scale = min(room / wide, highest_px / tall)
    gap_px += (room - scale * wide) / (len(sizes_mm) + 1)
    left = (room - scale * wide) / (len(sizes_mm) + 1)
    figure = canvas(width_px, head_px + scale * tall + foot_px)
    panels = []
    for width, height in sizes_mm:
        panels.append(panel(figure, left, head_px, scale * width, scale * height))
        left += scale * width + gap_px
    return figure, panels


def png(figure: Figure) -> bytes:
    """Encode a picture."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": "bonekit"})
    return stream.getvalue()


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Put text at a fraction (x, y) of a panel."""
    options: dict[str, Any] = {
        "fontsize": 8,
        "color": INK,
        "fontfamily": FONT,
        "clip_on": False,
    } | style
    axes.text(x, y, text, transform=axes.transAxes, **options)


def title(axes: Axes, text: str) -> None:
    """Name a panel above its left corner."""
    height = axes.get_window_extent().height / PIXEL_RATIO
    write(axes, 0, 1 + 6 / height, text, va="bottom", fontsize=8.5, fontweight="bold")


def note(figure: Figure, text: str) -> None:
    """Put a line of small print at the bottom right of a picture."""
    width, height = size_px(figure)
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 7, "color": MUTED}
    figure.text(1 - 4 / width, 7 / height, text, fontfamily=FONT, **style)


def letter(direction: ArrayLike) -> str:
    """Name the patient's side towards which a world vector points most: L R P A S or I."""
    vector = np.asarray(direction, dtype=np.float64)
    axis = int(np.abs(vector).argmax())
    return ("LPS" if vector[axis] > 0 else "RAI")[axis]


def orient(axes: Axes, right: ArrayLike, up: ArrayLike, *, dark: bool) -> None:
    """Write the patient's sides at the four borders of a panel.

    Parameters
    ----------
    axes : Axes
    right, up : array_like, (3,)
        World directions of the picture's right and up.
    dark : bool
        Whether the background is dark.
    """
    right, up = np.asarray(right), np.asarray(up)
    style: dict[str, Any] = {"color": "white" if dark else MUTED, "fontweight": "bold"}
    if dark:
        style["path_effects"] = [withStroke(linewidth=2, foreground="black")]
    write(axes, 0.02, 0.5, letter(-right), ha="left", va="center", **style)
    write(axes, 0.98, 0.5, letter(right), ha="right", va="center", **style)
    write(axes, 0.5, 0.985, letter(up), ha="center", va="top", **style)
    write(axes, 0.5, 0.015, letter(-up), ha="center", va="bottom", **style)


def roomy(width_mm: float, height_mm: float) -> Size:
    """Add room around what a bright panel shows, so that the letters don't touch it."""
    room = 2 * max(ROOM * max(width_mm, height_mm), 0.08 * min(width_mm, height_mm))
    return width_mm + room, height_mm + room


def frame(axes: Axes, right: Size, up: Size) -> None:
    """Set the limits of a panel in mm, at one scale for both directions."""
    axes.set_xlim(*right)
    axes.set_ylim(*up)
    axes.set_aspect("equal")


def scale_bar(axes: Axes, *, dark: bool) -> None:
    """Draw a bar of 20 mm into the lower left corner of a panel whose units are mm."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    x, y = x0 + 0.04 * (x1 - x0), y0 + (0.05 if dark else 0.015) * (y1 - y0)
    colour = "white" if dark else INK
    effects = [withStroke(linewidth=2, foreground="black")] if dark else []
    axes.plot([x, x + SCALE_MM], [y, y], color=colour, lw=1.8, solid_capstyle="butt")
    axes.annotate(
        f"{SCALE_MM:.0f} mm",
        (x, y),
        (0, 3),
        textcoords="offset points",
        fontsize=7,
        fontfamily=FONT,
        color=colour,
        path_effects=effects,
    )


def legend(figure: Figure, entries: Iterable[tuple[str, Any]], below: Axes | None = None) -> None:
    """Name colours at the bottom left of a picture, or in a column below a panel."""
    handles = [Patch(facecolor=colour, label=name) for name, colour in entries]
    place = 0.0, 1 / size_px(figure)[1]
    if below:
        place = below.get_position().x0, below.get_position().y0
    found = figure.legend(
        handles=handles,
        loc="upper left" if below else "lower left",
        bbox_to_anchor=place,
        ncols=1 if below else min(max(len(handles), 1), LEGEND_COLUMNS),
        frameon=False,
        handlelength=1.0,
        handleheight=1.0,
        borderaxespad=0.2,
        prop={"family": FONT, "size": 8},
        labelcolor=INK,
    )
    found.set_zorder(5)


def colour_bar(
    figure: Figure,
    colours: ScalarMappable,
    ticks: Sequence[float],
    names: Sequence[str],
    label: str,
    *,
    over: str | None = None,
) -> None:
    """Draw a colour bar into the room at the right of a picture.

    Parameters
    ----------
    figure : Figure
    colours : ScalarMappable
    ticks, names : sequence of float, of str
    label : str
        What the colours mean, with its unit.
    over : str, optional
        Meaning of the colour beyond the upper end.
    """
    width, height = size_px(figure)
    tall = min(height - 130, 300)
    top = (height - tall) / 2
    axes = panel(figure, width - 104, top, 14, tall)
    axes.set_axis_on()
    bar = figure.colorbar(colours, cax=axes)
    bar.set_ticks(list(ticks), labels=list(names))
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=2.5, width=0.6)
    cast(Any, bar.outline).set_visible(False)
    write(axes, 0, 1 + (28 if over else 9) / tall, label, fontsize=7.5, va="bottom")
    if over:
        box = Rectangle((0, 1 + 8 / tall), 1, 12 / tall, transform=axes.transAxes, clip_on=False)
        box.set_facecolor(to_hex(tuple(colours.get_cmap().get_over())))
        axes.add_patch(box)
        write(axes, 1.35, 1 + 14 / tall, over, fontsize=7.5, va="center")


def colour_scale(cmap: Any, norm: Normalize) -> ScalarMappable:
    """Map values to colours."""
    return ScalarMappable(norm=norm, cmap=cmap)

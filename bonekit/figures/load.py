"""The load case drawn on the bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.model import Constraint, Load, Model
from bonekit.figures.canvas import (
    FONT,
    LEGEND_COLUMNS,
    Size,
    frame,
    legend,
    note,
    orient,
    png,
    roomy,
    row,
    scale_bar,
    title,
)
from bonekit.figures.shell import BONE, FRONT, LEFT, RIGHT, Shell, View, paint, shell

Float = NDArray[np.float64]

LOADED = "#d1495b"
MOVED = "#d98324"
HELD = "#2f6f9f"
ARROW = 0.24  # of the bone's height
FIELD = 9  # small arrows over a loaded area


@dataclass(frozen=True, eq=False)
class Mark:
    """A set of nodes to colour, with what acts on it.

    Parameters
    ----------
    name : str
    nodes : ndarray of int, (n,)
    vector : ndarray, (3,)
        Resultant force or mean displacement in mesh axes; zero for a support.
    value : str
        Size with its unit, to write beside the arrow.
    colour : str
    """

    name: str
    nodes: NDArray[np.int64]
    vector: Float
    value: str
    colour: str

    @property
    def acts(self) -> bool:
        """Whether there is an arrow to draw."""
        return bool(np.linalg.norm(self.vector) > 0)


def load_drawing(model: Model) -> bytes:
    """Draw the loads and the supports on the bone's surface, from the front and from the side.

    The side view is from the side on which the load acts. The surface is that of the mesh,
    smoothed for the eye, so the coloured areas are the very nodes that are loaded and held.

    Parameters
    ----------
    model : Model
        On a mesh whose axes run to the left, back and up.

    Returns
    -------
    bytes
        PNG.
    """
    outer, shown = shell(model.mesh), marks(model)
    views = FRONT, side_view(model, shown)
    more = (len(shown) - 1) // LEGEND_COLUMNS  # rows of the legend beyond the first
    sizes = [panel_mm(outer, shown, view) for view in views]
    figure, panels = row(sizes, highest_px=560, foot_px=30 + 16 * more)
    for axes, view in zip(panels, views, strict=True):
        draw_load(axes, model, outer, shown, view)
        title(axes, view.name)
    scale_bar(panels[0], dark=False)
    legend(figure, [(mark.name, mark.colour) for mark in shown])
    if len(shown) < LEGEND_COLUMNS:
        note(figure, "Surface of the mesh, smoothed for the eye.")
    return png(figure)


def marks(model: Model) -> list[Mark]:
    """List what acts on the model: supports, prescribed displacements, loads."""
    held = [_constraint(constraint) for constraint in model.constraints]
    held += [_support(support) for support in model.supports]
    caps = sorted((_cap(cap) for cap in model.caps), key=lambda mark: mark.acts)
    return held + caps + [_load(load) for load in model.loads]


def _constraint(constraint: Constraint) -> Mark:
    shape = len(constraint.nodes), len(constraint.components)
    mean = np.broadcast_to(np.asarray(constraint.displacement_mm), shape).mean(axis=0)
    vector = np.zeros(3)
    vector[list(constraint.components)] = mean
    size = float(np.linalg.norm(vector))
    name = constraint.name.replace("_", " ")
    if size > 0:
        return Mark(f"{name}: moved", constraint.nodes, vector, f"{size:.3g} mm", MOVED)
    how = "held" if len(constraint.components) == 3 else "held in part"
    return Mark(f"{name}: {how}", constraint.nodes, vector, "", HELD)


def _support(support: ElasticSupport) -> Mark:
    name = f"{support.name.replace('_', ' ')}: on springs"
    return Mark(name, support.nodes, np.zeros(3), "", HELD)


def _cap(cap: RigidCap) -> Mark:
    """Of a rigid part the prescribed motion, else the force or the moment; moments as axes."""
    name = cap.name.replace("_", " ")
    shift, turn = np.nan_to_num(cap.given)
    for vector, unit, verb, colour in (
        (shift, "mm", "moved", MOVED),
        (np.degrees(turn), "°", "turned", MOVED),
        (np.array(cap.force_N), "N", "loaded", LOADED),
        (np.array(cap.moment_Nmm) / 1000.0, "N m", "twisted", LOADED),
    ):
        size = float(np.linalg.norm(vector))
        if size > 0:
            value = f"{size:,.0f} N" if unit == "N" else f"{size:.3g} {unit}"
            return Mark(f"{name}: {verb} as one", cap.nodes, vector, value, colour)
    return Mark(f"{name}: on a pivot", cap.nodes, np.zeros(3), "", HELD)


def _load(load: Load) -> Mark:
    force = np.asarray(load.force_N).sum(axis=0)
    name = f"{load.name.replace('_', ' ')}: loaded"
    return Mark(name, load.nodes, force, f"{np.linalg.norm(force):,.0f} N", LOADED)


def side_view(model: Model, shown: list[Mark]) -> View:
    """Return the side view in which the loaded area is nearer."""
    acting = [mark.nodes for mark in shown if mark.acts]
    nodes = model.mesh.node_ijk
    middle = (nodes[:, 0].max() + nodes[:, 0].min()) / 2
    if not acting:
        return LEFT
    return LEFT if nodes[np.concatenate(acting), 0].mean() >= middle else RIGHT


def panel_mm(outer: Shell, shown: list[Mark], view: View) -> Size:
    """Width and height of a view with room for the arrows."""
    low, high = _box(outer, shown, view)
    return float(high[0] - low[0]), float(high[1] - low[1])


def _box(outer: Shell, shown: list[Mark], view: View) -> tuple[Float, Float]:
    """Corners of what a view shows, in mm along its right and up, (2,) each."""
    flat = (outer.points_mm @ view.axes)[:, :2]
    label = height_mm(outer) * np.array([0.1, 0.05])
    tails = [_resultant(outer, mark, view)[1] for mark in shown if mark.acts]
    corners = np.concatenate([flat, *[[tail - label, tail + label] for tail in tails]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = (np.array(roomy(*(high - low).tolist())) - (high - low)) / 2
    return low - room, high + room


def height_mm(outer: Shell) -> float:
    """Largest extent of the bone."""
    return float(np.ptp(outer.points_mm, axis=0).max())


def draw_load(axes: Axes, model: Model, outer: Shell, shown: list[Mark], view: View) -> None:
    """Paint one view with coloured areas and arrows.

    Parameters
    ----------
    axes : Axes
    model : Model
    outer : Shell
        Of the model's mesh.
    shown : list of Mark
    view : View
    """
    colour = np.tile(BONE, (len(outer.quads), 1))
    for mark in shown:
        colour[outer.on(mark.nodes)] = to_rgb(mark.colour)
    paint(axes, outer, view, colour)
    low, high = _box(outer, shown, view)
    frame(axes, (low[0], high[0]), (low[1], high[1]))
    for mark in shown:
        if mark.acts:
            _arrows(axes, outer, mark, view)
    world = model.mesh.grid.direction
    orient(axes, world @ np.array(view.right), world @ np.array(view.up), dark=False)


def _touched(outer: Shell, mark: Mark) -> Float:
    """Points of the surface on which a mark acts, or the middle of its nodes if it has none."""
    points = outer.points_mm[np.isin(outer.node, mark.nodes)]
    return points if len(points) else outer.points_mm.mean(axis=0, keepdims=True)


def _pushes(outer: Shell, mark: Mark) -> bool:
    """Whether the arrow points into the bone: it then ends on the surface."""
    middle = (outer.points_mm.max(axis=0) + outer.points_mm.min(axis=0)) / 2
    return float((_touched(outer, mark).mean(axis=0) - middle) @ mark.vector) < 0


def _resultant(outer: Shell, mark: Mark, view: View) -> tuple[Float, Float]:
    """Both ends of the large arrow as seen: near the bone, and away from it, (2,) each.

    A pushing arrow keeps clear of the small ones.
    """
    at, length = _touched(outer, mark), ARROW * height_mm(outer)
    unit = mark.vector / np.linalg.norm(mark.vector)
    away = -unit if _pushes(outer, mark) else unit
    foremost = at.mean(axis=0) + away * float((at @ away).max() - (at @ away).mean())
    near = foremost + 0.36 * length * away
    return (near @ view.axes)[:2], ((near + 0.64 * length * away) @ view.axes)[:2]


def _arrows(axes: Axes, outer: Shell, mark: Mark, view: View) -> None:
    """Draw the resultant as a large arrow, and small ones over the area on which it acts."""
    near, far = _resultant(outer, mark, view)
    pushes = _pushes(outer, mark)
    small = (far - near) / 2
    for point in _spread(_touched(outer, mark), view):
        _arrow(axes, point, point + small, pushes, mark.colour, 0.9, 6)
    _arrow(axes, near, far, pushes, mark.colour, 3.0, 18)
    up = bool(far[1] >= near[1])
    axes.annotate(
        mark.value,
        (float(far[0]), float(far[1])),
        (0, 4 if up else -4),
        textcoords="offset points",
        ha="center",
        va="bottom" if up else "top",
        fontsize=9,
        fontweight="bold",
        fontfamily=FONT,
        color=mark.colour,
    )


def _spread(at: Float, view: View) -> Float:
    """Points spread over an area as it is seen, each far from those before, (<= FIELD, 2)."""
    flat = (at @ view.axes)[:, :2]
    chosen = [int(flat[:, 0].argmin())]
    distance = np.full(len(flat), np.inf)
    while len(chosen) < min(FIELD, len(flat)):
        distance = np.minimum(distance, np.linalg.norm(flat - flat[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.asarray(flat[chosen])


def _arrow(
    axes: Axes, near: Float, far: Float, pushes: bool, colour: str, width: float, head: float
) -> None:
    start, end = (far, near) if pushes else (near, far)
    patch = FancyArrowPatch(
        (float(start[0]), float(start[1])),
        (float(end[0]), float(end[1])),
        arrowstyle="-|>",
        mutation_scale=head,
        lw=width,
        color=colour,
        shrinkA=0,
        shrinkB=0,
        zorder=4,
    )
    axes.add_patch(patch)

"""Landmarks and axes drawn on the bone, each with its name."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.landmark import Angle, Landmark
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.figures.canvas import (
    FONT,
    INK,
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
from bonekit.figures.shell import FRONT, LEFT, RIGHT, Shell, View, paint, shell
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Anatomy = FemurAnatomy | VertebraAnatomy

SURE, UNSURE, GIVEN = "#2f6f9f", "#d98324", "#7b4fa3"
SURE_FROM = 0.5  # of confidence
HIGHEST_PX, NAME_PX, LINE_PX = 560.0, 170.0, 14.0
NAMED_MM = 0.05  # of the picture's height, between names that would lie on each other
BESIDE_MM = 0.05  # of its width, from the bone to the names


def anatomy_drawing(mesh: VoxelMesh, anatomy: Anatomy) -> bytes:
    """Draw the landmarks of a bone from the front and from the side.

    Points are drawn through the bone, so that those at its back are seen as well. What was not
    found stands below the picture.

    Parameters
    ----------
    mesh : VoxelMesh
        Of the bone, its axes running to the left, back and up.
    anatomy : FemurAnatomy or VertebraAnatomy

    Returns
    -------
    bytes
        PNG.
    """
    outer = shell(mesh)
    side = LEFT if isinstance(anatomy, VertebraAnatomy) or anatomy.side == "left" else RIGHT
    views = FRONT, side
    names_mm = _room_for_names(outer, views)
    boxes = [_box(outer, view, names_mm) for view in views]
    sizes = [(float(high[0] - low[0]), float(high[1] - low[1])) for low, high in boxes]
    figure, panels = row(sizes, highest_px=HIGHEST_PX, foot_px=58)
    world = mesh.grid.direction
    for axes, view, (low, high) in zip(panels, views, boxes, strict=True):
        paint(axes, outer, view)
        frame(axes, (low[0], high[0]), (low[1], high[1]))
        _lines(axes, mesh, anatomy, view)
        _points(axes, mesh, anatomy.landmarks, view, outer, names_mm * LINE_PX / NAME_PX)
        orient(axes, world @ np.array(view.right), world @ np.array(view.up), dark=False)
        title(axes, view.name)
    scale_bar(panels[0], dark=False)
    legend(figure, _entries(anatomy.landmarks))
    note(figure, _words(anatomy))
    return png(figure)


def _entries(landmarks: tuple[Landmark, ...]) -> list[tuple[str, str]]:
    """Colours that occur."""
    used = {_colour(mark) for mark in landmarks if mark.point_mm is not None}
    named = [(f"confidence {SURE_FROM:g} or more", SURE), ("less", UNSURE), ("given", GIVEN)]
    return [(name, colour) for name, colour in named if colour in used]


def _colour(mark: Landmark) -> str:
    if mark.given:
        return GIVEN
    return SURE if mark.confidence >= SURE_FROM else UNSURE


def _words(anatomy: Anatomy) -> str:
    """Angles, and what was not found."""
    missing = [mark.name.replace("_", " ") for mark in anatomy.landmarks if mark.point_mm is None]
    lines = ["± standard error in mm. " + ", ".join(_angle(angle) for angle in anatomy.angles)]
    if missing:
        lines.append("Not found: " + ", ".join(missing))
    return "\n".join(lines)


def _angle(angle: Angle) -> str:
    name = angle.name.replace("_", " ")
    if angle.value_deg is None:
        return f"{name}: not measured"
    error = "" if angle.uncertainty_deg is None else f" ± {angle.uncertainty_deg:.1f}"
    return f"{name} {angle.value_deg:.1f}{error} degrees"


def on_mesh(mesh: VoxelMesh, points_mm: Float) -> Float:
    """Bring world points (..., 3) to the axes and the origin that a shell has."""
    return np.asarray((mesh.grid.index(points_mm) + 0.5) * mesh.grid.spacing_mm)


def _room_for_names(outer: Shell, views: tuple[View, View]) -> float:
    """Room beside the bone, in mm, that has `NAME_PX` in the finished picture."""
    extents = [np.ptp((outer.points_mm @ view.axes)[:, :2], axis=0) for view in views]
    wide, tall = np.mean([e[0] for e in extents]), max(float(e[1]) for e in extents)
    # two panels with names on both sides, 1000 pixels wide; or as high as a panel may be
    by_width = wide * NAME_PX / (500.0 - 2 * NAME_PX)
    return float(max(by_width, tall * NAME_PX / HIGHEST_PX))


def _box(outer: Shell, view: View, names_mm: float) -> tuple[Float, Float]:
    """Corners of what a view shows, with room for the names on both sides."""
    flat = (outer.points_mm @ view.axes)[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    room = (np.array(roomy(*(high - low).tolist())) - (high - low)) / 2
    room[0] = names_mm
    return low - room, high + room


def _lines(axes: Axes, mesh: VoxelMesh, anatomy: Anatomy, view: View) -> None:
    """Draw the axes of the bone, and the sphere of a femoral head."""
    effects = [withStroke(linewidth=3, foreground="white")]
    for one, other in _axes_of(anatomy):
        ends = (on_mesh(mesh, np.array([one, other])) @ view.axes)[:, :2]
        axes.plot(ends[:, 0], ends[:, 1], color=INK, lw=1.2, ls="--", path_effects=effects)
    if isinstance(anatomy, FemurAnatomy):
        x, y = (on_mesh(mesh, anatomy.head_centre_mm) @ view.axes)[:2]
        ring = Circle((float(x), float(y)), anatomy.head_radius_mm, fill=False, ec=INK, lw=1.2)
        ring.set_linestyle("--")
        axes.add_patch(ring)


def _axes_of(anatomy: Anatomy) -> list[tuple[Float, Float]]:
    """List the ends of the axes in the world."""
    if isinstance(anatomy, VertebraAnatomy):
        half = 0.75 * anatomy.height_mm * anatomy.axis
        return [(anatomy.body_centre_mm - half, anatomy.body_centre_mm + half)]
    foot, up = anatomy.shaft_point_mm, anatomy.shaft_axis
    top = float(anatomy.height_mm(anatomy.head_centre_mm))
    neck = anatomy.head_centre_mm + 2.6 * anatomy.head_radius_mm * anatomy.neck_axis
    lines = [(anatomy.head_centre_mm, neck), (foot, foot + top * up)]
    inner, outer = (anatomy.landmark_mm(name) for name in ("medial_condyle", "lateral_condyle"))
    if inner is not None and outer is not None:
        lines.append((inner, outer))
    return lines


def _points(
    axes: Axes,
    mesh: VoxelMesh,
    landmarks: tuple[Landmark, ...],
    view: View,
    outer: Shell,
    line_mm: float,
) -> None:
    """Draw the points, their names (lines of text that high) beside the bone at each's height."""
    seen = [(mark, mark.point_mm) for mark in landmarks if mark.point_mm is not None]
    if not seen:
        return
    found = [mark for mark, _ in seen]
    places = (on_mesh(mesh, np.array([point for _, point in seen])) @ view.axes)[:, :2]
    flat = (outer.points_mm @ view.axes)[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    wide, tall = high - low
    for right in (False, True):
        half = np.flatnonzero((places[:, 0] > (low[0] + high[0]) / 2) == right)
        half = half[np.argsort(-places[half, 1])]
        heights = _apart(places[half, 1], max(NAMED_MM * max(tall, wide), line_mm))
        x = high[0] + BESIDE_MM * wide if right else low[0] - BESIDE_MM * wide
        for n, y in zip(half, heights, strict=True):
            _name(axes, found[n], places[n], (float(x), float(y)), right)


def _apart(heights: Float, least: float) -> Float:
    """Move heights, highest first, so that neighbours keep a distance."""
    moved = heights.copy()
    for n in range(1, len(moved)):
        moved[n] = min(moved[n], moved[n - 1] - least)
    if len(moved):
        moved += (heights.mean() - moved.mean()) if len(moved) > 1 else 0.0
    return np.asarray(moved)


def _name(axes: Axes, mark: Landmark, at: Float, text_at: tuple[float, float], right: bool) -> None:
    colour = _colour(mark)
    x, y = float(at[0]), float(at[1])
    axes.plot([x, text_at[0]], [y, text_at[1]], color=colour, lw=0.6, zorder=5)
    axes.plot([x], [y], "o", ms=5.5, mfc=colour, mec="white", mew=0.9, zorder=6)
    error = "" if mark.uncertainty_mm is None else f" ± {mark.uncertainty_mm:.1f}"
    axes.annotate(
        mark.name.replace("_", " ") + error,
        text_at,
        (3 if right else -3, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=7.5,
        fontfamily=FONT,
        color=colour,
    )

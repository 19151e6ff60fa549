"""Picture of a tetrahedral mesh: cuts by region, and histograms of its elements' shapes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bonekit.figures.canvas import (
    INK,
    MUTED,
    canvas,
    legend,
    note,
    orient,
    panel,
    png,
    scale_bar,
    title,
)
from bonekit.meshing.elements import DIHEDRAL_DEG, LEAST_JACOBIAN
from bonekit.meshing.lattice import EDGES
from bonekit.meshing.quality import DIHEDRAL_BINS, JACOBIAN_BINS, report
from bonekit.meshing.tetmesh import TetMesh
from bonekit.segmentation.base import COLOURS

Float = NDArray[np.float64]
Colour = tuple[float, float, float]

WIDTH, TOP, CUT, PLOT = 1000.0, 26.0, 420.0, 150.0  # pixels
GAP = 56.0
OTHERS: tuple[Colour, ...] = (
    (0.35, 0.6, 0.85),
    (0.95, 0.6, 0.2),
    (0.45, 0.7, 0.4),
    (0.6, 0.5, 0.8),
)
# Name, axes to the right and up, and axis of the cut, in LPS.
CUTS = (
    ("Coronal cut", (1.0, 0, 0), (0, 0, 1.0), 1),
    ("Sagittal cut", (0, 1.0, 0), (0, 0, 1.0), 0),
)


def mesh_quality_figure(mesh: TetMesh, at_mm: ArrayLike | None = None) -> bytes:
    """Draw cuts through the elements by region, and histograms of their shapes.

    Parameters
    ----------
    mesh : TetMesh
    at_mm : array_like, (3,), optional
        World point that the cuts go through; by default the middle of the lesion, if there is
        one, else of the mesh.

    Returns
    -------
    bytes
        PNG.
    """
    at = np.asarray(_middle(mesh) if at_mm is None else at_mm, dtype=float)
    figure = canvas(WIDTH, TOP + CUT + PLOT + 110)
    width = (WIDTH - 3 * 16) / 2
    for k, (name, right, up, axis) in enumerate(CUTS):
        axes = panel(figure, 16 + k * (width + 16), TOP, width, CUT)
        _draw_cut(axes, mesh, at, np.array(right), np.array(up), axis)
        title(axes, f"{name}, {'xyz'[axis]} = {at[axis]:.1f} mm")
        orient(axes, right, up, dark=False)
        scale_bar(axes, dark=False)
    _draw_histograms(figure, mesh)
    present = np.unique(mesh.region).tolist()
    entries = [(mesh.names.get(v, f"region {v}"), _colour(v)) for v in present]
    legend(figure, entries)
    note(figure, f"{mesh.n_elements} elements, {mesh.n_nodes} nodes. Red: the limits.")
    return png(figure)


def _middle(mesh: TetMesh) -> Float:
    lesion = [value for value, name in mesh.names.items() if name == "lesion"]
    inside = np.isin(mesh.region, lesion)
    centres = mesh.centres_mm[inside if inside.any() else slice(None)]
    return np.asarray(np.median(centres, axis=0))


def _colour(value: int) -> Colour:
    if value in COLOURS:
        r, g, b = COLOURS[value]
        return (r / 255, g / 255, b / 255)
    return OTHERS[value % len(OTHERS)]


def _draw_cut(axes: Axes, mesh: TetMesh, at: Float, right: Float, up: Float, axis: int) -> None:
    """Draw the polygons in which a plane cuts the elements."""
    polygons, which = plane_cut(mesh, axis, float(at[axis]))
    flat = np.stack([polygons @ right, polygons @ up], axis=-1)
    colours = np.array([_colour(int(v)) for v in range(256)])[mesh.region[which]]
    axes.add_collection(
        PolyCollection(list(flat), facecolors=colours, edgecolors=INK, linewidths=0.25)
    )
    low, high = flat.reshape(-1, 2).min(axis=0), flat.reshape(-1, 2).max(axis=0)
    margin = 0.05 * (high - low).max()
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")


def plane_cut(mesh: TetMesh, axis: int, at_mm: float) -> tuple[Float, NDArray[np.int64]]:
    """Cut elements by a plane across a world axis.

    Returns
    -------
    polygons : ndarray of float, (n, 4, 3)
        In order about their middle; a triangle repeats a corner.
    element : ndarray of int, (n,)
    """
    side = mesh.nodes_mm[mesh.corners][:, :, axis] - at_mm
    side = np.where(np.abs(side) < 1e-9, 1e-9, side)
    element = np.flatnonzero((side.min(axis=1) < 0) & (side.max(axis=1) > 0))
    side, x = side[element], mesh.nodes_mm[mesh.corners[element]]
    a, b = side[:, EDGES[:, 0]], side[:, EDGES[:, 1]]
    crossed = a * b < 0
    t = np.where(crossed, a / np.where(a == b, 1.0, a - b), 0.0)[..., None]
    point = (1 - t) * x[:, EDGES[:, 0]] + t * x[:, EDGES[:, 1]]
    # The crossed edges first; where there are three, the first stands for the fourth.
    order = np.argsort(~crossed, axis=1, kind="stable")[:, :4]
    order[crossed.sum(axis=1) == 3, 3] = order[crossed.sum(axis=1) == 3, 0]
    corner = np.take_along_axis(point, order[..., None], axis=1)
    plane = [k for k in range(3) if k != axis]
    about = corner[:, :, plane] - corner[:, :, plane].mean(axis=1, keepdims=True)
    turn = np.argsort(np.arctan2(about[..., 1], about[..., 0]), axis=1)
    return np.take_along_axis(corner, turn[..., None], axis=1), element


def _draw_histograms(figure: Figure, mesh: TetMesh) -> None:
    found = report(mesh)
    width = (WIDTH - 3 * GAP) / 2
    low, median = found.scaled_jacobian or (np.nan, np.nan)
    least, most = found.dihedral_deg or (np.nan, np.nan)
    for k, (counts, bins, limits, name) in enumerate(
        (
            (
                found.jacobian_counts,
                JACOBIAN_BINS,
                (LEAST_JACOBIAN,),
                f"Scaled Jacobian: smallest {low:.2f}, median {median:.2f}",
            ),
            (
                found.dihedral_counts,
                DIHEDRAL_BINS,
                DIHEDRAL_DEG,
                f"Dihedral angle in degrees: {least:.1f} to {most:.1f}",
            ),
        )
    ):
        axes = panel(figure, GAP + k * (width + GAP), TOP + CUT + 40, width, PLOT)
        axes.set_axis_on()
        axes.stairs(counts, bins, fill=True, color="#8fa8bf")
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(bottom=0)
        for limit in limits:
            axes.axvline(limit, color="#c0392b", linewidth=1)
        axes.tick_params(labelsize=7, colors=MUTED)
        for edge in ("top", "right"):
            axes.spines[edge].set_visible(False)
        title(axes, name)

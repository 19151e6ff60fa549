"""The density of a bone with and without its lesions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.figures.canvas import (
    colour_bar,
    colour_scale,
    frame,
    legend,
    note,
    orient,
    png,
    row,
    scale_bar,
    title,
)
from bonekit.figures.overlay import CONVENTION, PLANES, Plane, scene
from bonekit.image.volume import LabelMap

Mask = NDArray[np.bool_]

VIEWS: tuple[Plane, ...] = ("coronal", "axial")
WINDOW_G_CM3 = (0.0, 1.2)  # of ash: air and fat to dense cortex
FILLED = "#22b8cf"
BAR_PX = 128


def filled_drawing(
    before: DensityImage, after: DensityImage, labels: LabelMap, filled: Mask
) -> bytes:
    """Draw density before and after the lesions are filled, in two planes through the largest.

    Parameters
    ----------
    before, after : DensityImage
        Ash density on one grid.
    labels : LabelMap
        Of the bone with its lesions, on that grid.
    filled : ndarray of bool, (ni, nj, nk)
        Voxels whose density was made up; their outline is drawn.

    Returns
    -------
    bytes
        PNG.

    Raises
    ------
    InputError
        If nothing was filled or the grids differ.
    """
    if not filled.any():
        raise InputError("nothing was filled: there is nothing to draw")
    if not before.grid.same_as(after.grid):
        raise InputError("density before and after lie on different grids")
    old, new = scene(before, labels), scene(after, labels)
    marked = scene(before.with_array(filled.astype(np.uint8)), labels).ct
    at = old.index(None)
    colours = colour_scale("inferno", Normalize(*WINDOW_G_CM3))
    figure, panels = row([old.panel_mm(view) for view in VIEWS for _ in range(2)], right_px=BAR_PX)
    for n, axes in enumerate(panels):
        plane, view = VIEWS[n // 2], (old, new)[n % 2]
        through = PLANES[plane][2]
        cut = np.take(view.ct.array, int(at[through]), axis=through)
        mask = np.take(marked.array, int(at[through]), axis=through)
        _draw(axes, cut, mask, plane, view.ct.spacing_mm, colours)
        _orient(axes, view.ct.grid.direction, plane)
        title(axes, f"{plane.capitalize()}, {('as scanned', 'filled')[n % 2]}")
    scale_bar(panels[0], dark=True)
    ticks = [0.0, 0.3, 0.6, 0.9, 1.2]
    colour_bar(figure, colours, ticks, [f"{x:g} g/cm³" for x in ticks], "ash density")
    legend(figure, [("density made up here", FILLED)])
    note(figure, CONVENTION)
    return png(figure)


def _draw(
    axes: Axes,
    cut: NDArray[np.floating],
    mask: NDArray[np.uint8],
    plane: Plane,
    spacing_mm: NDArray[np.float64],
    colours: ScalarMappable,
) -> None:
    right, up, _ = PLANES[plane]
    width, height = (n * spacing_mm[a] for n, a in zip(cut.shape, (right, up), strict=True))
    axes.imshow(
        cut.T,
        cmap=colours.get_cmap(),
        vmin=WINDOW_G_CM3[0],
        vmax=WINDOW_G_CM3[1],
        origin="lower",
        extent=(0.0, width, 0.0, height),
        interpolation="nearest",
    )
    x, y = (
        (np.arange(-1, n + 1) + 0.5) * spacing_mm[a]
        for n, a in zip(cut.shape, (right, up), strict=True)
    )
    if mask.any():
        outline = np.pad(mask, 1).T.astype(float)
        axes.contour(x, y, outline, [0.5], colors=[FILLED], linewidths=1.4)
    # an axial plane is seen from the feet: the back is down
    frame(axes, (0.0, width), (height, 0.0) if plane == "axial" else (0.0, height))


def _orient(axes: Axes, direction: NDArray[np.float64], plane: Plane) -> None:
    """Write the patient's sides at the borders of a plane."""
    right, up, _ = PLANES[plane]
    upward = -direction[:, up] if plane == "axial" else direction[:, up]
    orient(axes, direction[:, right], upward, dark=True)

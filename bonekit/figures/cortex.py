"""Where the cortex is thick and thin, how it is spread, and one profile with its fit."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from bonekit.cortex.profile import FWHM, NAMES, layer
from bonekit.cortex.surface import Surface, bone_mask, sample, signed_distance
from bonekit.cortex.thickness import CorticalMap
from bonekit.density import DensityImage
from bonekit.figures.canvas import (
    FONT,
    INK,
    MUTED,
    canvas,
    legend,
    note,
    panel,
    png,
    scale_bar,
    title,
)
from bonekit.figures.shell import BACK, FRONT, Shell, paint
from bonekit.image.volume import LabelMap

Float = NDArray[np.float64]

WIDTH_PX, HEIGHT_PX = 1000.0, 500.0
STEP_MM = 1.3  # of the painted surface
NEAR_MM = 6.0  # a point of the surface shows the values measured this near
UNKNOWN = (0.80, 0.80, 0.80)
LAYER, BLURRED = "#c2571a", "#1f5fa8"
# Thin in light yellow, thick in dark blue: even in lightness, and readable by the colour-blind.
COLOURS = LinearSegmentedColormap.from_list(
    "cortex", ["#fff3b0", "#f2b35b", "#d0605e", "#8a3a86", "#33246b"]
)


def cortex_figure(density: DensityImage, labels: LabelMap, cortex: CorticalMap) -> bytes:
    """Draw the thickness on the bone from the front and from behind, its spread, and a profile.

    Parameters
    ----------
    density : DensityImage
        The one that `cortex` was measured on.
    labels : LabelMap
    cortex : CorticalMap

    Returns
    -------
    bytes
        PNG.
    """
    shown = cortex.thickness_mm[cortex.ok]
    top = max(2.0, float(np.ceil(np.quantile(shown, 0.97)))) if shown.size else 2.0
    colours = ScalarMappable(norm=Normalize(0.0, top), cmap=COLOURS)
    figure = canvas(WIDTH_PX, HEIGHT_PX)
    outer = _outside(labels)
    tint = _tint(outer, cortex, colours)
    for left, view in ((0, FRONT), (275, BACK)):
        axes = panel(figure, left, 30, 270, 400)
        paint(axes, outer, view, tint, ambient=0.62)
        title(axes, view.name)
        if view is FRONT:
            scale_bar(axes, dark=False)
    _bar(figure, colours)
    legend(figure, [("not measured", UNKNOWN)])
    _spread(_plot(figure, 30), cortex, colours)
    _profile(_plot(figure, 272), density, labels, cortex)
    note(figure, _numbers(cortex))
    return png(figure)


def _numbers(cortex: CorticalMap) -> str:
    share = np.count_nonzero(cortex.ok) / max(cortex.ok.size, 1)
    return (
        f"{cortex.ok.size} points, {share:.0%} measured; in-plane blur {cortex.psf_fwhm_mm:.2f} mm "
        f"(FWHM), compact bone {cortex.cortical_density_g_cm3:.2f} g/cm3 ({cortex.kind})."
    )


def _outside(labels: LabelMap) -> Shell:
    """Surface of the bone in the world, as triangles: quads whose last two corners are one."""
    index = np.argwhere(bone_mask(labels))
    near = labels.crop(index.min(axis=0) - 3, index.max(axis=0) + 4)
    field = signed_distance(bone_mask(near), near.grid)
    field = np.pad(field, 1, constant_values=-float(field.max()))  # closes a bone that is cut
    smooth = ndi.gaussian_filter(field, 1.0 / near.spacing_mm)
    fine = ndi.zoom(smooth, near.spacing_mm / STEP_MM, order=1, grid_mode=False)
    scale = (np.array(field.shape) - 1) / (np.array(fine.shape) - 1)
    vertices, triangles, *_ = marching_cubes(fine, 0.0, gradient_direction="ascent")
    points = near.grid.world(vertices * scale - 1)
    quads = triangles[:, [0, 1, 2, 2]].astype(np.int64)
    if np.linalg.det(near.grid.direction) < 0:  # axes of a left hand turn triangles inside out
        quads = quads[:, [1, 0, 2, 3]]
    nothing = np.zeros(len(quads), np.int64)
    return Shell(points, quads, nothing, np.arange(len(points)))


def _tint(outer: Shell, cortex: CorticalMap, colours: ScalarMappable) -> Float:
    """Colour of each face: the mean thickness of the measured points near it, (n_quads, 3)."""
    tint = np.tile(UNKNOWN, (len(outer.quads), 1))
    if not cortex.ok.any():
        return tint
    middle = outer.points_mm[outer.quads[:, :3]].mean(axis=1)
    nearest = np.asarray(cKDTree(cortex.points_mm).query(middle)[1])
    known = cortex.ok[nearest]
    count = min(4, int(cortex.ok.sum()))
    tree = cKDTree(cortex.points_mm[cortex.ok])
    far, near = map(np.asarray, tree.query(middle[known], [*range(1, count + 1)]))
    weight = 1 / (far + 0.5)
    mean = (weight * cortex.thickness_mm[cortex.ok][near]).sum(axis=1) / weight.sum(axis=1)
    tint[known] = colours.to_rgba(mean)[:, :3]
    tint[np.flatnonzero(known)[far[:, 0] > NEAR_MM]] = UNKNOWN
    return tint


def _plot(figure: Figure, top: float) -> Axes:
    axes = panel(figure, 622, top, 362, 168)
    axes.set_axis_on()
    axes.tick_params(labelsize=7, labelcolor=INK, labelfontfamily=FONT, length=2.5, width=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _label(axes: Axes, x: str, y: str) -> None:
    for set_label, text in ((axes.set_xlabel, x), (axes.set_ylabel, y)):
        set_label(text, fontsize=7.5, color=INK, fontfamily=FONT, labelpad=2)


def _bar(figure: Figure, colours: ScalarMappable) -> None:
    axes = panel(figure, 150, 452, 280, 11)
    axes.set_axis_on()
    bar = figure.colorbar(colours, cax=axes, orientation="horizontal", extend="max")
    bar.ax.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=2.5, width=0.6)
    bar.set_label("Cortical thickness, mm", fontsize=7.5, color=INK, fontfamily=FONT)
    cast(Any, bar.outline).set_visible(False)


def _spread(axes: Axes, cortex: CorticalMap, colours: ScalarMappable) -> None:
    """Draw how many points have which thickness."""
    thickness = cortex.thickness_mm[cortex.ok]
    edges = np.linspace(0.0, colours.norm.vmax or 1.0, 41)
    _, _, bars = axes.hist(np.minimum(thickness, edges[-1] - 1e-6), edges.tolist())
    for patch, middle in zip(cast(Any, bars), (edges[1:] + edges[:-1]) / 2, strict=True):
        patch.set_facecolor(colours.to_rgba(middle))
        patch.set_edgecolor("#00000040")
        patch.set_linewidth(0.4)
    axes.axvline(cortex.psf_fwhm_mm, color=MUTED, lw=0.9, ls=(0, (4, 2)))
    axes.annotate(
        "width of the blur",
        (cortex.psf_fwhm_mm, 0.97),
        (4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=7,
        color=MUTED,
        fontfamily=FONT,
        va="top",
    )
    axes.set_xlim(0, edges[-1])
    _label(axes, "Cortical thickness, mm", "Points of the surface")
    median = f"; median {np.median(thickness):.1f} mm" if thickness.size else ""
    title(axes, f"Thickness over the bone{median}")


def _profile(axes: Axes, density: DensityImage, labels: LabelMap, cortex: CorticalMap) -> None:
    """Draw the voxels along one normal, the fitted layer, and what the scanner makes of it."""
    if not cortex.ok.any():
        return title(axes, "No profile could be fitted")
    point = _example(cortex)
    values = (
        *(cortex.outer_mm, cortex.thickness_mm, cortex.outside_g_cm3),
        *(cortex.density_g_cm3, cortex.inside_g_cm3),
    )
    here = np.array([[*(float(v[point]) for v in values), cortex.psf_fwhm_mm / FWHM]])
    x0, t, y0, y1, y2 = here[0, : len(NAMES) - 1]
    surface = Surface(cortex.points_mm[[point]], cortex.normals[[point]])
    seen = sample(density, labels, surface, cortex.slice_mm)
    use = (seen.weight[0] > 0) & (seen.depth_mm[0] > x0 - 4) & (seen.depth_mm[0] < x0 + t + 8)
    x = np.linspace(x0 - 4, x0 + t + 8, 400)
    along = type(seen)(x[None], x[None], x[None], seen.in_plane, seen.along, seen.slice_mm)
    steps = np.where(x < x0, y0, np.where(x < x0 + t, y1, y2))
    axes.fill_between(x, y0, steps, color=LAYER, alpha=0.14, lw=0)
    axes.plot(x, steps, color=LAYER, lw=1.3, label=f"cortex, {t:.2f} mm")
    axes.plot(x, layer(here, along)[0], color=BLURRED, lw=1.5, label="as the scanner sees it")
    axes.plot(seen.depth_mm[0, use], seen.density_g_cm3[0, use], "o", color=INK, ms=2.4, mew=0)
    axes.plot([], [], "o", color=INK, ms=2.4, mew=0, label="voxels along the normal")
    axes.set_xlim(x[0], x[-1])
    _label(axes, "Depth below the surface of the mask, mm", f"{density.kind} density, g/cm3")
    axes.legend(frameon=False, prop={"family": FONT, "size": 7}, labelcolor=INK)
    title(axes, "One profile of a thin cortex")


def _example(cortex: CorticalMap) -> int:
    """Point that fits well, with a cortex somewhat thinner than the blur if there is one."""
    rows = np.flatnonzero(cortex.ok)
    thin = np.abs(cortex.thickness_mm[rows] - 0.75 * cortex.psf_fwhm_mm)
    close = rows[np.argsort(thin, kind="stable")[: max(1, min(50, len(rows)))]]
    return int(close[np.argsort(cortex.residual_g_cm3[close], kind="stable")[len(close) // 4]])

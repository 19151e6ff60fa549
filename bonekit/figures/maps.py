"""Values on the elements: cuts through the mesh and its coloured surface."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bonekit.errors import InputError
from bonekit.figures.canvas import (
    Size,
    colour_bar,
    colour_scale,
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
from bonekit.figures.overlay import PLANES, Plane
from bonekit.figures.shell import BACK, FRONT, Shell, View, paint, shell
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]

OVER = "#c4161c"
LESION = "#8b2fa8"
STRAIN_COLOURS = LinearSegmentedColormap.from_list(
    "strain", ["#f1efe6", "#cfe0d8", "#7fb8bd", "#3c7ea6", "#1d3f72"]
).with_extremes(over=OVER)
BAR_PX = 128
CUTS: tuple[Plane, ...] = ("coronal", "sagittal", "axial")
CUT_NAMES = {"coronal": "Frontal cut", "sagittal": "Sagittal cut", "axial": "Cross-section"}


def modulus_map(mesh: VoxelMesh, E_MPa: Float, at_mm: ArrayLike | None = None) -> bytes:
    """Three cuts through the mesh coloured by Young's modulus, on a logarithmic scale.

    Parameters
    ----------
    mesh : VoxelMesh
        Its axes should run to the left, back and up.
    E_MPa : ndarray, (n_elements,)
        Positive.
    at_mm : array_like, (3,), optional
        World point that the cuts go through; by default the middle of the lesion, and without
        one each cut is where it meets most bone.

    Returns
    -------
    bytes
        PNG.
    """
    _check(mesh, E_MPa, "moduli")
    at = cut_indices(mesh, at_mm)
    colours = modulus_colours(E_MPa)
    figure, panels = row([cut_mm(mesh, cut) for cut in CUTS], right_px=BAR_PX)
    for axes, cut in zip(panels, CUTS, strict=True):
        draw_cut(axes, mesh, E_MPa, cut, at, colours)
        title(axes, CUT_NAMES[cut])
    scale_bar(panels[0], dark=False)
    modulus_bar(figure, colours)
    _mark_lesion(figure, mesh)
    note(figure, "Cuts along the axes of the mesh, at one scale.")
    return png(figure)


def strain_map(mesh: VoxelMesh, strain_ratio: Float, at_mm: ArrayLike | None = None) -> bytes:
    """Strain over its limit, on two cuts and on the surface from the front and from behind.

    Parameters
    ----------
    mesh : VoxelMesh
        Its axes should run to the left, back and up.
    strain_ratio : ndarray, (n_elements,)
        Largest principal strain over its limit at the strength load; 1 is the limit.
    at_mm : array_like, (3,), optional
        World point that the cuts go through; by default the element of the highest ratio.

    Returns
    -------
    bytes
        PNG; elements over the limit are red.
    """
    _check(mesh, strain_ratio, "strain ratios")
    if at_mm is None:
        at_mm = mesh.centres_mm[int(strain_ratio.argmax())]
        where = "Cuts through the element of the highest strain."
    else:
        where = "Cuts along the axes of the mesh, at one scale."
    at = cut_indices(mesh, at_mm)
    outer, colours, views = shell(mesh), strain_colours(), (FRONT, BACK)
    sizes = [cut_mm(mesh, cut) for cut in CUTS[:2]] + [outer.panel_mm(view) for view in views]
    figure, panels = row(sizes, right_px=BAR_PX)
    for axes, cut in zip(panels[:2], CUTS[:2], strict=True):
        draw_cut(axes, mesh, strain_ratio, cut, at, colours)
        title(axes, CUT_NAMES[cut])
    for axes, view in zip(panels[2:], views, strict=True):
        draw_coloured(axes, mesh, outer, view, strain_ratio, colours)
        title(axes, view.name)
    scale_bar(panels[0], dark=False)
    strain_bar(figure, colours)
    _mark_lesion(figure, mesh)
    share = np.count_nonzero(strain_ratio > 1) / mesh.n_elements
    note(figure, f"{where} {share:.1%} of the elements are over the limit.")
    return png(figure)


def _check(mesh: VoxelMesh, values: Float, what: str) -> None:
    if values.shape != (mesh.n_elements,):
        raise InputError(f"{values.shape} {what} for a mesh of {mesh.n_elements} elements")


def cut_indices(mesh: VoxelMesh, at_mm: ArrayLike | None = None) -> NDArray[np.int64]:
    """Layer of the mesh to cut along each axis, (3,).

    Through a world point, or else the middle of the lesion, or else where the layer holds most
    elements.
    """
    if at_mm is None and _lesion(mesh):
        at_mm = np.median(mesh.centres_mm[mesh.element_region == _lesion(mesh)], axis=0)
    if at_mm is not None:
        index = np.rint(mesh.grid.index(at_mm))
        return np.clip(index, 0, np.array(mesh.grid.shape) - 1).astype(np.int64)
    others = ((1, 2), (0, 2), (0, 1))
    return np.array([int(mesh.mask.sum(axis=axes).argmax()) for axes in others])


def cut_mm(mesh: VoxelMesh, cut: Plane) -> Size:
    """Width and height of a panel for a cut."""
    right, up, _ = PLANES[cut]
    size = np.array(mesh.grid.shape) * mesh.grid.spacing_mm
    return roomy(float(size[right]), float(size[up]))


def draw_cut(
    axes: Axes,
    mesh: VoxelMesh,
    values: Float,
    cut: Plane,
    at: NDArray[np.int64],
    colours: ScalarMappable,
) -> None:
    """Draw one layer of elements by colour, with the outline of the lesion.

    Parameters
    ----------
    axes : Axes
    mesh : VoxelMesh
    values : ndarray, (n_elements,)
    cut : "axial", "coronal" or "sagittal"
        In mesh axes.
    at : ndarray of int, (3,)
        Layer along each axis.
    colours : ScalarMappable
    """
    right, up, through = PLANES[cut]
    layer = np.take(mesh.on_grid(values, np.nan), at[through], through)
    region = np.pad(np.take(mesh.region, at[through], through), 1)
    spacing = mesh.grid.spacing_mm[[right, up]]
    size = np.array(layer.shape) * spacing
    axes.imshow(
        np.ma.masked_invalid(layer.T),
        origin="lower",
        extent=(0, size[0], 0, size[1]),
        cmap=colours.get_cmap(),
        norm=cast(Normalize, colours.norm),
        interpolation="nearest",
    )
    x, y = ((np.arange(n) - 0.5) * step for n, step in zip(region.shape, spacing, strict=True))
    axes.contour(x, y, (region > 0).T.astype(float), [0.5], colors=["#7b8794"], linewidths=0.6)
    lesion = (region == _lesion(mesh)).T.astype(float)
    if _lesion(mesh) and lesion.any():
        axes.contour(x, y, lesion, [0.5], colors=[LESION], linewidths=1.5)
    room = (np.array(cut_mm(mesh, cut)) - size) / 2
    low, high = -room, size + room
    frame(axes, (low[0], high[0]), (high[1], low[1]) if cut == "axial" else (low[1], high[1]))
    direction = mesh.grid.direction
    upward = -direction[:, up] if cut == "axial" else direction[:, up]
    orient(axes, direction[:, right], upward, dark=False)


def _lesion(mesh: VoxelMesh) -> int:
    """Region value of the lesion, 0 if the mesh has none."""
    values = [value for value, name in mesh.names.items() if name == "lesion"]
    return values[0] if values and (mesh.region == values[0]).any() else 0


def _mark_lesion(figure: Figure, mesh: VoxelMesh) -> None:
    if _lesion(mesh):
        legend(figure, [("outline of the lesion", LESION)])


def draw_coloured(
    axes: Axes,
    mesh: VoxelMesh,
    outer: Shell,
    view: View,
    values: Float,
    colours: ScalarMappable,
) -> None:
    """Paint the surface with the value of the element under each face, (n_elements,)."""
    rgb = np.asarray(colours.to_rgba(values[outer.element]))[:, :3]
    paint(axes, outer, view, rgb, ambient=0.66)
    world = mesh.grid.direction
    orient(axes, world @ np.array(view.right), world @ np.array(view.up), dark=False)


def modulus_colours(E_MPa: Float) -> ScalarMappable:
    """Logarithmic colours over the range of the moduli."""
    low, high = float(E_MPa.min()), float(E_MPa.max())
    if not low > 0:
        raise InputError(f"moduli must be positive, the lowest is {low} MPa")
    return colour_scale("viridis", LogNorm(low, max(high, 1.01 * low)))


def modulus_bar(figure: Figure, colours: ScalarMappable) -> None:
    """Colour bar with ticks at powers of ten, in MPa and GPa."""
    low, high = colours.get_clim()
    powers = [10.0**n for n in range(-3, 7) if low * 0.999 <= 10.0**n <= high * 1.001]
    ticks = powers if len(powers) > 1 else [low, high]
    colour_bar(figure, colours, ticks, [_pascals(x) for x in ticks], "Young's modulus")


def _pascals(value_MPa: float) -> str:
    return f"{value_MPa / 1000:.3g} GPa" if value_MPa >= 1000 else f"{value_MPa:.3g} MPa"


def strain_colours() -> ScalarMappable:
    """Colours from none of the limit to the limit, red beyond."""
    return colour_scale(STRAIN_COLOURS, Normalize(0.0, 1.0))


def strain_bar(figure: Figure, colours: ScalarMappable) -> None:
    """Colour bar in per cent of the limit."""
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    names = [f"{100 * tick:.0f} %" for tick in ticks]
    colour_bar(figure, colours, ticks, names, "strain / limit", over="over the limit")

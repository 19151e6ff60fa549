"""The segmentation drawn on the CT, so that a reader can judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import ArrayLike, NDArray

from bonekit.errors import InputError
from bonekit.figures.canvas import (
    FONT,
    Size,
    canvas,
    frame,
    legend,
    note,
    orient,
    panel,
    png,
    row,
    scale_bar,
    title,
)
from bonekit.image.volume import Image, LabelMap
from bonekit.segmentation.base import BONE_REGIONS, COLOURS

Float = NDArray[np.float64]
Plane = Literal["axial", "coronal", "sagittal"]

WINDOW_HU = (-200.0, 1000.0)
MARGIN_MM = 12.0
CONVENTION = "Radiological convention: the patient's right is on the left side of the picture."
QUANTILES = (0.96, 0.74, 0.5, 0.26, 0.04)  # of the bone's volume, from the top down

# Array axes to the picture's right and up, and the one cut through.
PLANES: dict[Plane, tuple[int, int, int]] = {
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
    "axial": (0, 1, 2),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """CT and labels cropped to the bone, axes running left, back and up.

    Parameters
    ----------
    ct : Image
    labels : LabelMap
    """

    ct: Image
    labels: LabelMap

    @property
    def size_mm(self) -> Float:
        """Extent along the axes, (3,)."""
        return np.asarray(np.array(self.ct.shape) * self.ct.spacing_mm)

    def panel_mm(self, plane: Plane) -> Size:
        """Width and height of a plane."""
        right, up, _ = PLANES[plane]
        return float(self.size_mm[right]), float(self.size_mm[up])

    def index(self, point_mm: ArrayLike | None) -> NDArray[np.int64]:
        """Voxel at a world point, or in the middle of the lesion, or where planes cut most bone."""
        lesion = np.isin(self.labels.array, [v for v, n, _ in self.regions() if n == "lesion"])
        if point_mm is not None:
            index = self.ct.grid.index(point_mm)
        elif lesion.any():
            index = np.median(np.argwhere(lesion), axis=0)
        else:
            index = np.array([self.bone.sum(axis=of).argmax() for of in ((1, 2), (0, 2), (0, 1))])
        last = np.array(self.ct.shape) - 1
        return np.asarray(np.clip(np.rint(index), 0, last), dtype=np.int64)

    @property
    def bone(self) -> NDArray[np.bool_]:
        """Voxels of the bone."""
        return _bone(self.labels)

    def regions(self) -> list[tuple[int, str, tuple[float, float, float]]]:
        """Label value, readable name and colour of the regions in view."""
        present = sorted(set(np.unique(self.labels.array).tolist()) - {0})
        colours = {**COLOURS, **self.labels.colours}
        found = []
        for value in present:
            red, green, blue = colours.get(value, (200, 200, 200))
            name = self.labels.names.get(value, f"label {value}").replace("_", " ")
            found.append((value, name, (red / 255, green / 255, blue / 255)))
        return found


def scene(ct: Image, labels: LabelMap, margin_mm: float = MARGIN_MM) -> Scene:
    """Crop to the bone with a margin.

    Raises
    ------
    InputError
        If the labels lie on another grid than the CT, or hold no bone.
    """
    if not ct.grid.same_as(labels.grid):
        raise InputError("CT and labels lie on different grids: resample the labels first")
    ct, labels = ct.canonical(), labels.canonical()
    bone = _bone(labels)
    if not bone.any():
        raise InputError(f"the labels hold no bone: none of {', '.join(BONE_REGIONS)} is present")
    margin = np.ceil(margin_mm / ct.spacing_mm).astype(int)
    index = np.argwhere(bone)
    low, high = index.min(axis=0) - margin, index.max(axis=0) + margin + 1
    return Scene(ct.crop(low, high), labels.crop(low, high))


def _bone(labels: LabelMap) -> NDArray[np.bool_]:
    return labels.mask(*[name for name in BONE_REGIONS if name in labels.names.values()])


def draw_plane(axes: Axes, view: Scene, plane: Plane, index: int) -> None:
    """Draw one plane of the CT in grey with the outline of each region.

    Parameters
    ----------
    axes : Axes
    view : Scene
    plane : "axial", "coronal" or "sagittal"
    index : int
        Of the voxels along the third axis.
    """
    right, up, through = PLANES[plane]
    spacing, shape = view.ct.spacing_mm, view.ct.shape
    low = (0.0, 0.0)
    high = shape[right] * spacing[right], shape[up] * spacing[up]
    ct = np.take(view.ct.array, index, axis=through)
    axes.imshow(
        ct.T,
        cmap="gray",
        vmin=WINDOW_HU[0],
        vmax=WINDOW_HU[1],
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        interpolation="bilinear",
    )
    _outlines(axes, view, plane, index)
    # An axial plane is seen from the feet: the back is down.
    frame(axes, (low[0], high[0]), (high[1], low[1]) if plane == "axial" else (low[1], high[1]))
    direction = view.ct.grid.direction
    upward = -direction[:, up] if plane == "axial" else direction[:, up]
    orient(axes, direction[:, right], upward, dark=True)
    scale_bar(axes, dark=True)


def _outlines(axes: Axes, view: Scene, plane: Plane, index: int) -> None:
    right, up, through = PLANES[plane]
    labels = np.take(view.labels.array, index, axis=through)
    x = (np.arange(-1, labels.shape[0] + 1) + 0.5) * view.ct.spacing_mm[right]
    y = (np.arange(-1, labels.shape[1] + 1) + 0.5) * view.ct.spacing_mm[up]
    for value, name, colour in view.regions():
        mask = np.pad(labels == value, 1).astype(np.float64)
        if mask.any():
            width = 1.6 if name == "lesion" else 1.1
            lines = axes.contour(x, y, mask.T, [0.5], colors=[colour], linewidths=width)
            if name == "lesion":
                lines.set(path_effects=[withStroke(linewidth=3.0, foreground="white"), Normal()])
                lines.set_zorder(3)


def overlay(ct: Image, labels: LabelMap, centre_mm: ArrayLike | None = None) -> bytes:
    """Three planes through a point with the outlines of the regions, all at one scale.

    Parameters
    ----------
    ct : Image
        In HU.
    labels : LabelMap
        On the grid of the CT, with the names of `segmentation.base.REGIONS`.
    centre_mm : array_like, (3,), optional
        World point that the planes go through; by default the middle of the lesion, and without
        one that of the bone.

    Returns
    -------
    bytes
        PNG. Axial seen from the feet, coronal from the front, sagittal from the left: the
        patient's right is on the left side, the front is up or left.
    """
    view = scene(ct, labels)
    at = view.index(centre_mm)
    figure, panels = row([view.panel_mm(plane) for plane in PLANES], highest_px=560)
    for axes, (plane, (*_, through)) in zip(panels, PLANES.items(), strict=True):
        draw_plane(axes, view, plane, int(at[through]))
        title(axes, plane.capitalize())
    blank = view.size_mm[1] < 0.75 * view.size_mm[2]
    entries = [(name, colour) for _, name, colour in view.regions()]
    legend(figure, entries, panels[2] if blank else None)
    note(figure, CONVENTION)
    return png(figure)


def levels(ct: Image, labels: LabelMap) -> bytes:
    """Five axial planes from the top of the bone down, and a coronal plane that shows where.

    The levels divide the bone's volume evenly, so they are closer where the bone is thick.

    Parameters
    ----------
    ct : Image
        In HU.
    labels : LabelMap
        On the grid of the CT.

    Returns
    -------
    bytes
        PNG, 3 by 2 panels; the axial ones are at one scale.
    """
    view = scene(ct, labels)
    at = level_indices(view)
    top = int(np.flatnonzero(view.bone.any(axis=(0, 1))).max())
    width, height = view.panel_mm("axial")
    wide = (1000 - 2 * 16) / 3
    tall = wide * height / width
    if tall > 420:
        wide, tall = 420 * width / height, 420.0
    left = (1000 - 3 * wide - 32) / 2
    figure = canvas(1000, 2 * (tall + 26) + 34)
    for n, k in enumerate(at):
        place = left + n % 3 * (wide + 16), 26 + n // 3 * (tall + 26)
        axes = panel(figure, *place, wide, tall)
        draw_plane(axes, view, "axial", k)
        title(axes, f"{n + 1}   {(top - k) * view.ct.spacing_mm[2]:.0f} mm below the top")
    _locator(panel(figure, left + 2 * (wide + 16), 52 + tall, wide, tall), view, at)
    legend(figure, [(name, colour) for _, name, colour in view.regions()])
    note(figure, CONVENTION)
    return png(figure)


def level_indices(view: Scene) -> list[int]:
    """Slices that divide the volume of the bone, from the top down, (5,)."""
    share = np.cumsum(view.bone.sum(axis=(0, 1)))
    return [int(np.searchsorted(share, q * share[-1])) for q in QUANTILES]


def _locator(axes: Axes, view: Scene, at: list[int]) -> None:
    """Coronal plane with the numbered levels as lines."""
    draw_plane(axes, view, "coronal", int(view.index(None)[1]))
    title(axes, "Levels")
    width = view.panel_mm("coronal")[0]
    for n, k in enumerate(at):
        height = (k + 0.5) * view.ct.spacing_mm[2]
        axes.axhline(height, color="white", lw=0.7, ls=(0, (4, 3)))
        axes.text(
            0.97 * width,
            height,
            str(n + 1),
            color="white",
            fontsize=8,
            fontfamily=FONT,
            ha="right",
            va="bottom",
        )

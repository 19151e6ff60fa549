"""Pictures of an evaluation: bad cases, reliability of probabilities, FROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.figures.canvas import FONT, INK, MUTED, frame, legend, note, orient, png, row, title
from bonekit.figures.overlay import CONVENTION, PLANES, Plane
from bonekit.image.volume import Grid, Image

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFERENCE, PREDICTION = "#2fa86b", "#e4572e"
LINES = ("#2f6f9f", "#d1495b", "#66a182", "#b07d2b", "#6c5b9e", "#44515f")
MARGIN_MM = 25.0


def worst_case(image: Image | None, reference: Mask, prediction: Mask, grid: Grid) -> bytes:
    """Three planes through the largest piece of the difference, with both outlines.

    Parameters
    ----------
    image : Image, optional
        Drawn behind, in grey, where it lies on `grid`.
    reference, prediction : ndarray of bool, (ni, nj, nk)
        On canonical axes.
    grid : Grid
        Of both.
    """
    difference = reference != prediction
    at = _middle(difference if difference.any() else reference)
    low, high = _box(reference | prediction, at, grid)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grey = image.array[box].astype(float) if image is not None else np.zeros(reference[box].shape)
    size = (high - low) * grid.spacing_mm
    sizes = [(float(size[right]), float(size[up])) for right, up, _ in PLANES.values()]
    figure, panels = row(sizes, highest_px=300)
    window = np.percentile(grey, [1.0, 99.0])
    for axes, (plane, (_, _, through)) in zip(panels, PLANES.items(), strict=True):
        index = int(at[through] - low[through])
        _plane(axes, plane, index, grey, window, grid)
        for mask, colour in ((reference, REFERENCE), (prediction, PREDICTION)):
            _outline(axes, np.take(mask[box], index, axis=through), plane, grid, colour)
        title(axes, plane.capitalize())
    legend(figure, [("Reference", REFERENCE), ("Prediction", PREDICTION)])
    note(figure, CONVENTION)
    return png(figure)


def _middle(mask: Mask) -> NDArray[np.int64]:
    """Voxel of the largest piece that lies nearest to its centre; the image's middle if empty."""
    numbered, count = ndimage.label(mask)
    if not count:
        return np.array(mask.shape) // 2
    largest = np.bincount(numbered.ravel())[1:].argmax() + 1
    index = np.argwhere(numbered == largest)
    nearest = np.linalg.norm(index - index.mean(axis=0), axis=1).argmin()
    return np.asarray(index[nearest])


def _box(
    mask: Mask, at: NDArray[np.int64], grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part of the image to show: the region, or what is near the place if that is more."""
    index = np.vstack([np.argwhere(mask), at[None]])
    margin = np.ceil(MARGIN_MM / grid.spacing_mm).astype(int)
    low = np.maximum(index.min(axis=0) - margin, 0)
    return low, np.minimum(index.max(axis=0) + margin + 1, grid.shape)


def _plane(axes: Axes, plane: Plane, index: int, grey: Float, window: Float, grid: Grid) -> None:
    right, up, through = PLANES[plane]
    size = np.array(grey.shape) * grid.spacing_mm
    axes.imshow(
        np.take(grey, index, axis=through).T,
        cmap="gray",
        vmin=window[0],
        vmax=max(window[1], window[0] + 1),
        origin="lower",
        extent=(0, size[right], 0, size[up]),
        interpolation="nearest",
    )
    axial = plane == "axial"  # seen from the feet: the back is down
    frame(axes, (0, size[right]), (size[up], 0) if axial else (0, size[up]))
    upward = -grid.direction[:, up] if axial else grid.direction[:, up]
    orient(axes, grid.direction[:, right], upward, dark=True)


def _outline(axes: Axes, mask: Mask, plane: Plane, grid: Grid, colour: str) -> None:
    right, up, _ = PLANES[plane]
    x = (np.arange(-1, mask.shape[0] + 1) + 0.5) * grid.spacing_mm[right]
    y = (np.arange(-1, mask.shape[1] + 1) + 0.5) * grid.spacing_mm[up]
    if mask.any():
        padded = np.pad(mask, 1).astype(float)
        axes.contour(x, y, padded.T, [0.5], colors=[colour], linewidths=1.2)


def reliability_diagram(curves: Mapping[str, tuple[Float, Float]]) -> bytes:
    """Share that came true over the predicted probability.

    Parameters
    ----------
    curves : mapping of str to (predicted, true)
        Means of each bin that holds something, (m,).
    """
    figure, axes = _chart("Predicted probability", "Share that is true")
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls="--")
    for (name, (predicted, true)), colour in zip(curves.items(), _colours(curves), strict=True):
        axes.plot(predicted, true, color=colour, marker="o", ms=4, lw=1.6, label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    return _finished(figure, axes)


def froc_curves(curves: Mapping[str, tuple[Float, Float]]) -> bytes:
    """Sensitivity over false lesions per subject.

    Parameters
    ----------
    curves : mapping of str to (false per subject, sensitivity)
    """
    figure, axes = _chart("False lesions per subject", "Sensitivity")
    for (name, (false, sensitivity)), colour in zip(curves.items(), _colours(curves), strict=True):
        axes.step([0, *false], [0, *sensitivity], where="post", color=colour, lw=1.8, label=name)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    return _finished(figure, axes)


def _chart(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 4.2), dpi=160)
    axes = figure.add_axes((0.13, 0.14, 0.82, 0.82))
    axes.set_xlabel(x, fontfamily=FONT, color=INK)
    axes.set_ylabel(y, fontfamily=FONT, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e9ee", lw=0.6)
    return figure, axes


def _finished(figure: Figure, axes: Axes) -> bytes:
    axes.legend(frameon=False, prop={"family": FONT, "size": 8}, loc="lower right")
    return png(figure)


def _colours(curves: Mapping[str, object]) -> list[str]:
    return [LINES[number % len(LINES)] for number in range(len(curves))]

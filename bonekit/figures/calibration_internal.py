"""Where the patient's tissues were sampled, and how their HU fit to tabulated attenuation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from bonekit.calibration.attenuation import attenuation
from bonekit.calibration.internal import InternalFit
from bonekit.figures.canvas import (
    FONT,
    INK,
    MUTED,
    Size,
    canvas,
    frame,
    legend,
    note,
    orient,
    panel,
    png,
    scale_bar,
    title,
    write,
)
from bonekit.image.volume import Image, LabelMap

TISSUE_COLOURS = {
    "air": "#5aa9e6",
    "adipose": "#f2c14e",
    "muscle": "#d1495b",
    "blood": "#7b2d8b",
    "cortical_bone": "#2a9d8f",
}
WINDOW_HU = (-250.0, 1500.0)
OPACITY = 0.55
WIDE_PX, HEAD_PX, FOOT_PX = 1000.0, 30.0, 34.0
SLICE_PX, LOWEST_PX, HIGHEST_PX = 290.0, 330.0, 420.0  # of a slice and of the whole row

Mask = NDArray[np.bool_]


def internal_calibration_figure(ct: Image, fit: InternalFit, masks: Mapping[str, Mask]) -> bytes:
    """Draw two slices with the sampled tissues, and HU over attenuation with the residuals.

    Parameters
    ----------
    ct : Image
        In HU.
    fit : InternalFit
    masks : mapping of str to ndarray of bool, (ni, nj, nk)
        Where the tissues were sampled: `find_tissues`, and the user's.

    Returns
    -------
    bytes
        PNG.
    """
    image, labels = ct.canonical(), _labels(ct, fit, masks).canonical()
    size = _size_mm(image)
    scale = min(SLICE_PX / size[0], HIGHEST_PX / size[1])
    tall = max(scale * size[1], LOWEST_PX)
    figure = canvas(WIDE_PX, HEAD_PX + tall + FOOT_PX)
    left = 0.0
    for k, name in _slices(labels):
        axes = panel(figure, left, HEAD_PX, scale * size[0], scale * size[1])
        _draw_slice(axes, image, labels, k)
        title(axes, name)
        left += scale * size[0] + 14
    left, wide = left + 58, WIDE_PX - left - 72
    _draw_fit(panel(figure, left, HEAD_PX, wide, tall - 150), fit)
    _draw_residuals(panel(figure, left, HEAD_PX + tall - 96, wide, 76), fit)
    legend(figure, [(_name(s.tissue), TISSUE_COLOURS[s.tissue]) for s in fit.samples])
    note(figure, "bars: one standard error, with what is not known of the tissue")
    return png(figure)


def _name(tissue: str) -> str:
    return tissue.replace("_", " ")


def _labels(ct: Image, fit: InternalFit, masks: Mapping[str, Mask]) -> LabelMap:
    """Put the masks of the fitted tissues into one array, numbered as in `TISSUE_COLOURS`."""
    array = np.zeros(ct.shape, np.uint8)
    used = {sample.tissue for sample in fit.samples}
    for value, name in enumerate(TISSUE_COLOURS, 1):
        if name in used and name in masks:
            array[masks[name]] = value
    return LabelMap(array, ct.grid)


def _size_mm(ct: Image) -> Size:
    width, height, _ = np.array(ct.shape) * ct.spacing_mm
    return float(width), float(height)


def _slices(labels: LabelMap) -> list[tuple[int, str]]:
    """Choose the slice with most compact bone, and the one where most of soft tissue is found."""
    bone = list(TISSUE_COLOURS).index("cortical_bone") + 1
    hard = (labels.array == bone).sum(axis=(0, 1))
    names = [list(TISSUE_COLOURS).index(name) + 1 for name in ("adipose", "muscle")]
    # the scarcer of fat and muscle decides, so that both are to be seen
    soft = np.min([(labels.array == value).sum(axis=(0, 1)) for value in names], axis=0)
    first, second = int(hard.argmax()), int(soft.argmax())
    place = {k: labels.grid.world((0, 0, k))[2] for k in (first, second)}
    return [
        (first, f"most compact bone, z {place[first]:.0f} mm"),
        (second, f"fat and muscle, z {place[second]:.0f} mm"),
    ]


def _draw_slice(axes: Axes, ct: Image, labels: LabelMap, k: int) -> None:
    """Draw an axial slice as seen from the feet, with the sampled tissues in colour."""
    width, height = _size_mm(ct)
    low, high = WINDOW_HU
    grey = np.clip((ct.array[:, :, k].T - low) / (high - low), 0, 1)
    picture = np.repeat(grey[..., None], 3, axis=2)
    for value, colour in enumerate(TISSUE_COLOURS.values(), 1):
        inside = np.equal(labels.array[:, :, k].T, value)
        picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * np.array(to_rgb(colour))
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    frame(axes, (0, width), (height, 0))
    axes_of = ct.grid.direction
    orient(axes, axes_of[:, 0], -axes_of[:, 1], dark=True)
    scale_bar(axes, dark=True)


def _draw_fit(axes: Axes, fit: InternalFit) -> None:
    """Draw measured HU over linear attenuation at the effective energy."""
    axes.set_axis_on()
    energy = fit.effective_energy_keV
    line = np.array([0.0, 1.12 * float(attenuation("cortical_bone", energy))])
    water, air = (float(attenuation(name, energy)) for name in ("water", "air"))
    shown = fit.gain * 1000 * (line - water) / (water - air) + fit.offset_HU
    axes.plot(line, shown, color=INK, lw=1, zorder=1)
    for sample in fit.samples:
        mu = float(attenuation(sample.tissue, energy))
        _point(axes, mu, sample.mean_HU, sample.error_HU, sample.tissue)
        axes.annotate(
            f"{_name(sample.tissue)}  {sample.mean_HU:.0f} HU",
            (mu, sample.mean_HU),
            (-12, 0) if sample.tissue == "cortical_bone" else _beside(sample.tissue),
            textcoords="offset points",
            ha="right" if sample.tissue == "cortical_bone" else "left",
            va="center",
            fontsize=8,
            fontfamily=FONT,
            color=INK,
        )
    _dress(axes, f"linear attenuation at {energy:.1f} keV, 1/cm", "measured HU")
    per = 100 * fit.slope_error / fit.slope
    text = (
        f"{energy:.1f} ± {fit.effective_energy_error_keV:.1f} keV\nR² {fit.r2:.5f}\n"
        f"{1000 * fit.slope:.3f} mg/cm³ per HU ± {per:.1f} %"
    )
    write(axes, 0.03, 0.97, text, va="top", linespacing=1.5)
    title(axes, "measured over tabulated")


def _beside(tissue: str) -> Size:
    """Place of a label: fat and muscle lie close together."""
    return {"adipose": (10.0, -9.0), "muscle": (10.0, 0.0), "blood": (10.0, 10.0)}.get(
        tissue, (10.0, 0.0)
    )


def _draw_residuals(axes: Axes, fit: InternalFit) -> None:
    """Draw measured minus expected HU of each tissue."""
    axes.set_axis_on()
    axes.axhline(0, color=INK, lw=0.8, zorder=1)
    for place, sample in enumerate(fit.samples):
        _point(axes, place, sample.residual_HU, sample.error_HU, sample.tissue)
        axes.annotate(
            f"{sample.residual_HU:+.0f} ± {sample.error_HU:.0f}",
            (place, sample.residual_HU),
            (7, 3),
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            fontfamily=FONT,
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    _dress(axes, "", "residual, HU")
    axes.set_xlim(-0.4, len(fit.samples) - 0.3)
    axes.set_xticks(range(len(fit.samples)), [_name(s.tissue) for s in fit.samples])
    axes.margins(y=0.15)


def _point(axes: Axes, x: float, y: float, error: float, tissue: str) -> None:
    colour = TISSUE_COLOURS[tissue]
    axes.errorbar(x, y, error, fmt="o", ms=6, color=colour, mec="white", mew=0.7, elinewidth=1.6)


def _dress(axes: Axes, x: str, y: str) -> None:
    """Axes in the style of the other pictures: no box, small grey ticks."""
    axes.set_xlabel(x, fontsize=8, color=INK, fontfamily=FONT)
    axes.set_ylabel(y, fontsize=8, color=INK, fontfamily=FONT)
    axes.tick_params(labelsize=7.5, colors=MUTED, labelcolor=INK, labelfontfamily=FONT, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    axes.grid(visible=True, color=MUTED, alpha=0.15, lw=0.6)

"""Where the calibration rods were found, and the line through them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from bonekit.calibration import LineFit
from bonekit.figures.canvas import INK, MUTED, canvas, png
from bonekit.image.volume import Image

ROD = "#d1495b"


def calibration_figure(ct: Image, fit: LineFit) -> bytes:
    """Draw the middle slice with the rods, and density over HU with twice its standard error.

    Parameters
    ----------
    ct : Image
        In HU.
    fit : LineFit

    Returns
    -------
    bytes
        PNG.
    """
    figure = canvas(1000, 440)
    _draw_slice(figure.add_axes((0.02, 0.04, 0.45, 0.88)), ct.canonical(), fit)
    _draw_line(figure.add_axes((0.56, 0.14, 0.42, 0.78)), fit)
    return png(figure)


def _draw_slice(axes: Axes, ct: Image, fit: LineFit) -> None:
    """Draw the slice through the rods' middle as seen from the feet."""
    steps = ct.spacing_mm
    k = (ct.shape[2] - 1) // 2
    size = np.array(ct.shape[:2]) * steps[:2]
    plane = np.clip(ct.array[:, :, k].T, -300, 700)
    extent = (0.0, float(size[0]), float(size[1]), 0.0)
    axes.imshow(plane, cmap="gray", extent=extent, interpolation="nearest")
    for n, rod in enumerate(fit.rods, 1):
        i, j, _ = ct.grid.index(rod.centre_mm)
        centre = ((i + 0.5) * steps[0], (j + 0.5) * steps[1])
        style = "-" if rod.seen else ":"
        axes.add_patch(Circle(centre, rod.diameter_mm / 2, fill=False, edgecolor=ROD, ls=style))
        axes.text(*centre, str(n), color=ROD, ha="center", va="center", fontsize=7)
    axes.set_axis_off()
    axes.set_title(f"Rods, from the patient's {fit.first}; dotted: not seen", fontsize=9, color=INK)


def _draw_line(axes: Axes, fit: LineFit) -> None:
    low, high = fit.range_HU
    hu = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 50)
    density = fit.slope * hu + fit.intercept
    (a, b), (_, c) = fit.covariance
    error = 2 * np.sqrt(np.maximum(a * hu**2 + 2 * b * hu + c, 0))
    axes.fill_between(hu, density - error, density + error, color=MUTED, alpha=0.3, lw=0)
    axes.plot(hu, density, color=INK, lw=1)
    measured = [rod.mean_HU for rod in fit.rods]
    known = fit.slope * np.array(measured) + fit.intercept - np.array(fit.residuals_g_cm3)
    axes.plot(measured, known, "o", color=ROD, ms=5)
    axes.set_xlabel("HU", fontsize=8, color=INK)
    axes.set_ylabel(f"{fit.table.kind} density, g/cm3", fontsize=8, color=INK)
    axes.tick_params(labelsize=7)
    r2 = f"R2 {fit.r2:.5f}" if len(fit.rods) > 2 else "two rods, no residuals"
    axes.set_title(f"{fit.slope:.4g} HU {fit.intercept:+.3g}, {r2}", fontsize=9)

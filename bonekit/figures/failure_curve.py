"""Force over displacement on the way to failure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bonekit.figures.canvas import FONT, INK, MUTED, png

Float = NDArray[np.float64]

CURVE, PEAK = "#2f6f9f", "#d1495b"


def failure_curve(curve_mm: Float, curve_N: Float, stiffness_N_mm: float, fell: bool) -> bytes:
    """Draw the path to failure, the elastic line beside it, and the largest force.

    Parameters
    ----------
    curve_mm, curve_N : ndarray of float, (n,)
        Displacement and force of all steps.
    stiffness_N_mm : float
        Of the elastic line.
    fell : bool
        Whether the force fell, or rose no more: else the largest force is no peak.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(10.0, 4.4), dpi=160)
    axes = figure.add_axes((0.09, 0.15, 0.87, 0.77))
    top = int(np.argmax(curve_N))
    reach = min(float(curve_mm[-1]), 1.15 * float(curve_N[top]) / stiffness_N_mm)
    axes.plot([0, reach], [0, stiffness_N_mm * reach / 1000], color=MUTED, lw=1, ls="--")
    axes.plot(curve_mm, curve_N / 1000, color=CURVE, lw=2, marker="o", ms=3)
    axes.plot(curve_mm[top], curve_N[top] / 1000, "o", color=PEAK, ms=8)
    words = f"{curve_N[top] / 1000:.2f} kN" + ("" if fell else ", still rising")
    axes.annotate(
        words,
        (float(curve_mm[top]), float(curve_N[top]) / 1000),
        (0, 9),
        textcoords="offset points",
        ha="center",
        fontsize=11,
        fontweight="bold",
        fontfamily=FONT,
        color=PEAK,
    )
    axes.set_xlim(0, float(curve_mm[-1]) * 1.05)
    axes.set_ylim(0, float(curve_N[top]) / 1000 * 1.2)
    axes.set_xlabel("Displacement of the load in mm", fontfamily=FONT, color=INK)
    axes.set_ylabel("Force in kN", fontfamily=FONT, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e9ee", lw=0.6)
    return png(figure)

"""One picture that sums a run up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonekit.fem.model import Model
from bonekit.figures.canvas import FONT, INK, MUTED, note, png, row, scale_bar, size_px, title
from bonekit.figures.load import draw_load, marks, panel_mm
from bonekit.figures.maps import (
    cut_indices,
    cut_mm,
    draw_coloured,
    draw_cut,
    modulus_colours,
    strain_bar,
    strain_colours,
)
from bonekit.figures.overlay import draw_plane, scene
from bonekit.figures.shell import FRONT, shell
from bonekit.image.volume import Image, LabelMap

HEAD_PX = 84


def preview(
    ct: Image,
    labels: LabelMap,
    model: Model,
    strain_ratio: NDArray[np.float64],
    *,
    headline: str = "",
    subtitle: str = "",
    at_mm: ArrayLike | None = None,
) -> bytes:
    """Segmentation, load, modulus and strain side by side.

    Parameters
    ----------
    ct : Image
        In HU.
    labels : LabelMap
        On the grid of the CT.
    model : Model
        On a mesh whose axes run to the left, back and up.
    strain_ratio : ndarray, (n_elements,)
        Strain over its limit at the strength load.
    headline, subtitle : str
        Such as ``"femur_right: 4.32 kN"`` and what it rests on.
    at_mm : array_like, (3,), optional
        World point that the CT's plane and the cut go through; by default the middle of the
        lesion.

    Returns
    -------
    bytes
        PNG.
    """
    view, mesh, outer, shown = scene(ct, labels), model.mesh, shell(model.mesh), marks(model)
    sizes = [
        view.panel_mm("coronal"),
        panel_mm(outer, shown, FRONT),
        cut_mm(mesh, "coronal"),
        outer.panel_mm(FRONT),
    ]
    figure, panels = row(sizes, 1200, highest_px=440, head_px=HEAD_PX, right_px=128, gap_px=20)
    draw_plane(panels[0], view, "coronal", int(view.index(at_mm)[1]))
    title(panels[0], "Segmentation")
    draw_load(panels[1], model, outer, shown, FRONT)
    title(panels[1], "Load case")
    scale_bar(panels[1], dark=False)
    stiffness = modulus_colours(model.E_MPa)
    draw_cut(panels[2], mesh, model.E_MPa, "coronal", cut_indices(mesh, at_mm), stiffness)
    low, high = model.E_MPa.min(), model.E_MPa.max()
    title(panels[2], f"Modulus {low:.0f} to {high:,.0f} MPa")
    draw_coloured(panels[3], mesh, outer, FRONT, strain_ratio, strain_colours())
    title(panels[3], "Strain at the strength load")
    strain_bar(figure, strain_colours())
    height = size_px(figure)[1]
    figure.text(
        0.005,
        1 - 10 / height,
        headline,
        va="top",
        fontsize=15,
        fontweight="bold",
        color=INK,
        fontfamily=FONT,
    )
    figure.text(
        0.005, 1 - 38 / height, subtitle, va="top", fontsize=8.5, color=MUTED, fontfamily=FONT
    )
    note(figure, "Research software. Not for diagnosis or treatment.")
    return png(figure)

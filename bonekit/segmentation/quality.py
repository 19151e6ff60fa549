"""Quality control of a segmented bone: what is wrong with it, in words a user can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.find import heads_of
from bonekit.anatomy.solid import solid_of
from bonekit.anatomy.sphere import directions
from bonekit.image.volume import Grid, Image
from bonekit.segmentation.base import Finding
from bonekit.segmentation.regions import METAL_HU, metal_near

Mask = NDArray[np.bool_]

METAL_ML = 0.05  # less is a clip or a calcification that saturates
ROUND = 0.6  # below, the head is not a head; below 0.75 it is flattened or badly cut out
FEMUR_ML = (60.0, 400.0)  # proximal femur with some shaft
NECK_SHAFT_DEG = (105.0, 150.0)
NO_FEMUR_DEG = (90.0, 165.0)  # no neck is bent so: head or shaft axis is wrong
OBLIQUE_MM = 40.0  # of shaft that an oblique end of the image may cost


@dataclass(frozen=True)
class Quality:
    """Findings and the measures behind them."""

    findings: tuple[Finding, ...]
    measures: dict[str, float]


def check_pieces(mask: Mask, grid: Grid) -> list[Finding]:
    """Find fault with a mask that falls apart."""
    label, n = ndi.label(mask)
    if n < 2:
        return []
    ml = np.sort(np.bincount(label.ravel())[1:])[::-1] * grid.voxel_mm3 / 1000.0
    rest = float(ml[1:].sum() / ml.sum())
    if rest < 0.01:
        return []
    text = (
        f"the mask falls into {n} pieces; all but the largest ({ml[0]:.1f} ml) hold "
        f"{100 * rest:.0f} % of it and are left out. Check the mask"
    )
    return [Finding("error" if rest > 0.2 else "warning", "pieces", text)]


def check_heads(mask: Mask, grid: Grid) -> list[Finding]:
    """Find fault with a mask that holds the heads of two femora."""
    heads = heads_of(solid_of(mask, grid))
    if len(heads) < 2:
        return []
    away = float(np.linalg.norm(heads[0].centre_mm - heads[1].centre_mm))
    text = (
        f"the mask holds {len(heads)} femoral heads, {away:.0f} mm apart: it is of two bones. "
        "Give a mask of one"
    )
    return [Finding("error", "two-bones", text)]


def check_metal(ct: Image, mask: Mask, allowed: bool) -> list[Finding]:
    """Find metal in or near a bone."""
    ml = metal_near(ct, mask)
    if ml < METAL_ML:
        return []
    text = (
        f"{ml:.1f} ml of metal (above {METAL_HU:.0f} HU, up to {ct.array.max():.0f} HU) lie in the "
        "bone or within 10 mm of it: a prosthesis, nail or screw. Its streaks falsify the density "
        "and its stiffness is not modelled. "
    )
    if allowed:
        text += "Simulated all the same, as was asked: metal counts as the densest bone"
        return [Finding("warning", "metal", text)]
    return [Finding("error", "metal", text + "Choose another bone, or pass --allow-metal")]


def check_femur(mask: Mask, grid: Grid, anatomy: FemurAnatomy) -> Quality:
    """Find fault with a femur: cut by the field of view, not round, odd in size.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        On the grid of the whole scan.
    grid : Grid
    anatomy : FemurAnatomy
    """
    volume_ml = float(np.count_nonzero(mask) * grid.voxel_mm3 / 1000.0)
    visible = head_visible(anatomy, grid)
    measures = {
        "volume_ml": volume_ml,
        "head_radius_mm": anatomy.head_radius_mm,
        "head_visible": visible,
        "neck_shaft_angle_deg": anatomy.neck_shaft_angle_deg,
        "offset_mm": anatomy.offset_mm,
        "shaft_length_mm": anatomy.shaft_length_mm,
    }
    findings = [
        *_head_cut(visible),
        *_trochanter_cut(mask, grid, anatomy),
        *_shaft(anatomy),
        *_size(volume_ml, anatomy),
    ]
    return Quality(tuple(findings), measures)


def head_visible(anatomy: FemurAnatomy, grid: Grid) -> float:
    """Fraction of the volume of the head's sphere that lies in the field of view."""
    radius = anatomy.head_radius_mm * np.linspace(0.1, 1.0, 10)
    shells = directions(400)[:, None] * radius[:, None]
    index = grid.index(anatomy.head_centre_mm + shells)
    inside = ((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=-1)
    return float(np.average(inside.mean(axis=0), weights=radius**2))


def _head_cut(visible: float) -> list[Finding]:
    if visible > 0.98:
        return []
    text = f"{100 * (1 - visible):.0f} % of the femoral head lies outside the image. "
    if visible < 0.6:
        return [
            Finding("error", "head-cut", text + "The head carries the load: use a larger field")
        ]
    more = "The load rests on the part in view: read the strength as that of an incomplete bone"
    return [Finding("warning", "head-cut", text + more)]


def _trochanter_cut(mask: Mask, grid: Grid, anatomy: FemurAnatomy) -> list[Finding]:
    """Area of bone at the border of the image, above the shaft and away from the head."""
    border = np.ones(mask.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    points = grid.world(np.argwhere(mask & border))
    if len(points) == 0:
        return []
    from_head = np.linalg.norm(points - anatomy.head_centre_mm, axis=1)
    above = anatomy.height_mm(points) > max(anatomy.flare_mm, anatomy.distal_mm + 15.0)
    here = above & (from_head > anatomy.head_radius_mm + 3.0)
    area_mm2 = float(np.count_nonzero(here) * grid.voxel_mm3 / grid.spacing_mm.mean())
    if area_mm2 < 50.0:
        return []
    text = (
        f"the trochanteric region is cut by the border of the image over about "
        f"{area_mm2 / 100:.1f} cm2. "
    )
    if area_mm2 < 400.0:
        return [Finding("warning", "trochanter-cut", text + "The bone is weaker for it")]
    return [Finding("error", "trochanter-cut", text + "Use a larger field of view")]


def _shaft(anatomy: FemurAnatomy) -> list[Finding]:
    length = anatomy.shaft_length_mm
    if anatomy.distal_mm > OBLIQUE_MM:
        text = (
            "the border of the image cuts the femur lengthwise: the lowest complete cross-section "
            f"lies {anatomy.distal_mm:.0f} mm above the end of the bone. Use a larger field of view"
        )
        return [Finding("error", "shaft-cut", text)]
    if length >= 30.0:
        note = f"{length:.0f} mm of shaft below the trochanteric flare are in view"
        return [Finding("note", "shaft-length", note)]
    text = (
        "the femur is cut just below the trochanters: less than 30 mm of shaft are in view. "
        "The shaft axis is taken from the scan's head-foot axis and the bone is held close to "
        "where it is loaded: stiffness and strength are overestimated"
    )
    return [Finding("warning", "shaft-short", text)]


def _size(volume_ml: float, anatomy: FemurAnatomy) -> list[Finding]:
    found = []
    severity: Literal["error", "warning"]
    if not FEMUR_ML[0] <= volume_ml <= FEMUR_ML[1]:
        text = (
            f"the femur has {volume_ml:.0f} ml; a proximal femur has "
            f"{FEMUR_ML[0]:.0f} to {FEMUR_ML[1]:.0f} ml. Check the segmentation"
        )
        severity = "error" if volume_ml < FEMUR_ML[0] / 2 else "warning"
        found.append(Finding(severity, "volume", text))
    angle = anatomy.neck_shaft_angle_deg
    if anatomy.shaft_length_mm > 0 and not NECK_SHAFT_DEG[0] <= angle <= NECK_SHAFT_DEG[1]:
        text = (
            f"the neck-shaft angle is {angle:.0f} degrees, outside "
            f"{NECK_SHAFT_DEG[0]:.0f} to {NECK_SHAFT_DEG[1]:.0f}: check head and shaft axis"
        )
        severity = "warning" if NO_FEMUR_DEG[0] <= angle <= NO_FEMUR_DEG[1] else "error"
        found.append(Finding(severity, "neck-shaft-angle", text))
    return found


def check_head(roundness: float) -> list[Finding]:
    """Find fault with a head that is not round.

    Parameters
    ----------
    roundness : float
        Fraction of the head's surface, away from the neck, within 2.5 mm of its sphere.
    """
    if roundness >= 0.75:
        return []
    text = (
        f"only {100 * roundness:.0f} % of the femoral head's surface lies on its sphere: it is "
        "deformed, or badly separated from the acetabulum. Look at the overlays"
    )
    return [Finding("error" if roundness < ROUND else "warning", "head-not-round", text)]

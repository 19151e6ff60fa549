"""Where in a bone a lesion lies: anatomical regions, height along the axis, side of the axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, body_region
from bonekit.lesions.sites import Around, around_neck, around_shaft, neck_base_mm

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

HEAD_END = 0.75  # head radii down the neck: where a neck of 0.66 of the head's radius leaves it
LESSER_MM = 18.0  # height of the lesser trochanter over the flare of the shaft
SUBTROCHANTERIC_MM = 50.0  # under the lesser trochanter (common definition; unverified)
PEDICLE_MM = 12.0  # length of the pedicles behind the body
CENTRAL = 0.4  # share of the largest sector under which a lesion is on no side
NECK_SECTORS = ("inferior", "anterior", "superior", "posterior")
SHAFT_SECTORS = ("medial", "anterior", "lateral", "posterior")
VERTEBRA_SECTORS = ("anterior", "left", "posterior", "right")


@dataclass(frozen=True)
class Location:
    """Where a lesion lies.

    Parameters
    ----------
    region : str
        That holds most of it: head, neck, greater_trochanter, lesser_trochanter,
        intertrochanteric, subtrochanteric or shaft of a femur; body, left_pedicle, right_pedicle
        or posterior_elements of a vertebra.
    regions : mapping of str to float
        Share of the lesion in each region it reaches: near halves, the region is uncertain.
    axial_mm : tuple of float, (2,), or None
        Lowest and highest point. Femur: along the shaft axis over the flare of the shaft, about
        the lower end of the lesser trochanter; None where too little shaft is in view to know its
        axis. Vertebra: along the body's axis over its middle.
    sector : str
        Side of the axis that holds most of it, or "central". Femur: medial, anterior, lateral,
        posterior; of head and neck inferior, anterior, superior, posterior of the neck's axis.
        Vertebra: anterior, left, posterior, right of the body's axis.
    sectors : mapping of str to float
        Share of the lesion in each quarter.
    """

    region: str
    regions: Mapping[str, float]
    axial_mm: tuple[float, float] | None
    sector: str
    sectors: Mapping[str, float]


def locate(points_mm: Float, anatomy: FemurAnatomy | VertebraAnatomy) -> Location:
    """Tell where the voxels of a lesion lie.

    Regions are cut by planes and distances from the landmarks, see `femur_regions` and
    `vertebra_regions`.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
        World coordinates of the lesion's voxels, n > 0.
    anatomy : FemurAnatomy or VertebraAnatomy
    """
    if isinstance(anatomy, FemurAnatomy):
        regions = _shares(femur_regions(points_mm, anatomy))
        region = _largest(regions)
        at_neck = region in ("head", "neck")
        around = around_neck(anatomy) if at_neck else around_shaft(anatomy)
        sectors = _quarters(points_mm, around, NECK_SECTORS if at_neck else SHAFT_SECTORS)
        height = around_shaft(anatomy).height_mm(points_mm) - anatomy.flare_mm
        known = anatomy.shaft_length_mm > 0
        axial = (float(height.min()), float(height.max())) if known else None
        return Location(region, regions, axial, _side(sectors), sectors)
    regions = _shares(vertebra_regions(points_mm, anatomy))
    left = anatomy.frame[:, 0]
    around = Around(anatomy.body_centre_mm, anatomy.axis, anatomy.anterior, left)
    sectors = _quarters(points_mm, around, VERTEBRA_SECTORS)
    height = around.height_mm(points_mm)
    axial = (float(height.min()), float(height.max()))
    return Location(_largest(regions), regions, axial, _side(sectors), sectors)


def femur_regions(points_mm: Float, anatomy: FemurAnatomy) -> Mapping[str, Mask]:
    """Tell points of a femur apart by region; each belongs to one.

    Head: up to 0.75 of its radius down the neck. Neck: from there to one shaft radius short of the
    shaft's axis. The rest by height along the shaft: over the crossing of both axes and lateral,
    greater trochanter; behind and medial within 18 mm over the flare, off the shaft's cylinder,
    lesser trochanter; else over the flare intertrochanteric, 50 mm under it subtrochanteric,
    shaft below. The bounds are bonekit's.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
    anatomy : FemurAnatomy

    Returns
    -------
    mapping of str to ndarray of bool, (n,)
    """
    down = (points_mm - anatomy.head_centre_mm) @ anatomy.neck_axis
    head = down < HEAD_END * anatomy.head_radius_mm
    neck = ~head & (down < neck_base_mm(anatomy))
    rest = ~head & ~neck
    radius = float(np.sqrt(anatomy.section_mm2 / np.pi))
    height = anatomy.height_mm(points_mm)
    across = points_mm - anatomy.shaft_point_mm
    medial, posterior = across @ anatomy.medial, across @ anatomy.frame[:, 1]
    crossing = anatomy.height_mm(
        anatomy.head_centre_mm + (neck_base_mm(anatomy) + radius) * anatomy.neck_axis
    )
    over = height - anatomy.flare_mm
    greater = rest & (height > crossing) & (medial < 0)
    lesser = (
        rest
        & ~greater
        & (np.hypot(medial, posterior) > 1.05 * radius)
        & (np.minimum(medial, posterior) > 0.2 * radius)
        & (over > 0)
        & (over < LESSER_MM)
    )
    rest &= ~greater & ~lesser
    return {
        "head": head,
        "neck": neck,
        "greater_trochanter": greater,
        "lesser_trochanter": lesser,
        "intertrochanteric": rest & (over > 0),
        "subtrochanteric": rest & (over <= 0) & (over > -SUBTROCHANTERIC_MM),
        "shaft": rest & (over <= -SUBTROCHANTERIC_MM),
    }


def vertebra_regions(points_mm: Float, anatomy: VertebraAnatomy) -> Mapping[str, Mask]:
    """Tell points of a vertebra apart by region; each belongs to one.

    Body: see `bonekit.anatomy.vertebra.body_region`. Pedicles: the upper two thirds of the 12 mm
    behind it, at the sides. All else is posterior elements. The bounds of the pedicles are
    bonekit's.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
    anatomy : VertebraAnatomy

    Returns
    -------
    mapping of str to ndarray of bool, (n,)
    """
    left, posterior, superior = np.moveaxis(anatomy.local(points_mm), -1, 0)
    body = body_region(points_mm, anatomy)
    pedicle = (
        ~body
        & (posterior > 0)
        & (posterior < anatomy.depth_mm / 2 + PEDICLE_MM)
        & (superior > -anatomy.height_mm / 6)
        & (np.abs(left) > anatomy.width_mm / 6)
        & (np.abs(left) < 0.55 * anatomy.width_mm)
    )
    return {
        "body": body,
        "left_pedicle": pedicle & (left > 0),
        "right_pedicle": pedicle & (left < 0),
        "posterior_elements": ~body & ~pedicle,
    }


def _shares(regions: Mapping[str, Mask]) -> dict[str, float]:
    return {name: float(mask.mean()) for name, mask in regions.items() if mask.any()}


def _quarters(points_mm: Float, around: Around, names: tuple[str, ...]) -> dict[str, float]:
    quarter = np.floor((around.angle_deg(points_mm) + 45.0) / 90.0).astype(int) % 4
    count = np.bincount(quarter, minlength=4) / len(points_mm)
    return {name: float(share) for name, share in zip(names, count, strict=True)}


def _largest(shares: Mapping[str, float]) -> str:
    return max(shares, key=lambda name: shares[name])


def _side(sectors: Mapping[str, float]) -> str:
    side = _largest(sectors)
    return side if sectors[side] >= CENTRAL else "central"

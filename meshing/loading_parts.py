"""Cups, caps and pads of cement that fit a bone, added to its label map.

Each part fills the columns along its load axis from the bone up to a plane across the axis. As
parts are labels, bricks and tetrahedra take them like any other region: pass
``regions=(*BONE_REGIONS, "cup")``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, body_region
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.columns import (
    Columns,
    LoadingPart,
    WithParts,
    largest_piece,
    with_part,
)
from bonekit.meshing.distance import Mask, bone_mask, distance_field
from bonekit.segmentation.base import BONE_REGIONS, PARTS

__all__ = [
    "PARTS",
    "LoadingPart",
    "WithParts",
    "along",
    "with_endplate_caps",
    "with_head_cup",
    "with_trochanter_pad",
]

Float = NDArray[np.float64]


def with_head_cup(
    labels: LabelMap,
    anatomy: FemurAnatomy,
    thickness_mm: float = 5.0,
    half_angle_deg: float = 50.0,
    direction: ArrayLike | None = None,
    regions: tuple[str, ...] = BONE_REGIONS,
) -> WithParts:
    """Put a cup on the femoral head: a cylinder that fits the head and is flat on its outside.

    Parameters
    ----------
    labels : LabelMap
    anatomy : FemurAnatomy
    thickness_mm : float
        From the top of the head to the flat face.
    half_angle_deg : float
        How far down the head the cup reaches, seen from its centre.
    direction : array_like, (3,), optional
        World direction of the force on the cup, into the bone; by default down the shaft axis.
    regions : tuple of str
        Names of the labels that make up the bone.

    Raises
    ------
    InputError
        If a number is out of range, the bone is missing, the label map has a cup already, or the
        head is not where the anatomy says.
    """
    if not 10.0 <= half_angle_deg <= 80.0:
        raise InputError(f"half_angle_deg must lie between 10 and 80, got {half_angle_deg}")
    axis = anatomy.shaft_axis if direction is None else -_unit(direction)
    angle, radius = np.radians(half_angle_deg), anatomy.head_radius_mm
    columns = Columns(
        "cup",
        anatomy.head_centre_mm,
        axis,
        radius * np.sin(angle) + 2.0,
        radius * np.cos(angle),
        1.4 * radius,
        lambda uv, top: np.linalg.norm(uv, axis=-1) <= radius * np.sin(angle),
    )
    return with_part(labels, bone_mask(labels, regions), columns, thickness_mm)


def with_endplate_caps(
    labels: LabelMap,
    anatomy: VertebraAnatomy,
    thickness_mm: float = 5.0,
    dip_mm: float = 3.0,
    regions: tuple[str, ...] = BONE_REGIONS,
) -> WithParts:
    """Put caps on both endplates, flat outside and square to the body's axis.

    Parameters
    ----------
    labels : LabelMap
    anatomy : VertebraAnatomy
    thickness_mm : float
        From the endplate's highest point to the flat face.
    dip_mm : float
        How far below the endplate's plane bone may lie and still be endplate.
    regions : tuple of str
        Names of the labels that make up the bone.

    Raises
    ------
    InputError
        As for `with_head_cup`.
    """
    bone = bone_mask(labels, regions)
    index = np.argwhere(bone)
    body = np.zeros_like(bone)
    body[tuple(index[body_region(labels.grid.world(index), anatomy)].T)] = True
    made = WithParts(labels, (), np.zeros((2, 3), dtype=np.int64))
    for name, centre, normal, sign in (
        ("cap_superior", anatomy.superior_centre_mm, anatomy.superior_normal, 1.0),
        ("cap_inferior", anatomy.inferior_centre_mm, anatomy.inferior_normal, -1.0),
    ):
        columns = _endplate(name, centre, normal, sign * anatomy.axis, anatomy, dip_mm)
        padded = np.pad(body, made.n_padded.T)
        one = with_part(made.labels, padded, columns, thickness_mm)
        made = WithParts(one.labels, (*made.parts, *one.parts), made.n_padded + one.n_padded)
    return made


def _endplate(
    name: str, centre: Float, normal: Float, axis: Float, anatomy: VertebraAnatomy, dip_mm: float
) -> Columns:
    reach = float(np.hypot(anatomy.width_mm, anatomy.depth_mm)) / 2 + 8.0
    # the plane leans over the columns by at most this much at its rim
    lean = reach * float(np.tan(np.arccos(np.clip(normal @ axis, 0.5, 1.0))))
    low, high = -dip_mm - lean, lean + 8.0
    columns = Columns(name, centre, axis, reach, low, high, lambda uv, top: top > low)

    def near_plane(uv: Float, top: Float) -> Mask:
        height = np.where(np.isfinite(top), top, 1e3)
        place = uv @ columns.axes[:, :2].T + height[..., None] * axis
        return largest_piece(ndimage.binary_closing(np.abs(place @ normal) <= dip_mm, iterations=2))

    return replace(columns, footprint=near_plane)


def with_trochanter_pad(
    labels: LabelMap,
    anatomy: FemurAnatomy,
    thickness_mm: float = 10.0,
    intrusion_mm: float = 6.0,
    direction: ArrayLike | None = None,
    regions: tuple[str, ...] = BONE_REGIONS,
) -> WithParts:
    """Put a pad on the greater trochanter, flat outside, as for a fall to the side.

    Thickness and intrusion of the defaults are those of the sideways fall of parosol-py.

    Parameters
    ----------
    labels : LabelMap
    anatomy : FemurAnatomy
    thickness_mm : float
        From the trochanter's outermost point to the flat face.
    intrusion_mm : float
        How much of the trochanter, along the axis, the pad holds.
    direction : array_like, (3,), optional
        World direction of the force on the pad, into the bone; by default medially, square to the
        shaft axis.
    regions : tuple of str
        Names of the labels that make up the bone.

    Raises
    ------
    InputError
        As for `with_head_cup`.
    """
    if not intrusion_mm > 0:
        raise InputError(f"intrusion_mm must be positive, got {intrusion_mm}")
    axis = -anatomy.medial if direction is None else -_unit(direction)
    bone = bone_mask(labels, regions)
    index = np.argwhere(bone)
    points = labels.grid.world(index)
    high = anatomy.height_mm(points) > anatomy.flare_mm  # the shaft may stick out further below
    trochanter = np.zeros_like(bone)
    trochanter[tuple(index[high].T)] = True
    outermost = points[high][np.argmax(points[high] @ axis)]
    columns = Columns(
        "pad",
        outermost,
        axis,
        40.0,
        -intrusion_mm,
        3.0 + float(labels.spacing_mm.max()),
        lambda uv, top: largest_piece(ndimage.binary_closing(top > -intrusion_mm, iterations=2)),
    )
    return with_part(labels, trochanter, columns, thickness_mm)


def _unit(vector: ArrayLike) -> Float:
    given = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(given))
    if given.shape != (3,) or not (np.isfinite(length) and length > 0):
        raise InputError(
            f"a direction must be three numbers that are not all 0, got {given.tolist()}"
        )
    return np.asarray(given / length)


def along(labels: LabelMap, axes: ArrayLike, spacing_mm: float) -> LabelMap:
    """Resample a label map to cubic voxels along chosen axes, such as those of an anatomy.

    Flat faces of parts are flat then, and thick slices leave no steps: each label is where its
    signed distance is the lowest. The bone keeps its volume.

    Parameters
    ----------
    labels : LabelMap
    axes : array_like, (3, 3)
        Unit vectors as columns.
    spacing_mm : float
    """
    direction = np.asarray(axes, dtype=np.float64)
    values = [int(value) for value in np.unique(labels.array) if value]
    if not values:
        raise InputError("the label map is empty: nothing to resample")
    inside = labels.grid.world(np.argwhere(labels.array > 0)) @ direction
    margin = float(np.linalg.norm(labels.spacing_mm)) + spacing_mm
    low, high = inside.min(axis=0) - margin, inside.max(axis=0) + margin
    n = np.ceil((high - low) / spacing_mm).astype(int) + 1
    grid = Grid.of((int(n[0]), int(n[1]), int(n[2])), spacing_mm, direction @ low, direction)
    points = grid.points()
    fields = [distance_field(labels.array == v, labels.grid, 4 * margin).at(points) for v in values]
    depth = distance_field(labels.array > 0, labels.grid, margin).at(points)
    count = round(np.count_nonzero(labels.array) * labels.grid.voxel_mm3 / spacing_mm**3)
    bone = depth <= np.partition(depth.ravel(), count)[count - 1]
    nearest = np.array(values, dtype=labels.array.dtype)[np.argmin(fields, axis=0)]
    return replace(labels, array=np.where(bone, nearest, 0).astype(labels.array.dtype), grid=grid)

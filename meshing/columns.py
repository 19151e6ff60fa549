"""Columns over a bone, filled up to a plane: how loading parts are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import Mask, distance_field
from bonekit.segmentation.base import PARTS

Float = NDArray[np.float64]
Footprint = Callable[[Float, Float], Mask]  # columns (n, n, 2) and their tops (n, n) -> which

REPLACED = ("other_bone",)  # labels that give way to a part
LEAST_CONTACT_MM2 = 50.0


@dataclass(frozen=True, eq=False)
class LoadingPart:
    """One part, and where it is to be loaded.

    Parameters
    ----------
    name : str
    label : int
    axis : ndarray, (3,)
        World unit vector from the bone to the flat outer face, square to it.
    face_mm : ndarray, (3,)
        Middle of the flat outer face.
    face_mm2 : float
        Its area.
    contact_mm2 : float
        Area of bone under the part, seen along the axis.
    thickness_mm : float
        From the bone's highest point under the part to the flat face; that is moved to faces of
        voxels where these lie along the axis.
    volume_mm3 : float
    """

    name: str
    label: int
    axis: Float
    face_mm: Float
    face_mm2: float
    contact_mm2: float
    thickness_mm: float
    volume_mm3: float


@dataclass(frozen=True, eq=False)
class WithParts:
    """A label map with loading parts.

    Parameters
    ----------
    labels : LabelMap
        Padded with background where a part leaves the image.
    parts : tuple of LoadingPart
    n_padded : ndarray of int, (2, 3)
        Voxels added before and after each axis.
    """

    labels: LabelMap
    parts: tuple[LoadingPart, ...]
    n_padded: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Where columns along an axis start and end, and which are filled."""

    name: str
    origin_mm: Float
    axis: Float
    reach_mm: float  # half the side of the square of columns
    low_mm: float  # a part begins no lower
    high_mm: float  # bone is looked for up to here
    footprint: Footprint

    @property
    def axes(self) -> Float:
        """Two unit vectors across the axis, and the axis, as columns."""
        across = np.eye(3)[np.argmin(np.abs(self.axis))]
        u = np.cross(self.axis, across)
        u /= np.linalg.norm(u)
        return np.column_stack([u, np.cross(self.axis, u), self.axis])


def with_part(labels: LabelMap, bone: Mask, columns: Columns, thickness_mm: float) -> WithParts:
    """Fill columns between a bone and a plane over it."""
    label = next(value for value, name in PARTS.items() if name == columns.name)
    _check(labels, label, columns.name, thickness_mm)
    step = float(labels.spacing_mm.min()) / 2
    top = _tops(bone, labels.grid, columns, step)
    uv = _places(columns, step)
    chosen = columns.footprint(uv, top)
    touching = chosen & (top >= columns.low_mm)
    contact = float(np.count_nonzero(touching)) * step**2
    if contact < LEAST_CONTACT_MM2:
        raise InputError(
            f"the {columns.name} would touch only {contact:.0f} mm2 of bone: the labels and the "
            "anatomy don't belong together, or the bone is cut there"
        )
    crest = float(top[touching].max())
    flat = _at_faces(crest + thickness_mm, labels, columns)
    padded, n_padded = _room(labels, columns, flat)
    part = _filled(padded, columns, uv, top, chosen, flat)
    array = np.where(part, label, padded.array).astype(padded.array.dtype)
    names = {**padded.names, label: columns.name}
    middle = columns.axes[:, :2] @ uv[chosen].mean(axis=0)
    made = LoadingPart(
        columns.name,
        label,
        columns.axis,
        columns.origin_mm + middle + flat * columns.axis,
        float(np.count_nonzero(chosen)) * step**2,
        contact,
        flat - crest,
        float(np.count_nonzero(part)) * padded.grid.voxel_mm3,
    )
    return WithParts(replace(padded, array=array, names=names), (made,), n_padded)


def _check(labels: LabelMap, label: int, name: str, thickness_mm: float) -> None:
    least = float(labels.spacing_mm.min())
    if not least <= thickness_mm <= 50.0:
        raise InputError(
            f"thickness_mm must lie between a voxel ({least:.2g} mm) and 50 mm, got {thickness_mm}"
        )
    taken = labels.names.get(label, name if (labels.array == label).any() else None)
    if taken is not None:
        raise InputError(
            f"label {label} is needed for the {name} but is in use ({taken}): give that region "
            "another value"
        )


def _places(columns: Columns, step: float) -> Float:
    """Place of each column across the axis, (n, n, 2)."""
    line = np.arange(-columns.reach_mm, columns.reach_mm + step / 2, step)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)


def _tops(bone: Mask, grid: Grid, columns: Columns, step: float) -> Float:
    """Height of the bone in each column, (n, n), minus infinity where it has none."""
    uv = _places(columns, step)
    field = distance_field(bone, grid)
    base = columns.origin_mm + uv @ columns.axes[:, :2].T
    top = np.full(uv.shape[:2], -np.inf)
    for height in np.arange(columns.low_mm - 2 * step, columns.high_mm, step):
        top[field.at(base + height * columns.axis) < 0] = height
    return np.where(np.isfinite(top), top + step / 2, top)


def _room(labels: LabelMap, columns: Columns, flat: float) -> tuple[LabelMap, NDArray[np.int64]]:
    """Pad a label map so that it holds the box of a part, with a voxel to spare."""
    side = columns.reach_mm
    corners = np.array(
        [(u, v, h) for u in (-side, side) for v in (-side, side) for h in (columns.low_mm, flat)]
    )
    index = labels.grid.index(columns.origin_mm + corners @ columns.axes.T)
    before = np.maximum(-np.floor(index.min(axis=0)).astype(int) + 1, 0)
    after = np.maximum(np.ceil(index.max(axis=0)).astype(int) + 2 - labels.shape, 0)
    affine = labels.affine.copy()
    affine[:3, 3] = labels.grid.world(-before)
    array = np.pad(labels.array, np.stack([before, after], axis=1))
    padded = replace(labels, array=array, grid=Grid(array.shape, affine))
    return padded, np.stack([before, after])


def _at_faces(flat: float, labels: LabelMap, columns: Columns) -> float:
    """Move a plane to the nearest faces of voxels, where the voxels lie along the axis."""
    cosine = columns.axis @ labels.grid.direction
    along = int(np.abs(cosine).argmax())
    if abs(cosine[along]) < 0.9999:
        return flat
    at = labels.grid.index(columns.origin_mm + flat * columns.axis)[along]
    moved = (np.floor(at) + 0.5 - at) * labels.spacing_mm[along]
    return float(flat + moved * np.sign(cosine[along]))


def _filled(
    labels: LabelMap, columns: Columns, uv: Float, top: Float, chosen: Mask, flat: float
) -> Mask:
    """Voxels of a part: over the bone, under the plane, in one piece."""
    step = float(uv[1, 0, 0] - uv[0, 0, 0])
    free = labels.array == 0
    for name in REPLACED:
        if name in labels.names.values():
            free |= labels.mask(name)
    index = np.argwhere(free)
    local = (labels.grid.world(index) - columns.origin_mm) @ columns.axes
    column = np.rint((local[:, :2] - uv[0, 0]) / step).astype(int)
    within = ((column >= 0) & (column < len(uv))).all(axis=1)
    within &= (local[:, 2] >= columns.low_mm) & (local[:, 2] <= flat)
    index, local, column = index[within], local[within], column[within]
    a, b = column.T
    # a voxel that the surface runs through belongs to the part if it isn't bone: no gap is left
    slack = float(np.linalg.norm(labels.spacing_mm)) / 2
    inside = chosen[a, b] & (local[:, 2] > top[a, b] - slack)
    part = np.zeros(labels.shape, dtype=bool)
    part[tuple(index[inside].T)] = True
    piece, _ = ndimage.label(part)
    count = np.bincount(piece.ravel())
    count[0] = 0
    return np.asarray(piece == count.argmax())


def largest_piece(flat: Mask) -> Mask:
    """Largest piece of a picture, its holes filled."""
    piece, n = ndimage.label(flat)
    if not n:
        return flat
    count = np.bincount(piece.ravel())
    count[0] = 0
    return np.asarray(ndimage.binary_fill_holes(piece == count.argmax()))

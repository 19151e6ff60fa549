"""How much of a femur's cortex a lesion destroyed: length along the bone, share of its girth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.image.volume import Grid, LabelMap
from bonekit.lesions.intact import CORTEX, RIM_MM, Intact
from bonekit.lesions.sites import Around, around_neck, around_shaft, neck_base_mm

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

HALF = 0.5  # of the cortex's thickness that must be gone where it counts as destroyed
SECTOR_DEG = 10.0  # some voxels of arc, at the radius of a shaft


@dataclass(frozen=True)
class Cortical:
    """Cortex of a femur that a lesion took.

    Parameters
    ----------
    axial_mm : float
        Length along the bone of the largest connected piece of cortex that the lesion took, along
        the neck's axis if most of it lies there, along the shaft's otherwise. After the axial
        cortical involvement of van der Linden et al. (2004, unverified: quoted from memory), which
        they read from radiographs.
    circumference : float
        Largest share of the bone's circumference, in a section across its axis, over which at
        least half of the thickness of the cortex is gone.
    width : float
        Largest share of the bone's width that the lesion takes, cortex or not, as seen from the
        front or from the side in a section across the axis.
    error_mm : float
        Resolution of the length: the larger of the voxel and of the blur's rim.
    """

    axial_mm: float
    circumference: float
    width: float
    error_mm: float


def cortical_involvement(
    lesion: Mask, labels: LabelMap, made: Intact, anatomy: FemurAnatomy
) -> Cortical:
    """Measure how much cortex a lesion of a femur took.

    Where there was cortex is not seen any more: it is where the fill of the lesion puts cortex
    (`bonekit.lesions.intact`). A blastic lesion takes cortex in the sense that it replaces it.

    Parameters
    ----------
    lesion : ndarray of bool, (ni, nj, nk)
        Of one lesion.
    labels : LabelMap
        With all lesions.
    made : Intact
        The same bone with all lesions filled.
    anatomy : FemurAnatomy
    """
    gone = lesion & made.labels.mask(CORTEX)
    step = float(labels.spacing_mm.max())
    length, girth, width = 0.0, 0.0, 0.0
    for around, part in _parts(labels, made, anatomy):
        if (lesion & part).any():
            girth = max(girth, _girth(gone & part, made.labels.mask(CORTEX) & part, around, labels))
            width = max(width, _width(lesion & part, part, around, labels.grid))
    if gone.any():
        length = _length(gone, anatomy, labels.grid)
    return Cortical(length, girth, width, max(step, RIM_MM))


def _parts(labels: LabelMap, made: Intact, anatomy: FemurAnatomy) -> Iterator[tuple[Around, Mask]]:
    """Neck with head, and the rest: each is cut across an axis of its own."""
    bone = made.labels.mask(*(n for n in made.labels.names.values() if n in (CORTEX, "trabecular")))
    index = np.argwhere(bone)
    down = (labels.grid.world(index) - anatomy.head_centre_mm) @ anatomy.neck_axis
    at_neck = down < neck_base_mm(anatomy)
    for around, chosen in ((around_neck(anatomy), at_neck), (around_shaft(anatomy), ~at_neck)):
        part = np.zeros_like(bone)
        part[tuple(index[chosen].T)] = True
        yield around, part


def _length(gone: Mask, anatomy: FemurAnatomy, grid: Grid) -> float:
    """Extent along the bone of the largest connected piece."""
    pieces, _ = ndimage.label(gone, structure=np.ones((3, 3, 3)))
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    points = grid.world(np.argwhere(pieces == largest))
    down = (points - anatomy.head_centre_mm) @ anatomy.neck_axis
    at_neck = np.median(down) < neck_base_mm(anatomy)
    axis = anatomy.neck_axis if at_neck else anatomy.shaft_axis
    # centres span a length that is short by a voxel along a grid's axis, by next to none across
    half = float(np.abs(grid.direction.T @ axis) @ grid.spacing_mm) / 2
    return float(np.ptp(points @ axis)) + half


def _levels(points_mm: Float, around: Around, step_mm: float) -> tuple[Index, Float, Float]:
    """Section of each point, and its place in it from the axis (inner, anterior)."""
    across = points_mm - around.point_mm
    level = np.floor(around.height_mm(points_mm) / step_mm).astype(np.int64)
    return level, across @ around.inner, across @ around.anterior


def _girth(gone: Mask, cortex: Mask, around: Around, labels: LabelMap) -> float:
    """Largest share of sectors, of any section, whose cortex is mostly gone."""
    if not gone.any():
        return 0.0
    index = np.argwhere(cortex)
    level, inner, anterior = _levels(
        labels.grid.world(index), around, float(labels.spacing_mm.max())
    )
    level -= level.min()
    count = np.maximum(np.bincount(level), 1)
    # about the middle of the section: a bone is not round about its axis at the trochanters
    inner = inner - (np.bincount(level, inner) / count)[level]
    anterior = anterior - (np.bincount(level, anterior) / count)[level]
    n_sectors = round(360.0 / SECTOR_DEG)
    sector = np.floor(np.degrees(np.arctan2(anterior, inner)) / SECTOR_DEG).astype(np.int64)
    cell = level * n_sectors + sector % n_sectors
    size = len(count) * n_sectors
    there = np.bincount(cell, minlength=size)
    lost = np.bincount(cell, gone[tuple(index.T)].astype(float), minlength=size)
    mostly = (lost > 0) & (lost >= HALF * there)
    sections = mostly.reshape(-1, n_sectors).sum(axis=1)
    return float(sections.max() / n_sectors)


def _width(lesion: Mask, bone: Mask, around: Around, grid: Grid) -> float:
    """Largest share of the bone's width, over sections and both views."""
    index = np.argwhere(bone)
    step = float(grid.spacing_mm.max())
    level, *views = _levels(grid.world(index), around, step)
    level -= level.min()
    inside = lesion[tuple(index.T)]
    largest = 0.0
    for view in views:
        whole = _extents(level, view, int(level.max()) + 1)
        part = _extents(level[inside], view[inside], int(level.max()) + 1)
        known = part > 0
        # a voxel more: extents are between centres of voxels
        shares = (part[known] + step) / (whole[known] + step)
        largest = max(largest, float(shares.max(initial=0.0)))
    return min(largest, 1.0)


def _extents(level: Index, place: Float, n_levels: int) -> Float:
    """Largest less smallest place in each section; negative where it has no point."""
    low, high = np.full(n_levels, np.inf), np.full(n_levels, -np.inf)
    np.minimum.at(low, level, place)
    np.maximum.at(high, level, place)
    return np.asarray(np.where(np.isfinite(low), high - low, -1.0))

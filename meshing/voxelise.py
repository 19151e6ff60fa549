"""From a label map to bricks of a chosen size."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import (
    DistanceField,
    Mask,
    bone_mask,
    bounding_box,
    distance_field,
    place,
    sub_points,
)
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import BONE_REGIONS

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]

MOST_ELEMENTS = 20_000_000
CHUNK = 1_000_000  # points interpolated at a time: bounds the memory


def voxel_mesh(
    labels: LabelMap,
    edge_mm: float,
    direction: ArrayLike | None = None,
    regions: tuple[str, ...] = BONE_REGIONS,
    threshold: float | None = None,
    corner_mm: ArrayLike | None = None,
    *,
    keep_regions: bool = True,
) -> VoxelMesh:
    """Fill the bone with cubes.

    The cubes that the bone fills best exist, as many as have its volume; a cube belongs to the
    region that has most of it. The bone between the voxels is where the interpolated signed
    distance is negative, so thick slices leave no steps. Only the largest face-connected piece is
    kept.

    Parameters
    ----------
    labels : LabelMap
    edge_mm : float
    direction : array_like, (3, 3), optional
        Unit axes of the mesh as columns, right-handed; the world axes by default.
    regions : tuple of str
        Names of the labels that make up the bone; those that the label map lacks are left out.
    threshold : float, optional
        Volume fraction, 0 < threshold <= 1, from which on a cube exists instead: at a half, cubes
        of a vertebra have up to 3 % more volume than its label, and those of a femur 1 % less.
    corner_mm : array_like, (3,), optional
        World point that a corner of the cubes falls on, near the bone or far; by default one
        corner of their box.
    keep_regions : bool
        Refuse to lose a region that is too small or thin for a cube of its own; else only warn,
        where moduli come from the image and not from the region.

    Returns
    -------
    VoxelMesh
        With the label values and names of `labels`; `VoxelMesh.n_removed` counts the bricks of
        the pieces that were dropped.

    Raises
    ------
    InputError
        If the bone is missing, the edge length does not suit it, the axes are not a rotation, or
        a region would have no cube.
    """
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise InputError(f"threshold must lie above 0 and up to 1, got {threshold}")
    mask = bone_mask(labels, regions)
    check_edge(edge_mm, mask, labels.grid)
    grid = _mesh_grid(mask, labels.grid, edge_mm, direction, corner_mm)
    field = distance_field(mask, labels.grid, edge_mm)
    if threshold is None:
        volume = np.count_nonzero(mask) * labels.grid.voxel_mm3
        exists = _best_filled(field, grid, round(volume / edge_mm**3))
    else:
        exists = _fractions(field, grid) >= threshold
    if not exists.any():
        raise InputError(
            f"no brick of {edge_mm} mm is filled by bone to {threshold or 0.5:.0%}: take a shorter "
            "edge"
        )
    exists, n_removed = _largest_piece(exists)
    values = [labels.label(name) for name in regions if name in labels.names.values()]
    region = _regions(labels, values, grid, exists)
    lost = _lost(labels, values, region, edge_mm)
    if lost and keep_regions:
        raise InputError(lost)
    if lost:
        logger.warning(lost)
    names = {value: labels.names[value] for value in values}
    return VoxelMesh(region, grid, names, n_removed)


def _lost(labels: LabelMap, values: list[int], region: NDArray[np.uint8], edge_mm: float) -> str:
    """Say which region has no cube, and where it is; nothing if all have one."""
    for value in values:
        here = labels.array == value
        if here.any() and not (region == value).any():
            volume = float(np.count_nonzero(here)) * labels.grid.voxel_mm3
            return (
                f"region {labels.names[value]!r} ({volume:.3g} mm3 near "
                f"{place(here, labels.grid)}) has no cube of {edge_mm} mm: it is too small or thin "
                "for them, or hangs apart from the bone. Take a shorter edge, correct the "
                "segmentation, or leave the region out of `regions`"
            )
    return ""


def check_edge(
    edge_mm: float,
    mask: Mask,
    grid: Grid,
    per_cube: float = 1.0,
    most: int = MOST_ELEMENTS,
) -> None:
    """Refuse an edge length that the memory or the bone can't bear.

    Parameters
    ----------
    edge_mm : float
    mask : ndarray of bool, (ni, nj, nk)
    grid : Grid
    per_cube : float
        Elements that a cube of this edge length stands for.
    most : int
        Number of elements allowed.

    Raises
    ------
    InputError
        With the smallest edge length that is allowed, or the size of the bone.
    """
    if not (np.isfinite(edge_mm) and edge_mm > 0):
        raise InputError(f"the edge length must be a positive number of mm, got {edge_mm}")
    volume = float(np.count_nonzero(mask)) * grid.voxel_mm3
    estimate = per_cube * volume / edge_mm**3
    if estimate > most:
        least = (per_cube * volume / most) ** (1 / 3)
        raise InputError(
            f"an edge length of {edge_mm} mm would make about {estimate / 1e6:.0f} million "
            f"elements of {volume / 1000:.0f} ml of bone; at most {most // 10**6} "
            f"million are allowed. Take {least:.2g} mm or more, or crop the bone"
        )
    low, high = bounding_box(mask)
    size = (high - low) * grid.spacing_mm
    if edge_mm > size.min() / 2:
        raise InputError(
            f"an edge length of {edge_mm} mm is too coarse for a bone of "
            f"{' x '.join(f'{s:.1f}' for s in size)} mm near {place(mask, grid)}: take "
            f"{size.min() / 2:.2g} mm or less"
        )


def _chunks(ijk: Int, points_each: int) -> Iterator[tuple[slice, Int]]:
    """Cut rows into parts with about `CHUNK` points, points_each for a row."""
    rows = max(CHUNK // points_each, 1)
    for start in range(0, len(ijk), rows):
        part = slice(start, start + rows)
        yield part, ijk[part]


def _mesh_grid(
    mask: Mask,
    image: Grid,
    edge_mm: float,
    direction: ArrayLike | None,
    corner_mm: ArrayLike | None,
) -> Grid:
    """Cubes that cover the box of the mask's voxels along the axes of the mesh."""
    axes = np.eye(3) if direction is None else np.asarray(direction, dtype=np.float64)
    if axes.shape != (3, 3) or np.abs(axes.T @ axes - np.eye(3)).max() > 1e-6:
        raise InputError(f"direction must be three perpendicular unit columns, got {axes.tolist()}")
    if np.linalg.det(axes) < 0:
        raise InputError("direction must be right-handed: swap two columns or turn one around")
    shell = mask & ~ndimage.binary_erosion(mask)
    centres = image.world(np.argwhere(shell)) @ axes
    half = np.abs(axes.T @ image.affine[:3, :3]).sum(axis=1) / 2
    low, high = centres.min(axis=0) - half, centres.max(axis=0) + half
    if corner_mm is not None:  # at most one edge length lower
        low -= (low - np.asarray(corner_mm, dtype=np.float64) @ axes) % edge_mm
    shape = np.maximum(np.ceil((high - low) / edge_mm - 1e-6).astype(int), 1)
    return Grid.of(tuple(shape), edge_mm, axes @ (low + edge_mm / 2), axes)


def _best_filled(field: DistanceField, grid: Grid, count: int) -> Mask:
    """Mark the bricks with the largest fractions inside; of equal ones those with deeper centres.

    None of which less than a tenth is inside, even if that leaves fewer than `count`.
    """
    fraction = _fractions(field, grid)
    ijk = np.argwhere(fraction >= 0.1)
    filled = fraction[tuple(ijk.T)]
    order = np.lexsort((field.at(grid.world(ijk)), -filled))[:count]
    if len(order):
        logger.info("bricks exist from a bone fraction of %.2f on", filled[order[-1]])
    exists = np.zeros(grid.shape, dtype=bool)
    exists[tuple(ijk[order].T)] = True
    return exists


def _fractions(field: DistanceField, grid: Grid) -> NDArray[np.float32]:
    """Volume fraction inside the zero level of each brick of a grid, (ni, nj, nk)."""
    edge = float(grid.spacing_mm[0])
    fraction = np.zeros(grid.shape, dtype=np.float32)
    near = 2.0 * edge * np.sqrt(3) / 2 + float(field.grid.spacing_mm.max())
    offsets = sub_points(points_for(field.grid, edge))
    rows = max(CHUNK // (grid.shape[1] * grid.shape[2]), 1)
    for start in range(0, grid.shape[0], rows):
        stop = min(start + rows, grid.shape[0])
        slab = np.moveaxis(np.indices((stop - start, *grid.shape[1:])), 0, -1)
        slab = slab + np.array((start, 0, 0))
        centre = field.at(grid.world(slab))
        filled = (centre < 0).astype(np.float32)
        edge_ijk = slab[np.abs(centre) < near]
        parts = [
            (field.at(grid.world(ijk[:, None, :] + offsets)) < 0).mean(axis=1)
            for _, ijk in _chunks(edge_ijk, len(offsets))
        ]
        filled[np.abs(centre) < near] = np.concatenate(parts) if parts else 0
        fraction[start:stop] = filled
    return fraction


def points_for(image: Grid, edge_mm: float) -> int:
    """Count the sub-points along a brick's edge: about two for a voxel, from 3 to 6."""
    # less a little: a ratio that is a whole number must not depend on the last digit
    return int(np.clip(np.ceil(2 * edge_mm / image.spacing_mm.min() - 1e-6), 3, 6))


def _regions(labels: LabelMap, values: list[int], grid: Grid, exists: Mask) -> NDArray[np.uint8]:
    """Label value of the region that has most of each brick, 0 where no brick exists."""
    region = np.zeros(grid.shape, dtype=np.uint8)
    values = [value for value in values if (labels.array == value).any()]
    if max(values) > 255:
        raise InputError(f"label values must be 255 or less to be regions, got {max(values)}")
    edge = float(grid.spacing_mm[0])
    fields = [distance_field(labels.array == value, labels.grid, edge) for value in values]
    ijk = np.argwhere(exists)
    centres = np.stack([field.at(grid.world(ijk)) for field in fields], axis=1)
    winner = np.argmin(centres, axis=1)
    if len(fields) > 1:
        best = np.sort(centres, axis=1)
        mixed = np.flatnonzero(best[:, 1] - best[:, 0] < 4.0 * edge)
        winner[mixed] = _most_points(fields, grid, ijk[mixed])
    region[exists] = np.array(values, dtype=np.uint8)[winner]
    return region


def _most_points(fields: list[DistanceField], grid: Grid, ijk: Int) -> Int:
    """Which field is lowest at most points of each brick, (n,)."""
    offsets = sub_points(3)
    winner = np.zeros(len(ijk), dtype=np.int64)
    for part, some in _chunks(ijk, len(offsets)):
        points = grid.world(some[:, None, :] + offsets)
        lowest = np.argmin([field.at(points) for field in fields], axis=0)
        votes = [(lowest == k).sum(axis=1) for k in range(len(fields))]
        winner[part] = np.argmax(votes, axis=0)
    return winner


def _largest_piece(exists: Mask) -> tuple[Mask, int]:
    """Largest face-connected piece and the number of bricks outside it."""
    pieces, count = ndimage.label(exists)
    if count <= 1:
        return exists, 0
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = pieces == sizes.argmax()
    n_removed = int(sizes.sum() - sizes.max())
    logger.warning("removed %d bricks in %d pieces apart from the bone", n_removed, count - 1)
    return kept, n_removed

"""Graded sizes of elements: as fine as thin walls, lesions and loads need, coarse inside."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import block_reduce

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import DistanceField, bounding_box

Float = NDArray[np.float64]

GROWTH = 0.5  # mm of edge length per mm of distance
WALL = 2.0  # edge length over the thickness of a wall
GRAIN = 0.7  # edge length over the cube root of a piece's volume
PER_CUBE = 12.0  # tetrahedra in the cube of the edge length, as measured (benchmarks/tetra.py)
MOST_TETRAHEDRA = 5_000_000
BYTES_EACH = 2_000  # of memory per tetrahedron at the peak, as measured


@dataclass(frozen=True, eq=False)
class Near:
    """A place that wants small elements: where a load or a support acts.

    Parameters
    ----------
    points_mm : ndarray of float, (n, 3)
        LPS, no further apart than the edge length.
    edge_mm : float
    """

    points_mm: Float
    edge_mm: float


def size_map(
    labels: LabelMap,
    order: Sequence[int],
    edge_mm: float,
    fine_mm: Mapping[int, float],
    near: Sequence[Near] = (),
) -> DistanceField:
    """Wanted edge length on a grid about a third of the edge length wide.

    Parameters
    ----------
    labels : LabelMap
        The bone with a margin of background.
    order : sequence of int
        Labels whose walls the mesh resolves.
    edge_mm : float
        The longest.
    fine_mm : mapping of int to float
        Edge length in certain labels.
    near : sequence of Near
    """
    size = np.full(labels.shape, edge_mm, dtype=np.float32)
    masks = [labels.array == value for value in order]
    for mask in [*masks, labels.array > 0]:
        if mask.any():
            _thin(size, mask, labels.grid, edge_mm)
    for value, fine in fine_mm.items():
        size[labels.array == value] = np.minimum(size[labels.array == value], fine)
    for place in near:
        index = np.rint(labels.grid.index(place.points_mm)).astype(int)
        at = tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)
        size[at] = np.minimum(size[at], place.edge_mm)
    return _graded(size, labels.grid, edge_mm)


def _thin(size: NDArray[np.float32], mask: NDArray[np.bool_], grid: Grid, edge_mm: float) -> None:
    """Lower the size within a region to what its walls and small pieces need."""
    low, high = bounding_box(mask)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = np.pad(mask[box], 1)
    core = (slice(1, -1),) * 3
    depth = ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm.tolist())
    window = 2 * np.ceil(edge_mm / 3 / grid.spacing_mm).astype(int) + 1
    deepest = ndimage.maximum_filter(depth, size=window.tolist())[core]
    thickness = 2 * deepest - grid.spacing_mm.min()
    piece, n = ndimage.label(inside[core])
    grain = np.cbrt(np.bincount(piece.ravel(), minlength=n + 1) * grid.voxel_mm3)
    wanted = np.minimum(WALL * thickness, GRAIN * grain[piece])
    part = size[box]
    part[mask[box]] = np.minimum(part, wanted)[mask[box]]


def _graded(size: NDArray[np.float32], grid: Grid, edge_mm: float) -> DistanceField:
    """Pool to a coarser grid by the smallest, and let the size grow no faster than allowed."""
    block = np.maximum(1, (edge_mm / 3 / grid.spacing_mm).astype(int))
    pooled = block_reduce(size, tuple(block), np.min, cval=edge_mm)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * block
    affine[:3, 3] = grid.world((block - 1) / 2)
    coarse = Grid(pooled.shape, affine)
    return DistanceField(grown(pooled, coarse), coarse)


def grown(values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Lower sizes on a grid until none is larger than `GROWTH` from another one allows."""
    step = np.float32(GROWTH * float(grid.spacing_mm.min()))
    before = np.zeros_like(values)
    while not np.array_equal(before, values):
        before = values
        values = np.minimum(values, ndimage.minimum_filter(values, size=3) + step)
    return values


def halved_near(size: DistanceField, places_mm: Float) -> DistanceField:
    """Halve the wanted edge length within two edges of places, (n, 3)."""
    off = np.asarray(cKDTree(places_mm).query(size.grid.points())[0])
    near = off < 2 * size.values
    values = np.where(near, size.values / 2, size.values).astype(np.float32)
    return DistanceField(grown(values, size.grid), size.grid)


def estimate(size: DistanceField, labels: LabelMap) -> float:
    """Guess the number of tetrahedra that a size map makes in the labels that are not zero."""
    ijk = np.argwhere(labels.array > 0)
    each = size.at(labels.grid.world(ijk)).astype(np.float64)
    return float(PER_CUBE * labels.grid.voxel_mm3 * (each**-3).sum())


def check_number(number: float, edge_mm: float) -> None:
    """Refuse a mesh that is too large for this machine, before it is begun.

    Raises
    ------
    InputError
        With the estimate, what is allowed and what to do.
    """
    memory = _memory_bytes()
    most = min(MOST_TETRAHEDRA, int(memory / BYTES_EACH))
    if number > most:
        raise InputError(
            f"an edge length of {edge_mm} mm, finer where walls are thin, would make about "
            f"{number / 1e6:.2g} million tetrahedra; at most {most / 1e6:.2g} million are allowed "
            f"(memory: {memory / 1e9:.3g} GB, {BYTES_EACH} bytes each). Take a longer edge, crop "
            "the bone, or cut out fewer interfaces"
        )


def _memory_bytes() -> float:
    """Memory of the machine, where the system tells; else what the largest mesh takes."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float(MOST_TETRAHEDRA * BYTES_EACH)

"""Points on the surface of a bone, their normals, and the densities along them: no mesh needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.measure import marching_cubes

from bonekit.cortex.profile import Profiles
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import BONE_REGIONS

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

OUT_MM, IN_MM = 5.0, 12.0  # how far profiles reach; no cortex of a femur is thicker than 10 mm
FIELD_MM, NORMAL_MM = 0.7, 1.8  # smoothing of the distance field, and of that for the normals
ASTRAY_MM = 1.5  # a sample this much nearer to another part of the surface is not of this layer
BESIDE_MM = 1.2  # blur carries other bone this far
SIDE_MM = 0.8  # of the lines beside the normal that are sampled with it
LINES = ((0.0, 0.0), (1.0, 0.0), (-0.5, 0.866), (-0.5, -0.866))


@dataclass(frozen=True, eq=False)
class Surface:
    """Points spread over the outer surface of a bone.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
        World.
    normals : ndarray, (n, 3)
        Unit, outward, world.
    """

    points_mm: Float
    normals: Float


def bone_mask(labels: LabelMap) -> Mask:
    """Voxels of the bone, all its regions together.

    Raises
    ------
    InputError
        If the label map has none of the regions of a bone, or no voxel of them.
    """
    names = [name for name in BONE_REGIONS if name in labels.names.values()]
    mask = labels.mask(*names) if names else np.zeros(labels.shape, bool)
    if not mask.any():
        raise InputError(
            f"the label map has no bone: no voxel of {', '.join(BONE_REGIONS)}; present: "
            f"{', '.join(labels.names.values()) or 'no named labels'}"
        )
    return mask


def signed_distance(mask: Mask, grid: Grid) -> Float:
    """Distance to the surface of a mask in mm, positive inside, (ni, nj, nk).

    Where the mask meets the border of the image it is taken to go on: a cut is no surface.
    """
    wide = np.pad(mask, 1, mode="edge")
    steps = grid.spacing_mm.tolist()
    inside = ndi.distance_transform_edt(wide, sampling=steps)
    outside = ndi.distance_transform_edt(~wide, sampling=steps)
    half = float(grid.spacing_mm.min()) / 2  # from voxel centres to the face between them
    field = np.where(wide, inside - half, half - outside)
    return np.asarray(field[1:-1, 1:-1, 1:-1])


def surface_of(mask: Mask, grid: Grid, spacing_mm: float) -> Surface:
    """Spread points over the surface of a mask, about one per `spacing_mm` squared.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
    grid : Grid
    spacing_mm : float
        Edge of the cells of which each gives one point.

    Raises
    ------
    InputError
        If the mask has no surface within the image.
    """
    if not mask.any() or mask.all():
        raise InputError("the mask has no surface: it is empty or fills the image")
    field = signed_distance(mask, grid)
    smooth = ndi.gaussian_filter(field, FIELD_MM / grid.spacing_mm, mode="nearest")
    if not smooth.min() < 0 < smooth.max():
        raise InputError(
            "the mask has no surface that the grid resolves: it is thinner than a voxel"
        )
    index = marching_cubes(smooth, 0.0)[0].astype(np.float64)
    cell = np.floor(index * grid.spacing_mm / spacing_mm).astype(np.int64)
    # the vertex nearest to the middle of its cell: an even spread
    off = np.linalg.norm(index * grid.spacing_mm / spacing_mm - cell - 0.5, axis=1)
    order = np.argsort(off, kind="stable")
    _, first = np.unique(cell[order], axis=0, return_index=True)
    index = index[np.sort(order[first])]
    return Surface(grid.world(index), _normals(field, grid, index))


def _normals(field: Float, grid: Grid, index: Float) -> Float:
    """Outward unit normals in the world at fractional indices."""
    wide = NORMAL_MM / grid.spacing_mm
    slopes = np.empty_like(index)
    for axis in range(3):
        order = [int(axis == a) for a in range(3)]
        slope = ndi.gaussian_filter(field, wide, order=order, mode="nearest")
        slopes[:, axis] = ndi.map_coordinates(slope, index.T, order=1, mode="nearest")
    outward = -(slopes / grid.spacing_mm) @ grid.direction.T
    return np.asarray(outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12))


def sample(
    density: DensityImage, labels: LabelMap, surface: Surface, slice_mm: float | None = None
) -> Profiles:
    """Collect the densities of the voxels along the normals of a surface.

    Nothing is interpolated, as that would blur: each sample is a voxel, at its own depth below
    the surface point along the normal. Left out are voxels beyond the bone's middle, other bone
    with what is next to it, and metal.

    Parameters
    ----------
    density : DensityImage
    labels : LabelMap
        On the same grid.
    surface : Surface
    slice_mm : float, optional
        Slice thickness; the distance of the slices by default.
    """
    grid = density.grid
    mask = bone_mask(labels)
    field = signed_distance(mask, grid)
    foreign = (labels.array != 0) & ~mask
    beside = _within(foreign, grid, BESIDE_MM) & ~mask
    along = np.arange(-OUT_MM, IN_MM, 0.8 * float(grid.spacing_mm[:2].min()))
    right, up = _across(surface.normals)
    weight, depth, value = [], [], []
    low, high = np.zeros(3, int), np.array(grid.shape) - 1
    for a, b in LINES:
        aside = SIDE_MM * (a * right + b * up)
        points = surface.points_mm + aside
        line = points[:, None] - along[None, :, None] * surface.normals[:, None]
        near = np.rint(grid.index(line)).astype(np.int64)
        seen = ((near >= low) & (near <= high)).all(axis=2)
        i, j, k = np.clip(near, low, high).reshape(-1, 3).T
        centre = grid.world(np.column_stack([i, j, k])).reshape(line.shape)
        x = -((centre - surface.points_mm[:, None]) * surface.normals[:, None]).sum(axis=2)
        to_surface = field[i, j, k].reshape(x.shape)
        own = np.abs(x) - np.abs(to_surface) < ASTRAY_MM
        weight.append(seen & own & ~beside[i, j, k].reshape(x.shape))
        depth.append(x)
        value.append(density.array[i, j, k].reshape(x.shape))
    share = np.abs(surface.normals @ grid.direction[:, 2])
    return Profiles(
        np.concatenate(depth, axis=1),
        np.concatenate(value, axis=1).astype(np.float64),
        np.concatenate(weight, axis=1).astype(np.float64),
        np.sqrt(np.maximum(1 - share**2, 0.0)),
        share,
        float(grid.spacing_mm[2] if slice_mm is None else slice_mm),
    )


def _within(mask: Mask, grid: Grid, reach_mm: float) -> Mask:
    """Voxels within a distance of a mask."""
    if not mask.any():
        return mask
    distance = ndi.distance_transform_edt(~mask, sampling=grid.spacing_mm.tolist())
    return np.asarray(distance <= reach_mm)


def _across(normals: Float) -> tuple[Float, Float]:
    """Two unit vectors perpendicular to each normal and to one another."""
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    right = np.cross(normals, least)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return right, np.cross(normals, right)

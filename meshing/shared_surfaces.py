"""Surfaces of all regions of a label map at once, with the interfaces they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import bone_mask, distance_field, place
from bonekit.meshing.shapes import nearest_label
from bonekit.meshing.smoothing import BOUND, Smoothing, measured, smoothed, with_volumes
from bonekit.meshing.surface import Surface, without_pinches
from bonekit.meshing.triangles import area_vectors
from bonekit.segmentation.base import BONE_REGIONS

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Labels = NDArray[np.uint8]

REACH_MM = 20.0  # round a region: what lies further off belongs to another
ROUNDS = 20  # of filling pinches


@dataclass(frozen=True, eq=False)
class RegionSurfaces:
    """Triangles between regions; each interface is there once.

    Parameters
    ----------
    points_mm : ndarray of float, (n_points, 3)
        LPS.
    triangles : ndarray of int, (m, 3)
    sides : ndarray of uint8, (m, 2)
        Label behind each triangle and that in front of it, where its normal points; 0 is the
        outside.
    names : mapping of int to str
    smoothing : Smoothing
    n_filled : int
        Voxels that changed their label because a region touched itself at an edge or a corner.
    """

    points_mm: Float
    triangles: Int
    sides: Labels
    names: Mapping[int, str] = field(default_factory=dict)
    smoothing: Smoothing | None = None
    n_filled: int = 0

    def of(self, *regions: str) -> Surface:
        """Collect the closed surface of one region, or of several as one body.

        Raises
        ------
        InputError
            If a region is not there.
        """
        known = {name: value for value, name in self.names.items()}
        missing = [name for name in regions if name not in known]
        if missing or not regions:
            raise InputError(f"no region {', '.join(missing)}; present: {', '.join(known)}")
        inside = np.isin(self.sides, [known[name] for name in regions])
        outward = self.triangles[inside[:, 0] & ~inside[:, 1]]
        inward = self.triangles[inside[:, 1] & ~inside[:, 0]][:, ::-1]
        under = np.concatenate(
            [
                self.sides[inside[:, 0] & ~inside[:, 1], 0],
                self.sides[inside[:, 1] & ~inside[:, 0], 1],
            ]
        )
        used, number = np.unique(np.concatenate([outward, inward]), return_inverse=True)
        names = {known[name]: name for name in regions}
        return Surface(self.points_mm[used], np.asarray(number).reshape(-1, 3), under, names)

    def interface_mm2(self, one: str, other: str) -> float:
        """Area over which two regions meet."""
        pair = sorted(value for value, name in self.names.items() if name in (one, other))
        meet = (np.sort(self.sides, axis=1) == pair).all(axis=1)
        vectors = area_vectors(self.points_mm, self.triangles[meet])
        return float(np.linalg.norm(vectors, axis=1).sum())


def region_surfaces(
    labels: LabelMap, regions: tuple[str, ...] = BONE_REGIONS, smoothing: int = 20
) -> RegionSurfaces:
    """Make the surfaces of all regions and the interfaces between them.

    By SurfaceNets (Frisken, J Comput Graph Tech 2022;11:34-54), smoothed by Taubin's passes of
    shrinking and swelling in which no node moves further than half a voxel, and given the volumes
    of their voxels by moving each interface along its normals within the same bound. Thick slices
    are first brought to cubic voxels by the labels' distance fields.

    Parameters
    ----------
    labels : LabelMap
    regions : tuple of str
        Names of the labels; those that the label map lacks are left out.
    smoothing : int
        Passes; 0 leaves the steps of the voxels.

    Raises
    ------
    InputError
        If no region is there, a label is above 255, `smoothing` is negative, or a region would be
        lost or touches itself where that can't be mended.
    """
    if smoothing < 0:
        raise InputError(f"smoothing must be 0 or more passes, got {smoothing}")
    mask = bone_mask(labels, regions)
    values = [labels.label(name) for name in regions if name in labels.names.values()]
    values = [value for value in values if (labels.array == value).any()]
    if max(values) > 255:
        raise InputError(f"label values must be 255 or less to be regions, got {max(values)}")
    array, grid = _cubic(labels, np.where(mask, labels.array, 0).astype(np.uint8), values)
    want = {value: float((array == value).sum()) * grid.voxel_mm3 for value in values}
    array, n_filled = well_composed(array, values)
    _check_kept(labels, array, values)
    _check_parted(labels, array, grid, values)
    start, triangles, sides = _nets(array, grid.spacing_mm, values)
    bound = BOUND * labels.spacing_mm
    points = start
    if smoothing:
        points = smoothed(start, triangles, smoothing, bound)
        points = with_volumes(points, start, triangles, sides, want, bound)
    names = {value: labels.names[value] for value in values}
    done = measured(points, start, triangles, sides, want, names, bound)
    if np.linalg.det(grid.direction) < 0:
        triangles = triangles[:, ::-1]
    world = points @ grid.direction.T + grid.origin_mm
    return RegionSurfaces(world, triangles, sides, names, done, n_filled)


def _check_kept(labels: LabelMap, array: Labels, values: list[int]) -> None:
    """Refuse to lose a region between slices, or to another that it touches at an edge."""
    for value in values:
        if not (array == value).any():
            raise InputError(
                f"region {labels.names[value]!r} near {place(labels.array == value, labels.grid)} "
                "is too small or thin to have a surface of its own. Correct the segmentation, or "
                "leave the region out of `regions`"
            )


def _check_parted(labels: LabelMap, array: Labels, grid: Grid, values: list[int]) -> None:
    """Refuse a region that touches itself at an edge or a corner of a voxel only."""
    for value in values:
        left = without_pinches(array == value) & (array != value)
        if left.any():
            raise InputError(
                f"region {labels.names[value]!r} touches itself only at an edge or a corner of a "
                f"voxel near {place(left, grid)}, and filling it there makes others do so: its "
                "surface would bound no solid. Correct the segmentation there, or leave the "
                "region out of `regions`"
            )


def _cubic(labels: LabelMap, array: Labels, values: list[int]) -> tuple[Labels, Grid]:
    """Labels on cubic voxels of the smallest spacing, cropped and padded with background."""
    grid = labels.grid
    field = distance_field(array > 0, grid)
    if grid.spacing_mm.max() <= 1.25 * grid.spacing_mm.min():
        low = np.rint(grid.index(field.grid.origin_mm)).astype(int)
        out = np.zeros(field.grid.shape, dtype=np.uint8)
        a, b = np.maximum(low, 0), np.minimum(low + out.shape, array.shape)
        to = tuple(slice(x, y) for x, y in zip(a - low, b - low, strict=True))
        out[to] = array[tuple(slice(x, y) for x, y in zip(a, b, strict=True))]
        return out, field.grid
    fine = field.resampled(float(grid.spacing_mm.min()))
    inside = np.argwhere(fine.values < 0)
    places = fine.grid.world(inside)
    depth = np.stack([distance_field(array == v, grid, REACH_MM).at(places) for v in values])
    out = np.zeros(fine.grid.shape, dtype=np.uint8)
    out[tuple(inside.T)] = np.array(values, dtype=np.uint8)[depth.argmin(axis=0)]
    return out, fine.grid


def well_composed(array: Labels, values: list[int]) -> tuple[Labels, int]:
    """Give voxels other labels until no region touches itself at an edge or a corner only.

    First the whole is filled, then each region, smaller ones taking from larger ones; only where
    that does not do, as between a smaller region and the outside, larger ones take too.
    """
    start = array
    order = sorted(values, key=lambda value: int((array == value).sum()))
    for _ in range(ROUNDS):
        before = array
        whole = without_pinches(array > 0)
        carrier = LabelMap(array, Grid.of(array.shape, 1.0), {})
        array = np.where(whole & (array == 0), nearest_label(carrier, values), array)
        for rank, value in enumerate(order):
            grown = without_pinches(array == value) & (array > 0)
            array = np.where(grown & ~np.isin(array, order[:rank]), value, array)
        if np.array_equal(before, array):
            array = _with_the_last_filled(array, order)
        array = array.astype(np.uint8)
        if np.array_equal(before, array):
            return array, int(np.count_nonzero(array != start))
    return array, int(np.count_nonzero(array != start))


def _with_the_last_filled(array: Labels, order: list[int]) -> Labels:
    """Fill the largest region that still touches itself, in the bone if there is anything to take.

    Nothing changes if there is none.
    """
    for value in order[::-1]:
        fill = without_pinches(array == value) & (array != value)
        if fill.any():
            inside = fill & (array > 0)
            return np.where(inside if inside.any() else fill, value, array).astype(np.uint8)
    return array


def _nets(array: Labels, spacing_mm: Float, values: list[int]) -> tuple[Float, Int, Labels]:
    """Triangles between labels in mm along the image axes, and the labels at both sides."""
    image = pv.ImageData(dimensions=array.shape, spacing=spacing_mm)
    image.point_data["labels"] = array.ravel(order="F")
    contour = image.contour_labels(
        scalars="labels", select_inputs=values, smoothing=False, output_mesh_type="triangles",
        boundary_style="all",
    )  # fmt: skip
    points = np.asarray(contour.points, dtype=np.float64)
    triangles = np.asarray(contour.regular_faces, dtype=np.int64)
    sides = np.asarray(contour.cell_data["boundary_labels"]).astype(np.int64)
    sides = np.where(np.isin(sides, values), sides, 0)
    return points, triangles, _behind_first(points, triangles, sides, array, spacing_mm)


def _behind_first(
    points: Float, triangles: Int, sides: Int, array: Labels, spacing_mm: Float
) -> Labels:
    """Order the two labels of each triangle: behind it, then in front.

    SurfaceNets' quads lie across the edge between two voxels: their triangles' normals point from
    one centre to the other.
    """
    normal = area_vectors(points, triangles)
    axis = np.abs(normal).argmax(axis=1)
    step = np.zeros_like(normal)
    rows = np.arange(len(normal))
    step[rows, axis] = np.sign(normal[rows, axis])
    behind = np.floor(points[triangles].mean(axis=1) / spacing_mm - 0.5 * step + 0.5).astype(int)
    at = array[tuple(np.clip(behind, 0, np.array(array.shape) - 1).T)]
    return np.where((at == sides[:, 0])[:, None], sides, sides[:, ::-1]).astype(np.uint8)

"""Closed triangle surfaces of a bone from its label map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import Mask, bone_mask, distance_field
from bonekit.meshing.smoothing import BOUND, Smoothing, measured, smoothed, with_volumes
from bonekit.meshing.triangles import poly_data, volume
from bonekit.segmentation.base import BONE_REGIONS

Float = NDArray[np.float64]
Int = NDArray[np.int64]
FORMATS = (".obj", ".ply", ".stl", ".vtp")


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in the world, counter-clockwise seen from outside.

    Parameters
    ----------
    points_mm : ndarray of float, (n_points, 3)
        LPS.
    triangles : ndarray of int, (n_triangles, 3)
    region : ndarray of uint8, (n_triangles,)
        Label of the region under each triangle.
    names : dict of int to str
        Region names.
    smoothing : Smoothing, optional
        How far its nodes lie from where the voxels put them, if it was made of voxels.
    """

    points_mm: Float
    triangles: Int
    region: NDArray[np.uint8]
    names: dict[int, str] = field(default_factory=dict)
    smoothing: Smoothing | None = None

    def __post_init__(self) -> None:
        if self.points_mm.ndim != 2 or self.points_mm.shape[1] != 3:
            raise InputError(f"points must be (n, 3), got {self.points_mm.shape}")
        if self.triangles.ndim != 2 or self.triangles.shape[1] != 3 or not len(self.triangles):
            raise InputError(f"triangles must be (m, 3) with m > 0, got {self.triangles.shape}")
        if self.region.shape != (len(self.triangles),):
            raise InputError(f"{self.region.shape} regions for {len(self.triangles)} triangles")

    @cached_property
    def area_vectors_mm2(self) -> Float:
        """Outward normal of each triangle times its area, (n_triangles, 3)."""
        a, b, c = np.moveaxis(self.points_mm[self.triangles], 1, 0)
        return np.asarray(np.cross(b - a, c - a) / 2)

    @property
    def area_mm2(self) -> float:
        """Area of all triangles."""
        return float(np.linalg.norm(self.area_vectors_mm2, axis=1).sum())

    @property
    def volume_mm3(self) -> float:
        """Enclosed volume by the divergence theorem; positive if the normals point outward."""
        corner = self.points_mm[self.triangles[:, 0]] - self.points_mm.mean(axis=0)
        return float(np.einsum("ij,ij->", corner, self.area_vectors_mm2) / 3)


def surface(
    labels: LabelMap, regions: tuple[str, ...] = BONE_REGIONS, smoothing: int = 30
) -> Surface:
    """Make the closed surface of the bone, cavities included.

    The mask is brought to cubic voxels where its slices are thick, contoured by SurfaceNets
    (Frisken, J Comput Graph Tech 2022;11:34-54), smoothed by passes of shrinking and swelling
    (Taubin, SIGGRAPH 1995) in which no node moves further than half a voxel, and within that bound
    moved along its normals until it has the volume of the voxels: `Surface.smoothing` has the
    numbers. Where the bone touches the border of the image it is closed there.

    Parameters
    ----------
    labels : LabelMap
    regions : tuple of str
        Names of the labels that make up the bone; those that the label map lacks are left out.
    smoothing : int
        Passes; 0 leaves the steps of the voxels.

    Returns
    -------
    Surface

    Raises
    ------
    InputError
        If the bone is missing or `smoothing` is negative.
    """
    if smoothing < 0:
        raise InputError(f"smoothing must be 0 or more passes, got {smoothing}")
    mask = bone_mask(labels, regions)
    voxels, grid = _cubic(mask, labels.grid)
    start, triangles = _surface_nets(without_pinches(voxels), grid.spacing_mm)
    points, bound = start, BOUND * labels.spacing_mm
    want = {1: float(np.count_nonzero(mask)) * labels.grid.voxel_mm3}
    sides = np.tile(np.array([1, 0], dtype=np.uint8), (len(triangles), 1))
    if smoothing:
        points = smoothed(start, triangles, smoothing, bound)
        points = with_volumes(points, start, triangles, sides, want, bound)
    done = measured(points, start, triangles, sides, want, {1: "bone"}, bound)
    world = points @ grid.direction.T + grid.origin_mm
    if np.linalg.det(grid.direction) < 0:
        triangles = triangles[:, ::-1]
    values = [labels.label(name) for name in regions if name in labels.names.values()]
    region = _region_under(world, triangles, labels, values)
    names = {value: labels.names[value] for value in values}
    return Surface(world, triangles, region, names, done)


def without_pinches(mask: Mask) -> Mask:
    """Fill the voxels at which the mask touches itself along an edge or at a corner only.

    There the surface would not be a manifold (well-composed sets: Latecki, 3D well-composed
    pictures, Graph Models Image Process 1997;59:164-172). Filling one can make another, so it is
    done until none is left.
    """
    filled = mask.copy()
    while True:
        fill = _edge_pinches(filled) | _corner_pinches(filled)
        if not fill.any():
            return filled
        filled |= fill


def _edge_pinches(mask: Mask) -> Mask:
    """Void voxels of 2x2 squares with inside at one diagonal and void at the other."""
    fill = np.zeros_like(mask)
    for axes in ((0, 1), (0, 2), (1, 2)):
        a, b, c, d = (_shifted(mask, axes, s) for s in ((0, 0), (1, 1), (0, 1), (1, 0)))
        _shifted(fill, axes, (0, 1))[...] |= a & b & ~c & ~d
        _shifted(fill, axes, (0, 0))[...] |= c & d & ~a & ~b
    return fill


def _corner_pinches(mask: Mask) -> Mask:
    """Void voxels beside 2x2x2 cubes whose inside, or void, is two opposite corners."""
    fill = np.zeros_like(mask)
    axes, corners = (0, 1, 2), list(np.ndindex(2, 2, 2))
    cubes = {corner: _shifted(mask, axes, corner) for corner in corners}
    count = np.sum(list(cubes.values()), axis=0, dtype=np.uint8)
    for corner in corners[:4]:
        opposite = (1 - corner[0], 1 - corner[1], 1 - corner[2])
        touching = (count == 2) & cubes[corner] & cubes[opposite]
        for between in (
            (1 - corner[0], corner[1], corner[2]),
            (1 - corner[0], 1 - corner[1], corner[2]),
        ):
            _shifted(fill, axes, between)[...] |= touching
        _shifted(fill, axes, corner)[...] |= (count == 6) & ~cubes[corner] & ~cubes[opposite]
    return fill


def _shifted(array: Mask, axes: Sequence[int], shift: Sequence[int]) -> Mask:
    """View without the last (shift 0) or the first (shift 1) layer along each of the axes."""
    index = [slice(None)] * array.ndim
    for axis, step in zip(axes, shift, strict=True):
        index[axis] = slice(1, None) if step else slice(None, -1)
    return array[tuple(index)]


def _cubic(mask: Mask, grid: Grid) -> tuple[Mask, Grid]:
    """Mask on cubic voxels of the smallest spacing, cropped and padded with background."""
    field = distance_field(mask, grid)
    if grid.spacing_mm.max() > 1.25 * grid.spacing_mm.min():
        field = field.resampled(float(grid.spacing_mm.min()))
    padded = np.pad(field.values < 0, 1)
    affine = field.grid.affine.copy()
    affine[:3, 3] = field.grid.world((-1, -1, -1))
    return padded, Grid(padded.shape, affine)


def _surface_nets(mask: Mask, spacing_mm: Float) -> tuple[Float, Int]:
    """Faces between inside and outside voxels as triangles, in mm along the image axes."""
    image = pv.ImageData(dimensions=mask.shape, spacing=spacing_mm)
    image.point_data["mask"] = mask.astype(np.uint8).ravel(order="F")
    contour = image.contour_labels(scalars="mask", smoothing=False, output_mesh_type="triangles")
    triangles = np.asarray(contour.regular_faces, dtype=np.int64)
    points = np.asarray(contour.points, dtype=np.float64)
    if volume(points, triangles) < 0:
        triangles = triangles[:, ::-1]
    return points, triangles


def _region_under(
    points: Float, triangles: Int, labels: LabelMap, values: list[int]
) -> NDArray[np.uint8]:
    """Label of the voxel of the bone nearest to each triangle's centre."""
    bone = np.isin(labels.array, values)
    nearest = ndimage.distance_transform_edt(
        ~bone, sampling=labels.spacing_mm.tolist(), return_distances=False, return_indices=True
    )
    index = np.rint(labels.grid.index(points[triangles].mean(axis=1))).astype(int)
    at = tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)
    return np.asarray(labels.array[tuple(axis[at] for axis in nearest)], dtype=np.uint8)


def write_surface(surface: Surface, path: Path | str) -> None:
    """Write a surface in LPS millimetres: .stl, .ply, .vtp or .obj by the suffix.

    STL, PLY and OBJ say ``SPACE=LPS`` in their header, as 3D Slicer reads and writes it. The file
    appears only when it is complete.

    Raises
    ------
    InputError
        If the suffix is none of these.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"can't write a surface as {path.name!r}; allowed: {', '.join(FORMATS)}")
    poly = poly_data(surface.points_mm, surface.triangles)
    if suffix == ".vtp":
        poly.cell_data["region"] = surface.region
        poly.field_data["SPACE"] = ["LPS"]
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{suffix}")
    try:
        poly.save(temporary)
        _say_lps(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _say_lps(path: Path) -> None:
    """Write ``SPACE=LPS`` into the header of an STL, PLY or OBJ file."""
    data = path.read_bytes()
    if path.suffix == ".stl":
        path.write_bytes(b"bonekit SPACE=LPS".ljust(80) + data[80:])
    elif path.suffix == ".ply":
        start = data.index(b"element vertex")
        path.write_bytes(data[:start] + b"comment SPACE=LPS\n" + data[start:])
    elif path.suffix == ".obj":
        path.write_bytes(b"# SPACE=LPS\n" + data)

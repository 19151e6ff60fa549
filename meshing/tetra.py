"""Conforming tetrahedral meshes of a bone and its regions.

The bone is cut out of a lattice of tetrahedra by level sets, region after region, and the result
is remeshed once for size and quality, with MMG (Dapogny, Dobrzynski and Frey, J Comput Phys
2014;262:358-378) through mmgpy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import (
    DistanceField,
    Mask,
    bone_mask,
    bounding_box,
    distance_field,
)
from bonekit.meshing.levelset import (
    Parts,
    largest_piece,
    lattice,
    level,
    remesh,
    split,
    volumes,
)
from bonekit.meshing.voxelise import check_edge
from bonekit.segmentation.base import BONE_REGIONS

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]

MOST_TETRAHEDRA = 5_000_000
PER_CUBE = 20.0  # tetrahedra in the cube of the edge length, as measured
OUTSIDE, BONE = 1000, 1001  # references beside the label values


@dataclass(frozen=True, eq=False)
class TetMesh:
    """Four-node tetrahedra in the world, faces counter-clockwise seen from outside.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
        LPS.
    tetrahedra : ndarray of int, (n_elements, 4)
        In VTK_TETRA and Abaqus C3D4 order.
    region : ndarray of uint8, (n_elements,)
        Label of each element.
    names : mapping of int to str
        Region names.
    n_removed : int
        Elements that were dropped because they hung apart from the bone.
    """

    nodes_mm: Float
    tetrahedra: Int
    region: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    n_removed: int = 0

    def __post_init__(self) -> None:
        if self.nodes_mm.ndim != 2 or self.nodes_mm.shape[1] != 3:
            raise InputError(f"nodes must be (n, 3), got {self.nodes_mm.shape}")
        if self.tetrahedra.ndim != 2 or self.tetrahedra.shape[1] != 4 or not len(self.tetrahedra):
            raise InputError(f"tetrahedra must be (m, 4) with m > 0, got {self.tetrahedra.shape}")
        if self.region.shape != (len(self.tetrahedra),):
            raise InputError(f"{self.region.shape} regions for {len(self.tetrahedra)} tetrahedra")

    @property
    def elements(self) -> Int:
        """Node numbers of each element, (n_elements, 4)."""
        return self.tetrahedra

    @property
    def world_elements(self) -> Int:
        """The same as `elements`: nodes are in the world."""
        return self.tetrahedra

    @property
    def element_region(self) -> NDArray[np.uint8]:
        """Region of each element, (n_elements,)."""
        return self.region

    @property
    def n_elements(self) -> int:
        """Number of tetrahedra."""
        return len(self.tetrahedra)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes_mm)

    @cached_property
    def centres_mm(self) -> Float:
        """World coordinates of the element centres, (n_elements, 3)."""
        return np.asarray(self.nodes_mm[self.tetrahedra].mean(axis=1))

    @cached_property
    def volumes_mm3(self) -> Float:
        """Signed volume of each element, (n_elements,)."""
        return volumes(self.nodes_mm, self.tetrahedra)


def tetra_mesh(
    labels: LabelMap,
    edge_mm: float,
    regions: tuple[str, ...] = BONE_REGIONS,
    interfaces: tuple[str, ...] | None = None,
    smoothing_voxels: float = 1.0,
) -> TetMesh:
    """Fill the bone with tetrahedra whose faces follow the boundaries between its regions.

    The surface of the bone and that of a lesion are faces of the mesh; cortex and trabecular bone
    are told apart by the voxel at each element's centre, because a cortex thinner than the edge
    length can't be meshed well. `interfaces` cuts out other regions too, from the last of
    `regions` to the first, each extended beyond the bone and the regions cut before it, so that
    one that reaches the surface meets it without slivers. The levels are chosen so that each
    region that is cut out keeps the volume of its label. One smaller than four cubes of the edge
    length is not cut out.

    Parameters
    ----------
    labels : LabelMap
    edge_mm : float
        Wanted edge length.
    regions : tuple of str
        Names of the labels that make up the bone; those that the label map lacks are left out.
    interfaces : tuple of str, optional
        Regions to cut out: the lesion, if there is one, by default; ``()`` makes one body;
        `regions` cuts out all, which suits a cortex of one edge length and more.
    smoothing_voxels : float
        Standard deviation of the Gaussian on the distance fields, in voxels.

    Returns
    -------
    TetMesh
        The same for the same input. `TetMesh.n_removed` counts what hung apart from the bone.

    Raises
    ------
    InputError
        If the bone is missing, the edge length does not suit it, or an interface is no region.
    MeshQualityError
        If MMG gives up.
    """
    unknown = set(interfaces or ()) - set(regions)
    if unknown:
        raise InputError(f"interfaces {sorted(unknown)} are not among the regions {regions}")
    mask = bone_mask(labels, regions)
    check_edge(edge_mm, mask, labels.grid, PER_CUBE, MOST_TETRAHEDRA)
    body = _smooth_field(mask, labels.grid, 3 * edge_mm, smoothing_voxels)
    parts, n_removed = _cut_body(body, edge_mm, np.count_nonzero(mask) * labels.grid.voxel_mm3)
    around = _crop(labels.with_array(np.where(mask, labels.array, 0)), mask, 2 * edge_mm)
    order = [labels.label(n) for n in regions[::-1] if n in labels.names.values()]
    cut = ("lesion",) if interfaces is None else interfaces
    wanted = [value for value in order if labels.names[value] in cut]
    parts, left = _cut_regions(parts, around, order, wanted, edge_mm, smoothing_voxels)
    nodes, tetrahedra, reference = remesh(parts, edge_mm)
    region = _label_rest(nodes[tetrahedra].mean(axis=1), reference, around, left)
    names = {value: labels.names[value] for value in sorted(order)}
    return TetMesh(nodes, tetrahedra, region, names, n_removed)


def _cut_body(body: DistanceField, edge_mm: float, volume_mm3: float) -> tuple[Parts, int]:
    """Cut the bone out of a lattice; return its largest piece and the size of the others."""
    nodes, tetrahedra = lattice(body, edge_mm)
    reference = np.full(len(tetrahedra), OUTSIDE)
    distance = body.at(nodes).astype(np.float64)
    distance -= level(nodes, tetrahedra, distance, volume_mm3, float(body.grid.spacing_mm.max()))
    parts = split((nodes, tetrahedra, reference), distance, OUTSIDE, BONE, OUTSIDE, edge_mm)
    nodes, tetrahedra, reference = parts
    tetrahedra = tetrahedra[reference == BONE]
    if not len(tetrahedra):
        raise InputError(f"no bone is left at an edge length of {edge_mm} mm: take a shorter one")
    kept, n_removed = largest_piece(tetrahedra)
    used, number = np.unique(tetrahedra[kept], return_inverse=True)
    tetrahedra = number.reshape(-1, 4)
    return (nodes[used], tetrahedra, np.full(len(tetrahedra), BONE)), n_removed


def _cut_regions(
    parts: Parts,
    labels: LabelMap,
    order: list[int],
    wanted: list[int],
    edge_mm: float,
    smoothing_voxels: float,
) -> tuple[Parts, list[int]]:
    """Cut one region after the other out of the body; return the labels that are left in it."""
    left = [value for value in order if (labels.array == value).any()]
    for value in [v for v in left if v in wanted]:
        volume = float(np.count_nonzero(labels.array == value)) * labels.grid.voxel_mm3
        if len(left) == 1:
            break
        if volume < 4 * edge_mm**3:
            logger.warning("%s (%.2g mm3) is too small to cut out", labels.names[value], volume)
            continue
        extended = _nearest_label(labels, left) == value
        shape = _smooth_field(extended, labels.grid, 0.0, smoothing_voxels)
        nodes, tetrahedra, reference = parts
        distance = shape.at(nodes).astype(np.float64)
        body = tetrahedra[reference == BONE]
        distance -= level(nodes, body, distance, volume, float(labels.spacing_mm.max()))
        parts = split(parts, distance, BONE, value, BONE, edge_mm)
        left.remove(value)
    return parts, left


def _label_rest(
    centres: Float, reference: Int, labels: LabelMap, left: list[int]
) -> NDArray[np.uint8]:
    """Label what was not cut out: by the voxel of `left` nearest to each element's centre."""
    rest = reference == BONE
    region = np.where(rest, left[0], reference).astype(np.uint8)
    if len(left) > 1:
        index = np.rint(labels.grid.index(centres[rest])).astype(int)
        at = tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)
        region[rest] = _nearest_label(labels, left)[at]
    return region


def _nearest_label(labels: LabelMap, values: list[int]) -> NDArray[np.integer]:
    """Extend some labels to all voxels, each by its nearest one."""
    away = ~np.isin(labels.array, values)
    nearest = ndimage.distance_transform_edt(
        away, sampling=labels.spacing_mm.tolist(), return_distances=False, return_indices=True
    )
    return np.asarray(labels.array[tuple(nearest)])


def _crop(labels: LabelMap, mask: Mask, margin_mm: float) -> LabelMap:
    """Crop to the bone and pad with background, so that a margin surrounds it everywhere."""
    low, high = bounding_box(mask)
    n = np.ceil(margin_mm / labels.spacing_mm).astype(int) + 1
    box = labels.crop(low, high)
    affine = box.affine.copy()
    affine[:3, 3] = box.grid.world(-n)
    array = np.pad(box.array, [(k, k) for k in n])
    return LabelMap(array, Grid(array.shape, affine), labels.names, labels.colours)


def _smooth_field(
    mask: Mask, grid: Grid, margin_mm: float, smoothing_voxels: float
) -> DistanceField:
    """Distance field on nearly cubic voxels, smoothed by a Gaussian."""
    shape = distance_field(mask, grid, margin_mm)
    if grid.spacing_mm.max() > 1.25 * grid.spacing_mm.min():
        shape = shape.resampled(float(grid.spacing_mm.min()))
    return DistanceField(ndimage.gaussian_filter(shape.values, smoothing_voxels), shape.grid)

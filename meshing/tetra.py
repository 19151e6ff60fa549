"""Conforming tetrahedral meshes of a bone and its regions.

The bone is cut out of a graded lattice of tetrahedra by level sets, region after region, and the
result is remeshed for size and quality with MMG. Then nodes go back onto the smooth shapes, whose
levels are moved until each region holds the volume of its label, and what elements are still out
of the limits are mended one by one; a mesh that keeps any is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import LabelMap
from bonekit.meshing.conforming import REST, PoorPlacesError, check_parts, cut, remeshed
from bonekit.meshing.distance import DistanceField
from bonekit.meshing.fidelity import P95_VOXELS, check_fidelity
from bonekit.meshing.move import Fit
from bonekit.meshing.prepare import Prepared, prepared
from bonekit.meshing.quadratic import fitted_quadratic
from bonekit.meshing.sag import bent
from bonekit.meshing.shapes import Shape, body_shape, nearest_label, region_shapes
from bonekit.meshing.sizing import (
    MOST_TETRAHEDRA,
    PER_CUBE,
    Near,
    check_number,
    estimate,
    halved_near,
    size_map,
)
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxelise import check_edge
from bonekit.segmentation.base import BONE_REGIONS

__all__ = ["Near", "TetMesh", "tetra_mesh"]

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]

FINER = (1.0, 0.8, 0.65)  # sizes of the tries, over those wanted
MOST_PLACES = 100  # that fail, for edges to be made shorter there only
SAG = 0.6  # of chords of the surface, over the distance that is allowed
LESION = 0.6  # edge length in lesions over that elsewhere, unless `fine_mm` says otherwise


def tetra_mesh(
    labels: LabelMap,
    edge_mm: float,
    regions: tuple[str, ...] = BONE_REGIONS,
    interfaces: tuple[str, ...] | None = None,
    smoothing_voxels: float = 1.0,
    *,
    fine_mm: Mapping[str, float] | None = None,
    near: Sequence[Near] = (),
    order: int = 1,
    surface_voxels: float = P95_VOXELS,
) -> TetMesh:
    """Fill the bone with tetrahedra whose faces follow the boundaries between its regions.

    The surface of the bone and the boundaries of its regions are faces of the mesh. Regions are
    cut out from the last of `regions` to the first, each extended beyond the bone and the regions
    cut before it, so that one that reaches the surface meets it without slivers. Levels are
    chosen so that each region keeps the volume of its label. Elements are up to `edge_mm` long
    inside, shorter in lesions, where walls are thin or pieces small, and where a surface bends
    more than they can follow. A mesh that fails a check is made again with shorter edges, first
    at the places where it fails if they are few, then everywhere.

    Parameters
    ----------
    labels : LabelMap
    edge_mm : float
        Longest wanted edge.
    regions : tuple of str
        Names of the labels that make up the bone, and of parts that load or support it; those
        that the label map lacks are left out.
    interfaces : tuple of str, optional
        Regions to cut out, all by default. Others are told apart by the voxel at each element's
        centre; ``()`` makes one body.
    smoothing_voxels : float
        Standard deviation of the Gaussian on the distance fields, in voxels. It moves no surface
        by more than half a voxel.
    fine_mm : mapping of str to float, optional
        Edge length in certain regions; 0.6 of `edge_mm` in the lesion by default.
    near : sequence of Near
        Places with shorter edges, where loads act.
    order : int
        1 for tetrahedra of four nodes, 2 for ten: edges of interfaces follow the smooth shapes.
    surface_voxels : float
        Allowed 95th percentile of the distances between the surface of each region and the faces
        of its voxels, both ways, along each axis in voxels (`fidelity.surface_distances`).
        Steps of voxels make up 0.2 to 0.35 of it. More allows longer edges where surfaces bend.

    Returns
    -------
    TetMesh
        The same for the same input. All its elements have a scaled Jacobian above 0.1 and
        dihedral angles within 10 to 165 degrees; most meshes reach 0.2 and 20 to 150 degrees.
        The volumes of the bone and of the regions that were cut out are within 0.01 of those of
        their voxels, 0.02 below 1 ml.

    Raises
    ------
    InputError
        If the bone or a region is missing or too small to mesh, hangs on by an edge or corner
        only, if the edge length does not suit bone or memory, or an interface is no region.
    MeshQualityError
        If elements stay outside the limits, a region would be lost, or a volume or a surface is
        further off than allowed; with numbers, names and places.
    """
    _check_arguments(edge_mm, regions, interfaces, fine_mm, order, surface_voxels)
    ready = prepared(labels, regions, regions if interfaces is None else interfaces, edge_mm)
    size = _sizes(ready, edge_mm, {"lesion": LESION * edge_mm} | dict(fine_mm or {}), near)
    bone = ready.labels
    body = body_shape(bone.array > 0, bone.grid, 3 * edge_mm, smoothing_voxels)
    shapes = [body, *region_shapes(bone, ready.order, ready.volume_mm3, smoothing_voxels)]
    for finer in FINER:
        fine = bent(_times(size, finer), shapes, bone, SAG * finer * surface_voxels)
        try:
            return _twice(ready, shapes, fine, edge_mm, order, surface_voxels)
        except MeshQualityError as error:
            logger.warning("tetrahedra at %.0f %% of the size: %s", 100 * finer, error)
            failed = error
    raise failed


def _twice(
    ready: Prepared,
    shapes: Sequence[Shape],
    size: DistanceField,
    edge_mm: float,
    order: int,
    surface_voxels: float,
) -> TetMesh:
    """Mesh, and if that fails at a few places, again with edges half as long there."""
    check_number(estimate(size, ready.labels), edge_mm)
    try:
        return _attempt(ready, shapes, size, edge_mm, order, surface_voxels)
    except PoorPlacesError as error:
        if len(error.places_mm) > MOST_PLACES:
            raise
        logger.warning("tetrahedra again with shorter edges at some places: %s", error)
        size = halved_near(size, error.places_mm)
    check_number(estimate(size, ready.labels), edge_mm)
    return _attempt(ready, shapes, size, edge_mm, order, surface_voxels)


def _times(size: DistanceField, factor: float) -> DistanceField:
    return DistanceField(np.float32(factor) * size.values, size.grid)


def _attempt(
    ready: Prepared,
    shapes: Sequence[Shape],
    size: DistanceField,
    edge_mm: float,
    order: int,
    surface_voxels: float,
) -> TetMesh:
    """Mesh once, and check all that is promised."""
    bone = ready.labels
    fit = remeshed(cut(shapes, size, edge_mm), size, float(bone.spacing_mm.min()))
    check_parts(fit.parts, fit.shapes, bone.names)
    mesh = _finished(fit, ready, order)
    check_fidelity(mesh, bone, _kept_volumes(ready), surface_voxels)
    return mesh


def _kept_volumes(ready: Prepared) -> dict[int, float]:
    """Volumes of the whole (0) and of all regions that are bounded by faces of the mesh."""
    bone = ready.labels
    whole = {0: float(np.count_nonzero(bone.array)) * bone.grid.voxel_mm3}
    kept = whole | dict(ready.volume_mm3)
    if ready.volume_mm3 and len(ready.left) == 1:
        kept[ready.left[0]] = whole[0] - sum(ready.volume_mm3.values())
    return kept


def _finished(fit: Fit, ready: Prepared, order: int) -> TetMesh:
    """Label what was not cut out, and add middle nodes if wanted."""
    nodes, tetrahedra, reference = fit.parts
    left = ready.left
    region = _label_rest(nodes[tetrahedra].mean(axis=1), reference, ready.labels, left)
    n_straight = 0
    if order == 2:
        bent = fitted_quadratic(fit, 4, 0.5 * float(ready.labels.spacing_mm.min()))
        nodes, tetrahedra, n_straight = bent.nodes_mm, bent.tetrahedra, bent.n_straight
    names = {value: ready.labels.names[value] for value in sorted(ready.order)}
    return TetMesh(nodes, tetrahedra, region, names, ready.n_removed, ready.n_merged, n_straight)


def _check_arguments(
    edge_mm: float,
    regions: tuple[str, ...],
    interfaces: tuple[str, ...] | None,
    fine_mm: Mapping[str, float] | None,
    order: int,
    surface_voxels: float,
) -> None:
    if order not in (1, 2):
        raise InputError(f"the order of the elements is 1 or 2, got {order}")
    for what, names in (("interfaces", interfaces or ()), ("fine_mm", fine_mm or ())):
        unknown = set(names) - set(regions)
        if unknown:
            raise InputError(f"{what} {sorted(unknown)} are not among the regions {regions}")
    if not surface_voxels > 0:
        raise InputError(f"`surface_voxels` must be a positive number, got {surface_voxels}")
    for length in (edge_mm, *(fine_mm or {}).values()):
        if not (np.isfinite(length) and length > 0):
            raise InputError(f"the edge length must be a positive number of mm, got {length}")


def _sizes(
    ready: Prepared, edge_mm: float, fine_mm: Mapping[str, float], near: Sequence[Near]
) -> DistanceField:
    """Size map of the regions, if bone and memory bear it."""
    bone = ready.labels
    check_edge(edge_mm, bone.array > 0, bone.grid, PER_CUBE, MOST_TETRAHEDRA)
    names = {bone.names[value]: value for value in ready.order}
    fine = {names[name]: length for name, length in fine_mm.items() if name in names}
    size = size_map(bone, ready.order[: len(ready.volume_mm3) + 1], edge_mm, fine, near)
    check_number(estimate(size, bone), edge_mm)
    return size


def _label_rest(
    centres: Float, reference: Int, labels: LabelMap, left: list[int]
) -> NDArray[np.uint8]:
    """Label what was not cut out: by the voxel of `left` nearest to each element's centre."""
    rest = reference == REST
    region = np.where(rest, left[0], reference).astype(np.uint8)
    if len(left) > 1:
        index = np.rint(labels.grid.index(centres[rest])).astype(int)
        at = tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)
        region[rest] = nearest_label(labels, left)[at]
    return region

"""How far the surfaces of a mesh lie from the boundaries of the voxels it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.distance import Mask, bounding_box
from bonekit.meshing.levelset import FACES, faces
from bonekit.meshing.quadratic import MIDDLES
from bonekit.meshing.tetmesh import TetMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

VOLUME = 0.01  # relative error of a region's volume that is allowed
SMALL_VOLUME = 0.02  # the same of regions below 1 ml
P95_VOXELS = 0.5  # of the distances of a region's surface from the faces of its voxels


def distance_p95_voxels(mesh: TetMesh, labels: LabelMap, region: str | None = None) -> float:
    """95th percentile of `surface_distances` of a region or the whole mesh, in voxels."""
    return float(np.percentile(surface_distances(mesh, labels, region, in_voxels=True), 95))


def allowed_error(volume_mm3: float) -> float:
    """Relative error allowed for a volume: 0.01, and 0.02 below 1 ml."""
    return SMALL_VOLUME if volume_mm3 < 1000 else VOLUME


def check_fidelity(
    mesh: TetMesh, labels: LabelMap, volume_mm3: Mapping[int, float], most_voxels: float
) -> None:
    """Refuse a mesh that does not keep the volumes and the surfaces of its regions.

    Parameters
    ----------
    mesh : TetMesh
    labels : LabelMap
        What it was made of.
    volume_mm3 : mapping of int to float
        Volumes to keep, of the labels to look at; 0 is the whole.
    most_voxels : float
        Allowed 95th percentile of the distances of each surface.

    Raises
    ------
    MeshQualityError
        With the names and numbers of all regions that fail.
    """
    wrong = []
    for value, wanted in volume_mm3.items():
        name = mesh.names[value] if value else None
        own = mesh.volumes_mm3[mesh.region == value] if value else mesh.volumes_mm3
        error, allowed = float(own.sum()) / wanted - 1, allowed_error(wanted)
        what = f"region {name!r}" if name else "the bone"
        if abs(error) > allowed:
            wrong.append(f"{what} has {error:+.1%} of its volume ({allowed:.0%} is allowed)")
        each, places = _distances(mesh, labels, name, in_voxels=True)
        off = float(np.percentile(each, 95))
        if off > most_voxels:
            where = ", ".join(f"{x:.1f}" for x in labels.grid.world(places[each.argmax()]))
            wrong.append(
                f"the surface of {what} is {off:.2f} voxels off at the 95th percentile "
                f"({most_voxels:g} are allowed), most near ({where}) mm: {each.max():.2f} voxels"
            )
    if wrong:
        raise MeshQualityError(
            f"the mesh does not keep the shapes of the label map: {'; '.join(wrong)}. Take a "
            "shorter edge, correct thin parts of the segmentation, or allow more by "
            "`surface_voxels`"
        )


def surface_distances(
    mesh: TetMesh, labels: LabelMap, region: str | None = None, in_voxels: bool = False
) -> Float:
    """Distances from a surface of a mesh to the faces of voxels, and back, (n,).

    From corners and middles of the faces of the mesh to the nearest point of the boundary of the
    voxels, and from the middle of each voxel face to the nearest point of the mesh. Steps of the
    voxels alone keep even the best smooth surface away by some 0.2 to 0.4 voxels at the 95th
    percentile.

    Parameters
    ----------
    mesh : TetMesh
    labels : LabelMap
    region : str, optional
        The boundary of one region; of the whole mesh by default.
    in_voxels : bool
        Measure in steps of the grid, along each axis its own, instead of millimetres.

    Raises
    ------
    InputError
        If the mesh or the label map has no such region.
    """
    return _distances(mesh, labels, region, in_voxels)[0]


def _distances(
    mesh: TetMesh, labels: LabelMap, region: str | None, in_voxels: bool
) -> tuple[Float, Float]:
    """Distances, (n,), and where they were taken, in voxels or in the world, (n, 3)."""
    known = {name: value for value, name in mesh.names.items()}
    if region is not None and region not in known:
        raise InputError(f"the mesh has no region {region!r}; it has {', '.join(known)}")
    chosen = list(known) if region is None else [region]
    mask = labels.mask(*chosen)
    if not mask.any():
        raise InputError(f"the label map has no voxel of {', '.join(chosen)}")
    triangles = _outside(mesh.tetrahedra[np.isin(mesh.region, [known[name] for name in chosen])])
    used, number = np.unique(triangles, return_inverse=True)
    grid = Grid(labels.shape, np.eye(4)) if in_voxels else labels.grid
    nodes = mesh.nodes_mm[used]
    nodes = labels.grid.index(nodes) if in_voxels else nodes
    triangle: Any = number.reshape(-1, 3)
    ours = pv.PolyData.from_regular_faces(nodes, triangle)
    theirs = _voxel_faces(mask, grid)
    points = np.concatenate([ours.points, ours.cell_centers().points])
    back = np.asarray(theirs.cell_centers().points, dtype=np.float64)
    each = np.concatenate([_apart(points, theirs), _apart(back, ours)])
    return each, np.concatenate([points, back])


def _outside(tetrahedra: Int) -> Int:
    """Triangles of the boundary; four for each face of ten-node elements."""
    corners, of = faces(tetrahedra[:, :4])
    outer = of[:, 1] < 0
    if tetrahedra.shape[1] == 4:
        return corners[outer]
    rows = tetrahedra[of[outer, 0]]
    opposite = (rows[:, :4, None] != corners[outer][:, None]).all(axis=2).argmax(axis=1)
    chosen = _FOUR[opposite].reshape(len(rows), 12)
    return np.asarray(np.take_along_axis(rows, chosen, axis=1).reshape(-1, 3))


def _quarters() -> Int:
    """Nodes of the four triangles on each face of a ten-node element, (4, 4, 3)."""
    middle = {frozenset(edge): node for node, edge in enumerate(MIDDLES.tolist(), start=4)}
    out = []
    for a, b, c in FACES.tolist():
        ab, bc, ca = (middle[frozenset(e)] for e in ((a, b), (b, c), (c, a)))
        out.append([(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)])
    return np.array(out)


_FOUR = _quarters()


def _voxel_faces(mask: Mask, grid: Grid) -> pv.PolyData:
    """Faces of voxels between inside and outside, in the world."""
    low, high = bounding_box(mask)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = np.pad(mask[box], 1)
    image = pv.ImageData(dimensions=np.array(inside.shape) + 1, origin=(low - 1.5).tolist())
    image.cell_data["inside"] = inside.ravel(order="F").astype(np.uint8)
    surface = image.threshold(0.5, scalars="inside").extract_surface(algorithm="dataset_surface")
    surface.points = grid.world(np.asarray(surface.points, dtype=np.float64))
    return cast(pv.PolyData, surface.triangulate())


def _apart(points: Float, surface: pv.PolyData) -> Float:
    nearest = cast(tuple[Int, Float], surface.find_closest_cell(points, return_closest_point=True))[
        1
    ]
    return np.asarray(np.linalg.norm(nearest - points, axis=1))

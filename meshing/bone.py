"""The voxel mesh of a segmented bone, along the bone's own axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage
from bonekit.image.volume import LabelMap
from bonekit.meshing.conserve import bone_image
from bonekit.meshing.sampling import Mesh, sample_elements
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import BONE_REGIONS, PARTS, Segmentation

Float = NDArray[np.float64]

# Places of a lattice in edges, with (0, 0, 0) half of all that are half an edge away. The cut of a
# femur stays where it is.
ACROSS = ((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.5, 0.5, 0.0))
ALL_AXES = ((0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))


def bone_mesh(
    segmentation: Segmentation,
    edge_mm: float = 1.5,
    axes: Float | None = None,
    corner_mm: Float | None = None,
) -> VoxelMesh:
    """Fill a bone with cubes along its anatomical axes (left, posterior, superior), or others.

    A femur ends at the lowest complete cross-section: a flat cut along its own axes, in steps
    along others.

    Parameters
    ----------
    segmentation : Segmentation
    edge_mm : float
    axes : ndarray, (3, 3), optional
        World unit vectors as columns, such as those of `bonekit.fem.loadcases.Loading.axes`.
    corner_mm : ndarray, (3,), optional
        World point that a corner of the cubes falls on. By default it lies in the cut of a femur:
        no bone is lost or gained there.

    Raises
    ------
    InputError
        If the edge length does not suit the bone.
    """
    anatomy = segmentation.anatomy
    axes = anatomy.frame if axes is None else axes
    if not isinstance(anatomy, FemurAnatomy):
        return voxel_mesh(
            segmentation.labels, edge_mm, axes, corner_mm=corner_mm, keep_regions=False
        )
    if corner_mm is None:
        corner_mm = anatomy.shaft_point_mm + anatomy.distal_mm * anatomy.shaft_axis
    mesh = voxel_mesh(segmentation.labels, edge_mm, axes, corner_mm=corner_mm, keep_regions=False)
    below = anatomy.height_mm(mesh.centres_mm) < anatomy.distal_mm
    region = mesh.region.copy()
    region[tuple(mesh.element_ijk[below].T)] = 0
    return replace(mesh, region=region)


def moved_meshes(mesh: VoxelMesh, segmentation: Segmentation) -> Iterator[VoxelMesh]:
    """Fill the bone again with cubes whose lattice lies half an edge away.

    Where a lattice lies is arbitrary, and decides how thin walls are cut into steps: what answers
    differ by between these three and the mesh itself is an error of the mesh.

    Parameters
    ----------
    mesh : VoxelMesh
        Of `bone_mesh`, with cement or without; the others have none.
    segmentation : Segmentation
        Of the same bone.

    Yields
    ------
    VoxelMesh
    """
    edge_mm = float(mesh.grid.spacing_mm[0])
    corner = mesh.grid.world(np.full(3, -0.5))
    for share in ACROSS if isinstance(segmentation.anatomy, FemurAnatomy) else ALL_AXES:
        moved = mesh.grid.direction @ (edge_mm * np.array(share))
        yield bone_mesh(segmentation, edge_mm, mesh.grid.direction, corner + moved)


def element_density(
    density: DensityImage, mesh: Mesh, segmentation: Segmentation, conserve: bool = True
) -> Float:
    """Mean density of the bone in each element, in g/cm3, (n_elements,); NaN in cement.

    Muscle and air don't thin the surface, and the mineral on the mesh is that in the mask: see
    `bonekit.meshing.conserve.bone_image`, also for `conserve`.

    Raises
    ------
    InputError
        If an element lies outside the image, or the density is not finite in the bone.
    """
    if not isinstance(mesh, VoxelMesh):
        return sample_elements(bone_image(density, bone_of(segmentation), mesh, conserve), mesh)
    alone = without_parts(mesh)
    found = np.full(mesh.n_elements, np.nan)
    found[~np.isin(mesh.element_region, list(PARTS))] = sample_elements(
        bone_image(density, bone_of(segmentation), alone, conserve), alone
    )
    return found


def without_parts(mesh: VoxelMesh) -> VoxelMesh:
    """Leave out what was added to load the bone; elements of bone keep their order."""
    added = np.isin(mesh.region, list(PARTS))
    return replace(mesh, region=np.where(added, 0, mesh.region)) if added.any() else mesh


def bone_of(segmentation: Segmentation) -> LabelMap:
    """All bone of a segmentation as one label, 1: what `bone_mesh` fills.

    A femur ends at the lowest complete cross-section.
    """
    labels, anatomy = segmentation.labels, segmentation.anatomy
    bone = labels.mask(*(name for name in labels.names.values() if name in BONE_REGIONS))
    if isinstance(anatomy, FemurAnatomy):
        ijk = np.argwhere(bone)
        below = anatomy.height_mm(labels.grid.world(ijk)) < anatomy.distal_mm
        bone[tuple(ijk[below].T)] = False
    return LabelMap(bone.astype(np.uint8), labels.grid, {1: "bone"})

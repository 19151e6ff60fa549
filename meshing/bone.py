"""The voxel mesh of a segmented bone, along the bone's own axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage
from bonekit.image.volume import LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import sample_elements, voxel_mesh
from bonekit.segmentation.base import BONE_REGIONS, Segmentation

Float = NDArray[np.float64]


def bone_mesh(segmentation: Segmentation, edge_mm: float = 1.5) -> VoxelMesh:
    """Fill a bone with cubes along its anatomical axes (left, posterior, superior).

    A femur is cut square to its shaft at the lowest complete cross-section.

    Parameters
    ----------
    segmentation : Segmentation
    edge_mm : float

    Raises
    ------
    InputError
        If the edge length does not suit the bone.
    """
    anatomy = segmentation.anatomy
    mesh = voxel_mesh(segmentation.labels, edge_mm, direction=anatomy.frame)
    if not isinstance(anatomy, FemurAnatomy):
        return mesh
    below = anatomy.height_mm(mesh.centres_mm) < anatomy.distal_mm
    region = mesh.region.copy()
    region[tuple(mesh.element_ijk[below].T)] = 0
    return replace(mesh, region=region)


def element_density(density: DensityImage, mesh: VoxelMesh, segmentation: Segmentation) -> Float:
    """Mean density of the bone in each element, in g/cm3, (n_elements,).

    Sub-voxel points outside the segmented bone are left out, so that muscle and air do not thin
    the surface.

    Raises
    ------
    InputError
        If an element lies outside the image.
    """
    return sample_elements(density, mesh, bone_of(segmentation))


def bone_of(segmentation: Segmentation) -> LabelMap:
    """All bone of a segmentation as one label, 1."""
    labels = segmentation.labels
    return LabelMap(np.isin(labels.array, _values(labels)).astype(np.uint8), labels.grid)


def _values(labels: LabelMap) -> list[int]:
    return [value for value, name in labels.names.items() if name in BONE_REGIONS]

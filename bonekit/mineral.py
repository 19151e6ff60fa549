"""Where the bone mineral of the scan went: in the image, in the mask, on the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage
from bonekit.image.volume import LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import BONE_REGIONS, Segmentation

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPILL_MM = 2.0  # beyond the mask: what the blur of a clinical scanner carries out of the bone
BACKGROUND_MM = 5.0  # soft tissue between both distances is what the spill is measured against


@dataclass(frozen=True)
class Content:
    """Bone of one region, in the mask or on the mesh.

    Parameters
    ----------
    mass_g : float
        Of ash.
    volume_ml : float
    """

    mass_g: float
    volume_ml: float

    @property
    def density_g_cm3(self) -> float:
        """Mean ash density; 0 of no bone."""
        return self.mass_g / self.volume_ml if self.volume_ml else 0.0


@dataclass(frozen=True)
class Mineral:
    """Ash mass at the stages of its way, over the part of the bone that was meshed.

    Parameters
    ----------
    spilled_g : float
        What the blur carried beyond the mask: within 2 mm of it, above the soft tissue around;
        other bones left out.
    mask, mesh : mapping of str to Content
        By region.
    """

    spilled_g: float
    mask: Mapping[str, Content]
    mesh: Mapping[str, Content]

    @property
    def mask_g(self) -> float:
        """Mass in the segmented voxels."""
        return sum(part.mass_g for part in self.mask.values())

    @property
    def image_g(self) -> float:
        """Mass in the segmented voxels and what was spilled around them."""
        return self.mask_g + self.spilled_g

    @property
    def mesh_g(self) -> float:
        """Mass on the mesh."""
        return sum(part.mass_g for part in self.mesh.values())


def mineral(
    density: DensityImage, segmentation: Segmentation, mesh: VoxelMesh, ash_g_cm3: Float
) -> Mineral:
    """Follow the bone mineral from the image to the mesh.

    Parameters
    ----------
    density : DensityImage
        Ash.
    segmentation : Segmentation
    mesh : VoxelMesh
    ash_g_cm3 : ndarray of float, (n_elements,)
        Mean ash density of the elements.
    """
    labels = segmentation.labels.resample(density.grid)
    meshed = _above_the_cut(labels, segmentation)
    values = {value: name for value, name in labels.names.items() if name in BONE_REGIONS}
    voxel_ml, element_ml = density.grid.voxel_mm3 / 1000, mesh.grid.voxel_mm3 / 1000
    in_mask, on_mesh = {}, {}
    for value, name in values.items():
        inside = (labels.array == value) & meshed
        in_mask[name] = _content(density.array[inside], voxel_ml)
        on_mesh[name] = _content(ash_g_cm3[mesh.element_region == value], element_ml)
    return Mineral(_spilled(density, labels, meshed), in_mask, on_mesh)


def _content(density: NDArray[np.floating], unit_ml: float) -> Content:
    return Content(float(density.sum(dtype=np.float64)) * unit_ml, density.size * unit_ml)


def _above_the_cut(labels: LabelMap, segmentation: Segmentation) -> Mask:
    """Voxels of the part of the image that is meshed: a femur ends square to its shaft."""
    anatomy = segmentation.anatomy
    if not isinstance(anatomy, FemurAnatomy):
        return np.ones(labels.shape, dtype=bool)
    ijk = np.moveaxis(np.indices(labels.shape), 0, -1)
    return np.asarray(anatomy.height_mm(labels.grid.world(ijk)) >= anatomy.distal_mm)


def _spilled(density: DensityImage, labels: LabelMap, meshed: Mask) -> float:
    """Mass around the bone above that of soft tissue."""
    bone = labels.mask(*(name for name in labels.names.values() if name in BONE_REGIONS))
    others = (labels.array > 0) & ~bone
    free = meshed & ~bone & ~_within(others, density, BACKGROUND_MM)
    reach = _distance(bone, density)
    near = free & (reach <= SPILL_MM)
    around = free & (reach > SPILL_MM) & (reach <= BACKGROUND_MM)
    if not (near.any() and around.any()):
        return 0.0
    background = float(np.median(density.array[around]))
    excess = density.array[near].astype(np.float64) - background
    return float(excess.sum()) * density.grid.voxel_mm3 / 1000


def _within(mask: Mask, density: DensityImage, reach_mm: float) -> Mask:
    if not mask.any():
        return mask
    return np.asarray(_distance(mask, density) <= reach_mm)


def _distance(mask: Mask, density: DensityImage) -> Float:
    """Distance of every voxel from the mask in mm."""
    return np.asarray(ndimage.distance_transform_edt(~mask, density.spacing_mm))

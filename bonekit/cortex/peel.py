"""Peel off the voxels that soft tissue thins, and let the density beneath grow outwards.

The simple correction: the outermost voxels of a bone hold partly soft tissue, so they look less
dense than they are. Each takes the density of a voxel beneath it. Corrections of this kind are in
use by several groups; no publication with just this procedure was found, so it is ours. It makes
mineral: it does not conserve it (`bonekit.cortex.correction` does).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from bonekit.cortex.surface import bone_mask, signed_distance
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_MM, MOST_MM = 0.2, 3.0
LESION_MM = 1.0


def peel_and_dilate(
    density: DensityImage, labels: LabelMap, *, depth_mm: float | None = None
) -> DensityImage:
    """Give the outermost voxels of a bone the density of those beneath them.

    A peeled voxel takes the density of the nearest voxel that is not peeled, where that is
    denser. A cortex that is peeled away as a whole has nothing dense beneath it: there the voxel
    takes the highest density along the inward normal, itself included, within twice the peeled
    depth. No voxel of the bone loses density.

    Parameters
    ----------
    density : DensityImage
    labels : LabelMap
        Same grid, with the names of `bonekit.segmentation.base.REGIONS`.
    depth_mm : float, optional
        Voxels whose centre lies less deep below the surface of the bone are peeled: 0.2 to 3 mm.
        One in-plane voxel by default.

    Returns
    -------
    DensityImage
        Changed in the peeled voxels only; lesions, and what is next to one, stay as they are.

    Raises
    ------
    InputError
        If the grids differ, the bone is empty, or the depth is out of bounds or peels all of it.
    """
    if not density.grid.same_as(labels.grid):
        raise InputError(
            f"density {density.shape} and labels {labels.shape} are on different grids; "
            "bring the labels onto the density first: labels.resample(density.grid)"
        )
    depth_mm = float(density.spacing_mm[:2].mean()) if depth_mm is None else depth_mm
    if not LEAST_MM <= depth_mm <= MOST_MM:
        raise InputError(f"depth_mm is {depth_mm}; allowed: {LEAST_MM} to {MOST_MM} mm")
    bone = bone_mask(labels)
    field = signed_distance(bone, density.grid)
    lesion, beside = _lesion(labels)
    peeled = bone & (field < depth_mm) & ~beside
    core = bone & ~peeled & ~lesion
    if peeled.any() and not core.any():
        raise InputError(f"peeling {depth_mm} mm leaves nothing of the bone; give a smaller depth")
    array = density.array.astype(np.float32).copy()
    array[peeled] = _from_beneath(density, peeled, core, field, depth_mm)
    return density.with_array(array)


def _lesion(labels: LabelMap) -> tuple[Mask, Mask]:
    """Voxels of a lesion, and those with what is next to one."""
    if "lesion" not in labels.names.values() or not labels.mask("lesion").any():
        none = np.zeros(labels.shape, bool)
        return none, none
    lesion = labels.mask("lesion")
    distance = ndi.distance_transform_edt(~lesion, sampling=labels.spacing_mm.tolist())
    return lesion, np.asarray(distance <= LESION_MM)


def _from_beneath(
    density: DensityImage, peeled: Mask, core: Mask, field: Float, depth_mm: float
) -> Float:
    """Densities of the peeled voxels, in the order of their indices, (n,)."""
    grid, index = density.grid, np.argwhere(peeled)
    own = density.array[peeled].astype(np.float64)
    _, nearest = cKDTree(grid.world(np.argwhere(core))).query(grid.world(index))
    beneath = density.array[core].astype(np.float64)[nearest]
    highest = _highest_inwards(density, index, field, core | peeled, 2 * depth_mm)
    # Denser beneath: the cortex goes on there. Sparser: the peel took all of the cortex.
    return np.where(beneath >= own, beneath, np.maximum(own, highest))


def _highest_inwards(
    density: DensityImage, index: NDArray[np.int64], field: Float, bone: Mask, reach_mm: float
) -> Float:
    """Highest density of the bone's voxels along the inward normal, (n,)."""
    grid = density.grid
    inward = _inward(field, grid, index)
    highest = np.full(len(index), -np.inf)
    step = 0.5 * float(grid.spacing_mm.min())
    for along in np.arange(0.0, reach_mm + step / 2, step):
        near = np.rint(grid.index(grid.world(index) + along * inward)).astype(np.int64)
        i, j, k = np.clip(near, 0, np.array(grid.shape) - 1).T
        highest = np.where(bone[i, j, k], np.maximum(highest, density.array[i, j, k]), highest)
    return highest


def _inward(field: Float, grid: Grid, index: NDArray[np.int64]) -> Float:
    """Find the unit vectors in the world that point to the inside of the bone at voxels (n, 3)."""
    smooth: Float = ndi.gaussian_filter(field, 1.0 / grid.spacing_mm, mode="nearest")
    steps = grid.spacing_mm.tolist()
    slopes = np.stack(
        [np.gradient(smooth, step, axis=a)[tuple(index.T)] for a, step in enumerate(steps)], axis=1
    )
    inward = slopes @ grid.direction.T
    return np.asarray(inward / np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12))

"""Density of the cortex with the mineral that blur has moved, brought back.

What is conserved: in every patch of the bone's surface, the mineral that the bone shows in the
image, inside and outside the mask. Blur moves mineral, it neither makes nor destroys any, so this
is the mineral of the bone itself. Soft tissue is told apart by the fitted profile
(`bonekit.cortex.thickness`): it contributes ``y0`` times the blurred step of the outer surface,
and what a voxel shows beyond that is bone.

Within a patch the mineral of the shell - the cortex and what the blur reaches beneath it - is
then laid out as the profile without blur: cortical density down to the thickness, the density
under it below. A cortex thinner than a voxel thus thins the density of its voxel, and the mineral
per area stays. Nothing deeper than the shell changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.cortex.profile import FINEST_MM, FWHM, blurred_step
from bonekit.cortex.surface import bone_mask, signed_distance
from bonekit.cortex.thickness import ASTRAY_MM, CorticalMap, near_lesion
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

PATCH_MM = 5.0  # edge of the patches: wide enough that whole voxels hardly round their area
REACH = 2.2  # standard deviations of the whole blur beyond which nothing is left to bring back
DENSEST = 1.25  # of compact bone: no voxel becomes denser; mineral left over is counted
FILL_MM = 6.0  # where a fit failed, neighbours within this distance stand in


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected density and its balance.

    Parameters
    ----------
    density : DensityImage
    changed : int
        Voxels whose density is new.
    untouched : int
        Voxels of the shell left as they were: near a lesion, or no fit near.
    mineral_before_g, mineral_after_g : float
        In the mask.
    spilled_g : float
        What was brought back from outside the mask.
    soft_tissue_g : float
        What soft tissue showed within the mask: taken out.
    unplaced_g : float
        Mineral for which its patch of the mask had no room: a mask much smaller than the bone, or
        a fit gone astray. ``after = before + spilled - soft_tissue - unplaced``.
    """

    density: DensityImage
    changed: int
    untouched: int
    mineral_before_g: float
    mineral_after_g: float
    spilled_g: float
    soft_tissue_g: float
    unplaced_g: float


def corrected_density(density: DensityImage, labels: LabelMap, cortex: CorticalMap) -> DensityImage:
    """Bring the mineral of the cortex back to where it was; see the head of this module.

    Parameters
    ----------
    density : DensityImage
        The one that `cortex` was measured on.
    labels : LabelMap
    cortex : CorticalMap

    Returns
    -------
    DensityImage
        Changed only in the shell of the bone; lesions and voxels outside the bone stay.

    Raises
    ------
    InputError
        If grids or kinds of density differ, or the map has no usable point.
    """
    return correct(density, labels, cortex).density


def correct(density: DensityImage, labels: LabelMap, cortex: CorticalMap) -> Correction:
    """Like `corrected_density`, with the balance of the mineral."""
    _check(density, labels, cortex)
    mask = bone_mask(labels)
    shell = _shell(density, labels, mask, cortex)
    inside = mask[tuple(shell.index.T)]
    seen = density.array[tuple(shell.index.T)].astype(np.float64)
    # Bone as seen inside; outside as modelled, as soft tissue there is no even background.
    bone = np.where(inside, seen - shell.soft, shell.bone)
    scale, unplaced = _scale(shell, bone, inside, DENSEST * cortex.cortical_density_g_cm3)
    array = density.array.astype(np.float32).copy()
    rows = inside & (scale > 0)[shell.patch]
    array[tuple(shell.index[rows].T)] = (shell.sharp * scale[shell.patch])[rows]
    gram = density.grid.voxel_mm3 / 1000.0
    return Correction(
        density=density.with_array(array),
        changed=int(np.count_nonzero(rows)),
        untouched=shell.untouched,
        mineral_before_g=float(density.array[mask].sum(dtype=np.float64)) * gram,
        mineral_after_g=float(array[mask].sum(dtype=np.float64)) * gram,
        spilled_g=float(bone[~inside].sum()) * gram,
        soft_tissue_g=float(shell.soft[inside].sum()) * gram,
        unplaced_g=unplaced * gram,
    )


def _scale(shell: _Shell, bone: Float, inside: Mask, densest: float) -> tuple[Float, float]:
    """Factor (patches,) that gives each patch its own mineral, and what found no room (g/cm3)."""
    count = int(shell.patch.max()) + 1
    total = np.bincount(shell.patch, bone, count)
    laid = np.bincount(shell.patch[inside], shell.sharp[inside], count)
    highest = np.zeros(count)
    np.maximum.at(highest, shell.patch[inside], shell.sharp[inside])
    wanted = np.divide(total, laid, out=np.zeros(count), where=laid > 0)
    most = np.divide(densest, highest, out=np.zeros(count), where=highest > 0)
    scale = np.clip(wanted, 0.0, most)
    return scale, float((total - scale * laid).sum())


@dataclass(frozen=True, eq=False)
class _Shell:
    """Voxels at the surface: indices (n, 3), patch, and what the profile says of each, (n,)."""

    index: Int
    patch: Int
    bone: Float  # blurred bone
    soft: Float  # blurred soft tissue
    sharp: Float  # bone without blur, mean over the voxel
    untouched: int


def _check(density: DensityImage, labels: LabelMap, cortex: CorticalMap) -> None:
    if not density.grid.same_as(labels.grid):
        raise InputError(
            f"density {density.shape} and labels {labels.shape} are on different grids; "
            "bring the labels onto the density first: labels.resample(density.grid)"
        )
    if str(density.kind) != cortex.kind:
        raise InputError(
            f"the cortex was measured in {cortex.kind} density, the image holds {density.kind} "
            "density; measure it again on this image (cortical_map)"
        )
    if not cortex.ok.any():
        raise InputError(
            f"no point of the cortex could be measured ({dict(cortex.failures)}): there is nothing "
            "to correct with"
        )


def _shell(density: DensityImage, labels: LabelMap, mask: Mask, cortex: CorticalMap) -> _Shell:
    grid = density.grid
    index, patch = _candidates(labels, mask, grid, cortex)
    world = grid.world(index)
    known = np.flatnonzero(cortex.ok)
    distance, nearest = cKDTree(cortex.points_mm[known]).query(world)
    point = known[nearest]
    depth = ((cortex.points_mm[point] - world) * cortex.normals[point]).sum(axis=1)
    reach = REACH * _width_mm(grid, cortex)[point]
    outer = cortex.outer_mm[point]
    near = (depth > outer - reach) & (depth < outer + cortex.thickness_mm[point] + reach)
    measured = distance**2 - depth**2 < FILL_MM**2
    rows = near & measured
    inside = mask[tuple(index.T)]
    bone, soft, sharp = _contents(grid, cortex, point[rows], depth[rows])
    left = int(np.count_nonzero(near & ~measured & inside))
    return _Shell(index[rows], patch[rows], bone, soft, sharp, left)


def _candidates(labels: LabelMap, mask: Mask, grid: Grid, cortex: CorticalMap) -> tuple[Int, Int]:
    """Voxels (n, 3) in reach of the surface, but not of a lesion, and their patches (n,)."""
    far = REACH * float(_width_mm(grid, cortex).max())
    deep = far + float(np.quantile(cortex.thickness_mm[cortex.ok], 0.995)) + ASTRAY_MM
    index = np.argwhere(_band(mask, grid, far + ASTRAY_MM, deep))
    point = np.asarray(cKDTree(cortex.points_mm).query(grid.world(index))[1])
    free = ~near_lesion(cortex.points_mm, labels)[point]
    if "lesion" in labels.names.values():
        free &= ~labels.mask("lesion")[tuple(index.T)]
    centre = _patch_centres(cortex.points_mm)
    patch = np.asarray(cKDTree(centre).query(cortex.points_mm)[1], dtype=np.int64)
    return index[free], patch[point[free]]


def _band(mask: Mask, grid: Grid, out_mm: float, in_mm: float) -> Mask:
    field = signed_distance(mask, grid)
    return np.asarray((field > -out_mm) & (field < in_mm))


def _patch_centres(points: Float) -> Float:
    """Thin the points out to some `PATCH_MM` apart."""
    cell = np.floor(points / PATCH_MM)
    off = np.abs(points / PATCH_MM - cell - 0.5).max(axis=1)
    order = np.argsort(off, kind="stable")
    _, first = np.unique(cell[order], axis=0, return_index=True)
    return np.asarray(points[order[first]])


def _width_mm(grid: Grid, cortex: CorticalMap) -> Float:
    """Compute the standard deviation of the whole blur along the normals, (n,)."""
    along = np.abs(cortex.normals @ grid.direction[:, 2])
    gauss = cortex.psf_fwhm_mm**2 / FWHM**2 * (1 - along**2)
    return np.asarray(np.sqrt(gauss + (cortex.slice_mm * along) ** 2 / 12))


def _contents(
    grid: Grid, cortex: CorticalMap, point: Int, depth: Float
) -> tuple[Float, Float, Float]:
    """Blurred bone, blurred soft tissue and sharp bone at depths below points, each (n,)."""
    normal = np.abs(cortex.normals @ grid.direction)
    along = normal[:, 2][point]
    sigma = cortex.psf_fwhm_mm / FWHM * np.sqrt(np.maximum(1 - along**2, 0.0))
    x = depth - cortex.outer_mm[point]
    thickness = cortex.thickness_mm[point]
    gauss, box = np.maximum(sigma, FINEST_MM), cortex.slice_mm * along
    outer = blurred_step(x, gauss, box)
    inner = blurred_step(x - thickness, gauss, box)
    y1, y2 = cortex.density_g_cm3[point], cortex.inside_g_cm3[point]
    # The cortex is laid against the mask's surface: that is where the mesh will have it. A voxel
    # sees it through its own extent along the normal (a box of the same variance).
    extent = np.linalg.norm(normal * grid.spacing_mm, axis=1)[point]
    beyond = blurred_step(depth - thickness, np.full_like(depth, FINEST_MM), extent)
    return (
        y1 * (outer - inner) + y2 * inner,
        cortex.outside_g_cm3[point] * (1 - outer),
        np.maximum(y1 + (y2 - y1) * beyond, 0.0),
    )

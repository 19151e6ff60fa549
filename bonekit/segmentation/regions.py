"""From one bone's mask to its regions: cortex, trabecular bone, lesion; and metal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.segmentation.base import COLOURS, REGIONS

Mask = NDArray[np.bool_]

# Cortical bone is 1000 HU and more; blurred by a clinical scan a thin cortex keeps about half.
CORTEX_HU = 500.0
CORTEX_DEPTH_MM = 8.0  # trabecular bundles deeper than any cortex are not cortex
METAL_HU = 2500.0  # above any bone; enamel and cortex end near 2200
# A lytic focus holds soft tissue where trabecular bone should be; marrow of the canal and of
# Ward's triangle is fatty and has darker parts.
LYTIC_HU = (15.0, 110.0)
WALL_MM = 5.0  # of bone looked at round a pocket
BLASTIC_HU = 700.0
LESION_ML = 1.0  # smaller candidates are noise or vessels
SHELL_MM = 4.0  # nearer to the surface a blastic focus can't be told from cortex


def label_regions(
    ct: Image, bone: Mask, other_bone: Mask | None = None, lesion: Mask | None = None
) -> LabelMap:
    """Split a bone into its regions.

    Parameters
    ----------
    ct : Image
        In HU.
    bone, other_bone, lesion : ndarray of bool, (ni, nj, nk)
        The whole bone with its canal filled; the rest of the bone in view; what a reader drew as
        lesion (`lesion_candidates` otherwise).

    Returns
    -------
    LabelMap
        With the names of `REGIONS`.
    """
    hu = ct.array
    depth = ndi.distance_transform_edt(
        np.pad(bone, 1, mode="edge"), sampling=ct.spacing_mm.tolist()
    )[1:-1, 1:-1, 1:-1]
    focus = lesion & bone if lesion is not None else lesion_candidates(ct, bone, depth)
    region = np.zeros(bone.shape, dtype=np.uint8)
    if other_bone is not None:
        region[other_bone & ~bone] = 10
    region[bone] = 2
    region[bone & (hu >= CORTEX_HU) & (depth <= CORTEX_DEPTH_MM)] = 1
    region[focus] = 3
    region[(hu > METAL_HU) & ~bone] = 11  # inside, it would be a hole in the mesh
    return LabelMap(region, ct.grid, dict(REGIONS), dict(COLOURS))


def lesion_candidates(ct: Image, bone: Mask, depth: NDArray[np.floating]) -> Mask:
    """Foci that look like a metastasis: for a reader to confirm, not a diagnosis.

    Lytic: a compact pocket of soft-tissue HU without fat inside denser trabecular bone. Blastic:
    dense bone deep inside. A lesion that has joined the marrow canal, one that has broken through
    the cortex, and one that fills a vertebral body are missed.

    Parameters
    ----------
    ct : Image
    bone : ndarray of bool, (ni, nj, nk)
    depth : ndarray of float, (ni, nj, nk)
        Distance from the surface of the bone in mm.
    """
    sigma = 1.0 / ct.spacing_mm
    smooth = ndi.gaussian_filter(ct.array.astype(np.float32), sigma)
    deep = bone & (depth > SHELL_MM)
    soft = deep & (smooth < LYTIC_HU[1])
    lytic = _pockets(soft, deep, smooth, ct.grid)
    blastic = _of_size(deep & (depth > CORTEX_DEPTH_MM) & (smooth > BLASTIC_HU), ct.grid)
    return lytic | blastic


def _of_size(mask: Mask, grid: Grid) -> Mask:
    """Face-connected pieces of at least `LESION_ML`."""
    label, _ = ndi.label(mask)
    volume_ml = np.bincount(label.ravel()) * grid.voxel_mm3 / 1000.0
    keep = volume_ml >= LESION_ML
    keep[0] = False
    return np.asarray(keep[label])


def _pockets(soft: Mask, deep: Mask, smooth: NDArray[np.float32], grid: Grid) -> Mask:
    """Compact pockets of soft tissue, free of fat, inside clearly denser trabecular bone."""
    kept = np.zeros_like(soft)
    label, _ = ndi.label(ndi.binary_opening(soft))
    wide = np.ceil(WALL_MM / grid.spacing_mm).astype(int)
    for piece, box in enumerate(ndi.find_objects(label), start=1):
        around = tuple(
            slice(max(b.start - w, 0), b.stop + w) for b, w in zip(box, wide, strict=True)
        )
        pocket = label[around] == piece
        volume = np.count_nonzero(pocket) * grid.voxel_mm3
        size = np.array(label[box].shape) * grid.spacing_mm
        compact = volume > 0.3 * np.prod(size) and size.max() < 2.0 * np.median(size)
        if volume < 1000.0 * LESION_ML or not compact:
            continue
        distance = ndi.distance_transform_edt(~pocket, sampling=grid.spacing_mm.tolist())
        wall = (distance > 1.5) & (distance <= WALL_MM)
        enclosed = np.count_nonzero(wall & deep[around]) > 0.6 * np.count_nonzero(wall)
        hu = smooth[around]
        fatty = np.quantile(hu[pocket], 0.1) < LYTIC_HU[0]
        if enclosed and not fatty:
            denser = np.median(hu[wall & deep[around]]) > np.median(hu[pocket]) + 100.0
            kept[around] |= pocket & denser
    return kept


def metal_near(ct: Image, bone: Mask, reach_mm: float = 10.0) -> float:
    """Volume in ml of metal in a bone or within `reach_mm` of it."""
    metal = ct.array > METAL_HU
    if not metal.any():
        return 0.0
    reach = np.ceil(reach_mm / ct.spacing_mm).astype(int)
    index = np.argwhere(bone)
    low = np.maximum(index.min(axis=0) - reach, 0)
    high = index.max(axis=0) + reach + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    distance = ndi.distance_transform_edt(~bone[box], sampling=ct.spacing_mm.tolist())
    near = metal[box] & (distance <= reach_mm)
    return float(np.count_nonzero(near) * ct.grid.voxel_mm3 / 1000.0)

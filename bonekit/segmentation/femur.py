"""The proximal femur in a CT, without weights: deterministic and explainable.

1. `find_heads` gives spheres that may be femoral heads.
2. Outside a shell round the sphere the bone falls apart into femur and pelvis; anatomy tells which
   is which: the femur goes down and to the side, the pelvis up and to the middle.
3. Inside the shell a watershed floods both from bright to dark and lets them meet in the joint
   space, the darkest sheet between the two subchondral plates.
4. Closing and slice-wise filling make the bone solid: the marrow canal carries density too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from bonekit.anatomy.femur import FemurAnatomy, femur_anatomy
from bonekit.anatomy.sphere import directions, robust_sphere
from bonekit.errors import InputError
from bonekit.image.volume import Grid, Image
from bonekit.segmentation.head import Head, find_heads, isotropic

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Side = Literal["left", "right"]

BONE_HU = 200.0  # halfway between muscle and thin, blurred cortex, with pixels of 1 mm
BONE_HU_DROP = 35.0  # lower for each mm of larger pixels, which blur a thin cortex further
REACH_MM = 260.0  # how far from the head a femur is followed
GAP_MM = 4.0  # cartilage of both surfaces with its blur
MIN_FEMUR_ML = 5.0
SOFT_HU = 50.0  # muscle
BLUR_MM = 2.0  # width of the blur outside a cortex that is taken off
MIN_OFFSET_MM, MAX_OFFSET_MM = 20.0, 80.0  # of the head from the shaft axis; adults 30 to 55
HIPS_MM = 100.0  # the two heads are further apart (adults 140 to 200); trochanters are nearer
MIN_ROUNDNESS = 0.6  # a trochanter or a condyle reaches about a third


@dataclass(frozen=True, eq=False)
class FemurMask:
    """A femur found round a head.

    Parameters
    ----------
    side : "left" or "right"
    head : Head
        Refitted to the surface of the femur.
    roundness : float
        Fraction of the head's surface, away from the neck, within 2.5 mm of the sphere.
    femur, other : ndarray of bool
        Femur, filled, and the rest of the bone, on `grid`.
    grid : Grid
        Isotropic.
    neck : ndarray, (3,)
        Unit vector from the head's centre towards the neck.
    sought : Head
        The sphere the search began from.
    """

    side: Side
    head: Head
    roundness: float
    femur: Mask
    other: Mask
    grid: Grid
    neck: Float
    sought: Head


def segment_femora(ct: Image) -> list[FemurMask]:
    """Find every proximal femur of a CT.

    Parameters
    ----------
    ct : Image
        In HU, canonical.

    Returns
    -------
    list of FemurMask
        At most one for each side, the rounder head first.
    """
    rough = [_femur_at(ct, head, 1.5) for head in find_heads(ct)]
    likely = [f for f in rough if f is not None and f.roundness >= MIN_ROUNDNESS]
    likely.sort(key=lambda f: -f.roundness * f.sought.inliers)
    best: list[FemurMask] = []
    for femur in likely:
        other_hip = all(_apart(femur, known) and femur.side != known.side for known in best)
        if other_hip and _stands_off(femur, ct.grid):
            best.append(femur)
    return [f for f in (_femur_at(ct, femur.sought, 1.0) for femur in best) if f is not None]


def _apart(one: FemurMask, other: FemurMask) -> bool:
    return bool(np.linalg.norm(one.head.centre_mm - other.head.centre_mm) > HIPS_MM)


def _stands_off(femur: FemurMask, field: Grid) -> bool:
    """Whether the head stands off a shaft, as a trochanter, a condyle or a shaft's end does not."""
    try:
        anatomy = anatomy_of(femur, field)
    except InputError:
        return False
    unsure = anatomy.shaft_length_mm < 30.0  # too short a shaft gives no axis to measure from
    return unsure or (MIN_OFFSET_MM < anatomy.offset_mm < MAX_OFFSET_MM)


def femur_of_mask(mask: Mask, grid: Grid, side: Side) -> FemurMask:
    """Describe a femur that was segmented elsewhere.

    The head is where the largest ball fits into the bone; its sphere is then fitted to the surface.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        In one piece, the canal filled.
    grid : Grid
        Canonical.
    side : "left" or "right"
    """
    cube = isotropic(Image(mask.astype(np.float32), grid), 1.0)
    femur = largest(cube.array >= 0.5)
    inside = ndi.distance_transform_edt(np.pad(femur, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    place = np.unravel_index(int(inside.argmax()), inside.shape)
    head = Head(cube.grid.world(place), float(inside[place]) + 0.5, 0.0, 1.0)
    away = cube.grid.world(np.argwhere(femur)).mean(axis=0) - head.centre_mm
    for _ in range(3):
        head = _fit_head(femur, head, away / np.linalg.norm(away), cube.grid)
    neck = away / np.linalg.norm(away)
    roundness = _roundness(femur, head, neck, cube.grid)
    other = np.zeros_like(femur)
    return FemurMask(side, head, roundness, femur, other, cube.grid, neck, head)


def anatomy_of(femur: FemurMask, field: Grid) -> FemurAnatomy:
    """Landmarks of a segmented femur; `field` is the grid of the whole scan."""
    head = femur.head
    return femur_anatomy(femur.femur, femur.grid, femur.side, head.centre_mm, head.radius_mm, field)


def _femur_at(ct: Image, head: Head, spacing_mm: float) -> FemurMask | None:
    """Cut the femur of one head out of the bone; None where the anatomy does not fit."""
    image = isotropic(_around(ct, head.centre_mm), spacing_mm)
    smooth = ndi.gaussian_filter(image.array, 0.5)
    distance = _distance(image.grid, head.centre_mm)
    pixel = float(np.sort(ct.spacing_mm)[1])  # in plane: slices may be thicker
    threshold = BONE_HU - BONE_HU_DROP * float(np.clip(pixel - 1.0, 0.0, 2.0))
    bone = (smooth > threshold) & (distance < REACH_MM)
    parts = _beyond_the_joint(bone, distance, head, image.grid)
    if parts is None:
        return None
    femur, pelvis, neck, side = parts
    femur = _meet_in_the_joint(smooth, bone, distance, head, femur, pelvis, neck, image.grid)
    gaps = max(3.0, 1.5 * pixel)
    other = _sizeable(bone & ~femur & (distance < head.radius_mm + 15.0), image.grid)
    femur = _solid(femur, other, image.grid, gaps)
    refitted = _fit_head(femur, head, neck, image.grid)
    femur |= _distance(image.grid, refitted.centre_mm) < refitted.radius_mm  # notches of the rim
    blurred = femur
    femur = _to_half_height(blurred, smooth, image.grid)
    refitted = _fit_head(femur, refitted, neck, image.grid)
    roundness = _roundness(femur, refitted, neck, image.grid)
    return FemurMask(side, refitted, roundness, femur, bone & ~blurred, image.grid, neck, head)


def _around(ct: Image, centre: Float) -> Image:
    """Crop to where the femur of a head at `centre` can be: flexed, abducted, but not above."""
    reach = np.array([[-120, -220, -REACH_MM], [120, 160, 70.0]])
    corner = np.array(np.meshgrid(*reach.T)).reshape(3, -1).T  # all eight: a grid may be oblique
    index = ct.grid.index(corner + centre)
    return ct.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1)


def _distance(grid: Grid, centre: Float) -> NDArray[np.float32]:
    """Distance in mm of every voxel of an isotropic grid from a point, without a point array."""
    steps = [
        (np.arange(n) - c) * h
        for n, c, h in zip(grid.shape, grid.index(centre), grid.spacing_mm, strict=True)
    ]
    i, j, k = np.ix_(*(s.astype(np.float32) ** 2 for s in steps))
    return np.asarray(np.sqrt(i + j + k))


def _beyond_the_joint(
    bone: Mask, distance: NDArray[np.floating], head: Head, grid: Grid
) -> tuple[Mask, Mask, Float, Side] | None:
    """Tell femur from pelvis outside the shell: (femur, pelvis, neck direction, side)."""
    shell = head.radius_mm + GAP_MM
    label, _ = ndi.label(ndi.binary_opening(bone & (distance > shell)))
    touching = np.unique(label[(distance < shell + 2.5) & (label > 0)])
    touching = touching[ndi.sum_labels(label > 0, label, touching) * grid.voxel_mm3 > 1000.0]
    if touching.size == 0:
        return None
    offset = np.array(
        [grid.world(c) - head.centre_mm for c in ndi.center_of_mass(label > 0, label, touching)]
    )
    volume = np.asarray(ndi.sum_labels(label > 0, label, touching)) * grid.voxel_mm3 / 1000.0
    high = offset[:, 2] > -5.0
    # The pelvis lies medially of the femur: away from it is lateral.
    medial = np.average(offset[high, 0], weights=volume[high]) if high.any() else 0.0
    score = -offset[:, 2] - np.sign(medial) * offset[:, 0]
    candidate = np.where((offset[:, 2] < -5.0) & (volume > MIN_FEMUR_ML), score, -np.inf)
    if not np.isfinite(candidate).any():
        return None
    chosen = touching[candidate.argmax()]
    femur = label == chosen
    lateral = float(offset[candidate.argmax(), 0])
    root = femur & (distance < shell + 3.0)
    neck = grid.world(np.argwhere(root)).mean(axis=0) - head.centre_mm
    neck /= np.linalg.norm(neck)
    return femur, (label > 0) & ~femur, neck, "left" if lateral > 0 else "right"


def _meet_in_the_joint(
    smooth: Float,
    bone: Mask,
    distance: NDArray[np.floating],
    head: Head,
    femur: Mask,
    pelvis: Mask,
    neck: Float,
    grid: Grid,
) -> Mask:
    """Share the bone of the shell between femur and pelvis along the dark joint space."""
    shell = distance < head.radius_mm + GAP_MM + 2.0
    box = ndi.find_objects(shell.astype(np.uint8))[0]
    away = (grid.points()[box] - head.centre_mm) / np.maximum(distance[box], 1e-6)[..., None]
    root = femur[box] & (distance[box] < head.radius_mm + GAP_MM + 3.0)
    cone = np.quantile((away[root] @ neck), 0.05) - 0.15  # the neck leaves the head inside it
    in_cone = away @ neck > cone
    outside = (distance[box] > head.radius_mm + GAP_MM - 0.5) & ~in_cone & bone[box]
    ball = distance[box] < 0.7 * head.radius_mm
    neck_root = in_cone & (distance[box] < head.radius_mm + GAP_MM + 1.0) & bone[box]
    seeds = np.zeros(ball.shape, dtype=np.int32)
    seeds[pelvis[box] | outside] = 2
    seeds[ball | femur[box] | (neck_root & (away @ neck > 0.5 * (1 + cone)))] = 1
    flooded = watershed(-smooth[box], seeds, mask=bone[box] | ball | femur[box])
    result = femur.copy()
    result[box] |= flooded == 1
    return result


def _solid(femur: Mask, other: Mask, grid: Grid, gaps_mm: float) -> Mask:
    """Close gaps of thin cortex, fill the canal slice by slice, keep the largest piece."""
    h = float(grid.spacing_mm[0])
    wide = int(np.ceil((gaps_mm + 1.0) / h))
    box = _box_of(femur, wide)
    bone, taken = femur[box], other[box]
    inner = tuple([slice(wide, -wide)] * 3)
    # padding by the edge keeps a shaft open where the image cuts it
    closed = _closing(np.pad(bone, wide, mode="edge"), gaps_mm / h)[inner] & ~taken | bone
    filled = closed.copy()
    for axis in range(3):
        for n in range(bone.shape[axis]):
            plane = tuple(n if a == axis else slice(None) for a in range(3))
            filled[plane] |= ndi.binary_fill_holes(closed[plane])
    filled = (filled | _behind_leaky_walls(filled, 2.0 * gaps_mm / h)) & ~taken | bone
    # off with vessels, ligaments and bridges of a voxel or two
    opened = _opening(np.pad(filled, wide, mode="edge"), 1.5 / h)[inner]
    result = np.zeros_like(femur)
    result[box] = largest(opened)
    return result


def _box_of(mask: Mask, margin: int) -> tuple[slice, ...]:
    """Bounding box of a mask with a margin in voxels, where the array has it."""
    box = ndi.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(b.start - margin, 0), b.stop + margin) for b in box)


def _to_half_height(femur: Mask, smooth: Float, grid: Grid) -> Mask:
    """Take off the blur outside the cortex: what is darker than half of the cortex under it.

    The true surface of a blurred wall lies near half of its height over the soft tissue.
    """
    h = float(grid.spacing_mm[0])
    wide = int(np.ceil(BLUR_MM / h)) + 1
    box = _box_of(femur, wide)
    bone, hu = np.pad(femur[box], wide, mode="edge"), np.pad(smooth[box], wide, mode="edge")
    peak = ndi.maximum_filter(np.where(bone, hu, SOFT_HU), 2 * wide - 1)
    depth = ndi.distance_transform_edt(np.pad(bone, 1, mode="edge"))[1:-1, 1:-1, 1:-1] * h
    blur = bone & (depth <= BLUR_MM) & (hu < 0.5 * (peak + SOFT_HU))
    kept = _opening(_closing(largest(bone & ~blur), 1.5 / h) & bone, 1.5 / h)
    result = np.zeros_like(femur)
    result[box] = largest(kept[tuple([slice(wide, -wide)] * 3)])
    return result


def _behind_leaky_walls(bone: Mask, reach: float) -> Mask:
    """Find what thin cortex with wide holes encloses: closed by discs in all three planes.

    A fossa, which is open to one side, stays outside in at least one of the planes. Where the
    border of the image cuts the bone, only the planes along that border can be closed.
    """
    closed = [_closed_in_planes(bone, axis, reach) for axis in range(3)]
    enclosed = closed[0] & closed[1] & closed[2]
    slab = int(reach) + 1
    for axis in range(3):
        for side in (slice(0, slab), slice(-slab, None)):
            edge = tuple(side if a == axis else slice(None) for a in range(3))
            if np.take(bone, 0 if side.start == 0 else -1, axis=axis).any():
                enclosed[edge] |= closed[axis][edge]
    return enclosed


def _closed_in_planes(bone: Mask, axis: int, reach: float) -> Mask:
    """Close by discs and fill every plane across an axis."""
    filled = np.zeros_like(bone)
    wide = int(reach) + 2
    inner = tuple([slice(wide, -wide)] * 2)
    for n in range(bone.shape[axis]):
        plane = tuple(n if a == axis else slice(None) for a in range(3))
        if bone[plane].any():
            tight = _closing(np.pad(bone[plane], wide), reach)[inner]
            filled[plane] = ndi.binary_fill_holes(tight | bone[plane])
    return filled


def _sizeable(mask: Mask, grid: Grid, least_mm3: float = 1000.0) -> Mask:
    """Drop the specks of a mask: bone of the femur that hangs loose may not bar its filling."""
    label, _ = ndi.label(mask)
    keep = np.bincount(label.ravel()) * grid.voxel_mm3 >= least_mm3
    keep[0] = False
    return np.asarray(keep[label])


def largest(mask: Mask) -> Mask:
    """Largest face-connected piece of a mask; the mask itself if it is empty."""
    label, n = ndi.label(mask)
    return np.asarray(label == np.bincount(label.ravel())[1:].argmax() + 1) if n else mask


def _closing(mask: Mask, radius: float) -> Mask:
    """Close by a ball of any radius in voxels, at the cost of two distance maps."""
    grown = ndi.distance_transform_edt(~mask) <= radius
    return np.asarray(ndi.distance_transform_edt(grown) > radius)


def _opening(mask: Mask, radius: float) -> Mask:
    """Open by a ball of any radius in voxels."""
    return ~_closing(~mask, radius)


def _fit_head(femur: Mask, head: Head, neck: Float, grid: Grid) -> Head:
    """Refit the sphere to the femur's own surface, away from the neck and the image border."""
    surface = femur & ~ndi.binary_erosion(femur, border_value=1)
    points = grid.world(np.argwhere(surface))
    away = points - head.centre_mm
    reach = np.linalg.norm(away, axis=1)
    on_head = (np.abs(reach - head.radius_mm) < 5.0) & (away @ neck < 0.5 * reach)
    if np.count_nonzero(on_head) < 100:
        return head
    centre, radius, _ = robust_sphere(points[on_head])
    half_voxel = 0.5 * float(grid.spacing_mm[0])  # from the outermost centres to the surface
    return replace(head, centre_mm=centre, radius_mm=radius + half_voxel)


def _roundness(femur: Mask, head: Head, neck: Float, grid: Grid) -> float:
    """Fraction of the visible directions, away from the neck, that end on the sphere."""
    rays = directions(400)
    rays = rays[rays @ neck < 0.5]
    r = np.arange(0.5 * head.radius_mm, head.radius_mm + 6.0, 0.5)
    index = grid.index(head.centre_mm + rays[:, None] * r[:, None])
    inside: Mask = np.all((index >= 0) & (index <= np.array(grid.shape) - 1), axis=-1)
    nearest = np.clip(np.rint(index).astype(int), 0, np.array(grid.shape) - 1)
    bone = femur[tuple(np.moveaxis(nearest, -1, 0))]
    end = np.where(bone.all(axis=1), len(r) - 1, (~bone).argmax(axis=1))
    visible = inside[np.arange(len(rays)), end]
    if np.count_nonzero(visible) < 0.3 * len(rays):
        return 0.0
    return float((np.abs(r[end] - head.radius_mm)[visible] < 2.5).mean())

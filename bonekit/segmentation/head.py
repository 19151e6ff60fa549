"""Femoral heads in a CT: solid bright balls with a spherical outer edge.

The search goes from coarse to fine: points deep inside bone are candidates, each is scored by the
drop of HU across spheres round it (bone inside; cartilage, capsule or joint space outside), the
best are refined by a robust least-squares sphere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.anatomy.sphere import directions, robust_sphere
from bonekit.image.volume import Grid, Image

Float = NDArray[np.float64]

# Femoral head radii of adults run from about 19 to 29 mm; the shaft stays under 17 mm.
RADIUS_MM = (18.5, 30.0)
BONE_HU = 100.0  # trabecular bone of a head stays above, fat and muscle below
MIN_INLIERS = 0.15  # of the directions, allowing for the neck and the fovea
SEPARATION_MM = 12.0
STEP_HU = 60.0  # a drop over 2 mm that stands out of the noise of a clinical scan


@dataclass(frozen=True)
class Head:
    """A sphere fitted to a femoral head.

    Parameters
    ----------
    centre_mm : ndarray, (3,)
        World.
    radius_mm : float
    inliers : float
        Fraction of the visible directions whose edge lies on the sphere.
    visible : float
        Fraction of the sphere that lies inside the image.
    """

    centre_mm: Float
    radius_mm: float
    inliers: float
    visible: float


def isotropic(image: Image, spacing_mm: float) -> Image:
    """Resample an image to cubic voxels over the same box, as float32."""
    grid = image.grid
    extent = (np.array(grid.shape) - 1) * grid.spacing_mm
    i, j, k = (int(n) for n in np.floor(extent / spacing_mm + 1e-6) + 1)
    # what is left of the box is shared by both ends, so that a turned image gives the same bone
    spare = extent - (np.array([i, j, k]) - 1) * spacing_mm
    low = grid.origin_mm + grid.direction @ spare / 2
    fine = Grid.of((i, j, k), spacing_mm, low, grid.direction)
    return Image(image.array.astype(np.float32), grid).resample(fine, -1000.0)


def find_heads(ct: Image, most: int = 40) -> list[Head]:
    """Find what looks like a femoral head, best first.

    Parameters
    ----------
    ct : Image
        In HU, canonical.
    most : int
        How many candidates to refine.

    Returns
    -------
    list of Head
    """
    coarse = _clipped(isotropic(ct, 2.0), 400.0)
    centres, scores, radii = _score(coarse, _candidates(coarse))
    chosen: list[int] = []
    for n in np.argsort(-scores, kind="stable"):
        apart = [np.linalg.norm(centres[n] - centres[m]) > SEPARATION_MM / 2 for m in chosen]
        if scores[n] > 0 and all(apart):
            chosen.append(int(n))
        if len(chosen) == most:
            break
    fine = _clipped(isotropic(ct, 1.5), 600.0)
    tolerance = max(1.0, 0.4 * float(ct.spacing_mm.max()))
    heads = [_refine(fine, centres[n], radii[n], tolerance) for n in chosen]
    good = [h for h in heads if h.inliers >= MIN_INLIERS and _plausible(h, ct.grid)]
    good.sort(key=lambda head: -_likelihood(head))
    distinct: list[Head] = []
    for head in good:
        if all(np.linalg.norm(head.centre_mm - h.centre_mm) > SEPARATION_MM for h in distinct):
            distinct.append(head)
    return distinct


def _likelihood(head: Head) -> float:
    """Inliers, weighted by how usual the radius is (adults: about 23.5 mm, spread widely)."""
    return head.inliers * float(np.exp(-0.5 * ((head.radius_mm - 23.5) / 4.0) ** 2))


def sample(image: Image, points_mm: Float) -> Float:
    """Trilinear values at world points (..., 3); NaN outside the image."""
    index = np.moveaxis(image.grid.index(points_mm), -1, 0)
    return np.asarray(ndi.map_coordinates(image.array, index, order=1, cval=np.nan))


def _plausible(head: Head, grid: Grid) -> bool:
    index = grid.index(head.centre_mm)
    inside = bool(((index >= 0) & (index <= np.array(grid.shape) - 1)).all())
    return inside and RADIUS_MM[0] <= head.radius_mm <= RADIUS_MM[1]


def _clipped(image: Image, top_hu: float) -> Image:
    """Cut off air and dense cortex, which would outweigh the joint space, and smooth lightly."""
    array = np.clip(image.array, -50.0, top_hu)
    return image.with_array(ndi.gaussian_filter(array, 1.0 / image.spacing_mm[0]))


def _candidates(image: Image) -> Float:
    """World points (n, 3) on a 4 mm lattice round which about 14 mm are bone."""
    bone = (image.array > BONE_HU).astype(np.float32)
    solid = ndi.gaussian_filter(bone, 7.0 / image.spacing_mm[0], mode="nearest") > 0.85
    index = np.argwhere(solid)
    return image.grid.world(index[(index % 2 == 0).all(axis=1)])


def _score(image: Image, centres: Float) -> tuple[Float, Float, Float]:
    """Mean drop of HU across the best sphere round each centre: (centres, scores, radii)."""
    rays = directions(200)
    edge = np.arange(RADIUS_MM[0], RADIUS_MM[1], 1.0)
    r = np.arange(edge[0] - 2.5, edge[-1] + 3.0, 1.0)  # 3 samples either side of an edge
    scores, radii = np.zeros(len(centres)), np.zeros(len(centres))
    for start in range(0, len(centres), 200):
        part = slice(start, start + 200)
        points = centres[part, None, None] + rays[None, :, None] * r[:, None]
        mean = _running_mean(sample(image, points), 3)
        drop = np.clip((mean[..., :-3] - mean[..., 3:]) / 80.0, -1.0, 1.0)
        seen = np.maximum(np.isfinite(drop).sum(axis=1), 0.5 * len(rays))
        score = np.nansum(drop, axis=1) / seen
        best = score.argmax(axis=1)
        scores[part], radii[part] = score[np.arange(len(best)), best], edge[best]
    return centres, scores, radii


def _running_mean(values: Float, width: int) -> Float:
    """Mean over `width` neighbours of the last axis; NaN where one is NaN."""
    windows = np.lib.stride_tricks.sliding_window_view(values, width, axis=-1)
    return np.asarray(windows.mean(axis=-1))


def _refine(image: Image, centre: Float, radius: float, tolerance: float) -> Head:
    """Fit a sphere to the steepest drops along rays, closing in on the edge in six rounds."""
    rays = directions(600)
    inliers = visible = 0.0
    for reach in (6.0, 6.0, 4.0, 4.0, 3.0, 3.0):
        r = np.arange(0.7 * radius, 1.3 * radius, 0.5)
        mean = _running_mean(sample(image, centre + rays[:, None] * r[:, None]), 4)
        edge = r[3:-4] + 0.25
        drop = np.where(np.abs(edge - radius) <= reach, mean[:, :-4] - mean[:, 4:], np.nan)
        seen = np.isfinite(drop).any(axis=1)
        best = np.where(np.isfinite(drop), drop, -np.inf).argmax(axis=1)
        strong = seen & (drop[np.arange(len(rays)), best] > STEP_HU)
        if np.count_nonzero(strong) < 50:
            return Head(centre, radius, 0.0, float(seen.mean()))
        points = centre + rays[strong] * edge[best[strong], None]
        centre, radius, distance = robust_sphere(points)
        if not RADIUS_MM[0] / 2 < radius < 2 * RADIUS_MM[1]:
            return Head(centre, radius, 0.0, float(seen.mean()))
        inliers = float(np.exp(-((distance / tolerance) ** 2)).sum() / np.count_nonzero(seen))
        visible = float(seen.mean())
    return Head(centre, radius, inliers, visible)

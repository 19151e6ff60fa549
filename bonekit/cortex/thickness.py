"""Thickness and density of the cortex over the surface of a bone.

Order of the work: the blur of the scanner and the density of compact bone come from where the
cortex is thick enough to show them; with both held, thickness follows everywhere, far below the
width of the blur (Treece et al. 2010). What a thin cortex surely shows is its mineral per area,
``thickness x density``: where its density is lower than that held, the thickness comes out too
small by the same factor (Treece et al., CUED/F-INFENG/TR665, 2011).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.cortex.blur import TAIL_MM, Seen, seen_in_thick
from bonekit.cortex.profile import FWHM, SIGMA, X0, Y0, Y1, Y2, Fit, Profiles, T, fit
from bonekit.cortex.surface import Surface, bone_mask, sample, surface_of
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

ENOUGH = 2500  # points from which blur and cortical density are read
USUAL_MM = 1.2  # in-plane blur to start from
STARTS_MM = (0.8, 2.5, 5.5)

# What a fit must satisfy, as a share of cortical density or in mm.
OUTSIDE, INSIDE, RESIDUAL = 0.4, 0.85, 0.2
ASTRAY_MM, THINNEST_MM, THICKEST_MM = 2.5, 0.1, 11.0
LESION_MM = 2.0  # this near to a lesion there may be no cortex


@dataclass(frozen=True, eq=False)
class CorticalMap:
    """The cortex at points of the surface.

    Parameters
    ----------
    points_mm, normals : ndarray, (n, 3)
        World; unit normals outward.
    thickness_mm : ndarray, (n,)
    density_g_cm3 : ndarray, (n,)
        Of the cortex, of the kind of the image.
    outer_mm : ndarray, (n,)
        Depth of the outer surface of the cortex below the point; negative outside the mask.
    outside_g_cm3, inside_g_cm3 : ndarray, (n,)
        Density of the soft tissue outside and of what lies under the cortex.
    residual_g_cm3 : ndarray, (n,)
        Root mean square of what the model leaves unexplained.
    ok : ndarray of bool, (n,)
        Where all of this can be used.
    failures : mapping of str to int
        Points that can't be used, by reason; a point counts once, for the first that applies.
    psf_fwhm_mm : float
        In-plane blur of the scan, given or estimated.
    cortical_density_g_cm3 : float
        Of thick cortex, given or estimated.
    slice_mm : float
        Slice thickness used.
    kind : str
        What the densities are densities of.
    """

    points_mm: Float
    normals: Float
    thickness_mm: Float
    density_g_cm3: Float
    outer_mm: Float
    outside_g_cm3: Float
    inside_g_cm3: Float
    residual_g_cm3: Float
    ok: Mask
    failures: Mapping[str, int]
    psf_fwhm_mm: float
    cortical_density_g_cm3: float
    slice_mm: float
    kind: str

    @property
    def mineral_mg_cm2(self) -> Float:
        """Mineral of the cortex per area of surface, (n,)."""
        return self.thickness_mm * self.density_g_cm3 * 100.0


def cortical_map(
    density: DensityImage,
    labels: LabelMap,
    *,
    spacing_mm: float = 2.0,
    psf_fwhm_mm: float | None = None,
    cortical_density_g_cm3: float | None = None,
    slice_mm: float | None = None,
    patchwise: bool = False,
) -> CorticalMap:
    """Measure the cortex over the whole surface of a bone.

    Parameters
    ----------
    density : DensityImage
        Its last axis is that of the slices.
    labels : LabelMap
        Same grid, with the names of `bonekit.segmentation.base.REGIONS`.
    spacing_mm : float
        About the distance of the points.
    psf_fwhm_mm : float, optional
        In-plane blur of the scanner; estimated from thick cortex otherwise.
    cortical_density_g_cm3 : float, optional
        Of compact bone; estimated from thick cortex otherwise.
    slice_mm : float, optional
        Slice thickness; the distance of the slices by default.
    patchwise : bool
        Let cortical density vary over the bone: at each point the median of the nearest places
        whose cortex is thick enough to show it. This is ours; Treece and Gee (Med Image Anal
        2015) estimate density at each point by another method (unverified: quoted from memory).
        False: one value for the whole bone (2010).

    Returns
    -------
    CorticalMap

    Raises
    ------
    InputError
        If the grids differ, the density is not finite, the bone has no surface, or a given number
        is not plausible.
    CalibrationError
        If the bone has too little thick cortex to estimate what was not given.
    """
    _check(density, labels, spacing_mm, psf_fwhm_mm, cortical_density_g_cm3, slice_mm)
    density, labels = _around(density, labels)
    surface = surface_of(bone_mask(labels), density.grid, spacing_mm)
    profiles = sample(density, labels, surface, slice_mm)
    known = _known(surface, profiles, psf_fwhm_mm, cortical_density_g_cm3, patchwise)
    found = _held(profiles, known.fwhm_mm, known.local_g_cm3)
    return _map(surface, profiles, found, labels, known, str(density.kind))


def _check(
    density: DensityImage,
    labels: LabelMap,
    spacing_mm: float,
    fwhm_mm: float | None,
    compact: float | None,
    slice_mm: float | None,
) -> None:
    if not density.grid.same_as(labels.grid):
        raise InputError(
            f"density {density.shape} and labels {labels.shape} are on different grids; "
            "bring the labels onto the density first: labels.resample(density.grid)"
        )
    if not np.isfinite(density.array).all():
        raise InputError(
            "the density holds values that are not finite numbers; fill them before (for example "
            "with the density of air)"
        )
    limits = (
        ("spacing_mm", spacing_mm, 0.5, 10.0),
        ("psf_fwhm_mm", fwhm_mm, 0.2, 5.0),
        ("cortical_density_g_cm3", compact, 0.5, 2.5),
        ("slice_mm", slice_mm, 0.1, 10.0),
    )
    for name, value, low, high in limits:
        if value is not None and not low <= value <= high:  # written so that a NaN fails
            raise InputError(f"{name} is {value}; allowed: {low} to {high}")


def _around(density: DensityImage, labels: LabelMap) -> tuple[DensityImage, LabelMap]:
    """Cut out the bone with 10 mm around it."""
    index = np.argwhere(bone_mask(labels))
    room = np.ceil(10.0 / density.spacing_mm).astype(int)
    low, high = index.min(axis=0) - room, index.max(axis=0) + room + 1
    return density.crop(low, high), labels.crop(low, high)


def _known(
    surface: Surface,
    profiles: Profiles,
    fwhm_mm: float | None,
    compact: float | None,
    patchwise: bool,
) -> Seen:
    """Blur and cortical density: as given, or as thick cortex shows them."""
    if fwhm_mm is not None and compact is not None and not patchwise:
        return Seen(fwhm_mm, compact, np.full(len(profiles), compact))
    some = np.arange(0, len(profiles), -(-len(profiles) // ENOUGH))  # all would only take longer
    rough = _free(profiles.part(some), fwhm_mm or USUAL_MM)
    return seen_in_thick(surface, profiles, some, rough, fwhm_mm, compact, patchwise)


def _start(profiles: Profiles, thickness_mm: float, fwhm: float, y1: Float) -> Float:
    """Parameters to start from, (n, 6)."""
    depth, value, weight = profiles.depth_mm, profiles.density_g_cm3, profiles.weight

    def mean(near: Mask, otherwise: float) -> Float:
        share = weight * near
        total = share.sum(axis=1)
        found = (share * value).sum(axis=1) / np.maximum(total, 1e-12)
        return np.asarray(np.where(total > 0, found, otherwise))

    start = np.zeros((len(profiles), 6))
    start[:, T], start[:, Y1], start[:, SIGMA] = thickness_mm, y1, fwhm / FWHM
    start[:, Y0] = mean(depth < -2.0, 0.0)
    start[:, Y2] = np.minimum(mean(depth > thickness_mm + 2.0, 0.2), 0.7 * y1)
    return start


def _best(profiles: Profiles, starts: list[Float], free: tuple[str, ...]) -> Fit:
    """Try several starts for a few rounds each, and go on from the best."""
    tries = [fit(profiles, start, free, rounds=6) for start in starts]
    which = np.argmin([found.residual_g_cm3 for found in tries], axis=0)
    rows = np.arange(len(profiles))
    return fit(profiles, np.stack([f.parameters for f in tries])[which, rows], free, rounds=30)


def _free(profiles: Profiles, fwhm: float) -> Fit:
    """Layers of which only the blur is held: right where the cortex is thick."""
    peak = np.quantile(profiles.density_g_cm3[profiles.weight > 0], 0.97)
    y1 = np.full(len(profiles), float(peak))
    starts = [_start(profiles, mm, fwhm, y1) for mm in STARTS_MM[1:]]
    return _best(profiles, starts, ("x0", "t", "y0", "y1", "y2"))


def _held(profiles: Profiles, fwhm: float, y1: Float) -> Fit:
    """Layers with blur and cortical density held; first all samples, then those around."""
    free = ("x0", "t", "y0", "y2")
    starts = [_start(profiles, mm, fwhm, y1) for mm in STARTS_MM]
    first = _best(profiles, starts, free)
    p = first.parameters
    near = profiles.within(p[:, X0] - TAIL_MM, p[:, X0] + p[:, T] + TAIL_MM)
    return fit(near, p, free, rounds=30)


def _map(
    surface: Surface,
    profiles: Profiles,
    found: Fit,
    labels: LabelMap,
    known: Seen,
    kind: str,
) -> CorticalMap:
    p = found.parameters
    reasons = _reasons(surface, profiles, found, labels)
    ok, failures = np.ones(len(p), bool), {}
    for reason, bad in reasons.items():
        failures[reason] = int(np.count_nonzero(bad & ok))
        ok &= ~bad
    logger.info("cortex: %d of %d points fitted; %s", ok.sum(), ok.size, failures)
    return CorticalMap(
        points_mm=surface.points_mm,
        normals=surface.normals,
        thickness_mm=p[:, T],
        density_g_cm3=p[:, Y1],
        outer_mm=p[:, X0],
        outside_g_cm3=p[:, Y0],
        inside_g_cm3=p[:, Y2],
        residual_g_cm3=found.residual_g_cm3,
        ok=ok,
        failures=failures,
        psf_fwhm_mm=known.fwhm_mm,
        cortical_density_g_cm3=known.compact_g_cm3,
        slice_mm=profiles.slice_mm,
        kind=kind,
    )


def _reasons(surface: Surface, profiles: Profiles, found: Fit, labels: LabelMap) -> dict[str, Mask]:
    """Why a point can't be used."""
    p = found.parameters
    in_window = profiles.weight > 0
    outside = np.count_nonzero(in_window & (profiles.depth_mm < -0.5), axis=1)
    inside = np.count_nonzero(in_window & (profiles.depth_mm > 0.5), axis=1)
    return {
        "near a lesion": near_lesion(surface.points_mm, labels),
        "too few samples (other bone next to it)": (outside < 4) | (inside < 6),
        "no soft tissue outside": p[:, Y0] > OUTSIDE * p[:, Y1],
        "no edge near the mask": np.abs(p[:, X0]) > ASTRAY_MM,
        "no cortex": (p[:, T] < THINNEST_MM) | (p[:, Y2] > INSIDE * p[:, Y1]),
        "not converged": ~found.converged | ~np.isfinite(p).all(axis=1),
        "too thick": p[:, T] > THICKEST_MM,
        "model does not fit": found.residual_g_cm3 > RESIDUAL * p[:, Y1],
    }


def near_lesion(points_mm: Float, labels: LabelMap) -> Mask:
    """Tell which world points (n, 3) lie within `LESION_MM` of a voxel labelled as lesion."""
    if "lesion" not in labels.names.values() or not labels.mask("lesion").any():
        return np.zeros(len(points_mm), bool)
    tree = cKDTree(labels.grid.world(np.argwhere(labels.mask("lesion"))))
    distance, _ = tree.query(points_mm, distance_upper_bound=LESION_MM)
    return np.isfinite(distance)

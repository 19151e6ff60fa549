"""What thick cortex tells about a scan: the blur, and the density of compact bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.cortex.profile import FWHM, SIGMA, X0, Y0, Y1, Y2, Fit, Profiles, T, fit
from bonekit.cortex.surface import Surface
from bonekit.errors import CalibrationError

Float = NDArray[np.float64]

THICK = 2.5  # blurs (full width at half maximum): a cortex this thick shows its own density
SHOWN = 1.8  # blurs: from here on a cortex shows its own density well enough for a median of many
BONY = 0.7  # of the density of compact bone: what is less is dense spongiosa
NEIGHBOURS = 25  # places over which density is averaged where it is not one for the whole bone
FEWEST = 40  # places with a thick cortex below which a median says nothing
TAIL_MM = 4.0  # of soft tissue and of the inside seen by the last fit


@dataclass(frozen=True, eq=False)
class Seen:
    """What thick cortex tells: blur, density of compact bone, and density near each point."""

    fwhm_mm: float
    compact_g_cm3: float
    local_g_cm3: Float


def seen_in_thick(
    surface: Surface,
    profiles: Profiles,
    some: NDArray[np.intp],
    rough: Fit,
    fwhm: float | None,
    compact: float | None,
    patchwise: bool,
) -> Seen:
    """Read blur and density off thick cortex, unless they are given.

    Parameters
    ----------
    surface : Surface
    profiles : Profiles
    some : ndarray of int, (m,)
        Profiles that `rough` is of.
    rough : Fit
        With the density of each profile free.
    fwhm, compact : float, optional
        In-plane blur in mm and density in g/cm3 that are known.
    patchwise : bool
        Whether density varies over the bone.

    Raises
    ------
    CalibrationError
        If there is too little thick cortex.
    """
    sampled, points = profiles.part(some), surface.points_mm
    blur = FWHM * float(np.median(rough.parameters[:, SIGMA]))
    if fwhm is None or compact is None:
        rows = _thick(sampled, rough, THICK * blur)
        if fwhm is None:
            fwhm = FWHM * float(np.median(_outer_edge(sampled, rough, rows, None)[:, SIGMA]))
        if compact is None:
            compact = float(np.median(_outer_edge(sampled, rough, rows, fwhm)[:, Y1]))
    if not patchwise:
        return Seen(fwhm, compact, np.full(len(profiles), compact))
    rows = _thick(sampled, rough, SHOWN * fwhm)
    y1 = _both_edges(sampled, rough, rows, fwhm)[:, Y1]
    bony = y1 > BONY * compact
    _enough(int(bony.sum()), SHOWN * fwhm)
    near = cKDTree(points[some[rows[bony]]]).query(points, NEIGHBOURS)[1]
    return Seen(fwhm, compact, np.median(y1[bony][near], axis=1))


def _thick(profiles: Profiles, rough: Fit, thicker_mm: float) -> NDArray[np.intp]:
    """Points whose cortex is thick, and plain to see.

    Raises
    ------
    CalibrationError
        If there are too few.
    """
    p = rough.parameters
    plain = rough.converged & (p[:, T] > thicker_mm) & (p[:, T] < 9.0) & (profiles.in_plane > 0.8)
    plain &= (np.abs(p[:, X0]) < 1.5) & (p[:, Y0] < 0.3 * p[:, Y1]) & (p[:, Y2] < 0.6 * p[:, Y1])
    plain &= rough.residual_g_cm3 < 0.12 * p[:, Y1]
    rows = np.flatnonzero(plain)
    _enough(rows.size, thicker_mm)
    return rows


def _enough(count: int, thicker_mm: float) -> None:
    if count < FEWEST:
        raise CalibrationError(
            f"{count} places of this bone show a plain cortex thicker than {thicker_mm:.1f} mm; at "
            f"least {FEWEST} are needed to estimate blur and cortical density. Give psf_fwhm_mm "
            "and cortical_density_g_cm3 of the scanner, or a scan that shows more of the shaft"
        )


def _outer_edge(
    profiles: Profiles, rough: Fit, rows: NDArray[np.intp], fwhm: float | None
) -> Float:
    """Parameters from the outer half of the cortex alone, with blur held, or free if None.

    The inner half is no step in a living bone: pores widen towards the canal, which would pass
    for blur, and thin the cortex below the density of compact bone. Of the places, those that the
    model fits best: a tendon at the surface, too, would pass for blur.
    """
    q = rough.parameters[rows].copy()
    half = profiles.part(rows).within(q[:, X0] - TAIL_MM, q[:, X0] + q[:, T] / 2)
    free: tuple[str, ...] = ("x0", "y0", "y1")
    if fwhm is None:
        free = (*free, "sigma")
    else:
        q[:, SIGMA] = fwhm / FWHM
    found = fit(half, q, free)
    return found.parameters[found.residual_g_cm3 <= np.median(found.residual_g_cm3)]


def _both_edges(profiles: Profiles, rough: Fit, rows: NDArray[np.intp], fwhm: float) -> Float:
    """Parameters with density free and the blur held, from the samples near the cortex."""
    q = rough.parameters[rows].copy()
    q[:, SIGMA] = fwhm / FWHM
    near = profiles.part(rows).within(q[:, X0] - TAIL_MM, q[:, X0] + q[:, T] + TAIL_MM)
    return fit(near, q, ("x0", "t", "y0", "y1", "y2")).parameters

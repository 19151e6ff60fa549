"""What a scanner makes of a layer of cortex, and the layer that explains a profile best.

The model of Treece et al. (Med Image Anal 2010;14:276-290): along the normal of the surface the
density is a step from soft tissue (``y0``) to cortex (``y1``, of thickness ``t``) to what lies
inside (``y2``), blurred by the point spread of the scanner. Their abstract and their report
CUED/F-INFENG/TR665 (2011) were read; the equations here are our own derivation from that idea.

A Gaussian of standard deviation ``s`` in plane and a slice of thickness ``h`` blur a plane layer
with the unit normal ``n`` (its share ``n_k`` along the slices' axis) like a Gaussian of
``s sqrt(1 - n_k^2)`` followed by a box of ``h |n_k|``, both along the normal. A blurred unit step
is then ``(H(x + w/2) - H(x - w/2)) / w`` with ``H(x) = x N(x/s) + s N'(x/s)`` and ``N`` the normal
distribution.

Depth ``x`` is in mm, positive into the bone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bonekit.errors import InputError

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations
X0, T, Y0, Y1, Y2, SIGMA = range(6)  # columns of the parameters
NAMES = ("x0", "t", "y0", "y1", "y2", "sigma")
LEAST_MM, FINEST_MM = 0.02, 0.05  # of thickness and of blur: zero would have no derivative
AT_ONCE = 2048  # profiles: as many as a processor's cache holds


@dataclass(frozen=True, eq=False)
class Profiles:
    """Densities along normals of a surface.

    Parameters
    ----------
    depth_mm : ndarray, (n, m)
        Of each sample, positive into the bone.
    density_g_cm3 : ndarray, (n, m)
    weight : ndarray, (n, m)
        0 for samples that don't belong to this layer.
    in_plane, along : ndarray, (n,)
        Share of the normal in the slice plane and along the slices' axis, in 0..1.
    slice_mm : float
        Slice thickness.
    """

    depth_mm: Float
    density_g_cm3: Float
    weight: Float
    in_plane: Float
    along: Float
    slice_mm: float

    def __len__(self) -> int:
        return len(self.depth_mm)

    def part(self, which: NDArray[np.generic] | slice) -> Profiles:
        """Return some of the profiles."""
        return Profiles(
            *(self.depth_mm[which], self.density_g_cm3[which], self.weight[which]),
            *(self.in_plane[which], self.along[which], self.slice_mm),
        )

    def within(self, low_mm: Float, high_mm: Float) -> Profiles:
        """Leave out the samples above or below a depth, each (n,)."""
        near = (self.depth_mm >= low_mm[:, None]) & (self.depth_mm <= high_mm[:, None])
        return replace(self, weight=self.weight * near)


@dataclass(frozen=True, eq=False)
class Fit:
    """The layers that explain the profiles best.

    Parameters
    ----------
    parameters : ndarray, (n, 6)
        Depth of the outer edge and thickness in mm; density outside, of the cortex and inside in
        g/cm3; standard deviation of the in-plane blur in mm.
    residual_g_cm3 : ndarray, (n,)
        Weighted root mean square of what the model leaves unexplained.
    converged : ndarray of bool, (n,)
    """

    parameters: Float
    residual_g_cm3: Float
    converged: Mask


def blurred_step(depth_mm: Float, sigma_mm: Float, box_mm: Float) -> Float:
    """See a unit step at depth 0 through a Gaussian and a box; all broadcast."""
    return _step(depth_mm, sigma_mm, box_mm)[0]


def _step(x: Float, sigma: Float, box: Float) -> tuple[Float, Float, Float]:
    """Blurred step, its derivative by depth, and by the Gaussian's standard deviation."""
    half = np.maximum(box, 1e-3) / 2
    a, b = (x + half) / sigma, (x - half) / sigma
    na, nb = ndtr(a), ndtr(b)
    pa, pb = np.exp(-0.5 * a * a), np.exp(-0.5 * b * b)
    scale = 1 / (2 * half)
    by_sigma = (pa - pb) * (scale / math.sqrt(2 * math.pi))
    by_depth = (na - nb) * scale
    # (x + h) N(a) - (x - h) N(b), written so that far from the step nothing cancels
    value = (na + nb) / 2 + x * by_depth + sigma * by_sigma
    return value, by_depth, by_sigma


def layer(parameters: Float, profiles: Profiles) -> Float:
    """Densities of blurred layers with parameters (n, 6) at the samples, (n, m)."""
    return _layer(parameters, profiles, ())[0]


def _layer(p: Float, profiles: Profiles, free: Sequence[int]) -> tuple[Float, Float]:
    """Model (n, m) and its derivatives by the free parameters, (n, free, m)."""
    c = [p[:, i, None] for i in range(6)]
    sigma = np.maximum(c[SIGMA] * profiles.in_plane[:, None], FINEST_MM)
    box = profiles.slice_mm * profiles.along[:, None]
    x = profiles.depth_mm - c[X0]
    outer, d_outer, s_outer = _step(x, sigma, box)
    inner, d_inner, s_inner = _step(x - c[T], sigma, box)
    rise, fall = c[Y1] - c[Y0], c[Y2] - c[Y1]
    model = c[Y0] + rise * outer + fall * inner
    slopes = np.empty((len(p), len(free), x.shape[1]))
    for column, parameter in enumerate(free):
        match parameter:
            case 0:  # x0
                slope = -rise * d_outer - fall * d_inner
            case 1:  # t
                slope = -fall * d_inner
            case 2:  # y0
                slope = 1 - outer
            case 3:  # y1
                slope = outer - inner
            case 4:  # y2
                slope = inner
            case _:  # sigma
                slope = (rise * s_outer + fall * s_inner) * profiles.in_plane[:, None]
        slopes[:, column] = slope
    return model, slopes


def fit(
    profiles: Profiles,
    start: Float,
    free: Sequence[str],
    *,
    rounds: int = 40,
    tolerance_mm: float = 1e-3,
) -> Fit:
    """Fit layers to all profiles at once by the method of Levenberg and Marquardt.

    Parameters
    ----------
    profiles : Profiles
    start : ndarray, (n, 6)
        What is not free stays as it is.
    free : sequence of str
        Of ``x0, t, y0, y1, y2, sigma``.
    rounds : int
    tolerance_mm : float
        Converged where no length moves further, and no density by 1 mg/cm3.

    Raises
    ------
    InputError
        If the shapes don't fit together or a name is unknown.
    """
    if start.shape != (len(profiles), len(NAMES)):
        raise InputError(f"start is {start.shape}; allowed: {(len(profiles), len(NAMES))}")
    unknown = set(free) - set(NAMES)
    if unknown or not free:
        raise InputError(f"free parameters {list(free)}; allowed: some of {', '.join(NAMES)}")
    columns = [NAMES.index(name) for name in free]
    parts = [
        _fit_part(profiles.part(part), start[part], columns, rounds, tolerance_mm)
        for part in (slice(i, i + AT_ONCE) for i in range(0, max(len(profiles), 1), AT_ONCE))
    ]
    return Fit(
        np.concatenate([part.parameters for part in parts]),
        np.concatenate([part.residual_g_cm3 for part in parts]),
        np.concatenate([part.converged for part in parts]),
    )


def _fit_part(
    profiles: Profiles, start: Float, free: list[int], rounds: int, tolerance: float
) -> Fit:
    p, damping = start.copy(), np.full(len(start), 1e-3)
    cost = _cost(layer(p, profiles), profiles)
    active, converged = np.arange(len(p)), np.zeros(len(p), bool)
    for _ in range(rounds):
        if not active.size:
            break
        some = profiles.part(active)
        tried = _stepped(p[active], some, free, damping[active])
        new = _cost(layer(tried, some), some)
        better = new <= cost[active]
        still = np.abs(tried - p[active]).max(axis=1) < tolerance
        moved = active[better]
        p[moved], cost[moved] = tried[better], new[better]
        damping[active] = np.clip(damping[active] * np.where(better, 0.2, 6.0), 1e-9, 1e9)
        converged[active] = still
        active = active[~still]
    return Fit(p, np.sqrt(cost), converged)


def _stepped(p: Float, profiles: Profiles, free: list[int], damping: Float) -> Float:
    """Parameters after one damped Gauss-Newton step, kept where the model is defined."""
    model, slopes = _layer(p, profiles, free)
    weighted = slopes * profiles.weight[:, None]
    normal = weighted @ slopes.transpose(0, 2, 1)
    right = (weighted @ (profiles.density_g_cm3 - model)[:, :, None])[:, :, 0]
    diagonal = np.einsum("nii->ni", normal)
    diagonal += damping[:, None] * diagonal + 1e-9
    moved = p.copy()
    moved[:, free] += np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    moved[:, T] = np.maximum(moved[:, T], LEAST_MM)
    moved[:, SIGMA] = np.maximum(moved[:, SIGMA], FINEST_MM)
    return moved


def _cost(model: Float, profiles: Profiles) -> Float:
    """Weighted mean square, (n,)."""
    square = profiles.weight * (profiles.density_g_cm3 - model) ** 2
    return np.asarray(square.sum(axis=1) / np.maximum(profiles.weight.sum(axis=1), 1e-12))


def half_max(profiles: Profiles, step_mm: float = 0.1) -> Float:
    """Thickness between the half heights on both sides of the peak, in mm, (n,).

    The usual naive measure, for comparison: it can't fall below the width of the blur. Half
    heights count from the lowest density on either side of the peak. NaN where there is none.
    """
    x = np.arange(-4.0, 14.0, step_mm)
    thickness = np.full(len(profiles), np.nan)
    for row in range(len(profiles)):
        use = profiles.weight[row] > 0
        if np.count_nonzero(use) < 4:
            continue
        depth, density = profiles.depth_mm[row, use], profiles.density_g_cm3[row, use]
        order = np.argsort(depth)
        line = np.interp(x, depth[order], density[order])
        near = np.abs(x) <= 3.0
        peak = int(np.flatnonzero(near)[np.argmax(line[near])])
        outside = np.flatnonzero(line[:peak] < (line[peak] + line[:peak].min(initial=0)) / 2)
        inside = np.flatnonzero(line[peak:] < (line[peak] + line[peak:].min()) / 2)
        if outside.size and inside.size:
            thickness[row] = (peak + inside[0] - outside[-1] - 1) * step_mm
    return thickness

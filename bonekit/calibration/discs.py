"""Rows of uniform discs in a slice: what calibration rods look like across their axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

Float = NDArray[np.float64]

EDGE = 0.45  # least share of a disc's edge that is there: a rod cut in half is still seen
CORE = 0.7  # of the radius: what partial volume and point spread leave alone
MOST_CANDIDATES = 40
PITCH = (1.05, 5.0)  # distance of neighbours, in diameters
AIR_HU = -300  # foam and air are below
BASE_HU = 200.0  # of what holds the rods, at most: a medullary canal lies in more
MOST_BEYOND_MM = 40.0  # base, pad and table; more than that is the body
BEND = 0.3  # of the pitch: how far a rod may lie off its place in the row


@dataclass(frozen=True)
class Side:
    """Side of the body on which a row lies.

    Parameters
    ----------
    name : str
        As in "rods behind the patient".
    along : int
        Axis of a slice along which the row runs: 0 to the left, 1 to the back.
    outward : int
        Sense of the other axis, away from the body.
    first : str
        Where the row begins.
    """

    name: str
    along: int
    outward: int
    first: str


SIDES = (
    Side("behind", 0, 1, "right"),
    Side("in front of", 0, -1, "right"),  # a patient who lies prone
    Side("to the left of", 1, 1, "front"),
    Side("to the right of", 1, -1, "front"),
)


@dataclass(frozen=True, eq=False)
class Discs:
    """Uniform discs of one radius found in a slice.

    Parameters
    ----------
    centre_mm : ndarray, (n, 2)
        Along the first and second axis of the slice.
    score : ndarray, (n,)
        Share of the edge that is there, 0 to 1.
    depth_mm : ndarray, (n, 4)
        How much that is not air lies beyond each centre, to each of `SIDES`.
    """

    centre_mm: Float
    score: Float
    depth_mm: Float


@dataclass(frozen=True, eq=False)
class Row:
    """Discs in a row.

    Parameters
    ----------
    centre_mm : ndarray, (n, 2)
        In the order of the axis along which the row runs.
    score : ndarray, (n,)
    """

    centre_mm: Float
    score: Float


def find_discs(plane: Float, spacing_mm: Sequence[float], radius_mm: float) -> Discs:
    """Find uniform discs of a radius: edges that point to a common centre all around it.

    Parameters
    ----------
    plane : ndarray, (ni, nj)
        HU.
    spacing_mm : sequence of float, (2,)
    radius_mm : float

    Returns
    -------
    Discs
        The best first.
    """
    along, noise = _gradient(plane, spacing_mm)
    score = _edge(along, noise, spacing_mm, radius_mm)
    score[~_uniform(plane, spacing_mm, CORE * radius_mm)] = 0.0
    size = [2 * int(0.7 * radius_mm / step) + 1 for step in spacing_mm]
    peak = (score >= EDGE) & (score == ndimage.maximum_filter(score, size, mode="constant"))
    where = np.argwhere(peak)
    where = where[np.argsort(-score[tuple(where.T)])][:MOST_CANDIDATES]
    centre = np.array([_refined(score, place) for place in where]).reshape(-1, 2)
    centre *= np.asarray(spacing_mm)
    round_ = np.array([_share_of_edge(along, noise, spacing_mm, c, radius_mm) for c in centre])
    found = score[tuple(where.T)] * round_
    found[_around(plane, spacing_mm, radius_mm)[tuple(where.T)] > BASE_HU] = 0.0
    order = np.argsort(-found)[: int((found >= EDGE).sum())]
    return Discs(centre[order], found[order], _depth(plane, spacing_mm, where[order]))


def _around(plane: Float, spacing_mm: Sequence[float], radius_mm: float) -> Float:
    """Mean HU of a ring around a disc at every pixel."""
    reach = 1.4 * radius_mm
    rho = np.hypot(*_offsets(spacing_mm, reach))
    ring = ((rho > 1.15 * radius_mm) & (rho < reach)).astype(np.float64)
    return _sum_under(plane, ring / ring.sum())


def _depth(plane: Float, spacing_mm: Sequence[float], where: NDArray[np.int64]) -> Float:
    """How much that is not air lies beyond some pixels to each side, in mm, (n, 4)."""
    depths = []
    for side in SIDES:
        across = 1 - side.along
        matter = np.flip(plane > AIR_HU, across) if side.outward > 0 else plane > AIR_HU
        beyond = np.cumsum(matter, across) * spacing_mm[across]
        beyond = np.flip(beyond, across) if side.outward > 0 else beyond
        depths.append(beyond[tuple(where.T)])
    return np.array(depths).T


def _gradient(plane: Float, spacing_mm: Sequence[float]) -> tuple[tuple[Float, Float], float]:
    """Gradient along both axes in HU per mm, and a length of it that noise may have."""
    along = [
        ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(plane, 0.8, a), 0.8, b, order=1) / step
        for a, b, step in ((1, 0, spacing_mm[0]), (0, 1, spacing_mm[1]))
    ]
    return (along[0], along[1]), float(np.median(np.hypot(*along))) + 1.0


def _share_of_edge(
    along: tuple[Float, Float],
    noise: float,
    spacing_mm: Sequence[float],
    centre_mm: Float,
    radius_mm: float,
) -> float:
    """Share of the circle that has an edge of the same sense: two walls are not a disc."""
    angle = (np.arange(24) + 0.5) * (2 * np.pi / 24)
    normal = np.array([np.cos(angle), np.sin(angle)])
    width = max(0.5 * max(spacing_mm), 0.5)
    rho = np.array([radius_mm - width, radius_mm, radius_mm + width])
    place = centre_mm[:, None, None] + rho[:, None] * normal[:, None, :]
    place /= np.asarray(spacing_mm)[:, None, None]
    gx, gy = (ndimage.map_coordinates(g, place, order=1, mode="constant") for g in along)
    cosine = (gx * normal[0] + gy * normal[1]) / (np.hypot(gx, gy) + noise)
    sectors = cosine.mean(axis=0).reshape(12, 2).mean(axis=1)
    return float(np.mean(sectors * np.sign(np.median(sectors)) > 0.2))


def _edge(
    along: tuple[Float, Float], noise: float, spacing_mm: Sequence[float], radius_mm: float
) -> Float:
    """Mean cosine between the gradient and the radius over a ring, weak gradients counting less."""
    length = np.hypot(*along)
    weight = length / (length + noise)
    width = max(0.8 * max(spacing_mm), 0.8)
    reach = radius_mm + 2 * width
    x, y = _offsets(spacing_mm, reach)
    rho = np.hypot(x, y)
    ring = np.exp(-(((rho - radius_mm) / width) ** 2) / 2) * (rho > 0)
    ring /= ring.sum()
    towards = sum(
        _sum_under(g / (length + noise), ring * axis / np.maximum(rho, 1e-9))
        for g, axis in zip(along, (x, y), strict=True)
    )
    # the constant keeps rings without any edge from scoring
    return np.asarray(np.abs(towards) / (_sum_under(weight, ring) + 0.05))


def _uniform(plane: Float, spacing_mm: Sequence[float], radius_mm: float) -> NDArray[np.bool_]:
    """Where the disc around a pixel varies no more than noise does."""
    x, y = _offsets(spacing_mm, radius_mm)
    disc = (np.hypot(x, y) <= radius_mm).astype(np.float64)
    disc /= disc.sum()
    mean = _sum_under(plane, disc)
    spread = np.sqrt(np.maximum(_sum_under(plane**2, disc) - mean**2, 0.0))
    body = mean > -500
    noise = float(np.percentile(spread[body], 20)) if body.any() else 0.0
    return np.asarray(body & (spread < 3 * noise + 0.04 * np.abs(mean) + 8))


def _offsets(spacing_mm: Sequence[float], reach_mm: float) -> tuple[Float, Float]:
    """Coordinates in mm of a kernel's pixels about its middle."""
    half = [int(np.ceil(reach_mm / step)) for step in spacing_mm]
    axes = [np.arange(-n, n + 1) * step for n, step in zip(half, spacing_mm, strict=True)]
    x, y = np.meshgrid(*axes, indexing="ij")
    return x, y


def _sum_under(field: Float, kernel: Float) -> Float:
    """Correlate, with zeros beyond the border."""
    return np.asarray(signal.fftconvolve(field, kernel[::-1, ::-1], mode="same"))


def _refined(score: Float, place: NDArray[np.int64]) -> list[float]:
    """Place of a peak between the pixels: the vertex of a parabola along each axis."""
    refined = []
    for axis in range(2):
        step = np.eye(2, dtype=int)[axis]
        ends = [place - step, place + step]
        if min(ends[0]) < 0 or (ends[1] >= score.shape).any():
            refined.append(float(place[axis]))
            continue
        low, mid, high = (score[tuple(p)] for p in (ends[0], place, ends[1]))
        bend = low - 2 * mid + high
        shift = (low - high) / (2 * bend) if bend < 0 else 0.0
        refined.append(float(place[axis] + np.clip(shift, -0.5, 0.5)))
    return refined


def best_row(
    discs: Discs,
    pattern: Sequence[int],
    diameter_mm: float,
    middle_mm: tuple[float, float],
    side: Side,
) -> Row | None:
    """Find the best row of evenly spaced discs on one side of the body.

    Parameters
    ----------
    discs : Discs
    pattern : sequence of int
        Places of the row that are taken, from 0: (0, 1, 3) has a gap.
    diameter_mm : float
    middle_mm : tuple of float, (2,)
        Of the body; rows that lie on another side of it are left out.
    side : Side

    Returns
    -------
    Row or None
        The row whose weakest disc is the best.
    """
    out = side.outward * (discs.centre_mm[:, 1 - side.along] - middle_mm[1 - side.along])
    order = np.argsort(discs.centre_mm[:, side.along])
    bare = discs.depth_mm[:, SIDES.index(side)] <= 0.5 * diameter_mm + MOST_BEYOND_MM
    order = order[(out[order] >= 0) & bare[order]]
    centre = np.column_stack([discs.centre_mm[order, side.along], out[order]])
    score = discs.score[order]
    best: Row | None = None
    for a in range(len(centre)):
        for b in range(a + 1, len(centre)):
            members = _chain(centre, score, a, b, pattern, diameter_mm)
            if members is None:
                continue
            row = Row(discs.centre_mm[order[members]], score[members])
            if best is None or _quality(row) > _quality(best):
                best = row
    return best


def _quality(row: Row) -> float:
    return float(row.score.min() + 0.2 * row.score.mean())


def _chain(
    centre: Float, score: Float, a: int, b: int, pattern: Sequence[int], diameter_mm: float
) -> list[int] | None:
    """Continue a pair by steps of its own length; None where a place of the pattern is empty."""
    step = (centre[b] - centre[a]) / (pattern[1] - pattern[0])
    pitch = float(np.hypot(*step))
    low, high = PITCH
    if not low * diameter_mm <= pitch <= high * diameter_mm or abs(step[1]) > 0.5 * step[0]:
        return None
    members = [a, b]
    for last, place in pairwise(pattern[1:]):
        expected = centre[members[-1]] + (place - last) * step
        off = np.hypot(*(centre - expected).T)
        near = np.flatnonzero(off < BEND * pitch)
        if near.size == 0:
            return None
        members.append(int(near[np.argmax(score[near] - off[near] / pitch)]))
        step = (centre[members[-1]] - centre[members[-2]]) / (place - last)
    return members

"""Where the spine runs in a CT: the canal's axis, the pedicles and the discs along it.

The canal is the one dark tube with a row of bone in front and bone all round it. Following it gives
a curve; the CT sampled in planes square to that curve is a straight spine, in which a vertebra is
a pair of pedicles and a disc is a dark sheet between two bright endplates.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi
from scipy.interpolate import make_smoothing_spline
from scipy.signal import find_peaks

from bonekit.errors import InputError
from bonekit.image.volume import Float, Grid, Image
from bonekit.segmentation.base import VERTEBRAE

T = TypeVar("T", bound=np.generic)
log = logging.getLogger(__name__)

BONE_HU = 140.0  # bone blurred to 1.5 mm lies above it, canal, disc (60-110) and muscle (50) below
STEP_MM = 2.0  # voxel of the search for the canal: a sixth of its width
SLICE_MM = 1.5  # sampling of the straightened spine
CANAL_REACH_MM = 18.0  # a canal 15-27 mm wide has bone within this distance in every direction
ARCH_GAP_MM = 10.0  # half the gap between the pedicles of neighbours, through which nerves leave
BODY_AHEAD_MM = 24.0  # centre of the canal to the centre of the body: 8 mm canal + half of 32 mm
OUTSIDE_HU = -1000.0


@dataclass(frozen=True, eq=False)
class StraightSpine:
    """The CT resampled along the canal.

    Parameters
    ----------
    hu : ndarray, (nx, ny, ns)
        Values at ``x`` mm to the left, ``y`` mm to the back and ``s`` mm headwards along the canal;
        NaN outside the CT.
    x, y, s : ndarray, (nx,), (ny,), (ns,)
    centre_mm : ndarray, (ns, 3)
        World points of the canal's axis.
    axes : ndarray, (ns, 3, 3)
        Columns left, posterior, superior of the plane at each ``s``.
    """

    hu: NDArray[np.float32]
    x: Float
    y: Float
    s: Float
    centre_mm: Float
    axes: Float

    def profile(self, x_mm: tuple[float, float], y_mm: tuple[float, float]) -> Float:
        """Mean HU along ``s`` of a box ``x_mm[0] <= |x| < x_mm[1]``, ``y_mm[0] <= y < y_mm[1]``.

        HU are cut at 600 so that a drop of metal or contrast does not rule the mean; where the CT
        does not cover half of the box the value is NaN.
        """
        inside_x = (np.abs(self.x) >= x_mm[0]) & (np.abs(self.x) < x_mm[1])
        inside_y = (self.y >= y_mm[0]) & (self.y < y_mm[1])
        box = np.clip(self.hu[np.ix_(inside_x, inside_y)], -100.0, 600.0)
        return _covered_mean(box.reshape(-1, len(self.s)))

    def at(self, s_mm: float) -> int:
        """Index of the plane nearest to ``s_mm``."""
        return int(np.abs(self.s - s_mm).argmin())


@dataclass(frozen=True, eq=False)
class Disc:
    """A disc as a plane: a world point in its middle, the unit normal headwards, and its ``s``."""

    centre_mm: Float
    normal: Float
    s_mm: float
    contrast_HU: float


@dataclass(frozen=True, eq=False)
class Level:
    """One vertebra along the spine; a disc that is not in the field of view is None."""

    pedicle_s_mm: float
    pedicle_mm: Float
    axes: Float
    below: Disc | None
    above: Disc | None
    sacral: bool

    @property
    def complete(self) -> bool:
        """Whether the discs on both sides are seen."""
        return self.below is not None and self.above is not None and not self.sacral


def _covered_mean(rows: NDArray[np.floating]) -> Float:
    """Mean over the first axis, NaN where fewer than half of the rows have a value."""
    count = np.isfinite(rows).sum(axis=0)
    total = np.nansum(rows, axis=0)
    return np.where(count * 2 >= len(rows), total / np.maximum(count, 1), np.nan)


def _shifted(array: NDArray[T], di: int, dj: int, fill: float = 0.0) -> NDArray[T]:
    """Value at (i + di, j + dj) of every voxel; `fill` beyond the edge."""
    moved = np.full_like(array, fill)
    n, m = array.shape[:2]
    here = (slice(max(0, -di), n - max(0, di)), slice(max(0, -dj), m - max(0, dj)))
    there = (slice(max(0, di), n + min(0, di)), slice(max(0, dj), m + min(0, dj)))
    if here[0].stop > here[0].start and here[1].stop > here[1].start:
        moved[here] = array[there]
    return moved


def _canal_reward(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much each voxel looks like the middle of the canal: -1 (not at all) to 0.85."""
    bone = hu > BONE_HU
    reach = int(CANAL_REACH_MM / STEP_MM)
    wall = ndi.maximum_filter1d(bone, 2 * int(ARCH_GAP_MM / STEP_MM) + 1, axis=2)
    walled = np.zeros(bone.shape, dtype=np.uint8)
    for angle in np.arange(16) * np.pi / 8:
        hit = np.zeros_like(bone)
        for radius in range(1, reach + 1):
            di, dj = np.rint(radius * np.array([np.cos(angle), np.sin(angle)])).astype(int)
            hit |= _shifted(wall, int(di), int(dj))
        walled += hit
    # 22 x 18 x 34 mm amid the bodies: above muscle (50 HU) even with discs and old bone.
    body = ndi.uniform_filter(np.clip(hu, -100.0, 400.0), (11, 9, 17), mode="nearest")
    body = _shifted(body, 0, -int(BODY_AHEAD_MM / STEP_MM))
    near = ndi.maximum_filter1d(bone, 2 * int(4.0 / STEP_MM) + 1, axis=2)
    room = np.stack([ndi.distance_transform_edt(~near[:, :, k]) for k in range(hu.shape[2])], 2)
    canal = ~bone & (walled >= 14) & (body > 80.0) & (hu > -150.0)
    # 8 mm: half the depth of a canal. The 0.15 lets a path end rather than run through clefts.
    return np.where(canal, np.minimum(room * STEP_MM, 8.0) / 8.0 - 0.15, -1.0).astype(np.float32)


def _best_path(reward: NDArray[np.float32]) -> NDArray[np.intp]:
    """Find the path (n, 3) upwards, one voxel a slice, with the largest sum of rewards."""
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    score = reward.copy()
    came = np.full(reward.shape, -1, dtype=np.int8)
    for k in range(1, reward.shape[2]):
        options = np.stack(
            [_shifted(score[:, :, k - 1], i, j, -1e6) - 0.4 * np.hypot(i, j) for i, j in steps]
        )
        best = options.max(axis=0)
        came[:, :, k] = np.where(best > 0, options.argmax(axis=0), -1)
        score[:, :, k] += np.maximum(best, 0)
    i, j, k = (int(n) for n in np.unravel_index(score.argmax(), score.shape))
    path = [(i, j, k)]
    while came[i, j, k] >= 0:
        di, dj = steps[came[i, j, k]]
        i, j, k = i + di, j + dj, k - 1
        path.append((i, j, k))
    return np.array(path[::-1])


def canal_axis(ct: Image) -> Float:
    """World points of the spinal canal's axis, feet to head.

    Parameters
    ----------
    ct : Image
        HU, canonical axes.

    Returns
    -------
    ndarray, (n, 3)
        About 2 mm apart.

    Raises
    ------
    InputError
        If no canal longer than a vertebra's arch is found.
    """
    shape = np.maximum(np.ceil(np.array(ct.shape) * ct.spacing_mm / STEP_MM), 2).astype(int)
    grid = Grid.of(
        (int(shape[0]), int(shape[1]), int(shape[2])), STEP_MM, ct.grid.origin_mm, ct.grid.direction
    )
    coarse = ct.with_array(ct.array.astype(np.float32)).resample(grid, OUTSIDE_HU)
    path = _best_path(_canal_reward(ndi.gaussian_filter(coarse.array, 1.5 / STEP_MM)))
    if len(path) * STEP_MM < 20.0:
        raise InputError(
            "no spinal canal found in this CT: a tube 10-25 mm wide with bone around it and "
            "vertebral bodies in front of it. Is a spine in the field of view, are the values in "
            "HU, and is the patient's orientation in the header right?"
        )
    # Halves bends 60 mm long, under two vertebrae: the canal has none, the path through voxels has.
    height = np.arange(len(path)) * STEP_MM
    smooth = make_smoothing_spline(height, path.astype(np.float64), lam=4000.0)
    return grid.world(smooth(height))


def straighten(ct: Image, axis_mm: Float, beyond_mm: float = 30.0) -> StraightSpine:
    """Resample the CT in planes square to the canal's axis.

    Parameters
    ----------
    ct : Image
    axis_mm : ndarray, (n, 3)
    beyond_mm : float
        How far the curve goes on straight past both its ends.
    """
    arc = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(axis_mm, axis=0), axis=1))]
    s = np.arange(-beyond_mm, arc[-1] + beyond_mm, SLICE_MM)
    on_curve = np.clip(s, 0.0, arc[-1])
    point = np.stack([np.interp(on_curve, arc, axis_mm[:, n]) for n in range(3)], axis=1)
    up: Float = np.gradient(point, axis=0)
    up[s < 0], up[s > arc[-1]] = up[s >= 0][1], up[s <= arc[-1]][-2]
    up = ndi.gaussian_filter1d(up, 6.0 / SLICE_MM, axis=0, mode="nearest")
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    point = point + (s - on_curve)[:, None] * up
    left = ct.grid.direction[:, 0] - up * (up @ ct.grid.direction[:, 0])[:, None]
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    axes = np.stack([left, np.cross(up, left), up], axis=2)
    x, y = np.arange(-60.0, 60.1, SLICE_MM), np.arange(-57.0, 60.1, SLICE_MM)
    world = point + x[:, None, None, None] * left + y[None, :, None, None] * axes[:, :, 1]
    index = np.moveaxis(ct.grid.index(world), -1, 0)
    hu = ndi.map_coordinates(ct.array.astype(np.float32), index, order=1, cval=np.nan)
    return StraightSpine(hu, x, y, s, point, axes)


def _find_disc(spine: StraightSpine, low_mm: float, high_mm: float) -> Disc | None:
    """Find the plane between two heights that is darkest against its two sides, or None."""
    inside_x, inside_y = np.abs(spine.x) <= 14.0, np.abs(spine.y + BODY_AHEAD_MM) <= 12.0
    columns = np.clip(spine.hu[np.ix_(inside_x, inside_y)], -100.0, 500.0)
    x, y = np.meshgrid(spine.x[inside_x], spine.y[inside_y] + BODY_AHEAD_MM, indexing="ij")
    columns = columns.reshape(-1, len(spine.s))
    offset = np.column_stack([x.ravel(), y.ravel()])
    k = np.arange(len(spine.s))
    expected_mm = low_mm + (high_mm - low_mm) / 3.0
    window = int(9.0 / SLICE_MM)  # the endplates lie within 9 mm of the middle of the disc
    best: tuple[float, int, float, float] = (-np.inf, 0, 0.0, 0.0)
    rows = np.arange(len(columns))[:, None]
    # The lumbo-sacral disc leans by up to 35 degrees to the canal, a scoliotic one 15 sideways.
    for a in np.tan(np.radians(np.arange(-35.0, 36.0, 5.0))):
        for b in np.tan(np.radians(np.arange(-15.0, 16.0, 5.0))):
            shifted = k + (offset @ (b, a))[:, None] / SLICE_MM
            near = np.clip(np.rint(shifted).astype(int), 0, len(k) - 1)
            mean = _covered_mean(columns[rows, near])
            known = np.where(np.isfinite(mean), mean, -np.inf)
            ahead = ndi.maximum_filter1d(known, window + 1, origin=-(window // 2))
            back = ndi.maximum_filter1d(known, window + 1, origin=window // 2)
            contrast: Float = np.minimum(ahead, back) - mean - 20.0 * (abs(a) + abs(b))
            contrast -= 2.0 * np.abs(spine.s - expected_mm)
            contrast[
                (spine.s < low_mm + 3.0) | (spine.s > high_mm - 3.0) | ~np.isfinite(contrast)
            ] = -np.inf
            if contrast.max() > best[0]:
                best = (float(contrast.max()), int(contrast.argmax()), float(a), float(b))
    if best[0] < 30.0:  # HU: endplates stand out by 60-200 in a mean over the section
        return None
    axes = spine.axes[best[1]]
    normal = axes @ np.array([-best[3], -best[2], 1.0])
    centre = spine.centre_mm[best[1]] - BODY_AHEAD_MM * axes[:, 1]
    return Disc(centre, normal / np.linalg.norm(normal), float(spine.s[best[1]]), best[0])


def _sacral(spine: StraightSpine) -> NDArray[np.bool_]:
    """Tell the heights (ns,) with bone beside the spine: the sacrum's wings and the ilia."""
    inside_x = (np.abs(spine.x) >= 26.0) & (np.abs(spine.x) < 50.0)
    inside_y = (spine.y >= -24.0) & (spine.y < 16.0)
    box = spine.hu[np.ix_(inside_x, inside_y)]
    filled = _covered_mean(
        np.where(np.isfinite(box), box > 120.0, np.nan).reshape(-1, len(spine.s))
    )
    return np.asarray(np.nan_to_num(ndi.uniform_filter1d(filled, 5)) > 0.3)


def find_levels(spine: StraightSpine) -> list[Level]:
    """Find the vertebrae, feet to head: one for each pair of pedicles."""
    # The pedicles stand 10-22 mm beside the canal's middle; between them are the nerves' openings.
    beside = spine.profile((10.0, 22.0), (-8.0, 1.0))
    seen = np.isfinite(beside)
    smooth = ndi.gaussian_filter1d(np.where(seen, beside, -100.0), 3.0 / SLICE_MM)
    # Vertebrae follow each other by 18 mm (upper thoracic) to 40 mm.
    peaks, _ = find_peaks(smooth, distance=int(17.0 / SLICE_MM), prominence=50.0)
    heights = spine.s[peaks]
    # Pedicles leave the upper half of a body: under the lowest pair lie 10 mm of bone and more.
    low = np.r_[spine.s[seen].min(), heights]
    high = np.r_[heights[:1] - 10.0, heights[1:], spine.s[seen].max()]
    gaps = [_find_disc(spine, a, b) for a, b in zip(low, high, strict=True)]
    sacral = _sacral(spine)
    return [
        Level(
            float(spine.s[k]),
            spine.centre_mm[k],
            spine.axes[k],
            gaps[n],
            gaps[n + 1],
            bool(sacral[k]),
        )
        for n, k in enumerate(peaks)
    ]


def choose_level(
    levels: Sequence[Level], level: str, seed_mm: ArrayLike | None
) -> tuple[int, bool]:
    """Pick the requested vertebra; also tell whether its number was counted from the sacrum.

    Raises
    ------
    InputError
        If the level is unknown or not in view, the seed lies in no vertebra, or several complete
        vertebrae can't be told apart.
    """
    if level not in VERTEBRAE:
        raise InputError(f"level {level!r} is unknown; allowed: {', '.join(VERTEBRAE)}")
    vertebrae = [n for n, one in enumerate(levels) if not one.sacral]
    sacrum = [n for n, one in enumerate(levels) if one.sacral]
    if not vertebrae:
        raise InputError("no vertebra above the sacrum is in the field of view of this CT")
    if seed_mm is not None:
        seed = np.asarray(seed_mm, dtype=np.float64)
        bodies = [levels[n].pedicle_mm - BODY_AHEAD_MM * levels[n].axes[:, 1] for n in vertebrae]
        distance = np.linalg.norm(np.array(bodies) - seed, axis=1)
        if distance.min() > 30.0:  # mm: beyond a body's far corner
            raise InputError(
                f"seed point {seed.tolist()} (LPS mm) lies {distance.min():.0f} mm from the "
                "nearest vertebral body found; place it inside the body"
            )
        return vertebrae[int(distance.argmin())], False
    if sacrum:
        upwards = VERTEBRAE[::-1]
        first = max(sacrum) + 1
        n = first + upwards.index(level)
        if n >= len(levels):
            seen = ", ".join(upwards[: len(levels) - first]) or "none"
            raise InputError(f"vertebra {level} is not in this CT; counted from the sacrum: {seen}")
        return n, True
    complete = [n for n in vertebrae if levels[n].complete]
    if len(complete) == 1:
        return complete[0], False
    raise InputError(
        f"{len(complete)} complete vertebrae and no sacrum in the field of view, so which one is "
        f"{level} can't be known. Give a label map (--labels) or a seed point inside its body"
    )


def discs_of(one: Level) -> tuple[Disc, Disc]:
    """Return the discs below and above; one out of view is put at a typical distance."""
    up = one.axes[:, 2]
    middle = one.pedicle_mm - BODY_AHEAD_MM * one.axes[:, 1]
    # The pedicles leave the upper half of a body some 30 mm high.
    below = one.below or Disc(middle - 24.0 * up, up, one.pedicle_s_mm - 24.0, 0.0)
    above = one.above or Disc(middle + 14.0 * up, up, one.pedicle_s_mm + 14.0, 0.0)
    return below, above


def lamina_gap(spine: StraightSpine, lamina: Float, pedicle_s_mm: float) -> int:
    """Index of the cleft between a vertebra's lamina and the next above it."""
    # A lamina's upper edge lies about the height of its pedicles, its cleft at most a disc over.
    inside = (spine.s > pedicle_s_mm - 4.0) & (spine.s < pedicle_s_mm + 16.0)
    return int(np.where(inside, ndi.gaussian_filter1d(lamina, 1.0), np.inf).argmin())

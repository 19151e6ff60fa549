"""A vertebra from a CT by rules alone: no weights, no chance, the same answer each time.

`bonekit.segmentation.spine` gives the canal, the pedicles and the discs. Between the discs of the
requested vertebra the body is the best closed surface around its middle at which bone turns dark
outwards; the arch is the bone behind it, parted from the neighbours' by a random walker that starts
from the pedicles and laminae and seldom finds its way through a joint.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg

from bonekit.errors import InputError
from bonekit.image.volume import Float, Grid, Image
from bonekit.segmentation.base import Finding, Mask
from bonekit.segmentation.spine import (
    BODY_AHEAD_MM,
    Level,
    StraightSpine,
    canal_axis,
    choose_level,
    discs_of,
    find_levels,
    lamina_gap,
    straighten,
)

log = logging.getLogger(__name__)

BONE_HU = 160.0  # arch bone against muscle (50), ligament (100) and cartilage at 1 mm blur
VOXEL_MM = 1.0
# Box around the middle of the body: transverse processes reach 50 mm to the side, the spinous
# process 75 mm back, inferior facets 45 mm down.
BOX_LOW_MM = np.array([-56.0, -36.0, -52.0])
BOX_HIGH_MM = np.array([56.0, 84.0, 46.0])
BODY_HALF_MM = np.array([22.0, 16.0])  # width and depth of a lumbar body, halved; scaled by fit
VOLUME_ML = {"L": (30.0, 120.0), "T": (8.0, 80.0)}  # whole vertebra, typical adult ranges
BODY_HEIGHT_MM = (15.0, 45.0)
CUT_MM2 = 20.0  # of bone on the image's border: more than the tip of a process


@dataclass(frozen=True, eq=False)
class _Place:
    """The requested vertebra's box: its CT, and where its own and its neighbours' parts begin."""

    hu: NDArray[np.float32]
    grid: Grid
    local: Float  # (nx, ny, nz, 3) mm left, posterior, superior of the body's middle
    above: Float  # (nx, ny, nz) mm over the disc above
    below: Float  # (nx, ny, nz) mm under the disc below


def _place(ct: Image, one: Level) -> _Place:
    """Resample the CT into the vertebra's own axes."""
    below, above = discs_of(one)
    up = below.normal + above.normal
    up /= np.linalg.norm(up)
    left = one.axes[:, 0] - up * (up @ one.axes[:, 0])
    left /= np.linalg.norm(left)
    axes = np.stack([left, np.cross(up, left), up], axis=1)
    middle = (below.centre_mm + above.centre_mm) / 2
    shape = ((BOX_HIGH_MM - BOX_LOW_MM) / VOXEL_MM).astype(int)
    grid = Grid.of(
        (int(shape[0]), int(shape[1]), int(shape[2])), VOXEL_MM, middle + axes @ BOX_LOW_MM, axes
    )
    hu = ct.with_array(ct.array.astype(np.float32)).resample(grid, -1000.0).array
    world = grid.points()
    return _Place(
        hu,
        grid,
        (world - middle) @ axes,
        (world - above.centre_mm) @ above.normal,
        (below.centre_mm - world) @ below.normal,
    )


def _cheapest_sheet(cost: NDArray[np.float32], bend: float) -> NDArray[np.intp]:
    """Pick a depth for every direction: small cost, small steps between neighbours.

    Semi-global matching (Hirschmueller 2008): cheapest paths along both axes, both ways, summed.

    Parameters
    ----------
    cost : ndarray, (n_around, n_up, n_depth)
        The first axis is cyclic.
    bend : float
        Cost of a step by one depth between neighbours; at most three steps are allowed.

    Returns
    -------
    ndarray of int, (n_around, n_up)
    """
    n = cost.shape[0]
    total = np.zeros_like(cost)
    around = np.concatenate([cost[n // 2 :], cost, cost[: n // 2]])
    lower = n - n // 2
    for flip in (slice(None), slice(None, None, -1)):
        total += _swept(around[flip], bend)[flip][lower : lower + n]
        total += _swept(cost.swapaxes(0, 1)[flip], bend)[flip].swapaxes(0, 1)
    return np.asarray(total.argmin(axis=2))


def _swept(cost: NDArray[np.float32], bend: float) -> NDArray[np.float32]:
    """Cheapest cost of reaching each depth along the first axis, less the row's minimum."""
    reach = cost.copy()
    for n in range(1, len(cost)):
        before = np.pad(reach[n - 1], ((0, 0), (3, 3)), constant_values=np.inf)
        depth = cost.shape[2]
        steps = [before[:, 3 + d : 3 + d + depth] + bend * abs(d) for d in range(-3, 4)]
        best = np.min(steps, axis=0)
        reach[n] += best - best.min(axis=1, keepdims=True)
    return reach


def _body(place: _Place) -> Mask:
    """Fill the body: inside the closed surface of bone turning dark outwards."""
    hu = ndi.gaussian_filter(np.clip(place.hu, -100.0, 600.0), 0.8 / VOXEL_MM)
    middle = -BOX_LOW_MM / VOXEL_MM
    half_height = _half_height(place)
    around = np.radians(np.arange(0.0, 360.0, 5.0))
    up = np.radians(np.arange(-87.0, 88.0, 6.0))
    scale = np.arange(0.5, 1.6, 0.02)
    direction = np.stack(
        [
            np.cos(around)[:, None] * np.cos(up),
            np.sin(around)[:, None] * np.cos(up),
            np.broadcast_to(np.sin(up), (len(around), len(up))),
        ],
        axis=-1,
    )
    radius = _cushion(direction, half_height)
    depth = radius[..., None] * scale

    def sample(field: NDArray[np.floating], offset: float) -> NDArray[np.float32]:
        at = middle + direction[..., None, :] * (depth + offset)[..., None] / VOXEL_MM
        values = ndi.map_coordinates(field, np.moveaxis(at, -1, 0), order=1, mode="nearest")
        return np.asarray(values, dtype=np.float32)

    # A shell blurred to 2 mm: from its crest to the soft tissue.
    edge = np.clip(sample(hu, -1.0) - sample(hu, 1.0), 0.0, 250.0)
    past = np.maximum(sample(place.above, 0.0), sample(place.below, 0.0))
    cost = (-edge + np.where(past > 0.0, 400.0, 0.0)).astype(np.float32)
    sheet = scale[_cheapest_sheet(cost, bend=25.0)]
    sheet = ndi.median_filter(np.pad(sheet, ((1, 1), (0, 0)), mode="wrap"), 3)[1:-1]
    return _inside(place, half_height, sheet, np.degrees(around), np.degrees(up))


def _half_height(place: _Place) -> float:
    """Half of the body's height: the discs' distance less two halves of an 8 mm disc."""
    middle = tuple((-BOX_LOW_MM / VOXEL_MM).astype(int))
    return max(6.0, float(-(place.above[middle] + place.below[middle])) / 2 - 4.0)


def _cushion(direction: Float, half_height: float) -> Float:
    """Distance from the middle to a cushion (oval seen from above, square from the side)."""
    oval = (direction[..., 0] / BODY_HALF_MM[0]) ** 2 + (direction[..., 1] / BODY_HALF_MM[1]) ** 2
    return np.asarray((oval**2 + (direction[..., 2] / half_height) ** 4 + 1e-12) ** -0.25)


def _inside(place: _Place, half_height: float, sheet: Float, around: Float, up: Float) -> Mask:
    """Voxels nearer to the middle than the sheet of scales on (around, up) in degrees."""
    distance = np.linalg.norm(place.local, axis=-1)
    direction = place.local / np.maximum(distance, 1e-9)[..., None]
    azimuth = np.degrees(np.arctan2(direction[..., 1], direction[..., 0])) % 360.0
    height = np.degrees(np.arcsin(np.clip(direction[..., 2], -1.0, 1.0)))
    at = np.stack([azimuth / (around[1] - around[0]), (height - up[0]) / (up[1] - up[0]) + 1.0])
    padded = np.pad(sheet, ((0, 0), (1, 1)), mode="edge")
    limit = ndi.map_coordinates(padded, at, order=1, mode="grid-wrap")
    return np.asarray(distance <= limit * _cushion(direction, half_height))


def _heights(place: _Place, spine: StraightSpine) -> tuple[Float, Float]:
    """Local points (ns, 3) of the canal's axis, and the profile of the laminae behind it (ns,)."""
    middle = place.grid.world(-BOX_LOW_MM / VOXEL_MM)
    canal = (spine.centre_mm - middle) @ place.grid.direction
    lamina = spine.profile((0.0, 5.0), (8.0, 20.0))
    return canal, np.where(np.isfinite(lamina), lamina, np.inf)


def _markers(
    place: _Place, spine: StraightSpine, levels: Sequence[Level], n: int, body: Mask, bone: Mask
) -> NDArray[np.int32]:
    """Seeds of the random walker: 1 this vertebra, 2 the one above, 3 the one below."""
    canal, lamina = _heights(place, spine)
    z = place.local[..., 2]
    canal_y = np.interp(z, canal[:, 2], canal[:, 1])
    canal_x = np.interp(z, canal[:, 2], canal[:, 0])
    behind = place.local[..., 1] - canal_y
    aside = np.abs(place.local[..., 0] - canal_x)
    s = levels[n].pedicle_s_mm
    over = canal[lamina_gap(spine, lamina, s), 2]
    lower_s = levels[n - 1].pedicle_s_mm if n > 0 else s - 33.0
    upper_s = levels[n + 1].pedicle_s_mm if n + 1 < len(levels) else s + 33.0
    under = canal[lamina_gap(spine, lamina, lower_s), 2]
    pedicle = {m: canal[spine.at(v), 2] for m, v in ((1, s), (2, upper_s), (3, lower_s))}
    marker = np.zeros(bone.shape, dtype=np.int32)
    arch = bone & (aside < 5.0) & (behind > 8.0) & (behind < 18.0)
    marker[arch & (z > over + 2.0)] = 2
    marker[arch & (z < under - 2.0)] = 3
    marker[arch & (z > under + 2.0) & (z < over - 2.0)] = 1
    # Over a cleft the bone next to the midline is the lower end of the arch above: its facets
    # hang behind and between those of the vertebra below.
    hanging = bone & (aside < 7.0) & (behind > 6.0) & (behind < 20.0)
    marker[hanging & (z > under + 2.0) & (z < under + 12.0)] = 1
    marker[hanging & (z > over + 2.0) & (z < over + 12.0)] = 2
    for m, height in pedicle.items():
        # The pedicles, and just below them the isthmus, where no facet of a neighbour reaches.
        column = bone & (aside < 24.0) & (behind > -12.0) & (marker == 0)
        marker[column & (np.abs(z - height) < 4.0) & (behind < 2.0)] = m
        marker[column & (z > height - 8.0) & (z < height - 3.0) & (behind < 15.0)] = m
    marker[bone & (z > pedicle[2])] = 2
    marker[bone & (z < pedicle[3] - 10.0) & (behind < 8.0)] = 3
    ahead = behind < -8.0
    marker[bone & ahead & (place.above > 3.0)] = 2
    marker[bone & ahead & (place.below > 3.0)] = 3
    marker[body] = 1
    return marker


def _crest(hu: NDArray[np.float32], within_mm: float) -> NDArray[np.float32]:
    """Brightest value near by: of the nearest cortex."""
    return np.asarray(ndi.maximum_filter(hu, 2 * int(within_mm / VOXEL_MM) + 1), dtype=np.float32)


def _parted(hu: NDArray[np.float32], marker: NDArray[np.int32], inside: Mask) -> Mask:
    """Voxels from which a random walker through bone reaches marker 1 before any other.

    Grady, IEEE PAMI 28 (2006) 1768. A step is likely where bone is as bright as any near by: the
    walker follows cortex and seldom crosses a joint, where few voxels touch in a dark cleft.
    """
    bright = np.clip(hu / np.maximum(_crest(hu, 3.0), BONE_HU), 0.1, 1.0)[inside] ** 3
    node = np.full(inside.shape, -1)
    node[inside] = np.arange(np.count_nonzero(inside))
    ends = []
    for axis in range(3):
        along = np.moveaxis(node, axis, 0)
        pair = np.stack([along[:-1].ravel(), along[1:].ravel()])
        ends.append(pair[:, (pair >= 0).all(axis=0)])
    edge = np.concatenate(ends, axis=1)
    size = int(node.max()) + 1
    weight = np.minimum(bright[edge[0]], bright[edge[1]]).astype(np.float64)
    link = sparse.coo_array((weight, edge), shape=(size, size)).tocsr()
    link = link + link.T
    seeds = marker[inside]
    _, piece = connected_components(link, directed=False)
    free = (seeds == 0) & np.isin(piece, piece[seeds > 0])  # loose pieces belong to nobody
    rows = link[free]
    laplacian = sparse.diags_array(link.sum(axis=1)[free]) - rows[:, free]
    chance = (seeds == 1).astype(np.float64)
    chance[free], _ = cg(
        laplacian,
        rows @ chance,
        rtol=1e-4,
        maxiter=600,
        M=sparse.diags_array(1.0 / laplacian.diagonal()),
    )
    mine = np.zeros(inside.shape, dtype=bool)
    mine[inside] = chance > 0.5
    return mine


def _whole(
    place: _Place, spine: StraightSpine, levels: Sequence[Level], n: int, body: Mask
) -> tuple[Mask, Mask, float]:
    """Join the body with its arch; also the bone of others, and the share of loose pieces."""
    hu = ndi.gaussian_filter(place.hu, 0.7 / VOXEL_MM)
    bone = hu > BONE_HU
    marker = _markers(place, spine, levels, n, body, bone)
    mine = _parted(hu, marker, bone | body)
    # In front of the canal only rims stand out of the body; what lies farther is chalk in a disc or
    # in the aorta.
    ahead = place.local[..., 1] < BODY_AHEAD_MM - 10.0
    mine &= ~ahead | (ndi.distance_transform_edt(~body, sampling=VOXEL_MM) <= 3.0)
    closed = ndi.binary_dilation(mine, iterations=2)
    closed = ndi.binary_erosion(closed, iterations=2) & (mine | ~bone)
    # Marrow of the arch; the canal is open at both ends and stays so.
    filled = ndi.binary_fill_holes(mine | closed)
    # The surface lies halfway between its cortex and soft tissue (50 HU), not where bone begins.
    rim = ndi.distance_transform_edt(filled, sampling=VOXEL_MM) <= 1.5
    filled &= ~rim | (hu > (_crest(hu, 2.0) + 50.0) / 2.0)
    named, _ = ndi.label(ndi.binary_fill_holes(filled))
    whole = named == named[tuple((-BOX_LOW_MM / VOXEL_MM).astype(int))]
    loose = 1.0 - np.count_nonzero(whole) / np.count_nonzero(filled)
    return np.asarray(whole), bone & ~whole, float(loose)


def _onto(grid: Grid, mask: Mask, of: Grid) -> Mask:
    """Bring a mask onto another grid, by half of the interpolated fraction."""
    moved = Image(mask.astype(np.float32), of).resample(grid)
    return np.asarray(moved.array >= 0.5)


def _border_mm2(mask: Mask, grid: Grid) -> float:
    """Area of the mask on the faces of the image."""
    area = 0.0
    for axis in range(3):
        face = float(np.prod(np.delete(grid.spacing_mm, axis)))
        area += face * float(np.count_nonzero(mask.take([0, -1], axis)))
    return area


def _findings(level: str, seen: Level, verified: bool, measures: dict[str, float]) -> list[Finding]:
    """Say what is wrong or uncertain about a segmented vertebra."""
    found = []
    if seen.below is None or seen.above is None or measures["border_mm2"] > CUT_MM2:
        text = f"{level} is cut by the field of view; scan it with both neighbouring discs"
        found.append(Finding("error", "vertebra-cut", text))
    if verified:
        text = (
            f"{level} was counted up from the sacrum as seen here; a transitional vertebra (one in "
            "ten patients) shifts the count. Check the level"
        )
        found.append(Finding("note", "level-counted", text))
    else:
        text = (
            f"the sacrum is not used or not in view: that this vertebra is {level} was taken from "
            "the request"
        )
        found.append(Finding("warning", "level-unverified", text))
    found += check_size(level, measures["volume_ml"], measures["body_height_mm"])
    if measures["loose_share"] > 0.1:
        text = f"{measures['loose_share']:.0%} of the bone found hangs loose and was left out"
        found.append(Finding("warning", "pieces", text))
    return found


def check_size(level: str, volume_ml: float, body_height_mm: float) -> list[Finding]:
    """Find fault with the size of a vertebra such as ``"L3"``, whoever segmented it."""
    found = []
    low, high = VOLUME_ML[level[0]]
    if not low <= volume_ml <= high:
        text = f"volume {volume_ml:.0f} ml; typical adult range {low:.0f}-{high:.0f} ml"
        found.append(Finding("warning", "volume", text))
    low, high = BODY_HEIGHT_MM
    if not low <= body_height_mm <= high:
        text = (
            f"body height {body_height_mm:.0f} mm; allowed {low:.0f}-{high:.0f} mm: a "
            "crushed body, or a disc was missed"
        )
        found.append(Finding("warning", "body-height", text))
    return found


def segment_vertebra_mask(
    ct: Image, level: str, seed_mm: ArrayLike | None = None
) -> tuple[Mask, list[Finding], dict[str, float], Mask]:
    """Segment one vertebra by rules.

    Where the sacrum is in view the level is counted upwards from it (the first vertebra above is
    L5); where it is not, the only complete vertebra is taken; a seed point chooses in any case.

    Parameters
    ----------
    ct : Image
        HU, canonical axes; slices up to 3 mm.
    level : str
        One of `bonekit.segmentation.base.VERTEBRAE`.
    seed_mm : array_like, (3,), optional
        LPS point inside the wanted vertebral body.

    Returns
    -------
    mask : ndarray of bool, (ni, nj, nk)
        The vertebra, one piece, marrow filled, canal open.
    findings : list of Finding
    measures : dict of str to float
        ``volume_ml``, ``body_height_mm`` (median of the columns through the middle of the body),
        ``border_mm2`` (bone on the image's faces), ``loose_share``.
    other : ndarray of bool, (ni, nj, nk)
        Bone of its neighbours in a box around it.

    Raises
    ------
    InputError
        If no spine is found, the level is unknown or not in view, several complete vertebrae can't
        be told apart, or the seed lies in no vertebra.
    """
    spine = straighten(ct, canal_axis(ct))
    levels = find_levels(spine)
    n, verified = choose_level(levels, level, seed_mm)
    place = _place(ct, levels[n])
    body = _body(place)
    whole, other, loose = _whole(place, spine, levels, n, body)
    mask = _onto(ct.grid, whole, place.grid)
    if not mask.any():
        raise InputError(f"no bone was found where {level} should be: {levels[n].pedicle_mm} mm")
    middle = np.abs(place.local[:, :, 0, :2]) < (10.0, 8.0)
    measures = {
        "volume_ml": float(np.count_nonzero(mask) * ct.grid.voxel_mm3 / 1000.0),
        "body_height_mm": float(np.median(body[middle.all(axis=-1)].sum(axis=-1)) * VOXEL_MM),
        "border_mm2": _border_mm2(mask, ct.grid),
        "loose_share": loose,
    }
    log.info("%s: %s", level, measures)
    findings = _findings(level, levels[n], verified, measures)
    return mask, findings, measures, _onto(ct.grid, other, place.grid) & ~mask

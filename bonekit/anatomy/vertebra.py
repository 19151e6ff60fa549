"""Landmarks and frame of a vertebra, from its mask alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.errors import InputError
from bonekit.image.volume import Grid, Image

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

VOXEL_MM = 1.0
# Box around the middle of the body that holds the body and the roots of its arch.
LOW_MM = np.array([-45.0, -35.0, -35.0])
HIGH_MM = np.array([45.0, 60.0, 35.0])
THIN = 0.6  # of the body's inscribed sphere: pedicles and processes are thinner, the body is not
BODY_DEPTH_MM = (10.0, 50.0)  # thoracic to large lumbar; more means that the canal is filled
CUT_SHARE = 0.25  # of an endplate on the image's border: cut; a tight crop touches only its rim


@dataclass(frozen=True, eq=False)
class VertebraAnatomy:
    """Where a vertebra's parts are; all points and vectors in world coordinates.

    Parameters
    ----------
    body_centre_mm : ndarray, (3,)
        Middle of the body: halfway between endplates and between front and posterior wall.
    superior_centre_mm, inferior_centre_mm : ndarray, (3,)
        Points of the endplates' planes over and under the middle of the body.
    superior_normal, inferior_normal : ndarray, (3,)
        Unit normals of the planes, both pointing out of the body.
    axis : ndarray, (3,)
        Unit vector headwards, halfway between the endplates' normals.
    anterior : ndarray, (3,)
        Unit vector from the arch to the body, square to `axis`.
    height_mm : float
        Distance of the endplates along `axis`.
    depth_mm, width_mm : float
        Front to posterior wall and left to right, at mid-height.
    """

    body_centre_mm: Float
    superior_centre_mm: Float
    inferior_centre_mm: Float
    superior_normal: Float
    inferior_normal: Float
    axis: Float
    anterior: Float
    height_mm: float
    depth_mm: float
    width_mm: float

    @property
    def frame(self) -> Float:
        """Bone axes as columns (left, posterior, superior), right-handed, (3, 3)."""
        return np.column_stack([np.cross(-self.anterior, self.axis), -self.anterior, self.axis])

    @property
    def wedge_deg(self) -> float:
        """Angle between the two endplates."""
        cosine = float(np.clip(-self.superior_normal @ self.inferior_normal, -1.0, 1.0))
        return float(np.degrees(np.arccos(cosine)))

    def local(self, points_mm: Float) -> Float:
        """Coordinates (left, posterior, superior) of points (..., 3) from the body's centre."""
        return np.asarray((points_mm - self.body_centre_mm) @ self.frame)


def body_region(points_mm: Float, anatomy: VertebraAnatomy, margin_mm: float = 2.0) -> Mask:
    """Tell which points lie in the body's part of space: in front of the canal and the pedicles.

    Parameters
    ----------
    points_mm : ndarray, (..., 3)
        World coordinates.
    anatomy : VertebraAnatomy
    margin_mm : float
        How far the body's rim may stand out over its mid-height size at the back; three times as
        much at the sides and in front, where osteophytes grow.

    Returns
    -------
    ndarray of bool, (...)
    """
    left, posterior, superior = np.moveaxis(anatomy.local(points_mm), -1, 0)
    rim = 3.0 * margin_mm
    return np.asarray(
        (posterior <= anatomy.depth_mm / 2 + margin_mm)
        & (posterior >= -anatomy.depth_mm / 2 - rim)
        & (np.abs(left) <= anatomy.width_mm / 2 + rim)
        & (np.abs(superior) <= anatomy.height_mm / 2 + rim)
    )


def vertebra_anatomy(mask: Mask, grid: Grid) -> VertebraAnatomy:
    """Find the body of a vertebra, its endplates and its axes.

    The body is what is left of the mask after everything thinner than 0.6 of its largest inscribed
    sphere is taken off (pedicles, arch, processes). Planes are fitted to the ends of the columns
    through it by least squares that drop outliers (osteophytes, Schmorl's nodes); the mean of their
    normals is the axis, along which the columns are drawn anew. Posterior is where the canal lies,
    or the arch if no slice shows the canal closed; for a mask of a body without arch it is the
    scan's posterior.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        One vertebra (or its body), in any orientation of the array; head up in the world to 45
        degrees.
    grid : Grid

    Raises
    ------
    InputError
        If the mask is empty, has no body, its canal is filled, or an endplate lies on the border
        of the image.
    """
    if mask.shape != grid.shape or not mask.any():
        raise InputError(f"vertebra mask of shape {mask.shape} on grid {grid.shape} has no voxel")
    centre, axes = _thickest(mask, grid), np.eye(3)
    for _ in range(4):
        found = _measured(mask, grid, centre, axes)
        centre, axes = found.body_centre_mm, found.frame
    _check_border(mask, grid, found)
    return found


def _thickest(mask: Mask, grid: Grid) -> Float:
    """World point of the middle of the largest inscribed sphere."""
    low, high = (f(np.argwhere(mask), axis=0) for f in (np.min, np.max))
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    filled = ndi.binary_fill_holes(np.pad(mask[box], 1))
    room = ndi.distance_transform_edt(filled, sampling=grid.spacing_mm)
    if room.max() < 4.0:  # mm: half of the height of a crushed body
        raise InputError(
            f"no vertebral body in the mask: nowhere thicker than {2 * room.max():.1f} mm"
        )
    thick = np.argwhere(room > 0.95 * room.max())
    deepest = thick[np.argmin(np.linalg.norm(thick - thick.mean(axis=0), axis=1))]
    return grid.world(deepest - 1 + low)


def _resampled(mask: Mask, grid: Grid, centre: Float, axes: Float) -> tuple[Float, Float]:
    """Sample the filled mask (0 to 1) in a box along `axes`; also give mm from `centre`."""
    shape = np.rint((HIGH_MM - LOW_MM) / VOXEL_MM).astype(int) + 1
    box = Grid.of((shape[0], shape[1], shape[2]), VOXEL_MM, centre + axes @ LOW_MM, axes)
    share = Image(mask.astype(np.float32), grid).resample(box).array.astype(np.float64)
    share[ndi.binary_fill_holes(share >= 0.5) & (share < 0.5)] = 1.0
    local = LOW_MM + VOXEL_MM * np.moveaxis(np.indices(box.shape), 0, -1)
    return share, local


def _core(inside: Mask) -> Mask:
    """Open the mask by a sphere that passes through the body but through no process."""
    room = ndi.distance_transform_edt(np.pad(inside, 1), sampling=VOXEL_MM)[1:-1, 1:-1, 1:-1]
    middle = tuple(np.rint(-LOW_MM / VOXEL_MM).astype(int))
    radius = THIN * room[tuple(slice(n - 8, n + 9) for n in middle)].max()
    named, _ = ndi.label(room >= radius)
    near = named[tuple(slice(n - 8, n + 9) for n in middle)]
    if not near.any():
        raise InputError("no vertebral body around the thickest part of the mask")
    kept = named == np.bincount(near[near > 0]).argmax()
    return np.asarray((ndi.distance_transform_edt(~kept, sampling=VOXEL_MM) < radius) & inside)


def _measured(mask: Mask, grid: Grid, centre: Float, axes: Float) -> VertebraAnatomy:
    """Measure the body in a frame that is nearly its own."""
    share, local = _resampled(mask, grid, centre, axes)
    inside = share >= 0.5
    core = _core(inside)
    middle = local[core].mean(axis=0)
    front, back = _extent(share, local, middle, 1)
    right, left = _extent(share, local, middle, 0)
    if not BODY_DEPTH_MM[0] <= back - front <= BODY_DEPTH_MM[1]:
        raise InputError(
            f"the body would be {back - front:.0f} mm deep; allowed {BODY_DEPTH_MM}. Is the spinal "
            "canal left open in the mask, and is the mask one vertebra?"
        )
    middle[:2] = (left + right) / 2, (front + back) / 2
    half = np.array([left - right, back - front]) / 2
    top, bottom = _endplates(share, local, middle, half)
    axis = _unit(np.array([-top[0], -top[1], 1.0])) + _unit(np.array([-bottom[0], -bottom[1], 1.0]))
    up = axes @ _unit(axis)
    upper, lower = (np.array([*middle[:2], p[2]]) for p in (top, bottom))
    posterior = _towards_canal(inside, local, middle, back)
    posterior = np.array([0.0, 1.0, 0.0]) if posterior is None else axes @ posterior
    posterior = _unit(posterior - (posterior @ up) * up)
    return VertebraAnatomy(
        body_centre_mm=centre + axes @ ((upper + lower) / 2),
        superior_centre_mm=centre + axes @ upper,
        inferior_centre_mm=centre + axes @ lower,
        superior_normal=axes @ _unit(np.array([-top[0], -top[1], 1.0])),
        inferior_normal=-(axes @ _unit(np.array([-bottom[0], -bottom[1], 1.0]))),
        axis=up,
        anterior=-posterior,
        height_mm=float((upper - lower) @ _unit(axis)),
        depth_mm=float(back - front),
        width_mm=float(left - right),
    )


def _towards_canal(inside: Mask, local: Float, middle: Float, back: float) -> Float | None:
    """Direction from the body's middle to the canal, or to the arch if its ring is open."""
    behind = local[..., 1] > back - 5.0
    ring = np.stack([ndi.binary_fill_holes(plane) for plane in np.moveaxis(inside, 2, 0)], axis=2)
    for part, least_mm3 in ((ring & ~inside & behind, 500.0), (inside & behind, 5000.0)):
        if np.count_nonzero(part) * VOXEL_MM**3 > least_mm3:
            return np.asarray(local[part].mean(axis=0) - middle)
    return None


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector))


def _extent(share: Float, local: Float, middle: Float, along: int) -> tuple[float, float]:
    """Where the body ends on both sides of its middle, as medians over rays near the middle."""
    across = 1 - along
    near = (np.abs(local[..., across] - middle[across]) <= 4.0) & (
        np.abs(local[..., 2] - middle[2]) <= 6.0
    )
    rays = np.moveaxis(near, along, 0)[0]
    lines = np.moveaxis(share, along, 0)[:, rays]
    start = int(np.rint((middle[along] - LOW_MM[along]) / VOXEL_MM))
    up, down = _run(lines[start:]), _run(lines[start::-1])
    place = LOW_MM[along] + start * VOXEL_MM
    return (
        float(place - np.median(down) * VOXEL_MM),
        float(place + np.median(up) * VOXEL_MM),
    )


def _run(lines: Float) -> Float:
    """Measure along the first axis, in voxels, how far it is from the first to where 0.5 is met."""
    inside = lines >= 0.5
    past = np.where(inside.all(axis=0), len(lines) - 1, np.argmin(inside, axis=0))
    last = np.maximum(past - 1, 0)
    here, there = (np.take_along_axis(lines, n[None], 0)[0] for n in (last, past))
    return np.asarray(last + np.clip((here - 0.5) / np.maximum(here - there, 1e-9), 0.0, 1.0))


def _endplates(share: Float, local: Float, middle: Float, half: Float) -> tuple[Float, Float]:
    """Planes of the top and the bottom: (slope in x, slope in y, height over the middle)."""
    x, y = local[:, :, 0, 0] - middle[0], local[:, :, 0, 1] - middle[1]
    # The inner part of an endplate: the rim carries osteophytes, the back the pedicles' roots.
    plate = (x / half[0]) ** 2 + (y / half[1]) ** 2 < 0.85**2
    start = int(np.rint((middle[2] - LOW_MM[2]) / VOXEL_MM))
    height = LOW_MM[2] + start * VOXEL_MM
    columns = share[plate].T
    top = height + _run(columns[start:]) * VOXEL_MM
    bottom = height - _run(columns[start::-1]) * VOXEL_MM
    seen = columns[start] >= 0.5
    if np.count_nonzero(seen) < 0.5 * len(seen):
        raise InputError("the vertebral body is hollow: fill the mask before measuring it")
    return _plane(x[plate][seen], y[plate][seen], top[seen]), _plane(
        x[plate][seen], y[plate][seen], bottom[seen]
    )


def _plane(x: Float, y: Float, z: Float) -> Float:
    """Least squares plane through the points within three robust standard deviations of it."""
    design = np.column_stack([x, y, np.ones_like(x)])
    kept = np.ones(len(z), dtype=bool)
    plane: Float = np.zeros(3)
    for _ in range(10):
        plane = np.asarray(np.linalg.lstsq(design[kept], z[kept], rcond=None)[0])
        miss = np.abs(z - design @ plane)
        # 1.48 median deviations are a standard deviation; 1.5 mm of bowl are no outlier.
        kept = miss <= max(1.5, 3.0 * 1.48 * float(np.median(miss)))
    return plane


def _check_border(mask: Mask, grid: Grid, found: VertebraAnatomy) -> None:
    """Refuse a body that the image's border cuts."""
    border = np.ones(grid.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    points = grid.world(np.argwhere(mask & border))
    touching = np.count_nonzero(body_region(points, found, margin_mm=0.0)) if len(points) else 0
    area = np.pi / 4 * found.depth_mm * found.width_mm
    share = touching * grid.voxel_mm3 ** (2 / 3) / area
    if share > CUT_SHARE:
        raise InputError(
            f"the image's border cuts the vertebral body (over {share:.0%} of an endplate): "
            "use a scan with both endplates in the field of view"
        )

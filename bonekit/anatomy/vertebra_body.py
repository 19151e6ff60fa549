"""The body of a vertebra in a mask sampled along its own axes: its middle, walls and endplates."""

from __future__ import annotations

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
WHOLE_MM = np.array([45.0, 100.0, 35.0])  # with the spinous process
THIN = 0.6  # of the body's inscribed sphere: pedicles and processes are thinner, the body is not
TWO_BODIES = 0.7  # of the thickest place: only another body is as thick
APART_MM = 20.0  # and so far above or below


def thickest(mask: Mask, grid: Grid) -> Float:
    """World point of the middle of the largest inscribed sphere."""
    low, high = (f(np.argwhere(mask), axis=0) for f in (np.min, np.max))
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    filled = ndi.binary_fill_holes(np.pad(mask[box], 1))
    room = ndi.distance_transform_edt(filled, sampling=grid.spacing_mm)
    if room.max() < 4.0:  # mm: half of the height of a crushed body
        raise InputError(
            f"no vertebral body in the mask: nowhere thicker than {2 * room.max():.1f} mm"
        )
    _check_alone(room, np.abs(grid.affine[2, :3]))
    thick = np.argwhere(room > 0.95 * room.max())
    deepest = thick[np.argmin(np.linalg.norm(thick - thick.mean(axis=0), axis=1))]
    return grid.world(deepest - 1 + low)


def _check_alone(room: Float, up_mm: Float) -> None:
    """Refuse a second body: a place nearly as thick, well above or below the thickest."""
    named, n = ndi.label(room > TWO_BODIES * room.max())
    heights = ndi.center_of_mass(named > 0, named, range(1, n + 1)) @ up_mm
    if n > 1 and float(np.ptp(heights)) > APART_MM:
        raise InputError(
            f"the mask holds two vertebral bodies, {np.ptp(heights):.0f} mm apart: give a mask of "
            "one vertebra"
        )


def resampled(
    mask: Mask, grid: Grid, centre: Float, axes: Float, high_mm: Float = HIGH_MM
) -> tuple[Float, Float]:
    """Sample the filled mask (0 to 1) in a box along `axes`; also give mm from `centre`."""
    shape = np.rint((high_mm - LOW_MM) / VOXEL_MM).astype(int) + 1
    box = Grid.of((shape[0], shape[1], shape[2]), VOXEL_MM, centre + axes @ LOW_MM, axes)
    share = Image(mask.astype(np.float32), grid).resample(box).array.astype(np.float64)
    share[ndi.binary_fill_holes(share >= 0.5) & (share < 0.5)] = 1.0
    local = LOW_MM + VOXEL_MM * np.moveaxis(np.indices(box.shape), 0, -1)
    return share, local


def core_of(inside: Mask) -> Mask:
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


def towards_canal(inside: Mask, local: Float, middle: Float, back: float) -> Float | None:
    """Direction from the body's middle to the canal, or to the arch if its ring is open."""
    behind = local[..., 1] > back - 5.0
    ring = np.stack([ndi.binary_fill_holes(plane) for plane in np.moveaxis(inside, 2, 0)], axis=2)
    for part, least_mm3 in ((ring & ~inside & behind, 500.0), (inside & behind, 5000.0)):
        if np.count_nonzero(part) * VOXEL_MM**3 > least_mm3:
            return np.asarray(local[part].mean(axis=0) - middle)
    return None


def extent(share: Float, local: Float, middle: Float, along: int) -> tuple[float, float]:
    """Where the body ends on both sides of its middle, as medians over rays near the middle."""
    across = 1 - along
    near = (np.abs(local[..., across] - middle[across]) <= 4.0) & (
        np.abs(local[..., 2] - middle[2]) <= 6.0
    )
    rays = np.moveaxis(near, along, 0)[0]
    lines = np.moveaxis(share, along, 0)[:, rays]
    start = int(np.rint((middle[along] - LOW_MM[along]) / VOXEL_MM))
    up, down = run(lines[start:]), run(lines[start::-1])
    place = LOW_MM[along] + start * VOXEL_MM
    return (
        float(place - np.median(down) * VOXEL_MM),
        float(place + np.median(up) * VOXEL_MM),
    )


def run(lines: Float) -> Float:
    """Measure along the first axis, in voxels, how far it is from the first to where 0.5 is met."""
    inside = lines >= 0.5
    past = np.where(inside.all(axis=0), len(lines) - 1, np.argmin(inside, axis=0))
    last = np.maximum(past - 1, 0)
    here, there = (np.take_along_axis(lines, n[None], 0)[0] for n in (last, past))
    return np.asarray(last + np.clip((here - 0.5) / np.maximum(here - there, 1e-9), 0.0, 1.0))


def endplates(share: Float, local: Float, middle: Float, half: Float) -> tuple[Float, Float]:
    """Planes of the top and the bottom: (slope in x, slope in y, height over the middle)."""
    x, y = local[:, :, 0, 0] - middle[0], local[:, :, 0, 1] - middle[1]
    # The inner part of an endplate: the rim carries osteophytes, the back the pedicles' roots.
    plate = (x / half[0]) ** 2 + (y / half[1]) ** 2 < 0.85**2
    start = int(np.rint((middle[2] - LOW_MM[2]) / VOXEL_MM))
    height = LOW_MM[2] + start * VOXEL_MM
    columns = share[plate].T
    top = height + run(columns[start:]) * VOXEL_MM
    bottom = height - run(columns[start::-1]) * VOXEL_MM
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

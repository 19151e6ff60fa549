"""Landmarks and frame of a proximal femur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

SLICE_MM = 3.0
SHORT_MM = 30.0  # of shaft are needed to measure its axis
NECK_MM = 115.0  # from the head's centre; a bone that reaches no further shows hardly any shaft
THIN = 0.7  # of the head's section: a shaft is thinner (adults about 0.4), trochanters are not
WEDGE = 0.8  # of the next section: less is cut obliquely, a shaft widens more gently
FLARE = 1.45  # a section this much larger than the shaft's belongs to the trochanters


@dataclass(frozen=True, eq=False)
class FemurAnatomy:
    """Where a femur's parts are; all points and vectors in world coordinates.

    Parameters
    ----------
    side : "left" or "right"
    head_centre_mm : ndarray, (3,)
    head_radius_mm : float
    neck_axis : ndarray, (3,)
        Unit vector from the head's centre down the neck.
    shaft_point_mm : ndarray, (3,)
        Point of the shaft axis at the distal end of the bone in view.
    shaft_axis : ndarray, (3,)
        Unit vector up the shaft.
    distal_mm : float
        Height, along the shaft axis from `shaft_point_mm`, of the lowest complete cross-section.
    flare_mm : float
        Height at which the shaft widens into the trochanters (about the lesser trochanter).
    section_mm2 : float
        Median cross-section of the shaft.
    """

    side: Literal["left", "right"]
    head_centre_mm: Float
    head_radius_mm: float
    neck_axis: Float
    shaft_point_mm: Float
    shaft_axis: Float
    distal_mm: float
    flare_mm: float
    section_mm2: float

    @property
    def shaft_length_mm(self) -> float:
        """Length of complete shaft below the trochanteric flare."""
        return max(self.flare_mm - self.distal_mm, 0.0)

    @property
    def neck_shaft_angle_deg(self) -> float:
        """Angle between neck and shaft axis (adults: about 110 to 145)."""
        cosine = float(np.clip(self.neck_axis @ self.shaft_axis, -1.0, 1.0))
        return float(np.degrees(np.arccos(cosine)))

    @property
    def offset_mm(self) -> float:
        """Distance of the head's centre from the shaft axis (adults: about 30 to 55)."""
        return float(np.linalg.norm(self._to_head()))

    @property
    def medial(self) -> Float:
        """Unit vector across the shaft axis towards the head."""
        across = self._to_head()
        return np.asarray(across / np.linalg.norm(across))

    @property
    def frame(self) -> Float:
        """Bone axes as columns (left, posterior, superior), right-handed, (3, 3).

        Superior runs up the shaft; the frontal plane holds the shaft axis and the head's centre.
        """
        left = self.medial if self.side == "right" else -self.medial
        return np.column_stack([left, np.cross(self.shaft_axis, left), self.shaft_axis])

    def height_mm(self, points_mm: Float) -> Float:
        """Height of points (..., 3) along the shaft axis above `shaft_point_mm`."""
        return np.asarray((points_mm - self.shaft_point_mm) @ self.shaft_axis)

    def _to_head(self) -> Float:
        toward = self.head_centre_mm - self.shaft_point_mm
        return np.asarray(toward - (toward @ self.shaft_axis) * self.shaft_axis)


def femur_anatomy(
    mask: Mask,
    grid: Grid,
    side: Literal["left", "right"],
    head_centre_mm: Float,
    head_radius_mm: float,
    field: Grid | None = None,
) -> FemurAnatomy:
    """Find neck and shaft of a femur whose head is known.

    The shaft axis is the line through the centres of the cross-sections between the distal end and
    the trochanteric flare; sections cut obliquely by the border of the image are left out. Where
    less than 30 mm of shaft is in view the axis can't be measured: it is then the scan's head-foot
    axis and `FemurAnatomy.shaft_length_mm` is 0, which the quality control reports.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        The femur, filled.
    grid : Grid
    side : "left" or "right"
    head_centre_mm : ndarray, (3,)
    head_radius_mm : float
    field : Grid, optional
        Field of view of the scan, where it is larger than `grid`.

    Returns
    -------
    FemurAnatomy

    Raises
    ------
    InputError
        If hardly any bone lies beyond the head.
    """
    index = np.argwhere(mask)
    points = grid.world(index)
    from_head = points - head_centre_mm
    reach = np.linalg.norm(from_head, axis=1)
    beyond = reach > 1.6 * head_radius_mm
    if np.count_nonzero(beyond) * grid.voxel_mm3 < 5000.0:
        raise InputError(
            "only the head of the femur is in view: neck and shaft are needed to load it. "
            "Use a scan that reaches below the lesser trochanter"
        )
    at_border = _at_border(points, field or grid)
    far = reach >= np.quantile(reach[beyond], 0.75)
    start = points[far].mean(axis=0)
    toward = head_centre_mm - start
    # A short shaft lies far off the line to the head: begin with the scan's axis as well.
    starts = (toward / np.linalg.norm(toward), np.array([0.0, 0.0, 1.0]))
    found = [_along(points, at_border, start, axis, grid) for axis in starts]
    missed = [float(np.linalg.norm(np.cross(head_centre_mm - o, a))) for o, a, *_ in found]
    thin = [f[4] < THIN * np.pi * head_radius_mm**2 for f in found]
    best = max(
        (0, 1), key=lambda n: (thin[n] and missed[n] > head_radius_mm, found[n][3] - found[n][2])
    )
    origin, axis, distal, flare, section = found[best]
    # where hardly any shaft is in view the sections run up the neck instead
    neck_only = missed[best] < head_radius_mm and float(reach.max()) < NECK_MM
    if flare - distal < SHORT_MM or neck_only or not thin[best]:
        axis = np.array([0.0, 0.0, 1.0])
        low = points[:, 2] < points[:, 2].min() + 2 * SLICE_MM
        origin = points[low].mean(axis=0)
        distal = flare = 0.0
        section = float(np.count_nonzero(low) * grid.voxel_mm3 / (2 * SLICE_MM))
    neck = _neck_axis(from_head, reach, head_radius_mm, axis)
    return FemurAnatomy(
        side, head_centre_mm, head_radius_mm, neck, origin, axis, distal, flare, section
    )


def _at_border(points: Float, field: Grid) -> Mask:
    """Points within a voxel of the border of the field of view."""
    index = field.index(points)
    last = np.array(field.shape) - 1
    return np.asarray(((index < 1.0) | (index > last - 1.0)).any(axis=1))


def _along(
    points: Float, at_border: Mask, origin: Float, axis: Float, grid: Grid
) -> tuple[Float, Float, float, float, float]:
    """Four rounds of `_shaft`, each along the axis of the one before."""
    distal = flare = section = 0.0
    for _ in range(4):
        origin, axis, distal, flare, section = _shaft(points, at_border, origin, axis, grid)
    return origin, axis, distal, flare, section


def _shaft(
    points: Float, at_border: Mask, origin: Float, axis: Float, grid: Grid
) -> tuple[Float, Float, float, float, float]:
    """One round of slicing across `axis` and refitting it to the centres of the shaft's slices.

    Returns origin (on the axis at the lowest bone), axis, height of the lowest complete slice,
    height of the flare, median section in mm2.
    """
    height = (points - origin) @ axis
    low = float(height.min())
    level = ((height - low) / SLICE_MM).astype(int)
    count = np.bincount(level)
    area = count * grid.voxel_mm3 / SLICE_MM
    total = np.stack([np.bincount(level, points[:, d]) for d in range(3)], axis=1)
    centre = total / np.maximum(count, 1)[:, None]
    cut = np.bincount(level, at_border) > 0
    first = _first_complete(cut, area)
    last = first + 1
    while last < len(area) - 1 and area[last] < FLARE * np.median(area[first:last]):
        last += 1
    if last - first >= 5:
        # the flare begins well before it shows: keep clear of it
        used = centre[first : max(last - 2, first + 4)]
        middle = used.mean(axis=0)
        direction = np.linalg.svd(used - middle)[2][0]
        direction *= np.sign(direction @ axis)
        if direction @ axis > 0.85:
            axis, origin = direction, middle
    start = origin + axis * float(((points - origin) @ axis).min())
    section = float(np.median(area[first:last]))
    return start, axis, first * SLICE_MM, last * SLICE_MM, section


def _first_complete(cut: Mask, area: NDArray[np.floating]) -> int:
    """Lowest slice above the end of the bone: the border of the image or the mask's own end.

    An oblique end shows by growing sections. The border may cut the trochanters as well: only what
    it cuts from the lowest slice upwards, with gaps of two slices, counts.
    """
    first = 0
    while first < len(area) // 2 and (
        cut[first : first + 3].any() or area[first] < WEDGE * area[first + 1]
    ):
        first += 1
    return min(first, max(len(area) - 3, 0))


def _neck_axis(from_head: Float, reach: Float, radius: float, shaft_axis: Float) -> Float:
    """Direction from the head's centre to the middle of the neck just outside the head."""
    shell = (
        (reach > 1.15 * radius) & (reach < 1.5 * radius) & (from_head @ shaft_axis < 0.3 * reach)
    )
    middle = from_head[shell].mean(axis=0)
    return np.asarray(middle / np.linalg.norm(middle))

"""Landmarks and frame of a proximal femur."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.condyles import condyles
from bonekit.anatomy.landmark import Angle, Landmark, square_to, unit
from bonekit.anatomy.neck import head_landmark, neck_centre, neck_landmark
from bonekit.anatomy.shaft import SCAN_AXIS_DEG, find_shaft, scan_axis
from bonekit.anatomy.solid import Solid, at_border, solid_of
from bonekit.anatomy.trochanters import greater_trochanter, lesser_trochanter
from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Side = Literal["left", "right"]

SURE_SIDE = 0.5  # confidence of the landmarks from which on a side that contradicts them is wrong
POINTS = (
    "head_centre",
    "neck_centre",
    "greater_trochanter",
    "lesser_trochanter",
    "shaft_proximal",
    "shaft_distal",
    "medial_condyle",
    "lateral_condyle",
)


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
    shaft_error_deg : float, optional
        Standard error of the shaft axis; None where it is the scan's head-foot axis for want of
        shaft.
    landmarks : tuple of Landmark
        One for each name of `POINTS`, found or not.
    """

    side: Side
    head_centre_mm: Float
    head_radius_mm: float
    neck_axis: Float
    shaft_point_mm: Float
    shaft_axis: Float
    distal_mm: float
    flare_mm: float
    section_mm2: float
    shaft_error_deg: float | None = None
    landmarks: tuple[Landmark, ...] = ()

    def landmark(self, name: str) -> Landmark:
        """Landmark by its name of `POINTS`.

        Raises
        ------
        InputError
            If there is no landmark of that name.
        """
        for found in self.landmarks:
            if found.name == name:
                return found
        raise InputError(f"a femur has no landmark {name!r}; known: {', '.join(POINTS)}")

    @property
    def greater_trochanter_mm(self) -> Float | None:
        """Tip of the greater trochanter, (3,); None where it was not found."""
        return self.landmark_mm("greater_trochanter")

    @property
    def lesser_trochanter_mm(self) -> Float | None:
        """Tip of the lesser trochanter, (3,); None where it was not found."""
        return self.landmark_mm("lesser_trochanter")

    @property
    def anteversion_deg(self) -> float | None:
        """Anteversion; None where the condyles are not in view, see `angles`."""
        return _anteversion(self).value_deg

    @property
    def angles(self) -> tuple[Angle, ...]:
        """Neck-shaft angle and anteversion, each with its error or with why it is missing."""
        return _neck_shaft(self), _anteversion(self)

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

    def landmark_mm(self, name: str) -> Float | None:
        """Point of a landmark in the world, (3,); None where it was not found or not sought."""
        return next((found.point_mm for found in self.landmarks if found.name == name), None)

    def _to_head(self) -> Float:
        toward = self.head_centre_mm - self.shaft_point_mm
        return np.asarray(toward - (toward @ self.shaft_axis) * self.shaft_axis)


def femur_anatomy(
    mask: Mask,
    grid: Grid,
    side: Side,
    head_centre_mm: Float,
    head_radius_mm: float,
    field: Grid | None = None,
) -> FemurAnatomy:
    """Find neck, shaft, trochanters and condyles of a femur whose head is known.

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
    solid = solid_of(mask, grid, field)
    points, cube_mm3 = solid.points_mm, solid.grid.voxel_mm3
    from_head = points - head_centre_mm
    reach = np.linalg.norm(from_head, axis=1)
    if np.count_nonzero(reach > 1.6 * head_radius_mm) * cube_mm3 < 5000.0:
        raise InputError(
            "only the head of the femur is in view: neck and shaft are needed to load it. "
            "Use a scan that reaches below the lesser trochanter"
        )
    cut = at_border(points, solid.field)
    shaft = find_shaft(points, cut, head_centre_mm, head_radius_mm, cube_mm3)
    used = shaft or scan_axis(points, cut, cube_mm3)
    middle = _neck(solid, head_centre_mm, head_radius_mm, used.axis)
    found = FemurAnatomy(
        side,
        head_centre_mm,
        head_radius_mm,
        unit(middle - head_centre_mm),
        used.origin_mm,
        used.axis,
        used.distal_mm,
        used.flare_mm,
        used.section_mm2,
        None if shaft is None else float(np.degrees(shaft.error_rad)),
    )
    return replace(found, landmarks=_landmarks(solid, found, middle))


def _neck(solid: Solid, head: Float, radius: float, shaft_axis: Float) -> Float:
    """Middle of the neck: of its narrowest section, begun from the bone just outside the head."""
    from_head = solid.points_mm - head
    reach = np.linalg.norm(from_head, axis=1)
    shell = (reach > 1.15 * radius) & (reach < 1.5 * radius)
    below = shell & (from_head @ shaft_axis < 0.3 * reach)
    start = from_head[below if below.any() else shell].mean(axis=0)
    middle = neck_centre(solid.points_mm, head, radius, unit(start))
    return head + start if middle is None else middle


def _landmarks(solid: Solid, femur: FemurAnatomy, neck_mm: Float) -> tuple[Landmark, ...]:
    head = head_landmark(solid, femur.head_centre_mm, femur.head_radius_mm, femur.neck_axis)
    neck = neck_landmark(
        solid, femur.head_centre_mm, femur.head_radius_mm, neck_mm, head.confidence
    )
    line = femur.head_radius_mm, femur.shaft_point_mm, femur.shaft_axis, femur.flare_mm
    deg = femur.shaft_error_deg
    wrong = float(np.radians(SCAN_AXIS_DEG if deg is None else deg))
    greater = greater_trochanter(solid, femur.head_centre_mm, *line, wrong)
    if femur.shaft_error_deg is None:
        why = "too little shaft is in view to know its axis"
        missing = [Landmark.missing(name, why) for name in POINTS[3:]]
        return (head, neck, greater, *missing)
    lesser, _ = lesser_trochanter(solid, femur.medial, *line, wrong)
    ends = condyles(
        solid, femur.head_centre_mm, femur.shaft_point_mm, femur.shaft_axis, femur.section_mm2
    )
    return (head, neck, greater, lesser, *_ends(femur, wrong, solid.error_mm), *ends)


def _ends(femur: FemurAnatomy, wrong: float, error_mm: float) -> tuple[Landmark, Landmark]:
    """Points of the shaft axis at the flare and at the lowest complete section."""
    sure = min(femur.shaft_length_mm / 60.0, 1.0)
    error = float(np.hypot(error_mm, wrong * femur.shaft_length_mm / 2))
    one, two = (
        Landmark(name, femur.shaft_point_mm + height * femur.shaft_axis, error, sure, note)
        for name, height, note in (
            ("shaft_proximal", femur.flare_mm, "middle of the shaft where it begins to widen"),
            ("shaft_distal", femur.distal_mm, "middle of the lowest complete section"),
        )
    )
    return one, two


def side_of(femur: FemurAnatomy) -> tuple[Side | None, float]:
    """Tell the side from the bone alone, and how sure that is (0 to 1).

    The lesser trochanter and the condyles lie behind the plane of shaft axis and head: to the one
    side of it in a left femur and to the other in a right one.
    """
    right = np.cross(femur.shaft_axis, femur.medial)  # backwards in a right femur
    votes = 0.0
    for name in ("lesser_trochanter", "medial_condyle", "lateral_condyle"):
        point = femur.landmark_mm(name)
        if point is not None:
            behind = float((point - femur.shaft_point_mm) @ right)
            sure = femur.landmark(name).confidence * min(abs(behind) / 8.0, 1.0)
            votes += sure * float(np.sign(behind))
    if abs(votes) < 0.1:
        return None, 0.0
    return "right" if votes > 0 else "left", min(abs(votes), 1.0)


def _error_deg(femur: FemurAnatomy) -> float | None:
    """Give the standard error of the neck's axis; None without the landmarks it rests on."""
    marks = {mark.name: mark for mark in femur.landmarks}
    head, neck = marks.get("head_centre"), marks.get("neck_centre")
    if head is None or neck is None:
        return None
    if head.uncertainty_mm is None or neck.uncertainty_mm is None or neck.point_mm is None:
        return None
    length = float(np.linalg.norm(neck.point_mm - femur.head_centre_mm))
    # a landmark's uncertainty is of all three axes, and one of them turns the neck in a plane
    return float(
        np.degrees(np.hypot(head.uncertainty_mm, neck.uncertainty_mm) / np.sqrt(3.0) / length)
    )


def _neck_shaft(femur: FemurAnatomy) -> Angle:
    name, error = "neck_shaft_angle", _error_deg(femur)
    if femur.shaft_error_deg is None or error is None:
        return Angle(name, None, None, "too little shaft is in view to know its axis")
    note = "between the neck's axis (head's centre to narrowest section) and the shaft's axis"
    both = float(np.hypot(error, femur.shaft_error_deg))
    return Angle(name, femur.neck_shaft_angle_deg, both, note)


def _anteversion(femur: FemurAnatomy) -> Angle:
    """Angle of neck and posterior condylar line seen along the shaft; forward is positive."""
    name, error = "anteversion", _error_deg(femur)
    inner, outer = femur.landmark_mm("medial_condyle"), femur.landmark_mm("lateral_condyle")
    if inner is None or outer is None or error is None or femur.shaft_error_deg is None:
        notes = [mark.note for mark in femur.landmarks if mark.name == "medial_condyle"]
        why = notes[0] if notes else "not sought"
        return Angle(name, None, None, f"needs the condyles: {why}")
    line = square_to(inner - outer, femur.shaft_axis)
    front = np.cross(femur.shaft_axis, line)
    if (femur.shaft_point_mm - (inner + outer) / 2) @ front < 0:
        front = -front
    neck = square_to(-femur.neck_axis, femur.shaft_axis)
    value = float(np.degrees(np.arctan2(neck @ unit(front), neck @ unit(line))))
    condyle = femur.landmark("medial_condyle").uncertainty_mm or 0.0
    knee = np.degrees(np.sqrt(2.0 / 3.0) * condyle / np.linalg.norm(line))
    # seen along the shaft the neck is shorter, and its error the larger
    both = float(np.hypot(error / np.linalg.norm(neck), knee))
    note = "of the neck before the posterior condylar line, seen along the shaft's axis"
    return Angle(name, value, both, note)

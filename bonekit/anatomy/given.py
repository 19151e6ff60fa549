"""Landmarks that a user places in place of those that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import POINTS as FEMUR_POINTS
from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.landmark import Landmark, unit
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.anatomy.vertebra_parts import POINTS as VERTEBRA_POINTS
from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Points = Mapping[str, Sequence[float]]

GIVEN_ERROR_MM = 2.0  # assumed of a point that a reader places on slices 1 to 3 mm apart
LEAST_SHAFT_MM = 20.0  # between two given points of its axis
LEAST_BODY_MM = 4.0


def with_landmarks(
    anatomy: FemurAnatomy | VertebraAnatomy, given: Points, field: Grid
) -> FemurAnatomy | VertebraAnatomy:
    """Put given points in the place of landmarks, and let what rests on them follow.

    A femur's head centre and neck centre decide the neck's axis, `shaft_proximal` and
    `shaft_distal` the shaft's; a vertebra's endplates shift as planes. The error of a given point
    is assumed, 2 mm. The radius of the head and the directions of endplates stay.

    Parameters
    ----------
    anatomy : FemurAnatomy or VertebraAnatomy
    given : mapping of str to (x, y, z)
        World, LPS mm.
    field : Grid
        Field of view of the scan.

    Raises
    ------
    InputError
        If a name is unknown, a point is no point or lies outside the image, or points contradict
        each other.
    """
    known = FEMUR_POINTS if isinstance(anatomy, FemurAnatomy) else VERTEBRA_POINTS
    points = {name: _checked(name, point, known, field) for name, point in given.items()}
    if not points:
        return anatomy
    marks = tuple(
        Landmark(name, points[name], GIVEN_ERROR_MM * np.sqrt(3.0), 1.0, "given by the user", True)
        if name in points
        else _found(anatomy, name)
        for name in known
    )
    if isinstance(anatomy, FemurAnatomy):
        return _of_femur(replace(anatomy, landmarks=marks), points)
    return _of_vertebra(anatomy, marks, points)


def _found(anatomy: FemurAnatomy | VertebraAnatomy, name: str) -> Landmark:
    marks = {mark.name: mark for mark in anatomy.landmarks}
    return marks.get(name, Landmark.missing(name, "not sought"))


def _checked(name: str, point: Sequence[float], known: tuple[str, ...], field: Grid) -> Float:
    if name not in known:
        raise InputError(f"landmark {name!r} is unknown; known: {', '.join(known)}")
    place = np.asarray(point, dtype=np.float64)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(f"landmark {name} needs three numbers in mm (LPS), got {list(point)}")
    index = field.index(place)
    if ((index < -0.5) | (index > np.array(field.shape) - 0.5)).any():
        raise InputError(
            f"landmark {name} at {place.tolist()} lies outside the image. Are its coordinates LPS "
            "in mm, of this scan?"
        )
    return place


def _of_femur(femur: FemurAnatomy, points: Mapping[str, Float]) -> FemurAnatomy:
    head = points.get("head_centre", femur.head_centre_mm)
    neck = points.get("neck_centre", femur.landmark_mm("neck_centre"))
    axis = femur.neck_axis if neck is None else unit(neck - head)
    moved = replace(femur, head_centre_mm=head, neck_axis=axis)
    if not {"shaft_proximal", "shaft_distal"} & set(points):
        return moved
    foot, up = femur.shaft_point_mm, femur.shaft_axis
    upper = points.get("shaft_proximal", foot + femur.flare_mm * up)
    lower = points.get("shaft_distal", foot + femur.distal_mm * up)
    length = float(np.linalg.norm(upper - lower))
    if length < LEAST_SHAFT_MM or (head - lower) @ (upper - lower) <= 0:
        raise InputError(
            f"shaft_proximal and shaft_distal are {length:.0f} mm apart, or the head does not lie "
            f"on the proximal side: give both, {LEAST_SHAFT_MM:.0f} mm apart or more"
        )
    up = unit(upper - lower)
    return replace(
        moved,
        shaft_axis=up,
        shaft_point_mm=lower - femur.distal_mm * up,
        flare_mm=femur.distal_mm + length,
        shaft_error_deg=float(np.degrees(np.sqrt(2.0) * GIVEN_ERROR_MM / length)),
    )


def _of_vertebra(
    found: VertebraAnatomy, marks: tuple[Landmark, ...], points: Mapping[str, Float]
) -> VertebraAnatomy:
    """Shift the endplates along the axis to the given points."""
    rise = {
        name: _rise(found, name, points[name]) if name in points else 0.0
        for name in ("superior_endplate", "inferior_endplate")
    }
    up, down = rise["superior_endplate"], rise["inferior_endplate"]
    middle = (up + down) / 2
    height = found.height_mm + up - down
    if height < LEAST_BODY_MM:
        raise InputError(
            f"the given endplates leave a body {height:.1f} mm high: are they exchanged?"
        )
    return replace(
        found,
        body_centre_mm=found.body_centre_mm + middle * found.axis,
        superior_centre_mm=found.superior_centre_mm + up * found.axis,
        inferior_centre_mm=found.inferior_centre_mm + down * found.axis,
        height_mm=height,
        superior_surface=_raised(found.superior_surface, up - middle),
        inferior_surface=_raised(found.inferior_surface, down - middle),
        landmarks=marks,
    )


def _rise(found: VertebraAnatomy, name: str, point: Float) -> float:
    """Distance along the axis from an endplate as found to a given point of it."""
    before = {mark.name: mark.point_mm for mark in found.landmarks}.get(name)
    if before is None:
        upper = name == "superior_endplate"
        before = found.superior_centre_mm if upper else found.inferior_centre_mm
    return float((point - before) @ found.axis)


def _raised(surface: Float | None, by_mm: float) -> Float | None:
    return None if surface is None else surface + by_mm * np.array([1.0, 0, 0, 0, 0, 0])

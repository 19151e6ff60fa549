"""Landmarks and angles in the form of result.json."""

from __future__ import annotations

from collections.abc import Iterable

from bonekit.anatomy.landmark import Angle, Landmark
from bonekit.result import AngleResult, LandmarkResult


def landmark_results(marks: Iterable[Landmark]) -> tuple[LandmarkResult, ...]:
    """Return landmarks as plain numbers, in their order."""
    return tuple(LandmarkResult(**vars(mark) | {"point_mm": _plain(mark)}) for mark in marks)


def _plain(mark: Landmark) -> tuple[float, float, float] | None:
    if mark.point_mm is None:
        return None
    x, y, z = (float(part) for part in mark.point_mm)
    return x, y, z


def angle_results(angles: Iterable[Angle]) -> tuple[AngleResult, ...]:
    """Return angles, in their order."""
    return tuple(AngleResult(**vars(angle)) for angle in angles)

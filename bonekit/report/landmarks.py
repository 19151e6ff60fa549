"""The table of landmarks and angles."""

from __future__ import annotations

from bonekit.report.text import Row, readable
from bonekit.result import AngleResult, LandmarkResult, Result


def landmarks(result: Result) -> list[Row]:
    """Return angles first, then points with how sure they are."""
    return [
        *(_angle(angle) for angle in result.angles),
        *(_point(mark) for mark in result.landmarks),
    ]


def _angle(angle: AngleResult) -> Row:
    value = "not measured"
    if angle.value_deg is not None:
        error = "" if angle.uncertainty_deg is None else f" ± {angle.uncertainty_deg:.1f}"
        value = f"{angle.value_deg:.1f}{error} degrees"
    return Row(readable(angle.name), value, angle.note)


def _point(mark: LandmarkResult) -> Row:
    name = readable(mark.name)
    if mark.point_mm is None:
        return Row(name, "not found", mark.note)
    place = ", ".join(f"{part:.1f}" for part in mark.point_mm)
    error = "" if mark.uncertainty_mm is None else f" ± {mark.uncertainty_mm:.1f}"
    sure = "given" if mark.given else f"confidence {mark.confidence:.0%}"
    return Row(name, f"({place}){error} mm", f"{sure}: {mark.note}")

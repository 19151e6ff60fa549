"""Calibration rods beside the patient, found in the scan.

A rod is a nearly axial cylinder of one HU. Slabs of a few slices are averaged; in each the best
row of uniform discs is sought (`discs`), behind, before and beside the patient; the rows of all
slabs are joined by a straight line for every rod (`axes`); HU are read from the core (`measure`).
"""

from __future__ import annotations

from dataclasses import dataclass

from bonekit.calibration.axes import Lines, Sighting, fits, lines_through, rows, sight, sightings
from bonekit.calibration.discs import CORE
from bonekit.calibration.measure import Rod, check_surroundings, measure
from bonekit.calibration.slabs import Slabs, border_mm, every_third, slabs_of
from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Image

CLEAR = 0.6  # quality of a row that is not made up of odd edges, nor of rods cut in half


@dataclass(frozen=True, eq=False)
class Search:
    """A scan and the discs in it.

    Parameters
    ----------
    image : Image
        Canonical.
    slabs : Slabs
    seen : tuple of Sighting
        Of the rods' diameter, or of several where it is not known.
    count : int
        Rods of the phantom.
    """

    image: Image
    slabs: Slabs
    seen: tuple[Sighting, ...]
    count: int


def find_rods(ct: Image, count: int, diameter_mm: float | None = None) -> tuple[Rod, ...]:
    """Find the calibration rods of a phantom, all of which can be seen.

    Parameters
    ----------
    ct : Image
        In HU.
    count : int
        How many rods the phantom has; 2 or more.
    diameter_mm : float, optional
        Of the rods, 5 to 50; by default measured, from 8 to 28.

    Returns
    -------
    tuple of Rod
        From the patient's right to left; from front to back if they lie at the patient's side.

    Raises
    ------
    InputError
        If fewer than two rods are asked for, or the voxels are too large for the rods.
    CalibrationError
        If fewer or more rods are there; if a rod is cut by the field of view, is saturated, or
        touches or overlaps the body or the table. `calibrate_on_rods` also finds rods that look
        like what is around them.
    """
    search = look(ct, count, diameter_mm)
    rods = whole_row(search, CLEAR) or faint_row(search)
    if rods is None:
        raise too_few(search)
    return rods


def look(ct: Image, count: int, diameter_mm: float | None) -> Search:
    """Find the discs of a scan; the arguments and errors are those of `find_rods`."""
    if count < 2:
        raise InputError(f"{count} calibration rods asked for; a line needs at least 2")
    image = ct.canonical()
    slabs = slabs_of(image)
    if diameter_mm is not None and not fits(slabs, diameter_mm):
        raise InputError(
            f"rods of {diameter_mm:g} mm can't be measured with voxels of "
            f"{max(slabs.spacing_mm):.2f} mm: allowed are voxels of at most "
            f"{CORE * diameter_mm / 3:.2f} mm in plane"
        )
    return Search(image, slabs, sightings(slabs, diameter_mm), count)


def whole_row(search: Search, least: float = 0.0) -> tuple[Rod, ...] | None:
    """Measure the rods if all are seen with a least quality; None if there is no such row."""
    lines = lines_through(search.slabs, search.seen, tuple(range(search.count)), least)
    if lines is None:
        return None
    _check_no_more(search, lines)
    return measure_all(search, lines)


def faint_row(search: Search) -> tuple[Rod, ...] | None:
    """Measure rods that are seen badly; not of two, through which any line would go."""
    if search.count == 2:
        return None
    try:
        return whole_row(search)
    except CalibrationError as error:
        raise CalibrationError(f"{too_few(search)}. What looks most like it: {error}") from error


def measure_all(search: Search, lines: Lines) -> tuple[Rod, ...]:
    """Measure the rods on some axes."""
    rods = tuple(measure(search.image, lines, n) for n in range(len(lines.start)))
    for n in range(len(rods)):
        check_surroundings(search.slabs, lines, n)
    return rods


def _check_no_more(search: Search, lines: Lines) -> None:
    """Refuse a phantom that has more rods than the table lists."""
    count, slabs = search.count, every_third(search.slabs)
    more = rows(sight(slabs, lines.diameter_mm), lines.side, tuple(range(count + 1)))
    whole = [row for _, row in more if row.score.min() > CLEAR]
    if 2 * len(whole) > len(slabs.slices):
        raise CalibrationError(
            f"found {count + 1} or more calibration rods where {count} densities are given: "
            "another phantom? Give the density of every rod"
        )


def too_few(search: Search) -> CalibrationError:
    """Say how many rods there are, and whether the next is beyond the field of view."""
    count, slabs = search.count, search.slabs
    for fewer in range(count - 1, 1, -1):
        lines = lines_through(slabs, search.seen, tuple(range(fewer)), CLEAR)
        if lines is not None:
            return CalibrationError(
                f"found {fewer} of {count} calibration rods {lines.side.name} the patient"
                f"{_beyond(slabs, lines)}. Check the number of densities and that all rods are in "
                f"the scan, or give the densities of the {fewer} that are"
            )
    return CalibrationError(
        f"found no row of {count} calibration rods beside the patient. Needed: uniform, nearly "
        "axial cylinders side by side in at least half of the slices; without a phantom give a "
        "line in the case file"
    )


def _beyond(slabs: Slabs, lines: Lines) -> str:
    """Say at which end of a row another rod would be cut by the field of view."""
    text = ""
    last = "left" if lines.side.first == "right" else "back"
    middle = lines.at(slabs.slices[len(slabs.slices) // 2])
    for end, inner, where in ((0, 1, lines.side.first), (-1, -2, last)):
        if border_mm(slabs.grid, 2 * middle[end] - middle[inner]) < lines.diameter_mm / 2:
            text += f"; one more at the patient's {where} would be cut by the field of view"
    return text

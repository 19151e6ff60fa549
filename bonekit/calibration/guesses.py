"""Where the rods are that look like what is around them: the pitch of the others tells.

The rod of 0 mg/cm3 in a water-equivalent base, and the first rod of Mindways in its pad, have
hardly an edge to be found by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bonekit.calibration.axes import Lines, Pattern, completed, lines_through
from bonekit.calibration.measure import AIR_HU, LEAST_SLICES, Rod, measure, whole_slices
from bonekit.calibration.rods import CLEAR, Search, measure_all
from bonekit.calibration.slabs import border_mm, near
from bonekit.errors import CalibrationError
from bonekit.image.volume import Image

MOST_UNSEEN = 2


@dataclass(frozen=True)
class Guess:
    """Where the rods may be if not all are seen.

    Parameters
    ----------
    rods : tuple of Rod or None
        In their order; None where the place of an unseen rod is not in the field of view.
    """

    rods: tuple[Rod | None, ...]

    @property
    def seen(self) -> tuple[int, ...]:
        """Places of the rods that are seen."""
        return tuple(n for n, rod in enumerate(self.rods) if rod is not None and rod.seen)

    @property
    def outside(self) -> tuple[int, ...]:
        """Places of the rods that are out of the field of view."""
        return tuple(n for n, rod in enumerate(self.rods) if rod is None)


def guesses(search: Search) -> tuple[Guess, ...]:
    """Tell where the rods may be of which some look like what is around them.

    The pitch of the rods that are seen is even, so that it gives the places of the others: between
    them, or at either end. At most two may be missing, and two must be seen. What is not uniform
    at such a place is no rod, and the guess is dropped.

    Returns
    -------
    tuple of Guess
        Empty if there are none.

    Raises
    ------
    CalibrationError
        If a rod that is seen is cut, saturated or overlaps the body.
    """
    for missing in range(1, min(MOST_UNSEEN, search.count - 2) + 1):
        seen = search.count - missing
        patterns = [(0, *rest) for rest in combinations(range(1, search.count), seen - 1)]
        found = [guess for pattern in patterns for guess in _guesses(search, pattern)]
        if found:
            return tuple(found)
    return ()


def _guesses(search: Search, pattern: Pattern) -> list[Guess]:
    """Guesses with rods seen in one pattern, wherever it may begin in the row."""
    lines = lines_through(search.slabs, search.seen, pattern, CLEAR)
    if lines is None:
        return []
    known = measure_all(search, lines)
    made = [_guess(search, lines, first, known) for first in range(search.count - pattern[-1])]
    return [guess for guess in made if guess is not None]


def _guess(search: Search, lines: Lines, first: int, known: Sequence[Rod]) -> Guess | None:
    """Measure the unseen rods too; None if one of them can't be where it should."""
    image = search.image
    whole = completed(lines, search.count, first, (image.shape[2] - 1) / 2)
    rods: dict[int, Rod | None] = {
        place + first: rod for place, rod in zip(lines.pattern, known, strict=True)
    }
    for n in set(range(search.count)) - set(rods):
        if _outside(image, whole, n):
            rods[n] = None
            continue
        rods[n] = _unseen(image, whole, n, known)
        if rods[n] is None:
            return None
    return Guess(tuple(rods[n] for n in range(search.count)))


def _outside(image: Image, lines: Lines, n: int) -> bool:
    """Whether a place is cut by the border, or by a round field of view: air without noise."""
    out = 0
    for k in range(image.shape[2]):
        place, radius = lines.at(k)[n], lines.diameter_mm / 2
        if border_mm(image.grid, place) < radius:
            out += 1
            continue
        values, off = near(image, place, k, radius)
        dark = values[(off <= radius) & (values < AIR_HU)]
        out += bool(dark.size > 3 and np.ptp(dark) == 0)
    return out > (1 - LEAST_SLICES) * image.shape[2]


def _unseen(image: Image, lines: Lines, n: int, known: Sequence[Rod]) -> Rod | None:
    """Measure what would be an unseen rod; None if it varies more than the others do."""
    if whole_slices(image, lines, n).mean() < LEAST_SLICES:
        return None
    try:
        rod = measure(image, lines, n, seen=False)
    except CalibrationError:  # of two HU, or saturated: no rod
        return None
    return rod if rod.std_HU <= 1.5 * max(other.std_HU for other in known) + 3 else None

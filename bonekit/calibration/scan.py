"""From a scan to the line, with the table telling which rods are which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bonekit.calibration.guesses import Guess, guesses
from bonekit.calibration.line import (
    LEAST_R2,
    SAME_R2,
    LineFit,
    calibrate,
    expected_hu,
    one_way,
    plausible,
)
from bonekit.calibration.measure import Rod
from bonekit.calibration.rods import CLEAR, Search, faint_row, look, too_few, whole_row
from bonekit.calibration.tables import RodTable, subset
from bonekit.errors import CalibrationError
from bonekit.image.volume import Image

# How far an unseen rod may be from what the others say: it was not seen for lack of some 20 HU of
# contrast, so that what lies beside it would agree no better.
MOST_OFF_HU = 15.0


@dataclass(frozen=True)
class _Judged:
    """A guess with the table one way round."""

    guess: Guess
    flipped: bool
    fit: LineFit  # through the rods that are seen
    off_HU: float  # of the unseen rod that agrees least; infinite where one is out of the image

    @property
    def agrees(self) -> bool:
        return self.off_HU <= MOST_OFF_HU


def calibrate_on_rods(ct: Image, table: RodTable) -> LineFit:
    """Find the rods of a phantom and fit the line from HU to density.

    Rods that look like what is around them are measured where the pitch of the others puts them,
    if only one way to do so agrees with the table: the rods that are seen must lie on a line, and
    an unseen one within 15 HU of it.

    Parameters
    ----------
    ct : Image
        In HU.
    table : RodTable

    Raises
    ------
    InputError
        If the voxels are too large for the rods.
    CalibrationError
        As for `find_rods` and `calibrate`; and if unseen rods can be at several places, or at none.
    """
    search = look(ct, len(table.densities_g_cm3), table.diameter_mm)
    rods = whole_row(search, CLEAR)
    if rods is None:
        made = guesses(search)
        rods = _most_likely(search, made, table) if made else faint_row(search)
    if rods is None:
        raise too_few(search)
    return calibrate(rods, table)


def _most_likely(search: Search, made: Sequence[Guess], table: RodTable) -> tuple[Rod, ...]:
    """Rods of the guess that agrees with the table."""
    judged = [one for guess in made for one in _judge(guess, table)]
    if not judged:
        raise too_few(search)
    chosen = _chosen(judged, too_few(search))
    return tuple(rod for rod in chosen.guess.rods if rod is not None)


def _judge(guess: Guess, table: RodTable) -> list[_Judged]:
    """Fit the rods that are seen, both ways round; what no scanner shows is left out."""
    count, judged = len(guess.rods), []
    seen = tuple(rod for rod in guess.rods if rod is not None and rod.seen)
    for flipped in (False, True):
        keep = sorted(count - 1 - n if flipped else n for n in guess.seen)
        if len({table.densities_g_cm3[n] for n in keep}) < 2:
            continue
        fit = one_way(seen, subset(table, keep), flipped)
        if plausible(fit) and fit.r2 >= LEAST_R2:
            judged.append(_Judged(guess, flipped, fit, _off_hu(guess.rods, fit, table, flipped)))
    return judged


def _off_hu(rods: Sequence[Rod | None], fit: LineFit, table: RodTable, flipped: bool) -> float:
    """Tell how far the unseen rods are from what the line through the others gives them."""
    off = 0.0
    for n, rod in enumerate(rods):
        if rod is None:
            return float("inf")
        if not rod.seen:
            place = len(rods) - 1 - n if flipped else n
            water = None if table.water_g_cm3 is None else table.water_g_cm3[place]
            expected = expected_hu(fit, table.densities_g_cm3[place], water)
            off = max(off, abs(rod.mean_HU - expected))
    return off


def _chosen(judged: Sequence[_Judged], refusal: CalibrationError) -> _Judged:
    """Return the one guess that agrees, among those that fit the seen rods equally well."""
    best = max(one.fit.r2 for one in judged)
    rivals = [one for one in judged if one.fit.r2 > best - SAME_R2]
    agreeing = [one for one in rivals if one.agrees]
    outside = [one for one in rivals if one.guess.outside]
    if not agreeing:
        nearest = min(rivals, key=lambda one: one.off_HU)
        raise CalibrationError(f"{refusal}. {_where(nearest)}")
    if len(agreeing) > 1 or outside:
        ways = "; ".join(_where(one) for one in [*agreeing, *outside])
        raise CalibrationError(
            f"which rods of table {judged[0].fit.table.name} are not seen is ambiguous: {ways}. "
            "Give the densities of the rods that are seen"
        )
    return agreeing[0]


def _where(one: _Judged) -> str:
    """Say where the unseen rods of a guess are."""
    unseen = [n + 1 for n in range(len(one.guess.rods)) if n not in one.guess.seen]
    names = " and ".join(str(n) for n in unseen)
    if one.guess.outside:
        return f"rod {names} along the row may be out of the field of view"
    return (
        f"rod {names} along the row may be unseen, {one.off_HU:.0f} HU off the line of the others"
    )

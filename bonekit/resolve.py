"""From the entries of a case to what the library takes: lines and laws."""

from __future__ import annotations

from collections.abc import Mapping

from bonekit.case import Case
from bonekit.case.calibration import LineSettings
from bonekit.case.material import LawSettings
from bonekit.density import Calibration, DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.fem.materials import LAWS, Law, Power


def line_of(given: LineSettings) -> Calibration:
    """Make the calibration that a case states.

    Raises
    ------
    InputError
        If it is not plausible.
    """
    try:
        return Calibration(
            given.slope,
            given.intercept,
            DensityKind(given.kind),
            given.source,
            covariance=given.covariance,
            range_HU=given.range_HU,
            kVp=given.kVp,
            kernel=given.kernel,
        )
    except CalibrationError as error:
        raise InputError(f"calibration of the case: {error}") from error


def laws_of(case: Case) -> Mapping[str, Law]:
    """Return all laws that a case may name: the known ones and its own."""
    laws = dict(LAWS)
    for given in case.material.laws:
        if given.name in laws:
            raise InputError(f"two laws are named {given.name!r}: choose another for your own")
        laws[given.name] = _law(given)
    return laws


def law_of(case: Case) -> Law:
    """Return the density-modulus law of the bone."""
    return _named(laws_of(case), case.material.law)


def _named(laws: Mapping[str, Law], name: str) -> Law:
    if name not in laws:
        raise InputError(f"law {name!r} is unknown; known: {', '.join(laws)}")
    return laws[name]


def _law(given: LawSettings) -> Law:
    first, *others = given.pieces
    if first.from_g_cm3:
        raise InputError(
            f"law {given.name}: its first piece starts at {first.from_g_cm3:g} g/cm3; leave "
            "from_g_cm3 out there, low_g_cm3 is the lower limit"
        )
    return Law(
        given.name,
        DensityKind(given.kind),
        tuple(Power(piece.factor, piece.exponent, piece.offset) for piece in given.pieces),
        given.low_g_cm3,
        given.high_g_cm3,
        given.source,
        given.site,
        bounds=tuple(piece.from_g_cm3 for piece in others),
        valid=given.valid_g_cm3,
    )

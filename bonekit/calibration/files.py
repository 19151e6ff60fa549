"""Rods as they are typed: densities with commas, or the name of a phantom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bonekit.calibration.tables import RodTable, table_named, user_table
from bonekit.density import DensityKind
from bonekit.errors import InputError


def densities(typed: str) -> list[float]:
    """Read densities with commas between them.

    Raises
    ------
    InputError
        If one is no number.
    """
    try:
        return [float(text) for text in typed.split(",")]
    except ValueError as error:
        raise InputError(
            f"the densities of the rods are {typed!r}; allowed: numbers in g/cm3 with commas "
            "between them, such as 0,0.05,0.1"
        ) from error


def table_of(
    table: str | None,
    densities_g_cm3: Sequence[float] | None,
    kind: str | None,
    diameter_mm: float | None,
) -> RodTable:
    """Make the table of the rods: a known one by name, or densities of some kind.

    Raises
    ------
    InputError
        If both or neither are given, densities come without their kind, or the table is unknown.
    """
    if (densities_g_cm3 is None) == (table is None):
        raise InputError("give either the densities of the rods or the name of a known phantom")
    if densities_g_cm3 is None:
        known = table_named(str(table))
        return known if diameter_mm is None else replace(known, diameter_mm=diameter_mm)
    if kind is None:
        raise InputError("say what the densities of the rods are densities of: give their kind")
    return user_table(densities_g_cm3, DensityKind(kind), diameter_mm)

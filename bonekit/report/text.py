"""Numbers, names and rows of tables, as a reader wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# Suffixes of names that state a unit, the longest first.
UNITS = {
    "g_cm3_per_HU": "g/cm³ per HU",
    "g_cm3": "g/cm³",
    "N_mm": "N/mm",
    "mm2": "mm²",
    "mm3": "mm³",
    "deg": "°",
    "kVp": "kVp",
    "keV": "keV",
    "MPa": "MPa",
    "GPa": "GPa",
    "HU": "HU",
    "kN": "kN",
    "MB": "MB",
    "mm": "mm",
    "ml": "ml",
    "N": "N",
    "g": "g",
    "s": "s",
}

# The folders of a path, but not the slashes of units (g/cm3) and of addresses (https://...).
_FOLDERS = re.compile(
    r"(?<![\w./\\])(?:file://|[A-Za-z]:|~|\.{1,2}|\\)?[\\/](?:[^\s\\/:'\"()]+[\\/])+"
)
MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"  # apart the thousands


class Row(NamedTuple):
    """A line of a table: name, value with its unit, and what it means."""

    name: str
    value: str
    meaning: str = ""


def without_folders(text: str) -> str:
    """Cut the folders off every file path in a text: they may name a patient."""
    return _FOLDERS.sub("", text)


def number(value: Any) -> str:
    """Write a value with four digits and the thousands apart; lists by their entries."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", _THIN)
    if isinstance(value, float):
        if value == 0 or 1e-4 <= abs(value) < 1e7:
            digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
            return digits.replace(",", _THIN).replace("-", MINUS)
        return f"{value:.2e}".replace("-", MINUS)
    if isinstance(value, Mapping):
        return ", ".join(f"{readable(str(k))} {number(v)}" for k, v in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(number(entry) for entry in value)
    return str(value)


def readable(name: str) -> str:
    """Turn an identifier into words."""
    return name.replace("_", " ")


def bone_name(bone: str) -> str:
    """Name a bone in words: ``femur_left`` is "Left femur", ``vertebra_L3`` is "Vertebra L3"."""
    kind, _, which = bone.partition("_")
    return f"{which} {kind}".capitalize() if which in ("left", "right") else readable(bone).title()


def rows(values: Mapping[str, Any]) -> list[Row]:
    """Table of named values; the unit is taken from the end of the name."""
    return [Row(*_with_unit(name, value)) for name, value in values.items()]


def _with_unit(name: str, value: Any) -> tuple[str, str]:
    for suffix, unit in UNITS.items():
        if name.endswith(f"_{suffix}") or name == suffix:
            words = readable(name.removesuffix(suffix).rstrip("_")) or unit
            return words, f"{number(value)} {unit}"
    return readable(name), number(value)


def signed(share: float) -> str:
    """Write a change as a percentage with its sign."""
    return f"{share:+.1%}".replace("-", MINUS)


def share(part: int, whole: int) -> str:
    """Write a count with the share that it is of a whole."""
    return f"{number(part)} of {number(whole)} ({part / whole:.1%})"

"""Published lines from one kind of density to another; nothing is converted implicitly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.density.kinds import DensityImage, DensityKind
from bonekit.errors import InputError

Values = NDArray[np.float64]

# ICRU Report 44 (1989): mass per volume of cortical bone; of red (1.03) and yellow (0.98) marrow.
CORTICAL_BONE_G_CM3, MARROW_G_CM3 = 1.92, 1.0


@dataclass(frozen=True)
class Conversion:
    """A line from one kind of density to another: ``wanted = slope * given + intercept``.

    Parameters
    ----------
    name : str
        Empty for the inverse of a published line, and from a density to itself.
    given, wanted : DensityKind
    slope : float
    intercept : float
        g/cm3.
    source : str
        With "unverified" where the numbers have not been compared with a copy of the source.
    valid : tuple of float, (2,), optional
        Given densities in g/cm3 that the line was measured on, where the source states them.
    """

    name: str
    given: DensityKind
    wanted: DensityKind
    slope: float
    intercept: float
    source: str
    valid: tuple[float, float] | None = None

    def __call__(self, density: Values) -> Values:
        """Convert densities in g/cm3."""
        return self.slope * density + self.intercept

    def inverse(self) -> Conversion:
        """Return the same line read the other way."""
        slope, intercept = 1.0 / self.slope, -self.intercept / self.slope
        source = f"inverse of {self.source}"
        valid = None
        if self.valid is not None:
            low, high = self(np.array(self.valid)).tolist()
            valid = (low, high)
        return Conversion("", self.wanted, self.given, slope, intercept, source, valid)

    @property
    def description(self) -> str:
        """The line as a formula, and its source."""
        line = f"{self.wanted} = {self.slope:.5g} * {self.given}"
        if self.intercept:
            line += f" {'+' if self.intercept > 0 else '-'} {abs(self.intercept):.5g} g/cm3"
        return f"{line} ({self.source})"


_KIND = DensityKind
# The first line between two kinds is the default.
CONVERSIONS: Mapping[str, Conversion] = {
    line.name: line
    for line in (
        Conversion(
            "keyak_1994",
            *(_KIND.K2HPO4, _KIND.ASH, 1.06, 0.0389),
            "Keyak et al., J Biomed Mater Res 1994",
        ),
        Conversion(
            "schileo_2008",
            *(_KIND.HA, _KIND.ASH, 0.877, 0.0789),
            "Schileo et al., J Biomech 2008",
        ),
        Conversion(
            "kaneko_2004",
            *(_KIND.HA, _KIND.ASH, 0.839, 0.0698),
            "Kaneko et al., J Biomech 2004",
        ),
        Conversion(
            "keyak_2005",
            *(_KIND.HA, _KIND.ASH, 0.887, 0.0633),
            "Keyak et al., Clin Orthop Relat Res 2005 (unverified: quoted from memory)",
        ),
        Conversion(
            "schileo_2008_apparent",
            *(_KIND.APPARENT, _KIND.ASH, 0.6, 0.0),
            "Schileo et al., J Biomech 2008",
        ),
        Conversion(
            "mixture",
            *(_KIND.APPARENT, _KIND.WET, 1 - MARROW_G_CM3 / CORTICAL_BONE_G_CM3, MARROW_G_CM3),
            "bone of 1.92 g/cm3 whose pores are full of marrow of 1.0 g/cm3 (ICRU Report 44)",
            (0.0, CORTICAL_BONE_G_CM3),
        ),
    )
}


def conversion(given: DensityKind, wanted: DensityKind, name: str | None = None) -> Conversion:
    """Look up the line from one kind of density to another.

    Only single lines and their inverses: two phantom equivalents have none between them, and a
    way over ash is for the caller to choose.

    Parameters
    ----------
    given, wanted : DensityKind
    name : str, optional
        Of `CONVERSIONS`, where there are several; the first of them by default.

    Raises
    ------
    InputError
        If there is no such line; the message names those that exist.
    """
    if given is wanted:
        return Conversion("", given, wanted, 1.0, 0.0, "the same density")
    if name is not None:
        return _named(name, given, wanted)
    for line in CONVERSIONS.values():
        if (line.given, line.wanted) == (given, wanted):
            return line
        if (line.wanted, line.given) == (given, wanted):
            return line.inverse()
    lines = CONVERSIONS.values()
    ways = {str(line.wanted) for line in lines if line.given is given}
    ways |= {str(line.given) for line in lines if line.wanted is given}
    raise InputError(
        f"no published line turns {given} density into {wanted} density; possible from "
        f"{given}: {', '.join(sorted(ways))}"
    )


def _named(name: str, given: DensityKind, wanted: DensityKind) -> Conversion:
    if name not in CONVERSIONS:
        raise InputError(f"conversion {name!r} is unknown; known: {', '.join(CONVERSIONS)}")
    line = CONVERSIONS[name]
    if (line.given, line.wanted) == (given, wanted):
        return line
    if (line.wanted, line.given) == (given, wanted):
        return line.inverse()
    fitting = [c.name for c in CONVERSIONS.values() if {c.given, c.wanted} == {given, wanted}]
    raise InputError(
        f"conversion {name} leads from {line.given} to {line.wanted} density, wanted: from "
        f"{given} to {wanted}; lines between these: {', '.join(fitting) or 'none'}"
    )


def convert(density: DensityImage, kind: DensityKind, name: str | None = None) -> DensityImage:
    """Convert an image to another kind of density by the line of `conversion`.

    Raises
    ------
    InputError
        If no published line leads there; the message names those that exist.
    """
    line = conversion(density.kind, kind, name)
    array = density.array * np.float32(line.slope) + np.float32(line.intercept)
    return DensityImage(array.astype(np.float32), density.grid, kind, density.calibrated)


def to_ash(density: DensityImage, name: str | None = None) -> DensityImage:
    """Convert to ash density; see `convert`."""
    return convert(density, DensityKind.ASH, name)

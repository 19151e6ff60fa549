"""Densities that know what they are: 0.3 g/cm3 of K2HPO4-equivalent is not 0.3 g/cm3 of ash."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bonekit.errors import InputError
from bonekit.image.volume import Image


class DensityKind(StrEnum):
    """What a density in g/cm3 is a density of."""

    K2HPO4 = "k2hpo4"  # dipotassium phosphate equivalent (liquid phantoms, Mindways)
    HA = "hydroxyapatite"  # calcium hydroxyapatite equivalent (QRM, Siemens Osteo)
    ASH = "ash"  # mass of ash per bulk volume
    APPARENT = "apparent"  # mass of wet bone without its marrow per bulk volume
    WET = "wet"  # mass of wet bone with its marrow per bulk volume


@dataclass(frozen=True, eq=False)
class DensityImage(Image):
    """A density in g/cm3 on a grid, of a stated kind.

    Parameters
    ----------
    array : ndarray of float, (ni, nj, nk)
        g/cm3.
    grid : Grid
    kind : DensityKind
    calibrated : bool
        False where the HU line is a default rather than one measured for this scan.
    """

    kind: DensityKind = DensityKind.ASH
    calibrated: bool = False

    def require(self, kind: DensityKind) -> DensityImage:
        """Return self if the kind matches.

        Raises
        ------
        InputError
            If it does not; nothing is converted implicitly.
        """
        if self.kind is not kind:
            raise InputError(
                f"expected {kind} density, got {self.kind} density; convert it explicitly "
                "(see bonekit.density: convert)"
            )
        return self

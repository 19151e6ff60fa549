"""Calibration phantoms: which rods they hold, in g/cm3.

Every phantom comes with a certificate of its own; where it differs from the table here, the
certificate is right: give its densities with `user_table`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bonekit.density import DensityKind
from bonekit.errors import InputError


@dataclass(frozen=True)
class RodTable:
    """Densities of a phantom's rods in their order along the row.

    Parameters
    ----------
    name : str
    kind : DensityKind
        What the densities are densities of.
    densities_g_cm3 : tuple of float
        From one end of the row to the other; which end is on the patient's right is found.
    diameter_mm : float, optional
        Of the rods; measured in the scan if None.
    source : str
    water_g_cm3 : tuple of float, optional
        Water-equivalent densities of the same rods (Mindways), which have a fit of their own.
    tolerance_g_cm3 : float
        Standard uncertainty of a rod's density that the certificate states; 0 where it states none.

    Raises
    ------
    InputError
        If there are fewer than two rods, all are the same, a density is not between -0.3 and
        2 g/cm3, a water density not between 0.5 and 1.5 g/cm3, or the diameter not between
        5 and 50 mm, or the tolerance not between 0 and 0.1 g/cm3.
    """

    name: str
    kind: DensityKind
    densities_g_cm3: tuple[float, ...]
    diameter_mm: float | None
    source: str
    water_g_cm3: tuple[float, ...] | None = None
    tolerance_g_cm3: float = 0.0

    def __post_init__(self) -> None:
        if len(set(self.densities_g_cm3)) < 2:
            raise InputError(
                f"the densities of the rods are {list(self.densities_g_cm3)} g/cm3; a line needs "
                "at least two rods of different density"
            )
        _check("a rod's density", self.densities_g_cm3, -0.3, 2.0)
        if self.water_g_cm3 is not None:
            _check("a rod's water density", self.water_g_cm3, 0.5, 1.5)
            if len(self.water_g_cm3) != len(self.densities_g_cm3):
                raise InputError(
                    f"{len(self.water_g_cm3)} water densities for "
                    f"{len(self.densities_g_cm3)} rods: give one for each"
                )
        _check("the tolerance of a rod's density", [self.tolerance_g_cm3], 0.0, 0.1)
        if self.diameter_mm is not None and not 5 <= self.diameter_mm <= 50:
            raise InputError(f"diameter_mm of the rods is {self.diameter_mm}; allowed: 5 to 50")


def _check(name: str, values: Sequence[float], low: float, high: float) -> None:
    for value in values:
        if not (math.isfinite(value) and low <= value <= high):
            raise InputError(
                f"{name} is {value:g} g/cm3; allowed: {low:g} to {high:g}. Is it in mg/cm3?"
            )


def user_table(
    densities_g_cm3: Sequence[float],
    kind: DensityKind,
    diameter_mm: float | None = None,
    tolerance_g_cm3: float = 0.0,
) -> RodTable:
    """Make a table from densities of the user's certificate, in g/cm3."""
    given = tuple(float(value) for value in densities_g_cm3)
    return RodTable(
        "user",
        kind,
        given,
        diameter_mm,
        "densities given by the user",
        tolerance_g_cm3=tolerance_g_cm3,
    )


_OGO = "Bonelab/Ogo, ogo/util/Helper.py get_phantom (commit 8e63840)"
_ONE = "one phantom's certificate as stored by {}, serial {}; not checked against the maker"

TABLES: dict[str, RodTable] = {
    table.name: table
    for table in (
        RodTable(
            "mindways_model_3",
            DensityKind.K2HPO4,
            (-0.05183, -0.05340, 0.05888, 0.15705, 0.37583),
            None,
            _ONE.format(_OGO, "#4541A, #4560"),
            (1.01225, 1.05695, 1.10357, 1.11952, 0.92320),
        ),
        RodTable(
            "qrm_bdc_3",
            DensityKind.HA,
            (0.1, 0.4, 0.8),
            None,
            _ONE.format(_OGO, "#BDC-71"),
        ),
        RodTable(
            "qrm_bdc_6",
            DensityKind.HA,
            (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
            None,
            _ONE.format(_OGO, "#BDC-106"),
        ),
        RodTable(
            "image_analysis_qct_3d_plus",
            DensityKind.HA,
            (0.0080, 0.0973, 0.1898),
            None,
            _ONE.format(_OGO, "#G2730"),
        ),
        RodTable(
            "b_mas_200",
            DensityKind.HA,
            (0.0, 0.05, 0.1, 0.15, 0.2),
            None,
            _ONE.format(_OGO, "unknown"),
        ),
        RodTable(
            "siemens_osteo",
            DensityKind.HA,
            (0.0, 0.2),
            None,
            "two parts, water-equivalent and 200 mg/cm3 of calcium hydroxyapatite: Kalender & "
            "Suess, Med Phys 14:863 (1987); unverified: quoted from memory, not checked against "
            "the maker. Taken for two rods; the real parts may be of another shape",
        ),
    )
}


def table_named(name: str) -> RodTable:
    """Return a table by its name.

    Raises
    ------
    InputError
        If there is none; the message lists those there are.
    """
    if name not in TABLES:
        raise InputError(
            f"there is no phantom {name!r}; known: {', '.join(TABLES)}. For another phantom give "
            "the densities of its rods"
        )
    return TABLES[name]


def subset(table: RodTable, keep: Sequence[int]) -> RodTable:
    """Return the table of some of the rods.

    Raises
    ------
    InputError
        If fewer than two densities are left.
    """
    water = table.water_g_cm3
    return replace(
        table,
        densities_g_cm3=tuple(table.densities_g_cm3[n] for n in keep),
        water_g_cm3=None if water is None else tuple(water[n] for n in keep),
    )

"""A calibration as text: rods as they are typed, and the block of a case file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import yaml

from bonekit.calibration.line import LineFit
from bonekit.calibration.slabs import HIGHEST_HU
from bonekit.calibration.tables import RodTable, table_named, user_table
from bonekit.density import DensityKind
from bonekit.errors import InputError


def rod_table(
    rods: str | None, kind: str, table: str | None, diameter_mm: float | None
) -> RodTable:
    """Make the table of the rods from what was typed: densities with commas, or a name.

    Raises
    ------
    InputError
        If both or neither are given, a density is no number, or the table is unknown.
    """
    if (rods is None) == (table is None):
        raise InputError(
            "give either the densities of the rods (--rods 0,0.05,0.1 --kind k2hpo4) or the name "
            "of a known phantom (--table mindways_model_3)"
        )
    if table is not None:
        return table_of(table, None, kind, diameter_mm)
    try:
        densities = [float(text) for text in str(rods).split(",")]
    except ValueError as error:
        raise InputError(
            f"the densities of the rods are {rods!r}; allowed: numbers in g/cm3 with commas "
            "between them, such as 0,0.05,0.1"
        ) from error
    return table_of(None, densities, kind, diameter_mm)


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


def summary(fit: LineFit) -> list[str]:
    """Lines that tell the fit: slope and intercept with standard errors, R2, every rod."""
    (_, both), _ = fit.covariance
    low, high = fit.range_HU
    lines = [
        f"slope: {fit.slope:.6g} +/- {fit.slope_error:.2g} g/cm3 per HU",
        f"intercept: {fit.intercept:.6g} +/- {fit.intercept_error:.2g} g/cm3",
        f"covariance of both: {both:.3g}",
        f"R2: {fit.r2:.6f}" if len(fit.rods) > 2 else "R2: none, of two rods",
        f"measured from {low:.0f} to {high:.0f} HU ({_density(fit, low):.3g} to "
        f"{_density(fit, high):.3g} g/cm3), extrapolated beyond (to "
        f"{_density(fit, HIGHEST_HU):.3g} g/cm3 at {HIGHEST_HU} HU)",
    ]
    rows = zip(fit.rods, fit.densities_g_cm3, fit.residuals_g_cm3, strict=True)
    for n, (rod, density, residual) in enumerate(rows, 1):
        lines.append(
            f"rod {n} from the {fit.first}: {density:.4g} g/cm3, {rod.mean_HU:.1f} +/- "
            f"{rod.sem_HU:.2g} HU ({rod.n_voxels} voxels, sd {rod.std_HU:.1f}), residual "
            f"{1000 * residual:+.2f} mg/cm3"
        )
    return lines + [f"note: {remark}" for remark in fit.remarks]


def _density(fit: LineFit, hu: float) -> float:
    return fit.slope * hu + fit.intercept


def case_block(fit: LineFit) -> str:
    """Return a case file that holds the calibration and nothing else, with comments."""
    line = fit.calibration()
    content = {
        "calibration": {
            "slope": line.slope,
            "intercept": line.intercept,
            "kind": str(line.kind),
            "source": line.source,
            "covariance": [list(row) for row in fit.covariance],
            "range_HU": list(fit.range_HU),
        }
    }
    comments = "".join(f"# {text}\n" for text in summary(fit))
    return comments + yaml.safe_dump(content, sort_keys=False, width=1000)

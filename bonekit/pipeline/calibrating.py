"""The calibration of a scan: the line that a case states, or one measured in the scan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bonekit.calibration import RodTable, calibrate_on_rods
from bonekit.calibration.files import table_of
from bonekit.calibration.internal import internal_calibration
from bonekit.calibration.tissues import find_tissues
from bonekit.case.calibration import InternalSettings, LineSettings, RodSettings
from bonekit.density import DEFAULT, Calibration, DensityKind
from bonekit.errors import InputError
from bonekit.figures.calibration import calibration_figure
from bonekit.figures.calibration_internal import internal_calibration_figure
from bonekit.image import ScanInfo, read_labels
from bonekit.image.volume import Grid, Image
from bonekit.resolve import line_of
from bonekit.storage import plain

Settings = LineSettings | RodSettings | InternalSettings | None


@dataclass(frozen=True)
class Measured:
    """A calibration and what it rests on.

    Parameters
    ----------
    line : Calibration
    method : str
        default, line, rods or internal.
    evidence : mapping
        Figures of the fit, plain numbers and strings; unit in the name.
    samples : tuple of mapping
        What the line was measured on: rods or tissues.
    picture : bytes, optional
        PNG.
    """

    line: Calibration
    method: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()
    picture: bytes | None = None


def needs_scan(settings: Settings) -> bool:
    """Tell whether the line is measured in the scan."""
    return settings is not None and settings.method != "line"


def calibrate_scan(ct: Image | None, settings: Settings, scanner: ScanInfo) -> Measured:
    """Calibrate a scan as its case says.

    Parameters
    ----------
    ct : Image, optional
        The whole scan; not needed for a line that is given.
    settings : settings of a case, optional
        Without any, the default line.
    scanner : ScanInfo

    Raises
    ------
    InputError, CalibrationError
        If the line is not plausible, or the scan does not show what it is to be measured on.
    """
    if settings is None:
        return Measured(DEFAULT, "default")
    if isinstance(settings, LineSettings):
        return Measured(line_of(settings), "line")
    if ct is None:
        raise InputError(f"a calibration by {settings.method} needs the scan: use `bonekit run`")
    if isinstance(settings, RodSettings):
        found = _by_rods(ct, settings)
    else:
        found = _by_tissues(ct, settings, scanner)
    line = replace(found.line, kVp=scanner.kVp, kernel=scanner.kernel or None)
    return replace(found, line=line)


def rods_of(settings: RodSettings) -> RodTable:
    """Return the table of the rods that a case names or lists."""
    return table_of(settings.table, settings.densities_g_cm3, settings.kind, settings.diameter_mm)


def _by_rods(ct: Image, settings: RodSettings) -> Measured:
    table = rods_of(settings)
    fit = calibrate_on_rods(ct, table)
    rows = zip(fit.rods, fit.densities_g_cm3, fit.residuals_g_cm3, strict=True)
    samples = tuple(
        {
            "name": f"rod {n} from the {fit.first}, {density:.4g} g/cm3",
            "mean_HU": rod.mean_HU,
            "sem_HU": rod.sem_HU,
            "residual_g_cm3": residual,
        }
        for n, (rod, density, residual) in enumerate(rows, 1)
    )
    evidence: dict[str, Any] = {"table": table.name}
    if len(fit.rods) > 2:  # a line through two always fits
        evidence["R2"] = fit.r2
    if fit.remarks:
        evidence["remarks"] = list(fit.remarks)
    return Measured(fit.calibration(), "rods", evidence, samples, calibration_figure(ct, fit))


def _by_tissues(ct: Image, settings: InternalSettings, scanner: ScanInfo) -> Measured:
    masks = _tissue_masks(settings, ct.grid)
    fit = internal_calibration(ct, masks, DensityKind(settings.kind), kVp=scanner.kVp)
    samples = tuple(
        {
            "name": sample.tissue.replace("_", " "),
            "mean_HU": sample.mean_HU,
            "sem_HU": sample.sem_HU,
            "residual_g_cm3": fit.slope * sample.residual_HU,
        }
        for sample in fit.samples
    )
    evidence = {
        "effective_energy_keV": fit.effective_energy_keV,
        "effective_energy_error_keV": fit.effective_energy_error_keV,
        "R2": fit.r2,
        "air_assumed": fit.air_assumed,
    }
    picture = internal_calibration_figure(ct, fit, find_tissues(ct) | (masks or {}))
    return Measured(fit.calibration(), "internal", evidence, samples, picture)


def _tissue_masks(settings: InternalSettings, grid: Grid) -> dict[str, NDArray[Any]] | None:
    if settings.masks is None:
        return None
    labels = read_labels(Path(settings.masks)).resample(grid)
    masks = {name: labels.array == value for value, name in labels.names.items()}
    if not masks:
        raise InputError("the tissue masks have no names: give them in labels.json or the header")
    return masks


def in_words(found: Measured) -> list[str]:
    """Lines that tell a calibration: slope and intercept with errors, range, every sample."""
    line = found.line
    lines = [f"slope: {line.slope:.6g} g/cm3 per HU", f"intercept: {line.intercept:.6g} g/cm3"]
    if line.covariance is not None:
        (slope, both), (_, intercept) = line.covariance
        lines = [
            f"{lines[0]}, standard error {slope**0.5:.2g}",
            f"{lines[1]}, standard error {intercept**0.5:.2g}",
            f"covariance of both: {both:.3g}",
        ]
    if line.range_HU is not None:
        low, high = line.range_HU
        density = [float(line(np.array(hu))) for hu in (low, high)]
        lines.append(
            f"measured from {low:.0f} to {high:.0f} HU ({density[0]:.3g} to {density[1]:.3g} "
            "g/cm3), extrapolated beyond"
        )
    lines += [f"{k}: {v:.6g}" for k, v in found.evidence.items() if isinstance(v, float)]
    lines += [
        f"{s['name']}: {s['mean_HU']:.1f} +/- {s['sem_HU']:.2g} HU, residual "
        f"{1000 * s['residual_g_cm3']:+.2f} mg/cm3"
        for s in found.samples
    ]
    return lines + [f"note: {text}" for text in found.evidence.get("remarks", ())]


def case_block(found: Measured) -> str:
    """Return a case file that holds the calibration as a line and nothing else, with comments."""
    record = {k: v for k, v in line_record(found.line).items() if v is not None}
    record = {"method": "line", **record}
    record.pop("calibrated")
    comments = "".join(f"# {text}\n" for text in in_words(found))
    content = plain({"calibration": record})
    return comments + yaml.safe_dump(content, sort_keys=False, width=1000)


def line_record(line: Calibration) -> dict[str, Any]:
    """Turn a line into what JSON holds; `line_from` reads it."""
    return {**asdict(line), "kind": str(line.kind)}


def line_from(record: Mapping[str, Any]) -> Calibration:
    """Read a line from JSON."""
    given = {**record, "kind": DensityKind(record["kind"])}
    for name in ("covariance", "range_HU"):
        given[name] = _tuples(given[name])
    return Calibration(**given)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value

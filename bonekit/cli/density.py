"""Commands about density and stiffness: calibrate, laws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app
from bonekit.errors import InputError

if TYPE_CHECKING:
    from bonekit.case.calibration import CalibrationSettings

WAYS = ("--internal", "--table", "--rods")


@app.command
def calibrate(
    scan: Path,
    /,
    *,
    out: Output,
    internal: Annotated[bool, Parameter(negative=())] = False,
    table: str | None = None,
    rods: str | None = None,
    kind: Literal["k2hpo4", "hydroxyapatite", "ash", "apparent"] | None = None,
    diameter: float | None = None,
    masks: Path | None = None,
    plot: Path | None = None,
    series: str | None = None,
) -> None:
    """Measure the line from HU to density on rods in a scan, or on the patient's own tissues.

    Choose one of --internal, --table and --rods. `bonekit run` can do the same in its scan
    (--calibrate); this is for a scan of the phantom alone, or to look at a line before it is used.

    Parameters
    ----------
    scan
        CT in HU: DICOM folder or zip, NIfTI, NRRD, MHA.
    out
        Case file with the line, for `bonekit run --config`: .yaml.
    internal
        Calibrate on air, fat, muscle and cortical bone.
    table
        Phantom in the scan: mindways_model_3, qrm_bdc_3, qrm_bdc_6, b_mas_200, siemens_osteo,
        image_analysis_qct_3d_plus. Its certificate counts: compare.
    rods
        Densities of the rods of another phantom in g/cm3, in their order: 0,0.05,0.1,0.2,0.4.
    kind
        What the densities are densities of; with --internal what the phantom would be made of
        (k2hpo4, hydroxyapatite).
    diameter
        Of the rods in mm; by default measured.
    masks
        Label map of tissues by name (air, adipose, muscle, blood, cortical_bone), with --internal.
    plot
        Picture of what was measured, and the line: .png.
    series
        UID of the DICOM series.
    """
    from bonekit.image import read, scan_info
    from bonekit.pipeline.calibrating import calibrate_scan, case_block, in_words

    for path, suffixes in ((out, (".yaml", ".yml")), (plot, (".png",))):
        if path and (path.suffix.lower() not in suffixes or not path.parent.is_dir()):
            raise InputError(
                f"can't write {path}: the folder must exist and the suffix be {suffixes[0]}"
            )
    settings = _settings(internal, table, rods, kind, diameter, masks)
    found = calibrate_scan(read(scan, series).canonical(), settings, scan_info(scan, series))
    print("\n".join(in_words(found)))
    out.write_text(case_block(found), encoding="utf-8")
    print(out)
    if plot and found.picture:
        plot.write_bytes(found.picture)
        print(plot)


def _settings(
    internal: bool,
    table: str | None,
    rods: str | None,
    kind: str | None,
    diameter: float | None,
    masks: Path | None,
) -> CalibrationSettings:
    """Put what was typed into the form of a case file, which checks it."""
    from bonekit.calibration.files import densities
    from bonekit.case import parse_case

    ways = [name for name, way in zip(WAYS, (internal, table, rods), strict=True) if way]
    if len(ways) != 1:
        raise InputError(
            f"choose one of {', '.join(WAYS)}; got {' and '.join(ways) or 'none of them'}"
        )
    given: dict[str, object] = {"method": "internal" if internal else "rods", "kind": kind}
    given |= {"table": table, "diameter_mm": diameter, "masks": masks and str(masks.resolve())}
    if rods is not None:
        given |= {"densities_g_cm3": densities(rods), "kind": kind or "k2hpo4"}
    entries = {name: value for name, value in given.items() if value is not None}
    case = parse_case({"calibration": entries}, "of the command line")
    assert case.calibration is not None
    return case.calibration


@app.command
def laws(*, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None) -> None:
    """List the density-modulus laws with their sources, and draw them side by side.

    A law asks for one kind of density; a run converts to it by a published line and says so.

    Parameters
    ----------
    out
        Picture that compares the laws over ash density: .png.
    """
    from bonekit.console import show_laws
    from bonekit.fem.materials import LAWS

    if out is not None and (out.suffix.lower() != ".png" or not out.parent.is_dir()):
        raise InputError(f"can't write {out}: the folder must exist and the suffix be .png")
    show_laws(LAWS.values())
    if out is not None:
        from bonekit.figures.laws import compare_laws

        out.write_bytes(compare_laws(LAWS.values()))
        print(out)

"""Commands about density and stiffness: calibrate, laws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app
from bonekit.errors import InputError


@app.command
def calibrate(
    scan: Path,
    /,
    *,
    out: Output,
    rods: str | None = None,
    kind: Literal["k2hpo4", "hydroxyapatite", "ash", "apparent"] = "k2hpo4",
    table: str | None = None,
    diameter: float | None = None,
    plot: Path | None = None,
    series: str | None = None,
) -> None:
    """Measure the line from HU to density on the calibration rods in a scan.

    Parameters
    ----------
    scan
        CT in HU with rods behind the patient: DICOM folder or zip, NIfTI, NRRD, MHA.
    out
        Case file with the calibration, for `bonekit run --config`: .yaml.
    rods
        Densities of the rods in g/cm3, in their order: 0,0.05,0.1,0.2,0.4.
    kind
        What the densities are densities of.
    table
        A known phantom instead: mindways_model_3, qrm_bdc_3, qrm_bdc_6, b_mas_200,
        image_analysis_qct_3d_plus. Its certificate counts: compare.
    diameter
        Of the rods in mm; by default measured.
    plot
        Picture of the rods and the line: .png.
    series
        UID of the DICOM series.
    """
    from bonekit.calibration import calibrate as fit_line
    from bonekit.calibration import find_rods
    from bonekit.calibration.files import case_block, rod_table, summary
    from bonekit.image import read

    for path, suffixes in ((out, (".yaml", ".yml")), (plot, (".png",))):
        if path and (path.suffix.lower() not in suffixes or not path.parent.is_dir()):
            raise InputError(
                f"can't write {path}: the folder must exist and the suffix be {suffixes[0]}"
            )
    known = rod_table(rods, kind, table, diameter)
    ct = read(scan, series)
    fit = fit_line(find_rods(ct, len(known.densities_g_cm3), known.diameter_mm), known)
    block = case_block(fit)
    print("\n".join(summary(fit)))
    out.write_text(block, encoding="utf-8")
    print(out)
    if plot:
        from bonekit.figures.calibration import calibration_figure

        plot.write_bytes(calibration_figure(ct, fit))
        print(plot)


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

"""The command that makes synthetic patients: phantom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app

if TYPE_CHECKING:
    from bonekit.phantom import LesionParameters, Phantom


@app.command
def phantom(
    kind: Literal["femur", "vertebra"] = "femur",
    /,
    *,
    out: Output,
    lesion: Literal["lytic", "blastic", "mixed"] | None = None,
    site: str | None = None,
    side: Literal["left", "right"] = "right",
    level: Literal["L1", "L2", "L3", "L4", "L5"] = "L3",
    dicom: Annotated[bool, Parameter(negative=())] = False,
    rods: Annotated[bool, Parameter(negative=())] = False,
    kvp: float | None = None,
    noise: float | None = None,
    spacing: tuple[float, float, float] | None = None,
    seed: int = 0,
) -> None:
    """Make a synthetic patient: CT, exact labels, exact density, and a case file for `run`.

    Parameters
    ----------
    kind
        A proximal femur in its acetabulum, or a lumbar vertebra between its neighbours.
    out
        Folder.
    lesion
        Kind of metastasis, if any.
    site
        Where: neck, intertrochanteric, shaft ... or body, left_pedicle ...
    side
        Of the femur.
    level
        Of the vertebra.
    dicom
        Write the CT as a DICOM series instead of NIfTI.
    rods
        Put five K2HPO4 calibration rods and the table under the patient.
    kvp
        Tube voltage: HU then follow from its spectrum; by default one fixed line.
    noise
        Standard deviation in HU.
    spacing
        Voxel size of the CT in mm.
    seed
        The same seed gives the same patient.
    """
    from bonekit.phantom import write_phantom

    made = _phantom(kind, lesion, site, side, level, rods, kvp, noise, spacing, seed)
    ct = write_phantom(made, out, dicom=dicom)
    print(f"synthetic {made.bone}: {ct}")
    print(f"next: bonekit run {ct} --config {out / 'case.yaml'} -o RESULTS")


def _phantom(
    kind: str,
    lesion: Literal["lytic", "blastic", "mixed"] | None,
    site: str | None,
    side: Literal["left", "right"],
    level: str,
    rods: bool,
    kvp: float | None,
    noise: float | None,
    spacing: tuple[float, float, float] | None,
    seed: int,
) -> Phantom:
    from dataclasses import replace

    from bonekit.phantom import (
        BodyParameters,
        FemurParameters,
        LesionParameters,
        ScannerParameters,
        VertebraParameters,
        femur_phantom,
        vertebra_phantom,
    )

    scanner = ScannerParameters()
    if kvp is not None:
        scanner = replace(scanner, kVp=kvp)
    if noise is not None:
        scanner = replace(scanner, noise_hu=noise)
    if spacing is not None:
        scanner = replace(scanner, spacing_mm=spacing)
    focus: LesionParameters | None = None
    if lesion is not None:
        site = site or ("intertrochanteric" if kind == "femur" else "body")
        focus = LesionParameters(kind=lesion, site=site)
    body = BodyParameters(rods_g_cm3=(0.0, 0.05, 0.1, 0.2, 0.4), table=True) if rods else None
    if kind == "femur":
        return femur_phantom(
            FemurParameters(side=side), focus, body=body, scanner=scanner, seed=seed
        )
    return vertebra_phantom(
        VertebraParameters(level=level), focus, body=body, scanner=scanner, seed=seed
    )

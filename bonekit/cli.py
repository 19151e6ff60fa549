"""The command line: ``bonekit --help`` teaches it.

Heavy libraries are imported inside the commands, so that help and `info` answer at once.
Exit codes: 0 done, 1 the run failed, 2 bad arguments or input.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

import bonekit
from bonekit.console import bar, say
from bonekit.errors import CalibrationError, ConvergenceError, InputError, MeshQualityError

if TYPE_CHECKING:
    from bonekit.case import Case
    from bonekit.phantom import LesionParameters, Phantom

log = logging.getLogger("bonekit")

app = App(
    name="bonekit",
    version=bonekit.__version__,
    help="Bone strength from a CT scan: segmentation, mesh, finite elements.\n\n"
    f"{bonekit.DISCLAIMER}",
    help_epilogue="Start with: bonekit run SCAN -o OUT --bone femur_left",
    suppress_keyboard_interrupt=False,  # `_code` says how to resume
)

Output = Annotated[Path, Parameter(name=["--out", "-o"])]
Config = Annotated[Path | None, Parameter(name=["--config", "-c"])]


@app.command
def run(
    scan: Path,
    /,
    *,
    out: Output,
    bone: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, negative=(), show_default=False)
    ] = (),
    config: Config = None,
    labels: Path | None = None,
    label: str | None = None,
    lesions: Path | None = None,
    edge: float | None = None,
    series: str | None = None,
    allow_metal: Annotated[bool, Parameter(negative=())] = False,
    threads: int | None = None,
    device: str | None = None,
) -> None:
    """Estimate the strength of a bone: scan in, report out.

    Done stages are reused when a run is repeated or was killed. With several bones each gets a
    folder of its own in OUT.

    Parameters
    ----------
    scan
        CT in HU: DICOM folder or zip, NIfTI, NRRD, MHA.
    out
        Run folder: result.json, report.html, preview.png, mesh.vtu and more.
    bone
        femur_left, femur_right, vertebra_T1 to vertebra_L5; by default the only femur in view.
    config
        Case file (YAML or JSON); `bonekit schema case` shows what may stand in it.
    labels
        Label map made elsewhere: TotalSegmentator, nnU-Net, 3D Slicer.
    label
        Name or value of the bone in the label map; by default found by its usual names.
    lesions
        Mask of the lesions, drawn by a reader.
    edge
        Edge of the cubic elements in mm.
    series
        UID of the DICOM series, where there are several; `bonekit info SCAN` lists them.
    allow_metal
        Simulate a bone with metal in or near it.
    threads
        Processor threads of the solver.
    device
        torch device: cpu, cuda.
    """
    from bonekit.pipeline import run as run_one

    changes = {
        "series_uid": series,
        "segmentation.labels": labels and str(labels.resolve()),
        "segmentation.label": label,
        "segmentation.lesions": lesions and str(lesions.resolve()),
        "segmentation.allow_metal": allow_metal or None,
        "mesh.edge_mm": edge,
        "solver.threads": threads,
        "solver.device": device,
    }
    case = _case(config, changes)
    if len(set(bone)) < len(bone):
        raise InputError(f"a bone is named twice: {' '.join(bone)}")
    for name in bone or (None,):
        folder = out / name if name and len(bone) > 1 else out
        with bar() as progress:
            result = run_one(scan, folder, name, case, progress)
        say(result, folder)


@app.command
def segment(
    scan: Path,
    /,
    *,
    out: Output,
    bone: str | None = None,
    series: str | None = None,
    allow_metal: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Segment one bone of a CT and say what is wrong with it.

    Parameters
    ----------
    scan
        CT in HU: DICOM folder or zip, NIfTI, NRRD, MHA.
    out
        Label map: .nii.gz, .nrrd, .mha, or .seg.nrrd for 3D Slicer.
    bone
        femur_left, femur_right, vertebra_T1 to vertebra_L5; by default the only femur in view.
    series
        UID of the DICOM series.
    allow_metal
        Accept a bone with metal in or near it.
    """
    from bonekit.image import read, write
    from bonekit.image.files import suffix_of
    from bonekit.image.writing import WRITABLE
    from bonekit.segmentation.baseline import segment as segment_bone

    if suffix_of(out) not in (*WRITABLE, ".seg.nrrd") or not out.parent.is_dir():
        raise InputError(
            f"can't write {out}: the folder must exist and the suffix be one of "
            f"{', '.join(WRITABLE)}, .seg.nrrd"
        )
    if out.exists() and out.samefile(scan):
        raise InputError(f"{out} is the scan itself: choose another name for the label map")
    ct = read(scan, series).canonical()
    with bar() as progress:
        progress("segment", 0.1, bone or "femur")
        found = segment_bone(ct, bone, allow_metal=allow_metal)
    for finding in found.findings:
        print(f"{finding.severity}: {finding.message}")
    for name, value in found.measures.items():
        print(f"{name}: {value:.4g}")
    if found.errors:
        raise InputError(f"{found.bone} is not fit for a simulation; nothing was written")
    write(found.labels, out)
    print(f"{found.bone}: {out}")


@app.command
def mesh(
    labels: Path,
    /,
    *,
    out: Output,
    edge: float = 1.5,
    kind: Literal["voxel", "tetra", "surface"] | None = None,
) -> None:
    """Mesh a label map of `bonekit segment`, and measure the mesh.

    Parameters
    ----------
    labels
        Label map with the regions cortex, trabecular, lesion.
    out
        .vtu, .msh, .med for elements; .stl, .ply, .vtp, .obj for a surface.
    edge
        Edge length of the elements in mm.
    kind
        voxel: cubes; tetra: tetrahedra that conform to lesions; surface: closed triangles.
        By default surface for a surface format and voxel otherwise.
    """
    from bonekit.image import read_labels
    from bonekit.meshing.interchange import write_mesh
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.surface import surface, write_surface
    from bonekit.meshing.tetra import tetra_mesh
    from bonekit.meshing.voxelise import voxel_mesh

    surfaces = {".stl", ".ply", ".vtp", ".obj"}
    kind = kind or ("surface" if out.suffix in surfaces else "voxel")
    if (kind == "surface") != (out.suffix in surfaces):
        raise InputError(
            f"a {kind} mesh can't be written to {out.suffix or 'a name without suffix'}; allowed: "
            f"{'.stl .ply .vtp .obj' if kind == 'surface' else '.vtu .msh .med .xdmf'}"
        )
    bone = read_labels(labels)
    if kind == "surface":
        triangles = surface(bone)
        print(report(triangles, bone))
        check(report(triangles, bone))
        write_surface(triangles, out)
    else:
        elements = tetra_mesh(bone, edge) if kind == "tetra" else voxel_mesh(bone, edge)
        print(report(elements, bone))
        check(report(elements, bone))
        write_mesh(elements, out)
    print(out)


@app.command
def solve(folder: Path, /, *, config: Config = None) -> None:
    """Solve a run folder again, from its segmentation on, with other settings.

    Parameters
    ----------
    folder
        A folder of `bonekit run`.
    config
        Case file; by default the settings of the run.
    """
    from bonekit.pipeline import solve_again

    with bar() as progress:
        result = solve_again(folder, config, progress)
    say(result, folder)


@app.command
def report(folder: Path, /) -> None:
    """Make the report of a run folder anew.

    Parameters
    ----------
    folder
        A folder of `bonekit run`.
    """
    from bonekit.pipeline import report_again

    with bar() as progress:
        result = report_again(folder, progress)
    say(result, folder)


@app.command
def export(mesh: Path, out: Path, /, *, nu: float = 0.3, bins: float = 50.0) -> None:
    """Write the mesh of a run for another program, with its materials.

    Parameters
    ----------
    mesh
        mesh.vtu of a run folder.
    out
        .inp for CalculiX and Abaqus (elastic materials in bins); .msh for Gmsh; .med for
        Code_Aster; .vtu.
    nu
        Poisson's ratio written into .inp.
    bins
        Width in MPa of the bins of Young's modulus in .inp.
    """
    from bonekit.fem.decks import export_mesh
    from bonekit.meshing.interchange import read_mesh, write_mesh

    elements, cells, points = read_mesh(mesh)
    if out.suffix != ".inp":
        write_mesh(elements, out, cells, points)
    elif "E_MPa" not in cells:
        raise InputError(f"{mesh} has no field E_MPa: take mesh.vtu of a run folder")
    else:
        found = export_mesh(elements, cells["E_MPa"], nu, out, bins)
        print(f"{len(found.E_MPa)} materials")
    print(out)


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
    noise
        Standard deviation in HU.
    spacing
        Voxel size of the CT in mm.
    seed
        The same seed gives the same patient.
    """
    from bonekit.phantom import write_phantom

    made = _phantom(kind, lesion, site, side, level, rods, noise, spacing, seed)
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


@app.command
def info(scan: Path | None = None, /, *, json: bool = False) -> None:
    """Tell what bonekit finds on this machine, or which series a scan holds.

    Parameters
    ----------
    scan
        DICOM folder or zip: list its series.
    json
        Answer in JSON.
    """
    import json as format_json
    from math import isfinite

    from bonekit.environment import environment

    if scan is not None:
        from bonekit.image import list_series

        rows = [
            {
                "uid": s.uid,
                "modality": s.modality,
                "slices": s.n_slices,
                "spacing_mm": [h if isfinite(h) else None for h in s.spacing_mm],  # None: unsaid
            }
            for s in list_series(scan)
        ]
        for row in rows:
            print(format_json.dumps(row))
        return
    found = environment()
    if json:
        print(format_json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:>12}: {value}")
    print(bonekit.DISCLAIMER)


@app.command
def schema(name: Literal["case", "result"] = "case", /) -> None:
    """Print the JSON Schema of the case file or of result.json.

    Parameters
    ----------
    name
        case or result.
    """
    import json

    from bonekit.schemas import schema_of

    print(json.dumps(schema_of(name), indent=1))


def _case(config: Path | None, changes: Mapping[str, object]) -> Case:
    """Read the case file and lay the options of the command line over it."""
    from bonekit.case import parse_case, read_case

    content = read_case(config).model_dump(mode="json", exclude_unset=True)
    for name, value in changes.items():
        if value is None:
            continue
        *parents, leaf = name.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return parse_case(content, str(config or "of the command line"))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(_code(arguments))


def _code(arguments: list[str] | None) -> int:
    # threads that spin while they wait slow each other down tenfold where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except (InputError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (CalibrationError, MeshQualityError, ConvergenceError, MemoryError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 1
    except Exception:
        log.exception("an error that bonekit did not foresee; please report it")
        return 1
    return 0


if __name__ == "__main__":
    main()

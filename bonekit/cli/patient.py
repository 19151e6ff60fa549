"""Commands about one patient: run, segment, solve, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bonekit.cli.app import Config, Output, app
from bonekit.console import bar, say
from bonekit.errors import InputError
from bonekit.fem.engines import Engine

if TYPE_CHECKING:
    from bonekit.case import Case


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
    calibrate: str | None = None,
    load: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, negative=(), show_default=False)
    ] = (),
    criterion: str | None = None,
    mass: float | None = None,
    height: float | None = None,
    sweep: Annotated[bool, Parameter(negative=())] = False,
    series: str | None = None,
    allow_metal: Annotated[bool, Parameter(negative=())] = False,
    threads: int | None = None,
    device: str | None = None,
    engine: Engine | None = None,
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
    calibrate
        Measure the line from HU to density in the scan: `internal` on the patient's own tissues,
        or the name of the phantom under the patient, see `bonekit calibrate --help`.
    load
        Load cases by name, such as `single_leg_stance sideways_fall`; the first leads the report,
        each further one gets a run folder in OUT. Their numbers are set in a case file. By default
        single-leg stance of a femur, compression of a vertebra.
    criterion
        What the strength is judged by: strain_limit, pistoia, contiguous_volume ...; `peak` loads
        the bone until its force falls (minutes instead of seconds).
    mass
        Of the patient in kg: for the figures that clinical papers report.
    height
        Of the patient in m.
    sweep
        Strength over a cone of directions of the force in single-leg stance, or of a sideways fall
        (a solve for each), and the weakest.
    series
        UID of the DICOM series, where there are several; `bonekit info SCAN` lists them.
    allow_metal
        Simulate a bone with metal in or near it.
    threads
        Processor threads of the solver; processes of the conforming engine.
    device
        torch device: cpu, cuda.
    engine
        Who solves the bricks: voxel, or conforming: dolfinx and PETSc, see `bonekit info`.
    """
    from bonekit.case import SweepSettings
    from bonekit.pipeline import run as run_one

    changes = {
        "series_uid": series,
        "segmentation.labels": labels and str(labels.resolve()),
        "segmentation.label": label,
        "segmentation.lesions": lesions and str(lesions.resolve()),
        "segmentation.allow_metal": allow_metal or None,
        "calibration": _calibration(calibrate),
        "load": {"case": load[0]} if load else None,
        "more_loads": [{"case": name} for name in load[1:]] if load else None,
        "criterion": criterion,
        "patient.mass_kg": mass,
        "patient.height_m": height,
        "mesh.edge_mm": edge,
        "solver.threads": threads,
        "solver.device": device,
        "solver.engine": engine,
    }
    case = _case(config, changes)
    if sweep and case.sweep is None:
        case = case.model_copy(update={"sweep": SweepSettings()})
    if len(set(bone)) < len(bone):
        raise InputError(f"a bone is named twice: {' '.join(bone)}")
    for name in bone or (None,):
        folder = out / name if name and len(bone) > 1 else out
        with bar() as progress:
            result = run_one(scan, folder, name, case, progress)
        say(result, folder)


def _calibration(way: str | None) -> dict[str, str] | None:
    if way is None:
        return None
    return {"method": "internal"} if way == "internal" else {"method": "rods", "table": way}


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

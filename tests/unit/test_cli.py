from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv
import yaml
from jsonschema import Draft202012Validator
from matplotlib.image import imread as read_png

import bonekit
from bonekit import cli, pipeline
from bonekit.case import read_case
from bonekit.errors import ConvergenceError, InputError, MeshQualityError
from bonekit.fem.materials import LAWS
from bonekit.image import read, read_labels
from bonekit.meshing.interchange import read_mesh
from bonekit.segmentation import baseline

if TYPE_CHECKING:
    from conftest import Patient

Command = Callable[..., tuple[int, str, str]]
COMMANDS = (
    "run",
    "segment",
    "mesh",
    "solve",
    "report",
    "export",
    "phantom",
    "calibrate",
    "laws",
    "info",
    "schema",
)
HEAVY = {"torch", "SimpleITK", "pyvista", "vtkmodules", "scipy", "skimage", "matplotlib", "meshio"}


def flat(text: str) -> str:
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


# Help


def test_help_lists_every_command(command: Command) -> None:
    code, printed, _ = command("--help")
    assert code == 0
    for name in COMMANDS:
        assert re.search(rf"│ {name} ", printed), name
    assert "Not a medical device" in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_every_option(name: str, command: Command) -> None:
    code, printed, _ = command(name, "--help")
    assert code == 0
    function = cli.app[name].default_command
    for parameter in inspect.signature(function).parameters.values():
        shown = parameter.name.replace("_", "-")
        shown = shown.upper() if parameter.kind is parameter.POSITIONAL_ONLY else f"--{shown}"
        assert re.search(rf"{shown}\b.*[a-z.]{{3}}", printed), f"{shown} is not explained"


def test_no_command_lists_the_commands(command: Command) -> None:
    assert "Commands" in command()[1]


def test_version(command: Command) -> None:
    assert command("--version")[1].strip() == bonekit.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["info"], ["--version"]])
def test_quick_answers_load_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys; from bonekit.cli import _code; code = _code(sys.argv[1:])\n"
        "print('LOADED', *sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, encoding="utf-8", check=True
    )
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert not HEAVY & {name.split(".")[0] for name in loaded}


# Exit codes


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (InputError("wrong"), 2, "error: wrong"),
        (FileNotFoundError("gone"), 2, "error: gone"),
        (ConvergenceError("slow"), 1, "failed: slow"),
        (MeshQualityError("flat"), 1, "failed: flat"),
        (OSError(28, "No space left on device"), 1, "failed: [Errno 28] No space left"),
        (KeyboardInterrupt(), 1, "stopped; run the same command again"),
    ],
    ids=["input", "missing file", "convergence", "mesh", "disk", "interrupt"],
)
def test_error_decides_exit_code_and_message(
    monkeypatch: pytest.MonkeyPatch, command: Command, error: Exception, code: int, start: str
) -> None:
    def fail(*arguments: object, **names: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    found, printed, errors = command("run", "scan", "-o", "out")
    assert (found, printed) == (code, "")
    assert errors.strip().splitlines()[-1].startswith(start)
    assert "Traceback" not in errors


def test_unforeseen_error_shows_where_it_arose(
    monkeypatch: pytest.MonkeyPatch, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *a, **k: 1 / 0)
    assert command("run", "scan", "-o", "out")[0] == 1
    assert "please report it" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_main_leaves_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_code", lambda arguments: 2)
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 2


# run, solve, report


def test_run_prints_the_answer_and_the_stages(
    patient: Patient, tmp_path: Path, command: Command
) -> None:
    given = ["--config", patient.case, "--labels", patient.labels, "--edge", "5"]
    code, printed, errors = command("run", patient.ct, "-o", tmp_path / "run", *given)
    assert code == 0
    assert re.search(r"femur_right \(synthetic phantom\): strength \d\.\d\d kN", printed)
    assert f"report: {tmp_path / 'run' / 'report.html'}" in printed
    assert "Not a medical device" in printed
    assert [line.split(":")[0] for line in errors.splitlines()] == list(pipeline.STAGES)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["mesh"]["edge_mm"] == pytest.approx(5.0)


def test_options_come_before_the_case_file(patient: Patient) -> None:
    changes = {"mesh.edge_mm": 2.5, "solver.device": None, "segmentation.label": "femur"}
    case = cli.patient._case(patient.case, changes)
    assert read_case(patient.case).mesh.edge_mm == 4.0
    assert (case.mesh.edge_mm, case.solver.device) == (2.5, "cpu")
    assert case.segmentation.label == "femur"
    assert case.calibration == read_case(patient.case).calibration


def test_options_reach_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, command: Command, patient: Patient
) -> None:
    seen = []

    def stop(scan: Path, out: Path, bone: str | None, case: object, progress: object) -> None:
        seen.append((scan, out, bone, case))
        if len(seen) == 2:
            raise InputError("enough")

    monkeypatch.setattr(pipeline, "run", stop)
    monkeypatch.setattr(cli.patient, "say", lambda result, folder: None)
    options = ["--series", "1.2", "--threads", "3", "--device", "cuda", "--allow-metal"]
    options += ["--label", "7", "--edge", "2"]
    bones = ["--bone", "femur_left", "femur_right"]
    command("run", "scan", "-o", "out", *bones, *options, "--lesions", "drawn.nii.gz")
    assert [(str(scan), str(out), bone) for scan, out, bone, _ in seen] == [
        ("scan", "out/femur_left", "femur_left"),
        ("scan", "out/femur_right", "femur_right"),
    ]
    case = seen[0][3]
    assert (case.series_uid, case.solver.threads, case.solver.device) == ("1.2", 3, "cuda")
    assert (case.segmentation.allow_metal, case.segmentation.label) == (True, "7")
    assert Path(case.segmentation.lesions).is_absolute()
    assert case.mesh.edge_mm == 2.0


def test_solve_takes_other_settings(folder: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "case.yaml").write_text("mesh: {edge_mm: 5}\nmaterial: {law: keller_1994}\n")
    code, printed, errors = command("solve", folder, "-c", tmp_path / "case.yaml")
    assert code == 0
    assert "femur_right (synthetic phantom): strength" in printed
    assert "warning: the density is not calibrated" in errors
    assert "keller_1994" in (folder / "result.json").read_text()


def test_report_is_made_again(folder: Path, command: Command) -> None:
    (folder / "report.html").unlink()
    assert command("report", folder)[0] == 0
    assert (folder / "report.html").is_file()


# segment, mesh, export, phantom


def test_segment_writes_labels_and_says_what_was_found(
    patient: Patient, finished: Path, tmp_path: Path, command: Command
) -> None:
    code, printed, _ = command("segment", patient.ct, "-o", tmp_path / "bone.nrrd")
    assert code == 0
    assert "head_radius_mm: 2" in printed
    assert "note: " in printed
    labels = read_labels(tmp_path / "bone.nrrd")
    known = read_labels(finished / "labels.nii.gz").resample(labels.grid)
    assert (labels.array == known.array).mean() > 0.999


def test_segment_passes_its_options_on(
    patient: Patient, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def refuse(ct: object, bone: str, **options: object) -> None:
        seen.append((bone, options))
        raise InputError("enough")

    monkeypatch.setattr(baseline, "segment", refuse)
    out = ["-o", tmp_path / "bone.nrrd"]
    command("segment", patient.ct, *out, "--bone", "vertebra_L3", "--allow-metal")
    assert seen == [("vertebra_L3", {"allow_metal": True})]


def test_segment_does_not_replace_the_scan(
    patient: Patient, tmp_path: Path, command: Command
) -> None:
    scan = Path(shutil.copy(patient.ct, tmp_path / "ct.nii.gz"))
    code, _, errors = command("segment", scan, "-o", scan)
    assert (code, "is the scan itself" in errors) == (2, True)
    assert scan.read_bytes() == patient.ct.read_bytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bone.vtu", []),
        ("bone.msh", ["--kind", "voxel"]),
        ("bone.stl", []),
        ("bone.vtu", ["--kind", "tetra", "--surface-voxels", "2"]),
    ],
)
def test_mesh_of_a_label_map(
    finished: Path, tmp_path: Path, command: Command, name: str, options: list[str]
) -> None:
    labels = finished / "labels.nii.gz"
    code, printed, errors = command("mesh", labels, "-o", tmp_path / name, "--edge", "5", *options)
    assert code == 0, errors
    assert (tmp_path / name).stat().st_size > 1000
    assert printed.rstrip().endswith(name)
    if name.endswith(".vtu"):
        assert type(read_mesh(tmp_path / name)[0]).__name__ == (
            "TetMesh" if "tetra" in options else "VoxelMesh"
        )


def test_mesh_of_a_run_with_a_part_and_smooth_coarse_bricks(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    options = ("--edge", "2.5", "--cup", "--coarsen", "2", "--smooth-boundary")
    out = tmp_path / "cup.vtu"
    code, printed, errors = command("mesh", finished, "-o", out, *options)
    assert code == 0, errors
    assert "cup: " in printed
    assert "outer nodes moved" in printed
    grid = pv.read(out)
    assert set(np.unique(grid.cell_data["region"])) >= {1, 2, 20}
    fill = np.asarray(grid.cell_data["fill"])
    assert 0.5 < fill.mean() <= 1.1
    off_grid = np.abs((grid.points - grid.points[0]) / 5.0)
    assert np.abs(off_grid - np.rint(off_grid)).max() > 0.05  # nodes have left the grid


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("bone.vtu", ["--kind", "tetra", "--coarsen", "2"], "--coarsen only for kind voxel"),
        ("bone.vtu", ["--cup"], "--cup only for elements of a run's bone"),
        ("bone.stl", ["--hole-mm", "5"], "--hole-mm only for a surface that is read"),
        ("bone.stl", ["--smooth-boundary"], "--smooth-boundary only for kind voxel"),
    ],
)
def test_options_of_mesh_that_would_do_nothing_are_refused(
    finished: Path, tmp_path: Path, command: Command, name: str, options: list[str], words: str
) -> None:
    labels = finished / "labels.nii.gz"
    code, _, errors = command("mesh", labels, "-o", tmp_path / name, *options)
    assert (code, words in flat(errors)) == (2, True), errors
    assert not (tmp_path / name).exists()


def test_holes_up_to_a_size_are_closed(finished: Path, tmp_path: Path, command: Command) -> None:
    whole = pv.read(finished / "surface.stl")
    low = whole.points[:, 2].min() + 20.0
    whole.clip("z", origin=(0.0, 0.0, low), invert=False).save(tmp_path / "cut.ply")
    cut, out = tmp_path / "cut.ply", tmp_path / "closed.stl"
    code, _, errors = command("mesh", cut, "-o", out)
    assert (code, out.exists()) == (2, False), errors
    code, _, errors = command("mesh", cut, "-o", out, "--hole-mm", "200")
    assert code == 0, errors
    assert pv.read(out).n_open_edges == 0


@pytest.mark.parametrize("options", [["--cup"], ["--no-load"]])
def test_options_of_export_need_tetrahedra(
    finished: Path, tmp_path: Path, command: Command, options: list[str]
) -> None:
    code, _, errors = command("export", finished, tmp_path / "bone.inp", *options)
    assert (code, "only for tetrahedra of a run (--tetra)" in flat(errors)) == (2, True)


def test_export_writes_a_deck_with_its_materials(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    deck = tmp_path / "bone.inp"
    code, printed, _ = command("export", finished / "mesh.vtu", deck, "--nu", "0.35")
    assert code == 0
    n_materials = int(printed.split(" materials")[0])
    text = deck.read_text().upper()
    assert text.count("*MATERIAL") == n_materials > 5
    assert text.count("3.500000000000E-01") == n_materials


@pytest.mark.parametrize("name", ["bone.msh", "bone.vtu"])
def test_export_to_other_formats(
    finished: Path, tmp_path: Path, command: Command, name: str
) -> None:
    assert command("export", finished / "mesh.vtu", tmp_path / name)[0] == 0
    assert (tmp_path / name).stat().st_size > 1000


def test_export_of_a_mesh_without_moduli_is_refused(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    command("mesh", finished / "labels.nii.gz", "-o", tmp_path / "bone.vtu", "--edge", "5")
    code, _, errors = command("export", tmp_path / "bone.vtu", tmp_path / "bone.inp")
    assert (code, "has no field E_MPa" in errors) == (2, True)
    assert not (tmp_path / "bone.inp").exists()


def test_export_to_an_unknown_suffix_is_refused(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    code, _, errors = command("export", finished / "mesh.vtu", tmp_path / "bone.xyz")
    assert (code, "allowed: .med, .msh" in errors) == (2, True)
    assert not list(tmp_path.glob("*bone*"))


@pytest.mark.parametrize("dicom", [[], ["--dicom"]], ids=["nifti", "dicom"])
def test_phantom_comes_with_a_case_that_runs(
    tmp_path: Path, command: Command, dicom: list[str]
) -> None:
    out = tmp_path / "phantom"
    given = ["--side", "left", "--spacing", "3", "3", "4", "--noise", "0", "--seed", "7"]
    code, printed, _ = command("phantom", "femur", "-o", out, *given, *dicom)
    assert code == 0
    assert "synthetic femur_left" in printed
    assert f"--config {out / 'case.yaml'}" in printed
    ct = out / ("dicom" if dicom else "ct.nii.gz")
    assert read(ct).spacing_mm == pytest.approx([3, 3, 4])
    assert read_case(out / "case.yaml").bone == "femur_left"
    truth = json.loads((out / "truth.json").read_text())
    slope = yaml.safe_load((out / "case.yaml").read_text())["calibration"]["slope"]
    assert slope == pytest.approx(1 / truth["hu_per_g_cm3"])


# laws, info and schema


def test_laws_lists_every_law_with_its_source(command: Command) -> None:
    code, printed, _ = command("laws")
    assert code == 0
    for law in LAWS.values():
        (line,) = [line for line in printed.splitlines() if f" {law.name} " in line]
        assert f"E = {law.pieces[0]} " in line
        kind = "any" if law.constant else str(law.kind)
        assert all(text in line for text in (kind, law.site, law.source))
    assert "S: Keller, J Biomech 1994 (unverified" in printed


def test_laws_draws_them(command: Command, tmp_path: Path) -> None:
    code, printed, _ = command("laws", "-o", tmp_path / "laws.png")
    assert (code, printed.rstrip().endswith("laws.png")) == (0, True)
    assert read_png(tmp_path / "laws.png").shape[:2] == (832, 1440)


@pytest.mark.parametrize("name", ["laws.pdf", "gone/laws.png"])
def test_laws_refuses_another_picture(command: Command, tmp_path: Path, name: str) -> None:
    code, printed, errors = command("laws", "-o", tmp_path / name)
    assert (code, printed) == (2, "")
    assert "the folder must exist and the suffix be .png" in errors


def test_info_in_json(command: Command) -> None:
    code, printed, _ = command("info", "--json")
    assert code == 0
    assert json.loads(printed)["bonekit"] == bonekit.__version__


def test_info_for_people(command: Command) -> None:
    printed = command("info")[1]
    assert re.search(rf"bonekit: {re.escape(bonekit.__version__)}", printed)
    assert "Not a medical device" in printed


def test_info_lists_the_series_of_a_scan(patient: Patient, command: Command) -> None:
    code, printed, _ = command("info", patient.dicom)
    assert code == 0
    (series,) = [json.loads(line) for line in printed.splitlines()]
    assert series["modality"] == "CT"
    assert series["spacing_mm"] == pytest.approx([2, 2, 3])
    assert series["slices"] == len(list(patient.dicom.iterdir()))


def test_info_on_a_single_slice_is_valid_json(
    patient: Patient, tmp_path: Path, command: Command
) -> None:
    shutil.copy(next(patient.dicom.iterdir()), tmp_path)
    printed = command("info", tmp_path)[1]
    assert json.loads(printed, parse_constant=pytest.fail)["spacing_mm"] == [2, 2, None]


@pytest.mark.parametrize(("name", "title"), [("case", "Case"), ("result", "Result")])
def test_schema_is_printed(command: Command, name: str, title: str) -> None:
    code, printed, _ = command("schema", name)
    schema = json.loads(printed)
    Draft202012Validator.check_schema(schema)
    assert (code, schema["title"]) == (0, title)

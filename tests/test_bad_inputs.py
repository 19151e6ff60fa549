"""Bad inputs through the command line: each is refused, says why, and leaves no result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from bonekit.image import Image, LabelMap, read, read_labels, write, write_dicom

if TYPE_CHECKING:
    from conftest import Patient

Command = Callable[..., tuple[int, str, str]]
Make = Callable[["Patient", Path], list[object]]


def flat(text: str) -> str:
    """Text without the line breaks of a box."""
    return " ".join(text.replace("│", " ").split())


@dataclass(frozen=True)
class Bad:
    """One bad input.

    `make` gives the arguments after ``bonekit``; OUT in them is the run folder.
    """

    name: str
    make: Make
    says: tuple[str, ...]  # what was found, what to do
    code: int = 2


OUT = "OUT"
BAD: list[Bad] = []


def bad(*says: str, code: int = 2) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        BAD.append(Bad(make.__name__.replace("_", " "), make, says, code))
        return make

    return keep


def changed_ct(patient: Patient, tmp: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    ct = read(patient.ct)
    write(ct.with_array(change(ct.array)), tmp / "ct.nii.gz")
    return tmp / "ct.nii.gz"


def case_file(tmp: Path, text: str) -> Path:
    (tmp / "case.yaml").write_text(text)
    return tmp / "case.yaml"


def with_labels(patient: Patient, ct: Path) -> list[object]:
    return ["run", ct, "-o", OUT, "-c", patient.case, "--labels", patient.labels]


# The path


@bad("there is no file or folder", "nowhere.nii.gz")
def missing_scan(patient: Patient, tmp: Path) -> list[object]:
    return ["run", tmp / "nowhere.nii.gz", "-o", OUT]


@bad("no DICOM image among the 0 files", "Give the folder")
def empty_folder(patient: Patient, tmp: Path) -> list[object]:
    (tmp / "empty").mkdir()
    return ["run", tmp / "empty", "-o", OUT]


@bad("of no known format", "allowed: a folder or .zip of DICOM slices", ".nii.gz")
def not_an_image(patient: Patient, tmp: Path) -> list[object]:
    (tmp / "scan.txt").write_text("a letter to the doctor, longer than the preamble " * 5)
    return ["run", tmp / "scan.txt", "-o", OUT]


@bad("is damaged or cut short", "copy or export it again")
def truncated_nifti(patient: Patient, tmp: Path) -> list[object]:
    whole = patient.ct.read_bytes()
    (tmp / "ct.nii.gz").write_bytes(whole[: len(whole) // 2])
    return ["run", tmp / "ct.nii.gz", "-o", OUT]


@bad("ends early", "bytes where its header announces", "Copy or export it again")
def truncated_plain_nifti(patient: Patient, tmp: Path) -> list[object]:
    write(read(patient.ct), tmp / "whole.nii")
    (tmp / "ct.nii").write_bytes((tmp / "whole.nii").read_bytes()[:5000])
    return ["run", tmp / "ct.nii", "-o", OUT]


@bad("zip", "can't be unpacked")
def damaged_zip(patient: Patient, tmp: Path) -> list[object]:
    archive = Path(shutil.make_archive(str(tmp / "scan"), "zip", patient.dicom))
    content = bytearray(archive.read_bytes())
    content[2000:3000] = bytes(1000)
    archive.write_bytes(content)
    return ["run", archive, "-o", OUT]


# The DICOM series


@bad("1 slices are missing: the step is 3 mm", "Export the whole series again")
def missing_slice(patient: Patient, tmp: Path) -> list[object]:
    series = shutil.copytree(patient.dicom, tmp / "series")
    sorted(series.iterdir())[20].unlink()
    return ["run", series, "-o", OUT]


@bad("several series are equally large", "(CT, 4 slices)", "--series")
def two_series_of_one_size(patient: Patient, tmp: Path) -> list[object]:
    ct = read(patient.ct).crop((0, 0, 0), (20, 20, 4))
    (tmp / "scan").mkdir()
    for name in ("soft", "bone"):
        write_dicom(ct, tmp / "scan" / name)
    return ["run", tmp / "scan", "-o", OUT]


@bad("there is no series '1.2.3'; present:", "slices)")
def unknown_series(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.dicom, "-o", OUT, "--series", "1.2.3"]


# The voxels


@bad("not a CT in HU: its values run from 0 to", "Is it an MRI")
def mri_like_values(patient: Patient, tmp: Path) -> list[object]:
    mri = changed_ct(patient, tmp, lambda hu: np.clip(hu, 0, 1500).astype(np.int16))
    return ["run", mri, "-o", OUT]


@bad("No voxel is below 0, where fat and air lie", "rescale slope and intercept", "value - 1024")
def hu_not_rescaled(patient: Patient, tmp: Path) -> list[object]:
    return ["run", changed_ct(patient, tmp, lambda hu: hu + np.int16(1024)), "-o", OUT]


@bad("1 of", "voxels are NaN or infinite", "Replace them")
def nan_voxel(patient: Patient, tmp: Path) -> list[object]:
    def spoil(hu: np.ndarray) -> np.ndarray:
        hu = hu.astype(np.float32)
        hu[3, 4, 5] = np.nan
        return hu

    return ["run", changed_ct(patient, tmp, spoil), "-o", OUT]


@bad("All voxels are equal", "exported wrongly")
def empty_image(patient: Patient, tmp: Path) -> list[object]:
    return ["run", changed_ct(patient, tmp, np.zeros_like), "-o", OUT]


# The geometry


@bad("has the dimensions [4, 4, 4, 2]", "Write the volume you mean")
def four_dimensions(patient: Patient, tmp: Path) -> list[object]:
    sitk.WriteImage(sitk.Image([4, 4, 4, 2], sitk.sitkInt16), str(tmp / "series.nii.gz"))
    return ["run", tmp / "series.nii.gz", "-o", OUT]


def nifti_with(patient: Patient, tmp: Path, offset: int, values: list[float]) -> Path:
    """Put float32 numbers into the header of the CT."""
    write(read(patient.ct), tmp / "ct.nii")
    content = bytearray((tmp / "ct.nii").read_bytes())
    numbers = np.array(values, "<f4").tobytes()
    content[offset : offset + len(numbers)] = numbers
    (tmp / "ct.nii").write_bytes(content)
    return tmp / "ct.nii"


@bad("shear")
def sheared_nifti(patient: Patient, tmp: Path) -> list[object]:
    path = nifti_with(patient, tmp, 280, [-2, 1, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0])
    content = bytearray(path.read_bytes())
    content[252:254] = bytes(2)  # no qform
    path.write_bytes(content)
    return ["run", path, "-o", OUT]


@bad("its qform and sform place the image's corners up to", "mm apart", "Decide which one")
def qform_against_sform(patient: Patient, tmp: Path) -> list[object]:
    return ["run", nifti_with(patient, tmp, 268, [50, 50, 50]), "-o", OUT]


@bad("voxel size [0.002, 0.002, 0.003] mm", "written in metres", "Correct its spacing")
def spacing_in_metres(patient: Patient, tmp: Path) -> list[object]:
    ct = read(patient.ct)
    scale = np.diag([1e-3, 1e-3, 1e-3, 1.0])
    write(Image(ct.array, replace(ct.grid, affine=scale @ ct.grid.affine)), tmp / "ct.nii.gz")
    return ["run", tmp / "ct.nii.gz", "-o", OUT]


# The bone


@bad("bone 'femur' is unknown; allowed: femur_left, femur_right, vertebra_T1")
def unknown_bone(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--bone", "femur"]


@bad("a bone is named twice: femur_left femur_left")
def bone_named_twice(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--bone", "femur_left", "femur_left"]


@bad("no femur_left with a femoral head was found; in view: femur_right", "Check side")
def other_side_than_in_view(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--bone", "femur_left"]


@bad("the head points away from the middle of the body for a left femur", "the side is wrong")
def label_map_of_the_other_side(patient: Patient, tmp: Path) -> list[object]:
    labels = ["--labels", patient.labels, "--label", "femur_right"]
    return ["run", patient.ct, "-o", OUT, "--bone", "femur_left", *labels]


# The case file


@bad("case file", "nowhere.yaml", "can't be read")
def missing_case_file(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", tmp / "nowhere.yaml"]


@bad("neither YAML nor JSON")
def case_file_that_is_no_yaml(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, "bone: [femur_left\nmesh: }")]


@bad("must hold named entries, found 'femur_left'")
def case_file_with_a_word(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, "femur_left")]


@bad("1 wrong entry", "mesh.edge: extra inputs are not permitted, found 2", "bonekit schema case")
def case_file_with_an_unknown_key(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, "mesh: {edge: 2}")]


@bad("2 wrong entries", "mesh.edge_mm", "found 'fine'", "material.nu", "found 0.6")
def case_file_with_wrong_types(patient: Patient, tmp: Path) -> list[object]:
    text = "mesh: {edge_mm: fine}\nmaterial: {nu: 0.6}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, text)]


@bad("0.75", "mg/cm3")
def calibration_in_mg(patient: Patient, tmp: Path) -> list[object]:
    line = "{slope: 0.75, intercept: 0, kind: ash, source: rods in mg/cm3}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, f"calibration: {line}")]


@bad("law 'hooke_1678' is unknown", "keyak_2005")
def unknown_law(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, "material: {law: hooke_1678}")]


@bad("mesh.edge_mm", "less than or equal to 5", "found 20.0")
def edge_too_coarse(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--edge", "20"]


@bad("mesh.edge_mm", "greater than or equal to 0.1", "found 0.01")
def edge_too_fine(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--edge", "0.01"]


@bad("device 'abacus'", "cpu")
def unknown_device(patient: Patient, tmp: Path) -> list[object]:
    return [*with_labels(patient, patient.ct), "--device", "abacus"]


@bad("calibration.internal.kind", "found 'ash'")
def calibration_on_tissues_for_no_phantom(patient: Patient, tmp: Path) -> list[object]:
    text = "calibration: {method: internal, kind: ash}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, text)]


@bad("there is no phantom 'qrm'", "qrm_bdc_6", "siemens_osteo")
def calibration_on_an_unknown_phantom(patient: Patient, tmp: Path) -> list[object]:
    return [*with_labels(patient, patient.ct), "--calibrate", "qrm"]


@bad("found no row of 6 calibration rods", "give a line in the case file", code=1)
def calibration_on_rods_that_are_not_there(patient: Patient, tmp: Path) -> list[object]:
    return [*with_labels(patient, patient.ct), "--calibrate", "qrm_bdc_6"]


@bad("to calibrate on (found:", "Mark the missing tissue in a mask", code=1)
def calibration_on_tissues_that_are_not_there(patient: Patient, tmp: Path) -> list[object]:
    ct = changed_ct(patient, tmp, lambda hu: np.minimum(hu, 200))
    return ["calibrate", ct, "--internal", "-o", tmp / "line.yaml"]


@bad("conversion 'kaneko_2044' is unknown", "kaneko_2004")
def unknown_conversion(patient: Patient, tmp: Path) -> list[object]:
    text = "material: {conversion: kaneko_2044}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, text)]


@bad("material.regions.lesion", "'cortex' or 'trabecular'")
def law_of_the_region_of_lesions(patient: Patient, tmp: Path) -> list[object]:
    text = "material: {regions: {lesion: keyak_2005}}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, text)]


@bad("lesions.lytic", "`e_mpa` goes with `treatment: modulus`")
def modulus_of_a_lesion_without_a_number(patient: Patient, tmp: Path) -> list[object]:
    text = "material: {lesions: {lytic: {treatment: modulus}}}"
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, text)]


# The label map


@bad("labels: there is no file or folder", "nowhere.nii.gz")
def missing_label_map(patient: Patient, tmp: Path) -> list[object]:
    labels = ["--labels", tmp / "nowhere.nii.gz"]
    return ["run", patient.ct, "-o", OUT, "--bone", "femur_right", *labels]


@bad("a label map was given: name the bone too (--bone)")
def label_map_without_bone(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--labels", patient.labels]


@bad("no label of the map is named like vertebra_L3", "present: 1 femur_right", "--label")
def label_missing_in_map(patient: Patient, tmp: Path) -> list[object]:
    labels = ["--labels", patient.labels]
    return ["run", patient.ct, "-o", OUT, "--bone", "vertebra_L3", *labels]


@bad("'tibia'", "femur_right")
def label_of_unknown_name(patient: Patient, tmp: Path) -> list[object]:
    return [*with_labels(patient, patient.ct), "--label", "tibia"]


@bad("label 7 (unnamed) has 0 voxels on the CT", "same scan")
def empty_label(patient: Patient, tmp: Path) -> list[object]:
    return [*with_labels(patient, patient.ct), "--label", "7"]


@bad("label 1 (femur_right) has 0 voxels on the CT", "lies elsewhere in the world")
def label_map_of_another_scan(patient: Patient, tmp: Path) -> list[object]:
    labels = read_labels(patient.labels)
    moved = labels.grid.affine.copy()
    moved[:3, 3] += 500
    elsewhere = LabelMap(labels.array, replace(labels.grid, affine=moved), labels.names)
    write(elsewhere, tmp / "labels.nii.gz")
    case = ["-c", patient.case, "--labels", tmp / "labels.nii.gz"]
    return ["run", patient.ct, "-o", OUT, *case]


@bad("is no label map", "whole numbers", "Is it an image")
def image_as_label_map(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "-c", patient.case, "--labels", patient.ct]


@bad("lesion mask is empty on this scan")
def empty_lesion_mask(patient: Patient, tmp: Path) -> list[object]:
    labels = read_labels(patient.labels)
    write(labels.with_array(np.zeros_like(labels.array)), tmp / "lesion.nii.gz")
    return [*with_labels(patient, patient.ct), "--lesions", tmp / "lesion.nii.gz"]


# The field of view and metal


def cropped(patient: Patient, tmp: Path, side: str, mm: float) -> Path:
    """Cut off the last `mm` of the bone: "above", in "front" or on the "lateral" side."""
    ct = read(patient.ct).canonical()
    bone = np.argwhere(read_labels(patient.labels).resample(ct.grid).array > 0)
    low, high = np.zeros(3), np.array(ct.shape)
    if side == "above":
        high[2] = bone[:, 2].max() + 1 - mm / ct.spacing_mm[2]
    else:  # LPS: for a right femur lateral is where x is least, front where y is least
        axis = ("lateral", "front").index(side)
        low[axis] = bone[:, axis].min() + mm / ct.spacing_mm[axis]
    write(ct.crop(np.round(low), np.round(high)), tmp / "ct.nii.gz")
    return tmp / "ct.nii.gz"


@bad("of the femoral head lies outside the image", "use a larger field")
def head_cut(patient: Patient, tmp: Path) -> list[object]:
    return with_labels(patient, cropped(patient, tmp, "above", 21.0))


@bad("trochanteric region is cut by the border of the image", "Use a larger field of view")
def trochanter_cut(patient: Patient, tmp: Path) -> list[object]:
    return with_labels(patient, cropped(patient, tmp, "lateral", 6.0))


@bad("the border of the image cuts the femur lengthwise", "Use a larger field of view")
def shaft_cut(patient: Patient, tmp: Path) -> list[object]:
    return with_labels(patient, cropped(patient, tmp, "front", 8.0))


def with_screw(patient: Patient, tmp: Path) -> Path:
    ct = read(patient.ct)
    inside = np.argwhere(read_labels(patient.labels).array > 0)
    i, j, k = np.median(inside, axis=0).astype(int)
    hu = ct.array.copy()
    hu[i - 1 : i + 2, j - 1 : j + 2, k - 3 : k + 4] = 3000
    write(ct.with_array(hu), tmp / "ct.nii.gz")
    return tmp / "ct.nii.gz"


@bad("ml of metal (above", "up to 3000 HU)", "pass --allow-metal")
def screw_in_the_bone(patient: Patient, tmp: Path) -> list[object]:
    return with_labels(patient, with_screw(patient, tmp))


# The solve


@bad("1 iteration", "max_iterations", code=1)
def solver_that_does_not_converge(patient: Patient, tmp: Path) -> list[object]:
    case = yaml.safe_load(patient.case.read_text()) | {"solver": {"max_iterations": 1}}
    case["segmentation"] = {"labels": str(patient.labels)}
    return ["run", patient.ct, "-o", OUT, "-c", case_file(tmp, yaml.safe_dump(case))]


# Where results go


@bad("can't make the run folder")
def output_that_is_a_file(patient: Patient, tmp: Path) -> list[object]:
    (tmp / "notes").write_text("mine")
    return ["run", patient.ct, "-o", tmp / "notes"]


@bad("can't make the run folder")
def output_below_a_file(patient: Patient, tmp: Path) -> list[object]:
    (tmp / "notes").write_text("mine")
    return ["run", patient.ct, "-o", tmp / "notes" / "run"]


@bad("is no run folder but holds ct.nii.gz", "Choose a new folder")
def output_into_the_folder_of_the_scan(patient: Patient, tmp: Path) -> list[object]:
    shutil.copy(patient.ct, tmp / "ct.nii.gz")
    shutil.copy(patient.labels, tmp / "reader.nii.gz")
    return ["run", patient.ct, "-o", tmp]


@bad("the scan", "is a file of the run folder and would be replaced", "Copy it elsewhere")
def scan_that_a_run_would_replace(patient: Patient, tmp: Path) -> list[object]:
    shutil.copy(patient.ct, tmp / "ct.nii.gz")
    return ["run", tmp / "ct.nii.gz", "-o", tmp]


@bad("lies in the folder of the scan, which must not change", "Choose another folder")
def output_inside_the_series(patient: Patient, tmp: Path) -> list[object]:
    series = shutil.copytree(patient.dicom, tmp / "series")
    return ["run", series, "-o", series / "out"]


# The other commands


@bad("is not a run folder: it has no case.json", "bonekit run")
def solving_what_was_never_run(patient: Patient, tmp: Path) -> list[object]:
    return ["solve", tmp]


@bad("case.json", "is damaged", "bonekit run")
def report_of_a_damaged_run(patient: Patient, tmp: Path) -> list[object]:
    (tmp / "stages").mkdir()
    (tmp / "case.json").write_text('{"case": ')
    return ["report", tmp]


@bad("mesh file not found")
def export_of_a_missing_mesh(patient: Patient, tmp: Path) -> list[object]:
    return ["export", tmp / "mesh.vtu", tmp / "bone.inp"]


@bad("there is no file or folder")
def mesh_of_missing_labels(patient: Patient, tmp: Path) -> list[object]:
    return ["mesh", tmp / "labels.nii.gz", "-o", tmp / "bone.vtu"]


@bad("a voxel mesh can't be written to .stl", ".vtu .msh .med .xdmf")
def voxels_as_stl(patient: Patient, tmp: Path) -> list[object]:
    return ["mesh", patient.labels, "-o", tmp / "bone.stl", "--kind", "voxel"]


@bad("can't write", "bone.xyz", "the suffix be one of .nii.gz")
def label_map_of_unknown_suffix(patient: Patient, tmp: Path) -> list[object]:
    return ["segment", patient.ct, "-o", tmp / "bone.xyz"]


@bad("Unknown option: --egde. Did you mean --edge?")
def misspelt_option(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--egde", "2"]


@bad("Invalid value for --edge", 'unable to convert "two" into float')
def word_for_a_number(patient: Patient, tmp: Path) -> list[object]:
    return ["run", patient.ct, "-o", OUT, "--edge", "two"]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_input_is_refused_with_a_reason(
    case: Bad, patient: Patient, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "in").mkdir()
    out = tmp_path / "run"
    arguments = [out if a is OUT else a for a in case.make(patient, tmp_path / "in")]
    before = files_of(tmp_path / "in")

    code, printed, errors = command(*arguments)

    assert code == case.code, errors
    for part in case.says:
        assert part in flat(errors)
    assert "Traceback" not in errors
    assert "strength" not in printed
    assert files_of(tmp_path / "in") == before, "an input was changed or something left beside it"
    left = {p.name for p in out.rglob("*")}
    assert not left & {"result.json", "report.html", "preview.png", "mesh.vtu"}
    assert not [name for name in left if name.startswith(".")], "a temporary file was left"


def test_there_are_twenty_bad_inputs() -> None:
    assert len(BAD) >= 20
    assert len({case.name for case in BAD}) == len(BAD)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nowhere.nii.gz", "-o", "run"], 2), (["-o", "run"], 2)]
)
def test_process_ends_with_the_exit_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bonekit.cli", "run", *arguments],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_allowed_metal_becomes_a_warning(
    patient: Patient, tmp_path: Path, command: Command
) -> None:
    arguments = with_labels(patient, with_screw(patient, tmp_path))
    arguments = [tmp_path / "run" if a is OUT else a for a in arguments]
    code, printed, errors = command(*arguments, "--allow-metal")
    assert code == 0
    assert "warning: " in errors
    assert "Simulated all the same" in errors
    assert "strength" in printed

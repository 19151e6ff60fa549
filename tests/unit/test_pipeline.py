from __future__ import annotations

import gzip
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk
from jsonschema import Draft202012Validator

from bonekit import pipeline
from bonekit.case import Case, parse_case, read_case
from bonekit.errors import InputError
from bonekit.image import read, read_labels, write
from bonekit.meshing.interchange import read_mesh
from bonekit.pipeline import OPTIONAL, STAGES, report_again, run, solve_again, stages
from bonekit.pipeline.inputs import hashes_of
from bonekit.result import Result
from bonekit.schemas import schema_of
from bonekit.storage import load_solution

if TYPE_CHECKING:
    from conftest import Patient


def case_of(patient: Patient, **parts: dict[str, Any]) -> Case:
    """Case of the patient with its label map, which spares the segmentation."""
    content = read_case(patient.case).model_dump(mode="json")
    content["segmentation"]["labels"] = str(patient.labels)
    for name, values in parts.items():
        content[name] = {**(content[name] or {}), **values}
    return parse_case(content, "of a test")


def reused(folder: Path, *arguments: Any, **names: Any) -> set[str]:
    """Run and tell which stages were reused, by the log."""
    before = (folder / "log.txt").read_text() if folder.is_dir() else ""
    run(*arguments, **names)
    new = (folder / "log.txt").read_text().removeprefix(before)
    return {stage for stage in STAGES if f"{stage}: reused" in new}


@pytest.fixture(scope="session")
def labelled(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished run with an imported label map; tests only read it."""
    out = tmp_path_factory.mktemp("labelled") / "run"
    run(patient.ct, out, case=case_of(patient))
    return out


@pytest.fixture
def done(labelled: Path, tmp_path: Path) -> Path:
    """Copy of the run with a label map, to be changed."""
    return shutil.copytree(labelled, tmp_path / "run")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of the report, which take most of the time."""
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b"no picture"))


unseen = pytest.mark.usefixtures("undrawn")


# What a run leaves


def test_run_leaves_its_files_and_no_others(finished: Path) -> None:
    expected = {name for part in STAGES.values() for name in part} | {"case.json", "log.txt"}
    expected -= OPTIONAL - {"intact.png"}  # the patient has a lesion
    assert {p.name for p in finished.iterdir()} == expected | {"stages"}
    assert all((finished / name).stat().st_size > 0 for name in expected)


def test_result_fits_its_schema_and_its_model(finished: Path) -> None:
    text = (finished / "result.json").read_text()
    Draft202012Validator(schema_of("result")).validate(json.loads(text))
    result = Result.model_validate_json(text)
    assert (result.bone, result.synthetic) == ("femur_right", True)
    assert result.calibration.calibrated
    assert result.mesh.edge_mm == pytest.approx(4.0)
    assert 1000 < result.strength_N < 20_000
    assert [stage.name for stage in result.stages] == list(STAGES)


def test_forces_and_energies_balance(finished: Path) -> None:
    result = Result.model_validate_json((finished / "result.json").read_text())
    reaction = np.sum(list(result.reaction_N.values()), axis=0)
    assert np.linalg.norm(reaction) == pytest.approx(result.applied_force_N, rel=1e-6)
    assert result.balance.residual <= 1e-8
    assert 0 < result.balance.force_balance < 1e-6
    assert 0 < result.balance.energy_balance < 1e-6


def test_mesh_carries_the_fields_of_the_result(finished: Path) -> None:
    result = Result.model_validate_json((finished / "result.json").read_text())
    mesh, cells, points = read_mesh(finished / "mesh.vtu")
    assert mesh.n_elements == result.mesh.n_elements
    assert cells["E_MPa"].max() == pytest.approx(result.material.E_MPa["max"])
    force = points["force_N"].sum(axis=0)
    reaction = np.sum(list(result.reaction_N.values()), axis=0)
    np.testing.assert_allclose(force, -reaction, atol=1e-4 * result.applied_force_N)
    displacement = load_solution(finished / "solution.npz").displacement_mm
    size = np.linalg.norm(points["displacement_mm"], axis=1)
    np.testing.assert_allclose(size, np.linalg.norm(displacement, axis=1), atol=1e-9)


def test_mineral_on_the_mesh_is_that_of_the_mask(finished: Path) -> None:
    material = Result.model_validate_json((finished / "result.json").read_text()).material
    assert material.mineral.mesh_g == pytest.approx(material.mineral.mask_g, rel=0.002)
    assert material.mineral.image_g > material.mineral.mask_g


def test_inputs_are_named_by_their_hashes(labelled: Path) -> None:
    result = Result.model_validate_json((labelled / "result.json").read_text())
    assert {i.role for i in result.inputs} == {"scan", "labels"}
    assert all(len(i.sha256) == 64 for i in result.inputs)


@unseen
def test_library_prints_nothing(
    done: Path, patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    run(patient.ct, done, case=case_of(patient, material={"nu": 0.31}))
    assert capsys.readouterr().out == ""


@unseen
def test_progress_names_each_stage_in_order(done: Path) -> None:
    seen: list[tuple[str, float]] = []
    solve_again(done, progress=lambda stage, fraction, text: seen.append((stage, fraction)))
    assert list(dict.fromkeys(stage for stage, _ in seen)) == list(STAGES)[1:]
    assert all(0 <= fraction <= 1 for _, fraction in seen)
    assert seen[-1] == ("report", 1.0)


# What is done again


def test_second_run_does_nothing_again(
    done: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bone_in", "calibrate_scan", "bone_mesh", "solve_problem", "draw"):
        monkeypatch.setattr(stages, name, None)
    before = (done / "result.json").read_bytes()
    assert reused(done, patient.ct, done, case=case_of(patient)) == set(STAGES)
    assert (done / "result.json").read_bytes() == before


@unseen
@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ({"mesh": {"edge_mm": 5.0}}, {"segment", "calibrate", "density"}),
        ({"material": {"nu": 0.35}}, {"segment", "calibrate", "density", "mesh"}),
        ({"calibration": {"slope": 0.0008}}, {"segment"}),
        ({"solver": {"threads": 2}}, set(STAGES) - {"report"}),
    ],
    ids=["edge", "material", "calibration", "threads"],
)
def test_changed_setting_redoes_only_what_rests_on_it(
    done: Path, patient: Patient, part: dict[str, Any], kept: set[str]
) -> None:
    before = Result.model_validate_json((done / "result.json").read_text())
    assert reused(done, patient.ct, done, case=case_of(patient, **part)) == kept
    after = Result.model_validate_json((done / "result.json").read_text())
    assert (after.strength_N == before.strength_N) == ("solver" in part)
    assert {s.name for s in after.stages if s.reused} == kept


@unseen
def test_changed_scan_redoes_everything(done: Path, patient: Patient, tmp_path: Path) -> None:
    ct = read(patient.ct)
    write(ct.with_array(ct.array + np.int16(3)), tmp_path / "other.nii.gz")
    assert reused(done, tmp_path / "other.nii.gz", done, case=case_of(patient)) == set()


def test_changed_label_table_redoes_the_segmentation(patient: Patient, tmp_path: Path) -> None:
    for name in ("femur.nii.gz", "femur.json"):
        shutil.copy(patient.labels.with_name(name), tmp_path / name)
    given = {"scan": patient.ct, "labels": tmp_path / "femur.nii.gz"}
    before = hashes_of(given, tmp_path / "run", pipeline.OURS)
    (tmp_path / "femur.json").write_text('{"2": "femur_right"}')
    after = hashes_of(given, tmp_path / "run", pipeline.OURS)
    assert before["scan"] == after["scan"]
    assert before["labels"] != after["labels"]


def test_voxels_beside_a_header_count_as_input(patient: Patient, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(patient.ct)), str(tmp_path / "ct.mhd"))
    before = hashes_of({"scan": tmp_path / "ct.mhd"}, tmp_path / "run", pipeline.OURS)
    voxels = next(p for p in tmp_path.iterdir() if p.suffix != ".mhd")
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert hashes_of({"scan": tmp_path / "ct.mhd"}, tmp_path / "run", pipeline.OURS) != before


def test_slice_stands_for_its_whole_series(patient: Patient, tmp_path: Path) -> None:
    series = shutil.copytree(patient.dicom, tmp_path / "series")
    first, *_, last = sorted(series.iterdir())
    before = hashes_of({"scan": first}, tmp_path / "run", pipeline.OURS)
    last.unlink()
    assert hashes_of({"scan": first}, tmp_path / "run", pipeline.OURS) != before


@unseen
@pytest.mark.parametrize(
    ("file", "stage"), [("solution.npz", "solve"), ("model.npz", "mesh"), ("report.html", "report")]
)
@pytest.mark.parametrize("damage", ["deleted", "corrupted"])
def test_damaged_file_is_made_again(
    done: Path, patient: Patient, file: str, stage: str, damage: str
) -> None:
    before = (done / "result.json").read_text()
    if damage == "deleted":
        (done / file).unlink()
    else:
        content = (done / file).read_bytes()
        (done / file).write_bytes(content[: len(content) // 2])
    kept = reused(done, patient.ct, done, case=case_of(patient))
    assert kept == set(list(STAGES)[: list(STAGES).index(stage)])
    after = Result.model_validate_json((done / "result.json").read_text())
    assert after.strength_N == pytest.approx(json.loads(before)["strength_N"], rel=1e-9)


# Runs that end early


def stop(*args: object, **names: object) -> None:
    raise KeyboardInterrupt


def check_unfinished(folder: Path) -> None:
    left = {p.name for p in folder.iterdir()}
    assert not left & {"result.json", "report.html", "preview.png", "mesh.vtu", "solution.npz"}


@unseen
def test_interrupted_run_leaves_no_result_and_resumes(
    done: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(patient, material={"nu": 0.33})
    with monkeypatch.context() as patched:
        patched.setattr(stages, "solve_problem", stop)
        with pytest.raises(KeyboardInterrupt):
            run(patient.ct, done, case=case)
    check_unfinished(done)
    assert reused(done, patient.ct, done, case=case) == {"segment", "calibrate", "density", "mesh"}
    assert (done / "result.json").is_file()


def test_run_stopped_at_once_leaves_no_result_of_older_settings(
    done: Path, patient: Patient
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(patient.ct, done, case=case_of(patient, mesh={"edge_mm": 5.0}), progress=stop)
    left = {p.name for p in done.iterdir()}
    assert not left & {"result.json", "report.html", "preview.png", "mesh.vtu"}


def test_run_of_another_bone_that_fails_leaves_nothing_of_the_first(
    done: Path, patient: Patient
) -> None:
    labels = case_of(patient, segmentation={"label": "femur_right"})
    with pytest.raises(InputError, match="the side is wrong"):
        run(patient.ct, done, "femur_left", case=labels)
    check_unfinished(done)
    left = {p.name for p in done.iterdir()}
    assert not left & {"surface.stl", "model.npz", "density.nii.gz"}
    with pytest.raises(InputError, match="no finished stage 'calibrate'"):
        report_again(done)
    with pytest.raises(InputError, match="the side is wrong"):
        solve_again(done)
    check_unfinished(done)


@pytest.mark.slow
@unseen
def test_killed_process_leaves_no_result_and_resumes(done: Path, patient: Patient) -> None:
    case = case_of(patient, material={"nu": 0.32})
    code = (
        "import sys, time; from bonekit import pipeline; from bonekit.case import Case\n"
        "from bonekit.pipeline import stages\n"
        "def wait(*a, **k): print('solving', flush=True); time.sleep(60)\n"
        "stages.solve_problem = wait\n"
        "pipeline.run(sys.argv[1], sys.argv[2], case=Case.model_validate_json(sys.argv[3]))\n"
    )
    arguments = [str(patient.ct), str(done), case.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"solving\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    check_unfinished(done)
    assert reused(done, patient.ct, done, case=case) == {"segment", "calibrate", "density", "mesh"}


# A folder continued


@unseen
def test_solve_again_with_another_law(done: Path, patient: Patient, tmp_path: Path) -> None:
    before = Result.model_validate_json((done / "result.json").read_text())
    (tmp_path / "case.yaml").write_text(
        patient.case.read_text() + "\nmaterial: {law: keller_1994}\n"
    )
    after = solve_again(done, tmp_path / "case.yaml")
    assert after.material.law.name == "keller_1994"
    assert after.strength_N != before.strength_N
    assert after.bone == before.bone
    assert after.inputs == before.inputs
    assert {s.name for s in after.stages if s.reused} == {"segment", "calibrate", "density", "mesh"}
    assert Result.model_validate_json((done / "result.json").read_text()) == after


@unseen
@pytest.mark.parametrize(
    ("law", "line"),
    [
        ("morgan_2003_vertebra", "apparent = 1.6667 * ash (inverse of Schileo"),
        ("kopperdahl_2002_linear", "k2hpo4 = 0.9434 * ash - 0.036698 g/cm3 (inverse of Keyak"),
    ],
)
def test_law_gets_its_own_density_and_the_result_says_how(
    done: Path, patient: Patient, tmp_path: Path, law: str, line: str
) -> None:
    text = patient.case.read_text() + f"\nmaterial: {{law: {law}, mapping: density}}\n"
    (tmp_path / "case.yaml").write_text(text)
    material = solve_again(done, tmp_path / "case.yaml").material
    assert line in material.law.parameters["conversion"]
    _, cells, _ = read_mesh(done / "mesh.vtu")
    ash, E = cells["ash_density_g_cm3"], cells["E_MPa"]
    inside = (ash > 0.06) & (ash < 1.3)
    assert inside.sum() > 100
    expected = 4730 * (ash[inside] / 0.6) ** 1.56
    if law.startswith("kopperdahl"):
        expected = -34.7 + 3230 * (ash[inside] - 0.0389) / 1.06
    np.testing.assert_allclose(E[inside], expected, rtol=1e-5)


@unseen
def test_modulus_integrated_over_the_elements(done: Path, patient: Patient, tmp_path: Path) -> None:
    before = Result.model_validate_json((done / "result.json").read_text())
    assert before.material.mapping == "modulus"
    text = patient.case.read_text() + "\nmaterial: {mapping: density}\n"
    (tmp_path / "case.yaml").write_text(text)
    after, before = before, solve_again(done, tmp_path / "case.yaml")
    assert before.material.mapping == "density"
    assert after.material.ash_density_g_cm3 == before.material.ash_density_g_cm3
    # the law is convex: its mean lies above the law at the mean
    assert 1.005 < after.material.E_MPa["mean"] / before.material.E_MPa["mean"] < 1.2
    assert 1.005 < after.stiffness_N_mm / before.stiffness_N_mm < 1.2
    kept = {s.name for s in before.stages if s.reused}
    assert kept == {"segment", "calibrate", "density", "mesh"}


@unseen
def test_law_of_the_user(done: Path, patient: Patient, tmp_path: Path) -> None:
    law = "{name: mine, kind: apparent, pieces: [{factor: 40000}], low_g_cm3: 0.1, "
    law += "high_g_cm3: 2, valid_g_cm3: [0.2, 1.5], source: our own tests}"
    text = patient.case.read_text()
    text += f"\nmaterial: {{law: mine, laws: [{law}], mapping: density}}\n"
    (tmp_path / "case.yaml").write_text(text)
    result = solve_again(done, tmp_path / "case.yaml")
    found = result.material
    assert (found.law.name, found.law.source) == ("mine", "our own tests")
    assert found.law.description == "E = 40000 MPa * (apparent density in g/cm3)"
    assert found.law.parameters["valid_to_g_cm3"] == 1.5
    _, cells, _ = read_mesh(done / "mesh.vtu")
    apparent = cells["ash_density_g_cm3"] / 0.6
    np.testing.assert_allclose(cells["E_MPa"], 40000 * np.clip(apparent, 0.1, 2), rtol=1e-5)
    outside = np.count_nonzero((apparent < 0.2) | (apparent > 1.5))
    assert found.n_extrapolated == pytest.approx(outside, abs=1)
    assert 0 < found.n_floor < outside
    remarks = {remark.code: remark for remark in result.remarks}
    assert remarks["extrapolated"].message.startswith(f"{found.n_extrapolated} elements")
    assert remarks["extrapolated"].severity == "note"
    assert remarks["too-stiff"].severity == "warning"


@unseen
def test_a_lesion_and_a_region_get_what_the_case_says(
    folder: Path, patient: Patient, tmp_path: Path
) -> None:
    text = patient.case.read_text()
    text += "\nmaterial: {regions: {cortex: keller_1994}, lesions: {each: {1: "
    text += "{treatment: modulus, E_MPa: 500}}}}\n"
    (tmp_path / "case.yaml").write_text(text)
    result = solve_again(folder, tmp_path / "case.yaml")
    found = {part.region: (part.law, part.treatment) for part in result.material.tissues}
    (lesion,) = result.lesions
    assert found == {
        "cortex": ("keller_1994", "density"),
        "trabecular": ("keyak_2005", "density"),
        f"lesion 1 ({lesion.kind})": ("fixed_500_MPa", "fixed"),
    }
    assert sum(part.n_elements for part in result.material.tissues) == result.mesh.n_elements
    _, cells, _ = read_mesh(folder / "mesh.vtu")
    count = next(p.n_elements for p in result.material.tissues if p.treatment == "fixed")
    assert np.count_nonzero(cells["E_MPa"] == 500.0) == count > 0
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "fixed 500 MPa" in report


@unseen
def test_solve_again_keeps_what_was_said_of_the_scan(done: Path, tmp_path: Path) -> None:
    before = json.loads((done / "case.json").read_text())["case"]
    (tmp_path / "case.yaml").write_text("bone: femur_left\nmesh: {edge_mm: 4}\n")
    solve_again(done, tmp_path / "case.yaml")
    after = json.loads((done / "case.json").read_text())["case"]
    for name in ("bone", "synthetic", "series_uid", "segmentation"):
        assert after[name] == before[name]
    assert after["calibration"] is None


@unseen
def test_solve_again_needs_no_scan(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "bone_in", None)
    assert solve_again(done).bone == "femur_right"


def test_report_again_draws_without_solving(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "solve_problem", None)
    before = Result.model_validate_json((done / "result.json").read_text())
    written = (done / "report.html").stat().st_mtime_ns
    after = report_again(done)
    assert after.strength_N == before.strength_N
    assert (done / "report.html").stat().st_mtime_ns > written


def test_report_again_refuses_a_changed_solution(done: Path) -> None:
    (done / "solution.npz").write_bytes(b"something else")
    with pytest.raises(InputError, match="no finished stage 'solve'"):
        report_again(done)


# What is recognised as the input's fault, and what is kept private


def test_given_bone_comes_before_the_one_of_the_case(patient: Patient, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label of the map is named like vertebra_L3"):
        run(patient.ct, tmp_path / "run", "vertebra_L3", case=case_of(patient))


def test_wrong_case_is_refused_before_the_folder_is_made(patient: Patient, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="law"):
        run(patient.ct, tmp_path / "run", case=case_of(patient, material={"law": "none"}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "keyak_2005"}, "two laws are named 'keyak_2005'"),
        ({"pieces": [{"factor": 400, "offset": -50.0}]}, "law mine: the modulus must be positive"),
        ({"high_g_cm3": 0.1}, "law mine: densities must be 0 or more and rise"),
    ],
)
def test_wrong_user_law_is_refused(
    patient: Patient, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    law = {"name": "mine", "kind": "ash", "pieces": [{"factor": 400}], "low_g_cm3": 0.1}
    law |= {"high_g_cm3": 2, "source": "our own tests", **change}
    content = {"material": {"law": law["name"], "laws": [law]}}
    with pytest.raises(InputError, match=message):
        run(patient.ct, tmp_path / "run", case=parse_case(content, "of a test"))
    assert not (tmp_path / "run").exists()


@unseen
def test_drawn_lesion_is_taken_as_it_is(patient: Patient, tmp_path: Path) -> None:
    labels = read_labels(patient.labels)
    lesion = np.zeros_like(labels.array)
    inside = np.argwhere(labels.array > 0)
    lesion[tuple(inside[len(inside) // 2 : len(inside) // 2 + 40].T)] = 1
    write(labels.with_array(lesion), tmp_path / "lesion.nii.gz")
    case = case_of(patient, segmentation={"lesions": str(tmp_path / "lesion.nii.gz")})
    result = run(patient.ct, tmp_path / "run", case=case)
    assert result.measures["lesion_ml"] == pytest.approx(40 * 2 * 2 * 3 / 1000)
    assert "lesion-candidate" not in [remark.code for remark in result.remarks]
    assert {i.role for i in result.inputs} == {"scan", "labels", "lesions"}


@unseen
def test_without_a_calibration_the_result_says_so(done: Path, tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text("mesh: {edge_mm: 4}\n")
    result = solve_again(done, tmp_path / "case.yaml")
    assert not result.calibration.calibrated
    assert "uncalibrated" in [r.code for r in result.remarks if r.severity == "warning"]
    assert result.synthetic, "the scan is what it was"


def named_scan(dicom: Path, folder: Path) -> Path:
    """Copy a series with a patient's name, number and dates in every free field."""
    folder.mkdir()
    secret = {
        "0010|0010": "DOE^JANE",
        "0010|0020": "MRN123456",
        "0010|0030": "19450102",
        "0008|0080": "St Elsewhere",
        "0008|0090": "HOUSE^GREGORY",
        "0008|1030": "Doe follow-up",
        "0008|103e": "JANE hip",
        "0008|0020": "20190203",
        "0020|4000": "call JANE",
    }
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for file in sorted(dicom.iterdir()):
        image = sitk.ReadImage(str(file))
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.LoadPrivateTagsOn()
        reader.ReadImageInformation()
        for key in reader.GetMetaDataKeys():
            image.SetMetaData(key, reader.GetMetaData(key))
        for key, value in secret.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / file.name))
        writer.Execute(image)
    return folder


SECRETS = (
    b"DOE^",
    b"DOE_",
    b"JANE",
    b"MRN123456",
    b"19450102",
    b"Elsewhere",
    b"HOUSE",
    b"20190203",
)


def contents(path: Path) -> bytes:
    """Bytes of a file, unpacked where it is compressed."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    if path.suffix == ".html":  # what pictures look like in letters is chance
        return re.sub(rb"base64,[\w+/=]+", b"", path.read_bytes())
    return path.read_bytes()


def test_names_of_patient_and_places_stay_out(
    patient: Patient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = named_scan(patient.dicom, tmp_path / "DOE_JANE")
    assert b"DOE^JANE" in next(scan.iterdir()).read_bytes()
    out = tmp_path / "run"
    case = case_of(patient)
    with caplog.at_level(logging.DEBUG):
        run(scan, out, case=case)
    for path in out.rglob("*"):
        if path.is_file():
            found = [s for s in SECRETS if s in contents(path)]
            assert not found, f"{path.name} holds {found}"
            if path.name != "case.json":  # the case as it was given
                assert str(tmp_path.parent).encode() not in contents(path), path.name
                assert str(patient.labels.parent).encode() not in contents(path), path.name
    assert not [s for s in SECRETS if s.decode() in caplog.text]
    assert json.loads((out / "scan.json").read_text())["modality"] == "CT"


def test_time_and_memory_of_each_stage_are_told(finished: Path) -> None:
    result = Result.model_validate_json((finished / "result.json").read_text())
    assert all(0 < s.seconds < 600 and 50 < s.peak_memory_MB < 5000 for s in result.stages)


def test_paths_of_masks_stay_out_of_the_run_folder(tmp_path: Path, patient: Patient) -> None:
    named = tmp_path / "DOE_JANE.nii.gz"
    named.write_bytes(patient.labels.read_bytes())
    named.with_name("DOE_JANE.json").write_text('{"1": "femur_right"}', encoding="utf-8")
    case = read_case(patient.case)
    wanted = case.segmentation.model_copy(update={"labels": str(named)})
    out = tmp_path / "out"
    run(patient.ct, out, "femur_right", case.model_copy(update={"segmentation": wanted}))
    assert solve_again(out).strength_N > 0
    for file in out.rglob("*"):
        assert file.is_dir() or b"DOE_JANE" not in file.read_bytes(), file.name

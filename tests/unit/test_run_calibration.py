"""Runs that calibrate in the scan, and the error bar that follows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bonekit.case import Case, parse_case
from bonekit.density import CONVERSIONS, Calibration, DensityKind, sigma_points
from bonekit.errors import InputError
from bonekit.image import LabelMap, write, write_dicom
from bonekit.phantom import BodyParameters, Phantom, ScannerParameters, femur_phantom
from bonekit.pipeline import run, solve_again, stages
from bonekit.result import Result

RODS = (0.0, 0.05, 0.1, 0.2, 0.4)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Synthetic femur at 120 kVp with rods under the patient."""
    body = BodyParameters(rods_g_cm3=RODS, table=True)
    scanner = ScannerParameters(spacing_mm=(1.2, 1.2, 5.0), kVp=120.0, margin_mm=12.0)
    return femur_phantom(body=body, scanner=scanner, seed=2)


@pytest.fixture(scope="module")
def scan(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    mask = phantom.labels.mask("cortex", "trabecular").astype("u1")
    write(LabelMap(mask, phantom.ct.grid, {1: phantom.bone}), folder / "femur.nii.gz")
    write_dicom(phantom.ct, folder / "dicom", kVp=120.0, kernel="soft")
    return folder


@pytest.fixture
def case(scan: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Case]:
    monkeypatch.setattr(stages, "draw", lambda finished: ({}, b"no picture"))

    def make(**parts: Any) -> Case:
        content = {
            "bone": phantom.bone,
            "segmentation": {"labels": str(scan / "femur.nii.gz")},
            "mesh": {"edge_mm": 5.0},
            "uncertainty": {"mesh": False},
            **parts,
        }
        return parse_case(content, "of a test")

    return make


def codes(result: Result) -> set[str]:
    return {remark.code for remark in result.remarks}


def test_a_run_calibrates_on_the_rods_in_its_scan(
    case: Callable[..., Case], scan: Path, phantom: Phantom, tmp_path: Path
) -> None:
    rods = {"method": "rods", "densities_g_cm3": RODS, "kind": "k2hpo4"}
    result = run(scan / "dicom", tmp_path / "run", case=case(calibration=rods))
    line = result.calibration
    assert (line.method, line.calibrated, line.kVp, line.kernel) == ("rods", True, 120.0, "soft")
    assert len(line.samples) == 5
    assert line.evidence["R2"] > 0.9999
    assert line.range_HU is not None
    assert line.range_HU[1] == pytest.approx(max(s.mean_HU for s in line.samples))
    assert line.n_above_range is not None
    assert "beyond-calibration" in codes(result)
    # bone of 1.15 g/cm3 ash is denser than any rod
    hu = phantom.ct.array[phantom.labels.mask("cortex", "trabecular")]
    assert line.n_above_range == pytest.approx(np.count_nonzero(hu > line.range_HU[1]), rel=0.01)
    assert (tmp_path / "run" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert result.strength_error is not None
    assert np.std(result.strength_error.strengths_N) < 0.01 * result.strength_N
    # the folder holds the line, but not the scan
    assert solve_again(tmp_path / "run").strength_N == result.strength_N
    other = case(calibration={"method": "rods", "table": "qrm_bdc_3"})
    (tmp_path / "case.yaml").write_text(other.model_dump_json(exclude_unset=True))
    with pytest.raises(InputError, match="another calibration in the scan"):
        solve_again(tmp_path / "run", tmp_path / "case.yaml")


def test_a_run_calibrates_on_the_patients_tissues(
    case: Callable[..., Case], scan: Path, phantom: Phantom, tmp_path: Path
) -> None:
    asked = case(calibration={"method": "internal"}, uncertainty={"mesh": True})
    result = run(scan / "dicom", tmp_path / "run", case=asked)
    line, truth = result.calibration, phantom.truth["hydroxyapatite_line"]
    assert (line.method, line.kind) == ("internal", "hydroxyapatite")
    assert line.slope_g_cm3_per_HU == pytest.approx(1 / truth["hu_per_g_cm3"], rel=0.03)
    assert 60 < line.evidence["effective_energy_keV"] < 80
    assert {"air", "adipose", "muscle", "cortical bone"} <= {s.name for s in line.samples}
    error = result.strength_error
    assert error is not None
    assert error.low_N < result.strength_N < error.high_N
    # a slope known to 5.5 % and a law of the power 1.86
    assert 0.05 < np.std(error.strengths_N) / result.strength_N < 0.15
    assert error.rests_on == "calibration and mesh"
    lattices = np.array([result.strength_N, *error.moved_N])
    assert len(lattices) == 4
    assert 0 < lattices.std(ddof=1) < error.standard_error_N


def test_tissues_are_read_where_a_mask_has_them(
    case: Callable[..., Case], scan: Path, phantom: Phantom, tmp_path: Path
) -> None:
    ct = phantom.ct.array
    muscle = ndimage.binary_erosion((ct > 20) & (ct < 90), iterations=2)
    labels = LabelMap(np.where(muscle, 7, 0).astype("u1"), phantom.ct.grid, {7: "muscle"})
    write(labels, tmp_path / "tissues.nii.gz")
    internal = {"method": "internal", "masks": str(tmp_path / "tissues.nii.gz")}
    result = run(scan / "dicom", tmp_path / "run", case=case(calibration=internal))
    sample = next(s for s in result.calibration.samples if s.name == "muscle")
    assert sample.mean_HU == pytest.approx(np.median(ct[muscle]), abs=0.5)
    assert {i.role for i in result.inputs} == {"scan", "labels", "tissues"}
    assert str(tmp_path) not in (tmp_path / "run" / "case.json").read_text()
    wrong = LabelMap(labels.array, labels.grid, {7: "liver"})
    write(wrong, tmp_path / "tissues.nii.gz")
    with pytest.raises(InputError, match="a mask for 'liver'; allowed: air, adipose, muscle"):
        run(scan / "dicom", tmp_path / "run", case=case(calibration=internal))


def test_the_error_bar_rests_on_runs_with_other_lines(
    case: Callable[..., Case], scan: Path, tmp_path: Path
) -> None:
    stated = {"slope": 0.0008, "intercept": 0.01, "kind": "hydroxyapatite", "source": "a test"}
    covariance = ((1.6e-9, -2e-8), (-2e-8, 1e-4))
    first = case(calibration={**stated, "covariance": covariance})
    result = run(scan / "dicom", tmp_path / "run", case=first)
    line = Calibration(0.0008, 0.01, DensityKind.HA, "a test", covariance=covariance)
    assert result.strength_error is not None
    for (slope, intercept), found in zip(
        sigma_points(line), result.strength_error.strengths_N, strict=True
    ):
        other = case(calibration={**stated, "slope": slope, "intercept": intercept})
        (tmp_path / "case.yaml").write_text(other.model_dump_json(exclude_unset=True))
        again = solve_again(tmp_path / "run", tmp_path / "case.yaml")
        assert found == pytest.approx(again.strength_N, rel=2e-3)
        assert again.strength_error is None
        assert "no-error-bar" in codes(again)


def test_the_error_bar_is_left_out_if_it_is_not_wanted(
    case: Callable[..., Case], scan: Path, tmp_path: Path
) -> None:
    stated = {"slope": 0.0008, "intercept": 0.01, "source": "a test"}
    known = case(
        calibration={**stated, "kind": "hydroxyapatite", "covariance": ((1e-10, 0), (0, 1e-6))}
    )
    error = run(scan / "dicom", tmp_path / "line", case=known).strength_error
    assert error is not None
    assert (error.rests_on, error.moved_N) == ("calibration", ())
    plain = case(uncertainty={"calibration": False})
    assert run(scan / "dicom", tmp_path / "run", case=plain).strength_error is None
    assert json.loads((tmp_path / "run" / "uncertainty.json").read_text()) is None


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"kVp": 80.0, "kernel": "soft"}, "kvp-differs"),
        ({"kVp": 120.0, "kernel": "sharp"}, "kernel-differs"),
        ({"kernel": "soft"}, "kvp-unknown"),
        ({"kVp": 120.0}, "kernel-unknown"),
        ({"kVp": 120.0, "kernel": "soft"}, None),
    ],
)
def test_a_line_of_another_scanner_is_remarked(
    case: Callable[..., Case],
    scan: Path,
    tmp_path_factory: pytest.TempPathFactory,
    said: dict[str, Any],
    code: str | None,
) -> None:
    # the folder is shared by the cases: only what changed is done again
    folder = tmp_path_factory.getbasetemp() / "scanners"
    line = {"slope": 0.0008, "intercept": 0.01, "kind": "ash", "source": "a test", **said}
    result = run(scan / "dicom", folder, case=case(calibration=line))
    found = {c for c in codes(result) if c.startswith(("kvp", "kernel"))}
    assert found == ({code} if code else set())


def test_another_conversion_changes_the_density(
    case: Callable[..., Case], scan: Path, tmp_path: Path
) -> None:
    means = {}
    for name in ("schileo_2008", "kaneko_2004"):
        result = run(scan / "dicom", tmp_path / "run", case=case(material={"conversion": name}))
        means[name] = result.material.ash_density_g_cm3["mean"]
        conversion = result.material.law.parameters["conversion"]
        assert CONVERSIONS[name].description in conversion
    first, second = (CONVERSIONS[name] for name in means)
    ha = first.inverse()(np.array(means["schileo_2008"]))
    assert means["kaneko_2004"] == pytest.approx(float(second(ha)), rel=1e-3)


def test_a_wrong_conversion_is_refused_before_the_run(
    case: Callable[..., Case], scan: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="conversion 'kaneko' is unknown; known: keyak_1994"):
        run(scan / "dicom", tmp_path / "run", case=case(material={"conversion": "kaneko"}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", ["peel", "profile"])
def test_the_cortex_is_corrected_if_asked_for(
    case: Callable[..., Case], scan: Path, tmp_path: Path, way: str
) -> None:
    plain = run(scan / "dicom", tmp_path / "run", case=case())
    result = run(scan / "dicom", tmp_path / "run", case=case(material={"cortex": way}))
    assert result.material.cortex["method"] == way
    assert result.material.cortex["n_voxels_changed"] > 1000
    assert (tmp_path / "run" / "cortex.png").is_file() == (way == "profile")
    assert 1.005 < result.material.mineral.mask_g / plain.material.mineral.mask_g < 1.15
    assert result.strength_N > plain.strength_N

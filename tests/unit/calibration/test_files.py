"""The command `bonekit calibrate` and the case file it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bonekit.calibration import RodTable, calibrate, find_rods, user_table
from bonekit.calibration.files import table_of
from bonekit.case import read_case
from bonekit.cli import main
from bonekit.density import DensityKind
from bonekit.image import write
from bonekit.image.volume import Image

TABLE = user_table((0.0, 0.05, 0.1, 0.2, 0.4), DensityKind.K2HPO4)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, scan: Image) -> Path:
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    write(scan, path)
    return path


def test_the_command_writes_a_case_file(
    stored: Path, scan: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "calibration.yaml", tmp_path / "rods.png"
    assert not run("calibrate", stored, "--rods", "0,0.05,0.1,0.2,0.4", "-o", out, "--plot", plot)
    shown = capsys.readouterr().out
    fit = calibrate(find_rods(scan, 5), TABLE)
    errors = [f"standard error {e:.2g}" for e in (fit.slope_error, fit.intercept_error)]
    assert f"slope: {fit.slope:.6g} g/cm3 per HU, {errors[0]}" in shown
    assert f"intercept: {fit.intercept:.6g} g/cm3, {errors[1]}" in shown
    assert f"R2: {fit.r2:.6g}" in shown
    assert len(re.findall(r"rod \d from the right, .*: .* residual [+-]\d", shown)) == 5
    read = read_case(out).calibration
    assert (read.slope, read.intercept, read.kind) == (fit.slope, fit.intercept, "k2hpo4")
    assert (read.covariance, read.range_HU) == (fit.covariance, fit.range_HU)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert set(yaml.safe_load(out.read_text())) == {"calibration"}


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--rods", "0,50,100,200,400"], "Is it in mg/cm3", 2),
        (["--rods", "0;0.05"], "numbers in g/cm3 with commas", 2),
        (["--rods", "0,0.1", "--table", "qrm_bdc_3"], "got --table and --rods", 2),
        (["--internal", "--table", "qrm_bdc_3"], "got --internal and --table", 2),
        ([], "choose one of --internal, --table, --rods; got none", 2),
        (["--internal", "--diameter", "16"], "calibration.internal.diameter_mm", 2),
        (["--table", "osteo"], "there is no phantom 'osteo'", 2),
        (["--table", "qrm_bdc_6", "--diameter", "16"], "found 5 of 6", 1),
        (["--rods", "0.1,0,0.4,0.05,0.2", "--diameter", "16"], "don't lie on a line", 1),
    ],
)
def test_the_command_refuses(
    stored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
    code: int,
) -> None:
    out = tmp_path / "calibration.yaml"
    assert run("calibrate", stored, "-o", out, *words) == code
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_the_command_checks_where_it_writes_before_it_works(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", stored, "--rods", "0,0.05,0.1,0.2,0.4"]
    assert run(*words, "-o", tmp_path / "line.json") == 2
    assert run(*words, "-o", tmp_path / "a.yaml", "--plot", tmp_path / "no" / "a.png") == 2
    assert capsys.readouterr().err.count("can't write") == 2


def test_a_named_table_takes_a_diameter() -> None:
    made = table_of("b_mas_200", None, None, 20.0)
    assert isinstance(made, RodTable)
    assert (made.diameter_mm, made.kind) == (20.0, DensityKind.HA)

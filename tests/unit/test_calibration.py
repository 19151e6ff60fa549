"""Calibration rods in a scan: found, measured, and turned into a line with its error."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from bonekit.calibration import (
    TABLES,
    Rod,
    RodTable,
    calibrate,
    calibrate_scan,
    find_rods,
    table_named,
    user_table,
)
from bonekit.case import read_case
from bonekit.cli import main
from bonekit.density import Calibration, DensityKind, apply, density_image
from bonekit.errors import CalibrationError, InputError
from bonekit.image import write
from bonekit.image.volume import Grid, Image
from bonekit.phantom import BodyParameters, ScannerParameters, femur_phantom
from bonekit.pipeline import calibration_of

DENSITIES = (0.0, 0.05, 0.1, 0.2, 0.4)
TABLE = user_table(DENSITIES, DensityKind.K2HPO4)
# A rod of K2HPO4 looks like ash of 1.06 rho + 0.0389, which shows -30 + 1330 ash HU.
SLOPE = 1 / (1330 * 1.06)
INTERCEPT = (30 - 1330 * 0.0389) * SLOPE


def hu_of(density: float) -> float:
    return (density - INTERCEPT) / SLOPE


@dataclass(frozen=True)
class Scene:
    """A trunk on a pad with rods on a table, quick to scan."""

    hu: tuple[float, ...] = tuple(hu_of(density) for density in DENSITIES)
    pitch_mm: float = 24.0
    radius_mm: float = 8.0
    tilt: tuple[float, float] = (0.0, 0.0)  # mm along x and y for each mm along z
    bend_mm: float = 0.0  # how far the middle rod lies below the outer ones
    shift_mm: tuple[float, float] = (0.0, 0.0)  # of the row
    back_mm: float = 20.0  # where the trunk ends
    noise_HU: float = 15.0
    pad_HU: float = -80.0
    seed: int = 0
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 5.0)

    def axis(self, n: int) -> tuple[float, float]:
        """Place of a rod at z = 0."""
        middle = (len(self.hu) - 1) / 2
        bend = self.bend_mm * (1 - ((n - middle) / max(middle, 1)) ** 2)
        x = self.pitch_mm * (n - middle) + self.shift_mm[0]
        return x, 45.0 + bend + self.shift_mm[1]

    def scan(self) -> Image:
        """CT of 150 x 144 x 60 mm, the origin in its middle."""
        size = np.array([150.0, 144.0, 60.0])
        steps = np.array(self.spacing_mm)
        ni, nj, nk = (size / steps).astype(int)
        low = -(np.array([ni, nj, nk]) - 1) / 2 * steps
        fine = 3  # samples per voxel in plane
        x = (low[0] + (np.arange(ni * fine) - 1) * steps[0] / fine)[:, None]
        y = (low[1] + (np.arange(nj * fine) - 1) * steps[1] / fine)[None, :]
        generator = np.random.default_rng(self.seed)
        planes = []
        for k in range(nk):
            plane = self._plane(x, y, low[2] + k * steps[2])
            plane = ndimage.gaussian_filter(plane, 0.4 * fine)  # point spread: 1.4 mm wide
            coarse = plane.reshape(ni, fine, nj, fine).mean(axis=(1, 3))
            planes.append(coarse + generator.normal(0, self.noise_HU, coarse.shape))
        hu = np.clip(np.rint(np.stack(planes, axis=2)), -1024, 3071).astype(np.int16)
        return Image(hu, Grid.of(hu.shape, steps, low))

    def _plane(self, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        hu = np.full(np.broadcast_shapes(x.shape, y.shape), -1000.0)
        trunk = (x / 90) ** 2 + ((y - self.back_mm + 80) / 80) ** 2 < 1
        hu[trunk] = 50.0
        hu[np.hypot(x - 20, y + 30) < 14] = 1100.0  # a shaft, with its canal
        hu[np.hypot(x - 20, y + 30) < 8] = -40.0
        hu[(y > 30) & (y < 62) & (np.abs(x) < 70)] = self.pad_HU
        hu[np.broadcast_to((y > 62) & (y < 64), hu.shape)] = 150.0
        for n, value in enumerate(self.hu):
            x0, y0 = self.axis(n)
            near = np.hypot(x - x0 - self.tilt[0] * z, y - y0 - self.tilt[1] * z) < self.radius_mm
            hu[near] = value
        return hu


def check_line(fit_slope: float, fit_intercept: float, errors: tuple[float, float]) -> None:
    assert abs(fit_slope - SLOPE) < 3 * errors[0] < 0.02 * SLOPE
    assert abs(fit_intercept - INTERCEPT) < 3 * errors[1] < 0.005


@pytest.mark.parametrize(
    "scene",
    [
        Scene(),
        Scene(noise_HU=40.0, seed=1),
        Scene(tilt=(0.08, 0.05), seed=2),
        Scene(bend_mm=5.0, shift_mm=(4.0, 4.0), seed=3),
        Scene(pad_HU=-950.0, seed=4),
        Scene(spacing_mm=(0.75, 1.0, 2.5), seed=5),
        Scene(radius_mm=6.0, pitch_mm=20.0, seed=6),
    ],
    ids=["plain", "noise", "tilt", "bend", "air", "fine", "thin"],
)
@pytest.mark.parametrize("known", [True, False], ids=["given", "sought"])
def test_rods_are_found_and_give_the_true_line(scene: Scene, known: bool) -> None:
    rods = find_rods(scene.scan(), 5, 2 * scene.radius_mm if known else None)
    tilt = np.array([*scene.tilt, 1.0])
    for n, rod in enumerate(rods):
        assert np.hypot(*np.subtract(rod.centre_mm[:2], scene.axis(n))) < 0.4
        np.testing.assert_allclose(rod.axis, tilt / np.linalg.norm(tilt), atol=0.01)
        assert rod.mean_HU == pytest.approx(scene.hu[n], abs=0.12 * scene.noise_HU)
        assert rod.std_HU == pytest.approx(scene.noise_HU, rel=0.15)
        assert rod.diameter_mm == pytest.approx(2 * scene.radius_mm, abs=2)
    fit = calibrate(rods, TABLE)
    check_line(fit.slope, fit.intercept, (fit.slope_error, fit.intercept_error))
    assert fit.r2 > 0.9995
    assert not fit.reversed


def test_the_core_is_free_of_partial_volume() -> None:
    rods = find_rods(Scene(noise_HU=0.0).scan(), 5, 16.0)
    np.testing.assert_allclose([rod.mean_HU for rod in rods], Scene().hu, atol=0.6)


def test_rods_under_a_femur() -> None:
    body = BodyParameters(rods_g_cm3=DENSITIES[::-1], table=True)
    made = femur_phantom(body=body, scanner=ScannerParameters(spacing_mm=(1.5, 1.5, 6.0)))
    fit = calibrate(find_rods(made.ct, 5), TABLE)
    for rod, true in zip(fit.rods, made.truth["rods"], strict=True):
        assert np.hypot(*np.subtract(rod.centre_mm, true["point_mm"])[:2]) < 0.3
    check_line(fit.slope, fit.intercept, (fit.slope_error, fit.intercept_error))
    assert fit.reversed
    assert fit.densities_g_cm3 == DENSITIES[::-1]


def test_the_storage_order_of_the_voxels_does_not_matter() -> None:
    ct = Scene(tilt=(0.05, 0.0)).scan()
    affine = ct.affine.copy()
    affine[:3, 3] = ct.grid.world([ct.shape[0] - 1, 0, ct.shape[2] - 1])
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    array = ct.array[::-1, :, ::-1].transpose(2, 0, 1)
    stored = Image(array, Grid(array.shape, affine[:, [2, 0, 1, 3]]))
    assert find_rods(stored, 5, 16.0) == find_rods(ct, 5, 16.0)


# what can't be measured is refused


def test_no_rods() -> None:
    with pytest.raises(
        CalibrationError, match="found no row of 5 calibration rods beside the patient"
    ):
        find_rods(Scene(hu=()).scan(), 5)


def test_fewer_rods_than_asked_for() -> None:
    ct = Scene(hu=Scene().hu[:3]).scan()
    with pytest.raises(
        CalibrationError, match=r"found 3 of 4 calibration rods behind the patient\. Check"
    ):
        find_rods(ct, 4, 16.0)


def test_more_rods_than_asked_for() -> None:
    with pytest.raises(
        CalibrationError, match="found 5 or more calibration rods where 4 densities"
    ):
        find_rods(Scene().scan(), 4, 16.0)


@pytest.mark.parametrize("shift", [20.5, 36.0])
def test_a_rod_cut_by_the_field_of_view(shift: float) -> None:
    ct = Scene(shift_mm=(shift, 0.0)).scan()
    with pytest.raises(CalibrationError, match="cut by the field of view"):
        find_rods(ct, 5, 16.0)


def test_a_rod_cut_by_a_round_field_of_view() -> None:
    ct = Scene().scan()
    outside = np.hypot(*ct.grid.points()[..., :2].transpose(3, 0, 1, 2)) > 69.5
    ct = ct.with_array(np.where(outside, -1024, ct.array).astype(np.int16))
    with pytest.raises(
        CalibrationError, match=r"rod 1 .* is cut by the field of view .* in 12 of 12 slices"
    ):
        find_rods(ct, 5, 16.0)


def test_a_saturated_rod() -> None:
    with pytest.raises(CalibrationError, match="rod 5 from the patient's right is saturated"):
        find_rods(Scene(hu=(*Scene().hu[:4], 3071.0)).scan(), 5, 16.0)


def test_rods_pressed_into_the_body() -> None:
    # rods of nearly the HU of muscle, half in it
    scene = Scene(hu=(30.0, 55.0, 60.0, 70.0, 90.0), shift_mm=(0.0, -13.0), back_mm=36.0)
    with pytest.raises(
        CalibrationError, match="rod 2 from the patient's right touches or overlaps"
    ):
        find_rods(scene.scan(), 5, 16.0)


def test_voxels_too_large_for_the_rods() -> None:
    with pytest.raises(InputError, match=r"rods of 6 mm can't be measured with voxels of 1.50 mm"):
        find_rods(Scene().scan(), 5, 6.0)


def test_one_rod_is_no_phantom() -> None:
    with pytest.raises(InputError, match="a line needs at least 2"):
        find_rods(Scene().scan(), 1)


# the line


def rods_of(*hu: float, sem: float = 0.3) -> tuple[Rod, ...]:
    return tuple(
        Rod((24.0 * n, 0.0, 0.0), (0.0, 0.0, 1.0), 16.0, value, 15.0, sem, 1000)
        for n, value in enumerate(hu)
    )


def test_regression_agrees_with_numpy() -> None:
    hu = np.array([10.0, 95.0, 160.0, 310.0, 580.0])
    fit = calibrate(rods_of(*hu), TABLE)
    line, covariance = np.polyfit(hu, DENSITIES, 1, cov=True)
    np.testing.assert_allclose((fit.slope, fit.intercept), line)
    np.testing.assert_allclose(fit.covariance, covariance)
    assert fit.r2 == pytest.approx(np.corrcoef(hu, DENSITIES)[0, 1] ** 2)
    np.testing.assert_allclose(fit.residuals_g_cm3, np.polyval(line, hu) - DENSITIES)
    assert fit.range_HU == (10.0, 580.0)


def test_two_rods_have_the_error_of_their_means() -> None:
    fit = calibrate(rods_of(0.0, 1000.0, sem=2.0), user_table((0.0, 0.7), DensityKind.HA))
    assert fit.slope_error == pytest.approx(0.0007 * 2.0 * np.sqrt(2) / 1000)
    assert fit.intercept_error == pytest.approx(0.0007 * 2.0)


def test_a_perfect_fit_is_not_without_error() -> None:
    fit = calibrate(rods_of(*map(hu_of, DENSITIES)), TABLE)
    assert fit.slope == pytest.approx(SLOPE)
    assert fit.slope_error > 1e-4 * SLOPE


def test_mindways_rods_agree_with_ogo() -> None:
    """HU and results of Ogo's own test of its Mindways calibration (Bonelab/Ogo)."""
    hu = [-69.54917011727602, -35.378190313384316, 176.71197512467555]
    hu += [345.73809215407005, 462.93637565619906]
    for given in (hu, hu[::-1]):
        fit = calibrate(rods_of(*given), table_named("mindways_model_3"))
        assert fit.slope == pytest.approx(0.8002826626918712e-3, rel=1e-9)
        assert fit.intercept == pytest.approx(8.122906532849933e-3, rel=1e-9)
        assert fit.r2 == pytest.approx(0.9998533422632067**2, rel=1e-9)
        assert fit.reversed == (given is not hu)


def test_mindways_errors_are_those_of_repeated_scans() -> None:
    """Delta method against repeated draws of the rods' HU."""
    table = table_named("mindways_model_3")
    true = [
        1000 * w + 1467 * d - 1010
        for w, d in zip(table.water_g_cm3, table.densities_g_cm3, strict=True)
    ]
    generator = np.random.default_rng(0)
    fits = [calibrate(rods_of(*generator.normal(true, 3.0)), table) for _ in range(2000)]
    spread = np.cov(np.array([(fit.slope, fit.intercept) for fit in fits]).T)
    expected = np.array(calibrate(rods_of(*true, sem=3.0), table).covariance)
    np.testing.assert_allclose(expected, spread, rtol=0.1)


def test_rods_out_of_order() -> None:
    hu = [hu_of(density) for density in (0.1, 0.0, 0.4, 0.05, 0.2)]
    with pytest.raises(CalibrationError, match=r"don't lie on a line: R2 is 0\.\d+, at least 0.98"):
        calibrate(rods_of(*hu), TABLE)


def test_r2_just_below_the_limit() -> None:
    def bent(by: float) -> tuple[Rod, ...]:
        return rods_of(0.0, 100.0 + by, 200.0 - by, 300.0)

    table = user_table((0.0, 0.1, 0.2, 0.3), DensityKind.HA)
    assert 0.98 < calibrate(bent(20.0), table).r2 < 0.985
    with pytest.raises(CalibrationError, match=r"at least 0\.98"):
        calibrate(bent(23.0), table)


def test_hu_that_do_not_rise_with_density() -> None:
    with pytest.raises(CalibrationError, match="wrong sign"):
        calibrate(rods_of(300.0, 0.0, 300.0), user_table((0.0, 0.3, 0.0), DensityKind.HA))


def test_an_ambiguous_order() -> None:
    table = user_table((0.0, 0.4, 0.001), DensityKind.HA)
    with pytest.raises(CalibrationError, match="order of the rods is ambiguous"):
        calibrate(rods_of(0.0, 400.0, 0.5), table)
    same = user_table((0.0, 0.4, 0.0), DensityKind.HA)
    assert calibrate(rods_of(0.0, 400.0, 0.5), same).slope == pytest.approx(0.001, rel=0.01)


def test_a_number_of_rods_that_is_not_the_tables() -> None:
    with pytest.raises(CalibrationError, match="2 rods were measured, table user lists 5"):
        calibrate(rods_of(0.0, 100.0), TABLE)


def test_rods_of_one_hu() -> None:
    with pytest.raises(CalibrationError, match="all 5 rods measure 100 HU"):
        calibrate(rods_of(*[100.0] * 5), TABLE)


# the error of the density


def test_the_error_of_a_mean_density_is_that_of_repeated_calibrations() -> None:
    fit = calibrate(find_rods(Scene(noise_HU=40.0).scan(), 5, 16.0), TABLE)
    line = replace(fit.calibration(), covariance=tuple(map(tuple, 400 * np.array(fit.covariance))))
    ct = Image(
        np.array([-50, 300, 1200, 700], dtype=np.int16).reshape(2, 2, 1), Grid.of((2, 2, 1), 1.0)
    )
    mean = Image(np.full((1, 1, 1), ct.array.mean()), Grid.of((1, 1, 1), 1.0))
    analytic = apply(mean, line).standard_error.array.item()
    drawn = np.random.default_rng(0).multivariate_normal(
        (line.slope, line.intercept), line.covariance, 20000
    )
    means = [density_image(ct, replace(line, slope=a, intercept=b)).array.mean() for a, b in drawn]
    assert np.std(means) == pytest.approx(analytic, rel=0.02)
    # without the covariance of slope and intercept it would be another
    (a, _), (_, c) = line.covariance
    assert np.sqrt(a * ct.array.mean() ** 2 + c) > 1.1 * analytic


def test_without_covariance_there_is_no_error() -> None:
    with pytest.raises(CalibrationError, match=r"typed in.*has no covariance"):
        Calibration(0.0008, 0.0, DensityKind.HA, "typed in").standard_error(np.zeros(3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"covariance": ((1e-12, 0.0), (0.0, -1e-8))},
        {"covariance": ((1e-12, 1e-9), (0.0, 1e-4))},
        {"covariance": ((1e-12, 1e-7), (1e-7, 1e-8))},
        {"covariance": ((np.nan, 0.0), (0.0, 1e-8))},
        {"range_HU": (500.0, 0.0)},
    ],
    ids=["negative", "skew", "too correlated", "nan", "range"],
)
def test_what_is_no_covariance_or_range_is_refused(wrong: dict) -> None:
    with pytest.raises(CalibrationError, match=r"covariance|range_HU"):
        Calibration(0.0008, 0.0, DensityKind.HA, "typed in", **wrong)


# tables


def test_every_table_says_where_it_comes_from() -> None:
    for name, table in TABLES.items():
        assert table is table_named(name)
        assert "Ogo" in table.source or "from memory" in table.source
        assert "not checked" in table.source
    with pytest.raises(InputError, match="there is no phantom 'osteo'; known: mindways_model_3"):
        table_named("osteo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"densities_g_cm3": (0.1,)}, "at least two"),
        ({"densities_g_cm3": (0.1, 0.1)}, "at least two"),
        ({"densities_g_cm3": (0.0, 200.0)}, "Is it in mg/cm3"),
        ({"water_g_cm3": (1.0,)}, "1 water densities for 5 rods"),
        ({"water_g_cm3": (1.0, 1.0, 1.0, 1.0, 1012.0)}, "Is it in mg/cm3"),
        ({"diameter_mm": 1.6}, "allowed: 5 to 50"),
    ],
)
def test_a_wrong_table_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TABLE, **change)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_gives_the_line_its_rods_were_scanned_with(name: str) -> None:
    table, slope, intercept = TABLES[name], 0.0008, 0.005
    hu = [(density - intercept) / slope for density in table.densities_g_cm3]
    if table.water_g_cm3 is not None:
        sigma, beta = 1e-3 / slope + 0.2174, -intercept / slope - 999.6
        rods = zip(table.densities_g_cm3, table.water_g_cm3, strict=True)
        hu = [1000 * water + sigma * 1000 * density + beta for density, water in rods]
    scene = Scene(hu=tuple(hu), pitch_mm=22.0, radius_mm=7.0, pad_HU=-200.0)
    fit = calibrate(find_rods(scene.scan(), len(hu)), table)
    assert abs(fit.slope - slope) < 3 * fit.slope_error < 0.02 * slope
    assert abs(fit.intercept - intercept) < 3 * fit.intercept_error < 0.005


def test_a_rod_that_looks_like_the_pad_is_not_guessed() -> None:
    ct = Scene(hu=(-80.0, *Scene().hu[1:])).scan()
    with pytest.raises(CalibrationError, match="found 4 of 5 calibration rods"):
        find_rods(ct, 5, 16.0)
    with pytest.raises(CalibrationError, match=r"found 4 of 5 .* HU off the line of the others"):
        calibrate_scan(ct, TABLE)


# the command


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    write(Scene().scan(), path)
    return path


def test_the_command_writes_a_case_file(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "calibration.yaml", tmp_path / "rods.png"
    assert not run("calibrate", stored, "--rods", "0,0.05,0.1,0.2,0.4", "-o", out, "--plot", plot)
    shown = capsys.readouterr().out
    fit = calibrate(find_rods(Scene().scan(), 5), TABLE)
    assert f"slope: {fit.slope:.6g} +/- {fit.slope_error:.2g} g/cm3 per HU" in shown
    assert f"intercept: {fit.intercept:.6g} +/- {fit.intercept_error:.2g} g/cm3" in shown
    assert f"R2: {fit.r2:.6f}" in shown
    assert len(re.findall(r"rod \d from the right: .* residual [+-]\d", shown)) == 5
    line = calibration_of(read_case(out))
    assert line == replace(fit.calibration(), covariance=None, range_HU=None)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert set(yaml.safe_load(out.read_text())) == {"calibration"}


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--rods", "0,50,100,200,400"], "Is it in mg/cm3", 2),
        (["--rods", "0;0.05"], "numbers in g/cm3 with commas", 2),
        (["--rods", "0,0.1", "--table", "qrm_bdc_3"], "give either", 2),
        ([], "give either", 2),
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
    from bonekit.calibration.files import rod_table

    made = rod_table(None, "k2hpo4", "b_mas_200", 20.0)
    assert isinstance(made, RodTable)
    assert (made.diameter_mm, made.kind) == (20.0, DensityKind.HA)

import logging
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, check_hu, list_series, read, scan_info, write_dicom


def edit(folder: Path, change, files=None) -> None:
    """Apply ``change(dataset, index)`` to the files of a folder."""
    for n, file in enumerate(files or sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        change(dataset, n)
        dataset.save_as(file)


def test_real_series_equals_its_nifti(data: Path, same_world):
    series = read(data / "ct-femur" / "dicom" / "STS_040_CT")
    same_world(series, read(data / "ct-femur" / "STS_040_CT.nii.gz"))


def test_file_names_do_not_matter(ct, series, same_world):
    for n, file in enumerate(sorted(series.iterdir())):
        file.rename(series / f"x{(n * 3) % 5}")
    edit(series, lambda d, n: setattr(d, "InstanceNumber", (n * 2) % 5))
    same_world(ct, read(series))


def test_one_file_stands_for_its_series(ct, series, same_world):
    write_dicom(ct.crop((0, 0, 0), (9, 7, 2)), series.parent / "other")
    for file in (series.parent / "other").iterdir():
        file.rename(series / f"other-{file.name}")
    same_world(ct, read(series / "00003.dcm"))
    assert read(series / "other-00001.dcm").shape == (9, 7, 2)


def test_missing_slice_is_named(ct, series):
    (series / "00003.dcm").unlink()
    x, y, z = ct.grid.world((0, 0, 2))
    with pytest.raises(InputError, match=rf"1 slices are missing.*\({x:.2f}, {y:.2f}, {z:.2f}\)"):
        read(series)


def test_uneven_steps(series):
    def change(dataset, n):
        axes = np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3))
        moved = np.array(dataset.ImagePositionPatient, float) + 0.9 * (n == 2) * np.cross(*axes)
        dataset.ImagePositionPatient = [f"{x:.8g}" for x in moved]

    edit(series, change)
    with pytest.raises(InputError, match="unevenly spaced"):
        read(series)


def test_repeated_slice_is_dropped(ct, series, same_world, caplog):
    shutil.copy(series / "00002.dcm", series / "copy.dcm")
    with caplog.at_level(logging.WARNING):
        same_world(ct, read(series))
    assert "left out 1 slices that repeat" in caplog.text


def test_different_slice_at_the_same_place(series):
    def change(dataset, n):
        dataset.PixelData = bytes(len(dataset.PixelData))

    shutil.copy(series / "00002.dcm", series / "copy.dcm")
    edit(series, change, [series / "copy.dcm"])
    with pytest.raises(InputError, match="two slices with different pixels"):
        read(series)


def test_two_series(ct, series, same_world, caplog):
    small = ct.crop((0, 0, 1), (9, 7, 4))
    write_dicom(small, series / "sub", series_uid="1.2.3", kernel="sharp")
    listed = list_series(series)
    assert [(s.n_slices, s.modality) for s in listed] == [(5, "CT"), (3, "CT")]
    assert listed[1].uid == "1.2.3"
    np.testing.assert_allclose(listed[1].spacing_mm, ct.spacing_mm, atol=1e-6)
    assert listed[1].files[0].parts[0] == "sub"
    with caplog.at_level(logging.WARNING):
        same_world(ct, read(series))
    assert "took the largest" in caplog.text
    same_world(small, read(series, series_uid="1.2.3"))
    assert scan_info(series, "1.2.3").kernel == "sharp"
    with pytest.raises(InputError, match=r"no series '7'; present: .*1\.2\.3"):
        read(series, series_uid="7")


def test_equally_large_series_are_not_guessed(ct, series):
    write_dicom(ct, series / "sub")
    with pytest.raises(InputError, match="equally large"):
        read(series)


def test_mixed_orientation(series):
    def change(dataset, n):
        if n == 4:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    edit(series, change)
    with pytest.raises(InputError, match="mixes 2 kinds of slices"):
        read(series)


def test_localizer_is_left_out(ct, series, same_world, caplog):
    def change(dataset, n):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    shutil.copy(series / "00002.dcm", series / "scout.dcm")
    edit(series, change, [series / "scout.dcm"])
    with caplog.at_level(logging.WARNING):
        same_world(ct, read(series))
    assert "left out 1 localizer" in caplog.text


@pytest.mark.parametrize("degrees", [12.0, -20.0])
def test_gantry_tilt_is_straightened(tmp_path: Path, degrees, caplog):
    """A field linear in the world is met exactly after a shear correction."""
    grid = Grid.of((24, 30, 12), (1.0, 1.5, 2.0), (-10, 20, -300))
    write_dicom(Image(np.zeros(grid.shape, np.int16), grid), tmp_path / "tilt")
    slope = np.tan(np.radians(degrees))

    def change(dataset, n):
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        y += slope * (z + 300)
        dataset.ImagePositionPatient = [f"{v:.9g}" for v in (x, y, z)]
        i, j = np.meshgrid(np.arange(24), np.arange(30))
        # stored = HU + 1024; HU = 10 x + 8 (y + z), whole numbers on the tilted lattice or rounded
        stored = np.rint(1024 + 10 * (x + i) + 8 * (y + 1.5 * j) + 2 * z)
        dataset.PixelData = stored.astype("<i2").tobytes()

    edit(tmp_path / "tilt", change)
    with caplog.at_level(logging.WARNING):
        straight = read(tmp_path / "tilt")
    assert f"leans by {abs(degrees):.2f} degrees" in caplog.text
    np.testing.assert_allclose(straight.grid.direction, np.eye(3), atol=1e-9)
    points = straight.grid.points()
    expected = 10 * points[..., 0] + 8 * points[..., 1] + 2 * points[..., 2]
    y0 = 20 + slope * (points[..., 2] + 300)  # where each slice begins
    inside = (points[..., 1] >= y0) & (points[..., 1] <= y0 + 1.5 * 29)
    assert inside.sum() >= 24 * 29 * 12
    np.testing.assert_allclose(straight.array[inside], expected[inside], atol=0.51)
    assert (straight.array[~inside] <= straight.array[inside].min()).all()


def test_each_slice_has_its_own_rescale(ct, series, same_world):
    def change(dataset, n):
        stored = dataset.pixel_array.astype(int)
        dataset.RescaleIntercept = -1024 - 10 * n
        dataset.PixelData = (stored + 10 * n).astype("<i2").tobytes()

    edit(series, change)
    same_world(ct, read(series))


def test_missing_rescale_is_seen(series):
    def change(dataset, n):
        del dataset.RescaleIntercept
        del dataset.RescaleSlope

    edit(series, change)
    with pytest.raises(InputError, match="rescale slope and intercept"):
        check_hu(read(series))


def test_zip(ct, series, same_world, tmp_path: Path):
    archive = tmp_path / "series.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in series.iterdir():
            out.write(file, f"deep/er/{file.name}")
        out.writestr("readme.txt", "no image")
    same_world(ct, read(archive))
    assert list_series(archive)[0].n_slices == 5
    assert scan_info(archive).kVp == 120


@pytest.mark.parametrize("name", ["../evil.dcm", "/evil.dcm", "a\\..\\..\\evil.dcm", "C:/evil.dcm"])
def test_zip_stays_in_its_folder(tmp_path: Path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as out:
        out.writestr(name, b"x")
    with pytest.raises(InputError, match="outside of its folder"):
        read(tmp_path / "bad.zip")


def test_damaged_zip(tmp_path: Path):
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="readable zip"):
        read(tmp_path / "bad.zip")


@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_truncated_slice(series, keep):
    file = series / "00003.dcm"
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    with pytest.raises(InputError, match="damaged"):
        read(series)


def test_truncated_last_slice_is_not_dropped(series):
    file = series / "00005.dcm"
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(InputError, match="damaged"):
        read(series)


def test_multi_frame_is_refused(series):
    def change(dataset, n):
        dataset.NumberOfFrames = 2
        dataset.PixelData = dataset.PixelData * 2

    edit(series, change)
    with pytest.raises(InputError, match="multi-frame"):
        read(series)


def test_slices_without_position(series):
    def change(dataset, n):
        del dataset.ImagePositionPatient

    edit(series, change)
    with pytest.raises(InputError, match="do not say where they lie"):
        read(series)


def test_single_slice(series):
    for file in sorted(series.iterdir())[1:]:
        file.unlink()
    with pytest.raises(InputError, match="single slice"):
        read(series)


def test_folder_without_dicom(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="no DICOM image among the 1 files"):
        read(tmp_path)


def test_nothing_there(tmp_path: Path):
    with pytest.raises(InputError, match="there is no file or folder"):
        read(tmp_path / "absent")


def test_scan_info(series):
    info = scan_info(series)
    assert (info.modality, info.kVp, info.kernel) == ("CT", 120.0, "B30f")
    assert (info.slice_thickness_mm, info.manufacturer) == (2.5, "bonekit")
    assert not info.contrast_agent


def test_the_patient_is_never_named(ct, series, caplog):
    secrets = ("Muster", "4711", "19700102", "HIP LEFT", "20240203", "Klinikum")

    def change(dataset, n):
        dataset.PatientName, dataset.PatientID = "Muster^Erika", "ID-4711"
        dataset.PatientBirthDate, dataset.StudyDate = "19700102", "20240203"
        dataset.SeriesDescription = dataset.StudyDescription = "HIP LEFT Muster"
        dataset.InstitutionName = "Klinikum"

    write_dicom(ct.crop((0, 0, 1), (9, 7, 4)), series / "sub")
    edit(series, change, sorted(series.rglob("*.dcm")))
    with caplog.at_level(logging.DEBUG):
        said = f"{read(series)!r} {list_series(series)!r} {scan_info(series)!r}"
    (series / "00003.dcm").unlink()
    with pytest.raises(InputError) as error:
        read(series)
    assert "took the largest" in caplog.text
    said += caplog.text + str(error.value)
    assert not [secret for secret in secrets if secret in said]

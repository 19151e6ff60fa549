import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bonekit.errors import InputError
from bonekit.image import Grid, Image, read, write

BIG_GRID = Grid.of((30, 31, 32), (1, 2, 3), (10, 20, 30))


@pytest.fixture
def image() -> Image:
    values = np.random.default_rng(3).integers(-1000, 1000, BIG_GRID.shape)
    return Image(values.astype(np.int16), BIG_GRID)


@pytest.fixture
def patched(image, tmp_path: Path):
    """Write a NIfTI file, then overwrite parts of its header."""

    def make(*patches: tuple[int, str, tuple[float, ...]]) -> Path:
        path = tmp_path / "patched.nii"
        write(image, path)
        content = bytearray(path.read_bytes())
        for offset, layout, values in patches:
            struct.pack_into(layout, content, offset, *values)
        path.write_bytes(content)
        return path

    return make


CODES = 252  # qform_code, sform_code
SROW_X = 280


def test_sform_and_qform_disagree(patched):
    with pytest.raises(InputError, match=r"qform and sform .* up to 5 mm apart"):
        read(patched((SROW_X + 12, "<f", (-15.0,))))


def test_slight_disagreement_is_accepted(image, patched):
    back = read(patched((SROW_X + 12, "<f", (-10.05,))))
    np.testing.assert_allclose(back.grid.origin_mm, [10.05, 20, 30], atol=1e-5)


def test_qform_alone(image, patched):
    back = read(patched((CODES, "<hh", (1, 0)), (SROW_X, "<12f", (0.0,) * 12)))
    assert back.grid.same_as(image.grid)


def test_sform_alone(image, patched):
    back = read(patched((CODES, "<hh", (0, 2)), (256, "<3f", (0.5, 0.5, 0.5))))
    assert back.grid.same_as(image.grid)


def test_no_orientation(patched):
    with pytest.raises(InputError, match="left and right are unknown"):
        read(patched((CODES, "<hh", (0, 0))))


def test_sheared_sform(patched):
    with pytest.raises(InputError, match="sheared"):
        read(patched((CODES, "<hh", (0, 1)), (SROW_X + 4, "<f", (0.5,))))


def test_metres(image, patched):
    path = patched((123, "<B", (1,)))
    np.testing.assert_allclose(read(path).spacing_mm, 1000 * image.spacing_mm)


def test_oblique_qform_agrees_with_an_independent_reader(ct, tmp_path: Path):
    """ITK reads the qform on its own when the sform is absent."""
    write(ct, tmp_path / "q.nii")
    content = bytearray((tmp_path / "q.nii").read_bytes())
    struct.pack_into("<hh", content, CODES, 1, 0)
    (tmp_path / "q.nii").write_bytes(content)
    itk = sitk.ReadImage(str(tmp_path / "q.nii"))
    back = read(tmp_path / "q.nii")
    last = [n - 1 for n in ct.shape]
    point = itk.TransformIndexToPhysicalPoint(last)
    np.testing.assert_allclose(back.grid.world(last), point, atol=1e-4)
    assert back.grid.same_as(ct.grid)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_file(image, tmp_path: Path, suffix):
    path = tmp_path / f"cut{suffix}"
    write(image, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"ends early|cut short|can't be read"):
        read(path)


def test_corrupt_gzip(image, tmp_path: Path):
    path = tmp_path / "bad.nii.gz"
    write(image, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".dcm", ".xyz"])
def test_not_an_image(tmp_path: Path, suffix):
    (tmp_path / f"text{suffix}").write_text("this is no image")
    with pytest.raises(InputError, match=f"text{suffix}"):
        read(tmp_path / f"text{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_four_dimensions(tmp_path: Path, suffix):
    frame = sitk.Image(3, 4, 5, sitk.sitkInt16)
    sitk.WriteImage(sitk.JoinSeries([frame, frame]), str(tmp_path / f"four{suffix}"))
    with pytest.raises(InputError, match="dimension"):
        read(tmp_path / f"four{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_vector_image(tmp_path: Path, suffix):
    field = sitk.Image([3, 4, 5], sitk.sitkVectorFloat32, 3)
    sitk.WriteImage(field, str(tmp_path / f"field{suffix}"))
    with pytest.raises(InputError, match=r"per voxel|dimensions"):
        read(tmp_path / f"field{suffix}")


def nrrd(path: Path, space: str, directions: str) -> Path:
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\n{space}\nsizes: 4 5 6\n"
        f"space directions: {directions}\nkinds: domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (1,2,3)\n\n"
    )
    path.write_bytes(header.encode() + np.arange(120, dtype="<i2").tobytes())
    return path


def test_nrrd_in_another_frame(tmp_path: Path):
    path = nrrd(tmp_path / "a.nrrd", "space: right-anterior-superior", "(1,0,0) (0,2,0) (0,0,3)")
    back = read(path)
    np.testing.assert_allclose(back.grid.world((1, 1, 1)), [-2, -4, 6])
    assert back.array[1, 1, 1] == 1 + 4 + 20


@pytest.mark.parametrize("space", ["space dimension: 3", "space: scanner-xyz"])
def test_nrrd_without_patient_frame(tmp_path: Path, space):
    with pytest.raises(InputError, match="'space' is"):
        read(nrrd(tmp_path / "a.nrrd", space, "(1,0,0) (0,2,0) (0,0,3)"))


def test_sheared_nrrd(tmp_path: Path):
    space = "space: left-posterior-superior"
    with pytest.raises(InputError, match="sheared"):
        read(nrrd(tmp_path / "a.nrrd", space, "(1,0,0) (0.5,2,0) (0,0,3)"))


def test_big_endian_nifti_2(image, tmp_path: Path):
    """Written by hand after the standard: 540 bytes, int64 dimensions, double geometry."""
    header = bytearray(544)
    struct.pack_into(
        ">i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16, 3, *image.shape, *[1] * 4
    )
    struct.pack_into(">8d", header, 104, 1, 1, 2, 3, 0, 0, 0, 0)
    struct.pack_into(">q", header, 168, 544)
    struct.pack_into(">2i", header, 344, 0, 1)
    struct.pack_into(">12d", header, 400, -1, 0, 0, -10, 0, -2, 0, -20, 0, 0, 3, 30)
    struct.pack_into(">i", header, 500, 2)
    path = tmp_path / "two.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + image.array.T.astype(">i2").tobytes()))
    back = read(path)
    assert back.grid.same_as(image.grid)
    np.testing.assert_array_equal(back.array, image.array)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(2.0, -1024.0, np.int16), (0.5, 10.0, np.float32)]
)
def test_scaling_is_applied(image, patched, slope, intercept, dtype):
    back = read(patched((112, "<2f", (slope, intercept))))
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, image.array * slope + intercept)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_scaling(image, patched, slope):
    np.testing.assert_array_equal(read(patched((112, "<f", (slope,)))).array, image.array)


def test_nan_is_not_turned_into_zero(image, tmp_path: Path):
    values = image.array.astype(np.float32)
    values[1, 2, 3] = np.nan
    write(Image(values, image.grid), tmp_path / "nan.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "nan.nii.gz").array, values)


def test_colour_nifti(tmp_path: Path):
    sitk.WriteImage(sitk.Image([3, 4, 5], sitk.sitkVectorUInt8, 3), str(tmp_path / "rgb.nii"))
    content = bytearray((tmp_path / "rgb.nii").read_bytes())
    struct.pack_into("<8h", content, 40, 3, 3, 4, 5, 1, 1, 1, 1)
    struct.pack_into("<h", content, 70, 128)
    (tmp_path / "rgb.nii").write_bytes(content)
    with pytest.raises(InputError, match="type 128"):
        read(tmp_path / "rgb.nii")

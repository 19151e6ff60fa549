from pathlib import Path

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.image import Grid, Image, check_hu, read


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(4).normal(100, 400, (6, 7, 8)).clip(-1000, 2000)


def image(values: np.ndarray, spacing=(1.0, 1.0, 3.0)) -> Image:
    return Image(values, Grid.of(values.shape, spacing))


@pytest.mark.parametrize(
    "path",
    [
        "ct-femur/STS_001_CT.nii.gz",
        "ct-femur/STS_015_CT.nii.gz",
        "ct-pelvis-spine/example_ct.nii.gz",
        "ct-vertebra/sub-ct_label-22_ct.nii.gz",
    ],
)
def test_real_scans_pass(data: Path, path):
    check_hu(read(data / path))


@pytest.mark.parametrize("path", ["ct-femur/STS_001_MR_T1.nii.gz", "ct-femur/STS_040_MR_T1.nii.gz"])
def test_an_mri_is_refused(data: Path, path):
    with pytest.raises(InputError, match="MRI"):
        check_hu(read(data / path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v + 1024, "rescale slope and intercept"),
        (lambda v: v.clip(0, 255), "8-bit"),
        (lambda v: (v + 1000) / 3000, "normalised"),
        (lambda v: (v - 100) / 400, "normalised"),
        (lambda v: 0.2 * (1 + v / 1000), "attenuation"),
        (lambda v: v * 0, "All voxels are equal"),
        (lambda v: v - 3000, "intercept applied twice"),
        (lambda v: v * 100, "Allowed: -4096"),
        (lambda v: np.where(v < 0, 0, v), "MRI"),
    ],
)
def test_not_in_hu(values, change, message):
    check_hu(image(values))
    with pytest.raises(InputError, match=message):
        check_hu(image(change(values)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(values, bad):
    values[1, 2, 3] = bad
    with pytest.raises(InputError, match="1 of 336 voxels"):
        check_hu(image(values))


@pytest.mark.parametrize("spacing", [(0.001, 0.001, 0.003), (1.0, 1.0, 30.0)])
def test_absurd_voxels(values, spacing):
    with pytest.raises(InputError, match="metres"):
        check_hu(image(values, spacing))

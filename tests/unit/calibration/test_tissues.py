"""Tissues found in drawn slices."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.calibration.tissues import TissueSample, find_tissues, sample_tissues, typical
from bonekit.errors import CalibrationError, InputError
from bonekit.image import Grid, Image

HU = {"air": -1000.0, "adipose": -98.0, "muscle": 52.0, "cortical_bone": 1350.0}


def leg(noise_HU: float = 20.0, *, spacing_mm: float = 1.0, cortex_mm: float = 6.0) -> Image:
    """A round leg: fat, muscle, and a shaft with marrow, in 20 slices of 3 mm."""
    size = round(160 / spacing_mm)
    grid = Grid.of((size, size, 20), (spacing_mm, spacing_mm, 3.0))
    x = (np.arange(size) - (size - 1) / 2) * spacing_mm
    radius = np.hypot(x[:, None], x)
    plane = np.full((size, size), HU["air"])
    outer = 15.0
    for limit, hu in ((70, HU["adipose"]), (55, HU["muscle"]), (outer, HU["cortical_bone"])):
        plane[radius < limit] = hu
    plane[radius < outer - cortex_mm] = -60.0  # yellow marrow
    plane = ndimage.gaussian_filter(plane, 0.6 / spacing_mm)
    grain = np.random.default_rng(3).normal(0, noise_HU, grid.shape)
    return Image(np.rint(plane[..., None] + grain).astype(np.int16), grid)


def seen(ct: Image) -> dict[str, TissueSample]:
    return sample_tissues(ct)


@pytest.mark.parametrize("noise_HU", [0.0, 15.0, 40.0])
def test_a_leg_is_measured(noise_HU: float) -> None:
    samples = seen(leg(noise_HU))
    assert list(samples) == list(HU)
    for name, hu in HU.items():
        tolerance = 12 if name == "cortical_bone" else 1.5
        assert samples[name].mean_HU == pytest.approx(hu, abs=tolerance), name
        assert samples[name].sem_HU < 4


def test_the_error_of_a_mean_is_not_too_small() -> None:
    """Means of independent noise scatter as the standard error says, or less: it is cautious."""
    means = [typical(np.random.default_rng(s).normal(50, 20, 4000)) for s in range(200)]
    assert 0.3 < np.std(means) < 20 / np.sqrt(4000 / 9)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_axes_does_not_matter(order: tuple[int, int, int]) -> None:
    ct = leg()
    affine = ct.affine.copy()
    affine[:3, :3] = ct.affine[:3, :3][:, order]
    array = np.flip(ct.array.transpose(order), 0)
    affine[:3, 3] += affine[:3, 0] * (array.shape[0] - 1)
    affine[:3, 0] *= -1
    turned = seen(Image(np.ascontiguousarray(array), Grid(array.shape, affine)))
    for name, sample in seen(ct).items():
        assert turned[name].mean_HU == pytest.approx(sample.mean_HU, abs=1e-6)
        assert turned[name].n_voxels == sample.n_voxels


def test_metal_and_its_surroundings_are_left_out() -> None:
    ct = leg()
    array = ct.array.copy()
    array[96:102, 77:83, :] = 3071
    near = np.hypot(*np.meshgrid(np.arange(160) - 98.5, np.arange(160) - 79.5, indexing="ij")) < 14
    with_metal, without = find_tissues(ct.with_array(array)), find_tissues(ct)
    for name in ("muscle", "cortical_bone"):
        assert without[name][near].any()
        assert with_metal[name].any()
        assert not with_metal[name][near].any()


def test_padding_is_no_air() -> None:
    """Outside the circle of reconstruction scanners write a constant, such as -2048."""
    ct = leg()
    array = ct.array.copy()
    corner = np.hypot(*np.meshgrid(*[np.arange(160) - 79.5] * 2, indexing="ij")) > 82
    array[corner] = -2048
    assert seen(ct.with_array(array))["air"].mean_HU == pytest.approx(-1000, abs=1.5)
    array[np.hypot(*np.meshgrid(*[np.arange(160) - 79.5] * 2, indexing="ij")) > 70] = -2048
    assert "air" not in seen(ct.with_array(array))


def test_air_clipped_at_its_nominal_value_stays_there() -> None:
    ct = leg()
    clipped = ct.with_array(np.maximum(ct.array, -1000))
    assert seen(clipped)["air"].mean_HU == pytest.approx(-1000, abs=1)


def test_gas_inside_is_no_air() -> None:
    ct = leg()
    array = np.where(ct.array < -500, 0, ct.array)  # no air around
    array[60:100, 20:50, :] = -1000
    assert "air" not in seen(ct.with_array(array))


@pytest.mark.parametrize("cortex_mm", [1.0, 2.0])
def test_a_thin_cortex_is_no_compact_bone(cortex_mm: float) -> None:
    assert "cortical_bone" not in seen(leg(cortex_mm=cortex_mm))


def test_a_few_voxels_of_dense_bone_are_not_enough() -> None:
    ct = leg()
    array = ct.array.copy()
    dense = array > 600
    dense[80:, :, 3] = False  # half a ring of 3 mm
    array[dense] = 300
    assert "cortical_bone" not in seen(ct.with_array(array))


def test_a_mask_is_taken_as_it_is() -> None:
    ct = leg()
    mask: NDArray[np.bool_] = np.zeros(ct.shape, bool)
    mask[78:82, 78:82, 5:10] = True
    samples = sample_tissues(ct, {"blood": mask, "cortical_bone": mask})
    assert list(samples) == ["air", "adipose", "muscle", "blood", "cortical_bone"]
    assert samples["blood"].mean_HU == np.median(ct.array[mask])
    assert samples["cortical_bone"].n_voxels == 80


def test_bad_masks_are_refused() -> None:
    ct = leg()
    full = np.ones(ct.shape, bool)
    with pytest.raises(InputError, match="a mask for 'liver'; allowed: air, adipose"):
        sample_tissues(ct, {"liver": full})
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\), the CT \(160, 160, 20\)"):
        sample_tissues(ct, {"muscle": np.ones((2, 2, 2), bool)})
    few = np.zeros(ct.shape, bool)
    few[:3, :3, :3] = True
    with pytest.raises(CalibrationError, match="muscle holds 27 voxels; at least 40"):
        sample_tissues(ct, {"muscle": few})


def test_the_typical_value_bears_another_tissue() -> None:
    rng = np.random.default_rng(1)
    mixed = np.concatenate([rng.normal(52, 15, 20000), rng.normal(-100, 20, 6000)])
    assert typical(mixed) == pytest.approx(52, abs=1.5)
    assert abs(mixed.mean() - 52) > 30

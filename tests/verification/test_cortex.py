"""The cortex against exact truth: layers, shells and a femur through the simulated scanner."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.special import ndtr

from bonekit.cortex import CorticalMap, correct, cortical_map, peel_and_dilate
from bonekit.cortex.profile import FWHM, Profiles, blurred_step, fit, half_max, layer
from bonekit.cortex.surface import Surface, bone_mask, sample
from bonekit.density import DensityImage, DensityKind
from bonekit.image.volume import Grid, LabelMap
from bonekit.phantom import FemurParameters, Phantom, ScannerParameters, femur_phantom
from bonekit.phantom.bone import CORTEX, TRABECULAR, Materials
from bonekit.phantom.scanner import noise, scan
from bonekit.phantom.shapes import Array
from bonekit.segmentation.base import REGIONS

Float = NDArray[np.float64]
CLINICAL = ScannerParameters()  # 0.78 x 0.78 x 1.5 mm, 0.9 mm blur, 15 HU noise
COMPACT, SPONGY = 1.15, 0.15


@dataclass(frozen=True)
class Tube:
    """A tube along a tilted axis through the origin, full of spongiosa, or a ball of the same."""

    radius_mm: float
    cortex_mm: float
    ball: bool = False

    def materials(self, p: Array) -> Materials:
        axis = np.array([0.0, 0.5, np.sqrt(0.75)], np.float32)
        along = 0.0 if self.ball else axis[:, None] * (axis @ p)
        depth = np.float32(self.radius_mm) - np.linalg.norm(p - along, axis=0)
        cortex = (depth > 0) & (depth < self.cortex_mm)
        region = np.where(cortex, CORTEX, np.where(depth > 0, TRABECULAR, 0)).astype(np.uint8)
        density = np.where(cortex, COMPACT, np.where(depth > 0, SPONGY, 0.0)).astype(np.float32)
        return Materials(region, density, np.full(depth.size, 40.0, np.float32))


@dataclass(frozen=True, eq=False)
class Scanned:
    density: DensityImage
    labels: LabelMap
    ash_g: float


def scanned(scene: Tube, scanner: ScannerParameters = CLINICAL) -> Scanned:
    size = np.array([40.0, 40.0, 40.0] if scene.ball else [36.0, 54.0, 24.0])
    shape = np.ceil(size / scanner.spacing_mm).astype(int)
    corner = -(shape - 1) / 2 * scanner.spacing_mm
    grid = Grid.of((int(shape[0]), int(shape[1]), int(shape[2])), scanner.spacing_mm, corner)
    made = scan(scene, grid, scanner)
    hu = made.hu + noise(grid, scanner, np.random.default_rng(0))
    ash = (hu - scanner.hu_at_zero) / scanner.hu_per_g_cm3
    density = DensityImage(ash.astype(np.float32), grid, DensityKind.ASH, calibrated=True)
    return Scanned(density, LabelMap(made.region, grid, dict(REGIONS)), made.ash_g)


def held(thing: Scanned) -> CorticalMap:
    return cortical_map(
        thing.density, thing.labels, psf_fwhm_mm=0.9, cortical_density_g_cm3=COMPACT
    )


def naive(thing: Scanned, cortex: CorticalMap) -> Float:
    surface = Surface(cortex.points_mm, cortex.normals)
    return half_max(sample(thing.density, thing.labels, surface))


def test_a_blurred_step_is_its_convolution() -> None:
    x, sigma, box = np.linspace(-3, 3, 13), 0.4, 1.3
    fine = (np.arange(20000) + 0.5) / 20000 * box - box / 2
    numeric = ndtr((x[:, None] + fine) / sigma).mean(axis=1)
    assert_allclose(blurred_step(x, np.array(sigma), np.array(box)), numeric, atol=1e-7)
    assert_allclose(blurred_step(x, np.array(sigma), np.array(0.0)), ndtr(x / sigma), atol=1e-6)


def test_a_blurred_layer_keeps_its_mineral() -> None:
    x = np.arange(-20, 30, 0.01)[None]
    along = Profiles(x, x, x, np.array([0.6]), np.array([0.8]), 3.0)
    for thickness in (0.3, 1.0, 4.0):
        got = layer(np.array([[0.2, thickness, 0.0, 1.1, 0.0, 0.5]]), along)
        assert_allclose(got.sum() * 0.01, 1.1 * thickness, rtol=1e-6)


def test_noise_free_layers_come_back_exactly() -> None:
    rng, n, m = np.random.default_rng(1), 200, 80
    along = rng.uniform(0, 0.9, n)
    depth = np.sort(rng.uniform(-5, 12, (n, m)), axis=1)
    empty = np.zeros((n, m))
    profiles = Profiles(depth, empty, empty + 1, np.sqrt(1 - along**2), along, 1.5)
    truth = np.column_stack(
        [
            *(rng.uniform(-0.4, 0.4, n), rng.uniform(0.3, 6, n), rng.uniform(-0.1, 0.1, n)),
            *(np.full(n, 1.1), rng.uniform(0.05, 0.4, n), np.full(n, 0.9 / FWHM)),
        ]
    )
    profiles = replace(profiles, density_g_cm3=layer(truth, profiles))
    start = truth.copy()
    start[:, :3] = [0.0, 2.5, 0.0]
    start[:, 1] = np.where(truth[:, 1] > 1.5, 2.5, 0.8)
    found = fit(profiles, start, ("x0", "t", "y0", "y2"))
    assert found.converged.mean() > 0.99
    assert_allclose(found.parameters[found.converged], truth[found.converged], atol=2e-3)


@pytest.mark.parametrize(
    ("thickness", "bias", "spread"),
    [(0.5, 0.02, 0.06), (1.0, 0.02, 0.06), (2.0, 0.02, 0.06), (5.0, 0.02, 0.06)],
)
def test_thickness_of_tubes(thickness: float, bias: float, spread: float) -> None:
    thing = scanned(Tube(14.0, thickness))
    found = held(thing)
    inner = np.abs(found.points_mm[:, 2]) < 9.0  # at the cut ends the normals are off by 6 degrees
    error = found.thickness_mm[found.ok & inner] - thickness
    assert found.ok.mean() > 0.98
    assert abs(error.mean()) < bias
    assert error.std() < spread


def test_half_maximum_overestimates_what_the_model_measures() -> None:
    thing = scanned(Tube(14.0, 0.5))
    found = held(thing)
    assert np.nanmedian(naive(thing, found)) > 0.5 + 0.4
    assert abs(np.median(found.thickness_mm[found.ok]) - 0.5) < 0.03


def test_thickness_in_every_direction() -> None:
    found = held(scanned(Tube(15.0, 1.5, ball=True)))
    error = found.thickness_mm - 1.5
    for low, high in ((0.0, 0.4), (0.4, 0.8), (0.8, 1.0)):
        share = np.abs(found.normals[:, 2])
        some = found.ok & (share >= low) & (share < high)
        assert some.sum() > 50
        assert abs(error[some].mean()) < 0.04


def test_a_scan_tells_its_own_blur_and_density() -> None:
    thing = scanned(Tube(15.0, 5.0))
    found = cortical_map(thing.density, thing.labels)
    assert found.psf_fwhm_mm == pytest.approx(0.9, rel=0.03)
    assert found.cortical_density_g_cm3 == pytest.approx(COMPACT, rel=0.01)


@pytest.fixture(scope="module")
def femur() -> Phantom:
    return femur_phantom(
        FemurParameters(shaft_length_mm=45.0),
        scanner=ScannerParameters(spacing_mm=(1.0, 1.0, 2.0), psf_fwhm_mm=1.2),
        seed=3,
    )


@pytest.fixture(scope="module")
def femur_density(femur: Phantom) -> DensityImage:
    ash = (femur.ct.array - femur.hu_at_zero) / femur.hu_per_g_cm3
    return DensityImage(ash.astype(np.float32), femur.ct.grid, DensityKind.ASH, calibrated=True)


@pytest.fixture(scope="module")
def femur_cortex(femur: Phantom, femur_density: DensityImage) -> CorticalMap:
    return cortical_map(femur_density, femur.labels, spacing_mm=2.5, patchwise=True)


def test_mineral_of_a_femur_is_brought_back(
    femur: Phantom, femur_density: DensityImage, femur_cortex: CorticalMap
) -> None:
    truth = femur.truth["ash_mass_g"]
    assert femur_cortex.ok.mean() > 0.98
    balance = correct(femur_density, femur.labels, femur_cortex)
    assert balance.mineral_before_g / truth - 1 < -0.045
    assert abs(balance.mineral_after_g / truth - 1) < 0.005
    gram = femur.ct.grid.voxel_mm3 / 1000
    mask = bone_mask(femur.labels)
    in_mask = balance.density.array[mask].sum(dtype=np.float64) * gram
    assert in_mask == pytest.approx(balance.mineral_after_g, rel=1e-9)


def test_mineral_is_where_it_was(
    femur: Phantom, femur_density: DensityImage, femur_cortex: CorticalMap
) -> None:
    mask = bone_mask(femur.labels)
    after = correct(femur_density, femur.labels, femur_cortex).density.array
    own = binary_dilation(mask, iterations=1) & ~femur.labels.mask("other_bone")
    truth = np.where(own, femur.density.array, 0)
    exact = _slabs(truth, truth)
    before, corrected = (
        np.abs(_slabs(np.where(mask, array, 0), truth) / exact - 1)
        for array in (femur_density.array, after)
    )
    assert before.min() > 0.04
    assert np.median(corrected) < 0.003
    assert corrected.max() < 0.01


def _slabs(array: Float, truth: Float) -> Float:
    """Sum over slabs of four slices that the bone fills."""
    filled = np.flatnonzero(truth.any(axis=(0, 1)))
    count = filled.size // 4 * 4
    sums = array[:, :, filled[0] : filled[0] + count].sum(axis=(0, 1), dtype=np.float64)
    return np.asarray(sums.reshape(-1, 4).sum(axis=1))


def test_peeling_makes_up_for_part_of_the_loss(femur: Phantom, femur_density: DensityImage) -> None:
    gram, mask = femur.ct.grid.voxel_mm3 / 1000, bone_mask(femur.labels)
    peeled = peel_and_dilate(femur_density, femur.labels)
    before, after = (
        float(d.array[mask].sum(dtype=np.float64)) * gram / femur.truth["ash_mass_g"] - 1
        for d in (femur_density, peeled)
    )
    assert before < -0.045
    assert before + 0.02 < after < 0.02

"""The scanner model against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bonekit.image import Grid
from bonekit.phantom import ScannerParameters
from bonekit.phantom.bone import CORTEX, LESION, TRABECULAR, Materials
from bonekit.phantom.scanner import close_cortex, field_of_view, noise, scan, slice_profile

Points = NDArray[np.float32]


class Wall:
    """HU 1000 where a coordinate is positive, air of HU 0 elsewhere; no bone."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def materials(self, p: Points) -> Materials:
        return Materials.soft(np.where(p[self.axis] > 0, 1000, 0).astype(np.float32))


def spread(profile: NDArray[np.float32], spacing: float) -> float:
    """Standard deviation of the line spread function of an edge."""
    line = np.diff(profile.astype(float))
    at = np.arange(line.size) * spacing
    mean = (line * at).sum() / line.sum()
    return float(np.sqrt((line * (at - mean) ** 2).sum() / line.sum()))


def test_the_point_spread_has_its_width() -> None:
    grid = Grid.of((60, 4, 2), (0.4, 0.4, 1.0), (-11.93, 0, 0))
    scanner = ScannerParameters(psf_fwhm_mm=1.5, supersampling=4)
    profile = scan(Wall(0), grid, scanner).hu[:, 2, 1]
    assert_allclose(spread(profile, 0.4) * 2.3548, 1.5, rtol=0.05)


@pytest.mark.parametrize("thickness", [1.0, 3.0])
def test_the_slice_profile_is_a_box(thickness: float) -> None:
    """A box of width T has the standard deviation T / sqrt(12); sampling adds its own."""
    grid = Grid.of((4, 4, 60), (1, 1, 0.3), (0, 0, -8.9))
    scanner = ScannerParameters(slice_thickness_mm=thickness, supersampling=6)
    profile = scan(Wall(2), grid, scanner).hu[1, 1]
    assert_allclose(spread(profile, 0.3), thickness / np.sqrt(12), rtol=0.08)
    weights, _ = slice_profile(60, 4, 0.3, scanner)
    assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_a_sharp_kernel_overshoots() -> None:
    grid = Grid.of((40, 4, 1), (0.7, 0.7, 1.0), (-14, 0, 0))
    soft, sharp = (
        scan(Wall(0), grid, ScannerParameters(kernel=kernel)).hu for kernel in ("soft", "sharp")
    )
    assert soft.max() <= 1000.5
    assert 1030 < sharp.max() < 1300


@pytest.mark.parametrize("kernel", ["soft", "sharp"])
@pytest.mark.parametrize("thickness", [1.5, 4.0])
def test_the_noise_has_its_standard_deviation(kernel: str, thickness: float) -> None:
    grid = Grid.of((63, 64, 40), (0.8, 0.7, 1.5))
    scanner = ScannerParameters(noise_hu=20, kernel=kernel, slice_thickness_mm=thickness)
    made = noise(grid, scanner, np.random.default_rng(1))
    assert_allclose(made.std(), 20, rtol=0.02)
    neighbour = np.corrcoef(made[:, :, :-1].ravel(), made[:, :, 1:].ravel())[0, 1]
    assert (neighbour > 0.4) == (thickness > 1.5)


def test_a_sharp_kernel_has_finer_grain() -> None:
    grid, rng = Grid.of((64, 64, 20), (0.7, 0.7, 1.5)), np.random.default_rng(2)
    soft, sharp = (
        np.corrcoef(made[:-1].ravel(), made[1:].ravel())[0, 1]
        for made in (noise(grid, ScannerParameters(kernel=k), rng) for k in ("soft", "sharp"))
    )
    assert soft > sharp + 0.2


def test_the_field_of_view_holds_every_sphere() -> None:
    spheres = [(np.array([10.0, -20, 5]), 4.0), (np.array([-30.0, 8, 60]), 9.0)]
    scanner = ScannerParameters(margin_mm=2, flip=(True, False, True), rotation_deg=(5, 10, 30))
    grid = field_of_view(spheres, scanner)
    for centre, radius in spheres:
        index = grid.index(centre)
        room = np.minimum(index + 0.5, np.array(grid.shape) - 0.5 - index) * grid.spacing_mm
        assert (room >= radius + 2 - 1e-6).all()
    tight = field_of_view(spheres, replace(scanner, margin_mm=0))
    assert np.prod(tight.shape) < np.prod(grid.shape)


def test_a_thin_cortex_has_no_holes() -> None:
    region = np.zeros((7, 7, 7), np.uint8)
    region[1:6, 1:6, 1:6] = TRABECULAR
    region[1, 1:6, 1:6] = LESION
    closed = close_cortex(region)
    assert (closed[2:5, 2:5, 2:5] == TRABECULAR).all()
    assert (closed[5, 1:6, 1:6] == CORTEX).all()
    assert (closed[1] == region[1]).all()

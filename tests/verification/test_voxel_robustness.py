"""Iterations of the voxel engine stay few on pores, thin walls and large contrasts."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, label

from bonekit.fem.solve import GridSolution, solve_grid


def press(E: np.ndarray, h: float = 1.0) -> GridSolution:
    fixed = np.zeros((*(n + 1 for n in E.shape), 3), dtype=bool)
    fixed[:, :, [0, -1]] = True
    values = np.zeros(fixed.shape)
    values[:, :, -1, 2] = -0.01 * E.shape[2] * h
    return solve_grid(E, (h, h, h), 0.3, fixed, values, rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.22, 0.3])
def test_trabecular_bone(fraction: float) -> None:
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((40,) * 3), 2.0)
    solid = noise > np.quantile(noise, 1 - fraction)
    solid[..., [0, -1]] = True
    pieces = label(solid)[0]
    assert pieces[0, 0, 0] == pieces[0, 0, -1]  # the plates hang together
    s = press(np.where(pieces == pieces[0, 0, 0], 1e4, 0.0))
    assert 10 < s.iterations < 40


def test_a_thin_stiff_shell_over_soft_marrow() -> None:
    """Contrast of 1e4, the shell thinner than two bricks: a coarse one holds both."""
    x, y = np.meshgrid(*(np.arange(31) - 15.0,) * 2, indexing="ij")
    radius = np.hypot(x, y)
    E = np.where(radius < 13.5, 2.0, 2e4) * (radius < 15)
    s = press(np.repeat(E[..., None], 40, axis=2))
    assert s.iterations < 20


def test_random_contrast() -> None:
    E = 10 ** np.random.default_rng(0).uniform(0, 4, (24, 24, 24))
    assert press(E).iterations < 25


@pytest.mark.slow
def test_a_femur_at_a_contrast_of_ten_thousand(data: Path) -> None:
    file = data / "fe-femur" / "parosol-py" / "material.nii.gz"
    E = sitk.GetArrayFromImage(sitk.ReadImage(file)).transpose(2, 1, 0).astype(np.float64)
    E = np.where(E > 0, np.clip(E, E.max() / 1e4, None) ** 1.5, 0.0)  # stretched
    bone = E > 0
    E[bone] = E.max() * np.clip(E[bone] / E.max(), 1e-4, 1.0)
    assert E.max() / E[bone].min() > 5e3
    fixed = np.zeros((*(n + 1 for n in E.shape), 3), dtype=bool)
    fixed[:, [0, -1], :, 1] = fixed[:, :, 0] = True
    values = np.zeros(fixed.shape)
    values[:, -1, :, 1] = -3.52
    assert solve_grid(E, np.ones(3), 0.3, fixed, values, rtol=1e-6).iterations < 20

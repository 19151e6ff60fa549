"""The map of the cortex: geometry of any image, failures named, and what a correction keeps."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from bonekit.cortex import (
    CorticalMap,
    correct,
    corrected_density,
    cortical_map,
    peel_and_dilate,
)
from bonekit.cortex.profile import FWHM, Profiles, fit
from bonekit.cortex.surface import bone_mask, surface_of
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.phantom.shapes import rotation
from bonekit.segmentation.base import REGIONS

RADIUS, CORTEX, COMPACT, SPONGY, SOFT = 12.0, 3.0, 1.1, 0.2, 0.05
SIGMA = 1.2 / FWHM


def ball(
    cortex: float = CORTEX, grid: Grid | None = None, inner: float = SIGMA
) -> tuple[DensityImage, LabelMap]:
    """Ball about the origin, blurred alike in all directions, without noise."""
    grid = grid or Grid.of((34, 34, 34), 1.0, (-16.5, -16.5, -16.5))
    depth = RADIUS - np.linalg.norm(grid.points(), axis=-1)
    density = SOFT + (COMPACT - SOFT) * ndtr(depth / SIGMA)
    density += (SPONGY - COMPACT) * ndtr((depth - cortex) / inner)
    labels = np.where(depth > cortex, 2, np.where(depth > 0, 1, 0)).astype(np.uint8)
    image = DensityImage(density.astype(np.float32), grid, DensityKind.ASH)
    return image, LabelMap(labels, grid, dict(REGIONS))


ALIKE_MM = SIGMA * 12**0.5  # slices whose box blurs as much as the Gaussian does in plane


def measured(density: DensityImage, labels: LabelMap) -> CorticalMap:
    return cortical_map(
        density, labels, psf_fwhm_mm=1.2, cortical_density_g_cm3=COMPACT, slice_mm=ALIKE_MM
    )


def test_thickness_and_normals() -> None:
    density, labels = ball()
    got = measured(density, labels)
    outward = got.points_mm / np.linalg.norm(got.points_mm, axis=1, keepdims=True)
    assert (got.normals * outward).sum(axis=1).min() > 0.99
    assert got.ok.all()
    assert_allclose(got.thickness_mm, CORTEX, atol=0.1)
    assert got.thickness_mm.mean() == pytest.approx(CORTEX, abs=0.015)
    assert_allclose(got.mineral_mg_cm2, got.thickness_mm * COMPACT * 100)
    assert got.kind == "ash"


def test_a_turned_and_mirrored_image_gives_the_same() -> None:
    axes = rotation(20.0, -30.0, 40.0) @ np.diag([1.0, -1.0, 1.0])
    corner = axes @ np.full(3, -18.0)
    grid = Grid.of((46, 46, 37), (0.8, 0.8, 1.0), corner, axes)
    density, labels = ball(grid=grid)
    got = measured(density, labels)
    assert_allclose(got.thickness_mm, CORTEX, atol=0.1)
    assert np.linalg.norm(got.points_mm, axis=1) == pytest.approx(RADIUS, abs=0.6)


def test_points_are_spread_evenly() -> None:
    _, labels = ball()
    mask = bone_mask(labels)
    area = 4 * np.pi * RADIUS**2
    for spacing in (1.5, 3.0):
        count = len(surface_of(mask, labels.grid, spacing).points_mm)
        assert 0.9 < count * spacing**2 / area < 1.9


def test_where_a_mask_meets_the_border_there_is_no_surface() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[6:14, 6:14, :] = True
    got = surface_of(mask, Grid.of((20, 20, 20), 1.0), 2.0)
    assert np.abs(got.normals[:, 2]).max() < 0.1


def test_near_a_lesion_nothing_is_measured_or_changed() -> None:
    density, labels = ball()
    hole = (labels.array > 0) & (labels.grid.points()[..., 0] > 9.0)
    array = np.where(hole, 0.06, density.array).astype(np.float32)
    density, labels = (
        density.with_array(array),
        labels.with_array(np.where(hole, 3, labels.array).astype(np.uint8)),
    )
    got = measured(density, labels)
    near = got.points_mm[:, 0] > 9.0
    assert not got.ok[near].any()
    assert got.failures["near a lesion"] >= np.count_nonzero(near)
    after = corrected_density(density, labels, got).array
    assert_array_equal(after[hole], array[hole])
    assert (after != array).any()


def test_failures_are_counted_once() -> None:
    density, labels = ball()
    flat = density.with_array(np.full_like(density.array, SOFT))
    got = measured(flat, labels)
    assert not got.ok.any()
    assert sum(got.failures.values()) == len(got.ok)
    with pytest.raises(InputError, match="no point of the cortex could be measured"):
        corrected_density(flat, labels, got)


def test_pores_towards_the_canal_do_not_pass_for_blur() -> None:
    density, labels = ball(cortex=5.5, inner=2.5 * SIGMA)
    got = cortical_map(density, labels, slice_mm=ALIKE_MM)
    assert got.psf_fwhm_mm == pytest.approx(1.2, rel=0.06)
    assert got.cortical_density_g_cm3 == pytest.approx(COMPACT, rel=0.02)


def test_a_thin_cortex_alone_tells_no_blur() -> None:
    density, labels = ball(cortex=0.8)
    with pytest.raises(CalibrationError, match=r"Give psf_fwhm_mm and cortical_density"):
        cortical_map(density, labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spacing_mm": 0.1}, "spacing_mm is 0.1; allowed: 0.5 to 10"),
        ({"psf_fwhm_mm": float("nan")}, "psf_fwhm_mm is nan"),
        ({"cortical_density_g_cm3": 1100.0}, "allowed: 0.5 to 2.5"),
        ({"slice_mm": 0.0}, "slice_mm is 0.0"),
    ],
)
def test_implausible_numbers(given: dict[str, float], message: str) -> None:
    density, labels = ball()
    with pytest.raises(InputError, match=message):
        cortical_map(density, labels, **given)  # type: ignore[arg-type]


def test_other_grids_kinds_and_holes_are_refused() -> None:
    density, labels = ball()
    got = measured(density, labels)
    with pytest.raises(InputError, match="different grids"):
        cortical_map(density, labels.crop((0, 0, 0), (30, 30, 30)))
    with pytest.raises(InputError, match="measured in ash density, the image holds apparent"):
        corrected_density(replace(density, kind=DensityKind.APPARENT), labels, got)
    with pytest.raises(InputError, match="not finite"):
        cortical_map(density.with_array(np.full_like(density.array, np.nan)), labels)
    empty = LabelMap(labels.array, labels.grid, {5: "liver"})
    with pytest.raises(InputError, match="no bone: no voxel of cortex, trabecular, lesion"):
        cortical_map(density, empty)


def test_a_correction_changes_the_shell_alone() -> None:
    density, labels = ball()
    balance = correct(density, labels, measured(density, labels))
    depth = RADIUS - np.linalg.norm(density.grid.points(), axis=-1)
    changed = balance.density.array != density.array
    assert balance.changed == np.count_nonzero(changed) > 1000
    assert not changed[bone_mask(labels) == 0].any()
    assert not changed[depth > CORTEX + 3].any()
    gram = density.grid.voxel_mm3 / 1000
    # the bone's own part of the image, inside and outside the mask
    bone = COMPACT * ndtr(depth / SIGMA) + (SPONGY - COMPACT) * ndtr((depth - CORTEX) / SIGMA)
    assert balance.mineral_before_g / (bone.sum() * gram) - 1 < -0.07
    assert balance.mineral_after_g == pytest.approx(bone.sum() * gram, rel=0.002)
    seen = density.array[bone_mask(labels)].sum(dtype=np.float64) * gram
    brought = balance.spilled_g - balance.soft_tissue_g
    assert balance.unplaced_g == pytest.approx(0, abs=1e-6)
    assert balance.mineral_after_g == pytest.approx(seen + brought, rel=1e-6)


def test_no_voxel_becomes_denser_than_bone_can_be() -> None:
    density, labels = ball()
    small = np.linalg.norm(density.grid.points(), axis=-1) < RADIUS - 1.5
    labels = labels.with_array(np.where(small, labels.array, 0).astype(np.uint8))
    balance = correct(density, labels, measured(density, labels))
    mask = bone_mask(labels)
    assert balance.density.array[mask].max() <= 1.25 * COMPACT * (1 + 1e-6)
    assert balance.unplaced_g > 0
    gained = balance.mineral_after_g - balance.mineral_before_g
    moved = balance.spilled_g - balance.soft_tissue_g - balance.unplaced_g
    assert gained == pytest.approx(moved, rel=1e-5)


def test_peeling_in_a_turned_image_looks_inwards() -> None:
    axes = rotation(35.0, 10.0, -50.0)
    grid = Grid.of((34, 34, 34), 1.0, axes @ np.full(3, -16.5), axes)
    density, labels = ball(grid=grid)
    depth = RADIUS - np.linalg.norm(grid.points(), axis=-1)
    outermost = (depth > 0) & (depth < 0.4)
    got = peel_and_dilate(density, labels, depth_mm=1.0).array[outermost]
    assert got.min() > 0.8 * COMPACT
    assert density.array[outermost].max() < 0.8 * COMPACT


def test_a_fit_refuses_what_does_not_fit_together() -> None:
    empty = np.zeros((2, 8))
    profiles = Profiles(empty, empty, empty, np.ones(2), np.zeros(2), 1.0)
    with pytest.raises(InputError, match=r"start is \(3, 6\)"):
        fit(profiles, np.zeros((3, 6)), ("t",))
    with pytest.raises(InputError, match="allowed: some of x0, t, y0"):
        fit(profiles, np.zeros((2, 6)), ("thickness",))

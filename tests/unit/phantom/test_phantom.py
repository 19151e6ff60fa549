"""Femur and vertebra phantoms: what the labels, the density and the truth promise each other."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from bonekit.phantom import (
    BodyParameters,
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    VertebraParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import BONE_REGIONS

COARSE = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), psf_fwhm_mm=1.0, noise_hu=10.0)
CLEAN = replace(COARSE, noise_hu=0.0)
RODS = (0.0, 0.1, 0.4)


@pytest.fixture(scope="module")
def left() -> Phantom:
    return femur_phantom(
        FemurParameters(flexion_deg=20, shaft_length_mm=60),
        LesionParameters(site="neck", radii_mm=(7, 7, 7)),
        body=BodyParameters(rods_g_cm3=RODS, table=True),
        scanner=CLEAN,
    )


@pytest.fixture(scope="module")
def right() -> Phantom:
    return femur_phantom(
        FemurParameters(side="right", flexion_deg=20, shaft_length_mm=60),
        LesionParameters(site="neck", radii_mm=(7, 7, 7)),
        body=BodyParameters(rods_g_cm3=RODS, table=True),
        scanner=CLEAN,
    )


@pytest.fixture(scope="module")
def vertebra() -> Phantom:
    fine = ScannerParameters(spacing_mm=(1.0, 1.0, 1.0), noise_hu=10.0)
    return vertebra_phantom(VertebraParameters(facet_gap_mm=2.0, tilt_deg=10), scanner=fine)


def target(phantom: Phantom) -> np.ndarray:
    return phantom.labels.mask(*BONE_REGIONS)


def test_the_density_holds_the_mass_of_a_finer_sampling() -> None:
    femur = FemurParameters(shaft_length_mm=20)
    scanner = replace(CLEAN, spacing_mm=(2.0, 2.0, 3.0))
    coarse, fine = (
        femur_phantom(femur, scanner=replace(scanner, supersampling=n)).density.array
        for n in (2, 4)
    )
    assert_allclose(coarse.sum(), fine.sum(), rtol=0.005)
    assert np.abs(coarse - fine).sum() < 0.07 * fine.sum()


def test_the_labels_have_the_exact_volume(left: Phantom) -> None:
    volume = target(left).sum() * left.ct.grid.voxel_mm3
    assert_allclose(volume, left.truth["bone_volume_mm3"], rtol=0.005)
    lesion = left.labels.mask("lesion").sum() * left.ct.grid.voxel_mm3
    assert_allclose(lesion, left.truth["lesion_volume_mm3"], rtol=0.05)
    assert_allclose(left.truth["lesion_volume_mm3"], 4 / 3 * np.pi * 7**3, rtol=0.02)


def test_the_line_is_recovered_in_uniform_bone(left: Phantom) -> None:
    """Where the density is even over the blur, HU follow it on the stated line."""
    density = left.density.array
    uneven = ndimage.maximum_filter(density, 5) - ndimage.minimum_filter(density, 5)
    deep = ndimage.binary_erosion(target(left), iterations=3) & (uneven < 0.12)
    slope, zero = np.polyfit(density[deep], left.ct.array[deep], 1)
    assert deep.sum() > 500
    assert_allclose([slope, zero], [left.hu_per_g_cm3, left.hu_at_zero], atol=12)


def test_the_rods_show_the_ash_equivalent_of_their_potassium_phosphate(left: Phantom) -> None:
    for rod, k2hpo4 in zip(left.truth["rods"], RODS, strict=True):
        i, j, k = np.rint(left.ct.grid.index(rod["point_mm"])).astype(int)
        seen = left.ct.array[i - 2 : i + 3, j - 2 : j + 3, k].mean()
        ash = (seen - left.hu_at_zero) / left.hu_per_g_cm3
        assert_allclose(ash, 1.06 * k2hpo4 + 0.0389, atol=0.002)


def test_the_femur_is_one_piece_and_nested(left: Phantom) -> None:
    bone = target(left)
    assert ndimage.label(bone)[1] == 1
    near_outside = bone & ~ndimage.binary_erosion(bone, border_value=1)
    assert not (near_outside & left.labels.mask("trabecular")).any()
    far = ~ndimage.binary_dilation(left.labels.array > 0, np.ones((3, 3, 3)))
    assert not (left.density.array[far] > 0).any()


def test_the_joint_is_open(left: Phantom) -> None:
    touching = ndimage.binary_dilation(target(left)) & left.labels.mask("other_bone")
    assert left.labels.mask("other_bone").sum() > 10_000
    assert not touching.any()


def test_the_acetabulum_lies_a_joint_gap_from_the_head(left: Phantom) -> None:
    points = left.labels.grid.points()[left.labels.mask("other_bone")]
    nearest = np.linalg.norm(points - left.truth["head_centre_mm"], axis=1).min()
    expected = left.truth["head_radius_mm"] + left.truth["joint_gap_mm"]
    assert_allclose(nearest, expected, atol=0.75)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_head_fits_its_truth(side: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(side)
    bone, truth = target(made), made.truth
    surface = []
    for axis in range(3):
        i = np.argwhere(np.diff(bone.astype(int), axis=axis) != 0).astype(float)
        i[:, axis] += 0.5
        surface.append(made.labels.grid.world(i))
    points = np.concatenate(surface)
    offset = points - truth["head_centre_mm"]
    points = points[(offset @ truth["neck_axis"] > 2) & (np.linalg.norm(offset, axis=1) < 40)]
    matrix = np.column_stack([2 * points, np.ones(len(points))])
    x, *_ = np.linalg.lstsq(matrix, (points**2).sum(axis=1))
    assert_allclose(x[:3], truth["head_centre_mm"], atol=0.75)
    assert_allclose(np.sqrt(x[3] + x[:3] @ x[:3]), truth["head_radius_mm"], atol=0.75)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_shaft_runs_along_its_axis(side: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(side)
    cuts = {k: np.argwhere(target(made)[:, :, k]).mean(axis=0) for k in (2, 10)}
    middle = made.labels.grid.world([[*cut, k] for k, cut in cuts.items()])
    axis, through = np.array(made.truth["shaft_axis"]), np.array(made.truth["shaft_end_mm"])
    for point in middle:
        assert np.linalg.norm(np.cross(point - through, axis)) < 1.0


def test_a_flexed_limb_points_to_the_front(left: Phantom) -> None:
    head, end = (np.array(left.truth[name]) for name in ("head_centre_mm", "shaft_end_mm"))
    assert end[1] < head[1] - 20
    assert left.truth["neck_axis"] @ np.array([-1, 0, 1]) > 1  # the head: medial and up


def test_a_right_femur_is_the_mirror_image_of_a_left_one(left: Phantom, right: Phantom) -> None:
    assert right.bone == "femur_right"
    assert (left.labels.array[::-1] == right.labels.array).mean() > 0.9999
    assert_allclose(left.density.array[::-1], right.density.array, atol=0.3)
    assert np.abs(left.density.array[::-1] - right.density.array).mean() < 1e-5
    for name in ("head_centre_mm", "neck_axis", "shaft_axis", "lesion_centre_mm", "shaft_end_mm"):
        assert_allclose(np.array(left.truth[name]) * [-1, 1, 1], right.truth[name], atol=1e-9)
    assert right.truth["neck_axis"][0] > 0  # a right head lies to the patient's left
    rods = [[rod["k2hpo4_g_cm3"] for rod in made.truth["rods"]] for made in (left, right)]
    assert rods[0] == list(RODS) == rods[1]


def test_the_vertebra_is_one_piece_apart_from_its_neighbours(vertebra: Phantom) -> None:
    bone, other = target(vertebra), vertebra.labels.mask("other_bone")
    assert ndimage.label(bone)[1] == 1
    assert ndimage.label(other)[1] == 2
    assert not (ndimage.binary_dilation(bone) & other).any()
    assert vertebra.bone == "vertebra_L3"


def test_the_endplates_and_the_canal_are_where_the_truth_says(vertebra: Phantom) -> None:
    truth, grid, bone = vertebra.truth, vertebra.labels.grid, target(vertebra)
    up, centre = np.array(truth["superior_axis"]), np.array(truth["body_centre_mm"])
    line = centre + np.linspace(-25, 25, 501)[:, None] * up
    inside = bone[tuple(np.rint(grid.index(line)).astype(int).T)]
    assert_allclose(line[inside][-1], truth["superior_endplate_mm"], atol=0.8)
    assert_allclose(line[inside][0], truth["inferior_endplate_mm"], atol=0.8)
    assert not bone[tuple(np.rint(grid.index(truth["canal_centre_mm"])).astype(int))]


def test_the_vertebra_is_symmetric() -> None:
    made = vertebra_phantom(VertebraParameters(texture=0), scanner=replace(CLEAN, noise_hu=0))
    assert (made.labels.array == made.labels.array[::-1]).mean() > 0.999


@pytest.mark.parametrize(("kind", "low", "high"), [("lytic", 0, 0.1), ("blastic", 0.7, 0.8)])
def test_a_lesion_has_its_density_and_stays_in_the_bone(kind: str, low: float, high: float) -> None:
    lesion = LesionParameters(kind=kind, site="body", radii_mm=(8, 8, 8))
    made = vertebra_phantom(lesion=lesion, scanner=CLEAN)
    found = made.labels.mask("lesion")
    core = made.density.array[ndimage.binary_erosion(found, iterations=2)]
    assert low <= core.min() <= core.max() <= high
    assert not (found & ~ndimage.binary_fill_holes(target(made))).any()


def test_a_mixed_lesion_is_both() -> None:
    lesion = LesionParameters(kind="mixed", site="body", radii_mm=(12, 12, 10))
    made = vertebra_phantom(lesion=lesion, scanner=CLEAN)
    inside = made.density.array[made.labels.mask("lesion")]
    assert (inside < 0.2).mean() > 0.15
    assert (inside > 0.5).mean() > 0.15


def test_a_contained_lesion_leaves_the_cortex_alone() -> None:
    femur, fast = FemurParameters(shaft_length_mm=30), replace(CLEAN, spacing_mm=(2, 2, 4))
    lesion = LesionParameters(site="subtrochanteric", radii_mm=(20, 20, 7), edge_mm=0)
    breaking, contained = (
        femur_phantom(femur, replace(lesion, breaks_cortex=b), scanner=fast) for b in (True, False)
    )
    healthy = femur_phantom(femur, scanner=fast).truth["cortex_volume_mm3"]
    assert contained.truth["cortex_volume_mm3"] == pytest.approx(healthy, rel=1e-6)
    assert breaking.truth["cortex_volume_mm3"] < healthy - 1500


def test_the_same_seed_gives_the_same_phantom() -> None:
    scanner = replace(COARSE, spacing_mm=(2.0, 2.0, 4.0))
    one, same, other = (vertebra_phantom(scanner=scanner, seed=s).ct.array for s in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).mean() > 0.5


def test_an_oblique_flipped_scan_sees_the_same_bone() -> None:
    tilted = replace(CLEAN, rotation_deg=(12, -8, 20), flip=(True, True, False))
    straight = vertebra_phantom(scanner=CLEAN)
    oblique = vertebra_phantom(scanner=tilted)
    assert oblique.ct.grid.direction[0, 0] < 0
    assert_allclose(oblique.truth["bone_volume_mm3"], straight.truth["bone_volume_mm3"], rtol=0.005)
    found = [np.argwhere(target(made)).mean(axis=0) for made in (straight, oblique)]
    assert_allclose(straight.ct.grid.world(found[0]), oblique.ct.grid.world(found[1]), atol=0.6)

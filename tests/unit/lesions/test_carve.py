"""Virtual lesions: volume, density and place on bones that are known exactly."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.lesions import LEVELS, carve, femur_site, find_lesions
from bonekit.lesions.sites import around_neck, neck_base_mm
from bonekit.segmentation.base import Segmentation

Femur = Callable[..., tuple[Segmentation, DensityImage]]


def distance(image: DensityImage | LabelMap, point: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(image.grid.points() - point, axis=-1))


def test_the_sphere_is_emptied_and_labelled_and_nothing_else_changes(femur: Femur) -> None:
    bone, ash = femur()
    at = femur_site(bone, "shaft", 90.0)
    ill, made = carve(bone, ash, at, 9.0)
    inside = distance(bone.labels, at) < 9.0
    np.testing.assert_array_equal(ill.labels.mask("lesion"), inside & bone.bone_mask)
    np.testing.assert_array_equal(ill.bone_mask, bone.bone_mask)
    np.testing.assert_array_equal(ill.labels.array[~inside], bone.labels.array[~inside])
    deep, far = distance(ash, at) < 7.9, distance(ash, at) > 10.1
    np.testing.assert_allclose(made.array[deep], np.minimum(ash.array[deep], 0.05), atol=1e-6)
    np.testing.assert_array_equal(made.array[far], ash.array[far])
    assert (made.array <= ash.array).all()
    assert ill.anatomy is bone.anatomy
    (found,) = find_lesions(ill.labels, made)
    assert found.kind == "lytic"


def test_mineral_falls_smoothly_with_the_radius(femur: Femur) -> None:
    """No jumps by whole voxels: the mass that is gone grows with the sphere's volume."""
    bone, ash = femur()
    centre = bone.anatomy.head_centre_mm
    mass = [
        float(ash.array.sum() - carve(bone, ash, centre, r)[1].array.sum())
        for r in (8.0, 8.1, 8.2, 8.3)
    ]
    growth = np.diff(mass)
    assert (growth > 0).all()
    assert growth.max() / growth.min() < 1.2


def test_neighbouring_bone_stays(femur: Femur) -> None:
    bone, ash = femur()
    centre = bone.anatomy.head_centre_mm + np.array([0.0, 0.0, 26.0])
    _, made = carve(bone, ash, centre, 12.0)
    other = bone.labels.mask("other_bone") & (distance(ash, centre) < 10.0)
    assert other.any()
    np.testing.assert_array_equal(made.array[other], ash.array[other])


def test_density_may_lie_on_another_grid(femur: Femur) -> None:
    bone, ash = femur()
    part = ash.crop((3, 3, 3), np.array(ash.shape) - 3)
    at = femur_site(bone, "neck", 0.0)
    _, made = carve(bone, part, at, 8.0)
    _, whole = carve(bone, ash, at, 8.0)
    np.testing.assert_allclose(made.array, whole.array[3:-3, 3:-3, 3:-3], atol=1e-6)


def test_bad_lesions_are_refused(femur: Femur) -> None:
    bone, ash = femur()
    at = femur_site(bone, "neck", 0.0)
    with pytest.raises(InputError, match="holds no voxel of the bone"):
        carve(bone, ash, at + 500.0, 9.0)
    with pytest.raises(InputError, match=r"radius_mm must lie between 0\.5 and 60"):
        carve(bone, ash, at, float("nan"))
    with pytest.raises(InputError, match="lytic_g_cm3"):
        carve(bone, ash, at, 9.0, lytic_g_cm3=0.9)
    with pytest.raises(InputError, match="expected ash density"):
        carve(bone, replace(ash, kind=DensityKind.HA), at, 9.0)


@pytest.mark.parametrize("level", LEVELS)
def test_sites_lie_on_the_surface_where_they_are_asked(level: str, femur: Femur) -> None:
    bone, _ = femur()
    anatomy = bone.anatomy
    inside = bone.labels.with_array(bone.bone_mask.astype(np.uint8))
    sites = [femur_site(bone, level, angle) for angle in (0.0, 90.0, 180.0, 270.0)]
    for site in sites:
        near = distance(inside, site) < 2.5
        assert set(np.unique(inside.array[near])) == {0, 1}
    medial, anterior, lateral, posterior = sites
    assert (medial - lateral) @ anatomy.medial > 15.0
    assert (posterior - anterior) @ anatomy.frame[:, 1] > 15.0


def test_levels_of_the_neck_are_where_the_phantom_has_them(femur: Femur) -> None:
    """The neck is 54 mm long to the shaft's axis, 14 mm of which are the shaft's radius."""
    bone, _ = femur()
    assert neck_base_mm(bone.anatomy) == pytest.approx(40.0, abs=1.5)
    inferior, superior = (femur_site(bone, "neck", angle) for angle in (0.0, 180.0))
    assert bone.anatomy.height_mm(superior - inferior + bone.anatomy.shaft_point_mm) > 20.0
    around = around_neck(bone.anatomy)
    assert around.angle_deg(inferior) == pytest.approx(0.0, abs=1e-6)
    assert around.height_mm(inferior) == pytest.approx(0.0, abs=1e-6)


def test_sides_are_mirrored(femur: Femur) -> None:
    """Anterior stays anterior; world x changes its sign."""
    right, left = femur()[0], femur(side="left")[0]
    for angle in (45.0, 200.0):
        one, other = (femur_site(bone, "subtrochanteric", angle) for bone in (right, left))
        from_head = one - right.anatomy.head_centre_mm
        mirrored = (other - left.anatomy.head_centre_mm) * [-1.0, 1.0, 1.0]
        np.testing.assert_allclose(from_head, mirrored, atol=1.5)


def test_unknown_sites_are_refused(femur: Femur) -> None:
    bone, _ = femur()
    with pytest.raises(InputError, match="'knee' is unknown; allowed: neck"):
        femur_site(bone, "knee", 0.0)
    short = replace(bone, anatomy=replace(bone.anatomy, distal_mm=bone.anatomy.flare_mm))
    with pytest.raises(InputError, match="level shaft lies 60 mm below the bone in view"):
        femur_site(short, "shaft", 0.0)

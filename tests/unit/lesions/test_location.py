"""Regions and sides of lesions on phantoms, whose sites are known by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bonekit.anatomy.vertebra import vertebra_anatomy
from bonekit.density import DensityImage
from bonekit.lesions import (
    Location,
    carve,
    femur_regions,
    femur_site,
    locate,
    vertebra_regions,
)
from bonekit.phantom import LesionParameters, ScannerParameters, vertebra_phantom
from bonekit.segmentation.base import Segmentation

Femur = Callable[..., tuple[Segmentation, DensityImage]]
SCANNER = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1, noise_hu=0.0)


def place(bone: Segmentation) -> Location:
    lesion = np.argwhere(bone.labels.mask("lesion"))
    return locate(bone.labels.grid.world(lesion), bone.anatomy)


@pytest.mark.parametrize(
    ("site", "side"),
    [
        ("head", "right"),
        ("neck", "left"),
        ("intertrochanteric", "right"),
        ("greater_trochanter", "left"),
        ("subtrochanteric", "right"),
    ],
)
def test_sites_of_a_femur(femur: Femur, site: str, side: str) -> None:
    bone, _ = femur(LesionParameters(site=site, radii_mm=(6.0, 6.0, 6.0)), side)
    found = place(bone)
    assert found.region == site
    assert found.regions[site] > 0.9


def test_tip_of_the_lesser_trochanter(femur: Femur) -> None:
    tip = LesionParameters(
        site="lesser_trochanter", offset_mm=(-5.0, 3.5, -7.0), radii_mm=(4.0, 4.0, 4.0)
    )
    found = place(femur(tip)[0])
    assert found.region == "lesser_trochanter"
    assert found.regions[found.region] > 0.9


def test_regions_share_the_bone_without_gaps(femur: Femur) -> None:
    bone, _ = femur()
    points = bone.labels.grid.world(np.argwhere(bone.bone_mask))
    regions = femur_regions(points, bone.anatomy)
    np.testing.assert_array_equal(np.sum(list(regions.values()), axis=0), 1)
    share = {name: mask.mean() for name, mask in regions.items()}
    assert min(share.values()) > 0.005
    assert share["head"] > share["neck"] > share["lesser_trochanter"]


@pytest.mark.parametrize(
    ("level", "angle_deg", "region", "sector"),
    [
        ("neck", 0.0, "neck", "inferior"),
        ("neck", 90.0, "neck", "anterior"),
        ("neck", 180.0, "neck", "superior"),
        ("subtrochanteric", 0.0, "subtrochanteric", "medial"),
        ("subtrochanteric", 180.0, "subtrochanteric", "lateral"),
        ("shaft", 270.0, "shaft", "posterior"),
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_carved_lesions_lie_where_they_were_carved(
    femur: Femur, level: str, angle_deg: float, region: str, sector: str, side: str
) -> None:
    bone, ash = femur(None, side)
    found = place(carve(bone, ash, femur_site(bone, level, angle_deg), 6.0)[0])
    assert (found.region, found.sector) == (region, sector)
    assert found.sectors[sector] > 0.8
    assert sum(found.sectors.values()) == pytest.approx(1.0)


def test_height_over_the_flare(femur: Femur) -> None:
    bone, ash = femur()
    found = place(carve(bone, ash, femur_site(bone, "subtrochanteric", 0.0), 6.0)[0])
    assert found.axial_mm == pytest.approx((-26.0, -14.0), abs=1.5)
    short = replace(bone.anatomy, flare_mm=bone.anatomy.distal_mm)  # the axis is not known
    unknown = locate(bone.labels.grid.world(np.argwhere(bone.bone_mask)), short)
    assert unknown.axial_mm is None


def test_a_lesion_round_the_axis_is_central(femur: Femur) -> None:
    bone, _ = femur(LesionParameters(site="subtrochanteric", radii_mm=(9.0, 9.0, 9.0)))
    assert place(bone).sector == "central"


@pytest.mark.parametrize(
    ("site", "region", "sector"),
    [
        ("body_anterior", "body", "anterior"),
        ("superior_endplate", "body", "central"),
        ("left_pedicle", "left_pedicle", "posterior"),
        ("right_pedicle", "right_pedicle", "posterior"),
    ],
)
def test_sites_of_a_vertebra(site: str, region: str, sector: str) -> None:
    behind = (0.0, 4.0, 0.0) if "pedicle" in site else (0.0, 0.0, 0.0)
    lesion = LesionParameters(site=site, offset_mm=behind, radii_mm=(3.5, 3.5, 3.5))
    made = vertebra_phantom(None, lesion, scanner=SCANNER, seed=2)
    mask = made.labels.mask("cortex", "trabecular", "lesion")
    anatomy = vertebra_anatomy(mask, made.ct.grid)
    found = place(Segmentation(made.bone, made.labels, anatomy))
    assert (found.region, found.sector) == (region, sector)
    assert found.axial_mm is not None
    middle = 8.4 if site == "superior_endplate" else 4.5 if "pedicle" in site else 0.0
    assert np.mean(found.axial_mm) == pytest.approx(middle, abs=1.5)
    regions = vertebra_regions(made.ct.grid.world(np.argwhere(mask)), anatomy)
    np.testing.assert_array_equal(np.sum(list(regions.values()), axis=0), 1)
    assert regions["posterior_elements"].mean() > 0.15

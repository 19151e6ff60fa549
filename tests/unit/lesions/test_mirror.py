"""Bones filled after the other side: the phantoms' left femur is the mirror image of the right."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bonekit.anatomy.femur import femur_anatomy
from bonekit.anatomy.vertebra import vertebra_anatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.lesions import carve, femur_site, intact, intact_from
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import Segmentation

Made = tuple[Segmentation, DensityImage]
Femur = Callable[..., Made]
SCANNER = ScannerParameters(
    spacing_mm=(1.5, 1.5, 2.0), supersampling=1, rotation_deg=(4.0, -3.0, 5.0)
)


@cache
def other_side(shaft_mm: float = 80.0, neck_mm: float = 54.0) -> Made:
    """Give the left femur of the same seed, flexed and turned, in an oblique scan."""
    parameters = FemurParameters(
        flexion_deg=8.0,
        external_rotation_deg=10.0,
        adduction_deg=-5.0,
        shaft_length_mm=shaft_mm,
        neck_length_mm=neck_mm,
    )
    made = femur_phantom(parameters, scanner=SCANNER, seed=3)
    head = np.array(made.truth["head_centre_mm"])
    mask = made.labels.mask("cortex", "trabecular")
    anatomy = femur_anatomy(mask, made.ct.grid, "left", head, 23.5)
    return Segmentation(made.bone, made.labels, anatomy), made.density


@pytest.mark.parametrize(
    ("site", "offset_mm", "radius_mm", "rms"),
    [
        ("head", (0.0, 0.0, 0.0), 18.0, 0.02),  # g/cm3, trabecular bone alone
        ("subtrochanteric", (0.0, 0.0, 0.0), 22.0, 0.18),  # a ring of 4 cm without any cortex
        ("neck", (0.0, 0.0, -8.0), 14.0, 0.12),
    ],
)
def test_large_lesions_are_filled_better_than_from_around_them(
    femur: Femur,
    site: str,
    offset_mm: tuple[float, float, float],
    radius_mm: float,
    rms: float,
) -> None:
    lesion = LesionParameters(site=site, offset_mm=offset_mm, radii_mm=(radius_mm,) * 3)
    bone, ash = femur(lesion)
    found = intact_from(bone, ash, *other_side())
    around = intact(bone.labels, ash)
    filled, healthy = found.intact.filled, femur()[1].array
    np.testing.assert_array_equal(filled, around.filled)
    np.testing.assert_array_equal(found.intact.density.array[~filled], ash.array[~filled])

    def error(density: DensityImage) -> np.ndarray:
        return density.array[filled] - healthy[filled]

    now, smooth = (np.sqrt(np.mean(error(one.density) ** 2)) for one in (found.intact, around))
    assert now < rms
    assert now < 0.8 * smooth
    assert abs(error(found.intact.density).mean()) < 0.035 * healthy[filled].mean()
    assert found.share > 0.95
    assert found.distance_mm < 2.0
    lost = bone.labels.mask("lesion")
    np.testing.assert_array_equal(found.intact.labels.array[~lost], bone.labels.array[~lost])
    same = found.intact.labels.array[lost] == femur()[0].labels.array[lost]
    assert same.mean() > 0.95


def test_where_the_other_side_is_ill_as_well_the_fill_from_around_stays(femur: Femur) -> None:
    bone, ash = femur(LesionParameters(site="neck"))
    left, density = other_side()
    ill = carve(left, density, femur_site(left, "neck", 0.0), 14.0)
    found = intact_from(bone, ash, *ill)
    around = intact(bone.labels, ash)
    assert 0.3 < found.share < 0.9
    same = found.intact.density.array[found.intact.filled] == around.density.array[around.filled]
    assert same.mean() == pytest.approx(1 - found.share, abs=0.02)
    assert found.intact.density.array[found.intact.filled].min() > 0.03
    assert not found.intact.labels.mask("lesion").any()


def test_a_shorter_scan_of_the_other_side_serves(femur: Femur) -> None:
    bone, ash = femur(LesionParameters(site="neck"))
    long = intact_from(bone, ash, *other_side())
    short = intact_from(bone, ash, *other_side(55.0))
    filled = long.intact.filled
    apart = short.intact.density.array[filled] - long.intact.density.array[filled]
    assert np.sqrt(np.mean(apart**2)) < 0.03


def test_a_vertebra_can_be_its_own_other_side() -> None:
    def bone(made: Phantom) -> Segmentation:
        anatomy = vertebra_anatomy(made.labels.mask("cortex", "trabecular", "lesion"), made.ct.grid)
        return Segmentation(made.bone, made.labels, anatomy)

    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    lesion = LesionParameters(site="left_pedicle", radii_mm=(7.0, 7.0, 7.0))
    healthy = vertebra_phantom(scanner=scanner, seed=1)
    made = vertebra_phantom(None, lesion, scanner=scanner, seed=1)
    found = intact_from(bone(made), made.density, bone(made), made.density)
    filled = found.intact.filled
    was, now = healthy.density.array[filled], found.intact.density.array[filled]
    assert now.mean() == pytest.approx(was.mean(), rel=0.05)
    assert found.share > 0.9


def test_other_bones_are_refused(femur: Femur) -> None:
    bone, ash = femur(LesionParameters(site="neck"))
    with pytest.raises(InputError, match=r"surfaces of femur_right and of the mirrored femur_left"):
        intact_from(bone, ash, *other_side(neck_mm=60.0))
    made = vertebra_phantom(scanner=SCANNER)
    anatomy = vertebra_anatomy(made.labels.mask("cortex", "trabecular"), made.ct.grid)
    vertebra = Segmentation(made.bone, made.labels, anatomy)
    with pytest.raises(InputError, match="vertebra_L3 is not the other side of femur_right"):
        intact_from(bone, ash, vertebra, made.density)
    with pytest.raises(InputError, match="expected ash density"):
        intact_from(bone, ash, bone, replace(ash, kind=DensityKind.HA))

"""What is told of each lesion, and Mirels' score."""

from collections.abc import Callable

import numpy as np
import pytest

from bonekit.anatomy.vertebra import vertebra_anatomy
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.lesions import (
    carve,
    describe,
    describe_level,
    destroyed_mm,
    femur_site,
    find_lesions,
    location_score,
    mirels,
)
from bonekit.phantom import LesionParameters, ScannerParameters, vertebra_phantom
from bonekit.segmentation.base import Segmentation

Femur = Callable[..., tuple[Segmentation, DensityImage]]


def test_each_lesion_has_its_place_and_its_cortex(femur: Femur) -> None:
    bone, ash = femur()
    for level, angle, radius in (("shaft", 90.0, 11.0), ("neck", 0.0, 7.0)):
        bone, ash = carve(bone, ash, femur_site(bone, level, angle), radius)
    found = describe(bone, ash, find_lesions(bone.labels, ash), pain="moderate")
    assert [one.lesion.number for one in found] == [1, 2]
    shaft, neck = found
    assert (shaft.location.region, shaft.location.sector) == ("shaft", "anterior")
    assert (neck.location.region, neck.location.sector) == ("neck", "inferior")
    assert shaft.cortical is not None
    assert shaft.cortical.axial_mm == pytest.approx(22.0, abs=shaft.cortical.error_mm)
    assert shaft.mirels is not None
    assert neck.mirels is not None
    assert (shaft.mirels.site, shaft.mirels.kind, shaft.mirels.pain) == (2, 3, 2)
    assert neck.mirels.site == 3
    assert destroyed_mm(found) == shaft.cortical.axial_mm


def test_blastic_lesions_destroy_nothing_and_without_lesions_nothing_is_told(femur: Femur) -> None:
    bone, ash = femur(LesionParameters(kind="blastic", site="neck", offset_mm=(0.0, 0.0, -12.0)))
    found = describe(bone, ash, find_lesions(bone.labels, ash))
    assert found[0].cortical is not None
    assert found[0].cortical.axial_mm > 5.0
    assert destroyed_mm(found) is None
    assert describe(*femur(), ()) == ()


def test_vertebrae_have_no_score_and_lost_bones_no_cortex(femur: Femur) -> None:
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = vertebra_phantom(None, LesionParameters(site="body"), scanner=scanner)
    mask = made.labels.mask("cortex", "trabecular", "lesion")
    bone = Segmentation(made.bone, made.labels, vertebra_anatomy(mask, made.ct.grid))
    (found,) = describe(bone, made.density, find_lesions(made.labels, made.density))
    assert (found.cortical, found.mirels, found.location.region) == (None, None, "body")

    bone, ash = femur()
    everything = np.where(bone.bone_mask, 3, bone.labels.array).astype(np.uint8)
    lost = Segmentation(bone.bone, bone.labels.with_array(everything), bone.anatomy)
    (found,) = describe(lost, ash, find_lesions(lost.labels, ash))
    assert (found.cortical, found.mirels) == (None, None)


def test_a_level_is_the_union_of_its_lesions(femur: Femur) -> None:
    """A lesion in each pedicle is unilateral, both are bilateral; each adds to its own side."""
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = vertebra_phantom(None, None, scanner=scanner)
    mask = made.labels.mask("cortex", "trabecular")
    anatomy = vertebra_anatomy(mask, made.ct.grid)
    points, array = made.ct.grid.points(), made.labels.array.copy()
    for name in ("left_pedicle", "right_pedicle"):
        away = np.linalg.norm(points - anatomy.landmark_mm(name), axis=-1)
        array[(away < 6.0) & mask] = made.labels.label("lesion")
    bone = Segmentation(made.bone, made.labels.with_array(array), anatomy)
    lesions = find_lesions(bone.labels, made.density)
    each = [one.vertebral for one in describe(bone, made.density, lesions)]
    level = describe_level(bone, made.density, lesions)
    assert level is not None
    assert [one.posterolateral for one in each] == ["unilateral", "unilateral"]
    assert level.posterolateral == "bilateral"
    for side in ("left_pedicle", "right_pedicle", "left_arch", "right_arch"):
        assert getattr(level, side) == pytest.approx(sum(getattr(one, side) for one in each))
    assert describe_level(bone, made.density, ()) is None
    sound, ash = femur()
    assert describe_level(sound, ash, lesions) is None


def test_points_of_mirels() -> None:
    known = mirels("subtrochanteric", "lytic", 0.7, "functional")
    assert known is not None
    assert (known.site, known.kind, known.size, known.pain, known.score) == (3, 3, 3, 3, 12)
    known = mirels("head", "blastic", 0.33, "mild")
    assert known is not None
    assert known.score == 2 + 1 + 1 + 1
    unknown = mirels("shaft", "mixed", 0.5)
    assert unknown is not None
    assert (unknown.kind, unknown.size, unknown.score) == (2, 2, None)
    assert mirels("body", "lytic", 0.5) is None
    with pytest.raises(InputError, match="pain 'bad' is unknown; allowed: mild"):
        mirels("shaft", "lytic", 0.5, "bad")
    with pytest.raises(InputError, match="width"):
        mirels("shaft", "lytic", 1.5)


def test_score_of_the_site_by_what_strength_is_left() -> None:
    assert [location_score(left) for left in (1.1, 0.76, 0.75, 0.51, 0.5, 0.0)] == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    with pytest.raises(InputError):
        location_score(float("nan"))

"""Kinds of lesions against the healthy bone of the same place."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.lesions import LesionKind, compare_lesions, find_lesions
from bonekit.phantom import LesionParameters
from bonekit.segmentation.base import Segmentation

Femur = Callable[..., tuple[Segmentation, DensityImage]]


@pytest.mark.parametrize("site", ["head", "neck", "subtrochanteric"])
@pytest.mark.parametrize("kind", ["lytic", "blastic", "mixed"])
def test_kinds_are_those_of_the_phantom(femur: Femur, kind: LesionKind, site: str) -> None:
    offset = (-9.0, 0.0, 0.0) if site == "subtrochanteric" else (0.0, 0.0, 0.0)
    bone, ash = femur(LesionParameters(kind=kind, site=site, offset_mm=offset))
    healthy = femur()[1]
    (found,) = compare_lesions(find_lesions(bone.labels, ash), bone.labels, ash, healthy)
    assert found.kind == kind
    was = healthy.array[bone.labels.mask("lesion")]
    assert found.healthy_g_cm3 == pytest.approx(np.median(was), abs=0.12)


def test_what_is_healthy_there_decides_and_not_the_bone_around(femur: Femur) -> None:
    """Density of 0.4: lytic where 0.8 was, blastic where 0.2 was, whatever lies around."""
    bone, ash = femur(LesionParameters(site="neck"))
    lesion = bone.labels.mask("lesion")
    now = ash.with_array(np.where(lesion, 0.4, ash.array))
    found = find_lesions(bone.labels, now)
    for was, kind, shares in ((0.8, "lytic", (1.0, 0.0)), (0.2, "blastic", (0.0, 1.0))):
        healthy = ash.with_array(np.full(ash.shape, was))
        (told,) = compare_lesions(found, bone.labels, now, healthy)
        assert (told.kind, told.healthy_g_cm3) == (kind, was)
        assert (told.destroyed, told.sclerotic) == shares
        assert told.volume_ml == found[0].volume_ml


def test_the_rim_does_not_count(femur: Femur) -> None:
    """Healthy bone at the edge of a lesion, in a mask that is drawn too large, is left out."""
    bone, ash = femur(LesionParameters(site="neck"))
    lesion = bone.labels.mask("lesion")
    inner = ndimage.distance_transform_edt(lesion, sampling=ash.spacing_mm.tolist()) > 1.5
    now = ash.with_array(np.where(inner, 0.05, 0.4))
    healthy = ash.with_array(np.full(ash.shape, 0.4))
    (told,) = compare_lesions(find_lesions(bone.labels, now), bone.labels, now, healthy)
    assert told.destroyed == 1.0


def test_noise_is_no_loss(femur: Femur) -> None:
    """Marrow of 0.04 that shows 0.02 is under 0.6 of it, and yet not destroyed."""
    bone, ash = femur(LesionParameters(site="neck"))
    now, healthy = (ash.with_array(np.full(ash.shape, x)) for x in (0.02, 0.04))
    (told,) = compare_lesions(find_lesions(bone.labels, now), bone.labels, now, healthy)
    assert (told.destroyed, told.sclerotic) == (0.0, 0.0)


def test_other_grids_and_densities_are_refused(femur: Femur) -> None:
    bone, ash = femur(LesionParameters(site="neck"))
    found = find_lesions(bone.labels, ash)
    moved = replace(ash, grid=Grid.of(ash.shape, 1.0))
    with pytest.raises(InputError, match="must be on one grid"):
        compare_lesions(found, bone.labels, ash, moved)
    with pytest.raises(InputError, match="expected ash density"):
        compare_lesions(found, bone.labels, ash, replace(ash, kind=DensityKind.HA))

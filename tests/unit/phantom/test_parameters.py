"""Impossible phantoms are refused, drawn ones are possible."""

import numpy as np
import pytest
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.phantom import (
    VERTEBRA_SITES,
    BodyParameters,
    FemurParameters,
    LesionParameters,
    ScannerParameters,
    VertebraParameters,
    femur_phantom,
    random_femur,
    random_lesion,
    random_scanner,
    random_vertebra,
    vertebra_phantom,
)
from bonekit.phantom.appearance import appearance
from bonekit.phantom.hip import hip_scene
from bonekit.phantom.spine import SPINE_BODY, spine_scene


@pytest.mark.parametrize(
    ("make", "given", "says"),
    [
        (FemurParameters, {"side": "middle"}, r"side is 'middle'; allowed: left, right"),
        (FemurParameters, {"head_radius_mm": -3}, r"head_radius_mm is -3; allowed: 15 to 35"),
        (FemurParameters, {"head_radius_mm": float("nan")}, r"head_radius_mm is nan"),
        (
            FemurParameters,
            {"shaft_cortex_mm": 14.5},
            r"shaft_cortex_mm is 14.5; allowed: 0.5 to 11.2",
        ),
        (FemurParameters, {"trabecular_g_cm3": (0.5, 0.1)}, r"low <= high"),
        (VertebraParameters, {"level": "C3"}, r"level is 'C3'; allowed: L1, L2"),
        (VertebraParameters, {"posterior_cortex_mm": 6}, r"allowed: 0.3 to 4.05"),
        (LesionParameters, {"kind": "benign"}, r"allowed: lytic, blastic, mixed"),
        (LesionParameters, {"radii_mm": (5, 0, 5)}, r"radii_mm along y is 0; allowed: 1 to 60"),
        (LesionParameters, {"radii_mm": (5, 5)}, r"needs three numbers"),
        (BodyParameters, {"rods_g_cm3": (0.1,) * 6}, r"6 calibration rods given"),
        (ScannerParameters, {"spacing_mm": (4, 4, 4)}, r"allowed: 0.2 to 3"),
        (ScannerParameters, {"spacing_mm": (0, 1, 1)}, r"spacing_mm along x is 0"),
        (ScannerParameters, {"kernel": "B70"}, r"allowed: soft, sharp"),
        (ScannerParameters, {"noise_hu": -1}, r"noise_hu is -1"),
    ],
)
def test_an_impossible_value_is_named_with_what_is_allowed(make, given, says) -> None:
    with pytest.raises(InputError, match=says):
        make(**given)


def test_a_lesion_outside_the_bone_is_refused() -> None:
    lesion = LesionParameters(site="head", offset_mm=(0, 0, 40))
    with pytest.raises(InputError, match=r"16\.\d mm outside the bone"):
        femur_phantom(lesion=lesion)
    with pytest.raises(InputError, match="allowed: body, body_anterior"):
        vertebra_phantom(lesion=LesionParameters(site="neck"))
    with pytest.raises(InputError, match="seed is -1"):
        vertebra_phantom(seed=-1)


def test_drawn_parameters_are_allowed_and_differ() -> None:
    rng, shows = np.random.default_rng(5), appearance(ScannerParameters())
    femurs = [random_femur(rng) for _ in range(150)]
    vertebrae = [random_vertebra(rng) for _ in range(150)]
    for femur, vertebra in zip(femurs, vertebrae, strict=True):
        random_scanner(rng)
        hip_scene(femur, random_lesion(rng), BodyParameters(), shows, rng)
        spine_scene(vertebra, random_lesion(rng, VERTEBRA_SITES), SPINE_BODY, shows, rng)
    assert len({femur.head_radius_mm for femur in femurs}) == 150
    assert {femur.side for femur in femurs} == {"left", "right"}
    assert random_femur(np.random.default_rng(7)) == random_femur(np.random.default_rng(7))


def test_a_drawn_phantom_is_whole() -> None:
    rng = np.random.default_rng(11)
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 3.0))
    for _ in range(2):
        made = femur_phantom(random_femur(rng), scanner=scanner)
        bone = np.isin(made.labels.array, (1, 2, 3))
        assert ndimage.label(bone)[1] == 1

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bonekit.case import parse_case
from bonekit.errors import InputError
from bonekit.fem.muscles import MuscleLoad
from bonekit.fem.named_loads import NamedLoad
from bonekit.fem.stance import CONVENTIONS
from bonekit.fem.tissue import VOID, Tissue
from bonekit.resolve import LOADINGS, loading_of, tissue_of

MINE = {
    "name": "mine",
    "kind": "ash",
    "pieces": [{"factor": 1000.0}, {"from_g_cm3": 0.5, "factor": 9000.0, "offset": -4000.0}],
    "low_g_cm3": 0.01,
    "high_g_cm3": 1.5,
    "source": "our own tests",
}


def tissue(bone: str = "femur_left", **material: Any) -> Tissue:
    return tissue_of(parse_case({"material": material}, "of a test"), bone)


def test_the_law_follows_from_the_bone_unless_it_is_given() -> None:
    assert tissue("femur_left").law.name == "keyak_2005"
    assert tissue("vertebra_L3").law.name == "morgan_2003_vertebra"
    assert tissue("vertebra_L3", law="keller_1994").law.name == "keller_1994"


def test_a_law_in_pieces() -> None:
    law = tissue(law="mine", laws=[MINE]).law
    np.testing.assert_allclose(law.modulus(np.array([0.0, 0.4, 0.6, 9.0])), [10, 400, 1400, 9500])
    first = {**MINE["pieces"][0], "from_g_cm3": 0.1}  # type: ignore[index]
    with pytest.raises(InputError, match=r"its first piece starts at 0.1 g/cm3"):
        tissue(law="mine", laws=[{**MINE, "pieces": [first]}])


def test_regions_have_laws_of_their_own() -> None:
    found = tissue(laws=[MINE], regions={"cortex": "mine"})
    assert (found.law.name, found.regions["cortex"].name) == ("keyak_2005", "mine")
    with pytest.raises(InputError, match="law 'other' is unknown; known: keyak_2005"):
        tissue(regions={"cortex": "other"})


def test_lesions_are_treated_by_number_kind_and_default() -> None:
    policy = tissue(
        lesions={
            "default": {"treatment": "law", "law": "keller_1994"},
            "lytic": {"treatment": "void"},
            "each": {2: {"treatment": "modulus", "E_MPa": 500.0}, 3: {"treatment": "density"}},
        }
    ).lesions
    assert policy.default.name == "keller_1994"  # type: ignore[union-attr]
    assert policy.by_kind == {"lytic": VOID}
    assert policy.by_number[2].modulus(np.zeros(1)) == [500.0]  # type: ignore[union-attr]
    assert policy.by_number[3] == "density"


def loading(load: dict[str, Any], mass_kg: float | None = 70.0) -> Any:
    case = parse_case({"load": load, "patient": {"mass_kg": mass_kg}}, "of a test")
    return loading_of(case.load, "femur_left", case.patient.mass_kg)


@pytest.mark.parametrize("name", list(LOADINGS))
def test_defaults_of_the_case_are_those_of_the_library(name: str) -> None:
    assert loading({"case": name}) == LOADINGS[name]()


@pytest.mark.parametrize("name", ["walking", "stair_climbing"])
def test_muscles_get_the_patients_mass(name: str) -> None:
    assert loading({"case": name}) == MuscleLoad(name, 70.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"{name} needs the patient's mass"):
        loading({"case": name}, None)


def test_a_convention_gives_way_to_what_is_stated() -> None:
    made = loading({"case": "single_leg_stance", "convention": "nijmegen", "adduction_deg": 8.0})
    assert made == replace(CONVENTIONS["nijmegen"], adduction_deg=8.0)


def test_loads_on_sets() -> None:
    held = [{"set": "distal_face", "components": ["superior"]}]
    loaded = [{"set": "head_cap", "force_N": [0, 0, -500]}]
    made = loading({"case": "named_sets", "held": held, "loaded": loaded})
    assert made == NamedLoad(
        (("distal_face", ("superior",), 0.0),), (("head_cap", (0.0, 0.0, -500.0)),)
    )

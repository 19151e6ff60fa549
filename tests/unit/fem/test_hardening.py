"""Yield stresses for decks from laws of bone."""

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.catalogue import LAWS
from bonekit.fem.hardening import perfect_plasticity


def test_strength_is_that_of_the_density_with_the_modulus() -> None:
    law = LAWS["keyak_2005"]
    assert law.strength is not None
    density = np.array([0.1, 0.3, 0.55, 1.1])
    table = perfect_plasticity(law)
    for E, S in zip(law.modulus(density).tolist(), law.strength(density).tolist(), strict=True):
        ((stress, strain),) = table(E)
        assert (stress, strain) == (pytest.approx(S, rel=1e-3), 0.0)


def test_yield_strain_gives_a_stress() -> None:
    table = perfect_plasticity(LAWS["morgan_2003_femoral_neck"])
    assert table(2000.0) == ((pytest.approx(2000.0 * 0.0085), 0.0),)


@pytest.mark.parametrize(
    ("name", "words"),
    [("mulder_2007", "gives no strength"), ("bayraktar_2004_cortical_tissue", "does not rise")],
)
def test_laws_that_say_too_little_are_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        perfect_plasticity(LAWS[name])

import numpy as np
import pytest

from bonekit.density import DensityKind
from bonekit.errors import InputError
from bonekit.fem.materials import LAWS, elasticity, law_named

ASH = np.array([0.1, 0.4, 0.8, 1.2])


@pytest.mark.parametrize(
    ("law", "E_MPa"),
    [
        ("keyak_2005", [205.7, 2710.3, 9838.6, 20915.3]),
        ("keller_1994", [53.9, 1288.0, 6298.9, 15941.0]),
    ],
)
def test_published_moduli(law: str, E_MPa: list[float]) -> None:
    made = elasticity(ASH, DensityKind.ASH, law_named(law))
    np.testing.assert_allclose(made.E_MPa, E_MPa, rtol=1e-3)
    assert (made.n_floor, made.n_ceiling) == (0, 0)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_what_is_clamped_is_counted(law) -> None:
    density = np.array([-0.2, 0.0, law.low, 0.5, law.high, 1.5])
    made = elasticity(density, DensityKind.ASH, law)
    assert (made.n_floor, made.n_ceiling) == (2, 1)
    np.testing.assert_array_equal(made.E_MPa[[0, 1]], made.E_MPa[2])
    assert made.E_MPa[5] == made.E_MPa[4] == pytest.approx(law.factor * 1.4**law.exponent)
    assert (made.E_MPa > 0).all()


def test_the_wrong_kind_of_density_is_refused() -> None:
    for kind in set(DensityKind) - {DensityKind.ASH}:
        with pytest.raises(InputError, match=f"asks for ash density, got {kind}"):
            elasticity(ASH, kind, LAWS["keyak_2005"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_density_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="1 element densities are NaN"):
        elasticity(np.array([0.3, bad]), DensityKind.ASH, LAWS["keyak_2005"])


def test_an_unknown_law_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="'carter' is unknown; known: keyak_2005, keller_1994"):
        law_named("carter")


def test_a_law_reads_as_a_formula() -> None:
    assert LAWS["keyak_2005"].description == "E = 14900 MPa * (ash density in g/cm3) ^ 1.86"

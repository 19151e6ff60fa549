from dataclasses import replace

import numpy as np
import pytest

from bonekit.density import DensityKind, conversion
from bonekit.errors import InputError
from bonekit.fem.materials import LAWS, Law, Power, elasticity, law_named

ASH = np.array([0.1, 0.4, 0.8, 1.2])


# notes/fe.md: E at these ash densities; Morgan's by apparent = ash / 0.6. Morgan's others, Carter &
# Hayes at 0.01/s and Kopperdahl of K2HPO4 = (ash - 0.0389) / 1.06 are worked out apart.
@pytest.mark.parametrize(
    ("law", "E_MPa"),
    [
        ("keyak_2005", [205.7, 2710.3, 9838.6, 20915.3]),
        ("keller_1994", [53.9, 1288.0, 6298.9, 15941.0]),
        ("morgan_2003_femoral_neck", [474.5, 3743.8, 10516.0, 19240.0]),
        ("morgan_2003_vertebra", [289.02, 2512.76, 7408.86, 13946.3]),
        ("morgan_2003_greater_trochanter", [302.00, 6201.59, 28102.5, 68015.5]),
        ("carter_hayes_1977", [13.310, 851.85, 6814.8, 23000.1]),
        ("kopperdahl_2002_power", [148.93, 961.95, 2104.5, 3279.1]),
        ("kopperdahl_2002_linear", [151.48, 1065.63, 2284.5, 3503.4]),
    ],
)
def test_published_moduli(law: str, E_MPa: list[float]) -> None:
    wanted = law_named(law)
    density = conversion(DensityKind.ASH, wanted.kind)(ASH)
    made = elasticity(density, wanted.kind, wanted)
    np.testing.assert_allclose(made.E_MPa, E_MPa, rtol=1e-3)
    assert (made.n_floor, made.n_ceiling) == (0, 0)


def test_every_law_has_a_published_modulus() -> None:
    [parameters] = [
        mark.args[1] for mark in test_published_moduli.pytestmark if mark.name == "parametrize"
    ]
    assert {name for name, _ in parameters} == set(LAWS)


@pytest.mark.parametrize(
    ("law", "S_MPa"),
    [
        ("keyak_2005", [1.62, 19.6, 68.26, 141.6]),
        ("kopperdahl_2002_power", [1.5236, 10.4649, 27.426, 48.187]),
    ],
)
def test_published_strengths(law: str, S_MPa: list[float]) -> None:
    strength = LAWS[law].strength
    assert strength is not None
    np.testing.assert_allclose(strength(ASH), S_MPa, rtol=3e-3)  # the notes round 1.617 to 1.62


def test_numbers_from_memory_say_so() -> None:
    assert [law.name for law in LAWS.values() if not law.verified] == ["carter_hayes_1977"]
    assert "unverified" in LAWS["keller_1994"].strength_source
    assert "0.01/s" in LAWS["carter_hayes_1977"].source


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_what_is_clamped_is_counted(law: Law) -> None:
    density = np.array([-0.2, 0.0, law.low, 0.5, law.high, law.high + 0.1])
    made = elasticity(density, law.kind, law)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (2, 1, None)
    np.testing.assert_array_equal(made.E_MPa[[0, 1]], made.E_MPa[2])
    assert made.E_MPa[5] == made.E_MPa[4] == law.pieces[0](np.array(law.high))
    assert (made.E_MPa > 0).all()


def test_what_lies_outside_the_measured_range_is_counted_and_kept() -> None:
    law = replace(LAWS["keyak_2005"], valid=(0.1, 0.8))
    density = np.array([0.003, 0.05, 0.1, 0.4, 0.8, 0.81])
    made = elasticity(density, DensityKind.ASH, law)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (1, 0, 3)
    np.testing.assert_array_equal(
        made.E_MPa, elasticity(density, DensityKind.ASH, LAWS["keyak_2005"]).E_MPa
    )


def law_of(*pieces: Power, low: float = 0.1, high: float = 1.0, **more: tuple[float, ...]) -> Law:
    return Law("mine", DensityKind.ASH, pieces, low, high, "typed in", "none", **more)


def test_a_law_of_pieces() -> None:
    law = law_of(Power(1000.0, 2.0), Power(2000.0), Power(10.0, 1.0, 50.0), bounds=(0.5, 0.8))
    E = law.modulus(np.array([[0.0, 0.2, 0.49], [0.5, 0.8, 9.0]]))
    np.testing.assert_allclose(E, [[10.0, 40.0, 240.1], [1000.0, 58.0, 60.0]])
    assert law.description == (
        "E = 1000 MPa * (ash density in g/cm3) ^ 2 below 0.5 g/cm3; "
        "2000 MPa * (ash density in g/cm3) below 0.8 g/cm3; "
        "50 MPa + 10 MPa * (ash density in g/cm3) from 0.8 g/cm3"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": -0.1}, "densities must be 0 or more and rise"),
        ({"low": 1.0}, "densities must be 0 or more and rise"),
        ({"high": np.nan}, "densities must be 0 or more and rise"),
        ({"low": 0.0}, "modulus must be positive .* it is 0, 1000 MPa at 0, 1 g/cm3"),
        ({"valid": (0.5, 0.5)}, "valid range"),
        ({"bounds": (0.5,)}, "1 pieces need 0 bounds between them, got 1"),
    ],
)
def test_a_law_that_makes_no_sense_is_refused(change: dict, message: str) -> None:
    assert law_of(Power(1000.0)).modulus(np.array(0.5)) == 500.0
    with pytest.raises(InputError, match=message):
        law_of(Power(1000.0), **change)


def test_a_line_below_its_zero_is_refused() -> None:
    with pytest.raises(InputError, match="Raise the lower limit"):
        replace(LAWS["kopperdahl_2002_linear"], low=0.0107)


def test_the_wrong_kind_of_density_is_refused() -> None:
    for kind in set(DensityKind) - {DensityKind.ASH}:
        with pytest.raises(InputError, match=f"asks for ash density, got {kind}"):
            elasticity(ASH, kind, LAWS["keyak_2005"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_density_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="1 element densities are NaN"):
        elasticity(np.array([0.3, bad]), DensityKind.ASH, LAWS["keyak_2005"])


def test_an_unknown_law_lists_the_known_ones() -> None:
    with pytest.raises(
        InputError, match="'carter' is unknown; known: keyak_2005, keller_1994, morgan"
    ):
        law_named("carter")


def test_a_law_reads_as_a_formula() -> None:
    assert LAWS["keyak_2005"].description == "E = 14900 MPa * (ash density in g/cm3) ^ 1.86"
    assert LAWS["kopperdahl_2002_linear"].description == (
        "E = -34.7 MPa + 3230 MPa * (k2hpo4 density in g/cm3)"
    )

from dataclasses import replace

import numpy as np
import pytest

from bonekit.density import DensityKind, conversion
from bonekit.errors import InputError
from bonekit.fem.catalogue import homminga
from bonekit.fem.laws import SITE_GROUPS, PostYield, fixed_modulus, site_group, site_mismatch
from bonekit.fem.materials import LAWS, Law, Power, elasticity, law_named

ASH = np.array([0.1, 0.4, 0.8, 1.2])


# E at these ash densities, as Keyak, Keller and Morgan's neck are tabulated elsewhere; Morgan's by
# apparent = ash / 0.6. Morgan's others, Carter & Hayes at 0.01/s, Kopperdahl of
# K2HPO4 = (ash - 0.0389) / 1.06, Mulder and Homminga of HA = (ash - 0.0789) / 0.877 are worked out
# apart.
@pytest.mark.parametrize(
    ("law", "E_MPa"),
    [
        ("keyak_2005", [205.7, 2710.3, 9838.6, 20915.3]),
        ("keller_1994", [53.9, 1288.0, 6298.9, 15941.0]),
        ("morgan_2003_femoral_neck", [474.5, 3743.8, 10516.0, 19240.0]),
        ("morgan_2003_vertebra", [289.02, 2512.76, 7408.86, 13946.3]),
        ("morgan_2003_greater_trochanter", [302.00, 6201.59, 28102.5, 68015.5]),
        ("morgan_2003_proximal_tibia", [488.72, 7096.36, 27041.0, 59139.8]),
        ("morgan_2003_pooled", [336.01, 4247.35, 15100.9, 31713.9]),
        ("mulder_2007", [13.75, 3323.43, 14725.9, 26128.5]),
        ("homminga_2003", [17.708, 1812.13, 7169.57, 10000.0]),
        ("bayraktar_2004_trabecular_tissue", [18000.0] * 4),
        ("bayraktar_2004_cortical_tissue", [20000.0] * 4),
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
    clamped = {"mulder_2007": (1, 0), "homminga_2003": (0, 1)}  # the softest, the stiffest
    assert (made.n_floor, made.n_ceiling) == clamped.get(law, (0, 0))


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
    assert [law.name for law in LAWS.values() if not law.verified] == [
        "morgan_2003_proximal_tibia",
        "carter_hayes_1977",
        "homminga_2003",
    ]
    assert all("unverified" in law.valid_source for law in LAWS.values() if law.valid)
    assert "unverified" in LAWS["keller_1994"].strength_source
    assert "0.01/s" in LAWS["carter_hayes_1977"].source


@pytest.mark.parametrize(
    "law", [law for law in LAWS.values() if not law.constant], ids=lambda law: law.name
)
def test_what_is_clamped_is_counted(law: Law) -> None:
    density = np.array([-0.2, 0.0, law.low, 0.5, law.high, law.high + 0.1])
    made = elasticity(density, law.kind, law)
    assert (made.n_floor, made.n_ceiling) == (2, 1)
    assert (made.n_extrapolated is None) == (law.valid is None)
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


@pytest.mark.parametrize("name", ["morgan_2003_femoral_neck", "morgan_2003_vertebra"])
def test_what_a_law_of_the_registry_was_not_measured_on_is_counted(name: str) -> None:
    law = LAWS[name]
    made = elasticity(np.array([0.05, 0.3, 0.9]), law.kind, law)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (0, 0, 2)


def test_a_constant_clamps_nothing() -> None:
    law = fixed_modulus(2500.0)
    made = elasticity(np.array([-0.5, 0.3, 9.0]), DensityKind.ASH, law)
    assert (made.n_floor, made.n_ceiling, made.n_extrapolated) == (0, 0, None)
    assert made.E_MPa.tolist() == [2500.0] * 3
    assert (law.name, law.description) == ("fixed_2500_MPa", "E = 2500 MPa")
    assert (law.constant, LAWS["keyak_2005"].constant) == (True, False)


@pytest.mark.parametrize("E_MPa", [0.0, -1.0, np.nan, np.inf])
def test_a_fixed_modulus_is_positive(E_MPa: float) -> None:
    with pytest.raises(InputError, match=r"must be positive.* take the treatment void"):
        fixed_modulus(E_MPa)


def test_homminga_on_a_scale_of_ones_own() -> None:
    law = homminga(22500.0, 1.2, DensityKind.HA, "mine")
    E = elasticity(np.array([1.2, 0.6, 1.3]), DensityKind.HA, law)
    np.testing.assert_allclose(E.E_MPa, [22500.0, 22500.0 * 0.5**1.7, 22500.0])
    assert (law.verified, E.n_ceiling) == (True, 1)
    with pytest.raises(InputError, match="both must be positive"):
        homminga(22500.0, 0.0, DensityKind.HA, "mine")


# Of elements of 3 mm, as Sas et al. 2020 write them out: 15/3 and 5/3 for the plateau,
# 3 E Ep / (15 E - 12 Ep) and 3 E Ep / (5 E - 2 Ep) for the slope.
def test_after_yield_in_elements_of_3_mm() -> None:
    law, rho = LAWS["keyak_2005"], np.array([0.3, 1.1])
    E = law.modulus(rho)
    trabecular, cortical = law.after_yield("trabecular"), law.after_yield("cortical")
    np.testing.assert_allclose(trabecular.plateau_strain(rho, 3.0), (0.00189 + 0.0241 * rho) * 5)
    np.testing.assert_allclose(cortical.plateau_strain(rho, 3.0), (0.0184 - 0.01 * rho) * 5 / 3)
    slope = -2080 * rho**1.45
    np.testing.assert_allclose(
        trabecular.softening_modulus(rho, E, 3.0), 3 * E * slope / (15 * E - 12 * slope)
    )
    np.testing.assert_allclose(
        cortical.softening_modulus(rho, E, 3.0), 3 * E * -1000 / (5 * E - 2 * -1000)
    )
    np.testing.assert_allclose(trabecular.minimum_stress(rho), [4.8760, 51.215], rtol=1e-4)
    assert law.strength is not None
    assert (cortical.minimum_stress(rho) < law.strength(rho)).all()


@pytest.mark.parametrize("region", ["trabecular", "cortical"])
@pytest.mark.parametrize("edge_mm", [0.5, 1.5, 3.0, 5.0])
def test_a_specimen_softens_alike_on_every_mesh(region: str, edge_mm: float) -> None:
    law = LAWS["keyak_2005"]
    after: PostYield = law.after_yield(region)  # type: ignore[arg-type]
    rho = np.array([0.2, 0.6, 1.2])
    E, length = law.modulus(rho), after.specimen_mm
    drop = 5.0  # MPa of stress lost; one element softens while the others unload
    strain = drop / after.softening_modulus(rho, E, edge_mm)
    longer = -strain * edge_mm - (length - edge_mm) * drop / E
    np.testing.assert_allclose(-drop / (longer / length), after.softening(rho))
    extra = after.plateau_strain(rho, edge_mm) * edge_mm / length
    np.testing.assert_allclose(extra, after.plateau(rho))


def test_elements_longer_than_the_softening_allows_are_refused() -> None:
    after = LAWS["keyak_2005"].after_yield("cortical")
    rho, E = np.array([0.1]), np.array([205.7])
    assert after.softening_modulus(rho, E, 6.0)[0] < 0
    with pytest.raises(InputError, match="elements of 7 mm are too long"):
        after.softening_modulus(rho, E, 7.0)
    for edge_mm in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="must be positive"):
            after.plateau_strain(rho, edge_mm)


def test_a_law_without_an_end_says_so() -> None:
    with pytest.raises(InputError, match="keller_1994 does not say how cortical bone behaves"):
        LAWS["keller_1994"].after_yield("cortical")


def test_yield_of_tissue_and_of_sites() -> None:
    neck = LAWS["morgan_2003_femoral_neck"].yield_strain
    assert neck is not None
    assert (neck.compression, neck.tension) == (0.0085, 0.0061)
    tissue = LAWS["bayraktar_2004_trabecular_tissue"]
    assert tissue.strength is not None
    assert tissue.tensile_strength is not None
    assert (tissue.strength(ASH)[0], tissue.tensile_strength(ASH)[0]) == (134.0, 83.0)


@pytest.mark.parametrize(
    ("law", "bone", "fits"),
    [
        ("keyak_2005", "femur_left", True),
        ("keyak_2005", "vertebra_L3", False),
        ("keller_1994", "vertebra_T12", True),
        ("morgan_2003_femoral_neck", "femur_right", True),
        ("morgan_2003_greater_trochanter", "femur_right", True),
        ("morgan_2003_proximal_tibia", "femur_right", False),
        ("morgan_2003_pooled", "vertebra_L1", True),
        ("kopperdahl_2002_linear", "femur_right", False),
        ("carter_hayes_1977", "vertebra_L1", True),
        ("bayraktar_2004_cortical_tissue", "femur_left", True),
    ],
)
def test_a_law_of_another_bone_is_remarked(law: str, bone: str, fits: bool) -> None:
    remark = site_mismatch(LAWS[law], bone)
    assert (remark is None) == fits
    assert remark is None or (law in remark and bone in remark and LAWS[law].site in remark)


def test_laws_are_listed_by_their_bones() -> None:
    groups = {name: site_group(law) for name, law in LAWS.items()}
    assert set(groups.values()) == set(SITE_GROUPS)
    assert groups["morgan_2003_femoral_neck"] == "femur"
    assert groups["kopperdahl_2002_linear"] == "vertebra"
    assert groups["keller_1994"] == groups["carter_hayes_1977"] == "several and other bones"
    assert groups["mulder_2007"] == "tissue"

"""Attenuation coefficients against printed tables."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bonekit.calibration.attenuation import (
    MATERIALS,
    attenuation,
    equivalent_hu,
    mass_attenuation,
    tissue_hu,
)
from bonekit.density import DensityKind
from bonekit.errors import InputError

# NIST, X-Ray Mass Attenuation Coefficients, table 4, cm2/g at 60, 80 and 100 keV
NIST = {
    "air": (0.1875, 0.1662, 0.1541),
    "water": (0.2059, 0.1837, 0.1707),
    "adipose_icru44": (0.1974, 0.1800, 0.1688),
    "muscle": (0.2048, 0.1823, 0.1693),
    "blood": (0.2057, 0.1827, 0.1695),
    "cortical_bone": (0.3148, 0.2229, 0.1855),
}


@pytest.mark.parametrize("name", NIST)
def test_coefficients_are_those_of_the_nist(name: str) -> None:
    assert_allclose(mass_attenuation(name, [60, 80, 100]), NIST[name], rtol=2e-3)


@pytest.mark.parametrize("name", MATERIALS)
def test_a_material_is_whole(name: str) -> None:
    assert sum(MATERIALS[name].mass_fractions.values()) == pytest.approx(1, abs=1e-12)
    assert MATERIALS[name].source


def test_the_spline_is_that_of_the_library() -> None:
    import xraydb

    energy = np.linspace(21, 199, 40)
    direct = xraydb.material_mu("Ca5(PO4)3OH", 1000 * energy, density=3.16)
    assert_allclose(attenuation("hydroxyapatite", energy), direct, rtol=2e-4)


def test_water_and_air_define_the_scale() -> None:
    assert_allclose(tissue_hu("water", [45, 70, 110]), 0, atol=1e-9)
    assert_allclose(tissue_hu("air", [45, 70, 110]), -1000, atol=1e-9)


def test_minerals_displace_water() -> None:
    """By hand, at 70 keV: 1 g in 1 cm3 with the water it leaves room for."""
    water, air = (float(attenuation(name, 70)) for name in ("water", "air"))
    apatite = float(mass_attenuation("hydroxyapatite", 70)) + (1 - 1 / 3.16) * water
    salt = float(mass_attenuation("k2hpo4", 70)) + (1 - 0.2174) * water
    for kind, mu in ((DensityKind.HA, apatite), (DensityKind.K2HPO4, salt)):
        assert float(equivalent_hu(kind, 70)) == pytest.approx(1000 * (mu - water) / (water - air))
    assert float(equivalent_hu(DensityKind.HA, 70)) == pytest.approx(1307, abs=3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no material named 'gold'; there are: air, water"):
        mass_attenuation("gold", 70)
    with pytest.raises(InputError, match="from 10 to 70 keV; allowed: 20 to 200"):
        mass_attenuation("water", [10, 70])
    with pytest.raises(InputError, match="is made of ash density; allowed: hydroxyapatite, k2hpo4"):
        equivalent_hu(DensityKind.ASH, 70)

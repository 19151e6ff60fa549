import numpy as np
import pytest

from bonekit.fem.fields import (
    energy_equivalent_strain,
    principal_strains,
    principal_stresses,
    strain_energy_density,
    stress,
    von_mises,
)


def uniaxial(nu: float) -> np.ndarray:
    return np.array([[-0.01 * nu, -0.01 * nu, 0.01, 0.0, 0.0, 0.0]])


def test_uniaxial_strain_gives_uniaxial_stress() -> None:
    s = stress(uniaxial(0.3), [2000.0], 0.3)
    np.testing.assert_allclose(s, [[0, 0, 20.0, 0, 0, 0]], atol=1e-12)
    assert von_mises(s)[0] == pytest.approx(20.0)


def test_energy_equivalent_strain_of_a_bar_is_its_strain() -> None:
    sed = strain_energy_density(uniaxial(0.3), [2000.0], 0.3)
    assert sed[0] == pytest.approx(0.5 * 2000 * 0.01**2)
    assert energy_equivalent_strain(sed, [2000.0])[0] == pytest.approx(0.01)


@pytest.mark.parametrize("component", [3, 4, 5])
def test_pure_shear(component: int) -> None:
    strain = np.zeros((1, 6))
    strain[0, component] = 0.02  # engineering shear
    np.testing.assert_allclose(principal_strains(strain), [[-0.01, 0, 0.01]], atol=1e-15)
    s = stress(strain, [2600.0], 0.3)
    np.testing.assert_allclose(principal_stresses(s), [[-20, 0, 20]], atol=1e-10)
    assert von_mises(s)[0] == pytest.approx(20 * np.sqrt(3))


def test_invariants_do_not_see_a_rotation() -> None:
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    T = rng.standard_normal((3, 3))
    T = T + T.T
    pick = ([0, 1, 2, 0, 1, 0], [0, 1, 2, 1, 2, 2])
    plain, turned = T[pick][None], (Q @ T @ Q.T)[pick][None]
    np.testing.assert_allclose(principal_stresses(plain), principal_stresses(turned))
    np.testing.assert_allclose(von_mises(plain), von_mises(turned))

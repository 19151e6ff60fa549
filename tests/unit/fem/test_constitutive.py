"""Material laws at points: tangents, dissipation, rotation, bars; numpy and torch alike."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.fem.constitutive import MaterialLaw, State, elastic_stress, halve_shear, virgin
from bonekit.fem.constitutive_spectral import shifted_clip
from bonekit.fem.damage_law import damage_law
from bonekit.fem.elastic_law import Elastic, TransverselyIsotropic
from bonekit.fem.fields import tensors
from bonekit.fem.plastic_laws import Plastic, drucker_prager, j2
from bonekit.fem.strain_yield_law import strain_yield

N = 60
E = np.random.default_rng(0).uniform(500.0, 5000.0, N)
AXES = np.random.default_rng(1).normal(size=(N, 3))
AXES /= np.linalg.norm(AXES, axis=1)[:, None]
SYMMETRIC: dict[str, MaterialLaw] = {
    "elastic": Elastic(E, 0.3),
    "transverse": TransverselyIsotropic(E, 0.25, 1.8, 0.35, 0.4, AXES),
    "j2": j2(E, 0.3, [0.0, 0.01, 0.02, 0.05], np.outer(E, [0.006, 0.008, 0.004, 0.002])),
    "drucker-prager": drucker_prager(E, 0.3, 0.006 * E, 0.01 * E, hardening_MPa=30.0),
    "strain": strain_yield(E, 0.3, hardening=0.05),
}
LAWS = SYMMETRIC | {
    "not associated": drucker_prager(E, 0.3, 0.006 * E, 0.01 * E, dilatancy=0.2),
    "damage": damage_law(E, 0.3, (0.0073, 0.0104), (0.3, 1.0), 1.0),
}
ISOTROPIC = {name: law for name, law in LAWS.items() if name != "transverse"}
BROKEN = {name: law for name, law in LAWS.items() if name not in ("elastic", "transverse")}


def each(laws: dict[str, MaterialLaw]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("law", laws.values(), ids=laws.keys())


def random_path(seed: int = 0, steps: int = 9) -> list[np.ndarray]:
    """Strain increments; every third has equal principal strains and no shear: a corner."""
    rng = np.random.default_rng(seed)
    path = [rng.normal(size=(N, 6)) * 0.006 * rng.choice([0.1, 1, 2], (N, 1)) for _ in range(steps)]
    for increment in path[1::3]:
        increment[:, 3:] = 0
        increment[:, 1] = increment[:, 2]
    path[0][:6] = 0
    path[0][:6, :3] = np.array([1.0, -1.0, 3.0, -3.0, 0.01, -0.01])[:, None] * 0.02  # hydrostatic
    return path


def states(law: MaterialLaw) -> list[tuple[State, np.ndarray]]:
    """Each state of a random path and the increment that leaves it."""
    state, found = virgin(np.zeros((N, 6))), []
    for increment in random_path():
        found.append((state, increment))
        state = law.update(increment, state).state
    return found


@each(LAWS)
def test_the_tangent_is_the_derivative_of_the_stress(law: MaterialLaw) -> None:
    h, wrong = 1e-7, 0
    for state, increment in states(law):
        numeric = np.empty((N, 6, 6))
        for k in range(6):
            d = h * np.eye(6)[k]
            above, below = (law.update(increment + s * d, state).stress_MPa for s in (1, -1))
            numeric[:, :, k] = (above - below) / (2 * h)
        error = np.abs(numeric - law.update(increment, state).tangent_MPa).max((1, 2)) / E
        wrong += np.count_nonzero(error > 1e-6)
    # a difference across a kink, such as the yield surface itself, has no derivative to find
    assert wrong <= 1


@each(SYMMETRIC)
def test_associated_laws_have_symmetric_tangents(law: MaterialLaw) -> None:
    for state, increment in states(law):
        D = law.update(increment, state).tangent_MPa
        np.testing.assert_allclose(D, D.swapaxes(1, 2), atol=1e-12 * E.max())


@each(BROKEN)
def test_dissipation_is_never_negative(law: MaterialLaw) -> None:
    """Plastic: stress times plastic strain; damage: energy lost at constant strain."""
    total = np.zeros(N)
    for state, increment in states(law):
        found = law.update(increment, state)
        plastic = (found.stress_MPa * (found.state.plastic - state.plastic)).sum(-1)
        kept = law.stored_energy(replace(found.state, history=state.history))
        lost = plastic + kept - law.stored_energy(found.state)
        assert (lost > -1e-12 * E).all()
        total += lost
    assert np.count_nonzero(total > 1e-3 * 0.006**2 * E) > 0.8 * N


@each(LAWS)
def test_without_history_the_stress_is_the_slope_of_the_energy(law: MaterialLaw) -> None:
    """Of damage at constant damage too, which makes closed cycles free of charge."""
    for state, increment in states(law):
        after = law.update(increment, state)
        again = law.update(0 * increment, after.state)  # no further flow or damage
        h = 1e-7
        slope = np.empty((N, 6))
        for k in range(6):
            d = h * np.eye(6)[k]
            energies = [
                law.stored_energy(replace(after.state, strain=after.state.strain + s * d))
                for s in (1, -1)
            ]
            slope[:, k] = (energies[0] - energies[1]) / (2 * h)
        np.testing.assert_allclose(slope, again.stress_MPa, atol=1e-6 * E.max())


@each(ISOTROPIC)
def test_isotropic_laws_do_not_see_the_axes(law: MaterialLaw) -> None:
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))

    def turned(strain: np.ndarray) -> np.ndarray:
        t = q @ tensors(strain, engineering=True) @ q.T
        return np.stack(
            [t[:, 0, 0], t[:, 1, 1], t[:, 2, 2], *(2 * t[:, i, j] for i, j in PAIRS)], 1
        )

    here, there = virgin(np.zeros((N, 6))), virgin(np.zeros((N, 6)))
    for increment in random_path(seed=5):
        a, b = law.update(increment, here), law.update(turned(increment), there)
        expected = q @ tensors(a.stress_MPa, engineering=False) @ q.T
        np.testing.assert_allclose(
            tensors(b.stress_MPa, engineering=False), expected, atol=1e-9 * E.max()
        )
        here, there = a.state, b.state


PAIRS = ((0, 1), (1, 2), (0, 2))


@each(LAWS)
def test_torch_gives_what_numpy_gives(law: MaterialLaw) -> None:
    tensors_of = law.mapped(torch.as_tensor)
    for state, increment in states(law):
        ours = law.update(increment, state)
        theirs = tensors_of.update(torch.as_tensor(increment), state.mapped(torch.as_tensor))
        assert isinstance(theirs.stress_MPa, torch.Tensor)
        for a, b in (
            (ours.stress_MPa, theirs.stress_MPa),
            (ours.tangent_MPa, theirs.tangent_MPa),
            (1e6 * ours.state.plastic, 1e6 * theirs.state.plastic),
            (1e6 * ours.state.history, 1e6 * theirs.state.history),
        ):
            np.testing.assert_allclose(b.numpy(), a, atol=1e-7 * E.max())


@each(BROKEN)
def test_what_is_surely_elastic_is(law: MaterialLaw) -> None:
    rng = np.random.default_rng(7)
    said = 0
    for size in (1e-4, 1e-3, 3e-3, 6e-3, 1e-2):
        strain = rng.normal(size=(N, 6)) * size
        sure = law.surely_elastic(strain)
        found = law.update(strain, virgin(strain))
        assert not found.state.history[sure].any()
        np.testing.assert_allclose(found.stress_MPa[sure], elastic_stress(strain, E, 0.3)[sure])
        said += np.count_nonzero(sure)
    assert said > N


def bar(law: MaterialLaw, strains: np.ndarray) -> np.ndarray:
    """Stress of the first point in a bar along z whose sides are free."""
    state, lateral, found = virgin(np.zeros((N, 6))), np.zeros(6), []
    free = [0, 1, 3, 4, 5]
    for strain in strains:
        for _ in range(60):
            total = lateral.copy()
            total[2] = strain
            response = law.update(total - state.strain, state)
            out = response.stress_MPa[0, free]
            if np.abs(out).max() < 1e-10 * E[0]:
                break
            lateral[free] -= np.linalg.solve(response.tangent_MPa[0][np.ix_(free, free)], out)
        else:
            raise AssertionError("the sides of the bar do not come to rest")
        state = response.state
        found.append(response.stress_MPa[0, 2])
    return np.array(found)


def hardening(strain: float) -> float:
    """Stress over E[0] of the table of ``SYMMETRIC["j2"]`` under tension."""
    table, stress = np.array([0, 0.01, 0.02, 0.05]), np.array([0.006, 0.008, 0.004, 0.002])
    return min(strain, float(np.interp(strain, table + stress, stress)))


def softening(side: int) -> Callable[[float], float]:
    k0, G = ((0.0073, 0.3), (0.0104, 1.0))[side]
    kf = G / (E[0] * k0) - k0 / 2
    left = 1e-5  # of the stiffness stays
    return lambda e: e if e < k0 else left * e + (1 - left) * k0 * float(np.exp(-(e - k0) / kf))


@pytest.mark.parametrize(
    ("name", "sign", "expected"),
    [
        ("j2", 1, hardening),
        ("j2", -1, hardening),
        ("drucker-prager", 1, None),
        ("drucker-prager", -1, None),
        ("strain", 1, lambda e: min(e, 0.95 * 0.0073 + 0.05 * e)),
        ("strain", -1, lambda e: min(e, 0.95 * 0.0104 + 0.05 * e)),
        ("damage", 1, softening(0)),
        ("damage", -1, softening(1)),
    ],
)
def test_a_bar_follows_its_curve(
    name: str, sign: int, expected: Callable[[float], float] | None
) -> None:
    strains = np.linspace(0.001, 0.03, 30)
    stress = sign * bar(LAWS[name], sign * strains) / E[0]
    if expected is None:  # yield stress d / (1 +- f / 3), where d rises by 30 MPa
        first, friction = (0.006, 0.75) if sign > 0 else (0.01, -0.75)
        factor = 1 + friction / 3
        # kappa per axial plastic strain is 1 / factor, d / factor the stress
        slope = 30.0 / E[0] / factor**2
        tangent = slope / (1 + slope)
        np.testing.assert_allclose(
            stress, np.minimum(strains, first + tangent * (strains - first)), atol=1e-9
        )
        return
    np.testing.assert_allclose(stress, [expected(e) for e in strains], rtol=1e-8, atol=1e-12)


def test_damage_in_tension_is_missing_in_compression() -> None:
    law = LAWS["damage"]
    stress = bar(law, np.array([0.02, 0.0, -0.005])) / E[0]
    np.testing.assert_allclose(stress[2], -0.005 * stress[0] / 0.02, rtol=1e-9)
    crushed = law.update(np.full((N, 6), 0.2), virgin(np.zeros((N, 6)))).state
    assert 0.99 < law.damage(crushed)[:, 0].min() < law.damage(crushed).max() < 1


@each(LAWS)
def test_symmetry_is_declared(law: MaterialLaw) -> None:
    assert law.symmetric == any(law is known for known in SYMMETRIC.values())


def test_transverse_isotropy_is_the_inverse_of_its_engineering_constants() -> None:
    law = TransverselyIsotropic(np.array([1000.0]), 0.25, 1.8, 0.35, 0.4, np.eye(3)[2:])
    S = np.linalg.inv(law.stiffness()[0]) * 1000.0
    np.testing.assert_allclose(
        S[:3, :3], [[1, -0.25, -0.35 / 1.8], [-0.25, 1, -0.35 / 1.8], [-0.35 / 1.8] * 2 + [1 / 1.8]]
    )
    np.testing.assert_allclose(np.diag(S)[3:], [2.5, 1 / 0.4, 1 / 0.4])
    np.testing.assert_allclose(S[:3, 3:], 0, atol=1e-15)


def test_the_closest_point_of_a_box_in_the_metric_of_elasticity() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y, _ = shifted_clip(x, np.full(200, -0.7), np.full(200, 0.5), 0.75)
    metric = 0.75 + np.eye(3)
    energy = np.einsum("ni,ij,nj->n", y - x, metric, y - x)
    for _ in range(200):
        other = rng.uniform(-0.7, 0.5, size=(200, 3))
        assert (np.einsum("ni,ij,nj->n", other - x, metric, other - x) >= energy - 1e-12).all()
    assert np.abs(halve_shear(np.ones(6))[3:] - 0.5).max() == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Elastic(np.array([0.0]), 0.3), "positive Young's modulus"),
        (lambda: Elastic(np.array([1.0]), 0.5), "between -1 and 0.5"),
        (lambda: j2([1000.0], 0.3, [0, 0.01], [10.0, -1.0]), ">= 0 MPa"),
        (lambda: j2([1000.0], 0.3, [0, 0.0], [10.0, 5.0]), "must rise"),
        (lambda: j2([1000.0], 0.3, [0, 0.001], [10.0, 5.0]), "falls faster"),
        (lambda: j2([1000.0], 0.3, [0, 0.1, 0.2], [10.0, 5.0]), "3 strains and 2 stresses"),
        (lambda: Plastic(*np.ones((1, 1)), 0.3, *np.zeros((2, 1, 1)), 0.5, 0.0), "both"),
        (lambda: drucker_prager([1.0], 0.3, [2.0], [1.0]), "above those of tension"),
        (lambda: strain_yield([1.0], 0.3, tension=0.0), "yield strains must be positive"),
        (lambda: strain_yield([1.0], 0.3, hardening=1.0), "hardening < 1"),
        (lambda: damage_law([1e3], 0.3, (0.01, 0.02), (0.01, 1.0), 1.0), "below 0.2 mm"),
        (lambda: TransverselyIsotropic(E, 0.3, 0.1, 0.35, 0.4, AXES), "positive definite"),
        (lambda: TransverselyIsotropic(E, 0.3, 1.0, 0.3, 0.4, 2 * AXES), "unit vectors"),
    ],
)
def test_bad_parameters_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()

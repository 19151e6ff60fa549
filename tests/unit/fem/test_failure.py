"""Failure loads of small blocks: control, peak, snap-back, balances, bad input."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem import path
from bonekit.fem.catalogue import LAWS
from bonekit.fem.constitutive import MaterialLaw
from bonekit.fem.damage_law import damage_law
from bonekit.fem.elastic_law import Elastic, TransverselyIsotropic
from bonekit.fem.failure import Unfinished, failure_load
from bonekit.fem.keyak_law import keyak_law
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.plastic_laws import drucker_prager, j2
from bonekit.fem.solve import solve
from bonekit.fem.steps import Step, peak_bound
from bonekit.fem.strain_yield_law import strain_yield
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh


def block(shape: tuple[int, int, int], E: np.ndarray | float, *, force: bool = False) -> Model:
    """A block on a slide, pushed down at its top by forces or by a plate without friction."""
    mesh = VoxelMesh(np.ones(shape, dtype=np.uint8), Grid.of(shape, 1.0), {1: "bone"})
    faces = [np.flatnonzero(mesh.node_ijk[:, a] == 0) for a in range(3)]
    held = tuple(Constraint("xyz"[a], faces[a], (a,)) for a in range(3))
    top = np.flatnonzero(mesh.node_ijk[:, 2] == shape[2])
    moduli = np.broadcast_to(np.asarray(E, dtype=float), mesh.n_elements).copy()
    if force:
        push = Load("top", top, np.tile([0.0, 0.0, -1.0], (top.size, 1)))
        return Model(mesh, moduli, 0.3, held, (push,))
    return Model(mesh, moduli, 0.3, (*held, Constraint("top", top, (2,), -0.1)))


def uneven(*, force: bool = False) -> tuple[Model, MaterialLaw]:
    """Trabecular bone of 0.3 to 0.5 g/cm3 that softens."""
    ash = np.random.default_rng(2).uniform(0.3, 0.5, 4 * 4 * 6)
    law = LAWS["keyak_2005"]
    E = law.modulus(ash)
    # short specimens, for a peak within a few percent of strain
    after = tuple(replace(a, specimen_mm=2.0) for a in law.post_yield)
    model = block((4, 4, 6), E, force=force)
    return model, keyak_law(replace(law, post_yield=after), ash, E, ash < 0, 1.0)


@pytest.mark.parametrize("force", [False, True])
def test_the_peak_is_found_within_its_bound(force: bool) -> None:
    model, law = uneven(force=force)
    found = failure_load(model, law, end_mm=0.6, share=0.3)
    assert found.reason == "peak"
    assert 0 <= found.above < 0.005
    fine = failure_load(model, law, end_mm=0.6, share=0.03, tolerance=1e-4)
    assert found.strength_N == pytest.approx(fine.strength_N, rel=0.005)
    assert found.strength_N == found.curve_N.max()
    at = np.argmax(found.curve_N)
    assert found.displacement_mm == found.curve_mm[at]
    assert found.curve_N[-1] < 0.99 * found.strength_N
    assert (np.diff(found.curve_mm) > 0).all()
    assert found.yielded.any()
    assert (found.plastic_strain[found.yielded] > 0).all()
    assert not found.damage.any()


def test_the_log_balances() -> None:
    model, law = uneven(force=True)
    found = failure_load(model, law, end_mm=0.6, rtol=1e-7, tolerance=1.0)
    assert max(s.energy_balance for s in found.steps) < 1e-6
    lost = [s.dissipated for s in found.steps]
    assert (np.diff(lost) > -1e-9 * lost[-1]).all()
    assert lost[-1] > 0.1 * found.steps[-1].external_Nmm
    assert max(s.residual for s in found.steps) <= 1e-7
    assert found.nodes_mm.shape == (model.mesh.n_nodes, 3)


@pytest.mark.parametrize("force", [False, True])
def test_before_yield_it_is_the_linear_engine(force: bool) -> None:
    model = block((3, 3, 4), np.random.default_rng(0).uniform(100, 900, 36), force=force)
    found = failure_load(
        model, Elastic(model.E_MPa, 0.3), end_mm=0.1, bbar=False, rtol=1e-10, share=1.0
    )
    linear = solve(model, rtol=1e-11)
    scale = found.steps[-1].factor
    assert found.reason == "end"
    assert found.curve_mm[-1] == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_allclose(found.nodes_mm, scale * linear.displacement_mm, atol=1e-9)
    assert not found.yielded.any()


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (j2([1000.0], 0.3, [0.0], [10.0]), 10.0),
        (drucker_prager([1000.0], 0.3, [6.0], [10.0]), 10.0),
        (strain_yield([1000.0], 0.3), 10.4),
        (damage_law([1000.0], 0.3, (0.0073, 0.0104), (0.3, 1.0), 1.0), 10.4),
    ],
    ids=["j2", "drucker-prager", "strain", "damage"],
)
def test_a_brick_fails_at_the_strength_of_its_law(law: MaterialLaw, expected: float) -> None:
    found = failure_load(block((1, 1, 1), 1000.0), law, end_mm=0.1, rtol=1e-6)
    assert found.strength_N == pytest.approx(expected, rel=0.005)
    assert found.reason in ("peak", "plateau")
    assert bool(found.damage.any()) == (found.reason == "peak")


@pytest.mark.parametrize("force", [False, True])
def test_a_snap_back_is_followed(force: bool) -> None:
    """A long bar stores more than its one weak slice can dissipate: it springs back."""
    n = 16
    E = np.full(n, 1000.0)
    strength = np.full(n, 0.02)
    strength[n // 2] = 0.01
    law = damage_law(E, 0.0, (strength, strength), (0.3, 0.3), 1.0)
    model = replace(
        block((1, 1, n), E, force=force), nu=0.0
    )  # no sideways strain: the bar is of one dimension
    found = failure_load(model, law, end_mm=0.3, rtol=1e-6, drop=0.5)
    assert found.reason == "peak"
    assert found.strength_N == pytest.approx(10.0, rel=0.005)
    followed = [s for s in found.steps if s.inelastic]
    assert min(s.displacement_mm for s in followed) < 0.7 * found.displacement_mm
    kf = 0.3 / (1000.0 * 0.01) - 0.005
    for s in followed:
        closed = (n - 1) * s.force_N / 1000 + 0.01 + kf * np.log(10.0 / s.force_N)
        assert s.displacement_mm == pytest.approx(closed, rel=1e-3)


def test_transverse_isotropy_is_solved() -> None:
    """Along its stiff axis, and across it."""
    E = np.full(8, 1000.0)
    for axis, modulus in (([0.0, 0.0, 1.0], 1800.0), ([1.0, 0.0, 0.0], 1000.0)):
        law = TransverselyIsotropic(E, 0.3, 1.8, 0.35, 0.4, np.tile(axis, (8, 1)))
        found = failure_load(block((2, 2, 2), E), law, end_mm=0.02, rtol=1e-8)
        assert found.strength_N == pytest.approx(modulus * 0.01 * 4, rel=1e-6)
        stored = found.steps[-1].stored_Nmm
        assert stored == pytest.approx(found.steps[-1].internal_Nmm, rel=1e-6)


def test_the_bound_of_a_concave_curve_holds() -> None:
    def curve(s: float) -> Step:
        return Step(s, s, 100 - (s - 10.3) ** 2, 1.0)

    for spacing in (0.5, 2.0):
        steps = [curve(10 + i * spacing) for i in (-2, -1, 0, 1)]
        assert 100 / steps[2].force_N - 1 <= peak_bound(steps) <= peak_bound(steps[1:])
    cliff = [*steps[:3], replace(steps[3], force_N=20.0)]
    assert peak_bound(cliff) < 0.2


def test_no_equilibrium_keeps_the_last_good_state(monkeypatch: pytest.MonkeyPatch) -> None:
    model, law = uneven()

    def refuse(*args: object) -> None:
        raise path.Stuck("refused")

    monkeypatch.setattr(path, "inelastic", refuse)
    held = path.Equilibrium.advance
    monkeypatch.setattr(
        path.Equilibrium,
        "advance",
        lambda self, start, control, s, rate=None: (
            refuse() if s > 0.5 else held(self, start, control, s, rate)
        ),
    )
    with pytest.raises(Unfinished, match="force still rose") as caught:
        failure_load(model, law, end_mm=0.6)
    assert isinstance(caught.value, ConvergenceError)
    reached = caught.value.failure
    assert reached.reason == "stuck"
    assert 0 < reached.displacement_mm <= 0.05
    assert len(reached.steps) > 1
    assert np.abs(reached.nodes_mm).max() > 0


def test_bad_input_is_refused() -> None:
    model = block((1, 1, 2), 1000.0)
    with pytest.raises(InputError, match="not those of the model"):
        failure_load(model, Elastic(np.full(2, 900.0), 0.3), end_mm=0.1)
    with pytest.raises(InputError, match=r"0\.25 in the law and 0\.3 in the model"):
        failure_load(model, Elastic(model.E_MPa, 0.25), end_mm=0.1)
    law = Elastic(model.E_MPa, 0.3)
    still = replace(model, constraints=model.constraints[:3])
    with pytest.raises(InputError, match="nothing drives"):
        failure_load(still, law, end_mm=0.1)
    loaded = block((1, 1, 2), 1000.0, force=True)
    with pytest.raises(InputError, match="cannot drive one path"):
        failure_load(replace(model, loads=loaded.loads), law, end_mm=0.1)
    with pytest.raises(InputError, match="rigid-body"):
        failure_load(replace(loaded, constraints=loaded.constraints[2:3]), law, end_mm=0.1)
    with pytest.raises(InputError, match="largest displacement"):
        failure_load(model, law, end_mm=0.0)


def test_keyaks_law_is_refused_where_it_does_not_hold() -> None:
    ash, E = np.array([0.4]), np.array([2000.0])
    yes = np.array([False])
    with pytest.raises(InputError, match="gives no strength"):
        keyak_law(LAWS["morgan_2003_vertebra"], ash, E, yes, 1.0)
    with pytest.raises(InputError, match="after yield"):
        keyak_law(LAWS["keller_1994"], ash, E, yes, 1.0)
    with pytest.raises(InputError, match="same elements"):
        keyak_law(LAWS["keyak_2005"], ash, np.ones(2), yes, 1.0)
    cement = keyak_law(LAWS["keyak_2005"], ash, E, yes, 1.0, breaks=np.array([False]))
    assert cement.surely_elastic(np.full((1, 6), 0.5)).all()

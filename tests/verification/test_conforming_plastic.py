"""The conforming engine in the plastic range: closed forms, the voxel engine, and what fails."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bonekit.errors import InputError
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ElasticSupport, HexMesh
from bonekit.fem.conforming_plastic import NoEquilibriumError, solve_conforming_nonlinear
from bonekit.fem.constitutive import MaterialLaw
from bonekit.fem.damage_law import damage_law
from bonekit.fem.elastic_law import Elastic
from bonekit.fem.failure import Assembly
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.nonlinear import Control
from bonekit.fem.plastic_laws import drucker_prager, j2
from bonekit.fem.strain_yield_law import strain_yield
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

pytestmark = pytest.mark.skipif(not find_interpreters(), reason="no interpreter has dolfinx")

E, NU, H = 1000.0, 0.3, 50.0  # MPa, -, plastic modulus in MPa


def grid(n: int) -> HexMesh:
    """n^3 bricks in the unit cube."""
    ijk = np.stack(np.meshgrid(*3 * [np.arange(n + 1)], indexing="ij"), -1).reshape(-1, 3)
    start = np.ravel_multi_index(np.indices((n, n, n)).reshape(3, -1), 3 * (n + 1,))
    step = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    offset = np.array(step) @ np.array([(n + 1) ** 2, n + 1, 1])
    return HexMesh(ijk / n, np.asarray(start)[:, None] + offset)


def pulled(strain: float, mesh: HexMesh) -> Model[HexMesh]:
    """Uniaxial stress along z."""
    x = mesh.nodes_mm
    held = [Constraint("xyz"[a], np.flatnonzero(x[:, a] == 0), (a,)) for a in range(3)]
    held.append(Constraint("top", np.flatnonzero(x[:, 2] == 1), (2,), strain))
    return Model(mesh, np.full(mesh.n_elements, E), NU, tuple(held))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_bar_hardens_along_its_table(processes: int) -> None:
    """Stress of a bar: the elastic modulus, then E H / (E + H)."""
    mesh = grid(2)
    law = j2(np.full(mesh.n_elements, E), NU, [0.0, 1.0], [10.0, 10.0 + H])
    s = solve_conforming_nonlinear(
        pulled(0.03, mesh), law, (1 / 3, 0.6, 1.0), 1e-10, processes=processes
    )
    plastic = (E * 0.03 - 10) / (E + H)
    np.testing.assert_allclose(s.stress_MPa[..., 2], 10 + H * plastic, rtol=1e-8)
    np.testing.assert_allclose(s.history[..., 0], plastic, rtol=1e-8)
    assert s.reaction_N["top"][2] == pytest.approx(10 + H * plastic, rel=1e-8)
    assert s.residual <= 1e-10
    assert s.force_balance < 1e-9
    np.testing.assert_allclose(s.sed_MPa, (10 + H * plastic) ** 2 / (2 * E), rtol=1e-8)
    np.testing.assert_allclose(s.dissipated_MPa, 10 * plastic + H * plastic**2 / 2, rtol=1e-8)
    assert s.stored_Nmm == pytest.approx((s.sed_MPa * s.volume_mm3).sum(), rel=1e-12)
    assert s.volume_mm3.sum() == pytest.approx(1.0, rel=1e-12)
    assert s.energy_balance < 1e-9


def test_springs_store_energy() -> None:
    """An elastic law, as the linear solve has it."""
    block = notched()
    bed = ElasticSupport("bed", block.constraints[0].nodes, [300.0, 200.0, 500.0])
    model = Model(block.mesh, block.E_MPa, 0.3, block.constraints[1:], supports=(bed,))
    linear = solve_conforming(model, 1e-12)
    law = Elastic(model.E_MPa, 0.3)
    s = solve_conforming_nonlinear(model, law, (0.4, 1.0), 1e-12, bbar=False)
    assert s.stored_Nmm == pytest.approx(linear.energy_Nmm, rel=1e-9)
    assert s.stored_Nmm > 1.1 * (s.sed_MPa * s.volume_mm3).sum()
    assert s.energy_balance < 1e-9
    assert abs(s.dissipated_Nmm) < 1e-9 * s.stored_Nmm


def test_perfect_plasticity_beyond_the_limit_names_the_last_equilibrium() -> None:
    mesh = grid(1)
    x = mesh.nodes_mm
    held = tuple(Constraint("xyz"[a], np.flatnonzero(x[:, a] == 0), (a,)) for a in range(3))
    top = np.flatnonzero(x[:, 2] == 1)
    pull = Load("pull", top, np.tile([0.0, 0.0, 20.0 / len(top)], (len(top), 1)))
    model = Model(mesh, np.full(1, E), NU, held, (pull,))
    with pytest.raises(NoEquilibriumError, match=r"no equilibrium beyond 0\.") as caught:
        solve_conforming_nonlinear(model, j2([E], NU, [0.0], [10.0]), (0.4, 1.0))
    last = caught.value.last_good
    assert last is not None
    assert 0.499 < last.factors[-1] <= 0.5  # the limit load is half of what is asked
    assert caught.value.history


LAWS: dict[str, Callable[[np.ndarray], MaterialLaw]] = {
    "von Mises": lambda E: j2(E, NU, [0.0, 0.01, 0.02, 0.04], [15.0, 20.0, 18.0, 19.0]),
    "Drucker-Prager": lambda E: drucker_prager(E, NU, 10 + 0 * E, 15 + 0 * E, hardening_MPa=50.0),
    "dilatant": lambda E: drucker_prager(
        E, NU, 10 + 0 * E, 15 + 0 * E, dilatancy=0.2, hardening_MPa=50.0
    ),
    "yield strains": lambda E: strain_yield(E, NU, hardening=0.05),
    "damage": lambda E: damage_law(E, NU, (0.006, 0.009), (2.0, 4.0), 1.2),
}


@pytest.mark.parametrize("bbar", [False, True])
@pytest.mark.parametrize("kind", LAWS)
def test_the_voxel_engine_agrees_beyond_yield(kind: str, bbar: bool) -> None:
    """A notched block of two moduli, pressed and sheared in the same steps."""
    model = notched()
    law = LAWS[kind](model.E_MPa)
    factors = (0.3, 0.5, 0.7, 0.9, 1.0)
    voxel = Assembly.of(model, law, 1e-11, bbar=bbar, device=torch.device("cpu"))
    point, work = voxel.equilibrium.rest(), 0.0
    for factor in factors:
        before, point = point, voxel.equilibrium.advance(point, Control(), factor)
        moved = point.u_mm - before.u_mm
        work += 0.5 * float(((point.at.force_N + before.at.force_N) * moved).sum())
    assert point.at.state.history.any(-1).to(float).mean() > 0.3
    s = solve_conforming_nonlinear(model, law, factors, 1e-11, bbar=bbar)
    np.testing.assert_array_equal(s.factors[1:], factors)  # no step was cut
    assert s.newton.max() <= 7  # 10 and more with a tangent that is a tenth off
    u = point.u_mm.numpy()[:, voxel.where].T
    np.testing.assert_allclose(s.displacement_mm, u, atol=1e-8 * np.abs(u).max())
    reaction = voxel.equilibrium.reaction(point).numpy()[:, voxel.where[model.constraints[1].nodes]]
    np.testing.assert_allclose(s.reaction_N["top"], reaction.sum(axis=1), rtol=1e-8, atol=1e-7)
    assert s.work_Nmm[-1] == pytest.approx(work, rel=1e-8)
    history = point.at.state.history.numpy()
    np.testing.assert_allclose(
        s.history.mean(axis=1), history.mean(axis=1), atol=1e-8 * history.max()
    )
    stored = voxel.equilibrium.bricks.stored_energy(point.at.state)
    assert s.stored_Nmm == pytest.approx(stored, rel=1e-8)
    assert s.energy_balance < 1e-9
    assert s.dissipated_Nmm > 0.05 * work


def notched() -> Model:
    mask = np.ones((3, 2, 4), dtype=bool)
    mask[0, 0, 1] = False
    grid = Grid.of(mask.shape, (1.5, 1.0, 1.2))
    mesh = VoxelMesh(mask.astype(np.uint8), grid, {1: "bone"})
    k = mesh.node_ijk[:, 2]
    bottom, top = np.flatnonzero(k == 0), np.flatnonzero(k == 4)
    E = np.random.default_rng(3).choice([1500.0, 2000.0], mesh.n_elements)
    push = np.tile([0.03, -0.09], (top.size, 1))
    return Model(mesh, E, 0.3, (Constraint("bottom", bottom), Constraint("top", top, (0, 2), push)))


def test_a_law_and_factors_that_do_not_suit_are_refused() -> None:
    mesh = grid(1)
    model = pulled(0.01, mesh)
    with pytest.raises(InputError, match="not those of the model"):
        solve_conforming_nonlinear(model, j2([2 * E], NU, [0.0], [10.0]))
    with pytest.raises(InputError, match="2 values of E_MPa in the law for 1 elements"):
        solve_conforming_nonlinear(model, j2([E, E], NU, [0.0], [10.0]))
    with pytest.raises(InputError, match="positive and rise"):
        solve_conforming_nonlinear(model, j2([E], NU, [0.0], [10.0]), (1.0, 0.5))

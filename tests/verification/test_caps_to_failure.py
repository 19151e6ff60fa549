"""Rigid caps and springs on the path to a failure load: the linear engine, closed forms, balances.

The conforming engine as the other side is in `test_conforming_caps`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.damage_law import damage_law
from bonekit.fem.elastic_law import Elastic
from bonekit.fem.failure import Failure, failure_load
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.plastic_laws import j2
from bonekit.fem.solve import solve
from bonekit.fem.strain_yield_law import strain_yield
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
PUSHED: list[dict[str, Any]] = [
    {"force_N": (1.0, 2.0, -30.0), "moment_Nmm": (30.0, -20.0, 10.0)},
    {"displacement_mm": (None, 0.0, None), "force_N": (4.0, 0.0, 3.0)},
]
MOVED: list[dict[str, Any]] = [
    {"displacement_mm": (0.0, None, -0.02), "rotation_rad": (0.001, None, None)},
    {"rotation_rad": (0.002, None, 0.0)},
]


def post(caps: list[dict[str, Any]], *, on_springs: bool) -> Model:
    """Bricks turned in the world, with a cap on top and one at a side, clamped or on springs."""
    region = np.ones((4, 3, 6), dtype=np.uint8)
    region[1, 1, 2:4] = 0
    mesh = VoxelMesh(region, Grid.of(region.shape, (1.5, 1.0, 1.2), (10, -20, 30), TURN), {1: "b"})
    E = np.random.default_rng(1).choice([500.0, 2000.0, 5000.0], mesh.n_elements)
    i, _, k = mesh.node_ijk.T
    foot, top = (np.flatnonzero(k == end) for end in (0, 6))
    side = np.flatnonzero((i == 4) & (k > 1) & (k < 5))
    centre = mesh.nodes_mm[top].mean(axis=0)
    made = (
        RigidCap("cup", top, centre + np.array([0.4, -0.3, 2.0]), **caps[0]),
        RigidCap("plate", side, mesh.nodes_mm[side[0]], **caps[1]),
    )
    # on nodes of a cap and on others; only where forces drive
    beside = np.flatnonzero((i == 0) & (k == 3))[:1]
    loads = (Load("on the cup", np.r_[top[:2], beside], np.eye(3)),)
    held: dict[str, Any] = {"constraints": (Constraint("foot", foot),)}
    if on_springs:
        springs = ElasticSupport("foot", foot, (200.0, 100.0, 400.0))
        held = {"constraints": (), "supports": (springs,)}
    return Model(mesh, E, 0.3, loads=loads if caps is PUSHED else (), caps=made, **held)


@pytest.mark.parametrize("on_springs", [False, True], ids=["clamped", "springs"])
@pytest.mark.parametrize("caps", [PUSHED, MOVED], ids=["pushed", "moved"])
def test_before_yield_it_is_the_linear_engine(caps: list[dict[str, Any]], on_springs: bool) -> None:
    model = post(caps, on_springs=on_springs)
    law = Elastic(model.E_MPa, 0.3)
    found = failure_load(model, law, end_mm=0.05, bbar=False, rtol=1e-11, share=1.0)
    linear, factor = solve(model, rtol=1e-12), found.steps[-1].factor
    assert found.reason == "end"
    assert found.curve_mm[-1] == pytest.approx(0.05, rel=1e-8)

    def agree(ours: np.ndarray, theirs: np.ndarray, scale: np.ndarray | float) -> None:
        np.testing.assert_allclose(ours, factor * theirs, atol=1e-8 * factor * np.abs(scale).max())

    agree(found.nodes_mm, linear.displacement_mm, linear.displacement_mm)
    most = np.array(list(linear.reaction_N.values()))
    assert found.reaction_N.keys() == linear.reaction_N.keys()
    for name, reaction in linear.reaction_N.items():
        agree(found.reaction_N[name], reaction, most)
    for name, cap in linear.caps.items():
        agree(found.caps[name].displacement_mm, cap.displacement_mm, linear.displacement_mm)
        agree(found.caps[name].rotation_rad, cap.rotation_rad, cap.rotation_rad)
        agree(found.caps[name].reaction_N, cap.reaction_N, most)
        agree(found.caps[name].moment_Nmm, cap.moment_Nmm, 10 * most)
    assert found.force_balance < 1e-9
    last = found.steps[-1]
    assert last.stored_Nmm == pytest.approx(factor**2 * linear.energy_Nmm, rel=1e-8)
    assert last.external_Nmm == pytest.approx(last.stored_Nmm, rel=1e-8)


def wafer(**cap: Any) -> Model:
    """A cross-section of 12 by 2 mm, 0.02 mm long, on a slide, under a free cap.

    So thin that the bricks bend without shear: what plane sections do to a bar.
    """
    mesh = VoxelMesh(np.ones((12, 1, 1), np.uint8), Grid.of((12, 1, 1), (1.0, 2.0, 0.02)), {1: "b"})
    i, j, k = mesh.node_ijk.T
    foot, top = np.flatnonzero(k == 0), np.flatnonzero(k == 1)
    held = (
        Constraint("foot", foot, (2,)),
        Constraint("side", foot[j[foot] == 0], (1,)),
        Constraint("end", foot[(i[foot] == 0)], (0,)),
    )
    pivot = mesh.nodes_mm[top].mean(axis=0) + np.array([4.5, 0.0, 0.0])
    made = RigidCap("press", top, pivot, **cap)
    return Model(mesh, np.full(12, 1000.0), 0.0, held, caps=(made,))


@pytest.mark.parametrize(
    "cap",
    [{"force_N": (0.0, 0.0, -1.0)}, {"displacement_mm": (None, None, -1.0)}],
    ids=["pushed", "moved"],
)
def test_a_bar_pressed_beside_its_middle_collapses_as_plane_sections_do(
    cap: dict[str, Any],
) -> None:
    """The cap turns until the whole section flows: M / Mp = 1 - (N / Np)^2.

    At an eccentricity of 3/8 of the depth that is N = Np / 2: three quarters of the section are in
    compression. A cap that could not turn would take Np.
    """
    model = wafer(**cap)
    law = strain_yield(model.E_MPa, 0.0, 0.01, 0.01)
    found = failure_load(model, law, end_mm=0.02, bbar=False, rtol=1e-7, flat=1e-5)
    squashed = 1000.0 * 0.01 * 12 * 2
    assert found.strength_N == pytest.approx(squashed / 2, rel=1e-4)
    assert found.reason in ("plateau", "end")
    assert found.yielded.all()
    np.testing.assert_allclose(found.caps["press"].moment_Nmm, 0.0, atol=1e-9 * squashed)
    assert found.caps["press"].rotation_rad[1] > 0
    assert found.force_balance < 1e-6
    assert max(s.energy_balance for s in found.steps) < 1e-6
    held = {"rotation_rad": (0.0, 0.0, 0.0)}
    upright = failure_load(wafer(**cap, **held), law, end_mm=0.02, bbar=False, rtol=1e-7)
    assert upright.strength_N == pytest.approx(squashed, rel=1e-6)
    assert upright.caps["press"].moment_Nmm[1] == pytest.approx(-4.5 * squashed, rel=1e-6)


def column(cap: dict[str, Any], stiffness_N_mm: float | None, n: int = 1) -> Model:
    """A bar of a few bricks under a cap, standing on a plate or on four springs."""
    mesh = VoxelMesh(np.ones((1, 1, n), np.uint8), Grid.of((1, 1, n), 1.0), {1: "bar"})
    foot, top = (np.flatnonzero(mesh.node_ijk[:, 2] == k) for k in (0, n))
    made = RigidCap("cup", top, mesh.nodes_mm[top].mean(axis=0), **cap)
    held: dict[str, Any] = {"constraints": (Constraint("foot", foot),)}
    if stiffness_N_mm is not None:
        springs = ElasticSupport("foot", foot, stiffness_N_mm / 4)
        held = {"constraints": (), "supports": (springs,)}
    return Model(mesh, np.full(n, 1000.0), 0.0, caps=(made,), **held)


@pytest.mark.parametrize(
    "cap",
    [{"force_N": (0.0, 0.0, -2.0)}, {"displacement_mm": (None, None, -1.0)}],
    ids=["pushed", "moved"],
)
def test_a_bar_on_springs_is_springs_in_series_past_its_peak(cap: dict[str, Any]) -> None:
    """Displacements add, that of the springs goes back as the bar softens: a snap-back."""
    k, limit = 1000.0 / 13, np.array([0.02, 0.01, 0.02])  # the middle one breaks
    law = damage_law(np.full(3, 1000.0), 0.0, (limit, limit), (0.3, 0.3), 1.0)
    found = failure_load(column(cap, k, 3), law, end_mm=0.3, rtol=1e-7, drop=0.5)
    assert found.reason == "peak"
    assert found.strength_N == pytest.approx(10.0, rel=0.005)
    tail = 0.3 / (1000.0 * 0.01) - 0.005  # of the exponential softening, as in test_failure
    snapped = [s for s in found.steps if s.inelastic]
    assert min(s.displacement_mm for s in snapped) < 0.7 * found.displacement_mm
    for s in snapped:
        bar = 2 * s.force_N / 1000 + 0.01 + tail * np.log(10.0 / s.force_N)
        assert s.displacement_mm == pytest.approx(s.force_N / k + bar, rel=1e-3)
    assert max(s.energy_balance for s in found.steps if not s.inelastic) < 1e-6
    np.testing.assert_allclose(
        found.reaction_N["foot"], [0.0, 0.0, found.strength_N], atol=1e-6 * found.strength_N
    )
    assert found.force_balance < 1e-6


def test_a_plate_that_is_held_is_a_clamp() -> None:
    model = post(PUSHED, on_springs=False)
    law = j2(model.E_MPa, 0.3, [0.0, 1.0], [4.0, 200.0])
    (foot,) = model.constraints
    pivot = model.mesh.nodes_mm[foot.nodes].mean(axis=0)
    plate = RigidCap("foot", foot.nodes, pivot, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    on_plate = replace(model, constraints=(), caps=(*model.caps, plate))
    clamped, held = (
        failure_load(one, law, end_mm=0.1, share=0.5, rtol=1e-9) for one in (model, on_plate)
    )
    assert clamped.yielded.mean() > 0.5
    np.testing.assert_allclose(held.curve_N, clamped.curve_N, rtol=1e-7)
    np.testing.assert_allclose(held.nodes_mm, clamped.nodes_mm, atol=1e-7)
    np.testing.assert_allclose(
        held.reaction_N["foot"], clamped.reaction_N["foot"], atol=1e-7 * clamped.strength_N
    )


def test_plastic_balances_with_caps_and_springs() -> None:
    model = post(PUSHED, on_springs=True)
    law = j2(model.E_MPa, 0.3, [0.0, 1.0], [4.0, 200.0])
    found: Failure = failure_load(model, law, end_mm=0.3, share=0.5, rtol=1e-9)
    assert found.yielded.mean() > 0.5
    assert found.force_balance < 1e-8
    assert max(s.energy_balance for s in found.steps) < 1e-6
    lost = [s.dissipated for s in found.steps]
    assert (np.diff(lost) > -1e-9 * lost[-1]).all()
    assert lost[-1] > 0.1 * found.steps[-1].external_Nmm
    np.testing.assert_allclose(found.caps["cup"].reaction_N, 0.0, atol=1e-12)
    assert found.caps["plate"].displacement_mm[1] == 0.0


def test_what_caps_cannot_do_on_a_path_is_refused() -> None:
    model = column({"force_N": (0.0, 0.0, -1.0)}, None)
    law = Elastic(model.E_MPa, 0.0)
    with pytest.raises(InputError, match="in finite strain cup may turn: leave finite strain out"):
        failure_load(model, law, end_mm=0.1, finite=True)
    twisted = column({"moment_Nmm": (0.0, 0.0, 1.0)}, None)
    with pytest.raises(InputError, match="only moments or rotations of caps drive"):
        failure_load(twisted, law, end_mm=0.1)
    turned = column({"rotation_rad": (0.0, 0.0, 0.1)}, None)
    with pytest.raises(InputError, match="only moments or rotations of caps drive"):
        failure_load(turned, law, end_mm=0.1)
    into_the_support = column({"displacement_mm": (0.0,) * 3, "force_N": (0.0, 0.0, -1.0)}, None)
    with pytest.raises(InputError, match="nothing drives the model"):
        failure_load(into_the_support, law, end_mm=0.1)
    both = column({"displacement_mm": (None, None, -0.1), "force_N": (1.0, 0.0, 0.0)}, None)
    with pytest.raises(InputError, match="cannot drive one path"):
        failure_load(both, law, end_mm=0.1)
    loose = replace(model, constraints=(Constraint("foot", model.constraints[0].nodes, (2,)),))
    with pytest.raises(InputError, match="rigid-body motions"):
        failure_load(loose, law, end_mm=0.1)


@pytest.mark.parametrize("on_springs", [False, True], ids=["clamped", "springs"])
def test_a_cap_that_may_not_turn_goes_into_finite_strain(on_springs: bool) -> None:
    """Hencky's bar: the force is E log(l) / l per area, at a stretch of l; springs in series."""
    k = 500.0 if on_springs else None
    cap = {"displacement_mm": (None, None, -1.0), "rotation_rad": (0.0, 0.0, 0.0)}
    model = column(cap, k)
    found = failure_load(model, Elastic(model.E_MPa, 0.0), end_mm=0.3, finite=True, rtol=1e-9)
    in_springs = found.curve_N / k if k else 0.0
    stretch = 1 - (found.curve_mm - in_springs)
    np.testing.assert_allclose(found.curve_N, -1000 * np.log(stretch) / stretch, rtol=1e-6)
    assert found.steps[-1].energy_balance < 1e-3  # the trapezoidal rule over large steps

"""Strength criteria against bars whose strains are known."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Constraint, Load, Model, Solution
from bonekit.fem.solve import solve
from bonekit.fem.strength import stiffness_at_strain, strain_limit, utilisation
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

NU, E_MPA = 0.3, 1000.0
SIDE_MM, LENGTH_MM = 12.0, 60.0
AREA_MM2 = SIDE_MM**2


def bar(edge_mm: float = 2.0) -> VoxelMesh:
    shape = (int(SIDE_MM / edge_mm), int(SIDE_MM / edge_mm), int(LENGTH_MM / edge_mm))
    return VoxelMesh(np.ones(shape, dtype=np.uint8), Grid.of(shape, edge_mm), {1: "bone"})


def at(mesh: VoxelMesh, k: int) -> np.ndarray:
    return np.flatnonzero(mesh.node_ijk[:, 2] == k)


def smooth(mesh: VoxelMesh) -> tuple[Constraint, ...]:
    """Hold the lower end without hindering the Poisson effect."""
    low = at(mesh, 0)
    along = low[mesh.node_ijk[low, 0] == 0]
    return (
        Constraint("distal_shaft", low, (2,)),
        Constraint("corner", along[:1], (0, 1)),
        Constraint("edge", along[-1:], (0,)),
    )


def case(constraints, loads=(), acting="femoral_head", up=-1.0, **parameters: float) -> LoadCase:
    along = np.array([0.0, 0.0, up])
    return LoadCase("bar", "", "", parameters, acting, "distal_shaft", along, constraints, loads)


def pulled(force_N: float, E_MPa: float = E_MPA) -> tuple[Model, Solution, LoadCase]:
    """Bar under an even traction along z."""
    mesh = bar()
    top = at(mesh, mesh.region.shape[2])
    ij, last = mesh.node_ijk[top, :2], np.array(mesh.region.shape[:2])
    weight = np.where((ij == 0) | (ij == last), 0.5, 1.0).prod(axis=1)
    force = np.zeros((len(top), 3))
    force[:, 2] = force_N * weight / weight.sum()
    load = case(smooth(mesh), (Load("femoral_head", top, force),), up=np.sign(force_N))
    model = Model(mesh, np.full(mesh.n_elements, E_MPa), NU, load.constraints, load.loads)
    return model, solve(model, rtol=1e-12), load


def along_z(strain: float, nu: float = NU) -> np.ndarray:
    return np.array([[-nu * strain, -nu * strain, strain, 0, 0, 0]])


@pytest.mark.parametrize(("strain", "used"), [(0.0073, 1.0), (-0.0104, 1.0), (-0.0052, 0.5)])
def test_uniaxial_strain_is_measured_against_its_own_limit(strain: float, used: float) -> None:
    assert utilisation(along_z(strain))[0] == pytest.approx(used, rel=1e-12)


def test_tension_across_a_pressed_bar_can_govern() -> None:
    assert utilisation(along_z(-0.0104, nu=0.8))[0] == pytest.approx(0.8 * 0.0104 / 0.0073)


def test_shear_strain_is_engineering_shear() -> None:
    for component in (3, 4, 5):
        shear = np.zeros((1, 6))
        shear[0, component] = 2 * 0.0073  # principal strains of +-0.73 %
        assert utilisation(shear)[0] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("force_N", "limit"), [(-700.0, 0.0104), (300.0, 0.0073)])
def test_strength_and_stiffness_of_a_bar(force_N: float, limit: float) -> None:
    strength = strain_limit(*pulled(force_N))
    assert strength.strength_N == pytest.approx(limit * E_MPA * AREA_MM2, rel=1e-8)
    assert strength.stiffness_N_mm == pytest.approx(E_MPA * AREA_MM2 / LENGTH_MM, rel=1e-8)
    assert strength.applied_N == pytest.approx(abs(force_N))
    np.testing.assert_allclose(strength.utilisation, 1.0, rtol=1e-8)


def test_strength_does_not_depend_on_the_load_but_follows_the_modulus() -> None:
    one = strain_limit(*pulled(-700.0))
    twice_loaded = strain_limit(*pulled(-1400.0))
    twice_stiff = strain_limit(*pulled(-700.0, 2 * E_MPA))
    assert twice_loaded.strength_N == pytest.approx(one.strength_N, rel=1e-9)
    assert twice_loaded.applied_N == 2 * one.applied_N
    assert twice_stiff.strength_N == pytest.approx(2 * one.strength_N, rel=1e-9)
    assert twice_stiff.stiffness_N_mm == pytest.approx(2 * one.stiffness_N_mm, rel=1e-9)


def test_a_share_of_the_volume_must_be_over_the_limit() -> None:
    model, solution, load = pulled(-700.0)
    base = strain_limit(model, solution, load).strength_N
    z = model.mesh.centres_mm[:, 2]
    layers = np.unique(z[(z > 15) & (z < 45)])  # of 36 elements; 22 layers are judged
    for n, governs in ((1, False), (2, True)):
        weak = solution.strain.copy()
        weak[np.isin(z, layers[:n])] *= 10.0  # 1/22 and 2/22 of the volume
        made = strain_limit(model, replace(solution, strain=weak), load, fraction=0.06)
        assert made.strength_N == pytest.approx(base / 10 if governs else base, rel=1e-6)


def test_marrow_and_the_ends_are_not_judged() -> None:
    model, solution, load = pulled(-700.0)
    base = strain_limit(model, solution, load).strength_N
    height = model.mesh.centres_mm[:, 2] + 1.0  # above the held end
    ends = (height < 7.5) | (height > LENGTH_MM - 7.5)
    strain, E = solution.strain.copy(), model.E_MPa.copy()
    strain[ends] *= 10.0
    marrow = np.abs(height - 30.0) < 4.0
    strain[marrow] *= 10.0
    assert strain_limit(model, replace(solution, strain=strain), load).strength_N < base / 9
    E[marrow] = 99.0
    made = strain_limit(replace(model, E_MPa=E), replace(solution, strain=strain), load)
    assert made.strength_N == pytest.approx(base, rel=1e-6)
    assert made.utilisation[ends].min() == pytest.approx(10.0, rel=1e-6)  # shown all the same


def test_too_little_bone_between_load_and_support_is_refused() -> None:
    with pytest.raises(InputError, match="too short to judge"):
        strain_limit(*pulled(-700.0), away_mm=29.0)


@pytest.mark.parametrize("strain", [0.0068, 0.001])
def test_a_pressed_column_fails_at_its_stiffness_times_the_strain(strain: float) -> None:
    mesh = bar()
    top = at(mesh, mesh.region.shape[2])
    plate = Constraint("superior_endplate", top, (2,), -strain * LENGTH_MM)
    load = case(
        (*smooth(mesh), plate), acting="superior_endplate", strain=strain, height_mm=LENGTH_MM
    )
    model = Model(mesh, np.full(mesh.n_elements, E_MPA), NU, load.constraints)
    made = stiffness_at_strain(model, solve(model, rtol=1e-12), load, LENGTH_MM)
    assert made.stiffness_N_mm == pytest.approx(E_MPA * AREA_MM2 / LENGTH_MM, rel=1e-8)
    assert made.strength_N == pytest.approx(0.0068 * E_MPA * AREA_MM2, rel=1e-8)
    assert made.applied_N == pytest.approx(strain * E_MPA * AREA_MM2, rel=1e-8)
    np.testing.assert_allclose(made.utilisation, 0.0068 / 0.0104, rtol=1e-7)

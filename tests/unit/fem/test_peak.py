"""Nonlinear failure loads of whole bones: which law holds, where the path ends, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.catalogue import LAWS
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.flexion import CombinedLoad, ForwardFlexion
from bonekit.fem.peak import (
    after_yield,
    density_of,
    obstacle,
    peak_load,
    standard_end_mm,
    under_a_force,
)
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.fem.stance import Distal, Head, SingleLegStance
from bonekit.fem.steps import Step
from bonekit.fem.tissue import VOID, Tissue
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import COLOURS, REGIONS, Segmentation

EDGE_MM = 4.0
GRID = Grid.of((30, 16, 38), EDGE_MM, (-34.0, -30.0, -118.0))  # head centre in the origin
X, Y, Z = np.moveaxis(GRID.points(), -1, 0)
LEFT, BACK, UP = np.eye(3)


def segmentation(bone: str, mask: np.ndarray, anatomy) -> Segmentation:
    labels = LabelMap(2 * mask.astype(np.uint8), GRID, dict(REGIONS), dict(COLOURS))
    return Segmentation(bone, labels, anatomy)


def femur() -> tuple[Segmentation, VoxelMesh]:
    head = np.sqrt(X**2 + Y**2 + Z**2) < 24
    neck = (np.hypot(Y, Z) < 14) & (X > 0) & (X < 56)
    shaft = (np.hypot(X - 42, Y) < 14) & (Z < 14)
    neck_axis = np.array([0.8, 0.0, -0.6])
    end = np.array([42.0, 0.0, -120.0])
    anatomy = FemurAnatomy("left", np.zeros(3), 24.0, neck_axis, end, UP, 0.0, 80.0, 600.0)
    mask = head | neck | shaft
    return segmentation("femur_left", mask, anatomy), mesh_of(mask)


def vertebra() -> tuple[Segmentation, VoxelMesh]:
    """Column of 40 x 32 mm, 32 mm high: a body without an arch."""
    middle = np.array([24.0, 0.0, -56.0])
    mask = (np.abs(X - 24) < 20) & (np.abs(Y) < 16) & (np.abs(Z + 56) < 16)
    anatomy = VertebraAnatomy(
        middle, middle + 16 * UP, middle - 16 * UP, UP, -UP, UP, -BACK, 32.0, 32.0, 40.0
    )
    return segmentation("vertebra_L3", mask, anatomy), mesh_of(mask)


def mesh_of(mask: np.ndarray) -> VoxelMesh:
    return VoxelMesh(2 * mask.astype(np.uint8), GRID, {2: "trabecular"})


def image(ash: float | np.ndarray, kind: DensityKind = DensityKind.ASH) -> DensityImage:
    array = np.broadcast_to(ash, GRID.shape).astype(np.float32)
    return DensityImage(array, GRID, kind)


def of_ash(ash: float, **options) -> Problem:
    bone, mesh = femur()
    return set_up(mesh, image(ash), bone, **options)


def pressed(**options) -> Problem:
    bone, mesh = vertebra()
    given = {"loading": EndplateCompression(strain=0.002)} | options
    return set_up(mesh, image(0.2), bone, nu=0.0, **given)


@pytest.mark.parametrize("finite", [False, True])
def test_a_vertebral_column_yields_at_its_strain(finite: bool) -> None:
    """Uniform, without Poisson's effect: E A times the yield strain in compression."""
    problem = pressed()
    seen: list[Step] = []
    found = peak_load(problem, progress=seen.append, finite=finite)
    E = 4730.0 * (0.2 / 0.6) ** 1.56
    stretch = np.exp(-0.0104)  # logarithmic: the force per original area is stress / stretch
    expected = E * 0.0104 * 40 * 32 / (stretch if finite else 1.0)
    assert found.strength.strength_N == pytest.approx(expected, rel=0.005 if not finite else 0.02)
    if finite:
        assert found.strength.strength_N >= expected * 0.999  # goes on rising as it is squeezed
    assert found.strength.name == "peak"
    assert "1.04 %" in found.strength.description
    assert found.strength.stiffness_N_mm == pytest.approx(E * 40, rel=2e-3)
    assert found.failure.curve_mm[-1] <= 0.019 * 32 * (1 + 1e-9)
    assert len(seen) == len(found.failure.steps) - 1
    assert found.strength.utilisation.min() > 0.9


def test_a_femur_fails_by_keyaks_law() -> None:
    found = peak_load(of_ash(0.4), end_mm=4.0)
    assert "keyak_2005 for elements of 4 mm, 0 % of them cortical" in found.strength.description
    assert found.failure.plastic_strain.max() > 0
    assert found.failure.yielded.any()
    assert found.strength.strength_N == found.failure.curve_N.max()


@pytest.mark.parametrize(("head", "distal"), [("cup", "clamped"), ("guided", "springs")])
def test_a_femur_fails_through_a_cup_and_on_springs(head: Head, distal: Distal) -> None:
    """As stiff as in the linear solve, but for what bricks of 4 mm gain without B-bar."""
    problem = of_ash(0.4, loading=SingleLegStance(head=head, distal=distal, spring_N_mm=1e4))
    found = peak_load(problem, end_mm=2.5)
    linear = judge(problem, solve_problem(problem)).stiffness_N_mm
    assert 0.9 * linear < found.strength.stiffness_N_mm < linear
    assert found.failure.yielded.any()
    assert found.failure.force_balance < 1e-3
    cap = found.failure.caps["femoral_head"]
    np.testing.assert_array_equal(cap.moment_Nmm, 0.0)
    down = -problem.model.caps[0].force_N[2] / 1000.0
    assert down > 0.9
    (support,) = (*problem.model.constraints, *problem.model.supports)
    taken = found.failure.reaction_N[support.name][2]
    held = cap.reaction_N[2]  # 0 along the guide
    assert taken + held == pytest.approx(down * found.strength.strength_N, rel=1e-3)


def test_a_vertebra_fails_under_a_plate_that_tilts() -> None:
    problem = pressed(loading=ForwardFlexion(offset=0.0))
    assert standard_end_mm(problem) == pytest.approx(0.019 * 32)
    straight = peak_load(problem)
    ahead = peak_load(pressed(loading=ForwardFlexion(offset=0.25)))
    upright = peak_load(pressed())
    assert straight.strength.strength_N == pytest.approx(upright.strength.strength_N, rel=0.01)
    assert ahead.strength.strength_N < 0.8 * straight.strength.strength_N


def test_a_brick_that_stands_out_under_a_force_does_not_fail_for_the_bone() -> None:
    bone, mesh = femur()
    smooth = set_up(mesh, image(0.3), bone)
    height = mesh.centres_mm[:, 2]
    top = mesh.element_ijk[np.flatnonzero(height > height.max() - 1)].mean(axis=0).astype(int)
    mask = mesh.region > 0
    mask[top[0], top[1], top[2] + 1] = True
    ash = np.full(GRID.shape, 0.3)
    ash[top[0], top[1], top[2] + 1] = 0.06
    spurred = set_up(mesh_of(mask), image(ash), segmentation("femur_left", mask, bone.anatomy))
    loaded = under_a_force(spurred.model)
    spur = (spurred.model.mesh.element_ijk == top + np.array([0, 0, 1])).all(axis=1)
    assert loaded[spur].all()
    assert 0.01 < loaded.mean() < 0.2
    whole = peak_load(smooth).strength.strength_N
    assert peak_load(spurred).strength.strength_N == pytest.approx(whole, rel=0.03)


def test_what_stands_in_a_paths_way() -> None:
    for free in (ShaftTorsion(), CombinedLoad(force_N=0.0)):
        assert "is a moment" in str(obstacle(free))
    turning = (
        SingleLegStance(head="cup"),
        SingleLegStance(head="guided", distal="pivot"),
        SidewaysFall(),
        ForwardFlexion(),
        CombinedLoad(),
        FourPointBending(),
    )
    for load in turning:
        assert obstacle(load) is None
        assert "leave out finite_strain" in str(obstacle(load, finite=True))
    for load in (SingleLegStance(distal="springs"), SidewaysFall(distal="sliding")):
        assert obstacle(load, finite=True) is None


def test_a_path_keeps_to_its_threads() -> None:
    before, seen = torch.get_num_threads(), []
    asked = 2 if before == 1 else 1

    def tell(step: Step) -> None:
        seen.append(torch.get_num_threads())

    peak_load(pressed(), end_mm=0.1, threads=asked, progress=tell)
    assert set(seen) == {asked}
    assert torch.get_num_threads() == before


def test_the_law_after_yield_is_that_of_the_parts() -> None:
    yields = after_yield(pressed(tissue=Tissue(LAWS["morgan_2003_femoral_neck"])))
    assert "0.61 / 0.85 %" in yields.description
    assert after_yield(of_ash(0.4)).name == "keyak"
    assert after_yield(of_ash(0.4), "strain").name == "strain"
    with pytest.raises(InputError, match="the parts have morgan_2003_vertebra"):
        after_yield(pressed(), "keyak")
    with pytest.raises(InputError, match="no part of the model can yield"):
        after_yield(pressed(tissue=Tissue(VOID)))
    with pytest.raises(InputError, match="got 'yield'"):
        after_yield(pressed(), "yield")  # type: ignore[arg-type]


def test_the_density_of_a_modulus() -> None:
    law = LAWS["keyak_2005"]
    rho = np.array([0.05, 0.3, 1.1])
    np.testing.assert_allclose(density_of(law, law.modulus(rho)), rho, rtol=1e-6)


def test_what_a_path_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="in finite strain femoral_head may turn"):
        peak_load(of_ash(0.4, loading=SingleLegStance(head="cup")), finite=True)
    problem = of_ash(0.4)
    turned = replace(problem, load=replace(problem.load, measure="moment"))
    with pytest.raises(InputError, match="is a moment"):
        peak_load(turned)
    model = replace(problem.model, nu=np.linspace(0.2, 0.3, problem.model.mesh.n_elements))
    with pytest.raises(InputError, match="here one is needed"):
        peak_load(replace(problem, model=model))

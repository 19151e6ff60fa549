"""Strength over a cone of directions on a coarse femur whose shape is known."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.fem.solve import solve_cases
from bonekit.fem.stance import SingleLegStance
from bonekit.fem.sweep import Cone, combined, pushed, sweep
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import COLOURS, REGIONS, Segmentation

GRID = Grid.of((30, 16, 38), 4.0, (-34.0, -30.0, -118.0))  # head centre in the origin
X, Y, Z = np.moveaxis(GRID.points(), -1, 0)
BENT = np.array([0.8, 0.0, -0.6])
END, UP = np.array([42.0, 0.0, -120.0]), np.array([0.0, 0.0, 1.0])
ANATOMY = FemurAnatomy("left", np.zeros(3), 24.0, BENT, END, UP, 0.0, 80.0, 600.0)


def femur(loading: SingleLegStance) -> Problem:
    head = np.sqrt(X**2 + Y**2 + Z**2) < 24
    neck = (np.hypot(Y, Z) < 14) & (X > 0) & (X < 56)
    mask = 2 * (head | neck | ((np.hypot(X - 42, Y) < 14) & (Z < 14))).astype(np.uint8)
    labels = LabelMap(mask, GRID, dict(REGIONS), dict(COLOURS))
    mesh = VoxelMesh(mask, GRID, {2: "trabecular"})
    ash = DensityImage(np.full(GRID.shape, 0.5, dtype=np.float32), GRID, DensityKind.ASH)
    return set_up(mesh, ash, Segmentation("femur_left", labels, ANATOMY), loading=loading)


CUP = SingleLegStance(head="cup", distal="springs")


@pytest.mark.parametrize("loading", [SingleLegStance(), CUP], ids=["spread", "cup"])
@pytest.mark.parametrize("angles", [(20.0, 0.0), (4.0, -12.0)])
def test_a_combination_is_what_a_solve_of_its_own_gives(
    loading: SingleLegStance, angles: tuple[float, float]
) -> None:
    """Strength, stiffness, energy and reactions, over the same patch."""
    problem = femur(loading)
    adduction, flexion = angles
    towards = replace(loading, adduction_deg=adduction, flexion_deg=flexion).direction(ANATOMY)
    turned = pushed(problem, ANATOMY, towards, loading.force_N)
    direct = solve_problem(turned, rtol=1e-10)
    if loading.head == "spread":
        part = turned.load.loads[0]
        np.testing.assert_allclose(part.force_N.sum(axis=0), 1000.0 * towards, atol=1e-9)
        moment = np.cross(turned.model.mesh.nodes_mm[part.nodes], part.force_N).sum(axis=0)
        assert np.linalg.norm(moment) < 1000.0 * 0.5  # 0.5 mm: what bricks leave of a patch
    parts = solve_cases([pushed(problem, ANATOMY, e, 1.0).model for e in np.eye(3)], 1e-10)
    made = combined(turned, parts, loading.force_N * towards)
    assert made.energy_Nmm == pytest.approx(direct.energy_Nmm, rel=1e-7)
    for name in ("strain_limit", "volume_in_tension", "pistoia"):
        ours, theirs = judge(turned, made, name), judge(turned, direct, name)
        assert ours.strength_N == pytest.approx(theirs.strength_N, rel=1e-6), name
        assert ours.stiffness_N_mm == pytest.approx(theirs.stiffness_N_mm, rel=1e-6)
    for name, force in direct.reaction_N.items():
        np.testing.assert_allclose(made.reaction_N[name], force, atol=1e-4)


def test_a_sweep_finds_the_weakest_direction() -> None:
    loading = SingleLegStance()
    problem = femur(loading)
    told: list[float] = []
    found = sweep(
        problem,
        loading,
        ANATOMY,
        Cone(adduction_half_deg=12.0, flexion_half_deg=6.0, step_deg=6.0),
        rtol=1e-9,
        progress=lambda share, words: told.append(share),
    )
    plain = judge(problem, solve_problem(problem, rtol=1e-9)).strength_N
    assert found.central == pytest.approx(plain, rel=1e-6)
    assert found.minimum == found.strengths_N.min() < plain
    a, f = found.weakest_deg
    weakest = femur(replace(loading, adduction_deg=a, flexion_deg=f))
    own = judge(weakest, solve_problem(weakest, rtol=1e-9)).strength_N
    assert found.minimum == pytest.approx(own, rel=0.025)  # its own patch moved with the force
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    # bone and cone are symmetric to the frontal plane
    by = {
        tuple(d): s for d, s in zip(found.directions_deg.tolist(), found.strengths_N, strict=True)
    }
    for (a, f), strength in by.items():
        assert by[a, -f] == pytest.approx(strength, rel=1e-6)


def test_a_cone_is_an_ellipse_of_directions_with_its_middle() -> None:
    offsets = Cone(adduction_half_deg=12.0, flexion_half_deg=6.0, step_deg=3.0).offsets_deg()
    assert (offsets == 0).all(axis=1).sum() == 1
    assert np.abs(offsets).max(axis=0).tolist() == [12.0, 6.0]
    assert (np.linalg.norm(offsets / [12.0, 6.0], axis=1) <= 1 + 1e-9).all()
    assert [12.0, 6.0] not in offsets.tolist()  # the corner lies outside
    flat = Cone(adduction_half_deg=9.0, flexion_half_deg=0.0, step_deg=3.0).offsets_deg()
    assert flat.tolist() == [[x, 0.0] for x in (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adduction_half_deg": 45.0}, "half angles of a sweep must lie between 0 and 30"),
        ({"step_deg": 0.1}, "step between 1 and 15"),
        ({"adduction_half_deg": 3.0, "flexion_half_deg": 0.0}, "make the step smaller"),
    ],
)
def test_cones_that_make_no_sense_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Cone(**options)


def test_a_guided_head_and_a_range_that_is_left_are_refused() -> None:
    with pytest.raises(InputError, match="guided head keeps to the line"):
        sweep(femur(SingleLegStance()), SingleLegStance(head="guided"), ANATOMY)
    far = SingleLegStance(adduction_deg=35.0)
    with pytest.raises(InputError, match="adduction_deg must lie between -30 and 40, got 43"):
        sweep(femur(far), far, ANATOMY)

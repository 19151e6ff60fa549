"""Bone cement between bones of known shape and what loads them."""

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.cement import CEMENT, cemented, loaded_mesh
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.loadcases import Anatomy, Loading
from bonekit.fem.response import response
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.fem.stance import SingleLegStance
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.bone import bone_mesh, element_density
from bonekit.segmentation.base import COLOURS, PARTS, REGIONS, Segmentation

EDGE_MM = 3.0
GRID = Grid.of((58, 40, 82), 2.0, (-36.0, -40.0, -120.0))  # head centre in the origin
X, Y, Z = np.moveaxis(GRID.points(), -1, 0)
UP, BACK = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])


def segmentation(bone: str, mask: np.ndarray, anatomy: Anatomy) -> Segmentation:
    labels = LabelMap(2 * mask.astype(np.uint8), GRID, dict(REGIONS), dict(COLOURS))
    return Segmentation(bone, labels, anatomy)


def femur() -> Segmentation:
    """Head on a bent bar with a trochanter 50 mm beside the head."""
    head = np.sqrt(X**2 + Y**2 + Z**2) < 24
    neck = (np.hypot(Y, Z) < 14) & (X > 0) & (X < 50)
    shaft = (np.hypot(X - 42, Y) < 14) & (Z < 10)
    ball = np.sqrt((X - 50) ** 2 + (Y - 4) ** 2 + (Z + 5) ** 2) < 18
    bent, end = np.array([0.8, 0.0, -0.6]), np.array([42.0, 0.0, -120.0])
    anatomy = FemurAnatomy("left", np.zeros(3), 24.0, bent, end, UP, 0.0, 80.0, 600.0)
    return segmentation("femur_left", head | neck | shaft | ball, anatomy)


def vertebra() -> Segmentation:
    middle = np.array([20.0, 0.0, -56.0])
    mask = (np.abs(X - 20) < 20) & (np.abs(Y) < 16) & (np.abs(Z + 56) < 15)
    anatomy = VertebraAnatomy(
        middle, middle + 15 * UP, middle - 15 * UP, UP, -UP, UP, -BACK, 30.0, 32.0, 40.0
    )
    return segmentation("vertebra_L3", mask, anatomy)


def problem_of(bone: Segmentation, loading: Loading) -> Problem:
    ash = DensityImage(np.full(GRID.shape, 0.5, dtype=np.float32), GRID, DensityKind.ASH)
    return set_up(loaded_mesh(bone, loading, EDGE_MM), ash, bone, loading=loading)


CASES = [
    (femur, SingleLegStance(cement_mm=6.0), {"cup"}),
    (femur, SingleLegStance(cement_mm=6.0, head="cup"), {"cup"}),
    (femur, SidewaysFall(cement_mm=6.0, distal="sliding"), {"cup", "pad"}),
    (vertebra, EndplateCompression(cement_mm=6.0), {"cap_superior", "cap_inferior"}),
]
NAMES = ["stance", "cup", "fall", "compression"]


@pytest.mark.parametrize(("bone", "loading", "parts"), CASES, ids=NAMES)
def test_cement_is_pressed_at_its_flat_faces_and_has_its_own_law(bone, loading, parts) -> None:
    problem = problem_of(bone(), loading)
    mesh, load = problem.model.mesh, problem.load
    assert {mesh.names[v] for v in np.unique(mesh.element_region)} & set(PARTS.values()) == parts
    added = np.isin(mesh.element_region, list(PARTS))
    assert (problem.model.E_MPa[added] == CEMENT.modulus(np.zeros(1))).all()
    assert (problem.model.E_MPa[added] == 2500.0).all()
    assert np.ptp(problem.model.E_MPa[~added]) < 1e-3 * problem.model.E_MPa[~added].mean()
    acting = {part.name: part.nodes for part in (*load.loads, *load.constraints, *load.caps)}
    bricks = np.isin(mesh.elements, acting[load.acting]).any(axis=1)
    assert added[bricks].all()  # all that touch the face are cement
    along = mesh.nodes_mm[acting[load.acting]] @ load.direction
    assert np.ptp(along) < 1e-6
    assert along.mean() == pytest.approx(
        (mesh.nodes_mm[np.unique(mesh.elements[added])] @ load.direction).min()
    )
    solution = solve_problem(problem, rtol=1e-9)
    assert solution.force_balance < 1e-7
    strength = judge(problem, solution)
    assert strength.strength_N > 0
    counts = {part.name: part.treatment for part in problem.assigned.counts}
    assert {counts[name] for name in parts} == {"fixed"}


def test_without_cement_the_mesh_is_that_of_the_bone() -> None:
    bone, loading = femur(), SidewaysFall()
    mesh = bone_mesh(bone, EDGE_MM, loading.axes(bone.anatomy))
    assert cemented(mesh, bone.anatomy, loading, GRID) is mesh


def test_bone_keeps_its_density_and_cement_has_none() -> None:
    bone, loading = femur(), SidewaysFall(cement_mm=6.0)
    shade = (0.5 + 0.002 * X).astype(np.float32)
    ash = DensityImage(shade, GRID, DensityKind.ASH)
    plain = bone_mesh(bone, EDGE_MM, loading.axes(bone.anatomy))
    mesh = cemented(plain, bone.anatomy, loading, GRID)
    found = element_density(ash, mesh, bone)
    added = np.isin(mesh.element_region, list(PARTS))
    assert np.isnan(found[added]).all()
    np.testing.assert_allclose(found[~added], element_density(ash, plain, bone), rtol=1e-6)


def test_stiff_thin_cement_makes_hardly_more_than_a_plate_of_the_endplate() -> None:
    """Between plates that keep flat, 5 mm of cement give a little and spread the force."""
    bare, capped = (problem_of(vertebra(), EndplateCompression(cement_mm=mm)) for mm in (0.0, 5.0))
    stiffness = [
        response(p.model.mesh, solve_problem(p, rtol=1e-9), p.load).stiffness
        for p in (bare, capped)
    ]
    # in series: column of bone, two slices of cement of at least 5 mm
    bone_E, area = float(bare.model.E_MPa.mean()), 40.0 * 32.0
    column = bone_E * area / 30.0
    series = 1.0 / (1.0 / column + 2 * 5.0 / (2500.0 * area))
    assert stiffness[1] < stiffness[0]
    assert stiffness[1] == pytest.approx(series, rel=0.15)


def test_what_goes_wrong_is_named() -> None:
    bone, loading = femur(), SidewaysFall(cement_mm=6.0)
    plain = bone_mesh(bone, EDGE_MM, loading.axes(bone.anatomy))
    with pytest.raises(InputError, match="the mesh has no cup: mesh the bone by"):
        loading.on(plain, bone.anatomy, GRID)
    with pytest.raises(InputError, match="thickness_mm must lie between a voxel"):
        loaded_mesh(bone, SidewaysFall(cement_mm=1.0), EDGE_MM)
    with pytest.raises(InputError, match="cement_mm must lie between 0 and 30, got -1"):
        SidewaysFall(cement_mm=-1.0)
    with pytest.raises(InputError, match="cement_mm"):
        EndplateCompression(cement_mm=-1.0)

"""From elements with density to a strength, on coarse bones whose shape is known."""

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.catalogue import LAWS
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.simulation import Problem, judge, set_up, solve_problem
from bonekit.fem.stance import SingleLegStance
from bonekit.fem.tissue import VOID, LesionPolicy, Tissue
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


def test_a_femur_is_set_up_for_a_stance() -> None:
    problem = of_ash(0.4, loading=SingleLegStance(adduction_deg=12.0))
    assert problem.load.name == "single_leg_stance"
    assert problem.load.parameters["adduction_deg"] == 12.0
    assert problem.tissue.law.name == "keyak_2005"
    np.testing.assert_allclose(problem.model.E_MPa, 2710.3, rtol=1e-4)
    assert problem.model.nu == 0.3
    assert problem.model.constraints == problem.load.constraints
    assert problem.model.loads == problem.load.loads
    angle = np.radians(12.0)
    np.testing.assert_allclose(problem.load.direction, [np.sin(angle), 0, -np.cos(angle)])


def test_options_reach_the_model() -> None:
    bone, mesh = femur()
    ash = np.full(GRID.shape, 0.4)
    low, high = mesh.element_ijk[:7], mesh.element_ijk[7:10]
    ash[tuple(low.T)], ash[tuple(high.T)] = 0.001, 2.0
    tissue = Tissue(LAWS["keller_1994"])
    problem = set_up(
        mesh,
        image(ash),
        bone,
        tissue=tissue,
        mapping="centroid",
        nu=0.35,
        loading=SingleLegStance(fixed_mm=20.0),
    )
    assert problem.model.nu == 0.35
    elastic = problem.assigned.elastic
    assert (elastic.n_floor, elastic.n_ceiling, elastic.mapping) == (7, 3, "centroid")
    factor = elastic.E_MPa[20] / 1288.0  # keeps the mineral of the mask, see bone_image
    assert factor == pytest.approx(1.0, abs=0.03)
    held, standard = problem.load.constraints[0].nodes, of_ash(0.4).load.constraints[0].nodes
    assert len(held) > len(standard)


def test_lesions_are_treated_by_the_policy() -> None:
    bone, mesh = femur()
    ball = np.sqrt((X - 42) ** 2 + Y**2 + (Z + 50) ** 2) < 11
    labels = bone.labels.with_array(np.where(ball, 3, bone.labels.array).astype(np.uint8))
    region = np.where(ball & mesh.mask, 3, mesh.region).astype(np.uint8)
    mesh = VoxelMesh(region, GRID, {2: "trabecular", 3: "lesion"})
    bone = Segmentation(bone.bone, labels, bone.anatomy)
    ash = image(np.where(ball, 0.05, 0.4))
    as_it_is = set_up(mesh, ash, bone, mapping="centroid")
    (lesion,) = as_it_is.lesions
    assert (lesion.number, lesion.kind) == (1, "lytic")
    void = Tissue(LAWS["keyak_2005"], lesions=LesionPolicy(by_kind={"lytic": VOID}))
    emptied = set_up(mesh, ash, bone, tissue=void, mapping="centroid")
    inside = mesh.element_region == 3
    np.testing.assert_allclose(emptied.model.E_MPa[inside], 0.1)
    np.testing.assert_array_equal(emptied.model.E_MPa[~inside], as_it_is.model.E_MPa[~inside])
    assert as_it_is.model.E_MPa[inside].min() > 10.0


def test_the_field_of_view_is_that_of_the_labels_unless_given() -> None:
    bone, mesh = femur()
    density = image(0.4)
    low = Grid.of((30, 16, 31), EDGE_MM, (-34.0, -30.0, -118.0))  # ends in the head
    with pytest.raises(InputError, match="femoral head that should carry the load are in view"):
        set_up(mesh, density, bone, field=low)
    assert set_up(mesh, density, bone).load.loads[0].nodes.size > 20


@pytest.fixture(scope="module")
def standard() -> Problem:
    return of_ash(0.4)


def test_a_femur_bears_in_proportion_to_its_modulus(standard: Problem) -> None:
    solution = solve_problem(standard, rtol=1e-10)
    assert solution.force_balance < 1e-8
    strength = judge(standard, solution)
    assert strength.name == "strain_limit"
    assert 500.0 < strength.strength_N < 20000.0
    np.testing.assert_allclose(
        solution.reaction_N["distal_shaft"], -1000.0 * standard.load.direction, atol=1e-4
    )
    denser = of_ash(0.8)
    twice = judge(denser, solve_problem(denser, rtol=1e-10))
    assert twice.strength_N / strength.strength_N == pytest.approx(2**1.86, rel=1e-6)
    assert twice.stiffness_N_mm / strength.stiffness_N_mm == pytest.approx(2**1.86, rel=1e-6)


def test_a_vertebra_is_pressed_between_its_endplates() -> None:
    bone, mesh = vertebra()
    problem = set_up(mesh, image(0.2), bone, nu=0.0, loading=EndplateCompression(strain=0.002))
    assert problem.load.name == "endplate_compression"
    assert problem.load.parameters["strain"] == 0.002
    strength = judge(problem, solve_problem(problem, rtol=1e-10))
    assert strength.name == "stiffness_at_strain"
    assert problem.tissue.law.name == "morgan_2003_vertebra"
    stiffness = 4730.0 * (0.2 / 0.6) ** 1.56 * 40 * 32 / 32  # E A / H; without Poisson effect exact
    assert strength.stiffness_N_mm == pytest.approx(stiffness, rel=1e-7)
    assert strength.strength_N == pytest.approx(0.0068 * stiffness * 32, rel=1e-7)


def test_solver_options_and_progress_are_passed_on(standard: Problem) -> None:
    seen: list[int] = []
    solve_problem(standard, rtol=1e-3, threads=1, progress=lambda i, _: seen.append(i))
    assert seen == list(range(1, len(seen) + 1))
    assert seen
    with pytest.raises(ConvergenceError):
        solve_problem(standard, rtol=1e-12, max_iterations=1)


def test_the_density_must_be_that_of_ash_and_finite() -> None:
    bone, mesh = femur()
    with pytest.raises(InputError, match="expected ash density, got hydroxyapatite density"):
        set_up(mesh, image(0.4, DensityKind.HA), bone)
    with pytest.raises(InputError, match="not finite in"):
        set_up(mesh, image(np.nan), bone)

"""Hip contact and muscle forces on a phantom femur."""

import numpy as np
import pytest

import bonekit
from bonekit.errors import InputError
from bonekit.fem.muscles import FORCES, MuscleLoad
from bonekit.fem.response import response
from bonekit.fem.simulation import judge, set_up, solve_problem
from bonekit.meshing.bone import bone_mesh
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom


@pytest.fixture(scope="module")
def bone():
    phantom = femur_phantom(
        FemurParameters(), scanner=ScannerParameters(spacing_mm=(2.0, 2.0, 2.0))
    )
    ct, labels = phantom.ct.canonical(), phantom.labels.canonical()
    whole = labels.with_array(labels.mask("cortex", "trabecular").astype(np.uint8))
    found = bonekit.from_labels(ct, whole, phantom.bone, label=1)
    return found, phantom.density.canonical()


@pytest.mark.parametrize("activity", list(FORCES))
def test_forces_are_those_of_the_table_in_the_bones_axes(bone, activity: str) -> None:
    anatomy = bone[0].anatomy
    forces = MuscleLoad(activity, 80.0).forces(anatomy)
    weight = 80.0 * 9.80665
    size = np.linalg.norm(FORCES[activity]["hip_contact"][1]) / 100
    assert np.linalg.norm(forces["hip_contact"]) == pytest.approx(size * weight)
    assert 2.3 < size < 2.6
    assert forces["hip_contact"] @ anatomy.shaft_axis < 0  # down
    assert forces["hip_contact"] @ anatomy.medial < 0  # and outwards
    assert forces["abductor"] @ anatomy.shaft_axis > 0  # up
    assert forces["abductor"] @ anatomy.medial > 0  # and to the pelvis
    assert forces["vastus_lateralis"] @ anatomy.shaft_axis < 0  # to the knee


def test_muscles_pull_where_they_attach(bone) -> None:
    found, _ = bone
    anatomy = found.anatomy
    loading = MuscleLoad("stair_climbing", 80.0)
    mesh = bone_mesh(found, 4.0, loading.axes(anatomy))
    load = loading.on(mesh, anatomy, found.labels.grid)
    at = {part.name: mesh.nodes_mm[part.nodes].mean(axis=0) for part in load.loads}
    height = {
        name: float(anatomy.height_mm(place)) - anatomy.flare_mm for name, place in at.items()
    }
    out = {n: float((p - anatomy.shaft_point_mm) @ -anatomy.medial) for n, p in at.items()}
    front = {n: float((p - anatomy.shaft_point_mm) @ -anatomy.frame[:, 1]) for n, p in at.items()}
    assert height["abductor"] > height["vastus_lateralis"] > height["vastus_medialis"]
    assert out["abductor"] > 10
    assert out["vastus_lateralis"] > 8
    assert front["vastus_medialis"] > 5
    assert out["vastus_medialis"] < 8
    total = sum(part.force_N.sum(axis=0) for part in load.loads)
    expected = sum(loading.forces(anatomy).values())
    np.testing.assert_allclose(mesh.grid.direction @ total, expected, rtol=1e-9)


def test_strength_does_not_depend_on_the_mass(bone) -> None:
    found, ash = bone
    strengths = {}
    for mass_kg in (50.0, 100.0):
        loading = MuscleLoad("stair_climbing", mass_kg)
        mesh = bone_mesh(found, 5.0, loading.axes(found.anatomy))
        problem = set_up(mesh, ash, found, loading=loading)
        solution = solve_problem(problem, rtol=1e-9)
        assert solution.force_balance < 1e-6
        size = np.linalg.norm(FORCES["stair_climbing"]["hip_contact"][1]) / 100
        applied = response(mesh, solution, problem.load).applied
        assert applied == pytest.approx(size * mass_kg * 9.80665)
        strengths[mass_kg] = judge(problem, solution).strength_N
    assert strengths[50.0] == pytest.approx(strengths[100.0], rel=1e-6)


@pytest.mark.parametrize("mass_kg", [None, 7.0, 8000.0])
def test_mass_is_needed_and_must_be_a_patients(mass_kg: float | None) -> None:
    with pytest.raises(InputError, match="needs the patient's mass in kg, 25 to 300"):
        MuscleLoad("walking", mass_kg)

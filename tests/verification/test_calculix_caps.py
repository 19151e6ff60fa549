"""Rigid caps, joints, hinges and springs in decks, solved by CalculiX, against our engines."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ConformingModel, ElasticSupport
from bonekit.fem.decks import export_deck, write_deck
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.loadcases import Loading
from bonekit.fem.loaded_deck import loaded_deck
from bonekit.fem.model import Load, Model
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.solve import solve
from bonekit.fem.stance import SingleLegStance
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.columns import WithParts
from bonekit.meshing.fitted_parts import Part, fitted_parts
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.base import BONE_REGIONS, PARTS

pytestmark = pytest.mark.skipif(
    shutil.which("ccx") is None, reason="CalculiX not found: apt-get install calculix-ccx"
)
RunCcx = Callable[[Path], tuple[np.ndarray, dict[str, np.ndarray]]]
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def block() -> Model:
    """Held by nothing but springs and two pivots, one pushed and twisted, one moved and turned."""
    mesh = VoxelMesh(
        np.ones((4, 4, 6), np.uint8), Grid.of((4, 4, 6), 2.0, (3, 4, 5), TURN), {1: ""}
    )
    x, k = mesh.nodes_mm, mesh.node_ijk[:, 2]
    top, bottom, girdle = (np.flatnonzero(k == level) for level in (6, 0, 3))
    head = RigidCap(
        "head",
        top,
        x[top].mean(axis=0) + np.array([1.0, 2.0, 8.0]),
        (0.0, None, None),
        force_N=(10.0, 5.0, -100.0),
        moment_Nmm=(100.0, 20.0, 30.0),
    )
    foot = RigidCap("foot", bottom, x[bottom].mean(axis=0), (0.0, 0.01, 0.0), (None, 0.002, 0.0))
    uneven = np.random.default_rng(3).choice([0.0, 40.0, 60.0], (girdle.size, 3))
    pull = Load("pull", top[:3], np.tile([1.0, -2.0, 3.0], (3, 1)))
    E = np.random.default_rng(0).choice([500.0, 2000.0], mesh.n_elements)
    bed = ElasticSupport("bed", girdle, uneven)
    return Model(mesh, E, 0.3, (), (pull,), (bed,), (head, foot))


def test_calculix_agrees_on_bricks_between_pivots_and_springs(
    tmp_path: Path, run_ccx: RunCcx
) -> None:
    model = block()
    export_deck(model, tmp_path / "block.inp", bins_MPa=0.0)
    displacement, through = run_ccx(tmp_path / "block.inp")
    ours = solve(model, rtol=1e-11)
    off = displacement - ours.displacement_mm
    assert np.abs(off).max() < 1e-6 * np.abs(displacement).max()
    most = np.abs(through["FOOT"]).max()
    assert most > 50
    # through a cap goes the reaction of its pivot, the force on that, and those on its own nodes
    (pull,) = model.loads
    own = {"head": pull.force_N.sum(axis=0), "foot": np.zeros(3)}
    for cap in model.caps:
        expected = ours.caps[cap.name].reaction_N + cap.force_N + own[cap.name]
        np.testing.assert_allclose(through[cap.name.upper()], expected, atol=1e-5 * most)


def anatomy() -> FemurAnatomy:
    """Head at the origin, shaft along z."""
    up, right = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    end = np.array([42.0, 0.0, -120.0])
    return FemurAnatomy("left", np.zeros(3), 24.0, right, end, up, 0.0, 70.0, 700.0)


@cache
def labels() -> LabelMap:
    """Head on a neck into a shaft with a trochanter."""
    grid = Grid.of((36, 20, 60), 3.0, (-30.0, -30.0, -140.0))
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    head = x**2 + y**2 + z**2 < 24.0**2
    neck = (np.hypot(y, z) < 13) & (x > 0) & (x < 45)
    shaft = (np.hypot(x - 42, y) < 15) & (z < 15) & (z > -120)
    return LabelMap(np.where(head | neck | shaft, 2, 0).astype(np.uint8), grid, {2: "trabecular"})


@cache
def with_parts(*parts: Part) -> tuple[WithParts, TetMesh]:
    right = np.array([1.0, 0.0, 0.0])
    made = fitted_parts(labels(), anatomy(), parts, right, -right)
    return made, tetra_mesh(made.labels, 9.0, (*BONE_REGIONS, *PARTS.values()))


CASES: dict[str, tuple[Loading, tuple[Part, ...]]] = {
    "guided head, joint below": (SingleLegStance(head="guided", distal="pivot", pivot_mm=30.0), ()),
    "cup on a joint, springs below": (SingleLegStance(head="cup", distal="springs"), ()),
    "fall on a hinge": (SidewaysFall(distal="pivot", pivot_mm=50.0), ("pad",)),
    "torsion": (ShaftTorsion(), ()),
    "bending": (FourPointBending(roller_mm=16.0, intrusion_mm=8.0), ()),
}


@pytest.mark.dolfinx
@pytest.mark.skipif(
    not find_interpreters(), reason="dolfinx not found: apt-get install python3-dolfinx-real"
)
@pytest.mark.parametrize("name", CASES)
def test_calculix_agrees_on_tetrahedra_of_a_femur(
    tmp_path: Path, name: str, run_ccx: RunCcx
) -> None:
    """Displacements, largest difference, force through each support; two hundred materials."""
    loading, parts = CASES[name]
    axes = loading.axes(anatomy())
    load = loading.on(voxel_mesh(labels(), 3.0, axes), anatomy(), labels().grid)
    made, mesh = with_parts(*parts)
    E = np.random.default_rng(1).uniform(200.0, 3000.0, mesh.n_elements)
    deck, bins = loaded_deck(mesh, E, 0.3, anatomy(), load, axes, made.parts, 14.0)
    assert 150 < len(bins.E_MPa) < 250
    write_deck(deck, tmp_path / "femur.inp")
    displacement, through = run_ccx(tmp_path / "femur.inp")
    (step,) = deck.steps
    plain = TetMesh(deck.nodes_mm, deck.elements, np.ones(len(deck.elements), np.uint8))
    moduli = bins.E_MPa[bins.material]
    held = (step.constraints, step.loads, step.supports, step.caps)
    ours = solve_conforming(ConformingModel(plain, moduli, 0.3, *held), rtol=1e-10)
    off = displacement - ours.displacement_mm
    assert np.linalg.norm(off) < 1e-5 * np.linalg.norm(displacement)
    assert np.abs(off).max() < 1e-5 * np.abs(displacement).max()
    most = max(1.0, *(np.abs(total).max() for total in ours.reaction_N.values()))
    for part in step.constraints:
        np.testing.assert_allclose(
            through[part.name.upper()], ours.reaction_N[part.name], atol=1e-5 * most
        )
    for cap in step.caps:
        expected = ours.reaction_N[cap.name] + cap.force_N
        np.testing.assert_allclose(through[cap.name.upper()], expected, atol=1e-5 * most)

"""Decks we write, solved by CalculiX, against our own solver."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, vertebra_anatomy
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ConformingModel
from bonekit.fem.deck import Deck
from bonekit.fem.decks import Bins, export_deck, write_calculix, write_deck
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.loaded_deck import loaded_deck
from bonekit.fem.model import Constraint, Load, Model, Solution
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.columns import LoadingPart
from bonekit.meshing.fitted_parts import fitted_parts
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.quality import TETRA_FACES, boundary_faces
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.phantom import (
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import BONE_REGIONS, PARTS

pytestmark = pytest.mark.skipif(
    shutil.which("ccx") is None, reason="CalculiX not found: apt-get install calculix-ccx"
)
RunCcx = Callable[[Path], tuple[np.ndarray, dict[str, np.ndarray]]]
WITH_PARTS = (*BONE_REGIONS, *PARTS.values())
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def block(direction: np.ndarray) -> Model:
    """A block with a hole and moduli that differ tenfold, pressed, sheared and pulled."""
    region = np.ones((5, 4, 6), dtype=np.uint8)
    region[2, 1:3, 2:4] = 0
    mesh = VoxelMesh(region, Grid.of(region.shape, 1.5, (10, -20, 30), direction), {1: "bone"})
    E = np.random.default_rng(1).choice([500.0, 2000.0, 5000.0], mesh.n_elements)
    k = mesh.node_ijk[:, 2]
    bottom, top = np.flatnonzero(k == 0), np.flatnonzero(k == 6)
    side = np.flatnonzero((mesh.node_ijk[:, 0] == 5) & (k == 3))
    return Model(
        mesh,
        E,
        0.3,
        (
            Constraint("bottom", bottom),
            Constraint("top plate", top, (0, 2), np.tile([0.02, -0.05], (top.size, 1))),
        ),
        (Load("side", side, np.tile([0.0, 30.0, 5.0], (side.size, 1))),),
    )


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["along-world", "turned"])
def test_calculix_agrees_with_the_voxel_solver(
    tmp_path: Path, direction: np.ndarray, run_ccx: RunCcx
) -> None:
    model = block(direction)
    bins = export_deck(model, tmp_path / "block.inp", bins_MPa=1.0)
    assert bins.largest_error < 1e-12
    displacement, reaction = run_ccx(tmp_path / "block.inp")
    ours = solve(model)
    scale = np.abs(ours.displacement_mm).max()

    np.testing.assert_allclose(displacement, ours.displacement_mm, atol=1e-6 * scale)
    for name, deck_name in (("bottom", "BOTTOM"), ("top plate", "TOP_PLATE")):
        np.testing.assert_allclose(
            reaction[deck_name], ours.reaction_N[name], atol=1e-6 * np.abs(reaction["BOTTOM"]).max()
        )


def test_tetrahedra_pass_the_patch_test(tmp_path: Path, run_ccx: RunCcx) -> None:
    """A linear displacement of the surface is that of the inside, if the mesh conforms."""
    grid = Grid.of((20, 20, 20), 1.0)
    radius = np.linalg.norm(grid.points() - 9.5, axis=-1)
    array = np.where(radius < 8, 2, 0).astype(np.uint8)
    array[radius < 4] = 3
    mesh = tetra_mesh(LabelMap(array, grid, {2: "trabecular", 3: "lesion"}), 3.0)
    gradient = np.array([[1.0, 0.2, 0.0], [0.0, -0.5, 0.3], [0.1, 0.0, 0.4]]) * 1e-3
    surface = np.unique(boundary_faces(mesh.tetrahedra, TETRA_FACES))
    inside = np.setdiff1d(np.arange(mesh.n_nodes), surface)
    expected = mesh.nodes_mm @ gradient.T
    held = Constraint("surface", surface, displacement_mm=expected[surface])
    E = np.full(mesh.n_elements, 1000.0)
    write_calculix(mesh.nodes_mm, mesh.elements, E, 0.3, tmp_path / "patch.inp", (held,))
    displacement, _ = run_ccx(tmp_path / "patch.inp")
    assert inside.size > 50
    np.testing.assert_allclose(displacement, expected, atol=1e-5 * np.abs(expected).max())


def phantom_mesh(phantom: Phantom) -> tuple[VoxelMesh, np.ndarray]:
    """Bricks of the bone's largest piece, a voxel each, and their moduli (Keyak et al. 2005)."""
    mask = phantom.labels.mask("cortex", "trabecular", "lesion")
    pieces, _ = ndimage.label(mask)
    mask = pieces == np.bincount(pieces[mask]).argmax()
    region = np.where(mask, phantom.labels.array, 0).astype(np.uint8)
    mesh = VoxelMesh(region, phantom.labels.grid, dict(phantom.labels.names))
    density = np.asarray(phantom.density.array)[mask]
    return mesh, 14900 * np.maximum(density, 0.02) ** 1.86


def femur() -> Model:
    """A femur with a lesion, held at the shaft and loaded on the head."""
    scanner = ScannerParameters(spacing_mm=(3.0, 3.0, 4.0))
    mesh, E = phantom_mesh(
        femur_phantom(lesion=LesionParameters(site="neck"), scanner=scanner, seed=1)
    )
    z = mesh.nodes_mm[:, 2]
    top, bottom = np.flatnonzero(z > z.max() - 9), np.flatnonzero(z < z.min() + 5)
    force = np.tile(np.array([80.0, 20.0, -600.0]) / top.size, (top.size, 1))
    return Model(mesh, E, 0.3, (Constraint("shaft", bottom),), (Load("head", top, force),))


@cache
def capped() -> tuple[LabelMap, tuple[LoadingPart, ...], VertebraAnatomy]:
    """A vertebra between caps of cement that fit its endplates."""
    scanner = ScannerParameters(spacing_mm=(2.0, 2.0, 2.0))
    phantom = vertebra_phantom(scanner=scanner, seed=1)
    bone = phantom.labels.mask("cortex", "trabecular")
    anatomy = vertebra_anatomy(bone, phantom.labels.grid)
    one = phantom.labels.with_array(np.where(bone, 2, 0).astype(np.uint8))
    made = fitted_parts(one, anatomy, ["caps"])
    return made.labels, made.parts, anatomy


@cache
def bent() -> TetMesh:
    """Tetrahedra of ten nodes, with curved edges, of that."""
    return tetra_mesh(capped()[0], 8.0, WITH_PARTS, order=2)


def compression(anatomy: VertebraAnatomy) -> LoadCase:
    numbers: dict[str, float | str] = {"strain": 0.0068, "height_mm": anatomy.height_mm}
    ends = ("superior_endplate", "superior_endplate")
    return LoadCase("endplate_compression", "press", "none", numbers, *ends, -anatomy.axis)


def spread_moduli(n: int) -> np.ndarray:
    """So many that gaps of 14 MPa make two hundred materials of them."""
    return np.random.default_rng(1).uniform(200.0, 3000.0, n)


def test_calculix_agrees_on_a_femur_with_two_hundred_materials(
    tmp_path: Path, run_ccx: RunCcx
) -> None:
    """The deck's own moduli, bin by bin, in both solvers."""
    model = femur()
    bins = export_deck(model, tmp_path / "bone.inp", bins_MPa=float(np.ptp(model.E_MPa)) / 320)
    assert 150 < len(bins.E_MPa) < 300
    displacement, reaction = run_ccx(tmp_path / "bone.inp")
    binned = Model(model.mesh, bins.E_MPa[bins.material], model.nu, model.constraints, model.loads)
    ours = solve(binned, rtol=1e-10)
    scale = np.abs(ours.displacement_mm).max()
    np.testing.assert_allclose(displacement, ours.displacement_mm, atol=1e-5 * scale)
    largest = max(np.abs(total).max() for total in ours.reaction_N.values())
    for name, total in ours.reaction_N.items():
        there = reaction[name.upper().replace(" ", "_")]
        np.testing.assert_allclose(there, total, atol=1e-5 * largest)


def check_agreement(
    deck: Deck,
    ours: Solution,
    path: Path,
    run_ccx: RunCcx,
    rtol: float = 1e-5,
) -> None:
    """Displacements as a whole, the largest difference of one, and every reaction."""
    write_deck(deck, path)
    displacement, reaction = run_ccx(path)
    off = displacement - ours.displacement_mm
    assert np.linalg.norm(off) < rtol * np.linalg.norm(ours.displacement_mm)
    assert np.abs(off).max() < rtol * np.abs(ours.displacement_mm).max()
    most = max(np.abs(total).max() for total in ours.reaction_N.values())
    assert most > 100
    for name, total in ours.reaction_N.items():
        np.testing.assert_allclose(reaction[name.upper()], total, atol=rtol * most)


def test_calculix_agrees_on_bricks_of_a_vertebra_with_caps(tmp_path: Path, run_ccx: RunCcx) -> None:
    labels, parts, anatomy = capped()
    mesh = voxel_mesh(labels, 3.0, anatomy.frame, WITH_PARTS)
    E = spread_moduli(mesh.n_elements)
    load = compression(anatomy)
    deck, bins = loaded_deck(mesh, E, 0.3, anatomy, load, anatomy.frame, parts, 14.0)
    assert 150 < len(bins.E_MPa) < 250
    assert (bins.E_MPa[bins.material[mesh.element_region > 3]] == 2500.0).all()
    (step,) = deck.steps
    ours = solve(Model(mesh, bins.E_MPa[bins.material], 0.3, step.constraints), rtol=1e-10)
    check_agreement(deck, ours, tmp_path / "bricks.inp", run_ccx)


def solved(deck: Deck, bins: Bins) -> Solution:
    """The same deck by the conforming engine."""
    (step,) = deck.steps
    mesh = TetMesh(deck.nodes_mm, deck.elements, np.ones(len(deck.elements), np.uint8))
    E = bins.E_MPa[bins.material]
    return solve_conforming(ConformingModel(mesh, E, 0.3, step.constraints, step.loads), rtol=1e-10)


needs_dolfinx = pytest.mark.skipif(
    not find_interpreters(), reason="dolfinx not found: apt-get install python3-dolfinx-real"
)


@pytest.mark.dolfinx
@needs_dolfinx
@pytest.mark.parametrize("kind", ["four nodes", "ten nodes", "ten nodes, curved"])
def test_calculix_agrees_on_tetrahedra_of_a_vertebra_with_caps(
    tmp_path: Path, kind: str, run_ccx: RunCcx
) -> None:
    """Two hundred materials, the caps' faces held and moved."""
    _, parts, anatomy = capped()
    mesh = bent()
    if kind != "ten nodes, curved":
        used, corners = np.unique(mesh.corners, return_inverse=True)
        nodes, cells = mesh.nodes_mm[used], np.asarray(corners).reshape(-1, 4)
        if kind == "ten nodes":
            straight = quadratic(nodes, cells)
            nodes, cells = straight.nodes_mm, straight.tetrahedra
        mesh = TetMesh(nodes, cells, mesh.region, mesh.names)
    E = spread_moduli(mesh.n_elements)
    load = compression(anatomy)
    deck, bins = loaded_deck(mesh, E, 0.3, anatomy, load, anatomy.frame, parts, 14.0)
    assert 150 < len(bins.E_MPa) < 250
    check_agreement(deck, solved(deck, bins), tmp_path / "caps.inp", run_ccx)


@pytest.mark.dolfinx
@needs_dolfinx
def test_calculix_agrees_on_tetrahedra_of_a_femur_with_a_cup(
    tmp_path: Path, run_ccx: RunCcx
) -> None:
    """Stance: forces on the cup's face, the distal shaft held; in axes that are not the world's."""
    shape, grid = (36, 20, 60), Grid.of((36, 20, 60), 3.0, (-30.0, -30.0, -140.0))
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    head = x**2 + y**2 + z**2 < 24.0**2
    neck = (np.hypot(y, z) < 13) & (x > 0) & (x < 45)
    shaft = (np.hypot(x - 42, y) < 15) & (z < 15) & (z > -120)
    array = np.where(head | neck | shaft, 2, 0).astype(np.uint8).reshape(shape)
    up, right = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    end = np.array([42.0, 0.0, -120.0])
    anatomy = FemurAnatomy("left", np.zeros(3), 24.0, right, end, up, 0.0, 70.0, 700.0)
    a = np.radians(8.0)
    direction = -np.cos(a) * anatomy.shaft_axis - np.sin(a) * anatomy.medial
    numbers: dict[str, float | str] = {"force_N": 1000.0, "fixed_mm": 10.0, "cap_deg": 40.0}
    load = LoadCase(
        "single_leg_stance", "stand", "none", numbers, "femoral_head", "distal_shaft", direction
    )
    made = fitted_parts(LabelMap(array, grid, {2: "trabecular"}), anatomy, ["cup"], direction)
    mesh = tetra_mesh(made.labels, 7.0, WITH_PARTS)
    E = spread_moduli(mesh.n_elements)
    deck, bins = loaded_deck(mesh, E, 0.3, anatomy, load, TURN, made.parts, 14.0)
    assert 150 < len(bins.E_MPa) < 250
    ours = solved(deck, bins)
    expected = -1000.0 * TURN.T @ direction
    np.testing.assert_allclose(ours.reaction_N["distal_shaft"], expected, atol=1e-4)
    check_agreement(deck, ours, tmp_path / "cup.inp", run_ccx)

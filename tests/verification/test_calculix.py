"""Decks we write, solved by CalculiX, against our own solver."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonekit.fem.decks import export_deck, write_calculix
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.quality import TETRA_FACES, boundary_faces
from bonekit.meshing.tetra import tetra_mesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.phantom import (
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
    vertebra_phantom,
)

pytestmark = pytest.mark.skipif(
    shutil.which("ccx") is None, reason="CalculiX not found: apt-get install calculix-ccx"
)
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


def run_ccx(deck: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Solve a deck; return displacements, (n_nodes, 3), and the total reaction of each set."""
    done = subprocess.run(
        ["ccx", deck.stem],
        cwd=deck.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Job finished" in done.stdout, done.stdout[-2000:]
    assert "*WARNING" not in done.stdout, done.stdout[-2000:]
    displacement, reaction, current = [], {}, ""
    for line in deck.with_suffix(".dat").read_text().splitlines():
        if "for set" in line:
            current = f"{line.split()[0]} {line.split('for set')[1].split()[0]}"
        elif current == "displacements NALL" and len(line.split()) == 4:
            displacement.append([float(x) for x in line.split()[1:]])
        elif current.startswith("total") and len(line.split()) == 3:
            reaction[current.split()[1]] = np.array([float(x) for x in line.split()])
    return np.array(displacement), reaction


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["along-world", "turned"])
def test_calculix_agrees_with_the_voxel_solver(tmp_path: Path, direction: np.ndarray) -> None:
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


def test_tetrahedra_pass_the_patch_test(tmp_path: Path) -> None:
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


def vertebra() -> Model:
    """A vertebra between caps of cement that fill its endplates, pressed together."""
    scanner = ScannerParameters(spacing_mm=(3.0, 3.0, 3.0))
    bone, E_bone = phantom_mesh(vertebra_phantom(scanner=scanner, seed=1))
    tall = bone.mask.sum(axis=2) > 0.6 * bone.mask.sum(axis=2).max()
    filled = np.broadcast_to(tall[:, :, None], bone.mask.shape)
    k = np.flatnonzero((bone.mask & filled).any(axis=(0, 1)))
    column = np.zeros(bone.mask.shape, dtype=bool)
    column[:, :, k[0] - 1 : k[-1] + 2] = filled[:, :, k[0] - 1 : k[-1] + 2]
    # what of a column lies above or below all of its bone
    below = np.cumsum(bone.mask, axis=2) == 0
    above = np.cumsum(bone.mask[:, :, ::-1], axis=2)[:, :, ::-1] == 0
    cap = column & (below | above)
    region = np.where(cap, 9, bone.region).astype(np.uint8)
    mesh = VoxelMesh(region, bone.grid, {**bone.names, 9: "cement"})
    E = np.where(mesh.element_region == 9, 2500.0, bone.on_grid(E_bone)[mesh.mask])
    height = mesh.node_ijk[:, 2]
    at = [mesh.element_ijk[mesh.element_region == 9, 2].min()]
    at.append(mesh.element_ijk[mesh.element_region == 9, 2].max() + 1)
    in_cap = np.isin(np.arange(mesh.n_nodes), mesh.elements[mesh.element_region == 9])
    lower, upper = (np.flatnonzero(in_cap & (height == k)) for k in at)
    press = Constraint("upper cap", upper, (0, 1, 2), np.tile([0.0, 0.0, -0.2], (upper.size, 1)))
    return Model(mesh, E, 0.3, (Constraint("lower cap", lower), press))


@pytest.mark.parametrize("make", [femur, vertebra])
def test_calculix_agrees_on_bones_with_two_hundred_materials(
    tmp_path: Path, make: Callable[[], Model]
) -> None:
    """The deck's own moduli, bin by bin, in both solvers."""
    model = make()
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

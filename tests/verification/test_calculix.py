"""Decks we write, solved by CalculiX, against our own solver."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bonekit.fem.decks import export_deck
from bonekit.fem.model import Constraint, Load, Model
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

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
    print(np.abs(displacement - ours.displacement_mm).max() / scale, reaction, ours.reaction_N)
    np.testing.assert_allclose(displacement, ours.displacement_mm, atol=2e-5 * scale)
    for name, deck_name in (("bottom", "BOTTOM"), ("top plate", "TOP_PLATE")):
        np.testing.assert_allclose(
            reaction[deck_name], ours.reaction_N[name], atol=1e-4 * np.abs(reaction["BOTTOM"]).max()
        )

"""CalculiX and the conforming engine on elements of ten nodes that harden: the same increments."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bonekit.fem.conforming_plastic import solve_conforming_nonlinear
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.model import Constraint, Model
from bonekit.fem.plastic_laws import j2
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.tetmesh import TetMesh

pytestmark = [
    pytest.mark.dolfinx,
    pytest.mark.skipif(not find_interpreters(), reason="no interpreter has dolfinx"),
    pytest.mark.skipif(
        shutil.which("ccx") is None, reason="CalculiX not found: apt-get install calculix-ccx"
    ),
]
PUSH = {0: 0.01, 2: -0.03}
STEPS = 20


def cube() -> TetMesh:
    """Six tetrahedra of ten nodes in each of 2 x 2 x 2 cubes."""
    ijk = np.stack(np.meshgrid(*3 * [np.arange(3)], indexing="ij"), -1).reshape(-1, 3)
    start = np.array([9 * i + 3 * j + k for i, j, k in np.ndindex(2, 2, 2)])
    walks = [(9, 3, 1), (3, 1, 9), (1, 9, 3), (9, 1, 3), (3, 9, 1), (1, 3, 9)]
    paths = np.array([np.concatenate([[0], np.cumsum(walk)]) for walk in walks])
    paths[3:] = paths[3:, [0, 2, 1, 3]]
    made = quadratic(ijk / 2.0, (start[:, None, None] + paths).reshape(-1, 4))
    return TetMesh(made.nodes_mm, made.tetrahedra, np.ones(len(made.tetrahedra), np.uint8))


def test_calculix_agrees_on_von_mises_plasticity(tmp_path: Path) -> None:
    mesh = cube()
    z = mesh.nodes_mm[:, 2]
    bottom, top = np.flatnonzero(z == 0), np.flatnonzero(z == 1)
    pushed = Constraint("top", top, tuple(PUSH), np.tile(list(PUSH.values()), (top.size, 1)))
    E = np.full(mesh.n_elements, 2000.0)
    model = Model(mesh, E, 0.3, (Constraint("bottom", bottom), pushed))
    table = ([0.0, 0.02, 0.06], [15.0, 20.0, 22.0])
    ours = solve_conforming_nonlinear(
        model, j2(E, 0.3, *table), np.linspace(0, 1, STEPS + 1)[1:].tolist(), 1e-9
    )
    assert (ours.history[..., 0] > 0).mean() > 0.5
    theirs = calculix(tmp_path / "cube.inp", mesh, bottom, top, table)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours.displacement_mm, theirs, atol=2e-4 * scale)


def calculix(
    deck: Path, mesh: TetMesh, bottom: np.ndarray, top: np.ndarray, table: tuple[list[float], ...]
) -> np.ndarray:
    """Displacements, (n, 3), of CalculiX."""
    lines = ["*NODE, NSET=NALL"]
    lines += [f"{i}, {x:.9g}, {y:.9g}, {z:.9g}" for i, (x, y, z) in enumerate(mesh.nodes_mm, 1)]
    lines += ["*ELEMENT, TYPE=C3D10, ELSET=EALL"]
    lines += [", ".join(map(str, (i, *(e + 1)))) for i, e in enumerate(mesh.elements, 1)]
    lines += ["*MATERIAL, NAME=M", "*ELASTIC", "2000., 0.3", "*PLASTIC"]
    lines += [f"{s:g}, {p:g}" for p, s in zip(*table, strict=True)]
    lines += ["*SOLID SECTION, ELSET=EALL, MATERIAL=M", "*STEP, INC=200", "*STATIC, DIRECT"]
    lines += [f"{1 / STEPS}, 1.", "*BOUNDARY"]
    lines += [f"{n + 1}, 1, 3, 0." for n in bottom]
    lines += [f"{n + 1}, {a + 1}, {a + 1}, {v:g}" for n in top for a, v in PUSH.items()]
    lines += [f"*NODE PRINT, NSET=NALL, FREQUENCY={STEPS}", "U", "*END STEP"]
    deck.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["ccx", deck.stem], cwd=deck.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Job finished" in done.stdout, done.stdout[-2000:]
    text = deck.with_suffix(".dat").read_text().split("displacements")[-1]
    rows = [line.split() for line in text.splitlines()[1:]]
    return np.array([[float(x) for x in row[1:]] for row in rows if len(row) == 4])

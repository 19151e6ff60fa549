"""Images of a block in curved tetrahedra of ten nodes, stresses at a node, CalculiX."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bonekit.fem.fields import stress
from bonekit.meshing.quadratic import MIDDLES
from bonekit.meshing.quadrature import shape_functions
from bonekit.meshing.tetmesh import TetMesh

Float = NDArray[np.float64]
Place = Callable[[Float], Float]
Block = Callable[[tuple[int, int, int], Place], TetMesh]
StressAt = Callable[[TetMesh, Float, float, float, int], Float]


@pytest.fixture(scope="session")
def block() -> Block:
    """Image of the unit cube under a smooth map, in six tetrahedra for each of i * j * k cells.

    All nodes are mapped, those at the middles of edges too: edges bend with the map.
    """
    return _block


def _block(cells: tuple[int, int, int], place: Place) -> TetMesh:
    counts = np.array(cells)
    lattice = 2 * counts + 1
    ijk = np.stack(np.meshgrid(*map(np.arange, lattice), indexing="ij"), -1).reshape(-1, 3)
    nodes = place(ijk / (lattice - 1))
    start = 2 * np.argwhere(np.ones(cells))
    parts = []
    for order in itertools.permutations(range(3)):
        path = np.cumsum(np.vstack([np.zeros(3, int), 2 * np.eye(3, dtype=int)[list(order)]]), 0)
        if np.linalg.det(np.diff(path, axis=0)) < 0:
            path = path[[0, 2, 1, 3]]
        offsets = np.vstack([path, [(path[a] + path[b]) // 2 for a, b in MIDDLES]])
        corner = (start[:, None] + offsets).reshape(-1, 3)
        parts.append(np.ravel_multi_index(tuple(corner.T), tuple(lattice)).reshape(-1, 10))
    tetrahedra = np.concatenate(parts)
    if np.linalg.det(np.diff(nodes[tetrahedra[0, :4]], axis=0)) < 0:  # the map mirrors
        tetrahedra = tetrahedra[:, [0, 2, 1, 3, 6, 5, 4, 7, 9, 8]]
    return TetMesh(nodes, tetrahedra, np.ones(len(tetrahedra), np.uint8))


@pytest.fixture(scope="session")
def stress_at() -> StressAt:
    """Stress at a corner node: the mean of what the elements around it say there."""

    def at(mesh: TetMesh, u: Float, E_MPa: float, nu: float, node: int) -> Float:
        element, corner = np.nonzero(mesh.tetrahedra[:, :4] == node)
        reference = np.vstack([np.zeros(3), np.eye(3)])
        found = []
        for e, c in zip(element, corner, strict=True):
            gradient = shape_functions(10, reference[c : c + 1])[1][0]
            cell = mesh.tetrahedra[e]
            H = u[cell].T @ gradient @ np.linalg.inv(mesh.nodes_mm[cell].T @ gradient)
            strain = [H[0, 0], H[1, 1], H[2, 2]]
            strain += [H[a, b] + H[b, a] for a, b in ((0, 1), (1, 2), (0, 2))]
            found.append(stress(np.array([strain]), np.array([E_MPa]), nu)[0])
        return np.asarray(np.mean(found, axis=0))

    return at


@pytest.fixture(scope="session")
def run_ccx() -> Callable[[Path], tuple[Float, dict[str, Float]]]:
    """Solve a deck by CalculiX; displacements, (n_nodes, 3), and the total reaction of each set."""
    return _run_ccx


def _run_ccx(deck: Path) -> tuple[Float, dict[str, Float]]:
    done = subprocess.run(
        ["ccx", deck.stem],
        cwd=deck.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Job finished" in done.stdout, done.stdout[-2000:]
    assert "*WARNING" not in done.stdout, done.stdout[-2000:]
    displacement: list[list[float]] = []
    reaction: dict[str, Float] = {}
    current = ""
    for line in deck.with_suffix(".dat").read_text().splitlines():
        if "for set" in line:
            current = f"{line.split()[0]} {line.split('for set')[1].split()[0]}"
        elif current == "displacements NALL" and len(line.split()) == 4:
            displacement.append([float(x) for x in line.split()[1:]])
        elif current.startswith("total") and len(line.split()) == 3:
            reaction[current.split()[1]] = np.array([float(x) for x in line.split()])
    return np.array(displacement), reaction

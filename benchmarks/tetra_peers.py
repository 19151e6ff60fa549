"""Other programs that fill closed surfaces with tetrahedra, and the limits all are held to."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.elements import DIHEDRAL_DEG, LEAST_JACOBIAN, dihedral_angles, scaled_jacobian
from bonekit.meshing.lattice import volumes
from bonekit.meshing.levelset import faces, pieces
from bonekit.meshing.tetra import TetMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Surfaces = tuple[Float, Int, Int]  # points, triangles, bodies on both sides, -1 outside
LIMIT_S = 1800  # of the wall; gmsh is given up then
DELAUNAY, HXT = 1, 10  # gmsh's Mesh.Algorithm3D


def outside(mesh: TetMesh) -> Surfaces:
    """Outer surface of a mesh."""
    return _compact(mesh, np.zeros(mesh.n_elements, dtype=np.int64))


def interfaces(mesh: TetMesh) -> Surfaces:
    """Outer surface and the faces between regions, each piece of a region a body of its own."""
    body = np.zeros(mesh.n_elements, dtype=np.int64)
    n = 0
    for value in np.unique(mesh.region):
        rows = np.flatnonzero(mesh.region == value)
        body[rows] = n + pieces(mesh.corners[rows])
        n = int(body[rows].max()) + 1
    return _compact(mesh, body)


def _compact(mesh: TetMesh, body: Int) -> Surfaces:
    corners, of = faces(mesh.corners)
    sides = np.where(of < 0, -1, body[of])
    between = sides[:, 0] != sides[:, 1]
    used, number = np.unique(corners[between], return_inverse=True)
    return mesh.nodes_mm[used], number.reshape(-1, 3), sides[between]


def ftetwild(surfaces: Surfaces, edge_mm: float) -> dict[str, Any]:
    """Mesh an outer surface with fTetWild."""
    import pytetwild

    start, cpu = perf_counter(), process_time()
    nodes, tetrahedra = pytetwild.tetrahedralize(
        *surfaces[:2], edge_length_abs=edge_mm, epsilon=1e-3, quiet=True
    )[:2]
    seconds, cpu = perf_counter() - start, process_time() - cpu
    return measured(nodes, np.asarray(tetrahedra, dtype=np.int64), seconds, cpu)


def by_gmsh(surfaces: Surfaces, edge_mm: float, python: str, algorithm: int) -> dict[str, Any]:
    """Fill surfaces with gmsh.

    The row is of the mesh as gmsh leaves it with its own optimiser and Netgen's. `gated` says what
    it took until all elements are within our limits, if that was reached by optimising again.
    """
    made = run_gmsh(surfaces, edge_mm, python, algorithm)
    if isinstance(made, str):
        return {"failed": made}
    rows = [
        measured(*one) | {"surfaces_kept": kept(surfaces, one.nodes, one.tetrahedra)}
        for one in made.meshes
    ]
    gated = next((row for row in rows if row["within_limits"] and row["surfaces_kept"]), None)
    return rows[0] | {"gated": gated, "version": made.version}


class Mesh(NamedTuple):
    """What gmsh made, and what it took from the start."""

    nodes: Float
    tetrahedra: Int
    seconds: float
    cpu_seconds: float


class Made(NamedTuple):
    """The same mesh, optimised again each time, and gmsh's version."""

    meshes: list[Mesh]
    version: str


def run_gmsh(
    surfaces: Surfaces, edge_mm: float, python: str, algorithm: int, *words: str
) -> Made | str:
    """Run `tetra_gmsh.py` in the interpreter that has gmsh; why it failed, if it did."""
    script = Path(__file__).with_name("tetra_gmsh.py")
    with TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "surface.npz", Path(scratch) / "tetrahedra.npz"
        points, triangles, sides = surfaces
        np.savez(given, points=points, triangles=triangles, sides=sides, edge_mm=edge_mm)
        failed = _failure([python, str(script), str(given), str(made), str(algorithm), *words])
        if not made.exists():
            return failed
        with np.load(made) as found:
            meshes = [
                Mesh(
                    found[f"nodes{k}"],
                    found[f"tetrahedra{k}"],
                    float(found[f"seconds{k}"]),
                    float(found[f"cpu_seconds{k}"]),
                )
                for k in range(sum(name.startswith("nodes") for name in found))
            ]
            if not len(meshes[0].tetrahedra):
                return "no tetrahedra, and no error"
            return Made(meshes, str(found["version"]))


def _failure(command: list[str]) -> str:
    """What a command that failed said last, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"not done in {LIMIT_S} s"
    return (done.stderr.strip().splitlines() or ["without a word"])[-1] if done.returncode else ""


def kept(surfaces: Surfaces, nodes: Float, tetrahedra: Int) -> bool:
    """Whether all triangles that were given are faces of the mesh."""
    points, triangles, _ = surfaces
    place = {tuple(x): k for k, x in enumerate(nodes.round(6).tolist())}
    number = np.array([place.get(tuple(x), -1) for x in points.round(6).tolist()])
    if (number < 0).any():
        return False
    n = len(nodes)
    given = np.sort(number[triangles], axis=1) @ [n * n, n, 1]
    there = np.sort(faces(tetrahedra)[0], axis=1) @ [n * n, n, 1]
    return bool(np.isin(given, there).all())


def measured(nodes: Float, tetrahedra: Int, seconds: float, cpu: float) -> dict[str, Any]:
    """Number, time, shape of the elements."""
    each = volumes(nodes, tetrahedra)
    turned = np.where((each < 0)[:, None], tetrahedra[:, [0, 1, 3, 2]], tetrahedra)
    quality, angles = scaled_jacobian(nodes, turned), dihedral_angles(nodes, turned)
    row = {
        "tetrahedra": len(tetrahedra),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "least_scaled_jacobian": float(quality.min()),
        "median_scaled_jacobian": float(np.median(quality)),
        "dihedral_deg": (float(angles.min()), float(angles.max())),
        "volume_ml": float(np.abs(each).sum()) / 1000,
    }
    return row | {"within_limits": within(row)}


def within(row: dict[str, Any]) -> bool:
    """Whether a row is within the limits that bonekit holds its own meshes to."""
    low, high = row["dihedral_deg"]
    angles = low >= DIHEDRAL_DEG[0] and high <= DIHEDRAL_DEG[1]
    return bool(row["least_scaled_jacobian"] > LEAST_JACOBIAN and angles)

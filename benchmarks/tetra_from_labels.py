"""The whole way from a label map to tetrahedra with VTK and gmsh, as a user of both would go it.

The outer surface of the bone by VTK's flying edges, smoothed by Taubin's filter, gets new triangles
and is filled by gmsh: one region, as surfaces of several that share faces are not manifold in VTK
where voxels touch at edges. Sizes are tried from the wanted edge down, on two ways of cutting the
surface into patches, until the mesh is within the limits that bonekit holds its own to: shape of
the elements, volume, distance to the voxels. The time is that of the one that is, or of the last.

Beside it our own mesh of the same label map, all regions as one too. The rows go beside those of
`benchmarks/tetra.py`, which has ours with all regions.

    python benchmarks/tetra_from_labels.py ../shared/data --json benchmarks/results/tetra.json \\
        --gmsh-python ~/gmsh/bin/python
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyvista as pv
from tetra_cases import CASES, PARTS
from tetra_peers import DELAUNAY, Mesh, Surfaces, measured, run_gmsh

from bonekit.image.volume import LabelMap
from bonekit.meshing.fidelity import P95_VOXELS, VOLUME, distance_p95_voxels
from bonekit.meshing.prepare import prepared
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh

SIZES = (1.0, 0.75, 0.5)  # over the wanted edge
ANGLES_DEG = ("40", "180")  # that the surface bends by where patches end
BANDWIDTH, ITERATIONS = 0.05, 30  # of Taubin's filter: volume within 0.3 %


def from_labels(labels: LabelMap, edge_mm: float, python: str) -> dict[str, Any]:
    """Mesh the bone of a label map, all regions as one."""
    start, cpu = perf_counter(), process_time()
    surface = smoothed(labels)
    before = np.array([perf_counter() - start, process_time() - cpu])
    row: dict[str, Any] = {"tries": []}
    for size, angle in product(SIZES, ANGLES_DEG):
        made = run_gmsh(surface, size * edge_mm, python, DELAUNAY, "remesh", angle)
        known = {"edge_mm": size * edge_mm, "patches_deg": float(angle)}
        if isinstance(made, str):
            row["tries"].append(known | {"failed": made})
            continue
        for mesh in made.meshes:  # optimised again if it is not within the limits yet
            found = known | against(labels, mesh, before)
            if found["within_limits"]:
                return found | row | {"version": made.version}
        row["tries"].append(found)
    return row["tries"][-1] | row


def ours(labels: LabelMap, edge_mm: float, regions: tuple[str, ...]) -> dict[str, Any]:
    """Mesh the same with bonekit."""
    start, cpu = perf_counter(), process_time()
    mesh = tetra_mesh(labels, edge_mm, regions, interfaces=())
    spent = np.array([perf_counter() - start, process_time() - cpu])
    return against(labels, Mesh(mesh.nodes_mm, mesh.tetrahedra, *spent.tolist()), np.zeros(2))


def against(labels: LabelMap, mesh: Mesh, before: np.ndarray) -> dict[str, Any]:
    """Measure a mesh against the label map, and hold it to our limits."""
    wall, cpu = (before + np.array([mesh.seconds, mesh.cpu_seconds])).tolist()
    row = measured(mesh.nodes, mesh.tetrahedra, wall, cpu)
    bone = labels.array > 0
    volume_ml = np.count_nonzero(bone) * labels.grid.voxel_mm3 / 1000
    region = np.ones(len(mesh.tetrahedra), np.uint8)
    whole = TetMesh(mesh.nodes, mesh.tetrahedra, region, {1: "bone"})
    one = LabelMap(bone.astype(np.uint8), labels.grid, {1: "bone"})
    row |= {
        "volume_error": float(row["volume_ml"] / volume_ml - 1),
        "distance_p95_voxels": float(distance_p95_voxels(whole, one, "bone")),
    }
    kept = abs(row["volume_error"]) <= VOLUME and row["distance_p95_voxels"] <= P95_VOXELS
    return row | {"within_limits": bool(row["within_limits"] and kept)}


def smoothed(labels: LabelMap) -> Surfaces:
    """Outer surface in world coordinates, its largest piece."""
    grid = labels.grid
    image = pv.ImageData(dimensions=grid.shape, spacing=tuple(grid.spacing_mm))
    image.point_data["bone"] = (labels.array > 0).astype(np.float32).ravel(order="F")
    surface = image.contour([0.5], scalars="bone", method="flying_edges")
    surface = surface.smooth_taubin(n_iter=ITERATIONS, pass_band=BANDWIDTH).connectivity("largest")
    triangles = surface.regular_faces
    points = grid.world(np.asarray(surface.points, dtype=np.float64) / grid.spacing_mm)
    return points, triangles, np.tile([0, -1], (len(triangles), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--gmsh-python", metavar="PYTHON", help="an interpreter that has gmsh")
    parser.add_argument("--ours", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    for name in given.only:
        load, edge_mm = CASES[name]
        labels = load(given.data)
        regions = tuple(n for n in labels.names.values() if n in PARTS)
        piece = prepared(labels, regions, (), edge_mm).labels
        found = {}
        if given.ours:
            found["bonekit, one region"] = ours(piece, edge_mm, regions)
        if given.gmsh_python:
            found["gmsh, label map"] = from_labels(piece, edge_mm, given.gmsh_python)
        rows = json.loads(given.json.read_text()) if given.json.exists() else {}
        rows[name] = rows.get(name, {}) | found
        given.json.write_text(json.dumps(rows, indent=1))
        for who, row in found.items():
            print(name, who, {k: v for k, v in row.items() if k != "tries"}, flush=True)


if __name__ == "__main__":
    main()

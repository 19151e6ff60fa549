"""Fill a closed surface with tetrahedra by gmsh; run in an interpreter that has it.

bonekit neither needs nor ships gmsh (GPL); `benchmarks/tetra.py` calls this file where the user
has installed it.

    python benchmarks/tetra_gmsh.py surface.npz tetrahedra.npz
"""

from __future__ import annotations

import sys
import time

import gmsh
import numpy as np


def main() -> None:
    """Read `points`, `triangles`, `edge_mm`; write `nodes`, `tetrahedra` and the times."""
    with np.load(sys.argv[1]) as given:
        points, triangles, edge_mm = given["points"], given["triangles"], float(given["edge_mm"])
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("General.NumThreads", 1)
    wall, cpu = time.perf_counter(), time.process_time()
    surface = gmsh.model.addDiscreteEntity(2)
    n, m = len(points), len(triangles)
    gmsh.model.mesh.addNodes(2, surface, np.arange(1, n + 1), points.ravel())
    gmsh.model.mesh.addElementsByType(
        surface, 2, np.arange(1, m + 1), (triangles + 1).ravel().astype(np.uint64)
    )
    gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop([surface])])
    gmsh.model.geo.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMax", edge_mm)
    gmsh.option.setNumber("Mesh.Optimize", 1)
    gmsh.option.setNumber("Mesh.OptimizeNetgen", 1)
    gmsh.model.mesh.generate(3)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tags, nodes, _ = gmsh.model.mesh.getNodes()
    _, corners = gmsh.model.mesh.getElementsByType(4)
    row = np.zeros(int(tags.max()) + 1, dtype=np.int64)
    row[tags.astype(np.int64)] = np.arange(len(tags))
    np.savez(
        sys.argv[2],
        nodes=nodes.reshape(-1, 3),
        tetrahedra=row[corners.astype(np.int64)].reshape(-1, 4),
        seconds=wall,
        cpu_seconds=cpu,
        version=gmsh.__version__,
    )


if __name__ == "__main__":
    main()

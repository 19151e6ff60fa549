"""Fill closed surfaces with tetrahedra by gmsh; run in an interpreter that has it.

bonekit neither needs nor ships gmsh (GPL); `benchmarks/tetra_peers.py` calls this file where the
user has installed it.

    python benchmarks/tetra_gmsh.py surface.npz tetrahedra.npz 1 [remesh 40]

The number is gmsh's Mesh.Algorithm3D: 1 Delaunay, 10 HXT. With `remesh` the triangles of a single
outer surface are made anew at the edge length, as in gmsh's tutorial t13, on patches that end where
it bends by more than so many degrees.
"""

from __future__ import annotations

import math
import sys
import time

import gmsh
import numpy as np

# What is done after gmsh's own optimiser and Netgen's, one after the other. The optimiser of
# HighOrder is for curved elements and does nothing here.
MORE = (("Netgen",), ("Relocate3D", "Netgen"))


def surfaces(points: np.ndarray, triangles: np.ndarray, sides: np.ndarray) -> None:
    """Make a surface of each pair of bodies that share faces, and a volume of each body."""
    low, high = np.sort(sides, axis=1).T
    number = (low + 1) * (sides.max() + 2) + high + 1
    bounds: dict[int, list[int]] = {}
    start = 1
    for k, value in enumerate(np.unique(number)):
        rows = np.flatnonzero(number == value)
        surface = gmsh.model.addDiscreteEntity(2)
        if k == 0:  # all nodes with the first; gmsh sorts them out
            gmsh.model.mesh.addNodes(2, surface, np.arange(1, len(points) + 1), points.ravel())
        gmsh.model.mesh.addElementsByType(
            surface,
            2,
            np.arange(start, start + len(rows)),
            (triangles[rows] + 1).ravel().astype(np.uint64),
        )
        start += len(rows)
        for body in (int(low[rows[0]]), int(high[rows[0]])):
            if body >= 0:
                bounds.setdefault(body, []).append(surface)
    gmsh.model.mesh.reclassifyNodes()
    for body in sorted(bounds):
        gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop(bounds[body])], body + 1)
    gmsh.model.geo.synchronize()


def remeshed(points: np.ndarray, triangles: np.ndarray, angle_deg: float) -> None:
    """Make one volume within patches of a surface, cut where it bends by more than an angle."""
    surface = gmsh.model.addDiscreteEntity(2)
    gmsh.model.mesh.addNodes(2, surface, np.arange(1, len(points) + 1), points.ravel())
    gmsh.model.mesh.addElementsByType(surface, 2, [], (triangles + 1).ravel().astype(np.uint64))
    gmsh.model.mesh.classifySurfaces(math.radians(angle_deg), True, True, math.pi)
    gmsh.model.mesh.createGeometry()
    patches = [tag for _, tag in gmsh.model.getEntities(2)]
    gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop(patches)])
    gmsh.model.geo.synchronize()


def found() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and tetrahedra, as numbers of rows."""
    tags, nodes, _ = gmsh.model.mesh.getNodes()
    _, corners = gmsh.model.mesh.getElementsByType(4)
    row = np.zeros(int(tags.max()) + 1, dtype=np.int64)
    row[tags.astype(np.int64)] = np.arange(len(tags))
    return nodes.reshape(-1, 3), row[corners.astype(np.int64)].reshape(-1, 4)


def now() -> np.ndarray:
    """Seconds of the wall and of the CPU."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Read `points`, `triangles`, `sides`, `edge_mm`; write meshes, each better, and times."""
    with np.load(sys.argv[1]) as given:
        points, triangles, sides = given["points"], given["triangles"], given["sides"]
        edge_mm = float(given["edge_mm"])
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("General.NumThreads", 1)
    start = now()
    if "remesh" in sys.argv:
        remeshed(points, triangles, float(sys.argv[5]))
        gmsh.option.setNumber("Mesh.MeshSizeMin", edge_mm)
        gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)
    else:
        surfaces(points, triangles, sides)
    gmsh.option.setNumber("Mesh.Algorithm3D", int(sys.argv[3]))
    gmsh.option.setNumber("Mesh.MeshSizeMax", edge_mm)
    gmsh.option.setNumber("Mesh.Optimize", 1)
    gmsh.option.setNumber("Mesh.OptimizeNetgen", 1)
    gmsh.model.mesh.generate(3)
    out, spent = {}, now() - start
    for k, methods in enumerate(((), *MORE)):
        start = now()
        for method in methods:
            gmsh.model.mesh.optimize(method, niter=3)
        spent = spent + now() - start
        out[f"seconds{k}"], out[f"cpu_seconds{k}"] = spent
        out[f"nodes{k}"], out[f"tetrahedra{k}"] = found()
        np.savez(sys.argv[2], version=gmsh.__version__, **out)


if __name__ == "__main__":
    main()

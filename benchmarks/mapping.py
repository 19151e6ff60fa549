"""Time the mapping of a modulus onto tetrahedra beside SciPy's map_coordinates and VTK's probe.

All three read the same image at the same points, those of the mapping's quadrature; SciPy and VTK
are handed the points, the law and the mean in parts of a million points, and run on one thread, as
they do by themselves. Each runs in a process of its own, so that its peak memory is its own.

    python benchmarks/mapping.py --tetrahedra 1000000 --image 256 --json mapping.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.ndimage import map_coordinates

from bonekit.fem.mapping import element_values
from bonekit.fem.materials import LAWS
from bonekit.image.volume import Grid, Image
from bonekit.meshing.sampling import elements_in, mean, part_of, points_per_edge

Cells = tuple[np.ndarray, np.ndarray]
law = LAWS["keyak_2005"].modulus


def density(size: int) -> Image:
    """White noise, the hardest to read."""
    array = np.random.default_rng(0).random((size,) * 3, dtype=np.float32)
    array += np.float32(0.1)  # in place: the peak of the memory is to be the mapping's
    return Image(array, Grid.of((size,) * 3, 1.0))


def tetrahedra(count: int, size: int) -> Cells:
    """Six in each cube of a lattice that fills the image: nodes in mm and cells."""
    n = round((count / 6) ** (1 / 3))
    ijk = np.argwhere(np.ones((n + 1,) * 3))
    corners = np.zeros((6, 4, 3), dtype=int)
    for corner, path in zip(corners, permutations(range(3)), strict=True):
        for step, axis in enumerate(path):
            corner[step + 1 :, axis] = 1
    cells = (ijk[(ijk < n).all(axis=1)][:, None, None] + corners) @ [(n + 1) ** 2, n + 1, 1]
    cells = cells.reshape(-1, 4)
    turned = np.linalg.det(ijk[cells][:, 1:] - ijk[cells][:, :1]) < 0
    cells[turned] = cells[turned][:, [0, 1, 3, 2]]
    return ijk * (size - 1) / n, cells


def quadrature(image: Image, mesh: Cells) -> Iterator[tuple[np.ndarray, ...]]:
    """Elements, points (3, b, q) and weights (b, q) of the mapping, a million points at a time."""
    elements = elements_in(image.grid, mesh)
    orders = points_per_edge(elements)
    for n in np.unique(orders).tolist():
        members = np.flatnonzero(orders == n)
        for ids in np.array_split(members, max(len(members) * n**3 // 1_000_000, 1)):
            part = part_of(image.shape, elements, ids, n)
            yield ids, part.index, part.weights


def bonekit(image: Image, mesh: Cells) -> np.ndarray:
    """Moduli by `element_values`."""
    return element_values(image, mesh, law)


def scipy(image: Image, mesh: Cells) -> np.ndarray:
    """Moduli by scipy.ndimage.map_coordinates."""
    E = np.empty(len(mesh[1]))
    for ids, index, weights in quadrature(image, mesh):
        E[ids] = mean(law(map_coordinates(image.array, index, order=1)), weights)
    return E


def vtk(image: Image, mesh: Cells) -> np.ndarray:
    """Moduli by VTK's probe filter, through PyVista's `sample`."""
    import pyvista

    grid = pyvista.ImageData(dimensions=image.shape)
    grid.point_data["rho"] = image.array.ravel(order="F")
    E = np.empty(len(mesh[1]))
    for ids, index, weights in quadrature(image, mesh):
        cloud = pyvista.PolyData(np.ascontiguousarray(index.reshape(3, -1).T))
        values = np.asarray(cloud.sample(grid).point_data["rho"]).reshape(weights.shape)
        E[ids] = mean(law(values), weights)
    return E


def measure(name: str, size: int, file: Path) -> dict[str, float]:
    """Seconds, mean modulus and what the peak memory grew by."""
    with np.load(file) as stored:
        image, mesh = density(size), (stored["nodes"], stored["cells"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    E = WAYS[name](image, mesh)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"s": seconds, "mean_MPa": float(E.mean()), "memory_MB": grown}


WAYS: dict[str, Callable[[Image, Cells], np.ndarray]] = {
    "bonekit": bonekit,
    "scipy": scipy,
    "vtk": vtk,
}


def main() -> None:
    """Run each in its own process and print the ratios of their times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tetrahedra", type=int, default=1_000_000)
    parser.add_argument("--image", type=int, default=256)
    parser.add_argument("--json", type=Path, default=Path("mapping.json"))
    options = parser.parse_args()
    image, mesh = density(options.image), tetrahedra(options.tetrahedra, options.image)
    rows = {}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.npz"
        np.savez(file, nodes=mesh[0], cells=mesh[1])
        for name in WAYS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows[name] = pool.apply(measure, (name, options.image, file))
    orders = points_per_edge(elements_in(image.grid, mesh))
    result = {
        "tetrahedra": len(mesh[1]),
        "points": int((orders**3).sum()),
        "processors": os.cpu_count(),
        **rows,
        "scipy_over_bonekit": rows["scipy"]["s"] / rows["bonekit"]["s"],
        "vtk_over_bonekit": rows["vtk"]["s"] / rows["bonekit"]["s"],
    }
    print(json.dumps(result, indent=2))
    options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""Mesh files: VTU through VTK, other formats through meshio. Nothing else imports meshio.

Coordinates are world LPS millimetres. Vectors and tensors of a `VoxelMesh` are in mesh axes
(`VoxelMesh`): turn them with ``values @ mesh.grid.direction.T`` before writing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Fields = Mapping[str, NDArray[Any]]
FORMATS = {".msh": "gmsh22", ".med": "med", ".xdmf": "xdmf", ".vtu": "vtu"}


def write_mesh(
    mesh: VoxelMesh | TetMesh,
    path: Path | str,
    cell_data: Fields | None = None,
    point_data: Fields | None = None,
) -> None:
    """Write a mesh with its regions and fields: .vtu, .msh (Gmsh 2.2), .med or .xdmf.

    The file appears only when it is complete; an .xdmf comes with its .h5 beside it.

    Parameters
    ----------
    mesh : VoxelMesh or TetMesh
    path : path
    cell_data : mapping of str to ndarray, (n_elements, ...)
    point_data : mapping of str to ndarray, (n_nodes, ...)

    Raises
    ------
    InputError
        If the suffix is none of these, h5py is missing for .med or .xdmf, or a field does not fit.
    """
    path = Path(path)
    cells, points = dict(cell_data or {}), dict(point_data or {})
    _check_fields(cells, mesh.n_elements, "elements")
    _check_fields(points, mesh.n_nodes, "nodes")
    suffix = _known_suffix(path)
    if suffix == ".vtu":
        with _replacing(path) as temporary:
            _grid(mesh, cells, points).save(temporary)
    elif suffix == ".xdmf":
        _write_xdmf(mesh, path, cells, points)
    else:
        with _replacing(path) as temporary:
            _write_meshio(mesh, temporary, suffix, cells, points)


def read_mesh(
    path: Path | str,
) -> tuple[VoxelMesh | TetMesh, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Read a .vtu that `write_mesh` wrote.

    Returns
    -------
    mesh : VoxelMesh or TetMesh
    cell_data, point_data : dict of str to ndarray
        In the order of the mesh's elements and nodes.

    Raises
    ------
    InputError
        If the file is missing, is no .vtu, or was not written by bonekit.
    """
    path = Path(path)
    if path.suffix.lower() != ".vtu":
        raise InputError(f"can't read a mesh from {path.name!r}; allowed: .vtu")
    if not path.is_file():
        raise InputError(f"mesh file not found: {path}")
    grid = pv.read(path)
    if not isinstance(grid, pv.UnstructuredGrid) or "region" not in grid.cell_data:
        raise InputError(f"{path.name} is no mesh of bonekit: it has no cell field 'region'")
    names = _names(grid)
    region = np.asarray(grid.cell_data["region"], dtype=np.uint8)
    cells = {k: np.asarray(v) for k, v in grid.cell_data.items() if k not in ("region", "ijk")}
    points = {k: np.asarray(v) for k, v in grid.point_data.items()}
    types = set(np.unique(grid.celltypes).tolist())
    if types == {int(pv.CellType.TETRA)}:
        tetrahedra = np.asarray(grid.cell_connectivity.reshape(-1, 4), dtype=np.int64)
        nodes = np.asarray(grid.points, dtype=np.float64)
        return TetMesh(nodes, tetrahedra, region, names), cells, points
    if types == {int(pv.CellType.HEXAHEDRON)} and "affine" in grid.field_data:
        return _voxels(grid, region, names), cells, points
    raise InputError(f"{path.name} is no mesh of bonekit: cell types {sorted(types)}")


def _grid(mesh: VoxelMesh | TetMesh, cells: Fields, points: Fields) -> pv.UnstructuredGrid:
    """VTK's form of the mesh, with what it takes to read it back."""
    kind = pv.CellType.HEXAHEDRON if isinstance(mesh, VoxelMesh) else pv.CellType.TETRA
    grid = pv.UnstructuredGrid({kind: mesh.world_elements}, mesh.nodes_mm)
    grid.cell_data["region"] = mesh.element_region
    grid.field_data["region_value"] = np.array(list(mesh.names), dtype=np.int64)
    grid.field_data["region_name"] = list(mesh.names.values())
    grid.field_data["SPACE"] = ["LPS"]
    if isinstance(mesh, VoxelMesh):
        grid.cell_data["ijk"] = mesh.element_ijk.astype(np.int32)
        grid.field_data["affine"] = mesh.grid.affine
        grid.field_data["shape"] = np.array(mesh.grid.shape, dtype=np.int64)
    for name, values in cells.items():
        grid.cell_data[name] = values
    for name, values in points.items():
        grid.point_data[name] = values
    return grid


def _voxels(
    grid: pv.UnstructuredGrid, region: NDArray[np.uint8], names: dict[int, str]
) -> VoxelMesh:
    """Rebuild the bricks; elements and nodes were written in the order of `VoxelMesh`."""
    ni, nj, nk = np.asarray(grid.field_data["shape"]).tolist()
    full = np.zeros((ni, nj, nk), dtype=np.uint8)
    full[tuple(np.asarray(grid.cell_data["ijk"]).T)] = region
    return VoxelMesh(full, Grid((ni, nj, nk), np.asarray(grid.field_data["affine"])), names)


def _names(grid: pv.UnstructuredGrid) -> dict[int, str]:
    if "region_value" not in grid.field_data:
        return {}
    values = np.asarray(grid.field_data["region_value"]).tolist()
    return dict(zip(values, [str(n) for n in grid.field_data["region_name"]], strict=True))


def _write_meshio(
    mesh: VoxelMesh | TetMesh, path: Path, suffix: str, cells: Fields, points: Fields
) -> None:
    import meshio  # half a second: only where it is needed

    block = "hexahedron" if isinstance(mesh, VoxelMesh) else "tetra"
    region = mesh.element_region.astype(np.int32)
    cell_data = {name: [np.asarray(v)] for name, v in cells.items()}
    names = {}
    if suffix == ".msh":
        cell_data |= {"gmsh:physical": [region], "gmsh:geometrical": [region]}
        names = {name: np.array([value, 3]) for value, name in mesh.names.items()}
    else:
        cell_data["region"] = [region.astype(np.float64 if suffix == ".med" else np.int32)]
    out = meshio.Mesh(
        mesh.nodes_mm,
        [(block, mesh.world_elements)],
        point_data=dict(points),
        cell_data=cell_data,
        field_data=names,
    )
    meshio.write(path, out, file_format=FORMATS[suffix])


def _write_xdmf(mesh: VoxelMesh | TetMesh, path: Path, cells: Fields, points: Fields) -> None:
    """Write both files beside the target, then move them, the one that names the other last."""
    folder = path.with_name(f".{path.stem}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        _write_meshio(mesh, folder / path.name, ".xdmf", cells, points)
        (folder / path.name).with_suffix(".h5").replace(path.with_suffix(".h5"))
        (folder / path.name).replace(path)
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to, and move what was written there."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix.lower()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"can't write a mesh as {path.name!r}; allowed: {', '.join(sorted(FORMATS))} "
            "(and .inp through bonekit.fem.decks)"
        )
    if suffix in (".med", ".xdmf") and importlib.util.find_spec("h5py") is None:
        raise InputError(f"{suffix} files need h5py: pip install bonekit[hdf5]")
    return suffix


def _check_fields(fields: Fields, rows: int, what: str) -> None:
    for name, values in fields.items():
        if len(np.atleast_1d(values)) != rows:
            raise InputError(
                f"field {name!r} of shape {np.shape(values)} on a mesh of {rows} {what}"
            )

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
from bonekit.meshing.smooth_bricks import SmoothBricks
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Written = VoxelMesh | TetMesh | SmoothBricks
Fields = Mapping[str, NDArray[Any]]
Groups = Mapping[str, NDArray[np.int64]]
# Of elements by their number of nodes.
VTK_CELLS = {
    4: pv.CellType.TETRA,
    8: pv.CellType.HEXAHEDRON,
    10: pv.CellType.QUADRATIC_TETRA,
}
# meshio's name, MED's number and order of the nodes
MED_CELLS = {
    4: ("tetra", 304, [0, 2, 1, 3]),
    8: ("hexahedron", 308, [0, 3, 2, 1, 4, 7, 6, 5]),
    10: ("tetra10", 310, [0, 2, 1, 3, 6, 5, 4, 7, 9, 8]),
}
FORMATS = {".msh": "gmsh22", ".med": "med", ".xdmf": "xdmf", ".vtu": "vtu"}


def write_mesh(
    mesh: Written,
    path: Path | str,
    cell_data: Fields | None = None,
    point_data: Fields | None = None,
) -> None:
    """Write a mesh with its regions and fields: .vtu, .msh (Gmsh 2.2), .med or .xdmf.

    The file appears only when it is complete; an .xdmf comes with its .h5 beside it.

    Parameters
    ----------
    mesh : VoxelMesh, TetMesh or SmoothBricks
        Of the last, `read_mesh` reads nothing back, but `read_cells` does.
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
    for n_nodes in (4, 10):
        if types != {int(VTK_CELLS[n_nodes])}:
            continue
        tetrahedra = np.asarray(grid.cell_connectivity.reshape(-1, n_nodes), dtype=np.int64)
        nodes = np.asarray(grid.points, dtype=np.float64)
        return TetMesh(nodes, tetrahedra, region, names), cells, points
    if types == {int(pv.CellType.HEXAHEDRON)} and "affine" in grid.field_data:
        return _voxels(grid, region, names), cells, points
    raise InputError(f"{path.name} is no mesh of bonekit: cell types {sorted(types)}")


def read_cells(
    path: Path,
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
    """Read the nodes and cells of any .vtu or Gmsh .msh, in the order of VTK.

    Returns
    -------
    nodes : ndarray of float, (n_nodes, 3)
    cells : list of ndarray of int, (n, k)
        Tetrahedra of four and ten nodes and hexahedra.
    cell_sets : dict of str to ndarray of int
        Physical groups of Gmsh, numbers of cells counted through `cells` from 0.

    Raises
    ------
    InputError
        If the file can't be read.
    """
    import meshio

    try:
        mesh = pv.to_meshio(pv.read(path)) if path.suffix.lower() == ".vtu" else meshio.read(path)
    except (meshio.ReadError, SystemExit, OSError, ValueError, LookupError, MemoryError) as error:
        raise InputError(f"{path.name} can't be read as a mesh: {error}") from None
    kinds = [kind for kind, _, _ in MED_CELLS.values()]
    chosen = [i for i, block in enumerate(mesh.cells) if block.type in kinds]
    cells = [np.asarray(mesh.cells[i].data, dtype=np.int64) for i in chosen]
    sets = {}
    if "gmsh:physical" in mesh.cell_data and chosen:
        tag = np.concatenate([mesh.cell_data["gmsh:physical"][i] for i in chosen])
        groups = {
            name: np.flatnonzero(tag == n)
            for name, (n, size) in mesh.field_data.items()
            if size == 3
        }
        sets = {name: members for name, members in groups.items() if members.size}
    return np.asarray(mesh.points, dtype=np.float64), cells, sets


def write_med(
    path: Path,
    nodes_mm: NDArray[np.float64],
    elements: NDArray[np.int64],
    node_groups: Groups,
    cell_groups: Groups,
) -> None:
    """Write a mesh with named groups for Code_Aster and Salome.

    Parameters
    ----------
    path : path
    nodes_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, 4, 8 or 10)
        Nodes in the order of VTK.
    node_groups, cell_groups : mapping of str to ndarray of int
    """
    import meshio

    kind, _, order = MED_CELLS[elements.shape[1]]
    node_family, node_tags = _families(node_groups, len(nodes_mm), 1)
    cell_family, cell_tags = _families(cell_groups, len(elements), -1)
    mesh = meshio.Mesh(
        nodes_mm,
        [(kind, elements[:, order])],
        point_data={"point_tags": node_family},
        cell_data={"cell_tags": [cell_family]},
    )
    mesh.point_tags, mesh.cell_tags = node_tags, cell_tags
    meshio.write(path, mesh, file_format="med")
    _name_med_cells(path, elements.shape[1])


def _name_med_cells(path: Path, n_nodes: int) -> None:
    """Add what meshio 5.3.5 leaves out and Code_Aster asks for: the type of cells as a number.

    Without it Code_Aster refuses the file (meshlane, pull request 16, 2026). The order of nodes
    is another thing that meshio leaves to its caller: MED turns solids the other way round than
    VTK (Salome's documentation of connectivity; meshlane, pull requests 9 and 16).
    """
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "a") as file:
        for step in file["ENS_MAA/mesh"].values():
            for cells in step["MAI"].values():
                cells.attrs.create("GEO", MED_CELLS[n_nodes][1], dtype=np.int32)


def _families(
    groups: Groups, count: int, sign: int
) -> tuple[NDArray[np.int64], dict[int, list[str]]]:
    """MED's families: a number for each combination of groups, and the groups of each."""
    family = np.zeros(count, dtype=np.int64)
    combinations: list[list[str]] = [[]]
    for name, members in groups.items():
        old, new = np.unique(family[members], return_inverse=True)
        family[members] = len(combinations) + new.ravel()
        combinations += [[*combinations[k], name] for k in old.tolist()]
    used, family = np.unique(family, return_inverse=True)  # those without members are dropped
    kept = [combinations[k] for k in used.tolist()]
    start = 0 if not kept[0] else 1
    names = {sign * (k + start): combination for k, combination in enumerate(kept) if combination}
    return sign * (family.ravel() + start), names


def _grid(mesh: Written, cells: Fields, points: Fields) -> pv.UnstructuredGrid:
    """VTK's form of the mesh, with what it takes to read it back."""
    elements = mesh.world_elements
    grid = pv.UnstructuredGrid({VTK_CELLS[elements.shape[1]]: elements}, mesh.nodes_mm)
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


def _write_meshio(mesh: Written, path: Path, suffix: str, cells: Fields, points: Fields) -> None:
    import meshio  # half a second: only where it is needed

    elements = mesh.world_elements
    block, _, order = MED_CELLS[elements.shape[1]]
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
        [(block, elements[:, order] if suffix == ".med" else elements)],
        point_data=dict(points),
        cell_data=cell_data,
        field_data=names,
    )
    meshio.write(path, out, file_format=FORMATS[suffix])
    if suffix == ".med":
        _name_med_cells(path, elements.shape[1])


def _write_xdmf(mesh: Written, path: Path, cells: Fields, points: Fields) -> None:
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
            "(and decks through bonekit.fem.decks)"
        )
    if suffix in (".med", ".xdmf"):
        require_h5py(suffix)
    return suffix


def require_h5py(suffix: str) -> None:
    """Refuse what needs h5py where it is missing."""
    if importlib.util.find_spec("h5py") is None:
        raise InputError(f"{suffix} files need h5py: pip install bonekit[hdf5]")


def _check_fields(fields: Fields, rows: int, what: str) -> None:
    for name, values in fields.items():
        if len(np.atleast_1d(values)) != rows:
            raise InputError(
                f"field {name!r} of shape {np.shape(values)} on a mesh of {rows} {what}"
            )

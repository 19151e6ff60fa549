"""Meshes made elsewhere: read a deck of another program to give its elements our materials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.cdb_reading import lines_in_cdb, read_cdb
from bonekit.fem.deck import inverted
from bonekit.fem.deck_contents import SOLIDS, Contents, absent, distinct, place
from bonekit.fem.inp_reading import lines_in_inp, read_inp
from bonekit.meshing.interchange import read_cells

Float = NDArray[np.float64]
Int = NDArray[np.int64]

READABLE = (".inp", ".cdb", ".vtu", ".msh")
SMALLEST_MM, LARGEST_MM = 1.0, 3000.0  # of a bone: below it is metres, above it micrometres
KINDS = {4: "tetra", 8: "hexahedron", 10: "tetra10"}
ORDER_OF = {".inp": "Abaqus", ".cdb": "Ansys", ".vtu": "VTK", ".msh": "Gmsh"}


@dataclass(frozen=True, eq=False)
class ForeignMesh:
    """A mesh as another program wrote it. Its frame is the file's: bonekit takes it as LPS.

    Parameters
    ----------
    path : Path
    nodes_mm : ndarray of float, (n_nodes, 3)
    node_ids : ndarray of int, (n_nodes,)
        Numbers in the file.
    elements : mapping of str to ndarray of int, (n, 4, 8 or 10)
        Rows of `nodes_mm` for each kind of element that can get a material: "tetra",
        "tetra10", "hexahedron", in the order of VTK.
    element_ids : mapping of str to ndarray of int, (n,)
        Numbers in the file for each kind.
    node_sets, element_sets : mapping of str to ndarray of int
        Numbers in the file, sorted.
    n_others : int
        Elements of other kinds, such as shells; they stay as they are.
    """

    path: Path
    nodes_mm: Float
    node_ids: Int
    elements: Mapping[str, Int]
    element_ids: Mapping[str, Int]
    node_sets: Mapping[str, Int] = field(default_factory=dict)
    element_sets: Mapping[str, Int] = field(default_factory=dict)
    n_others: int = 0

    @property
    def n_elements(self) -> int:
        """Number of elements that can get a material."""
        return sum(map(len, self.element_ids.values()))


def read_deck(path: Path | str) -> ForeignMesh:
    """Read the mesh and the sets of a deck that another program wrote.

    Parameters
    ----------
    path : path
        .inp (Abaqus, CalculiX; with solids in one part at most), .cdb (Ansys; blocked), .vtu, .msh.

    Returns
    -------
    ForeignMesh
        Elements of .vtu and .msh have no numbers of their own; they count from 1.

    Raises
    ------
    InputError
        If the file is missing or of another format, is made of several parts or files, is in
        metres or micrometres by its size, has an inverted element or a number twice, or a set or
        an element names a node that is not there; with the line, where it is known.
    """
    path = Path(path)
    contents = _contents(path)
    nodes = _sorted(path, "node", contents.node_ids)
    elements = _sorted(path, "element", contents.element_ids)
    for kind, sets, known in (
        ("node", contents.node_sets, nodes),
        ("element", contents.element_sets, elements),
    ):
        for name, members in sets.items():
            line = contents.lines.get(f"{kind} set {name}", 0)
            _check_set(place(path, line), f"{kind} set {name}", members, known, f"{kind}s")
    kinds = [
        KINDS[n] for n in sorted(SOLIDS) if any(b.nodes.shape[1] == n for b in contents.solids)
    ]
    if not kinds:
        raise InputError(
            f"{path.name} has no element that can get a material; allowed: tetrahedra of 4 or 10 "
            "nodes and hexahedra of 8"
        )
    return _mesh(path, contents, kinds)


def _contents(path: Path) -> Contents:
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise InputError(f"can't read a deck from {path.name!r}; known: {', '.join(READABLE)}")
    if not path.is_file():
        raise InputError(f"deck not found: {path}")
    if suffix in (".vtu", ".msh"):
        return Contents.of_cells(*read_cells(path))
    return read_inp(path) if suffix == ".inp" else read_cdb(path)


def _mesh(path: Path, contents: Contents, kinds: list[str]) -> ForeignMesh:
    order = np.argsort(contents.node_ids)
    nodes_mm, node_ids = contents.nodes_mm[order], contents.node_ids[order]
    elements: dict[str, Int] = {}
    element_ids: dict[str, Int] = {}
    for n_nodes, kind in KINDS.items():
        blocks = [b for b in contents.solids if b.nodes.shape[1] == n_nodes]
        if kind in kinds:
            ids = np.concatenate([b.ids for b in blocks])
            named = np.concatenate([b.nodes for b in blocks])
            for block in blocks:
                where = place(path, block.line)
                _check_set(where, f"elements ({kind})", block.nodes.ravel(), node_ids, "nodes")
            element_ids[kind] = ids
            elements[kind] = np.searchsorted(node_ids, named)
    _check_finite(path, nodes_mm, node_ids)
    _check_size(path, nodes_mm, elements)
    for kind, rows in elements.items():
        _check_turned(path, kind, nodes_mm, rows, element_ids[kind])
    n_others = len(contents.element_ids) - sum(map(len, element_ids.values()))
    sets = (contents.node_sets, contents.element_sets)
    return ForeignMesh(path, nodes_mm, node_ids, elements, element_ids, *sets, n_others)


def _sorted(path: Path, what: str, ids: Int) -> Int:
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        first, again = _lines(path, what, int(twice[0]))[:2]
        raise InputError(
            f"{place(path, again)}: {what} {twice[0]} is defined more than once, first in line "
            f"{first}; give it another number, or take one of the two out"
        )
    return ordered


def _lines(path: Path, what: str, number: int) -> list[int]:
    """Lines at which a file defines a node or an element, [0] if its kind gives none a number."""
    finder = {".inp": lines_in_inp, ".cdb": lines_in_cdb}.get(path.suffix.lower())
    return [0] if finder is None else finder(path, what, number)


def _check_finite(path: Path, nodes_mm: Float, node_ids: Int) -> None:
    odd = ~np.isfinite(nodes_mm).all(axis=1)
    if odd.any():
        number = int(node_ids[odd.argmax()])
        raise InputError(
            f"{place(path, _lines(path, 'node', number)[0])}: node {number} is at "
            f"{nodes_mm[odd.argmax()].tolist()}; allowed are finite numbers of mm"
        )


def _check_turned(path: Path, kind: str, nodes_mm: Float, elements: Int, ids: Int) -> None:
    wrong = inverted(nodes_mm, elements)
    if wrong.any():
        number = int(ids[wrong.argmax()])
        where = ", ".join(f"{x:.1f}" for x in nodes_mm[elements[wrong.argmax()]].mean(axis=0))
        raise InputError(
            f"{place(path, _lines(path, 'element', number)[0])}: element {number} ({kind}) near "
            f"({where}) mm is inverted or flat, one of {np.count_nonzero(wrong)} among "
            f"{len(elements)}; give its nodes in the order of {ORDER_OF[path.suffix.lower()]}, or "
            "mesh again"
        )


def _check_set(where: str, name: str, members: Int, known: Int, what: str) -> None:
    missing = absent(members, known)
    if missing.size:
        raise InputError(
            f"{where}: {name} names {missing.size} {what} that are not in the file "
            f"(such as {distinct(missing)[:5].tolist()})"
        )


def _check_size(path: Path, nodes_mm: Float, elements: Mapping[str, Int]) -> None:
    used = nodes_mm[distinct(np.concatenate([rows.ravel() for rows in elements.values()]))]
    size = np.ptp(used, axis=0)
    if SMALLEST_MM <= size.max() <= LARGEST_MM:
        return
    unit, factor = ("metres", "1000") if size.max() < SMALLEST_MM else ("micrometres", "0.001")
    raise InputError(
        f"{path.name} spans {size[0]:.4g} x {size[1]:.4g} x {size[2]:.4g}: as millimetres that is "
        f"no bone ({SMALLEST_MM:g} to {LARGEST_MM:g} mm), it looks like {unit}. Scale its "
        f"coordinates by {factor}, and its loads and materials to mm, N and MPa"
    )

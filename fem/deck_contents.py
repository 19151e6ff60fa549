"""What readers of decks find in a file, by the numbers that the file gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.deck_step import distinct

Float = NDArray[np.float64]
Int = NDArray[np.int64]
__all__ = ["SOLIDS", "Cells", "Contents", "absent", "distinct", "line_at", "place"]

SOLIDS = (4, 8, 10)  # nodes of the elements that can get a material


@dataclass(frozen=True, eq=False)
class Cells:
    """Solid elements, (n,), the numbers of their nodes, (n, 4, 8 or 10), in VTK's order, a line."""

    ids: Int
    nodes: Int
    line: int = 0


@dataclass(frozen=True, eq=False)
class Contents:
    """Nodes, elements and sets, by their numbers in the file.

    Parameters
    ----------
    node_ids : ndarray of int, (n_nodes,)
    nodes_mm : ndarray of float, (n_nodes, 3)
    solids : tuple of Cells
    element_ids : ndarray of int
        Of all elements, those of other kinds too.
    node_sets, element_sets : mapping of str to ndarray of int
    lines : mapping of str to int
        Where "node set X" and "element set X" begin in the file, if that is known.
    """

    node_ids: Int
    nodes_mm: Float
    solids: tuple[Cells, ...]
    element_ids: Int
    node_sets: Mapping[str, Int]
    element_sets: Mapping[str, Int]
    lines: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_cells(
        cls, nodes_mm: Float, cells: Sequence[Int], cell_sets: Mapping[str, Int]
    ) -> Contents:
        """Make it of arrays that count from 0; numbers count from 1 then."""
        solids, first = [], 1
        for rows in cells:
            ids = np.arange(first, first + len(rows))
            first += len(rows)
            if rows.shape[1] in SOLIDS:
                solids.append(Cells(ids, rows + 1))
        named = {name: members + 1 for name, members in cell_sets.items()}
        nodes = np.arange(1, len(nodes_mm) + 1)
        return cls(nodes, nodes_mm, tuple(solids), np.arange(1, first), {}, named)


def line_at(text: bytes, byte: int) -> int:
    """Count the line in which a byte stands, from 1."""
    return text.count(b"\n", 0, byte) + 1


def place(path: Path, line: int) -> str:
    """Name of a file, with the line if it is known (not 0)."""
    return f"{path.name}, line {line}" if line else path.name


def absent(numbers: Int, known: Int) -> Int:
    """Numbers that are not among sorted known ones."""
    if not known.size:
        return numbers
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.asarray(numbers[known[place] != numbers])

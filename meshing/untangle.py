"""Boundaries that touch themselves or run through themselves, taken apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.elements import ROOM
from bonekit.meshing.intersections import self_intersections
from bonekit.meshing.lattice import Parts
from bonekit.meshing.levelset import (
    boundary,
    compact,
    crowded_edges,
    interfaces,
    largest_piece,
    on_surfaces,
    pieces,
)
from bonekit.meshing.move import moved, smoothed

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ROUNDS = 10


def crossing(nodes: Float, outer: Int) -> Int:
    """Triangles of a boundary, (f, 3), that cross others, (k, 3)."""
    return np.asarray(outer[np.unique(self_intersections(nodes, outer))])


def untangled(parts: Parts, order: tuple[int, ...]) -> Parts:
    """Draw nodes of triangles that cross towards their neighbours until none cross, if possible.

    No element falls below the limits by it.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    order : tuple of int
        References in the order of their surfaces.
    """
    nodes, tetrahedra, reference = parts
    outer, on = boundary(tetrahedra), None
    for turn in range(ROUNDS):
        wrong = np.unique(crossing(nodes, outer))
        if not wrong.size:
            break
        if on is None:
            of = interfaces(tetrahedra, reference, order)
            on = on_surfaces(len(nodes), *of, n_surfaces=len(order) + 1)
        target = nodes.copy()
        target[wrong] = (nodes[wrong] + smoothed(nodes, tetrahedra, on)[wrong]) / 2
        nodes = moved(nodes, tetrahedra, target, max(1 / ROOM, 1 - turn / ROUNDS))
    return nodes, tetrahedra, reference


def unpinched(parts: Parts) -> Parts:
    """Take out elements at edges at which the boundary touches itself: all but the largest fan.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
        In one piece; so they stay.
    """
    nodes, tetrahedra, reference = parts
    for _ in range(ROUNDS):
        crowded = crowded_edges(boundary(tetrahedra))
        if not len(crowded):
            break
        kept = np.ones(len(tetrahedra), dtype=bool)
        for a, b in crowded:
            rows = np.flatnonzero((tetrahedra == a).any(axis=1) & (tetrahedra == b).any(axis=1))
            fan = pieces(tetrahedra[rows])
            kept[rows[fan != np.bincount(fan).argmax()]] = False
        tetrahedra, reference = tetrahedra[kept], reference[kept]
        kept = largest_piece(tetrahedra)[0]
        tetrahedra, reference = tetrahedra[kept], reference[kept]
    return compact((nodes, tetrahedra, reference))

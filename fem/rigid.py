"""Is every piece of a mesh held? Rigid motions that constraints and springs leave free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bonekit.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class HeldCap:
    """A rigid cap as far as it holds something.

    Parameters
    ----------
    nodes : ndarray of int, (n,)
    pivot_mm : ndarray of float, (3,)
    held : ndarray of bool, (2, 3)
        Prescribed components of the pivot's translation and of the rotation.
    """

    nodes: Int
    pivot_mm: Float
    held: Bool


def check_held(nodes_mm: Float, elements: Int, held: Bool, caps: Sequence[HeldCap] = ()) -> None:
    """Refuse a mesh of which a piece can move as a rigid body.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, k)
    held : ndarray of bool, (n_nodes, 3)
        Components that are prescribed or on a spring.
    caps : sequence of HeldCap
        What one touches is one piece.

    Raises
    ------
    InputError
        It names the motions that are left free.
    """
    n, of_node = _pieces(len(nodes_mm), elements, caps)
    size = np.bincount(of_node[elements[:, 0]], minlength=n)
    rows = _Rows.of(nodes_mm, of_node, held, caps)
    counted = np.bincount(rows.piece, minlength=n)
    floating = (counted == 0) & (size > 0)
    if floating.any():
        raise InputError(
            f"{size[floating].sum()} of {len(elements)} elements float: {floating.sum()} of "
            f"{np.count_nonzero(size)} pieces (the largest of {size[floating].max()} elements) "
            "touch no constraint. Keep the connected part only, or constrain them"
        )
    order = np.argsort(rows.piece, kind="stable")
    starts = np.cumsum(counted)[:-1]
    for piece, own in enumerate(np.split(order, starts)):
        if size[piece]:
            _check_piece(rows.at[own], rows.shift[own], rows.turn[own], int(size[piece]))


def _pieces(n_nodes: int, elements: Int, caps: Sequence[HeldCap]) -> tuple[int, Int]:
    """Count the pieces, and find the piece of each node."""
    first = np.repeat(elements[:, :1], elements.shape[1] - 1, axis=1).ravel()
    tied = [np.full(len(cap.nodes), cap.nodes[0]) for cap in caps]
    pairs = (
        np.concatenate([first, *tied]),
        np.concatenate([elements[:, 1:].ravel(), *(cap.nodes for cap in caps)]),
    )
    graph = sparse.coo_matrix((np.ones(len(pairs[0]), dtype=np.int8), pairs), (n_nodes, n_nodes))
    n, of_node = connected_components(graph, directed=False)
    return int(n), np.asarray(of_node, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Motions that are ruled out: of a place along a direction, or of a piece about one."""

    piece: Int
    at: Float
    shift: Float
    turn: Float

    @staticmethod
    def of(nodes_mm: Float, of_node: Int, held: Bool, caps: Sequence[HeldCap]) -> _Rows:
        nodes, component = np.nonzero(held)
        piece, at, shift = [of_node[nodes]], [nodes_mm[nodes]], [np.eye(3)[component]]
        turn = [np.zeros((len(nodes), 3))]
        for cap in caps:
            kind, axis = np.nonzero(cap.held)
            piece.append(np.full(len(kind), of_node[cap.nodes[0]]))
            at.append(np.broadcast_to(cap.pivot_mm, (len(kind), 3)))
            shift.append(np.eye(3)[axis] * (kind == 0)[:, None])
            turn.append(np.eye(3)[axis] * (kind == 1)[:, None])
        return _Rows(
            np.concatenate(piece), np.concatenate(at), np.concatenate(shift), np.concatenate(turn)
        )


def _check_piece(at: Float, shift: Float, turn: Float, size: int) -> None:
    centre = at.mean(axis=0)
    extent = max(float(np.abs(at - centre).max()), 1e-300)
    about = np.cross((at - centre) / extent, shift) + turn
    _, strength, motions = np.linalg.svd(_gram(np.hstack([shift, about])))
    free = motions[strength < 1e-10 * strength[0]]
    if len(free):
        raise InputError(
            f"the constraints leave a piece of {size} elements {len(free)} of its 6 rigid-body "
            f"motions: {'; '.join(_named(motion) for motion in free)}. Constrain more components, "
            "or nodes that are not in one line"
        )


def _gram(rows: Float) -> Float:
    return np.asarray(rows.T @ rows)


def _named(motion: Float) -> str:
    """Describe a motion, of a translation and a rotation, by the larger."""
    shift, turn = motion[:3], motion[3:]
    if np.linalg.norm(turn) < 1e-6:
        return f"translation along ({', '.join(f'{x:.2g}' for x in shift)})"
    axis = turn / np.linalg.norm(turn)
    return f"rotation about ({', '.join(f'{x:.2g}' for x in axis + 0.0)})"

"""Is every piece of a mesh held? Rigid motions that constraints and springs leave free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bonekit.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


def check_held(nodes_mm: Float, elements: Int, held: Bool) -> None:
    """Refuse a mesh of which a piece can move as a rigid body.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, k)
    held : ndarray of bool, (n_nodes, 3)
        Components that are prescribed or on a spring.

    Raises
    ------
    InputError
        It names the motions that are left free.
    """
    n, of_node = _pieces(len(nodes_mm), elements)
    size = np.bincount(of_node[elements[:, 0]], minlength=n)
    nodes, component = np.nonzero(held)
    counted = np.bincount(of_node[nodes], minlength=n)
    floating = (counted == 0) & (size > 0)
    if floating.any():
        raise InputError(
            f"{size[floating].sum()} of {len(elements)} elements float: {floating.sum()} of "
            f"{np.count_nonzero(size)} pieces (the largest of {size[floating].max()} elements) "
            "touch no constraint. Keep the connected part only, or constrain them"
        )
    order = np.argsort(of_node[nodes], kind="stable")
    starts = np.cumsum(counted)[:-1]
    for piece, rows in enumerate(np.split(order, starts)):
        if size[piece]:
            at = nodes_mm[nodes[rows]]
            _check_piece(at, component[rows], int(size[piece]))


def _pieces(n_nodes: int, elements: Int) -> tuple[int, Int]:
    """Count the pieces, and find the piece of each node."""
    first = np.repeat(elements[:, :1], elements.shape[1] - 1, axis=1).ravel()
    pairs = (first, elements[:, 1:].ravel())
    graph = sparse.coo_matrix((np.ones(len(first), dtype=np.int8), pairs), (n_nodes, n_nodes))
    n, of_node = connected_components(graph, directed=False)
    return int(n), np.asarray(of_node, dtype=np.int64)


def _check_piece(at: Float, component: Int, size: int) -> None:
    centre = at.mean(axis=0)
    extent = max(float(np.abs(at - centre).max()), 1e-300)
    direction = np.eye(3)[component]
    turn = np.cross((at - centre) / extent, direction)
    _, strength, motions = np.linalg.svd(_gram(np.hstack([direction, turn])))
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

"""Is every piece of a grid of bricks held? Rigid motions that the supports leave free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.meshing.voxel import BRICK_CORNERS

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def node_labels(pieces: NDArray[np.integer]) -> NDArray[np.int32]:
    """Label of the piece at each node, (ni+1, nj+1, nk+1), 0 in the void."""
    ni, nj, nk = pieces.shape
    labels = np.zeros((ni + 1, nj + 1, nk + 1), dtype=np.int32)
    for a, b, c in BRICK_CORNERS:
        view = labels[a : a + ni, b : b + nj, c : c + nk]
        np.maximum(view, pieces, out=view, casting="unsafe")
    return labels


def check_support(active: Bool, fixed: Bool, spacing_mm: Float) -> None:
    """Refuse a model of which a piece can move as a rigid body.

    Parameters
    ----------
    active : ndarray of bool, (ni, nj, nk)
    fixed : ndarray of bool, (ni+1, nj+1, nk+1, 3)
    spacing_mm : ndarray of float, (3,)

    Raises
    ------
    InputError
        If some bricks touch, even through others, no support at all, or if the supports of a piece
        leave it a rigid motion. Pieces hold together where bricks share at least a corner.
    """
    pieces, n = ndimage.label(active, structure=_TOUCHING)
    labels = node_labels(pieces)
    rank = _rigid_motions_held(labels, fixed, spacing_mm, n)
    sizes = np.bincount(pieces.ravel(), minlength=n + 1)[1:]
    floating = rank == 0
    if floating.any():
        raise InputError(
            f"{sizes[floating].sum()} of {sizes.sum()} elements float: {floating.sum()} of {n} "
            f"pieces (the largest of {sizes[floating].max()} elements) touch no constraint. Keep "
            "the connected part only, or constrain them"
        )
    loose = rank < 6
    if loose.any():
        worst = int(np.flatnonzero(loose)[np.argmax(sizes[loose])])
        raise InputError(
            f"the constraints leave a piece of {sizes[worst]} elements {6 - rank[worst]} of its 6 "
            "rigid-body motions. Constrain more components, or nodes that are not in one line"
        )


def hinges(active: Bool) -> int:
    """Count the parts joined to others by an edge or a corner only: mechanisms, perhaps."""
    whole = ndimage.label(active, structure=_TOUCHING)[1]
    return int(ndimage.label(active)[1] - whole)


def _rigid_motions_held(
    labels: NDArray[np.int32], fixed: Bool, spacing_mm: Float, n: int
) -> NDArray[np.int64]:
    """How many of the six rigid motions the fixed components rule out, per piece, (n,)."""
    i, j, k, component = np.nonzero(fixed & (labels > 0)[..., None])
    piece = labels[i, j, k] - 1
    position = np.stack([i, j, k], axis=1) * spacing_mm
    count = np.maximum(np.bincount(piece, minlength=n), 1)
    centre = np.stack([np.bincount(piece, x, n) for x in position.T], axis=1) / count[:, None]
    arm = (position - centre[piece]) / np.linalg.norm(np.array(labels.shape) * spacing_mm)
    direction = np.eye(3)[component]
    motion = np.concatenate([direction, np.cross(arm, direction)], axis=1)
    gram = np.zeros((n, 6, 6))
    for a, b in np.ndindex(6, 6):
        gram[:, a, b] = np.bincount(piece, motion[:, a] * motion[:, b], n)
    eigenvalues = np.linalg.eigvalsh(gram)
    return np.asarray((eigenvalues > 1e-10 * np.maximum(gram.max((1, 2)), 1e-300)[:, None]).sum(1))

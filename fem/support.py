"""Is every piece of a grid of bricks held? Rigid motions that the supports leave free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.meshing.voxel import BRICK_CORNERS

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_NAMES = (
    *(f"translation along axis {axis}" for axis in range(3)),
    *(f"rotation about axis {axis}" for axis in range(3)),
)


def node_labels(pieces: NDArray[np.integer]) -> NDArray[np.int32]:
    """Label of the piece at each node, (ni+1, nj+1, nk+1), 0 in the void."""
    ni, nj, nk = pieces.shape
    labels = np.zeros((ni + 1, nj + 1, nk + 1), dtype=np.int32)
    for a, b, c in BRICK_CORNERS:
        view = labels[a : a + ni, b : b + nj, c : c + nk]
        np.maximum(view, pieces, out=view, casting="unsafe")
    return labels


@dataclass(frozen=True, eq=False)
class HeldCap:
    """A rigid cap as far as it supports something.

    Parameters
    ----------
    node_ijk : ndarray of int, (m, 3)
        Lattice indices of its nodes.
    pivot_mm : ndarray of float, (3,)
        In mesh axes, from the first node of the lattice.
    held : ndarray of bool, (2, 3)
        Prescribed components of the pivot's translation and of the rotation.
    """

    node_ijk: NDArray[np.integer]
    pivot_mm: Float
    held: Bool


def check_support(
    active: Bool, fixed: Bool, spacing_mm: Float, caps: Sequence[HeldCap] = ()
) -> None:
    """Refuse a model of which a piece can move as a rigid body.

    Parameters
    ----------
    active : ndarray of bool, (ni, nj, nk)
    fixed : ndarray of bool, (ni+1, nj+1, nk+1, 3)
        Components that are prescribed, or on a spring.
    spacing_mm : ndarray of float, (3,)
    caps : sequence of HeldCap
        What they touch is one piece.

    Raises
    ------
    InputError
        If some bricks touch, even through others, no support at all, or if the supports of a piece
        leave it a rigid motion, which is named. Pieces hold together where bricks share at least a
        corner.
    """
    pieces, n = ndimage.label(active, structure=_TOUCHING)
    labels, owner = node_labels(pieces), np.arange(n + 1)
    for cap in caps:
        joined = np.unique(owner[labels[tuple(cap.node_ijk.T)]])
        owner[np.isin(owner, joined)] = joined[-1]
    sizes = np.bincount(owner[pieces.ravel()], minlength=n + 1)[1:]
    gram = _held_motions(owner[labels], fixed, spacing_mm, n, caps)
    gram, sizes = gram[sizes > 0], sizes[sizes > 0]
    strength = np.linalg.eigvalsh(gram)
    limit = 1e-10 * np.maximum(gram.max((1, 2)), 1e-300)
    rank = (strength > limit[:, None]).sum(axis=1)
    floating = rank == 0
    if floating.any():
        raise InputError(
            f"{sizes[floating].sum()} of {sizes.sum()} elements float: {floating.sum()} of "
            f"{len(sizes)} pieces (the largest of {sizes[floating].max()} elements) touch no "
            "constraint. Keep the connected part only, or constrain them"
        )
    loose = rank < 6
    if loose.any():
        worst = int(np.flatnonzero(loose)[np.argmax(sizes[loose])])
        raise InputError(
            f"the constraints leave a piece of {sizes[worst]} elements {6 - rank[worst]} of its 6 "
            f"rigid-body motions: {_motions(gram[worst], float(limit[worst]))}. Constrain more "
            "components, or nodes that are not in one line"
        )


def hinges(active: Bool) -> int:
    """Count the parts joined to others by an edge or a corner only: mechanisms, perhaps."""
    whole = ndimage.label(active, structure=_TOUCHING)[1]
    return int(ndimage.label(active)[1] - whole)


def _held_motions(
    labels: NDArray[np.integer],
    fixed: Bool,
    spacing_mm: Float,
    n: int,
    caps: Sequence[HeldCap],
) -> Float:
    """Sum of the squares of what supports rule out of the six rigid motions of pieces, (n, 6, 6).

    Motions are translations and rotations about the centre of the piece's supports.
    """
    i, j, k, component = np.nonzero(fixed & (labels > 0)[..., None])
    piece = labels[i, j, k] - 1
    position = np.stack([i, j, k], axis=1) * spacing_mm
    direction, turn = np.eye(3)[component], np.zeros((len(piece), 3))
    for cap in caps:
        kind, axis = np.nonzero(cap.held)
        piece = np.r_[piece, np.repeat(labels[tuple(cap.node_ijk[0])] - 1, len(kind))]
        position = np.vstack([position, np.tile(cap.pivot_mm, (len(kind), 1))])
        direction = np.vstack([direction, np.eye(3)[axis] * (kind == 0)[:, None]])
        turn = np.vstack([turn, np.eye(3)[axis] * (kind == 1)[:, None]])
    count = np.maximum(np.bincount(piece, minlength=n), 1)
    centre = np.stack([np.bincount(piece, x, n) for x in position.T], axis=1) / count[:, None]
    arm = (position - centre[piece]) / np.linalg.norm(np.array(labels.shape) * spacing_mm)
    motion = np.concatenate([direction, np.cross(arm, direction) + turn], axis=1)
    gram = np.zeros((n, 6, 6))
    for a, b in np.ndindex(6, 6):
        gram[:, a, b] = np.bincount(piece, motion[:, a] * motion[:, b], n)
    return gram


def _motions(gram: Float, limit: float) -> str:
    """Name the motions that are free: along and about the axes where that says it all."""
    free = [name for name, row in zip(_NAMES, gram, strict=True) if row @ row <= limit**2]
    strength, motions = np.linalg.eigh(gram)
    left = int((strength <= limit).sum()) - len(free)
    if left == 0:
        return ", ".join(free)
    found = motions[:, strength <= limit].T
    others = [m for m in found if np.abs(m).max() < 1 - 1e-6][:left]
    return ", ".join([*free, *(_oblique(m) for m in others)])


def _oblique(motion: Float) -> str:
    shift, turn = motion[:3], motion[3:]
    kind, axis = ("rotation about", turn) if turn @ turn > 1e-12 else ("translation along", shift)
    return f"{kind} ({', '.join(f'{x:.2f}' for x in axis / np.linalg.norm(axis) + 0.0)})"

"""Bricks in rows: each shares the face towards the next, so that a row reads its nodes once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bonekit.fem.bricks import Bricks, Float, Int

# The corners of a brick, first the four of its lower face along the last axis, comp by comp, then
# the four above them: rows of a local vector here, while element stiffnesses go corner by corner.
BY_FACE = np.arange(24).reshape(2, 4, 3).transpose(0, 2, 1).ravel()


@dataclass(frozen=True, eq=False)
class Piece:
    """Some thousand faces: a row of L bricks has L + 1, the last of them without a brick.

    Parameters
    ----------
    nodes : Tensor of int32, (4 m,)
        Node numbers of the first corner of each face, the second and so on.
    low, high : int
        The nodes lie in this range.
    start, stop : int
        The bricks.
    place : Tensor of int32, (stop - start,)
        Face of each of them.
    """

    nodes: Tensor
    low: int
    high: int
    start: int
    stop: int
    place: Tensor

    @property
    def faces(self) -> int:
        """Number of faces."""
        return len(self.nodes) // 4

    def spread(self, weights: Float, dtype: torch.dtype) -> Tensor:
        """Values of all bricks, (p, n_bricks), at the faces, (p, m): 0 where a row ends."""
        own = torch.as_tensor(weights[:, self.start : self.stop], dtype=dtype)
        faces = torch.zeros(len(weights), self.faces, dtype=dtype, device=self.nodes.device)
        return faces.index_copy_(1, self.place.long(), own.to(faces.device))


@dataclass(frozen=True)
class Part:
    """Numbers of the pieces of one thread, of several that add to the same field.

    Parameters
    ----------
    early : tuple of int
        Touch nodes of later parts: they come first.
    alone : tuple of int
    late : tuple of int
        Touch nodes of earlier parts: they wait until those are done with theirs.
    chained : bool
        Later parts have to wait for the late pieces too.
    """

    early: tuple[int, ...]
    alone: tuple[int, ...]
    late: tuple[int, ...]
    chained: bool

    @staticmethod
    def of(pieces: Sequence[Piece], start: int, stop: int) -> Part:
        """Divide the pieces of a range."""
        below = max((p.high for p in pieces[:start]), default=0)
        above = min((p.low for p in pieces[stop:]), default=np.inf)
        late = [n for n in range(start, stop) if pieces[n].low < below]
        early = [n for n in range(start, stop) if n not in late and pieces[n].high > above]
        alone = sorted({*range(start, stop)} - {*early, *late})
        chained = any(pieces[n].high > above for n in late)
        return Part(tuple(early), tuple(alone), tuple(late), chained)


def pieces(bricks: Bricks, faces: int, device: torch.device) -> Iterator[Piece]:
    """Cut bricks, in the order in which they come, into pieces of as many faces each."""
    faces, start = min(faces, 2 * len(bricks)), 0
    while start < len(bricks):
        piece = _piece(bricks.corners[start : start + faces - 1], faces, start, device)
        yield piece
        start = piece.stop


def _piece(corners: Int, m: int, start: int, device: torch.device) -> Piece:
    """As many of some bricks as have m faces; what is left of these has no brick."""
    ends = np.ones(len(corners), dtype=bool)
    ends[:-1] = (corners[1:, :4] != corners[:-1, 4:]).any(axis=1)
    place = np.arange(len(corners))
    place[1:] += np.cumsum(ends[:-1])
    n = int(np.searchsorted(place, m - 1))  # whose second face is the last at most
    corners, place, ends = corners[:n], place[:n], ends[:n].copy()
    ends[-1] = True
    low, high = int(corners.min()), int(corners.max()) + 1
    faces = np.full((4, m), low, dtype=np.int32)
    faces[:, place] = corners[:, :4].T
    faces[:, place[ends] + 1] = corners[ends, 4:].T
    nodes, where = (torch.as_tensor(a, device=device) for a in (faces.ravel(), np.int32(place)))
    return Piece(nodes, low, high, start, start + n, where)

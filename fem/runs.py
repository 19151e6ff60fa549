"""Bricks in rows: each shares the face towards the next, so that a row reads its nodes once."""

from __future__ import annotations

from collections.abc import Iterator
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
        Node numbers less ``low``, of the first corner of each face, the second and so on.
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


def pieces(bricks: Bricks, step: int, device: torch.device) -> Iterator[Piece]:
    """Cut bricks, in the order in which they come, into pieces of at most ``step``."""
    for start in range(0, len(bricks), step):
        stop = min(start + step, len(bricks))
        yield _piece(bricks.corners[start:stop], start, device)


def _piece(corners: Int, start: int, device: torch.device) -> Piece:
    n = len(corners)
    ends = np.ones(n, dtype=bool)
    ends[:-1] = (corners[1:, :4] != corners[:-1, 4:]).any(axis=1)
    place = np.arange(n)
    place[1:] += np.cumsum(ends[:-1])
    faces = np.empty((4, place[-1] + 2), dtype=np.int32)
    low, high = int(corners.min()), int(corners.max()) + 1
    faces[:, place] = (corners[:, :4] - low).T
    faces[:, place[ends] + 1] = (corners[ends, 4:] - low).T
    nodes, where = (torch.as_tensor(a, device=device) for a in (faces.ravel(), np.int32(place)))
    return Piece(nodes, low, high, start, start + n, where)

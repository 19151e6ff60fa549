"""Interpolation between the nodes of the finest level and of the next, of fields (3, n_nodes).

A finer node lies on a coarse node, or midway between 2, 4 or 8: what is kept are their numbers,
by how many they are, and no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bonekit.fem.block_rows import Transfer
from bonekit.fem.coarsening import Coarsening
from bonekit.fem.threads import at_once

_ONCE = 1 << 15  # nodes at once: what is gathered of them stays in a cache


class FieldTransfer:
    """Trilinear interpolation and its transpose.

    Parameters
    ----------
    step : Coarsening
    n_fine : int
        Number of finer nodes.
    device : torch.device
    """

    def __init__(self, step: Coarsening, n_fine: int, device: torch.device) -> None:
        self.n_fine, self.n_coarse = n_fine, step.coarse.n_nodes
        self._groups: list[tuple[Tensor, Tensor]] = []
        for count in (1, 2, 4, 8):
            rows = np.flatnonzero(step.count == count)
            nodes = step.nodes[rows].astype(np.int32)
            sources = np.ascontiguousarray(step.sources[rows, :count].T, dtype=np.int32)
            tensors = torch.as_tensor(nodes, device=device), torch.as_tensor(sources, device=device)
            self._groups.append(tensors)

    def prolong(self, e: Tensor) -> Tensor:
        """Interpolate a coarse field, (3, n_coarse), to the finer nodes, (3, n_fine)."""
        fine = e.new_zeros(3, self.n_fine)
        at_once([partial(self._prolong, *rows) for rows in zip(e, fine, strict=True)])
        return fine

    def restrict(self, r: Tensor) -> Tensor:
        """Transpose of `prolong`."""
        coarse = r.new_zeros(3, self.n_coarse)
        at_once([partial(self._restrict, *rows) for rows in zip(r, coarse, strict=True)])
        return coarse

    def _prolong(self, e: Tensor, fine: Tensor) -> None:
        for nodes, sources in self._pieces():
            total = e.index_select(0, sources[0])
            for source in sources[1:]:
                total += e.index_select(0, source)
            fine.index_copy_(0, nodes.long(), total.mul_(1 / len(sources)))

    def _restrict(self, r: Tensor, coarse: Tensor) -> None:
        for nodes, sources in self._pieces():
            share = r.index_select(0, nodes).mul_(1 / len(sources))
            for source in sources:
                coarse.scatter_add_(0, source.long(), share)

    def _pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of some finer nodes, (m,), and of what they depend on, (1 to 8, m)."""
        for nodes, sources in self._groups:
            once = _ONCE if nodes.device.type == "cpu" else max(1, len(nodes))
            for start in range(0, len(nodes), once):
                yield nodes[start : start + once], sources[:, start : start + once]


class Turned:
    """A transfer between fields (n, 3) for a level whose own are (3, n), the next one's (n, 3)."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer

    def prolong(self, e: Tensor) -> Tensor:
        """Interpolate to the finer nodes, (3, n_fine)."""
        return self._transfer.prolong(e).t()

    def restrict(self, r: Tensor) -> Tensor:
        """Transpose of `prolong`."""
        return self._transfer.restrict(r.t().contiguous())

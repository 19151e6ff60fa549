"""The stiffness of bricks as a product, without a matrix.

Fields are tensors of shape (3, n_nodes), a row per component. The displacements of a brick's
corners are gathered, multiplied by the one 24x24 stiffness of a unit modulus, scaled and added
back, some thousand bricks at a time so that all of it stays in a cache: the cost follows the
bricks, whatever box they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bonekit.fem.bricks import Bricks, Float, Int, Lattice, bricks_of
from bonekit.fem.threads import at_once, shares

__all__ = ["BrickOperator", "BrickProduct", "Float", "Lattice"]

_CHUNK = {"cpu": 1 << 14}  # bricks at once: 24 rows of them in float32 fit a second-level cache
_CHUNK_ELSEWHERE = 1 << 20  # large enough to fill a graphics processor

# Rows of a local vector component by component; the element stiffness has them corner by corner.
_BY_COMPONENT = np.arange(24).reshape(8, 3).T.ravel()


@dataclass(frozen=True, eq=False)
class _Piece:
    """A chunk of bricks.

    Parameters
    ----------
    rows : Tensor of int32, (8 m,)
        Node numbers less ``low``, corner by corner.
    weight : Tensor, (p, m)
    low, high : int
        The nodes lie in this range.
    """

    rows: Tensor
    weight: Tensor
    low: int
    high: int

    @staticmethod
    def of(corners: Int, weights: Float, product: BrickProduct) -> _Piece:
        low, high = int(corners.min()), int(corners.max()) + 1
        rows = np.ascontiguousarray((corners - low).T, dtype=np.int32).ravel()
        return _Piece(
            torch.as_tensor(rows, device=product.device),
            torch.as_tensor(weights, dtype=product.dtype, device=product.device),
            low,
            high,
        )


class BrickProduct:
    """Stiffness of bricks that are combinations of a few unit stiffnesses.

    Parameters
    ----------
    bricks : Bricks
    weights : ndarray of float, (p, n_bricks)
        Of each unit stiffness in each brick, 0 or more: one row of moduli where all bricks have
        one Poisson ratio.
    units : ndarray of float, (p, 24, 24)
        Element stiffnesses, corner by corner.
    dtype, device
        Of the tensors it takes and gives.
    spring_N_mm : Tensor, (3, n_nodes), optional
        Springs from the nodes to the ground.
    """

    def __init__(
        self,
        bricks: Bricks,
        weights: Float,
        units: Float,
        dtype: torch.dtype,
        device: torch.device,
        spring_N_mm: Tensor | None = None,
    ) -> None:
        self.n_nodes, self.dtype, self.device = bricks.n_nodes, dtype, device
        self.spring = None if spring_N_mm is None else spring_N_mm.to(dtype)
        ordered = units[:, _BY_COMPONENT][:, :, _BY_COMPONENT]
        self.units = torch.as_tensor(ordered, dtype=dtype, device=device)
        step = min(_CHUNK.get(device.type, _CHUNK_ELSEWHERE), len(bricks))
        self._chunk = step
        self._pieces = [
            _Piece.of(bricks.corners[start : start + step], weights[:, start : start + step], self)
            for start in range(0, len(bricks), step)
        ]

    def __call__(self, u: Tensor) -> Tensor:
        """Nodal forces K u, (3, n_nodes), of nodal displacements, (3, n_nodes)."""
        force = torch.zeros_like(u) if self.spring is None else self.spring * u
        cuts = [(0, len(self._pieces))] if u.is_cuda else shares(len(self._pieces))
        parts = [self._pieces[start:stop] for start, stop in cuts]
        ranges = [(min(p.low for p in ps), max(p.high for p in ps)) for ps in parts]
        # the first part adds to the result itself, the others to fields over their own nodes
        fields = [force, *(u.new_zeros(3, high - low) for low, high in ranges[1:])]
        lows = [0, *(low for low, _ in ranges[1:])]

        def job(part: list[_Piece], field: Tensor, low: int) -> Callable[[], None]:
            return lambda: self._add(u, part, field, low)

        at_once([job(*one) for one in zip(parts, fields, lows, strict=True)])
        for field, (low, high) in zip(fields[1:], ranges[1:], strict=True):
            force[:, low:high] += field
        return force

    def _add(self, u: Tensor, pieces: list[_Piece], field: Tensor, low: int) -> None:
        """Add the forces of some bricks to a field that begins at node ``low``."""
        result = u.new_empty(24 * self._chunk)
        for piece, rows, local in self._gathered(u, pieces):
            product = self._product(piece.weight, local, result[: local.numel()].view_as(local))
            self._scatter(product, rows, field[:, piece.low - low : piece.high - low])

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, n_nodes)."""
        shape = (3, self.n_nodes)
        total = self.units.new_zeros(shape) if self.spring is None else self.spring.clone()
        own = self.units.diagonal(dim1=1, dim2=2)
        for piece in self._pieces:
            self._scatter(own.T @ piece.weight, piece.rows.long(), total[:, piece.low : piece.high])
        return total

    def energy(self, u: Tensor) -> float:
        """Strain energy, half of u K u, summed brick by brick."""
        total = 0.0 if self.spring is None else float(0.5 * (self.spring * u * u).sum())
        result = u.new_empty(24 * self._chunk)
        for piece, _, local in self._gathered(u, self._pieces):
            product = self._product(piece.weight, local, result[: local.numel()].view_as(local))
            total += 0.5 * float(torch.dot(product.reshape(-1), local.reshape(-1)))
        return total

    def _gathered(self, u: Tensor, pieces: list[_Piece]) -> Iterator[tuple[_Piece, Tensor, Tensor]]:
        """Chunks of bricks, their node numbers and corner displacements, (24, m)."""
        place = torch.empty(8 * self._chunk, dtype=torch.int64, device=self.device)
        gathered = u.new_empty(24 * self._chunk)
        for piece in pieces:
            rows = place[: len(piece.rows)].copy_(piece.rows)
            local = gathered[: 3 * len(rows)].view(3, -1)
            for component, field in enumerate(u[:, piece.low : piece.high]):
                torch.index_select(field, 0, rows, out=local[component])
            yield piece, rows, local.view(24, -1)

    def _product(self, weight: Tensor, local: Tensor, out: Tensor) -> Tensor:
        torch.mm(self.units[0], local, out=out).mul_(weight[0])
        for unit, share in zip(self.units[1:], weight[1:], strict=True):
            out.addcmul_(unit @ local, share)
        return out

    @staticmethod
    def _scatter(local: Tensor, rows: Tensor, field: Tensor) -> None:
        for row, values in zip(field, local.reshape(3, -1), strict=True):
            row.scatter_add_(0, rows, values)


class BrickOperator(BrickProduct):
    """Stiffness of a grid of bricks that differ only in their modulus, over its whole lattice.

    Parameters
    ----------
    lattice : Lattice
    E : ndarray of float, (lattice.size,)
        Moduli over the cells' lowest nodes (see `Lattice.spread`); 0 is void.
    K : ndarray of float, (24, 24)
        Element stiffness for E = 1.
    dtype, device
        Of the tensors, (3, lattice.size), that it takes and gives.
    """

    def __init__(
        self, lattice: Lattice, E: Float, K: Float, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.lattice = lattice
        super().__init__(bricks_of(lattice, E), E[E > 0][None], K[None], dtype, device)

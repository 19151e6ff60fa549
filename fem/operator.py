"""The stiffness of bricks as a product, without a matrix.

Fields are tensors of shape (3, n_nodes), a row per component. The displacements of a brick's
corners are gathered, multiplied by the one 24x24 stiffness of a unit modulus, scaled and added
back, some thousand bricks at a time so that all of it stays in a cache: the cost follows the
bricks, whatever box they lie in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from bonekit.fem.bricks import Bricks, Float, Lattice, bricks_of
from bonekit.fem.runs import BY_FACE, Piece, pieces
from bonekit.fem.threads import at_once, shares

__all__ = ["BrickOperator", "BrickProduct", "Float", "Lattice"]

_CHUNK = {"cpu": 1 << 13}  # bricks at once: what is gathered of them fits a second-level cache
_CHUNK_ELSEWHERE = 1 << 20  # large enough to fill a graphics processor


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
    like : BrickProduct, optional
        Of the same bricks: its tables are shared.
    """

    def __init__(
        self,
        bricks: Bricks,
        weights: Float,
        units: Float,
        dtype: torch.dtype,
        device: torch.device,
        spring_N_mm: Tensor | None = None,
        like: BrickProduct | None = None,
    ) -> None:
        self.n_nodes, self.dtype, self.device = bricks.n_nodes, dtype, device
        self.spring = None if spring_N_mm is None else spring_N_mm.to(dtype)
        ordered = units[:, BY_FACE][:, :, BY_FACE]
        self.units = torch.as_tensor(ordered, dtype=dtype, device=device)
        # a row of the stiffness for all units in turn: (24, p 24)
        self._side_by_side = self.units.transpose(0, 1).reshape(24, -1).contiguous()
        step = max(1, _CHUNK.get(device.type, _CHUNK_ELSEWHERE) // len(units))
        made = list(pieces(bricks, step, device)) if like is None else like._pieces
        self._pieces: list[Piece] = made
        self._weights = [piece.spread(weights, dtype) for piece in self._pieces]

    def __call__(self, u: Tensor) -> Tensor:
        """Nodal forces K u, (3, n_nodes), of nodal displacements, (3, n_nodes)."""
        force = torch.zeros_like(u) if self.spring is None else self.spring * u
        cuts = [(0, len(self._pieces))] if u.is_cuda else shares(len(self._pieces))
        jobs, last, reached = [], [], 0
        for start, stop in cuts:
            # nodes that a thread before may be adding to are left for afterwards
            meet = [n for n in range(start, stop) if self._pieces[n].low < reached]
            alone = [n for n in range(start, stop) if self._pieces[n].low >= reached]
            reached = max((self._pieces[n].high for n in range(start, stop)), default=reached)
            jobs.append(partial(self._add, u, alone, force))
            last += meet
        at_once(jobs)
        if last:
            self._add(u, last, force)
        return force

    def _add(self, u: Tensor, numbers: Sequence[int], force: Tensor) -> None:
        """Add the forces of some pieces."""
        for piece, _, product, place in self._products(u, numbers):
            _scatter(product, place, force[:, piece.low : piece.high])

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, n_nodes)."""
        shape = (3, self.n_nodes)
        total = self.units.new_zeros(shape) if self.spring is None else self.spring.clone()
        own = self.units.diagonal(dim1=1, dim2=2)
        for piece, weight in zip(self._pieces, self._weights, strict=True):
            _scatter(own.T @ weight, piece.nodes.long(), total[:, piece.low : piece.high])
        return total

    def energy(self, u: Tensor) -> float:
        """Strain energy, half of u K u, summed brick by brick."""
        total = 0.0 if self.spring is None else float(0.5 * (self.spring * u * u).sum())
        for _, local, product, _ in self._products(u, range(len(self._pieces))):
            total += 0.5 * float(torch.dot(product.reshape(-1), local.reshape(-1)))
        return total

    def _products(
        self, u: Tensor, numbers: Sequence[int]
    ) -> Iterator[tuple[Piece, Tensor, Tensor, Tensor]]:
        """Pieces, their corner displacements and forces, (24, m), and node numbers, (4 m,)."""
        p, most = len(self.units), max((self._pieces[n].faces for n in numbers), default=0)
        room = u.new_empty(2, 24 * most)
        weighted = u.new_empty(24 * most * p) if p > 1 else room[:0]
        place = torch.empty(4 * most, dtype=torch.int64, device=self.device)
        for n in numbers:
            piece, m = self._pieces[n], self._pieces[n].faces
            rows = place[: 4 * m].copy_(piece.nodes)
            local, product = (one[: 24 * m].view(24, m) for one in room)
            _gather(u[:, piece.low : piece.high], rows, local)
            if p == 1:
                torch.mm(self.units[0], local, out=product).mul_(self._weights[n][0])
            else:
                each = weighted[: 24 * p * m].view(p, 24, m)
                torch.mul(local, self._weights[n][:, None], out=each)
                torch.mm(self._side_by_side, each.view(24 * p, m), out=product)
            yield piece, local, product, rows


def _gather(field: Tensor, place: Tensor, local: Tensor) -> None:
    """Displacements of the corners of bricks, (24, m): a face is read once, for both its bricks."""
    for own, values in zip(local[:12].view(3, -1), field, strict=True):
        torch.index_select(values, 0, place, out=own)
    local[12:, :-1] = local[:12, 1:]
    local[12:, -1] = 0.0


def _scatter(local: Tensor, place: Tensor, field: Tensor) -> None:
    """Add forces at the corners of bricks, (24, m), which it spoils, to a field."""
    local[:12, 1:] += local[12:, :-1]
    for row, values in zip(field, local[:12].reshape(3, -1), strict=True):
        row.scatter_add_(0, place, values)


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

"""The stiffness of bricks as a product, without a matrix.

Fields are tensors of shape (3, n_nodes), a row per component. The displacements of a brick's
corners are gathered, multiplied by the one 24x24 stiffness of a unit modulus, scaled and added
back, some thousand bricks at a time so that all of it stays in a cache: the cost follows the
bricks, whatever box they lie in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import Event

import torch
from torch import Tensor

from bonekit.fem.bricks import Bricks, Float, Lattice, bricks_of
from bonekit.fem.piecework import unlocked
from bonekit.fem.runs import BY_FACE, Part, Piece, pieces
from bonekit.fem.threads import at_once, shares

__all__ = ["BrickOperator", "BrickProduct", "Float", "Lattice"]

_CHUNK = {"cpu": 1 << 13}  # faces at once: what is gathered fits a second-level cache
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
        step = max(2, _CHUNK.get(device.type, _CHUNK_ELSEWHERE) // (1 if len(units) == 1 else 4))
        made = list(pieces(bricks, step, device)) if like is None else like._pieces
        self._pieces: list[Piece] = made
        self._divided: dict[tuple[tuple[int, int], ...], list[Part]] = {}
        self._weights = [piece.spread(weights, dtype) for piece in self._pieces]

    def __call__(self, u: Tensor) -> Tensor:
        """Nodal forces K u, (3, n_nodes), of nodal displacements, (3, n_nodes)."""
        force = torch.zeros_like(u) if self.spring is None else self.spring * u
        cuts = [(0, len(self._pieces))] if u.is_cuda else shares(len(self._pieces))
        finished = [Event() for _ in cuts]
        jobs = [
            partial(self._share, u, force, part, finished, number)
            for number, part in enumerate(self._parts(tuple(cuts)))
        ]
        at_once(jobs)
        return force

    def _parts(self, cuts: tuple[tuple[int, int], ...]) -> list[Part]:
        if cuts not in self._divided:
            self._divided = {cuts: [Part.of(self._pieces, *cut) for cut in cuts]}
        return self._divided[cuts]

    def _share(
        self, u: Tensor, force: Tensor, part: Part, finished: list[Event], number: int
    ) -> None:
        """Add the forces of a thread's pieces; never two to a node at a time."""
        try:
            self._add(u, part.early, force)
            if not part.chained:
                finished[number].set()
            self._add(u, part.alone, force)
            for before in finished[:number]:
                before.wait()
            self._add(u, part.late, force)
        finally:
            finished[number].set()

    def _add(self, u: Tensor, numbers: Sequence[int], force: Tensor) -> None:
        """Add the forces of some pieces."""
        if numbers:
            nodes, weights = (
                [self._pieces[n].nodes for n in numbers],
                [self._weights[n] for n in numbers],
            )
            unlocked()(u, force, self._side_by_side, nodes, weights)

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, n_nodes)."""
        shape = (3, self.n_nodes)
        total = self.units.new_zeros(shape) if self.spring is None else self.spring.clone()
        own = self.units.diagonal(dim1=1, dim2=2)
        for piece, weight in zip(self._pieces, self._weights, strict=True):
            each, place = own.T @ weight, piece.nodes.long()
            each[:12, 1:] += each[12:, :-1]
            for row, values in zip(total, each[:12].view(3, -1), strict=True):
                row.scatter_add_(0, place, values)
        return total

    def energy(self, u: Tensor) -> float:
        """Strain energy, half of u K u, summed brick by brick."""
        total = 0.0 if self.spring is None else float(0.5 * (self.spring * u * u).sum())
        for piece, weight in zip(self._pieces, self._weights, strict=True):
            faces = u[:, piece.nodes.long()].view(12, -1)
            local = torch.cat([faces[:, :-1], faces[:, 1:]])
            for unit, share in zip(self.units, weight[:, :-1], strict=True):
                total += 0.5 * float(torch.dot((local * (unit @ local)).sum(dim=0), share))
        return total


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
    spring_N_mm : Tensor, (3, lattice.size), optional
    like : BrickOperator, optional
        Of the same bricks: its tables are shared.
    """

    def __init__(
        self,
        lattice: Lattice,
        E: Float,
        K: Float,
        dtype: torch.dtype,
        device: torch.device,
        spring_N_mm: Tensor | None = None,
        like: BrickOperator | None = None,
    ) -> None:
        self.lattice = lattice
        bricks = bricks_of(lattice, E)
        super().__init__(bricks, E[E > 0][None], K[None], dtype, device, spring_N_mm, like)

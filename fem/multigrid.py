"""Geometric multigrid for bricks of varying modulus: the preconditioner.

Each coarse brick is two (or one) fine bricks wide along each axis, and its stiffness is the exact
Galerkin projection of the stiffness of its children, with the fixed degrees of freedom removed on
the finest grid: nothing is averaged, so thin cortex, pores and odd supports are seen as they are.
The two finest levels are matrix-free, their fields of shape (3, n); the coarse ones hold rows of
3x3 blocks, their fields are (n, 3).

References
----------
Trottenberg, Oosterlee, Schueller, Multigrid (2001), chapter 7; Adams, Brezina, Hu, Tuminaro,
J. Comput. Phys. 188 (2003) 593: polynomial smoothers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bonekit.fem.block_rows import BlockRows, Transfer, dense
from bonekit.fem.bricks import Bricks, Float, Lattice, bricks_of
from bonekit.fem.coarsening import Coarsening, coarsen, coarsen_cells
from bonekit.fem.field_transfer import FieldTransfer, Turned
from bonekit.fem.galerkin import ParentStiffness, Stiffness, project
from bonekit.fem.operator import BrickProduct
from bonekit.fem.parents import ParentProduct
from bonekit.fem.smoothing import Chebyshev, LevelOperator
from bonekit.fem.threads import both

log = logging.getLogger(__name__)

_BOTTOM_DOF = 1200  # solved by a dense factor
_DEGREE = 3  # of the finest smoother; 2 takes twice the iterations on a femur
_COARSE_DEGREE = 5  # of the next one: 6 costs a femur a tenth more, 4 a trabecular cube
_GROWTH = 2  # of the degree per level: coarse products are cheap, coarse grids bad at bending
_SPREAD = 15.0  # of the eigenvalues that the finest smoother aims at


@dataclass(frozen=True, eq=False)
class Level:
    """A grid of the hierarchy with its smoother and its way to the next coarser one."""

    A: LevelOperator
    smooth: Chebyshev
    transfer: Transfer | Turned | FieldTransfer


class BrickMultigrid:
    """One V-cycle, symmetric, as a preconditioner.

    Parameters
    ----------
    bricks : Bricks
    weights : ndarray of float, (p, n_bricks)
        Of each unit stiffness in each brick.
    units : ndarray of float, (p, 24, 24)
        Element stiffnesses.
    free : Tensor of bool, (3, n_nodes)
        Degrees of freedom that are neither fixed nor in the void.
    spacing_mm : ndarray of float, (3,)
        Decides which axes are coarsened first.
    dtype : torch.dtype
        Of the cycle.
    spring_N_mm : Tensor, (3, n_nodes), optional
        Springs from the nodes to the ground.
    finest : BrickProduct, optional
        The product of the bricks in another precision: its tables are shared.
    """

    def __init__(
        self,
        bricks: Bricks,
        weights: Float,
        units: Float,
        free: Tensor,
        spacing_mm: Float,
        dtype: torch.dtype = torch.float32,
        spring_N_mm: Tensor | None = None,
        finest: BrickProduct | None = None,
    ) -> None:
        self.dtype, device = dtype, free.device
        self._held = ~free
        A: LevelOperator = BrickProduct(bricks, weights, units, dtype, device, spring_N_mm, finest)
        step, smoother = both(
            partial(coarsen_cells, bricks, _factors(bricks.lattice, spacing_mm)),
            partial(Chebyshev, A, _DEGREE, free, _largest_eigenvalue(units), _SPREAD),
        )
        stiffness: Stiffness = ParentStiffness(bricks, step, weights, units, free, spring_N_mm)
        self.levels = [Level(A, smoother, FieldTransfer(step, bricks.n_nodes, device))]
        bricks, h = step.coarse, spacing_mm * step.factors
        del step  # tables are given up as soon as they are used: the set-up is the memory's peak
        while 3 * bricks.n_nodes > _BOTTOM_DOF and max(bricks.lattice.cells) > 1:
            A, step = both(
                partial(_product, bricks, stiffness, dtype, device),
                partial(coarsen, bricks, _factors(bricks.lattice, h)),
            )
            stiffness, level = both(
                partial(project, step, stiffness, device),
                partial(self._level, A, step, bricks.n_nodes),
            )
            self.levels.append(level)
            bricks, h = step.coarse, h * step.factors
            del step
        bottom = _direct(dense(bricks, stiffness, device))
        turned = len(self.levels) == 1  # its fields are (3, n) as those of the level above
        self._bottom = (lambda b: bottom(b.t()).t()) if turned else bottom
        log.debug("%d levels over %d nodes at the bottom", len(self.levels), bricks.n_nodes)

    def _level(self, A: LevelOperator, step: Coarsening, n_nodes: int) -> Level:
        degree = _COARSE_DEGREE * _GROWTH ** (len(self.levels) - 1)
        spread = _SPREAD * (degree / _DEGREE) ** 2  # what that degree can cover
        transfer = Transfer(step, n_nodes, self.dtype, self._held.device)
        second = len(self.levels) == 1
        return Level(
            A, Chebyshev(A, degree, spread=spread), Turned(transfer) if second else transfer
        )

    def __call__(self, r: Tensor) -> Tensor:
        """Approximate solution of A z = r, (3, n_nodes)."""
        scale = float(torch.linalg.vector_norm(r)) or 1.0
        b = torch.mul(r, 1.0 / scale, out=r.new_empty(r.shape, dtype=self.dtype))
        finest = self.levels[0]
        x = finest.smooth(b)
        rest = finest.A(x)
        torch.sub(b, rest, out=rest).masked_fill_(self._held, 0.0)
        rest = finest.transfer.restrict(rest)
        x += finest.transfer.prolong(self._cycle(1, rest)).masked_fill_(self._held, 0.0)
        return finest.smooth(b, x).to(r.dtype).mul_(scale)

    def _cycle(self, depth: int, b: Tensor) -> Tensor:
        if depth == len(self.levels):
            return self._bottom(b)
        level = self.levels[depth]
        x = level.smooth(b)
        rest = level.transfer.restrict(b - level.A(x))
        x += level.transfer.prolong(self._cycle(depth + 1, rest))
        return level.smooth(b, x)


class Multigrid(BrickMultigrid):
    """The cycle over a whole lattice, for bricks that differ only in their modulus.

    Parameters
    ----------
    lattice : Lattice
    E : ndarray of float, (lattice.size,)
        Moduli over the cells' lowest nodes; 0 is void.
    K : ndarray of float, (24, 24)
        Element stiffness for E = 1.
    free : Tensor of bool, (3, lattice.size)
        Degrees of freedom that are neither fixed nor in the void.
    spacing_mm, dtype, spring_N_mm, finest
        As for `BrickMultigrid`.
    """

    def __init__(
        self,
        lattice: Lattice,
        E: Float,
        K: Float,
        free: Tensor,
        spacing_mm: Float,
        dtype: torch.dtype = torch.float32,
        spring_N_mm: Tensor | None = None,
        finest: BrickProduct | None = None,
    ) -> None:
        bricks, moduli = bricks_of(lattice, E), E[E > 0][None]
        super().__init__(bricks, moduli, K[None], free, spacing_mm, dtype, spring_N_mm, finest)


def _product(
    bricks: Bricks, stiffness: Stiffness, dtype: torch.dtype, device: torch.device
) -> LevelOperator:
    if isinstance(stiffness, ParentStiffness):
        return ParentProduct(bricks, stiffness, dtype)
    return BlockRows(bricks, stiffness, dtype, device)


def _largest_eigenvalue(units: Float) -> float:
    """Bound of the eigenvalues of inv(diag A) A, whatever the weights (0 or more) of the units."""
    largest = []
    for K in units:
        scale = np.diag(K) ** -0.5
        largest.append(float(np.linalg.eigvalsh(scale[:, None] * K * scale).max()))
    return max(largest)


def _factors(lattice: Lattice, h: Float) -> tuple[int, int, int]:
    """Coarsen the axes along which the bricks are short: long ones couple weakly."""
    wide = np.array(lattice.cells) > 1
    shortest = h[wide].min() if wide.any() else 1.0
    i, j, k = (int(w and s < 1.6 * shortest) + 1 for w, s in zip(wide, h, strict=True))
    return i, j, k


def _direct(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    """Dense inverse of the coarsest stiffness.

    A coarse function that vanishes on every free node is a null vector: the diagonal is raised by
    1e-8 of itself. Such a vector then comes out amplified, and must not drown the others: the
    inverse stays in float64, and the prolongation removes it.
    """
    diagonal = matrix.diagonal()
    largest = float(diagonal.max()) or 1.0
    diagonal += torch.where(diagonal > 1e-12 * largest, 1e-8 * diagonal, largest)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))

    def solve(b: Tensor) -> Tensor:
        return (inverse @ b.reshape(-1).to(inverse.dtype)).view(-1, 3).to(b.dtype)

    return solve

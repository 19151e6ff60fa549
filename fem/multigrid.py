"""Geometric multigrid for bricks of varying modulus: the preconditioner.

Each coarse brick is two (or one) fine bricks wide along each axis, and its stiffness is the exact
Galerkin projection of the stiffness of its children, with the fixed degrees of freedom removed on
the finest grid: nothing is averaged, so thin cortex, pores and odd supports are seen as they are.
The finest level is matrix-free, its fields of shape (3, n); the coarse ones hold rows of 3x3
blocks, their fields are (n, 3).

References
----------
Trottenberg, Oosterlee, Schueller, Multigrid (2001), chapter 7; Adams, Brezina, Hu, Tuminaro,
J. Comput. Phys. 188 (2003) 593: polynomial smoothers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bonekit.fem.galerkin import Bricks, Coarsening, bricks_of, coarsen, project, project_unit
from bonekit.fem.operator import BrickOperator, Float, Lattice

log = logging.getLogger(__name__)

_BOTTOM_DOF = 2400  # solved by a dense factor
_DEGREE = 2  # of the Chebyshev smoother on the finest level
_GROWTH = 2  # of the degree per level: coarse products are cheap, coarse grids bad at bending
_SPREAD = 10.0  # ratio of the largest to the smallest eigenvalue that the smoother aims at


class LevelOperator(Protocol):
    """What a level needs of its stiffness."""

    def __call__(self, u: Tensor) -> Tensor:
        """Turn displacements into forces."""

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness."""


class BlockRows:
    """Assembled stiffness: per node, 3x3 blocks to its neighbours, rows padded to one length.

    Parameters
    ----------
    bricks : Bricks
    K : Tensor of float64, (n, 24, 24)
        Stiffness of each brick.
    dtype : torch.dtype
        Of the fields, (n_nodes, 3), that it takes and gives.
    """

    def __init__(self, bricks: Bricks, K: Tensor, dtype: torch.dtype) -> None:
        n = bricks.n_nodes
        pair = bricks.corners[:, :, None] * n + bricks.corners[:, None, :]
        entry, where = np.unique(pair, return_inverse=True)
        row, column = np.divmod(entry, n)
        start = np.searchsorted(row, np.arange(n))
        slot = np.arange(len(entry)) - start[row]
        width = int(slot.max()) + 1
        target = torch.as_tensor((row * width + slot)[where.ravel()], device=K.device)
        blocks = K.new_zeros(n * width, 9)
        local = K.view(-1, 8, 3, 8, 3).transpose(2, 3).reshape(-1, 9)
        blocks.index_add_(0, target, local)
        columns = np.repeat(np.arange(n)[:, None], width, axis=1)
        columns[row, slot] = column
        self.columns = torch.as_tensor(columns, device=K.device)
        self.blocks = blocks.view(n, width, 3, 3).transpose(1, 2).reshape(n, 3, 3 * width).to(dtype)
        own = torch.as_tensor(slot[row == column], device=K.device)
        self._diagonal = blocks.view(n, width, 9)[torch.arange(n, device=K.device), own][:, ::4]

    def __call__(self, u: Tensor) -> Tensor:
        """Turn nodal displacements, (n_nodes, 3), into nodal forces."""
        neighbours = u.index_select(0, self.columns.view(-1)).view(len(u), -1, 1)
        return torch.bmm(self.blocks, neighbours)[..., 0]

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (n_nodes, 3)."""
        return self._diagonal.to(self.blocks.dtype)

    def dense(self) -> Tensor:
        """Assemble the matrix, (3 n_nodes, 3 n_nodes)."""
        n, width = self.columns.shape
        blocks = self.blocks.view(n, 3, width, 3).transpose(1, 2).reshape(-1, 3, 3)
        rows = torch.arange(n, device=blocks.device).repeat_interleave(width)
        matrix = blocks.new_zeros(n * n, 3, 3)
        matrix.index_add_(0, rows * n + self.columns.view(-1), blocks)  # padding adds zeros
        return matrix.view(n, n, 3, 3).transpose(1, 2).reshape(3 * n, 3 * n)


class Chebyshev:
    """Chebyshev-Jacobi smoother: the polynomial that is least over the upper spectrum.

    Parameters
    ----------
    A : LevelOperator
    degree : int
    free : Tensor or None
        1 where a degree of freedom takes part, else 0.
    bound : float or None
        Upper bound of the eigenvalues of inv(diag A) A; None estimates it by power iteration.
    """

    def __init__(
        self,
        A: LevelOperator,
        degree: int,
        free: Tensor | None = None,
        bound: float | None = None,
    ) -> None:
        diagonal = A.diagonal()
        kept = diagonal > 1e-7 * diagonal.max()
        if free is not None:
            kept &= free > 0
        self.scale = torch.where(kept, 1.0 / diagonal.clamp_min(1e-30), 0.0)
        self.A = A
        top = bound if bound is not None else self._largest()
        spread = _SPREAD * (degree / _DEGREE) ** 2  # what a polynomial of this degree can cover
        self.centre = 0.5 * top * (1 + 1 / spread)
        self.radius = 0.5 * top * (1 - 1 / spread)
        self.degree = degree

    def __call__(self, b: Tensor, x: Tensor | None = None) -> Tensor:
        """Improve x (zero by default) towards A x = b."""
        r = b if x is None else b - self.A(x)
        d = r * self.scale / self.centre
        x = d.clone() if x is None else x + d
        sigma = self.centre / self.radius
        rho = 1 / sigma
        for _ in range(self.degree - 1):
            r = b - self.A(x)
            rho_next = 1 / (2 * sigma - rho)
            d.mul_(rho_next * rho).addcmul_(r, self.scale, value=2 * rho_next / self.radius)
            x += d
            rho = rho_next
        return x

    def _largest(self, steps: int = 20) -> float:
        generator = torch.Generator().manual_seed(0)
        shape = self.scale.shape
        x = torch.randn(shape, generator=generator, dtype=self.scale.dtype).to(self.scale.device)
        x *= self.scale > 0
        norm = 1.0
        for _ in range(steps):
            x = self.scale * self.A(x)
            norm = float(torch.linalg.vector_norm(x))
            if norm == 0:
                return 1.0
            x /= norm
        return 1.1 * norm


class Transfer:
    """Trilinear interpolation between the nodes of a level and of the next coarser one.

    Parameters
    ----------
    step : Coarsening
    n_fine : int
        Number of finer nodes.
    device : torch.device
    """

    def __init__(self, step: Coarsening, n_fine: int, device: torch.device) -> None:
        self.n_fine, self.n_coarse = n_fine, step.coarse.n_nodes
        self.groups: list[tuple[Tensor, Tensor]] = []  # finer nodes with the same number of sources
        for count in (1, 2, 4, 8):
            members = step.count == count
            nodes = torch.as_tensor(step.nodes[members], device=device)
            self.groups.append((nodes, torch.as_tensor(step.sources[members, :count]).to(device)))

    def prolong(self, e: Tensor) -> Tensor:
        """Interpolate a coarse field, (n_coarse, 3), to the finer nodes, (n_fine, 3)."""
        fine = e.new_zeros(self.n_fine, 3)
        for nodes, sources in self.groups:
            rows = e.index_select(0, sources.reshape(-1)).view(*sources.shape, 3)
            fine[nodes] = rows.mean(dim=1)
        return fine

    def restrict(self, r: Tensor) -> Tensor:
        """Transpose of `prolong`."""
        coarse = r.new_zeros(self.n_coarse, 3)
        for nodes, sources in self.groups:
            share = r.index_select(0, nodes) / sources.shape[1]
            for source in sources.unbind(1):
                coarse.index_add_(0, source, share)
        return coarse


@dataclass(frozen=True, eq=False)
class Level:
    """A grid of the hierarchy with its smoother and its way to the next coarser one."""

    A: LevelOperator
    smooth: Chebyshev
    transfer: Transfer


class Multigrid:
    """One V-cycle, symmetric, as a preconditioner.

    Parameters
    ----------
    lattice : Lattice
    E : ndarray of float, (lattice.size,)
        Moduli over the cells' lowest nodes; 0 is void.
    K : ndarray of float, (24, 24)
        Element stiffness for E = 1.
    free : Tensor of bool, (3, lattice.size)
        Degrees of freedom that are neither fixed nor in the void.
    spacing_mm : ndarray of float, (3,)
        Decides which axes are coarsened first.
    dtype : torch.dtype
        Of the cycle.
    """

    def __init__(
        self,
        lattice: Lattice,
        E: Float,
        K: Float,
        free: Tensor,
        spacing_mm: Float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype, device = dtype, free.device
        self.free = free.to(dtype)
        scale = np.diag(K) ** -0.5
        bound = float(np.linalg.eigvalsh(scale[:, None] * K * scale).max())  # holds for any E
        A: LevelOperator = BrickOperator(lattice, E, K, dtype, device)
        bricks = bricks_of(lattice, E)
        step = coarsen(bricks, _factors(lattice, spacing_mm))
        stiffness = project_unit(bricks, step, E[E > 0], K, free)
        smoother = Chebyshev(A, _DEGREE, self.free, bound)
        self.levels = [Level(A, smoother, Transfer(step, bricks.n_nodes, device))]
        bricks, h = step.coarse, spacing_mm * step.factors
        while 3 * bricks.n_nodes > _BOTTOM_DOF and max(bricks.lattice.cells) > 1:
            A = BlockRows(bricks, stiffness, dtype)
            step = coarsen(bricks, _factors(bricks.lattice, h))
            stiffness = project(step, stiffness)
            smoother = Chebyshev(A, _DEGREE * _GROWTH ** len(self.levels))
            self.levels.append(Level(A, smoother, Transfer(step, bricks.n_nodes, device)))
            bricks, h = step.coarse, h * step.factors
        self._bottom = _direct(bricks, stiffness)
        log.debug("%d levels over %d nodes at the bottom", len(self.levels), bricks.n_nodes)

    def __call__(self, r: Tensor) -> Tensor:
        """Approximate solution of A z = r."""
        scale = float(torch.linalg.vector_norm(r)) or 1.0
        b = (r / scale).to(self.dtype)
        finest = self.levels[0]
        x = finest.smooth(b)
        rest = (b - finest.A(x)) * self.free
        correction = self._cycle(1, finest.transfer.restrict(rest.t().contiguous()))
        x += finest.transfer.prolong(correction).t() * self.free
        return finest.smooth(b, x).to(r.dtype) * scale

    def _cycle(self, depth: int, b: Tensor) -> Tensor:
        if depth == len(self.levels):
            return self._bottom(b)
        level = self.levels[depth]
        x = level.smooth(b)
        rest = level.transfer.restrict(b - level.A(x))
        x += level.transfer.prolong(self._cycle(depth + 1, rest))
        return level.smooth(b, x)


def _factors(lattice: Lattice, h: Float) -> tuple[int, int, int]:
    """Coarsen the axes along which the bricks are short: long ones couple weakly."""
    wide = np.array(lattice.cells) > 1
    shortest = h[wide].min() if wide.any() else 1.0
    i, j, k = (int(w and s < 1.6 * shortest) + 1 for w, s in zip(wide, h, strict=True))
    return i, j, k


def _direct(bricks: Bricks, K: Tensor) -> Callable[[Tensor], Tensor]:
    """Dense inverse of the coarsest stiffness.

    A coarse function that vanishes on every free node is a null vector: the diagonal is raised by
    1e-8 of itself. Such a vector then comes out amplified, and must not drown the others: the
    inverse stays in float64, and the prolongation removes it.
    """
    matrix = BlockRows(bricks, K, torch.float64).dense()
    diagonal = matrix.diagonal()
    largest = float(diagonal.max()) or 1.0
    diagonal += torch.where(diagonal > 1e-12 * largest, 1e-8 * diagonal, largest)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))

    def solve(b: Tensor) -> Tensor:
        return (inverse @ b.reshape(-1).to(inverse.dtype)).view(-1, 3).to(b.dtype)

    return solve

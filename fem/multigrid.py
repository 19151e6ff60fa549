"""Geometric multigrid for bricks of varying modulus: the preconditioner.

Each coarse brick is two (or one) fine bricks wide along each axis, and its stiffness is the exact
Galerkin projection of the stiffness of its children, with the fixed degrees of freedom removed on
the finest grid: nothing is averaged, so thin cortex, pores and odd supports are seen as they are.
The finest level is matrix-free; the coarse ones hold one 27-point stencil of 3x3 blocks per node.

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
from torch.nn.functional import pad

from bonekit.fem.galerkin import CoarseBricks, coarsen, coarsen_again
from bonekit.fem.operator import BrickOperator, Float, Lattice
from bonekit.meshing.voxel import BRICK_CORNERS

log = logging.getLogger(__name__)

_BOTTOM_DOF = 1800  # solved by a dense factor
_DEGREE = 3  # of the Chebyshev smoother
_SPREAD = 15.0  # ratio of the largest to the smallest eigenvalue that the smoother aims at


class LevelOperator(Protocol):
    """What a level needs of its stiffness."""

    lattice: Lattice

    def __call__(self, u: Tensor) -> Tensor:
        """Turn displacements into forces, both (3, size)."""

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, size)."""


class StencilOperator:
    """Assembled stiffness: per node, 3x3 blocks to its 27 neighbours.

    Parameters
    ----------
    bricks : CoarseBricks
    dtype, device
        Of the tensors it takes and gives.
    """

    def __init__(self, bricks: CoarseBricks, dtype: torch.dtype, device: torch.device) -> None:
        self.lattice = bricks.lattice
        corner = bricks.lattice.number(bricks.cells)[:, None] + np.array(bricks.lattice.corners)
        nodes, row = np.unique(corner, return_inverse=True)
        rows = torch.as_tensor(row.reshape(corner.shape), device=device)
        blocks = bricks.K.new_zeros(len(nodes), 3, 27, 3)
        for a, b in np.ndindex(8, 8):  # for one pair of corners no node comes twice
            slot = int((BRICK_CORNERS[b] - BRICK_CORNERS[a] + 1) @ (9, 3, 1))
            blocks[rows[:, a], :, slot] += bricks.K[:, 3 * a : 3 * a + 3, 3 * b : 3 * b + 3]
        self.blocks = blocks.to(dtype).reshape(len(nodes), 3, 81)
        self.nodes = torch.as_tensor(nodes, device=device)
        # Rows of nine numbers hold the three neighbours along k; nine such rows make the stencil.
        step_i, step_j, _ = (int(s) for s in bricks.lattice.strides)
        self._margin = step_i + step_j + 1
        shifts = [i * step_i + j * step_j - 1 for i in (-1, 0, 1) for j in (-1, 0, 1)]
        shift = torch.as_tensor(shifts, device=device) + self._margin
        self._windows = (self.nodes[:, None] + shift).reshape(-1)

    def __call__(self, u: Tensor) -> Tensor:
        """Nodal forces, (3, size), of nodal displacements, (3, size)."""
        padded = pad(u.t(), (0, 0, self._margin, self._margin)).contiguous()
        windows = padded.as_strided((len(padded) - 2, 9), (3, 1)).index_select(0, self._windows)
        force = torch.bmm(self.blocks, windows.view(-1, 81, 1))[..., 0]
        out = torch.zeros_like(u)
        out[:, self.nodes] = force.t()
        return out

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, size)."""
        out = self.blocks.new_zeros(3, self.lattice.size)
        for axis in range(3):
            out[axis, self.nodes] = self.blocks[:, axis, 13 * 3 + axis]
        return out

    def dense(self) -> Tensor:
        """Assemble the matrix, (3 n, 3 n), over `nodes`, unknowns node by node."""
        n = len(self.nodes)
        place = torch.full((self.lattice.size + 2 * self._margin,), n, device=self.nodes.device)
        place[self.nodes + self._margin] = torch.arange(n, device=self.nodes.device)
        steps = torch.arange(3, device=self.nodes.device)
        column = place[self._windows[:, None] + steps].view(n, 27)
        matrix = self.blocks.new_zeros(n, 3, n + 1, 3)
        for slot in range(27):
            block = self.blocks.view(n, 3, 27, 3)[:, :, slot]
            matrix[torch.arange(n, device=column.device), :, column[:, slot]] += block
        return matrix[:, :, :n].reshape(3 * n, 3 * n)


class Chebyshev:
    """Chebyshev-Jacobi smoother: the polynomial that is least over the upper spectrum.

    Parameters
    ----------
    A : LevelOperator
    free : Tensor, (3, size)
        1 where a degree of freedom takes part, else 0.
    bound : float or None
        Upper bound of the eigenvalues of inv(diag A) A; None estimates it by power iteration.
    """

    def __init__(self, A: LevelOperator, free: Tensor | None, bound: float | None) -> None:
        diagonal = A.diagonal()
        kept = diagonal > 1e-7 * diagonal.max()
        if free is not None:
            kept &= free > 0
        self.scale = torch.where(kept, 1.0 / diagonal.clamp_min(1e-30), 0.0)
        self.A = A
        top = bound if bound is not None else self._largest()
        self.centre = 0.5 * top * (1 + 1 / _SPREAD)
        self.radius = 0.5 * top * (1 - 1 / _SPREAD)

    def __call__(self, b: Tensor, x: Tensor | None = None) -> Tensor:
        """Improve x (zero by default) towards A x = b."""
        r = b if x is None else b - self.A(x)
        d = r * self.scale / self.centre
        x = d.clone() if x is None else x + d
        sigma = self.centre / self.radius
        rho = 1 / sigma
        for _ in range(_DEGREE - 1):
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


@dataclass(frozen=True, eq=False)
class Level:
    """A grid of the hierarchy with its way to the next coarser one."""

    A: LevelOperator
    smooth: Chebyshev
    free: Tensor | None
    factors: tuple[int, int, int]
    coarse: Lattice

    def restrict(self, r: Tensor) -> Tensor:
        """Residual, (3, size), onto the coarse lattice, (3, coarse.size)."""
        field = r.view(3, *self.A.lattice.nodes)
        for axis in range(3):
            if self.factors[axis] == 2:
                field = _restrict_axis(field, axis + 1, 2 * self.coarse.nodes[axis] - 1)
        return field.reshape(3, -1)

    def prolong(self, e: Tensor) -> Tensor:
        """Correction on the coarse lattice, (3, coarse.size), onto this one."""
        field = e.view(3, *self.coarse.nodes)
        for axis in (2, 1, 0):
            if self.factors[axis] == 2:
                field = _prolong_axis(field, axis + 1, self.A.lattice.nodes[axis])
        fine = field.reshape(3, -1)
        return fine if self.free is None else fine * self.free


def _restrict_axis(field: Tensor, axis: int, padded: int) -> Tensor:
    """Transpose of `_prolong_axis`: full weighting along one axis."""
    last = field.movedim(axis, 0)
    even, odd = last[::2], 0.5 * last[1::2]
    out = even.new_zeros((padded + 1) // 2, *even.shape[1:])
    out[: len(even)] = even
    out[: len(odd)] += odd
    out[1 : len(odd) + 1] += odd
    return out.movedim(0, axis)


def _prolong_axis(field: Tensor, axis: int, size: int) -> Tensor:
    """Linear interpolation onto a lattice twice as fine along one axis, cut to ``size``."""
    first = field.movedim(axis, 0)
    out = first.new_empty(2 * len(first) - 1, *first.shape[1:])
    out[::2] = first
    out[1::2] = 0.5 * (first[:-1] + first[1:])
    return out[:size].movedim(0, axis)


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
        self.levels: list[Level] = []
        scale = np.diag(K) ** -0.5
        bound = float(np.linalg.eigvalsh(scale[:, None] * K * scale).max())  # holds for any E
        mask = free.to(dtype)
        A: LevelOperator = BrickOperator(lattice, E, K, dtype, device)
        smoother = Chebyshev(A, mask, bound)
        factors = _factors(lattice, spacing_mm)
        bricks = coarsen(lattice, E, K, free, factors)
        self._add(Level(A, smoother, mask, factors, bricks.lattice))
        h = spacing_mm * factors
        while bricks.dof_bound > _BOTTOM_DOF and max(bricks.lattice.cells) > 1:
            factors = _factors(bricks.lattice, h)
            A = StencilOperator(bricks, dtype, device)
            finer = bricks
            bricks = coarsen_again(finer, factors)
            self._add(Level(A, Chebyshev(A, None, None), None, factors, bricks.lattice))
            h = h * factors
        self._bottom = _direct(bricks, dtype, device)

    def __call__(self, r: Tensor) -> Tensor:
        """Approximate solution of A z = r."""
        scale = float(torch.linalg.vector_norm(r)) or 1.0
        return self._cycle(0, (r / scale).to(self.dtype)).to(r.dtype) * scale

    def _add(self, level: Level) -> None:
        log.debug("level %d: %s nodes", len(self.levels), level.A.lattice.nodes)
        self.levels.append(level)

    def _cycle(self, depth: int, b: Tensor) -> Tensor:
        if depth == len(self.levels):
            return self._bottom(b)
        level = self.levels[depth]
        x = level.smooth(b)
        r = b - level.A(x)
        if level.free is not None:
            r *= level.free
        x += level.prolong(self._cycle(depth + 1, level.restrict(r)))
        return level.smooth(b, x)


def _factors(lattice: Lattice, h: Float) -> tuple[int, int, int]:
    """Coarsen the axes along which the bricks are short: long ones couple weakly."""
    wide = np.array(lattice.cells) > 1
    shortest = h[wide].min() if wide.any() else 1.0
    i, j, k = (int(w and s < 1.6 * shortest) + 1 for w, s in zip(wide, h, strict=True))
    return i, j, k


def _direct(
    bricks: CoarseBricks, dtype: torch.dtype, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Dense inverse of the coarsest stiffness, factored in float64.

    A coarse function that vanishes on every free node is a null vector: the diagonal is raised by
    1e-8 of itself. Such a vector then comes out amplified, and must not drown the others: the
    inverse stays in float64, and the prolongation removes it.
    """
    A = StencilOperator(bricks, torch.float64, device)
    matrix = A.dense()
    diagonal = matrix.diagonal()
    largest = float(diagonal.max()) or 1.0
    diagonal += torch.where(diagonal > 1e-12 * largest, 1e-8 * diagonal, largest)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))

    def solve(b: Tensor) -> Tensor:
        x = torch.zeros_like(b)
        known = b[:, A.nodes].t().reshape(-1).to(inverse.dtype)
        x[:, A.nodes] = (inverse @ known).view(-1, 3).t().to(dtype)
        return x

    return solve

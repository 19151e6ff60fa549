"""Polynomial smoothers: they damp what a coarser grid cannot see.

References
----------
Adams, Brezina, Hu, Tuminaro, J. Comput. Phys. 188 (2003) 593; Zhou and Li, Linear Algebra Appl. 435
(2011) 480: a few Lanczos steps with their residual bound a spectrum (unverified: from memory).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor


class LevelOperator(Protocol):
    """What a level needs of its stiffness."""

    def __call__(self, u: Tensor) -> Tensor:
        """Turn displacements into forces."""
        ...

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness."""
        ...


class Chebyshev:
    """Chebyshev-Jacobi smoother: the polynomial that is least over the upper spectrum.

    Parameters
    ----------
    A : LevelOperator
    degree : int
    free : Tensor of bool, optional
        Degrees of freedom that take part; all by default.
    bound : float or None
        Upper bound of the eigenvalues of inv(diag A) A; None finds one by Lanczos steps.
    spread : float
        Ratio of the largest to the smallest eigenvalue that it aims at.
    """

    def __init__(
        self,
        A: LevelOperator,
        degree: int,
        free: Tensor | None = None,
        bound: float | None = None,
        spread: float = 10.0,
    ) -> None:
        diagonal = A.diagonal()
        kept = diagonal > 1e-7 * diagonal.max()
        if free is not None:
            kept &= free
        self.scale = torch.where(kept, 1.0 / diagonal.clamp_min(1e-30), 0.0)
        self.A = A
        top = bound if bound is not None else self._largest()
        self.centre = 0.5 * top * (1 + 1 / spread)
        self.radius = 0.5 * top * (1 - 1 / spread)
        self.degree = degree

    def __call__(self, b: Tensor, x: Tensor | None = None) -> Tensor:
        """Improve x (zero by default; it is overwritten) towards A x = b."""
        d = self.scale * (b if x is None else self._rest(b, x))
        d *= 1 / self.centre
        x = d.clone() if x is None else x.add_(d)
        sigma = self.centre / self.radius
        rho = 1 / sigma
        for _ in range(self.degree - 1):
            r = self._rest(b, x)
            rho_next = 1 / (2 * sigma - rho)
            d.mul_(rho_next * rho).addcmul_(r, self.scale, value=2 * rho_next / self.radius)
            x += d
            rho = rho_next
        return x

    def _rest(self, b: Tensor, x: Tensor) -> Tensor:
        r = self.A(x)
        return torch.sub(b, r, out=r)

    def _largest(self, steps: int = 14) -> float:
        """Bound the spectrum from above: a smoother that falls short of it is indefinite."""
        generator = torch.Generator().manual_seed(0)
        root = self.scale.sqrt()
        x = torch.randn(root.shape, generator=generator, dtype=root.dtype).to(root.device)
        x *= root > 0
        length = float(torch.linalg.vector_norm(x))
        if length == 0:
            return 1.0
        x /= length
        before, beta = torch.zeros_like(x), 0.0
        main: list[float] = []
        side: list[float] = []
        for _ in range(steps):
            y = root * self.A(root * x) - beta * before
            main.append(float((x * y).sum()))
            y -= main[-1] * x
            beta = float(torch.linalg.vector_norm(y))
            side.append(beta)
            if beta < 1e-5 * main[0]:
                break
            before, x = x, y / beta
        values, vectors = eigh_tridiagonal(main, side[:-1])
        return 1.02 * float((values + side[-1] * np.abs(vectors[-1])).max())

"""The linear system of a set of bricks: supports, springs, rigid caps, right-hand sides.

Its unknowns are those of `bonekit.fem.tied`, u = T q; the stiffness of the system is T' K T.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.fem.brick import stiffness
from bonekit.fem.bricks import Bricks, Float
from bonekit.fem.cg import CGResult, Progress, iterated
from bonekit.fem.memory import return_freed
from bonekit.fem.multigrid import BrickMultigrid
from bonekit.fem.operator import BrickProduct
from bonekit.fem.tied import Tie, TiedCycle, Ties

Bool = NDArray[np.bool_]


class BrickSystem:
    """Stiffness and preconditioner of bricks with given supports, for any right-hand side.

    Parameters
    ----------
    bricks : Bricks
    E_MPa : ndarray of float, (n_bricks,)
    nu : ndarray of float, (n_bricks,), or a scalar
    spacing_mm : ndarray of float, (3,)
    fixed : ndarray of bool, (n_nodes + 2 n_ties, 3)
        Prescribed components of the unknowns, rotations in the odd rows of the ties.
    ties : sequence of Tie
    spring_N_mm : ndarray of float, (n_nodes, 3), optional
    device : torch.device
    """

    def __init__(
        self,
        bricks: Bricks,
        E_MPa: Float,
        nu: Float | float,
        spacing_mm: Float,
        fixed: Bool,
        ties: Sequence[Tie] = (),
        spring_N_mm: Float | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.device, self.n = device or torch.device("cpu"), bricks.n_nodes
        weights, units = unit_stiffnesses(E_MPa, nu, spacing_mm)
        spring = None if spring_N_mm is None else self.tensor(spring_N_mm)
        self.K = BrickProduct(bricks, weights, units, torch.float64, self.device, spring)
        self._ties = Ties(self.n, ties, self.device)
        self.scale, self.stiff = self._ties.scale, self._ties.within(self.K)
        self.held = self.tensor(fixed)
        self.free = self._ties.free(self.held, self.K.diagonal() > 0)
        nodes = self.free[:, : self.n]
        cycle = BrickMultigrid(
            bricks, weights, units, nodes, spacing_mm, spring_N_mm=spring, finest=self.K
        )
        self._precondition = TiedCycle(cycle, self.stiff, self.free, self.n)

    def forget_preconditioner(self) -> None:
        """Free what only a solve needs."""
        del self._precondition
        return_freed()

    def tensor(self, field: NDArray[np.generic]) -> Tensor:
        """Rows per node, (n, 3), as a tensor of a row per component."""
        return torch.as_tensor(np.ascontiguousarray(field.T), device=self.device)

    def array(self, field: Tensor) -> Float:
        """Inverse of `tensor`."""
        return np.ascontiguousarray(field.cpu().numpy().T)

    def expand(self, q: Tensor) -> Tensor:
        """Displace all nodes, (3, n_nodes), by the unknowns."""
        return self._ties.expand(q)

    def __call__(self, q: Tensor) -> Tensor:
        """Turn free unknowns into forces on them."""
        return self.stiff(q).mul_(self.free)

    def solve(
        self,
        values: Tensor,
        force: Tensor | None,
        rtol: float,
        max_iterations: int,
        progress: Progress | None = None,
        start: Tensor | None = None,
    ) -> CGResult:
        """Find the unknowns, (3, n), of prescribed values (0 elsewhere) and forces.

        The values are overwritten by the unknowns; no force is None.

        Raises
        ------
        ConvergenceError
        """
        return_freed()
        x, r = values, self._rest(values, force)
        scale = float(torch.linalg.vector_norm(r))
        if start is not None:
            d = (start - values).mul_(self.free)
            image = self(d)
            if energy := float(torch.dot(d.view(-1), image.view(-1))):  # the best along d
                share = float(torch.dot(d.view(-1), r.view(-1))) / energy
                x.add_(d, alpha=share)
                r.sub_(image, alpha=share)
            del d, image
        return iterated(
            self,
            self._precondition,
            x,
            r,
            scale,
            lambda x: self._rest(x, force),
            rtol,
            max_iterations,
            progress,
        )

    def _rest(self, x: Tensor, force: Tensor | None) -> Tensor:
        """Compute the forces out of balance on the free unknowns."""
        r = self.stiff(x)
        r = r.neg_() if force is None else torch.sub(force, r, out=r)
        return r.mul_(self.free)


def unit_stiffnesses(E_MPa: Float, nu: Float | float, spacing_mm: Float) -> tuple[Float, Float]:
    """Stiffness of bricks as combinations, all weights positive, of one or two unit stiffnesses.

    The stiffness is linear in Lame's constants, whose ratio grows with Poisson's: any value lies
    between the least and the largest, and so does its stiffness.

    Returns
    -------
    weights : ndarray of float, (p, n_bricks)
    units : ndarray of float, (p, 24, 24)
    """
    low, high = float(np.min(nu)), float(np.max(nu))
    if low == high:
        return E_MPa[None], stiffness(spacing_mm, low)[None]
    apart = min(0.05, (0.5 - high) / 2, (1 + low) / 2)  # near ends would cancel digits
    ends = np.array([low - apart, high + apart])
    lam, mu = ends / ((1 + ends) * (1 - 2 * ends)), 0.5 / (1 + ends)
    own = np.asarray(nu)
    own_lam, own_mu = own / ((1 + own) * (1 - 2 * own)), 0.5 / (1 + own)
    share = np.linalg.solve(np.stack([lam, mu]), np.stack([own_lam, own_mu]))
    units = np.stack([stiffness(spacing_mm, end) for end in ends])
    return E_MPa * np.maximum(share, 0.0), units

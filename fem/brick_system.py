"""The linear system of a set of bricks: supports, springs, rigid caps, right-hand sides.

Its unknowns are fields of shape (3, n_nodes + 2 n_caps): the displacement of each node, then for
each cap the translation of its pivot and its rotation. Nodes of a cap follow it, u = T q, and hold
no unknown of their own; the stiffness of the reduced system is T' K T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

Bool = NDArray[np.bool_]
Int = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Tie:
    """Nodes that move as one rigid body about a pivot.

    Parameters
    ----------
    nodes : ndarray of int, (m,)
    arm_mm : ndarray of float, (m, 3)
        From the pivot to each node.
    """

    nodes: Int
    arm_mm: Float

    @property
    def length_mm(self) -> float:
        """By which rotations are multiplied so that all unknowns are lengths."""
        return float(np.sqrt((self.arm_mm**2).sum(axis=1).mean())) or 1.0


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
        self._ties = [
            (self.tensor(t.nodes[:, None])[0].long(), self.tensor(t.arm_mm / t.length_mm))
            for t in ties
        ]
        self.scale = np.ones((self.n + 2 * len(ties), 1))
        self.scale[self.n + 1 :: 2, 0] = [t.length_mm for t in ties]  # of the unknown per radian
        self.held = self.tensor(fixed)
        free = self._expanded_free(self.K.diagonal() > 0)
        self.free = free
        nodes = free[:, : self.n]
        self._cycle = BrickMultigrid(
            bricks, weights, units, nodes, spacing_mm, spring_N_mm=spring, finest=self.K
        )
        self._caps = self._cap_modes(free) if ties else None

    def forget_preconditioner(self) -> None:
        """Free what only a solve needs."""
        del self._cycle, self._caps
        return_freed()

    def tensor(self, field: NDArray[np.generic]) -> Tensor:
        """Rows per node, (n, 3), as a tensor of a row per component."""
        return torch.as_tensor(np.ascontiguousarray(field.T), device=self.device)

    def array(self, field: Tensor) -> Float:
        """Inverse of `tensor`."""
        return np.ascontiguousarray(field.cpu().numpy().T)

    def _expanded_free(self, used: Tensor) -> Tensor:
        free = ~self.held
        free[:, : self.n] &= used
        for nodes, _ in self._ties:
            free[:, nodes] = False
        return free

    def expand(self, q: Tensor) -> Tensor:
        """Displace all nodes, (3, n_nodes), by the unknowns."""
        if not self._ties:
            return q
        u = q[:, : self.n].clone()
        for number, (nodes, arm) in enumerate(self._ties):
            shift, turn = q[:, self.n + 2 * number], q[:, self.n + 2 * number + 1]
            u[:, nodes] = shift[:, None] + torch.linalg.cross(
                turn[:, None].expand_as(arm), arm, dim=0
            )
        return u

    def reduce(self, f: Tensor) -> Tensor:
        """Sum nodal forces, (3, n_nodes), to forces on the unknowns: the transpose of `expand`."""
        if not self._ties:
            return f
        r = torch.cat([f, f.new_zeros(3, 2 * len(self._ties))], dim=1)
        for number, (nodes, arm) in enumerate(self._ties):
            own = f[:, nodes]
            r[:, nodes] = 0.0
            r[:, self.n + 2 * number] = own.sum(dim=1)
            r[:, self.n + 2 * number + 1] = torch.linalg.cross(arm, own, dim=0).sum(dim=1)
        return r

    def stiff(self, q: Tensor) -> Tensor:
        """Turn unknowns into forces on them, T' K T q."""
        return self.reduce(self.K(self.expand(q)))

    def __call__(self, q: Tensor) -> Tensor:
        """Turn free unknowns into forces on them."""
        return self.stiff(q).mul_(self.free)

    def precondition(self, r: Tensor) -> Tensor:
        """One cycle for the nodes; the motions of caps with what follows them solved exactly."""
        z = self._cycle(r[:, : self.n].contiguous())
        if self._caps is None:
            return z
        modes, inverse = self._caps
        z = torch.cat([z, z.new_zeros(3, 2 * len(self._ties))], dim=1)
        share = inverse @ torch.einsum("mij,ij->m", modes, r)
        return z + torch.einsum("m,mij->ij", share, modes)

    def _cap_modes(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Free motions of caps, extended into the bone by a cycle, and their inverse stiffness."""
        modes, images = [], []
        for component, column in torch.nonzero(free[:, self.n :]).tolist():
            q = free.new_zeros(free.shape, dtype=torch.float64)
            q[component, self.n + column] = 1.0
            for _ in range(2):  # the nearer to equilibrium, the fewer iterations
                q[:, : self.n] -= self._cycle(self(q)[:, : self.n].contiguous())
            modes.append(q)
            images.append(self(q))
        if not modes:
            none = torch.zeros(0, dtype=torch.float64, device=self.device)
            return none.view(0, *free.shape), none.view(0, 0)
        W = torch.stack(modes)
        gram = torch.einsum("aij,bij->ab", W, torch.stack(images))
        return W, torch.linalg.pinv(0.5 * (gram + gram.T), hermitian=True)

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
            self.precondition,
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

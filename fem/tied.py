"""Nodes that follow rigid caps: the unknowns of such a model, and a cycle that knows the caps.

Unknowns are fields of shape (3, n_nodes + 2 n_caps): the displacement of each node, then for each
cap the translation of its pivot and its rotation times a length. Nodes of a cap follow it, u = T q,
and hold no unknown of their own: forces on the unknowns are T' f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.fem.cg import Operator

Float = NDArray[np.float64]
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


class Ties:
    """From unknowns to nodes, and back from forces on nodes to forces on unknowns.

    Parameters
    ----------
    n_nodes : int
    ties : sequence of Tie
    device : torch.device
    """

    def __init__(self, n_nodes: int, ties: Sequence[Tie], device: torch.device) -> None:
        self.n, self._device = n_nodes, device
        self._ties = [
            (
                torch.as_tensor(t.nodes, device=device).long(),
                torch.as_tensor(np.ascontiguousarray(t.arm_mm.T) / t.length_mm, device=device),
            )
            for t in ties
        ]
        self._lengths = [t.length_mm for t in ties]

    def __len__(self) -> int:
        """Count the caps."""
        return len(self._ties)

    @property
    def scale(self) -> Float:
        """Of the unknown per mm or radian, (n_nodes + 2 n_caps, 1)."""
        scale = np.ones((self.n + 2 * len(self), 1))
        scale[self.n + 1 :: 2, 0] = self._lengths
        return scale

    def free(self, held: Tensor, used: Tensor) -> Tensor:
        """Unknowns that are neither held nor of nodes without stiffness or of those of caps."""
        free = ~held
        free[:, : self.n] &= used
        for nodes, _ in self._ties:
            free[:, nodes] = False
        return free

    def expand(self, q: Tensor) -> Tensor:
        """Displace all nodes, (3, n_nodes), by the unknowns."""
        if not self._ties:
            return q
        u = q[:, : self.n].clone()
        for number, (nodes, own) in enumerate(self._ties):
            shift, turn = q[:, self.n + 2 * number], q[:, self.n + 2 * number + 1]
            arm = own.to(q.dtype)
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
            moment = torch.linalg.cross(arm.to(f.dtype), own, dim=0)
            r[:, self.n + 2 * number + 1] = moment.sum(dim=1)
        return r

    def within(self, product: Operator) -> Operator:
        """Turn a product of nodes, K u, into one of unknowns, T' K T q."""
        if not self._ties:
            return product
        return lambda q: self.reduce(product(self.expand(q)))


class TiedCycle:
    """A preconditioner: a cycle for nodes; motions of caps with what follows solved exactly.

    Parameters
    ----------
    cycle : callable
        Preconditioner of fields, (3, n_nodes).
    stiff : callable
        Stiffness of the unknowns in double precision that the cycle belongs to.
    free : Tensor of bool, (3, n_nodes + 2 n_caps)
    n_nodes : int
    """

    def __init__(self, cycle: Operator, stiff: Operator, free: Tensor, n_nodes: int) -> None:
        self._cycle, self.n = cycle, n_nodes
        self._caps = self._cap_modes(stiff, free) if free.shape[1] > n_nodes else None

    def __call__(self, r: Tensor) -> Tensor:
        """Approximate unknowns, of the shape and precision of the forces ``r`` on them."""
        z = self._cycle(r[:, : self.n].contiguous())
        if self._caps is None:
            return z
        modes, inverse = self._caps
        z = torch.cat([z, z.new_zeros(3, r.shape[1] - self.n)], dim=1)
        share = inverse @ torch.einsum("mij,ij->m", modes, r.to(modes.dtype))
        return z + torch.einsum("m,mij->ij", share, modes).to(r.dtype)

    def _cap_modes(self, stiff: Operator, free: Tensor) -> tuple[Tensor, Tensor]:
        """Free motions of caps, extended into the bone by a cycle, and their inverse stiffness."""
        modes, images = [], []
        for component, column in torch.nonzero(free[:, self.n :]).tolist():
            q = free.new_zeros(free.shape, dtype=torch.float64)
            q[component, self.n + column] = 1.0
            for _ in range(2):  # the nearer to equilibrium, the fewer iterations
                q[:, : self.n] -= self._cycle((stiff(q) * free)[:, : self.n].contiguous())
            modes.append(q)
            images.append(stiff(q) * free)
        if not modes:
            none = torch.zeros(0, dtype=torch.float64, device=free.device)
            return none.view(0, *free.shape), none.view(0, 0)
        W = torch.stack(modes)
        gram = torch.einsum("aij,bij->ab", W, torch.stack(images))
        return W, torch.linalg.pinv(0.5 * (gram + gram.T), hermitian=True)

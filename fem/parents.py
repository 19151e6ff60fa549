"""The product of the first coarse level, from the moduli of the bricks below: no matrix is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from bonekit.fem.bricks import Bricks
from bonekit.fem.galerkin import ParentStiffness
from bonekit.fem.operator import BrickProduct


class ParentProduct:
    """Stiffness of coarse bricks as a product of fields of shape (3, n_nodes).

    A coarse brick is a combination of as many projected stiffnesses as it has children, with
    their moduli for weights; those that supports touch differ by a matrix of their own.

    Parameters
    ----------
    bricks : Bricks
    stiffness : ParentStiffness
        Of each of them.
    dtype : torch.dtype
    """

    def __init__(self, bricks: Bricks, stiffness: ParentStiffness, dtype: torch.dtype) -> None:
        units = stiffness.projected.cpu().numpy()
        device = stiffness.device
        self._whole = BrickProduct(bricks, stiffness.shares.T, units, dtype, device)
        touched, self._change = stiffness.changes(dtype)
        self._corners = torch.as_tensor(bricks.corners[touched], device=device).long()

    def __call__(self, u: Tensor) -> Tensor:
        """Turn nodal displacements into nodal forces."""
        force = self._whole(u)
        if len(self._change):
            own = u[:, self._corners].movedim(0, -1).reshape(-1, 24, 1)
            self._add(force, torch.bmm(self._change, own).view(-1, 8, 3))
        return force

    def diagonal(self) -> Tensor:
        """Diagonal of the stiffness, (3, n_nodes)."""
        total = self._whole.diagonal()
        self._add(total, self._change.diagonal(dim1=1, dim2=2).reshape(-1, 8, 3))
        return total

    def _add(self, field: Tensor, values: Tensor) -> None:
        for component, row in enumerate(field):
            row.index_add_(0, self._corners.view(-1), values[..., component].reshape(-1))

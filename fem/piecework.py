"""The loop over pieces of bricks, run by torch itself where threads share the work.

Every call into torch from Python, views included, lets go of the interpreter's lock and takes it
again; two threads that each make a dozen such calls per piece wait for each other so often that
they are no faster than one. As TorchScript the loop holds no lock.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, List  # noqa: UP035 - TorchScript reads the annotations of `add_pieces`

import torch
from torch import Tensor

Loop = Callable[[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]], Any]


def add_pieces(
    u: Tensor,
    force: Tensor,
    units: Tensor,
    nodes: List[Tensor],  # noqa: UP006
    weights: List[Tensor],  # noqa: UP006
) -> None:
    """Add the forces of pieces of bricks, each of m faces, to a field (see `bonekit.fem.runs`).

    Parameters
    ----------
    u, force : Tensor, (3, n_nodes)
    units : Tensor, (24, 24 p)
        Unit stiffnesses side by side, their rows and columns face by face.
    nodes : list of Tensor of int32, (4 m,)
        Of each piece.
    weights : list of Tensor, (p, m)
        0 where a row of bricks ends.
    """
    m = nodes[0].size(0) // 4
    p = units.size(1) // 24
    place = torch.empty(4 * m, dtype=torch.int64, device=u.device)
    local = torch.zeros(24, m, dtype=u.dtype, device=u.device)
    product = torch.empty(24, m, dtype=u.dtype, device=u.device)
    stacked = torch.empty(24 * p if p > 1 else 0, m, dtype=u.dtype, device=u.device)
    below, own = local[:12].view(3, -1), product[:12].view(3, -1)
    for n in range(len(nodes)):
        place.copy_(nodes[n])
        for axis in range(3):
            torch.index_select(u[axis], 0, place, out=below[axis])
        local[12:, :-1].copy_(local[:12, 1:])  # a face is read once, for both its bricks
        if p == 1:
            torch.mm(units, local, out=product)
            product.mul_(weights[n][0])
        else:
            torch.mul(local, weights[n].unsqueeze(1), out=stacked.view(p, 24, m))
            torch.mm(units, stacked, out=product)
        product[:12, 1:].add_(product[12:, :-1])
        for axis in range(3):
            force[axis].scatter_add_(0, place, own[axis])


@cache
def unlocked() -> Loop:
    """Compile `add_pieces`; where this torch no longer can, the same in Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop: Loop = torch.jit.script(add_pieces)
    except (AttributeError, RuntimeError):
        return add_pieces
    return loop

"""Rigid caps: nodes that follow a pivot, u = t + r x arm. Part of the child process.

The unknowns of a model with caps are the displacements of its nodes, those of caps idle, and on the
last process six numbers per cap: the pivot's translation t, and its rotation r times a length, so
that all are lengths. Prescribed ones are unknowns that stay 0, as those of held nodes do.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import Any

import numpy as np

from bonekit.fem.dolfinx_body import Body


class Caps:
    """The caps of a model, none for most; ``motion`` and ``given`` (caps, 6) are in lengths."""

    def __init__(self, body: Body, model: dict[str, Any]) -> None:
        self.comm, self.n = body.comm, len(model["cap_pivot_mm"])
        self.here = 6 * self.n if self.comm.rank == self.comm.size - 1 else 0
        arms = model["nodes"] - np.vstack([model["cap_pivot_mm"], np.zeros(3)])[model["cap"]]
        mean = [float((arms[model["cap"] == c] ** 2).sum(axis=1).mean()) for c in range(self.n)]
        self.pivot = model["cap_pivot_mm"].reshape(self.n, 3)
        self.length = np.sqrt(mean) + (np.array(mean) == 0)
        scale = np.repeat(np.stack([np.ones(self.n), self.length], axis=1), 3, axis=1)
        self.scale, self.fixed = scale, model["cap_fixed"].reshape(self.n, 6)
        self.given = model["cap_given"].reshape(self.n, 6) * scale
        self.load = model["cap_load"].reshape(self.n, 6) / scale
        self.motion = np.zeros((self.n, 6))
        cap = model["cap"][body.node]  # of each node here, -1: none
        self.ghosted = np.flatnonzero(cap >= 0)
        self.nodes = self.ghosted[self.ghosted < body.owned]
        self.cap, self.owned = cap, body.owned
        self.arm = arms[body.node] / np.append(self.length, 1.0)[cap][:, None]

    def displaced(self, motion: Any, ghosts: bool = False) -> tuple[Any, Any]:
        """Nodes that follow caps, and their displacements, (nodes, 3)."""
        nodes = self.ghosted if ghosts else self.nodes
        own = motion[self.cap[nodes]]
        return nodes, own[:, :3] + np.cross(own[:, 3:], self.arm[nodes])

    def expand(self, x: Any) -> tuple[Any, Any]:
        """Displacements of the nodes of this process, (3 n,), and motions of the caps."""
        if not self.n:
            return x, self.motion
        motion = self.comm.bcast(x[x.size - self.here :], root=self.comm.size - 1)
        motion = np.asarray(motion).reshape(self.n, 6)
        u = x[: 3 * self.owned].copy().reshape(-1, 3)
        nodes, u_cap = self.displaced(motion)
        u[nodes] = u_cap
        return u.ravel(), motion

    def reduce(self, force: Any) -> Any:
        """Nodal forces, (3 n,), as forces on the unknowns: the transpose of `expand`."""
        if not self.n:
            return force
        left = force.copy().reshape(-1, 3)
        own = left[self.nodes]
        total = np.zeros((self.n, 6))
        moment = np.cross(self.arm[self.nodes], own)
        np.add.at(total, self.cap[self.nodes], np.concatenate([own, moment], axis=1))
        left[self.nodes] = 0.0
        total = self.comm.allreduce(total)
        return np.concatenate([left.ravel(), total.ravel()[: self.here]])

    def extended(self, nodal: Any, of_caps: Any) -> Any:
        """Values at the unknowns from those at nodes, (3 n,), and of caps, (caps, 6)."""
        return np.concatenate([nodal, of_caps.ravel()[: self.here]])

    def rows(self, start: int, unknowns: int) -> tuple[Any, Any, Any]:
        """Matrix from unknowns to displacements of nodes here: starts, columns and values of rows.

        Parameters
        ----------
        start, unknowns : int
            Number of the first displacement of this process, and of them all.
        """
        n, mine = 3 * self.owned, 3 * self.nodes[:, None] + np.arange(3)
        arm, first = self.arm[self.nodes], unknowns + 6 * self.cap[self.nodes]
        turn = np.stack([np.cross(axis, arm) for axis in np.eye(3)], axis=2)  # (m, component, axis)
        value = np.concatenate([np.broadcast_to(np.eye(3), turn.shape), turn], axis=2)
        column = np.broadcast_to(first[:, None, None] + np.arange(6), value.shape)
        row = np.broadcast_to(mine[..., None], value.shape)
        kept = value != 0
        value = np.where(self.fixed[self.cap[self.nodes]][:, None, :], 0.0, value)
        # Zeros of what is idle or prescribed are kept, for a place on the diagonal of the product.
        own = np.ones(n)
        own[mine] = 0.0
        rows = np.concatenate([np.arange(n), row[kept]])
        columns = np.concatenate([start + np.arange(n), column[kept]])
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
        return starts, columns[order], np.concatenate([own, value[kept]])[order]

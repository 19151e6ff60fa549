"""Constraints and loads of a model as one array per node, and the sums that check an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.model import Constraint, Load

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def nodal_values(
    n_nodes: int, constraints: Sequence[Constraint], loads: Sequence[Load]
) -> tuple[Int, Float, Float]:
    """Find the constraint of each component (-1: none), its value, its force; each (n, 3).

    Raises
    ------
    InputError
        If two constraints prescribe different displacements, or a number is not finite.
    """
    owner = np.full((n_nodes, 3), -1, dtype=np.int64)
    values, force = np.zeros((n_nodes, 3)), np.zeros((n_nodes, 3))
    for number, part in enumerate(constraints):
        place = (part.nodes[:, None], np.array(part.components))
        given = np.broadcast_to(part.displacement_mm, (len(part.nodes), len(part.components)))
        clash = (owner[place] >= 0) & (values[place] != given)
        if clash.any():
            other = constraints[int(owner[place][clash][0])].name
            raise InputError(
                f"constraints {other!r} and {part.name!r} prescribe different displacements "
                f"for {clash.sum()} components they share"
            )
        owner[place] = np.where(owner[place] >= 0, owner[place], number)
        values[place] = given
    for load in loads:
        np.add.at(force, load.nodes, load.force_N)
    return owner, values, force


def reactions(reaction: Float, owner: Int, constraints: Sequence[Constraint]) -> dict[str, Float]:
    """Sum of the reactions, (n, 3), of each constraint, (3,)."""
    return {
        part.name: np.where(owner == n, reaction, 0.0).sum(axis=0)
        for n, part in enumerate(constraints)
    }


def force_balance(reaction: Float, force: Float, sums: dict[str, Float]) -> float:
    """Norm of the sum of reactions and forces, (n, 3), over that of the applied force.

    Without forces, over the largest of the constraints' sums; where these vanish as well, as under
    a moment alone, over the sum of the norms of the nodes' reactions.
    """
    applied = float(np.linalg.norm(force.sum(axis=0)))
    if not force.any():
        applied = max(float(np.linalg.norm(s)) for s in sums.values())
    total = float(np.linalg.norm(reaction, axis=1).sum())
    applied = total if applied < 1e-6 * total else applied
    out = float(np.linalg.norm((reaction + force).sum(axis=0)))
    return out / applied if applied else 0.0

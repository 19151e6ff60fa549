"""A load step of a deck: what holds and what acts, node by node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.model import Constraint, Load

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """All that holds and acts in one load step: nothing stays from the step before.

    Parameters
    ----------
    name : str
    constraints : tuple of Constraint
    loads : tuple of Load
    supports : tuple of ElasticSupport
        Springs to the ground along the axes of the deck.
    caps : tuple of RigidCap
        Rigid pieces, with pivots in the axes of the deck.

    Raises
    ------
    InputError
        If nothing holds, or a node of a cap is held otherwise, too.
    """

    name: str
    constraints: tuple[Constraint, ...]
    loads: tuple[Load, ...] = ()
    supports: tuple[ElasticSupport, ...] = ()
    caps: tuple[RigidCap, ...] = ()

    def __post_init__(self) -> None:
        if not (self.constraints or self.supports or self.caps):
            raise InputError(f"step {self.name!r} has no constraint: the bone would drift freely")
        others: list[Constraint | ElasticSupport | RigidCap] = [*self.constraints, *self.supports]
        for cap in self.caps:
            for other in others:
                both = np.isin(cap.nodes, other.nodes).sum()
                if both:
                    raise InputError(
                        f"step {self.name!r}: {both} nodes of cap {cap.name!r} are also of "
                        f"{other.name!r}: a node follows the cap or another support, not both"
                    )
            others.append(cap)

    def held(self) -> tuple[Int, Int, Float]:
        """Prescribed displacements, by node and component, each once; pivots of caps not counted.

        Returns
        -------
        node, component : ndarray of int, (n,)
        displacement_mm : ndarray of float, (n,)

        Raises
        ------
        InputError
            If two constraints prescribe different displacements.
        """
        rows = np.concatenate([np.zeros((0, 3)), *(_prescribed(part) for part in self.constraints)])
        rows = rows[np.lexsort(rows.T[::-1])]
        new = (np.diff(rows, axis=0) != 0).any(axis=1)
        rows = rows[np.append(np.ones(min(len(rows), 1), dtype=bool), new)]
        twice = np.flatnonzero((np.diff(rows[:, :2], axis=0) == 0).all(axis=1))
        if twice.size:
            node, component, value = rows[twice[0]].tolist()
            raise InputError(
                f"step {self.name!r} prescribes {value:g} mm and {rows[twice[0] + 1, 2]:g} mm for "
                f"component {component:.0f} of node {node:.0f} ({twice.size} such pairs)"
            )
        return rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2]

    def forces(self) -> tuple[Int, Float]:
        """Nodes with a force, (n,), and the sum of the loads there in N, (n, 3)."""
        return _summed([(part.nodes, part.force_N) for part in self.loads])

    def springs(self) -> tuple[Int, Float]:
        """Nodes on springs, (n,), and their stiffness along each axis in N/mm, (n, 3)."""
        return _summed([(part.nodes, np.asarray(part.stiffness_N_mm)) for part in self.supports])

    def spring_groups(self) -> list[tuple[int, float, Int]]:
        """Springs that are alike: component, stiffness in N/mm, nodes."""
        nodes, stiffness = self.springs()
        return [
            (component, value, nodes[stiffness[:, component] == value])
            for component in range(3)
            for value in np.unique(stiffness[:, component]).tolist()
            if value
        ]


def distinct(numbers: Int) -> Int:
    """Sort numbers, each once. `numpy.unique` is a hundred times slower for a million of them."""
    ordered = np.sort(numbers)
    return np.asarray(ordered[np.append(ordered[:1] == ordered[:1], ordered[1:] != ordered[:-1])])


def _summed(parts: list[tuple[Int, Float]]) -> tuple[Int, Float]:
    """Nodes, each once, and the sum of what the parts give them, (n, 3), but for zeros."""
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 3))
    nodes, where = np.unique(np.concatenate([nodes for nodes, _ in parts]), return_inverse=True)
    total = np.zeros((len(nodes), 3))
    each = [np.broadcast_to(values, (len(nodes), 3)) for nodes, values in parts]
    np.add.at(total, where.ravel(), np.concatenate(each))
    acting = total.any(axis=1)
    return nodes[acting], total[acting]


def _prescribed(part: Constraint) -> Float:
    """Rows of node, component, displacement."""
    held = np.broadcast_to(part.displacement_mm, (len(part.nodes), len(part.components)))
    node = np.repeat(part.nodes, len(part.components))
    return np.column_stack([node, np.tile(part.components, len(part.nodes)), held.ravel()])

"""Rigid caps as decks hold them: a reference node, and nodes that follow it.

A node at the arm a from the pivot moves by u = t + r x a, with the pivot's translation t and small
rotation r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.fem.caps import RigidCap
from bonekit.fem.model import Mesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tie:
    """A rigid cap in a deck.

    Parameters
    ----------
    name : str
        As in the deck.
    nodes : ndarray of int, (n,)
        Ascending.
    pivot_mm : ndarray of float, (3,)
    arms_mm : ndarray of float, (n, 3)
        From the pivot to the nodes.
    given : ndarray of float, (6,)
        Prescribed translation in mm and rotation in rad of the pivot, NaN where free.
    load : ndarray of float, (6,)
        Force in N and moment in N mm on the pivot.
    """

    name: str
    nodes: Int
    pivot_mm: Float
    arms_mm: Float
    given: Float
    load: Float

    @property
    def pivot(self) -> str:
        """Name of the set of the reference node."""
        return f"PIVOT_{self.name}"

    @property
    def turn(self) -> str:
        """Name of the set of the node whose displacements are rotations, where there is one."""
        return f"TURN_{self.name}"

    @property
    def held(self) -> list[tuple[int, float]]:
        """Prescribed components, 0 to 5, and their values."""
        return [(i, x) for i, x in enumerate(self.given.tolist()) if np.isfinite(x)]

    @property
    def acting(self) -> list[tuple[int, float]]:
        """Components, 0 to 5, with a force or a moment, and their values.

        On a prescribed component it would go straight into the support: it is left out.
        """
        free = ~np.isfinite(self.given)
        return [(i, x) for i, x in enumerate(self.load.tolist()) if x and free[i]]

    def equations(self) -> tuple[Int, Int, Float]:
        """Say what each component of each node follows.

        Returns
        -------
        node, component : ndarray of int, (3 n,)
            Component by component.
        arm_mm : ndarray of float, (3 n, 2)
            Factors of the rotations about the next two axes, ``(component + 1) % 3`` and
            ``(component + 2) % 3``; that of the pivot's translation is 1.
        """
        parts = [
            np.column_stack([self.arms_mm[:, (c + 2) % 3], -self.arms_mm[:, (c + 1) % 3]])
            for c in range(3)
        ]
        return np.tile(self.nodes, 3), np.repeat(np.arange(3), len(self.nodes)), np.vstack(parts)


def tied(mesh: Mesh, cap: RigidCap, name: str) -> Tie:
    """Make a tie of a cap.

    Parameters
    ----------
    mesh : Mesh
        In whose axes the cap's pivot stands.
    cap : RigidCap
    name : str

    Raises
    ------
    InputError
        If its nodes lie in one line.
    """
    nodes, first = np.unique(cap.nodes, return_index=True)
    arms = cap.arms_mm(mesh)[first]
    load = np.array([*cap.force_N, *cap.moment_Nmm])
    return Tie(name, nodes, cap.pivot_mm, arms, cap.given.ravel(), load)

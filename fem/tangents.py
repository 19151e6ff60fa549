"""Bricks of nonlinear material: internal forces, states and tangents at eight points each.

Volumetric strain is averaged over the brick (B-bar): plastic flow keeps the volume, and eight
points of full integration would each ask for that, which a brick of 24 unknowns cannot give: it
locks, and limit loads come out far too high. B-bar is also what a brick of selective reduced
integration is (Abaqus C3D8). With ``bbar=False`` the elastic stiffness is that of
`bonekit.fem.solve`, digit by digit.

Bricks that are surely elastic go through the matrix-free operator of the linear engine; material
points are visited in the others only, so that the cost follows the yielded volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bonekit.fem.brick import elasticity, strain_displacement
from bonekit.fem.cg import Operator
from bonekit.fem.constitutive import MaterialLaw, State, elastic_energy, virgin
from bonekit.fem.operator import BrickOperator, Float, Lattice
from bonekit.meshing.voxel import BRICK_CORNERS

GAUSS = 0.5 + (np.array(BRICK_CORNERS) - 0.5) / np.sqrt(3.0)  # (8, 3) in the unit cube
_CHUNK = 1024  # bricks whose points are updated at once: their tangents fit a cache


def point_matrices(spacing_mm: ArrayLike, *, bbar: bool) -> Float:
    """Matrices B at the eight points of a brick in 1/mm, (8, 6, 24).

    Parameters
    ----------
    spacing_mm : array_like, (3,)
    bbar : bool
        Average the volumetric strain over the brick.

    References
    ----------
    Hughes, Int J Numer Methods Eng 15 (1980) 1413: the B-bar method.
    """
    B = np.stack([strain_displacement(spacing_mm, xi) for xi in GAUSS])
    if not bbar:
        return B
    volumetric = B[:, :3].sum(axis=1)
    B[:, :3] += ((volumetric.mean(axis=0) - volumetric) / 3)[:, None]
    return B


def brick_stiffness(spacing_mm: ArrayLike, nu: float, *, bbar: bool) -> Float:
    """Elastic stiffness for E = 1 MPa, (24, 24), of the points of `point_matrices`."""
    B = point_matrices(spacing_mm, bbar=bbar)
    volume = float(np.prod(np.asarray(spacing_mm, dtype=np.float64)))
    return np.asarray(volume / 8 * np.einsum("gai,ab,gbj->ij", B, elasticity(nu), B, optimize=True))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Bricks at a displacement.

    Parameters
    ----------
    force_N : Tensor, (3, size)
        Internal nodal forces.
    state : State
        Of all points, (n, 8, ...), should the displacement be accepted.
    busy : Tensor of int, (m,)
        Bricks that are or may be beyond their elastic range.
    change : Tensor, (m, 24, 24)
        Their tangent stiffness less the elastic one, N/mm.
    """

    force_N: Tensor
    state: State
    busy: Tensor
    change: Tensor


class NonlinearBricks:
    """Bricks of one size with a law at their points.

    Parameters
    ----------
    lattice : Lattice
    cells : ndarray of int, (n,)
        Flat number of the lowest node of each brick, in the order of the law's parameters.
    law : MaterialLaw
        Parameters over bricks, (n, ...), as numpy arrays.
    spacing_mm : ndarray of float, (3,)
    bbar : bool
    device : torch.device
    spring_N_mm : ndarray of float, (3, size), optional
        Springs from the nodes to the ground, along the axes: part of forces and tangents.
    """

    def __init__(
        self,
        lattice: Lattice,
        cells: NDArray[np.int64],
        law: MaterialLaw,
        spacing_mm: Float,
        *,
        bbar: bool = True,
        device: torch.device | None = None,
        spring_N_mm: Float | None = None,
    ) -> None:
        self.lattice, self.device = lattice, device or torch.device("cpu")
        E = np.zeros(lattice.size)
        E[cells] = law.E_MPa
        self.E_lattice, self.K = E, brick_stiffness(spacing_mm, law.nu, bbar=bbar)
        self.spring = None if spring_N_mm is None else self._tensor(spring_N_mm)
        self.elastic = self.elastic_of(E)
        self._single = self.elastic_of(E, torch.float32, self.elastic)
        # (n, 1): parameters hold for the eight points of a brick
        self.law = law.mapped(
            lambda a: torch.as_tensor(np.ascontiguousarray(a), device=self.device)[:, None]
        )
        self.E = self._tensor(law.E_MPa)
        self.corners = self._tensor(cells[:, None] + np.array(lattice.corners))
        self.B = self._tensor(point_matrices(spacing_mm, bbar=bbar).reshape(48, 24))
        self.weight = float(np.prod(spacing_mm)) / 8
        self.unit = self._tensor(self.K)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(np.array(array), device=self.device)

    def elastic_of(
        self, E: Float, dtype: torch.dtype = torch.float64, like: BrickOperator | None = None
    ) -> BrickOperator:
        """Elastic stiffness of the bricks, with the springs, for moduli over the lattice."""
        return BrickOperator(self.lattice, E, self.K, dtype, self.device, self.spring, like)

    @property
    def n(self) -> int:
        """Number of bricks."""
        return len(self.corners)

    def start(self) -> State:
        """State of unloaded points, (n, 8, ...)."""
        return virgin(self.E.new_zeros(self.n, 8, 6))

    def local(self, u: Tensor, bricks: Tensor | None = None) -> Tensor:
        """Displacements of the bricks' corners, (m, 24), of a field, (3, size)."""
        corners = self.corners if bricks is None else self.corners[bricks]
        return u[:, corners.reshape(-1)].view(3, -1, 8).permute(1, 2, 0).reshape(-1, 24)

    def strain(self, u: Tensor) -> Tensor:
        """Strain at the points, (n, 8, 6)."""
        return (self.local(u) @ self.B.T).view(-1, 8, 6)

    def evaluate(self, u: Tensor, before: State) -> Evaluation:
        """Go from an accepted state to a displacement, (3, size)."""
        strain = self.strain(u)
        virgin_ones = ~before.history.any(-1).any(-1)
        calm = virgin_ones & self.law.surely_elastic(strain).all(-1)
        busy = torch.nonzero(~calm).reshape(-1)
        force = self.elastic(u)
        plastic, history = before.plastic, before.history
        change = strain.new_zeros(len(busy), 24, 24)
        if len(busy):
            plastic, history = plastic.clone(), history.clone()
            chunks = zip(_chunks(busy), _chunks(change), strict=True)
            for bricks, tangent in chunks:
                now, stress, D = self._update(bricks, strain, before)
                plastic[bricks], history[bricks] = now.plastic, now.history
                elastic_K = self.E[bricks, None, None] * self.unit
                tangent.copy_(self._stiffness(D) - elastic_K)
                extra = self.weight * (stress.reshape(-1, 48) @ self.B)
                extra -= self.E[bricks, None] * (self.local(u, bricks) @ self.unit)
                self.scatter(extra, bricks, force)
        return Evaluation(force, State(strain, plastic, history), busy, change)

    def _update(
        self, bricks: Tensor, strain: Tensor, before: State
    ) -> tuple[State, Tensor, Tensor]:
        prior, law = before.mapped(itemgetter(bricks)), self.law.mapped(itemgetter(bricks))
        response = law.update(strain[bricks] - prior.strain, prior)
        return response.state, response.stress_MPa, response.tangent_MPa

    def _stiffness(self, D: Tensor) -> Tensor:
        """Tangent stiffness, (m, 24, 24), of tangents at the points, (m, 8, 6, 6)."""
        DB = (D @ self.B.view(8, 6, 24)).reshape(-1, 48, 24)
        return self.weight * (self.B.T @ DB)

    def scatter(self, local: Tensor, bricks: Tensor, field: Tensor) -> None:
        """Add what belongs to the corners of bricks, (m, 24), to a field, (3, size)."""
        rows = local.view(-1, 8, 3).permute(2, 0, 1).reshape(3, -1)
        field.index_add_(1, self.corners[bricks].reshape(-1), rows)

    def tangent(self, at: Evaluation, dtype: torch.dtype = torch.float64) -> Operator:
        """Tangent stiffness: an operator on fields, (3, size), of a precision."""
        elastic = self.elastic if dtype == torch.float64 else self._single
        busy, change = at.busy, at.change.to(dtype)

        def product(x: Tensor) -> Tensor:
            force = elastic(x)
            if len(busy):
                local = self.local(x, busy)
                self.scatter(torch.bmm(change, local[:, :, None])[..., 0], busy, force)
            return force

        return product

    def softened(self, at: Evaluation, least: float = 0.02) -> Float:
        """Moduli over the lattice that resemble the tangent, (size,), for a preconditioner."""
        share = torch.ones_like(self.E)
        lost = at.change.diagonal(dim1=1, dim2=2).sum(-1)
        share[at.busy] += lost / (self.E[at.busy] * self.unit.trace())
        E = self.E_lattice.copy()
        base = self.corners[:, 0].cpu().numpy()  # the first corner is the lowest
        E[base] *= share.clamp(least, 1.0).cpu().numpy()
        return E

    def stored_energy(self, state: State) -> float:
        """Recoverable energy of all bricks."""
        touched = (state.history.any(-1) | ~self.law.surely_elastic(state.strain)).any(-1)
        calm = elastic_energy(state.strain[~touched], self.E[~touched, None], self.law.nu)
        total = float(calm.sum())
        for rows in _chunks(torch.nonzero(touched).reshape(-1)):
            law = self.law.mapped(itemgetter(rows))
            total += float(law.stored_energy(state.mapped(itemgetter(rows))).sum())
        return total * self.weight

    def spring_energy(self, u: Tensor) -> float:
        """Energy of the springs."""
        return 0.0 if self.spring is None else 0.5 * float((self.spring * u * u).sum())


def _chunks(rows: Tensor) -> tuple[Tensor, ...]:
    return torch.split_with_sizes(rows, _sizes(len(rows)))


def _sizes(n: int) -> list[int]:
    return [min(_CHUNK, n - first) for first in range(0, n, _CHUNK)]

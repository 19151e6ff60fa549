"""Bricks under large rotation and strain: any small-strain law in Hencky's logarithmic strain.

Total Lagrangian: the strain given to the law is ``1/2 log C``, ``C = F^T F``, and the law's stress
T is conjugate to it. A rigid rotation leaves C, so it strains nothing. Forces and tangent are first
and second derivatives of the same strain, so that the tangent is symmetric where the law's is.

The logarithm is a quadrature of ``log C = int_0^1 (C - 1) M ds``, ``M = ((1 - s) C + s)^-1``, whose
derivatives ``int M H M`` and ``-2 int (1 - s) M H M H M`` need no principal axes and hold where
principal stretches coincide. Ten points of Gauss are exact to 1e-9 for stretches of 1/2 to 2.

References
----------
Miehe, Apel and Lambrecht, Comput Methods Appl Mech Eng 191 (2002) 5383: small-strain laws in
logarithmic strain space (unverified: quoted from memory; derivatives are tested by differences).
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bonekit.fem.brick import strain_displacement
from bonekit.fem.constitutive import MaterialLaw, State
from bonekit.fem.nonlinear import Stuck
from bonekit.fem.operator import Float, Lattice
from bonekit.fem.tangents import GAUSS, Evaluation, NonlinearBricks

_POINTS = 10  # of the logarithm's quadrature
_CHUNK = 256  # bricks at once: 8 points of 10 points of 6 tensors each
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
_FACTOR = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)  # tensor to engineering shear


@dataclass(frozen=True, eq=False)
class Logarithm:
    """Half the logarithm of C with what its derivatives need.

    Parameters
    ----------
    strain : Tensor, (..., 6)
        With engineering shear.
    first : Tensor, (..., 6, 6)
        Its derivative by the strain of Green and Lagrange, ``(C - 1) / 2``.
    """

    strain: Tensor
    first: Tensor
    _M: Tensor  # (..., q, 3, 3)
    _MH: Tensor  # (..., q, 6, 3, 3)
    _weights: Tensor  # (q,), of the second derivative

    @classmethod
    def of(cls, C: Tensor) -> Logarithm:
        """Take the logarithm of positive definite tensors, (..., 3, 3)."""
        x, w = np.polynomial.legendre.leggauss(_POINTS)
        s = torch.as_tensor((x + 1) / 2, dtype=C.dtype, device=C.device)
        share = torch.as_tensor(w / 2, dtype=C.dtype, device=C.device)
        one = torch.eye(3, dtype=C.dtype, device=C.device)
        M = torch.linalg.inv((1 - s)[:, None, None] * C[..., None, :, :] + s[:, None, None] * one)
        log = (C - one) @ torch.einsum("q,...qij->...ij", share, M)
        MH = torch.einsum("...qij,bjk->...qbik", M, _basis(C))
        change = torch.einsum("q,...qbik,...qkj->...bij", share, MH, M)
        return cls(_voigt(log) / 2, _voigt(change).transpose(-1, -2), M, MH, share * (1 - s))

    def second(self, stress: Tensor) -> Tensor:
        """Second derivative of the strain, contracted with a stress (..., 6): (..., 6, 6)."""
        T = _tensor(stress)[..., None, :, :]
        left = (self._M @ T)[..., None, :, :] @ self._MH
        right = self._MH.transpose(-1, -2)
        q, k = left.shape[-4], left.shape[-3]
        left = left.reshape(*left.shape[:-4], q, k, 9)
        right = right.reshape(*left.shape)
        form = (left @ right.transpose(-1, -2)) * self._weights[:, None, None]
        return -4 * form.sum(-3)


class FiniteBricks(NonlinearBricks):
    """Bricks whose law sees logarithmic strain; for the parameters see `NonlinearBricks`.

    With B-bar the logarithm of the volume ratio is averaged over the brick. Loads and springs keep
    their direction. Every brick is visited in every evaluation, at 4.6 kB of tangent each.
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
        super().__init__(
            lattice, cells, law, spacing_mm, bbar=bbar, device=device, spring_N_mm=spring_N_mm
        )
        self.averaged = bbar
        B = np.stack([strain_displacement(spacing_mm, xi) for xi in GAUSS])
        self.gradients = self._tensor(np.stack([B[:, i, i::3] for i in range(3)], axis=-1))

    def evaluate(self, u: Tensor, before: State) -> Evaluation:
        """Go from an accepted state to a displacement, (3, size).

        Raises
        ------
        Stuck
            If a brick is turned inside out.
        """
        change = u.new_zeros(self.n, 24, 24)
        force = torch.zeros_like(u) if self.spring is None else self.spring * u
        strain, plastic, history = (torch.empty_like(a) for a in vars(before).values())
        every = torch.arange(self.n, device=self.device)
        for bricks in torch.split(every, _CHUNK):
            state, local, K = self._bricks(u, bricks, before)
            strain[bricks], plastic[bricks] = state.strain, state.plastic
            history[bricks] = state.history
            change[bricks] = K - self.E[bricks, None, None] * self.unit
            self.scatter(local, bricks, force)
        return Evaluation(force, State(strain, plastic, history), every, change)

    def _bricks(self, u: Tensor, bricks: Tensor, before: State) -> tuple[State, Tensor, Tensor]:
        """State, internal forces (m, 24) and tangent stiffness (m, 24, 24) of some bricks."""
        G = self.gradients
        moved = self.local(u, bricks).view(-1, 8, 3)
        F = torch.eye(3, dtype=u.dtype, device=u.device)
        F = F + torch.einsum("mai,gaj->mgij", moved, G)
        if bool((torch.linalg.det(F) <= 0).any()):
            raise Stuck("a brick is turned inside out")
        log = Logarithm.of(F.transpose(-1, -2) @ F)
        green = _green(F, G)
        strain = self._average(log.strain[..., None])[..., 0]
        Q = self._average(log.first @ green)
        prior, law = before.mapped(itemgetter(bricks)), self.law.mapped(itemgetter(bricks))
        response = law.update(strain - prior.strain, prior)
        stress, D = response.stress_MPa, response.tangent_MPa
        force = torch.einsum("mgci,mgc->mi", Q, stress)
        T = self._average(stress[..., None])[..., 0]
        K = torch.einsum("mgci,mgcj->mij", Q, D @ Q)
        K = K + torch.einsum("mgci,mgcj->mij", green, log.second(T) @ green)
        S = _tensor((log.first.transpose(-1, -2) @ T[..., None])[..., 0])
        initial = torch.einsum("gai,mgij,gbj->mab", G, S, G)
        same = torch.eye(3, dtype=u.dtype, device=u.device)
        K = K + torch.einsum("mab,ij->maibj", initial, same).reshape(-1, 24, 24)
        return response.state, self.weight * force, self.weight * K

    def _average(self, rows: Tensor) -> Tensor:
        """Average the sum of the first three of six rows, (m, 8, 6, k), over the brick's points."""
        if not self.averaged:
            return rows
        volumetric = rows[:, :, :3].sum(2, keepdim=True)
        shift = (volumetric.mean(1, keepdim=True) - volumetric) / 3
        return torch.cat([rows[:, :, :3] + shift, rows[:, :, 3:]], dim=2)


def _green(F: Tensor, gradients: Tensor) -> Tensor:
    """Derive the strain of Green and Lagrange by the corners' displacements."""
    rows = []
    for i, j in _PAIRS:
        row = torch.einsum("mgk,ga->mgak", F[..., i], gradients[..., j])
        if i != j:
            row = row + torch.einsum("mgk,ga->mgak", F[..., j], gradients[..., i])
        rows.append(row.reshape(*row.shape[:2], 24))
    return torch.stack(rows, dim=2)


def _basis(like: Tensor) -> Tensor:
    """Tensors, (6, 3, 3), of unit strains with engineering shear."""
    H = like.new_zeros(6, 3, 3)
    for row, (i, j), factor in zip(H, _PAIRS, _FACTOR, strict=True):
        row[i, j] = row[j, i] = 1.0 / factor
    return H


def _voigt(tensor: Tensor) -> Tensor:
    """Strain with engineering shear, (..., 6), of a symmetric tensor."""
    return torch.stack(
        [f * tensor[..., i, j] for (i, j), f in zip(_PAIRS, _FACTOR, strict=True)], -1
    )


def _tensor(stress: Tensor) -> Tensor:
    """Symmetric tensor, (..., 3, 3), of a stress."""
    xx, yy, zz, xy, yz, xz = stress.unbind(-1)
    rows = [xx, xy, xz, xy, yy, yz, xz, yz, zz]
    return torch.stack(rows, -1).view(*stress.shape[:-1], 3, 3)

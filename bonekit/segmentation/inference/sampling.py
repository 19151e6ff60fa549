"""Label maps drawn from probabilities, whose errors hang together in space.

Drawing each voxel on its own gives salt and pepper. Here the random numbers are smooth Gaussian
fields, so that borders move as a whole over the correlation length; in every voxel each label is
still drawn with exactly its probability (Gumbel-max: the label of the largest ``log p + g`` with g
of a Gumbel distribution is a draw from p; Gumbel, 1954. Unverified: quoted from memory).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import BSpline

from bonekit.image import Grid
from bonekit.segmentation.inference.fusion import log_odds


@dataclass(frozen=True, eq=False)
class Sampler:
    """Smooth Gaussian fields over a grid, one for each sample and output.

    Parameters
    ----------
    noise : Tensor, (samples, outputs, ai, aj, ak)
        White, on a lattice as wide as the correlation length.
    weights : three Tensors, (ni, ai), (nj, aj), (nk, ak)
        Cubic B-splines of the lattice in each voxel, of unit norm: fields have unit variance.
    """

    noise: torch.Tensor
    weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    exclusive: bool

    def field(self, k: int) -> torch.Tensor:
        """Fields in a slice of the third axis, (samples, outputs, ni, nj)."""
        i, j, third = self.weights
        made: torch.Tensor = i @ (self.noise @ third[k]) @ j.T
        return made

    def draw(self, found: torch.Tensor, k: int) -> torch.Tensor:
        """Scores of a slice: the drawn label has the largest, a drawn region more than one half.

        Parameters
        ----------
        found : Tensor, (outputs, ni, nj)
            Probabilities.
        k : int
            Index of the slice.

        Returns
        -------
        Tensor, (samples, outputs, ni, nj)
        """
        share: torch.Tensor = torch.special.log_ndtr(self.field(k).double())
        if self.exclusive:  # -log(-log(u)) is of a Gumbel distribution
            return log_odds(found[None], exclusive=True) - torch.log(-share)
        return (share.exp() < found[None]).float()


def sampler(
    grid: Grid, outputs: int, *, samples: int, correlation_mm: float, seed: int, exclusive: bool
) -> Sampler:
    """Draw the noise of some samples over a grid."""
    weights = [
        _splines(n, s, correlation_mm) for n, s in zip(grid.shape, grid.spacing_mm, strict=True)
    ]
    draw = torch.Generator().manual_seed(seed)
    shape = (samples, outputs, *(w.shape[1] for w in weights))
    i, j, k = weights
    return Sampler(torch.randn(shape, generator=draw), (i, j, k), exclusive)


def _splines(n: int, spacing_mm: float, knot_mm: float) -> torch.Tensor:
    """Cubic B-splines of a lattice in n voxels, (n, lattice), each row of unit norm."""
    place = np.arange(n) * spacing_mm / knot_mm
    knots = np.arange(-3, int(place[-1]) + 5, dtype=float)
    made = BSpline.design_matrix(place, knots, 3).toarray()
    return torch.from_numpy(made / np.linalg.norm(made, axis=1, keepdims=True)).float()

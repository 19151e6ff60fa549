"""Moduli of elements by integrating the modulus over each element."""

from __future__ import annotations

import numpy as np

from bonekit.density import DensityImage, conversion
from bonekit.fem.materials import Elasticity, Law
from bonekit.image.volume import LabelMap
from bonekit.meshing.voxel import VoxelMesh
from bonekit.meshing.voxelise import mean_of_points, points_for, sample_points


def element_modulus(
    density: DensityImage,
    mesh: VoxelMesh,
    law: Law,
    inside: LabelMap | None = None,
    points_per_edge: int | None = None,
) -> Elasticity:
    """Integrate the modulus over each brick, as BoneMat V3 does.

    The law is applied to the interpolated density at ``points_per_edge**3`` points, and the moduli
    are averaged. The law at the mean density (BoneMat V2; `bonekit.fem.materials.elasticity`) is
    softer wherever the density varies within a brick, as the laws are convex.

    Parameters
    ----------
    density : DensityImage
    mesh : VoxelMesh
    law : Law
        Gets the kind of density it asks for, see `bonekit.density.conversion`.
    inside : LabelMap, optional
        Take only the points in its labelled part, see `sample_elements`.
    points_per_edge : int, optional
        By default about two for a voxel, from 3 to 6.

    Returns
    -------
    Elasticity
        It counts the elements where the density at any point was moved to a limit of the law, or
        lay outside what the law was measured on.

    Raises
    ------
    InputError
        If a brick lies outside the image, the density is not finite in one, or no published line
        leads to the density of the law.
    """
    line = conversion(density.kind, law.kind)
    n_points = points_per_edge
    if n_points is None:
        n_points = points_for(density.grid, float(mesh.grid.spacing_mm[0]))
    E = np.empty(mesh.n_elements)
    n_floor = n_ceiling = n_extrapolated = 0
    low, high = law.valid or (-np.inf, np.inf)
    for part, values, counted in sample_points(density, mesh, inside, n_points):
        rho = line(values)
        E[part] = mean_of_points(law.modulus(rho), counted)
        n_floor += _with_any(counted & (rho < law.low))
        n_ceiling += _with_any(counted & (rho > law.high))
        n_extrapolated += _with_any(counted & ((rho < low) | (rho > high)))
    return Elasticity(
        E, n_floor, n_ceiling, n_extrapolated if law.valid else None, mapping="modulus"
    )


def _with_any(points: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    return int(np.count_nonzero(points.any(axis=1)))

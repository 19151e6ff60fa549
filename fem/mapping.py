"""From the density in an image to one modulus per element: four ways, on all element types.

- ``modulus``: the law at quadrature points, the modulus integrated over the element (Bonemat V3:
  Taddei et al., Med Eng Phys 2007;29:973-979);
- ``density``: the density integrated over the element, then the law (Bonemat V2: Taddei et al.,
  Med Eng Phys 2004;26:61-69; unverified: quoted from memory);
- ``centroid``: the law at the density in the element's centre;
- ``nodal``: the law at the density in the nodes, the moduli averaged over the element.

Where the density varies within an element, the laws being convex, the first gives the stiffest:
1.49 times the second for a ramp from zero and an exponent of 2.29.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityImage, conversion
from bonekit.errors import InputError
from bonekit.fem.materials import Elasticity, Law
from bonekit.image.volume import Image, LabelMap
from bonekit.meshing.conserve import bone_image
from bonekit.meshing.sampling import (
    Elements,
    Mesh,
    elements_in,
    mean,
    node_shares,
    per_element,
    sample_nodes,
)

Float = NDArray[np.float64]
Mapping = Literal["modulus", "density", "centroid", "nodal"]
MAPPINGS: tuple[Mapping, ...] = get_args(Mapping)


def element_values(
    image: Image,
    mesh: Mesh,
    fn: Callable[[Float], Float],
    how: Mapping = "modulus",
    order: int | None = None,
) -> Float:
    """Give each element one value of a function of the image.

    Parameters
    ----------
    image : Image
        Interpolated linearly.
    mesh : VoxelMesh, TetMesh, or (nodes_mm, cells)
        With ``nodes_mm`` (n, 3) in the world and ``cells`` (m, 4, 8 or 10) in the order of VTK:
        tetrahedra, hexahedra, and curved tetrahedra.
    fn : callable
        Of an array of any shape, element by element.
    how : {"modulus", "density", "centroid", "nodal"}
        See the head of this module.
    order : int, optional
        Quadrature points along an edge; by default by the size of the element in voxels, see
        `bonekit.meshing.sampling.points_per_edge`.

    Returns
    -------
    ndarray of float, (m,)

    Raises
    ------
    InputError
        If an element lies outside the image or is inverted, the image is not finite in one, or
        `how` or `order` is none of those allowed.
    """
    return reduced(image, mesh, how, lambda v, w: mean(fn(v), w)[:, None], order)[:, 0]


def element_modulus(
    density: DensityImage,
    mesh: Mesh,
    law: Law,
    inside: LabelMap | None = None,
    points_per_edge: int | None = None,
    how: Mapping = "modulus",
    conserve: bool = True,
) -> Elasticity:
    """Give each element its Young's modulus.

    Parameters
    ----------
    density : DensityImage
    mesh : VoxelMesh, TetMesh, or (nodes_mm, cells)
        See `element_values`.
    law : Law
        Gets the kind of density it asks for, see `bonekit.density.conversion`.
    inside : LabelMap, optional
        The bone that was meshed: keeps soft tissue out of the elements at the surface, and the
        mineral on the mesh that in the mask, see `bonekit.meshing.conserve.bone_image`.
    points_per_edge : int, optional
        See `order` of `element_values`.
    how : {"modulus", "density", "centroid", "nodal"}
        See the head of this module.
    conserve : bool
        See `bonekit.meshing.conserve.bone_image`.

    Returns
    -------
    Elasticity
        It counts the elements where a density that the law was given was moved to a limit of the
        law, or lay outside what the law was measured on: at any point of the element that `how`
        reads, or its mean.

    Raises
    ------
    InputError
        See `element_values`; or if no published line leads to the density of the law.
    """
    line = conversion(density.kind, law.kind)
    image = density if inside is None else bone_image(density, inside, mesh, conserve)
    low, high = law.valid or (-np.inf, np.inf)

    def columns(values: Float, weights: Float) -> Float:
        rho, used = line(values), weights > 0
        far = [rho < law.low, rho > law.high, (rho < low) | (rho > high)]
        return np.column_stack(
            [mean(law.modulus(rho), weights), *((f & used).any(axis=1) for f in far)]
        )

    E, *far = reduced(image, mesh, how, columns, points_per_edge).T
    n_floor, n_ceiling, n_extrapolated = (int(f.sum()) for f in far)
    return Elasticity(
        np.ascontiguousarray(E),
        n_floor,
        n_ceiling,
        n_extrapolated if law.valid else None,
        mapping=how,
    )


def reduced(
    image: Image,
    mesh: Mesh,
    how: Mapping,
    columns: Callable[[Float, Float], Float],
    order: int | None = None,
) -> Float:
    """Reduce what a mapping reads of each element to columns, (m, c).

    Parameters
    ----------
    image, mesh, how, order
        See `element_values`.
    columns : callable
        Gets values (b, q) and weights (b, q) of b elements and returns (b, c): of ``modulus`` q is
        the number of quadrature points, of ``density`` and ``centroid`` 1, of ``nodal`` that of
        the nodes.
    """
    if how not in MAPPINGS:
        raise InputError(f"there is no mapping {how!r}; known: {', '.join(MAPPINGS)}")
    if how == "modulus":
        return per_element(image, mesh, columns, order)
    if how == "centroid":
        return per_element(image, mesh, columns, 1)
    if how == "density":
        means = per_element(image, mesh, lambda v, w: mean(v, w)[:, None], order)
        return columns(means, np.ones_like(means))
    return columns(*_at_nodes(image, elements_in(image.grid, mesh)))


def _at_nodes(image: Image, elements: Elements) -> tuple[Float, Float]:
    """Values at the nodes of each element, (m, k), and each node's share of it, (m, k)."""
    return sample_nodes(image, elements), node_shares(elements)

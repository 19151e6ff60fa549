"""Voxel meshes of larger bricks, with the mass of the finer ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Coarsened:
    """A coarser voxel mesh.

    Parameters
    ----------
    mesh : VoxelMesh
        `VoxelMesh.n_removed` counts its own bricks that hung apart, besides those of the finer.
    density_g_cm3 : ndarray of float, (n_elements,)
        Mass over the volume of the brick: its sum over the mesh is that of the finer mesh.
    moved : float
        Part of the mass that came from blocks that are no brick any more.
    """

    mesh: VoxelMesh
    density_g_cm3: Float
    moved: float


def coarsen(mesh: VoxelMesh, density_g_cm3: Float, factor: int) -> Coarsened:
    """Join blocks of bricks to bricks of twice, or more times, their edge length.

    The fullest blocks become bricks, as many as have the volume of the finer mesh. Each has the
    region that most of it has, and the mass of its block. The mass of blocks that become no brick
    goes to the nearest one: nothing is lost. Blocks begin at the mesh's lower ends, so that a cut
    there (that of a femur's shaft) stays where it is.

    Parameters
    ----------
    mesh : VoxelMesh
    density_g_cm3 : ndarray of float, (n_elements,)
    factor : int
        Bricks along the edge of a block, 2 or more.

    Raises
    ------
    InputError
        If the factor is not whole or leaves fewer than two bricks across the mesh, or there is not
        one finite density for each element.
    """
    density = np.asarray(density_g_cm3, dtype=np.float64)
    _check(mesh, density, factor)
    low = mesh.element_ijk.min(axis=0)
    blocks, shape = (mesh.element_ijk - low) // factor, _shape(mesh, factor)
    number = np.ravel_multi_index(tuple(blocks.T), shape)
    size = int(np.prod(shape))
    filled = np.bincount(number, minlength=size).reshape(shape)
    mass: Float = np.bincount(number, density, minlength=size).astype(np.float64).reshape(shape)
    exists, n_removed = _fullest(filled, round(mesh.n_elements / factor**3))
    region = np.where(exists, _most_frequent(mesh.element_region, number, shape), 0)
    kept = float(mass[exists].sum())
    mass = _gathered(mass, exists)
    grid = Grid.of(
        shape,
        factor * mesh.grid.spacing_mm,
        mesh.grid.world(low + (factor - 1) / 2),
        mesh.grid.direction,
    )
    made = VoxelMesh(region.astype(np.uint8), grid, mesh.names, mesh.n_removed + n_removed)
    total = float(density.sum())
    moved = 1 - kept / total if total else 0.0
    return Coarsened(made, mass[exists] / factor**3, moved)


def _check(mesh: VoxelMesh, density: Float, factor: int) -> None:
    if density.shape != (mesh.n_elements,) or not np.isfinite(density).all():
        raise InputError(
            f"one finite density for each of {mesh.n_elements} elements is needed, got shape "
            f"{density.shape} with {np.count_nonzero(~np.isfinite(density))} that are not finite"
        )
    thin = int(np.ptp(mesh.element_ijk, axis=0).min()) + 1
    if factor != int(factor) or not 2 <= factor <= thin // 2:
        raise InputError(
            f"factor must be a whole number from 2 to {thin // 2} (two bricks across the mesh), "
            f"got {factor}"
        )


def _shape(mesh: VoxelMesh, factor: int) -> tuple[int, int, int]:
    extent = np.ptp(mesh.element_ijk, axis=0) + 1
    i, j, k = (-(-extent // factor)).tolist()
    return i, j, k


def _fullest(filled: Int, count: int) -> tuple[Mask, int]:
    """Mark the blocks with the most bricks, in one piece; count those that hung apart."""
    order = np.argsort(-filled.ravel(), kind="stable")[: max(count, 1)]
    chosen = order[filled.ravel()[order] > 0]
    exists = np.isin(np.arange(filled.size), chosen).reshape(filled.shape)
    piece, _ = ndimage.label(exists)
    sizes = np.bincount(piece[exists])
    largest = np.asarray(piece == sizes.argmax())
    return largest, int(np.count_nonzero(exists & ~largest))


def _most_frequent(region: NDArray[np.uint8], number: Int, shape: tuple[int, int, int]) -> Int:
    """Region that most bricks of each block have; of equal ones the lower label."""
    values = np.unique(region)
    size = int(np.prod(shape))
    counts = np.stack([np.bincount(number[region == v], minlength=size) for v in values])
    return np.asarray(values.astype(np.int64)[counts.argmax(axis=0)].reshape(shape))


def _gathered(mass: Float, exists: Mask) -> Float:
    """Move what lies in other blocks to the nearest block that exists."""
    nearest: NDArray[np.int32] = ndimage.distance_transform_edt(
        ~exists, return_distances=False, return_indices=True
    )
    out = np.zeros_like(mass)
    np.add.at(out, tuple(nearest.reshape(3, -1)), mass.ravel())
    return out

"""Tetrahedra cut by level sets and remeshed with MMG: the steps of `bonekit.meshing.tetra`.

MMG: Dapogny, Dobrzynski and Frey, J Comput Phys 2014;262:358-378, through mmgpy.
"""

from __future__ import annotations

from itertools import permutations

import mmgpy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bonekit.errors import MeshQualityError
from bonekit.image.volume import Grid
from bonekit.meshing.distance import DistanceField

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Parts = tuple[Float, Int, Int]  # nodes (n, 3), tetrahedra (m, 4), references (m,)

INNER, OUTER = 2001, 2002  # references of the two sides while MMG cuts


def lattice(body: DistanceField, edge_mm: float) -> tuple[Float, Int]:
    """Six tetrahedra in each cube of a grid that may touch the body (Kuhn's division)."""
    grid = body.grid
    shape = np.ceil((np.array(grid.shape) - 1) * grid.spacing_mm / edge_mm).astype(int)
    first = grid.origin_mm + grid.direction @ np.full(3, edge_mm / 2)
    cubes = Grid.of(tuple(shape), edge_mm, first, grid.direction)
    near = body.at(cubes.points()) < 1.5 * edge_mm * np.sqrt(3) / 2
    corners = np.zeros((6, 4, 3), dtype=np.int64)
    for corner, path in zip(corners, permutations(range(3)), strict=True):
        for step, axis in enumerate(path):
            corner[step + 1 :, axis] = 1
    ijk = np.argwhere(near)[:, None, None, :] + corners
    flat = np.ravel_multi_index(tuple(ijk.reshape(-1, 3).T), tuple(shape + 1))
    used, number = np.unique(flat, return_inverse=True)
    nodes = cubes.world(np.stack(np.unravel_index(used, tuple(shape + 1)), axis=1) - 0.5)
    tetrahedra = number.reshape(-1, 4)
    turned = volumes(nodes, tetrahedra) < 0
    tetrahedra[turned] = tetrahedra[turned][:, [0, 1, 3, 2]]
    return nodes, tetrahedra


def volumes(nodes: Float, tetrahedra: Int) -> Float:
    """Signed volume of each tetrahedron, (m,)."""
    a, b, c, d = np.moveaxis(nodes[tetrahedra], 1, 0)
    return np.asarray(np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) / 6)


def level(nodes: Float, tetrahedra: Int, values: Float, volume: float, reach: float) -> float:
    """Level, within ``-reach..reach``, below which the linear field has a volume."""
    each = volumes(nodes, tetrahedra)
    corner = np.sort(values[tetrahedra], axis=1)
    low, high = -reach, reach
    for _ in range(40):
        middle = (low + high) / 2
        below = float((_fraction_below(corner - middle) * each).sum())
        low, high = (middle, high) if below < volume else (low, middle)
    return (low + high) / 2


def _fraction_below(corner: Float) -> Float:
    """Volume fraction of tetrahedra where a linear field is negative.

    Parameters
    ----------
    corner : ndarray of float, (n, 4)
        Values at the corners, ascending.
    """
    spread = np.ptp(corner, axis=1, keepdims=True) + 1e-9
    a, b, c, d = (corner + 1e-5 * spread * np.arange(4)).T  # no two are equal
    one = -(a**3) / ((b - a) * (c - a) * (d - a))
    two = one + b**3 / ((b - a) * (c - b) * (d - b))
    three = 1 - d**3 / ((d - a) * (d - b) * (d - c))
    return np.asarray(np.select([a >= 0, b >= 0, c >= 0, d > 0], [0 * a, one, two, three], 1.0))


def split(
    parts: Parts, values: Float, cut: int, inside: int, outside: int, edge_mm: float
) -> Parts:
    """Cut the elements of one reference along the zero level, without remeshing.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    values : ndarray of float, (n_nodes,)
    cut, inside, outside : int
        Reference that is cut, and those of its two sides.
    edge_mm : float

    Raises
    ------
    MeshQualityError
        If MMG gives up.
    """
    mesh = _mmg(parts)
    kept = [int(ref) for ref in np.unique(parts[2]) if ref != cut]
    materials = [{"ref": ref, "split": 0, "ref_minus": ref, "ref_plus": ref} for ref in kept]
    mesh.set_multi_materials(
        [{"ref": cut, "split": 1, "ref_minus": INNER, "ref_plus": OUTER}, *materials]
    )
    try:
        mesh.remesh_levelset(
            values.reshape(-1, 1),
            ls=0.0,
            verbose=-1,
            noinsert=1,
            noswap=1,
            nomove=1,
            hmax=4 * edge_mm,
            hmin=0.01 * edge_mm,
            hausd=edge_mm,
        )
    except RuntimeError as error:
        raise MeshQualityError(
            f"MMG could not cut out region {inside}: {error}. Try another edge length, more "
            "smoothing, or leave this region out of the interfaces"
        ) from error
    nodes, tetrahedra, reference = _parts(mesh)
    reference[reference == INNER] = inside
    reference[reference == OUTER] = outside
    return nodes, tetrahedra, reference


def remesh(parts: Parts, edge_mm: float) -> Parts:
    """Bring the tetrahedra to an edge length; the faces between references stay.

    Raises
    ------
    MeshQualityError
        If MMG gives up.
    """
    mesh = _mmg(parts)
    try:
        mesh.remesh(
            hmax=1.15 * edge_mm,
            hmin=0.3 * edge_mm,
            hausd=0.1 * edge_mm,
            hgrad=1.5,
            angle=0,
            verbose=-1,
        )
    except RuntimeError as error:
        raise MeshQualityError(
            f"MMG could not remesh {len(parts[1])} tetrahedra: {error}. Try another edge length"
        ) from error
    nodes, tetrahedra, reference = _parts(mesh)
    used, number = np.unique(tetrahedra, return_inverse=True)
    return nodes[used], number.reshape(-1, 4), reference


def largest_piece(tetrahedra: Int) -> tuple[NDArray[np.bool_], int]:
    """Elements of the largest face-connected piece, (n,), and the number of the others."""
    corners = np.sort(tetrahedra, axis=1)[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]]
    _, face = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    element = np.repeat(np.arange(len(tetrahedra)), 4)
    order = np.argsort(face.ravel(), kind="stable")
    same = np.diff(face.ravel()[order]) == 0
    a, b = element[order][:-1][same], element[order][1:][same]
    n = len(tetrahedra)
    graph = sparse.coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
    _, piece = sparse.csgraph.connected_components(graph, directed=False)
    kept = piece == np.bincount(piece).argmax()
    return kept, int(np.count_nonzero(~kept))


def _mmg(parts: Parts) -> mmgpy.MmgMesh3D:
    nodes, tetrahedra, reference = parts
    mesh = mmgpy.MmgMesh3D()
    mesh.set_mesh_size(vertices=len(nodes), tetrahedra=len(tetrahedra))
    mesh.set_vertices(nodes)
    mesh.set_tetrahedra(tetrahedra.astype(np.int32), reference.astype(np.int64))
    return mesh


def _parts(mesh: mmgpy.MmgMesh3D) -> Parts:
    tetrahedra, reference = mesh.get_elements_with_refs()
    return (
        np.array(mesh.get_vertices(), dtype=np.float64),
        np.array(tetrahedra, dtype=np.int64),
        np.array(reference, dtype=np.int64),
    )

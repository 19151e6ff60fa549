"""Bricks whose outer nodes lie on the bone's surface instead of the steps of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError, MeshQualityError
from bonekit.meshing.distance import DistanceField
from bonekit.meshing.voxel import BRICK_CORNERS, VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

REACH = 0.7  # of an edge: how far a node may go
ROUNDS = 8
INNER_ROUNDS = 3  # of moving inner nodes to the middle of their neighbours
HALVINGS = 12  # of the moves at bad elements; then they are not moved at all
# the corner's three neighbours, in the order of a positive Jacobian
NEIGHBOURS = np.array(
    [(1, 3, 4), (2, 0, 5), (3, 1, 6), (0, 2, 7), (7, 5, 0), (4, 6, 1), (5, 7, 2), (6, 4, 3)]
)


FACES = np.array(
    [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
)


@dataclass(frozen=True, eq=False)
class SmoothBricks:
    """Hexahedra in the world.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
        LPS; numbered as in the voxel mesh.
    cells : ndarray of int, (n_elements, 8)
        In VTK_HEXAHEDRON and Abaqus C3D8 order.
    region : ndarray of uint8, (n_elements,)
    names : mapping of int to str
    least_jacobian : float
        Smallest scaled Jacobian of all corners.
    largest_mm : float
        How far a node moved.
    off_mm : float
        Mean distance of the outer nodes from the surface.
    held : float
        Part of the outer nodes that stayed more than a tenth of an edge off the surface, held by
        their elements or by the limit of 0.7 edges on their way.

    Raises
    ------
    MeshQualityError
        If an element is inverted or flat.
    """

    nodes_mm: Float
    cells: Int
    region: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    least_jacobian: float = 1.0
    largest_mm: float = 0.0
    off_mm: float = 0.0
    held: float = 0.0

    @property
    def elements(self) -> Int:
        """`cells`."""
        return self.cells

    @property
    def world_elements(self) -> Int:
        """`cells`."""
        return self.cells

    @property
    def element_region(self) -> NDArray[np.uint8]:
        """`region`."""
        return self.region

    @property
    def n_elements(self) -> int:
        """Number of bricks."""
        return len(self.cells)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes_mm)

    def __post_init__(self) -> None:
        bad = np.flatnonzero(corner_jacobians(self.nodes_mm, self.cells).min(axis=1) <= 0)
        if len(bad):
            raise MeshQualityError(
                f"{len(bad)} bricks are inverted or flat (elements {bad[:20].tolist()})"
            )


def smooth_boundary(
    mesh: VoxelMesh, surface: DistanceField, least_jacobian: float = 0.2
) -> SmoothBricks:
    """Move the outer nodes of bricks to a surface, as far as the bricks allow.

    In rounds, each outer node goes towards the middle of its neighbours on the outside and down
    the slope of the signed distance; inner nodes follow. Where a corner's scaled Jacobian would
    fall below the limit, the moves of the element's nodes are halved until it doesn't.

    Parameters
    ----------
    mesh : VoxelMesh
        Cubes.
    surface : DistanceField
        Of the bone: `bonekit.meshing.distance.distance_field`.
    least_jacobian : float
        Scaled Jacobian of a corner (1 for a cube) that no move may go below.

    Raises
    ------
    InputError
        If the limit is not between 0 and 1, or the surface is not near the mesh.
    """
    if not 0 < least_jacobian < 1:
        raise InputError(f"least_jacobian must lie between 0 and 1, got {least_jacobian}")
    cells, start = mesh.world_elements, mesh.nodes_mm
    edge = float(mesh.grid.spacing_mm.min())
    outer = np.bincount(cells.ravel(), minlength=len(start)) < 8
    skin = _skin(cells)
    nodes = start
    for _ in range(ROUNDS):
        even = 0.5 * nodes + 0.5 * _mean_around(nodes, skin)
        move = np.zeros_like(start)
        move[outer] = _on_surface(even[outer], start[outer], surface, REACH * edge) - nodes[outer]
        move = _inner_follow(move, cells, outer)
        nodes = nodes + _allowed(nodes, move, cells, least_jacobian)[:, None] * move
    off = np.abs(surface.at(nodes[outer]))
    if float(np.median(off)) > edge:
        raise InputError(
            f"the surface lies {np.median(off):.1f} mm from the mesh's outer nodes: they don't "
            "belong together"
        )
    return SmoothBricks(
        nodes,
        cells,
        mesh.element_region,
        mesh.names,
        float(corner_jacobians(nodes, cells).min()),
        float(np.linalg.norm(nodes - start, axis=1).max()),
        float(off.mean()),
        float(np.mean(off > 0.1 * edge)),
    )


def corner_jacobians(nodes_mm: Float, cells: Int) -> Float:
    """Scaled Jacobians of hexahedra at their corners, 1 for a cube, (n, 8).

    Of the unit vectors along the three edges (Knupp, Finite Elem Anal Des 2003;39:217-241).
    """
    x = nodes_mm[cells]
    edges = x[:, NEIGHBOURS] - x[:, :, None]
    edges /= np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), 1e-300)
    return np.asarray(np.linalg.det(edges))


def volumes_mm3(nodes_mm: Float, cells: Int) -> Float:
    """Volume of trilinear hexahedra, (n,), exact by 2x2x2 Gauss points."""
    g = BRICK_CORNERS * 2.0 - 1
    total = np.zeros(len(cells))
    x = nodes_mm[cells]
    for point in g / np.sqrt(3):
        one = 1 + g * point
        slope = g / 8 * np.stack(
            [one[:, 1] * one[:, 2], one[:, 0] * one[:, 2], one[:, 0] * one[:, 1]], axis=1
        )  # fmt: skip
        total += np.linalg.det(np.einsum("nia,ib->nab", x, slope))
    return total


def _skin(cells: Int) -> Int:
    """Faces of one element only, (m, 4)."""
    every = cells[:, FACES].reshape(-1, 4)
    _, first, count = np.unique(
        np.sort(every, axis=1), axis=0, return_index=True, return_counts=True
    )
    return np.asarray(every[first[count == 1]])


def _mean_around(nodes: Float, quads: Int) -> Float:
    """Mean of the centres of the faces about each node; nodes without faces stay."""
    n, centre = len(nodes), nodes[quads].mean(axis=1)
    total = np.stack([np.bincount(quads.ravel(), np.repeat(c, 4), n) for c in centre.T], axis=1)
    count = np.bincount(quads.ravel(), minlength=n)[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), nodes)


def _on_surface(points: Float, start: Float, surface: DistanceField, reach: float) -> Float:
    """Nearest place on the zero level, at most `reach` from the start."""
    out, h = points.copy(), 0.5 * float(surface.grid.spacing_mm.min())
    for _ in range(5):
        slope = np.stack(
            [
                (surface.at(out + h * e).astype(float) - surface.at(out - h * e)) / (2 * h)
                for e in np.eye(3)
            ],
            axis=-1,
        )
        square = np.maximum((slope**2).sum(axis=-1, keepdims=True), 0.1)
        out = out - surface.at(out)[:, None] * slope / square
        moved = out - start
        length = np.linalg.norm(moved, axis=-1, keepdims=True)
        out = start + moved * np.minimum(1.0, reach / np.maximum(length, 1e-12))
    return out


def _inner_follow(move: Float, cells: Int, outer: Mask) -> Float:
    """Spread the moves of the outer nodes inward, half of them to each layer."""
    n = len(move)
    for _ in range(INNER_ROUNDS):
        mean = move[cells].mean(axis=1)
        total = np.stack([np.bincount(cells.ravel(), np.repeat(m, 8), n) for m in mean.T], axis=1)
        count = np.bincount(cells.ravel(), minlength=n)[:, None]
        move = np.where(outer[:, None], move, total / np.maximum(count, 1))
    return move


def _allowed(start: Float, move: Float, cells: Int, least: float) -> Float:
    """Largest part of each node's move, halved and halved again, that keeps elements good."""
    scale = np.ones(len(start))
    for attempt in range(HALVINGS + 40):
        nodes = start + scale[:, None] * move
        bad = corner_jacobians(nodes, cells).min(axis=1) < least
        if not bad.any():
            break
        at = np.unique(cells[bad])
        scale[at] = 0.5 * scale[at] if attempt < HALVINGS else 0.0
    return scale

"""The outer surface of a voxel mesh, painted in perspective-free 3-D by matplotlib alone.

Why not VTK: without a display it needs EGL or OSMesa from the system, picks one at run time, and
where that fails it may end the whole process. A run must not die of its picture, and the picture
should be the same on a laptop and on a cluster node. The surface of a bone at 1 to 2 mm is some
ten thousand small faces; sorted by depth and shaded they need no z-buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray
from scipy import sparse

from bonekit.figures.canvas import Size, frame, roomy
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BONE = (0.89, 0.86, 0.79)
AVERAGED = 4  # rounds in which a normal is averaged with its neighbours'

# Outward faces of a brick by its corners, and the step to the brick beyond.
FACES = (
    ((0, 4, 7, 3), (-1, 0, 0)),
    ((1, 2, 6, 5), (1, 0, 0)),
    ((0, 1, 5, 4), (0, -1, 0)),
    ((3, 7, 6, 2), (0, 1, 0)),
    ((0, 3, 2, 1), (0, 0, -1)),
    ((4, 5, 6, 7), (0, 0, 1)),
)


@dataclass(frozen=True)
class View:
    """A direction to look at the mesh from; vectors in mesh axes.

    Parameters
    ----------
    name : str
    right, up : tuple of float, (3,)
        Unit vectors to the picture's right and up; their cross product points to the viewer.
    """

    name: str
    right: tuple[float, float, float]
    up: tuple[float, float, float]

    @property
    def axes(self) -> Float:
        """Right, up and towards the viewer as columns, (3, 3)."""
        return np.column_stack([self.right, self.up, np.cross(self.right, self.up)])


# For mesh axes that run left, back and up.
FRONT = View("From the front", (1, 0, 0), (0, 0, 1))
BACK = View("From behind", (-1, 0, 0), (0, 0, 1))
LEFT = View("From the left", (0, 1, 0), (0, 0, 1))
RIGHT = View("From the right", (0, -1, 0), (0, 0, 1))


@dataclass(frozen=True, eq=False)
class Shell:
    """Quadrilaterals between bone and void.

    Parameters
    ----------
    points_mm : ndarray, (n_points, 3)
        Along mesh axes, smoothed.
    quads : ndarray of int, (n_quads, 4)
        Counter-clockwise seen from outside.
    element : ndarray of int, (n_quads,)
        Element under each quad.
    node : ndarray of int, (n_points,)
        Mesh node of each point.
    """

    points_mm: Float
    quads: Int
    element: Int
    node: Int

    @cached_property
    def flat_normals(self) -> Float:
        """Outward vector of each quad, its length twice the area, (n_quads, 3)."""
        a, b, c, d = np.moveaxis(self.points_mm[self.quads], 1, 0)
        return np.asarray(np.cross(c - a, d - b))

    @cached_property
    def normals(self) -> Float:
        """Unit outward normal of each quad, averaged with its neighbours', (n_quads, 3)."""
        normals = self.flat_normals
        for _ in range(AVERAGED):
            point = np.zeros_like(self.points_mm)
            for corner in range(4):
                np.add.at(point, self.quads[:, corner], normals)
            normals = point[self.quads].sum(axis=1)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.asarray(normals / np.maximum(length, 1e-12))

    def on(self, nodes: NDArray[Any]) -> NDArray[np.bool_]:
        """Quads with at least three corners in a set of mesh nodes, (n_quads,)."""
        return np.asarray(np.isin(self.node, nodes)[self.quads].sum(axis=1) >= 3)

    def panel_mm(self, view: View) -> Size:
        """Width and height that a view needs."""
        flat = self.points_mm @ view.axes[:, :2]
        return roomy(*np.ptp(flat, axis=0).tolist())


def shell(mesh: VoxelMesh, smoothing: int = 30) -> Shell:
    """Find the outer faces of a mesh and smooth the steps away.

    Parameters
    ----------
    mesh : VoxelMesh
    smoothing : int
        Rounds of Taubin's smoothing (SIGGRAPH 1995), which keeps the size of the bone; for the
        eye only.
    """
    bone = np.pad(mesh.mask, 1)
    quads, element = [], []
    for corners, step in FACES:
        beyond = mesh.element_ijk + 1 + np.array(step)
        outer = np.flatnonzero(~bone[tuple(beyond.T)])
        quads.append(mesh.elements[outer][:, corners])
        element.append(outer)
    node, local = np.unique(np.concatenate(quads), return_inverse=True)
    local = local.reshape(-1, 4)
    points = mesh.node_ijk[node] * mesh.grid.spacing_mm
    return Shell(_smooth(points, local, smoothing), local, np.concatenate(element), node)


def _smooth(points: Float, quads: Int, rounds: int) -> Float:
    start, end = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    ones = np.ones(2 * len(start))
    links = sparse.csr_array(
        (ones, (np.r_[start, end], np.r_[end, start])), shape=(len(points), len(points))
    )
    mean = sparse.diags_array(1 / np.asarray(links.sum(axis=1))) @ links
    for _ in range(rounds):
        for weight in (0.5, -0.53):
            points = points + weight * (mean @ points - points)
    return points


def paint(
    axes: Axes,
    surface: Shell,
    view: View,
    colour: Float | None = None,
    ambient: float = 0.42,
) -> None:
    """Paint a shell, the far faces first, lit from the upper left behind the viewer.

    Parameters
    ----------
    axes : Axes
        Its units become mm along the view's right and up.
    surface : Shell
    view : View
    colour : ndarray, (n_quads, 3), optional
        Red, green, blue in 0..1; bone by default.
    ambient : float
        Share of the light that has no direction; more of it keeps colours true.
    """
    facing = np.flatnonzero(surface.flat_normals @ view.axes[:, 2] > 0)
    seen = surface.points_mm @ view.axes
    depth = seen[:, 2][surface.quads[facing]].mean(axis=1)
    order = facing[np.argsort(depth)]
    base = np.broadcast_to(BONE, (len(surface.quads), 3)) if colour is None else colour
    light = np.array([-0.42, 0.46, 0.78])
    lit = np.clip(surface.normals[order] @ view.axes @ light, 0, 1)
    nearness = (np.sort(depth) - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    shade = (ambient + (1.04 - ambient) * lit) * (0.86 + 0.14 * nearness)
    faces = np.clip(base[order] * shade[:, None], 0, 1)
    flat = seen[:, :2]
    axes.add_collection(
        PolyCollection(list(flat[surface.quads[order]]), facecolors=faces, edgecolors=faces, lw=0.5)
    )
    middle = (flat.max(axis=0) + flat.min(axis=0)) / 2
    width, height = surface.panel_mm(view)
    frame(
        axes,
        (middle[0] - width / 2, middle[0] + width / 2),
        (middle[1] - height / 2, middle[1] + height / 2),
    )

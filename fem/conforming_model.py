"""Parts of a model: elastic supports, pressure on faces, and a mesh of hexahedra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_legendre

from bonekit.errors import InputError
from bonekit.fem.model import Load, Mesh, Model

ConformingModel: TypeAlias = Model[Mesh]  # a model on any mesh, by its former name

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ElasticSupport:
    """Springs between a named set of nodes and the ground.

    Parameters
    ----------
    name : str
    nodes : ndarray of int, (n,)
    stiffness_N_mm : ndarray of float, (n, 3), (3,), or a scalar
        Of each node along each mesh axis, 0 or more.

    Raises
    ------
    InputError
        If a stiffness is negative or not a number, or there are too many.
    """

    name: str
    nodes: Int
    stiffness_N_mm: Float | float

    def __post_init__(self) -> None:
        try:
            k = np.broadcast_to(np.asarray(self.stiffness_N_mm, float), (len(self.nodes), 3))
        except ValueError:
            raise InputError(
                f"elastic support {self.name!r}: stiffness of shape "
                f"{np.shape(self.stiffness_N_mm)} for {len(self.nodes)} nodes; it must be one "
                "number, three, or three for each node"
            ) from None
        if not (np.isfinite(k) & (k >= 0)).all():
            raise InputError(f"elastic support {self.name!r} has a stiffness that is not 0 or more")


@dataclass(frozen=True, eq=False)
class HexMesh:
    """Hexahedra in the world.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
    elements : ndarray of int, (n_elements, 8)
        In VTK_HEXAHEDRON and Abaqus C3D8 order.
    """

    nodes_mm: Float
    elements: Int

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes_mm)

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return len(self.elements)


# Reference coordinates of the nodes of a face, by their number, in VTK order.
_TRIANGLE = np.array([(0, 0), (1, 0), (0, 1), (0.5, 0), (0.5, 0.5), (0, 0.5)])


def pressure_load(name: str, nodes_mm: Float, faces: Int, pressure_MPa: ArrayLike) -> Load:
    """Give the forces of a pressure on faces of elements, consistent with their shape functions.

    Parameters
    ----------
    name : str
    nodes_mm : ndarray of float, (n_nodes, 3)
        In mesh axes.
    faces : ndarray of int, (f, 3, 4 or 6)
        Nodes, counter-clockwise seen from outside; of six the middles of 01, 12, 20 last.
    pressure_MPa : array_like of float, scalar or (f,)
        Positive pushes onto the body.

    Raises
    ------
    InputError
        If faces have another number of nodes.
    """
    points, weights = _face_rule(faces.shape[1])
    shape, slope = _face_shape(faces.shape[1], points)
    x = nodes_mm[faces]
    tangent = np.einsum("qkr,fkx->fqrx", slope, x)
    area = np.cross(tangent[:, :, 0], tangent[:, :, 1])  # outward, (f, q, 3)
    p = np.broadcast_to(np.asarray(pressure_MPa, float), len(faces))
    force = -np.einsum("f,q,qk,fqx->fkx", p, weights, shape, area)
    nodes, place = np.unique(faces, return_inverse=True)
    total = np.zeros((len(nodes), 3))
    np.add.at(total, place.ravel(), force.reshape(-1, 3))
    return Load(name, nodes, total)


def _face_rule(n_nodes: int) -> tuple[Float, Float]:
    """Points, (q, 2), and weights: exact to degree 4, on a triangle folded from the square."""
    g, w = roots_legendre(3)
    a, b = (m.ravel() for m in np.meshgrid((g + 1) / 2, (g + 1) / 2, indexing="ij"))
    weights = np.outer(w, w).ravel() / 4
    if n_nodes == 4:
        return np.column_stack([a, b]), weights
    return np.column_stack([a, b * (1 - a)]), weights * (1 - a)


def _face_shape(n_nodes: int, points: Float) -> tuple[Float, Float]:
    """Shape functions, (q, k), and slopes, (q, k, 2): the polynomial basis through the nodes."""
    if n_nodes == 4:
        nodes, powers = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]), [(0, 0), (1, 0), (0, 1), (1, 1)]
    elif n_nodes in (3, 6):
        nodes = _TRIANGLE[:n_nodes]
        powers = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)][:n_nodes]
    else:
        raise InputError(f"faces have 3, 4 or 6 nodes, got {n_nodes}")
    inverse = np.linalg.inv(np.stack([nodes[:, 0] ** i * nodes[:, 1] ** j for i, j in powers], 1))
    x, y = points.T
    value = np.stack([x**i * y**j for i, j in powers], 1)
    along_x = np.stack([i * x ** max(i - 1, 0) * y**j for i, j in powers], 1)
    along_y = np.stack([j * x**i * y ** max(j - 1, 0) for i, j in powers], 1)
    return value @ inverse, np.stack([along_x @ inverse, along_y @ inverse], axis=-1)

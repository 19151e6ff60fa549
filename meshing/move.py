"""Nodes brought onto the surfaces of shapes, and no element spoilt by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.elements import fitness
from bonekit.meshing.lattice import Parts, edge_numbers, volumes
from bonekit.meshing.levelset import interfaces, on_surfaces
from bonekit.meshing.shapes import Shape

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

HALVED = 3  # times that a way is halved before its node stays
LIFT_VOXELS = 0.3  # most that a node goes beyond its surface so that the faces about it fit


def projected(
    points: Float,
    on: Mask,
    shapes: Sequence[Shape],
    most_mm: float,
    lift_mm: Float | None = None,
) -> Float:
    """Nearest points on the surfaces that each point should lie on, by Newton steps.

    Parameters
    ----------
    points : ndarray of float, (n, 3)
    on : ndarray of bool, (n, n_shapes)
        Several at once mean their common line or point.
    shapes : sequence of Shape
    most_mm : float
        Longest way a point may go.
    lift_mm : ndarray of float, (n, n_shapes), optional
        Value of each field at which a point should lie, instead of zero.
    """
    which = np.flatnonzero(on.any(axis=1))
    x = points[which].copy()
    for _ in range(3):
        value, slope = np.zeros((len(x), len(shapes))), np.zeros((len(x), len(shapes), 3))
        for k, shape in enumerate(shapes):
            here = on[which, k]
            value[here, k] = shape.at(x[here])
            if lift_mm is not None:
                value[here, k] -= lift_mm[which[here], k]
            slope[here, k] = shape.gradient(x[here])
        x -= _least_step(value, slope, 0.5 * most_mm)
    way = x - points[which]
    length = np.linalg.norm(way, axis=1, keepdims=True)
    out = points.copy()
    out[which] += way * np.minimum(1.0, most_mm / np.maximum(length, 1e-12))
    return out


def _least_step(value: Float, slope: Float, most: float) -> Float:
    """Shortest steps that make linear fields zero; damped where slopes are nearly parallel."""
    square = np.einsum("nki,nli->nkl", slope, slope)
    damping = 0.02 * np.maximum(np.trace(square, axis1=1, axis2=2), 0.1)
    square += damping[:, None, None] * np.eye(value.shape[1])
    weight = np.linalg.solve(square, value[..., None])
    step = np.einsum("nki,nkj->ni", slope, weight)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, most / np.maximum(length, 1e-12)))


def moved(nodes: Float, tetrahedra: Int, target: Float, least: float = 1.0) -> Float:
    """Move nodes towards targets as far as no element falls below a fitness it had.

    Parameters
    ----------
    nodes, target : ndarray of float, (n, 3)
    tetrahedra : ndarray of int, (m, 4)
    least : float
        An element may get worse down to this fitness; one that is below it may not get worse.
    """
    way = target - nodes
    share = (np.abs(way).max(axis=1) > 0).astype(np.float64)
    rows = tetrahedra[share[tetrahedra].any(axis=1)]
    floor = np.minimum(fitness(nodes, rows), least) - 1e-9
    todo = np.arange(len(rows))
    attempt = 0
    while todo.size:
        bad = todo[fitness(nodes + share[:, None] * way, rows[todo]) < floor[todo]]
        held = np.zeros(len(nodes), dtype=bool)
        held[rows[bad]] = True
        share[held] *= 0.5 if attempt < HALVED else 0.0
        # What no node of has changed its way is as it was found.
        todo = np.flatnonzero(held[rows].any(axis=1))
        attempt += 1
    return np.asarray(nodes + share[:, None] * way)


def smoothed(nodes: Float, tetrahedra: Int, on: Mask) -> Float:
    """Means of neighbours: of all for a node inside, along the same surfaces for one on them."""
    edges, _ = edge_numbers(tetrahedra)
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    valid = ~(on[a] & ~on[b]).any(axis=1)  # the neighbour lies on all surfaces of the node
    a, b = a[valid], b[valid]
    count = np.bincount(a, minlength=len(nodes))
    total = np.stack([np.bincount(a, nodes[b, k], len(nodes)) for k in range(3)], axis=1)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], nodes)


@dataclass(frozen=True, eq=False)
class Fit:
    """Tetrahedra and the shapes that they follow.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    shapes : list of Shape
        Of the body, and of the regions in the order of their cuts.
    lift_mm : ndarray of float, (n_nodes, n_shapes)
        How far beyond a surface each node is, so that the faces about it lie on the mean on it.
    """

    parts: Parts
    shapes: list[Shape]
    lift_mm: Float

    @property
    def surfaces(self) -> tuple[Int, Int]:
        """Corners (f, 3) of the faces of interfaces, and the surface that each lies on."""
        order = tuple(shape.value for shape in self.shapes[1:])
        return interfaces(self.parts[1], self.parts[2], order)


def fitted(fit: Fit, rounds: int, most_mm: float, relax: float = 0.0) -> Fit:
    """Bring interfaces onto their shapes and volumes to those of the labels.

    Flat faces cut corners of what is round: nodes are lifted until the faces fit in the mean, and
    the levels of the shapes move until they hold the volumes.

    Parameters
    ----------
    fit : Fit
    rounds : int
    most_mm : float
        Longest way of a node in one round.
    relax : float
        Part of the way to the mean of its neighbours, along its surfaces, that each node goes.
    """
    nodes, tetrahedra, reference = fit.parts
    corners, surface = fit.surfaces
    on = on_surfaces(len(nodes), corners, surface, len(fit.shapes))
    shapes, lift = fit.shapes, fit.lift_mm
    for turn in range(rounds):
        aim = nodes + relax * (smoothed(nodes, tetrahedra, on) - nodes) if relax else nodes
        nodes = moved(nodes, tetrahedra, projected(aim, on, shapes, most_mm, lift))
        if turn < rounds - 1:
            if relax:
                lift = _lifted(lift, nodes, shapes, corners, surface)
            each = volumes(nodes, tetrahedra)
            shapes = levelled(shapes, nodes, each, reference, (corners, surface))
    return Fit((nodes, tetrahedra, reference), shapes, lift)


def _lifted(lift: Float, nodes: Float, shapes: list[Shape], corners: Int, surface: Int) -> Float:
    """Move the aim of each node by what the faces about it lie beside their surface.

    Flat faces between nodes on a curved surface lie inside of it. A face's mean distance is that
    of the middles of its edges, which is exact up to second order.
    """
    out = lift.copy()
    for k, shape in enumerate(shapes):
        face = corners[surface == k]
        x = nodes[face]
        middle = (x + np.roll(x, -1, axis=1)) / 2
        beside = shape.at(middle.reshape(-1, 3)).reshape(-1, 3).mean(axis=1)
        total = np.bincount(face.ravel(), np.repeat(beside, 3), len(nodes))
        count = np.bincount(face.ravel(), minlength=len(nodes))
        most = LIFT_VOXELS * float(shape.field.grid.spacing_mm.min())
        out[:, k] = np.clip(lift[:, k] - total / np.maximum(count, 1), -most, most)
    return out


def levelled(
    shapes: list[Shape], nodes: Float, each_mm3: Float, reference: Int, surfaces: tuple[Int, Int]
) -> list[Shape]:
    """Shapes with levels moved by what their volumes lack, over their surface."""
    corners, surface = surfaces
    a, b, c = np.moveaxis(nodes[corners], 1, 0)
    area = np.bincount(
        surface, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2, minlength=len(shapes)
    )
    out = []
    for k, shape in enumerate(shapes):
        has = each_mm3.sum() if k == 0 else each_mm3[reference == shape.value].sum()
        most = 0.15 * float(shape.field.grid.spacing_mm.min())
        lack = (shape.volume_mm3 - has) / max(area[k], 1e-9)
        out.append(shape.moved(float(np.clip(lack, -most, most))))
    return out

"""Smoothing of surfaces from voxels: bounded, and with the volumes of the voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import MeshQualityError
from bonekit.meshing.triangles import area_vectors, edges

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Labels = NDArray[np.uint8]

BOUND = 0.5  # voxels: how far smoothing may move a node
STEPS = (0.5, -0.51)  # of a pass: shrink, then swell (Taubin, SIGGRAPH 1995; the numbers are ours)


@dataclass(frozen=True)
class Smoothing:
    """What smoothing did to the nodes of surfaces.

    Parameters
    ----------
    largest_voxels : float
        How far a node moved, each component in voxels along its axis; half a voxel is allowed.
    largest_mm, median_mm : float
        How far nodes moved.
    held : float
        Part of the nodes that the bound held back.
    volume_change : mapping of str to float
        Of each region, relative to its voxels.

    Raises
    ------
    MeshQualityError
        If a node moved by more than half a voxel.
    """

    largest_voxels: float
    largest_mm: float
    median_mm: float
    held: float
    volume_change: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.largest_voxels > BOUND * (1 + 1e-9):
            raise MeshQualityError(
                f"smoothing moved a node by {self.largest_voxels:.3f} voxels; {BOUND} are allowed"
            )


def smoothed(start: Float, triangles: Int, passes: int, bound_mm: Float) -> Float:
    """Taubin's passes, each node kept within half a voxel, an ellipsoid, about its start."""
    a, b = edges(triangles)[0].T
    count = np.bincount(np.concatenate([a, b]), minlength=len(start))[:, None]
    points = start
    for _ in range(passes):
        for step in STEPS:
            total = np.zeros_like(points)
            np.add.at(total, a, points[b])
            np.add.at(total, b, points[a])
            points = points + step * (total / np.maximum(count, 1) - points)
        points = _within(points, start, bound_mm)
    return points


def _within(points: Float, start: Float, bound_mm: Float) -> Float:
    moved = points - start
    part = np.linalg.norm(moved / bound_mm, axis=1, keepdims=True)
    return np.asarray(start + moved / np.maximum(part, 1.0))


def measured(
    points: Float,
    start: Float,
    triangles: Int,
    sides: Labels,
    want: Mapping[int, float],
    names: Mapping[int, str],
    bound_mm: Float,
) -> Smoothing:
    """Measure how far nodes moved and how far off the volumes are."""
    moved = np.linalg.norm(points - start, axis=1)
    got = volumes(points, triangles, sides, list(want))
    part = np.linalg.norm((points - start) / bound_mm, axis=1)
    return Smoothing(
        BOUND * float(part.max()),
        float(moved.max()),
        float(np.median(moved)),
        float(np.mean(part > 0.999)),
        {names[v]: float(g / want[v] - 1) for v, g in zip(want, got, strict=True)},
    )


def volumes(points: Float, triangles: Int, sides: Labels, values: list[int]) -> Float:
    """Volume of each region by the divergence theorem."""
    middle = points.mean(axis=0)
    a, b, c = np.moveaxis(points[triangles] - middle, 1, 0)
    each = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    return np.array([each[sides[:, 0] == v].sum() - each[sides[:, 1] == v].sum() for v in values])


def with_volumes(
    points: Float,
    start: Float,
    triangles: Int,
    sides: Labels,
    want: Mapping[int, float],
    bound_mm: Float,
) -> Float:
    """Move each interface along its normals until all regions have their volumes.

    The smallest such moves, each times the area of its interface; nodes at the bound stay.
    """
    values = list(want)
    pairs, which = np.unique(sides, axis=0, return_inverse=True)
    which = np.asarray(which).ravel()
    sign = np.array([[(p[0] == v) * 1.0 - (p[1] == v) for p in pairs] for v in values])
    for _ in range(8):
        vector = area_vectors(points, triangles)
        wrong = np.array(list(want.values())) - volumes(points, triangles, sides, values)
        area = np.bincount(which, np.linalg.norm(vector, axis=1), minlength=len(pairs))
        # minimise sum(area * move^2) subject to sign @ (area * move) = wrong
        move = sign.T @ np.linalg.lstsq((sign * area) @ sign.T, wrong, rcond=None)[0]
        shift, weight = np.zeros_like(points), np.zeros(len(points))
        for corner in range(3):
            np.add.at(shift, triangles[:, corner], vector * move[which][:, None])
            np.add.at(weight, triangles[:, corner], np.linalg.norm(vector, axis=1))
        points = _within(points + shift / np.maximum(weight, 1e-12)[:, None], start, bound_mm)
    return points

"""How coarse elements may be where surfaces bend: chords that stay close to what they span."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.image.volume import LabelMap
from bonekit.meshing.distance import DistanceField
from bonekit.meshing.shapes import Shape
from bonekit.meshing.sizing import grown

Float = NDArray[np.float64]

SHORTER = 0.8  # between two lengths that are tried
DIRECTIONS = np.radians([0, 45, 90, 135])  # of the chords, in the plane that touches the surface


def bent(
    size: DistanceField, shapes: Sequence[Shape], labels: LabelMap, sag_voxels: float
) -> DistanceField:
    """Shorten edges where a chord of their length would leave its surface by more than allowed.

    Parameters
    ----------
    size : DistanceField
        Wanted edge length.
    shapes : sequence of Shape
        The body and its regions.
    labels : LabelMap
        Of the bone alone.
    sag_voxels : float
        Most that the middle of a chord may be beside the surface that its ends are on, in voxels
        as wide as they are in that direction.
    """
    values = size.values.copy()
    last = np.array(size.grid.shape) - 1
    for shape in shapes:
        points = surface_points(shape, labels)
        length = _shortened(points, size.at(points).astype(np.float64), shape, labels, sag_voxels)
        at = np.clip(np.rint(size.grid.index(points)).astype(int), 0, last)
        np.minimum.at(values, tuple(at.T), length.astype(np.float32))
    return DistanceField(grown(values, size.grid), size.grid)


def surface_points(shape: Shape, labels: LabelMap) -> Float:
    """One point in each voxel that the surface of a region goes through, (n, 3)."""
    grid = shape.field.grid
    near = np.abs(shape.field.values - shape.level_mm) < 0.6 * grid.spacing_mm.min()
    points = grid.world(np.argwhere(near))
    own = labels.array > 0 if shape.value == 0 else labels.array == shape.value
    own = ndimage.binary_dilation(own, np.ones((3, 3, 3), dtype=bool))
    at = np.clip(np.rint(labels.grid.index(points)).astype(int), 0, np.array(labels.shape) - 1)
    points = points[own[tuple(at.T)]]
    slope = shape.gradient(points)
    square = np.maximum((slope**2).sum(axis=1), 0.1)
    return np.asarray(points - (shape.at(points) / square)[:, None] * slope)


def _shortened(
    points: Float, length: Float, shape: Shape, labels: LabelMap, sag_voxels: float
) -> Float:
    """Lengths of chords about points, as long as they are allowed to be, (n,)."""
    least = float(labels.spacing_mm.min())
    normal = shape.gradient(points)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    per_mm = np.linalg.norm(normal @ labels.grid.direction / labels.spacing_mm, axis=1)
    todo = np.flatnonzero(length > least)
    while todo.size:
        sag = chord_sag(points[todo], length[todo], shape)
        todo = todo[sag * per_mm[todo] > sag_voxels]
        length[todo] = np.maximum(SHORTER * length[todo], least)
        todo = todo[length[todo] > least]
    return length


def chord_sag(points: Float, length: Float, shape: Shape) -> Float:
    """How far the surface leaves chords of a length about its points, at the worst, (n,)."""
    slope = shape.gradient(points)
    steep = np.maximum(np.linalg.norm(slope, axis=1), 0.3)
    least = np.eye(3)[np.abs(slope).argmin(axis=1)]
    first = np.cross(slope, least)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    second = np.cross(slope, first) / steep[:, None]
    here, worst = shape.at(points), np.zeros(len(points))
    for angle in DIRECTIONS:
        half = length[:, None] / 2 * (np.cos(angle) * first + np.sin(angle) * second)
        ends = (shape.at(points + half) + shape.at(points - half)) / 2
        worst = np.maximum(worst, np.abs(ends - here) / steep)
    return worst

"""Signed distances of simple solids, smooth unions, and smooth random fields.

Points are arrays of shape (3, n) in mm; a signed distance is negative inside. Every function is
vectorised over the points and keeps float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]


def dot(p: Array, direction: ArrayLike) -> Array:
    """Component of points (3, n) along a direction (3,), (n,)."""
    a, b, c = np.asarray(direction, dtype=np.float32)
    return np.asarray(a * p[0] + b * p[1] + c * p[2])


def moved(p: Array, origin: ArrayLike) -> Array:
    """Points (3, n) seen from an origin (3,)."""
    return p - np.asarray(origin, dtype=np.float32)[:, None]


def norm(p: Array) -> Array:
    """Length of vectors (3, n), (n,)."""
    return np.asarray(np.sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]))


def smoothstep(value: Array, start: float, stop: float) -> Array:
    """Rise from 0 at `start` to 1 at `stop` with zero slope at both (`start` may be the larger)."""
    t = np.clip((value - np.float32(start)) / np.float32(stop - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def bell(distance: Array, width_mm: float) -> Array:
    """Gaussian of a distance with standard deviation `width_mm`, 1 at zero."""
    return np.asarray(np.exp(np.float32(-0.5 / width_mm**2) * distance * distance))


def smooth_union(a: Array, b: Array, fillet_mm: float) -> Array:
    """Union of two solids with a fillet: the quadratic smooth minimum.

    Equal to ``min(a, b)`` where the two differ by more than `fillet_mm`.
    """
    blend = np.maximum(np.float32(fillet_mm) - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - blend * blend * np.float32(0.25 / fillet_mm))


def smooth_intersection(a: Array, b: Array, fillet_mm: float) -> Array:
    """Intersection of two solids with a rounded edge."""
    return -smooth_union(-a, -b, fillet_mm)


def sphere(p: Array, centre: ArrayLike, radius_mm: float) -> Array:
    """Signed distance to a ball."""
    return norm(moved(p, centre)) - np.float32(radius_mm)


def radial(reach: Array, level: Array, inner_mm: float) -> Array:
    """Distance along the ray from a centre to the surface where a homogeneous `level` is 1.

    `reach` is the distance from the centre, `inner_mm` the depth of the centre itself.
    """
    ray = reach * (1 - 1 / np.maximum(level, np.float32(1e-6)))
    return np.asarray(np.where(level > 1e-6, ray, -inner_mm), dtype=np.float32)


def ellipsoid(p: Array, centre: ArrayLike, radii_mm: ArrayLike) -> Array:
    """Distance to an ellipsoid along the ray from its centre (exact sign, exact for a ball)."""
    offset = moved(p, centre)
    reach = norm(offset)
    level = norm(offset / np.asarray(radii_mm, dtype=np.float32)[:, None])
    return radial(reach, level, float(np.min(radii_mm)))


def segment(p: Array, start: ArrayLike, stop: ArrayLike) -> tuple[Array, Array]:
    """Distance to a segment, and the position 0..1 of the nearest point on it."""
    axis = np.asarray(stop, dtype=np.float64) - np.asarray(start, dtype=np.float64)
    offset = moved(p, start)
    t = np.clip(dot(offset, axis / (axis @ axis)), 0, 1)
    return norm(offset - t * axis.astype(np.float32)[:, None]), t


def cone(p: Array, start: ArrayLike, stop: ArrayLike, radius_mm: float, end_mm: float) -> Array:
    """Signed distance to a round-ended cone between two points (radii at start and stop).

    The distance is measured from the axis: too large by 1 % at a taper of 1:7.
    """
    distance, t = segment(p, start, stop)
    return distance - (np.float32(radius_mm) + np.float32(end_mm - radius_mm) * t)


def box(
    p: Array,
    centre: ArrayLike,
    axes: NDArray[np.float64],
    half_mm: ArrayLike,
    round_mm: float,
) -> Array:
    """Signed distance to a rounded box with unit axes as columns (3, 3) and half sizes (3,)."""
    offset, half = moved(p, centre), np.asarray(half_mm, dtype=np.float32)
    q = np.stack([np.abs(dot(offset, axes[:, i])) - half[i] for i in range(3)])
    q += np.float32(round_mm)
    inside = np.minimum(q.max(axis=0), 0)
    return np.asarray(norm(np.maximum(q, 0)) + inside - np.float32(round_mm))


def flattened(p: Array, axis: ArrayLike, centre: ArrayLike, ratio: float) -> Array:
    """Stretch space along a unit axis through a centre: a solid drawn there becomes flatter.

    `ratio` below 1 is the solid's remaining size along the axis.
    """
    stretch = np.float32(1 / ratio - 1) * dot(moved(p, centre), axis)
    return p + stretch * np.asarray(axis, dtype=np.float32)[:, None]


def rotation(x_deg: float, y_deg: float, z_deg: float) -> NDArray[np.float64]:
    """Rotation matrix Rx @ Ry @ Rz, (3, 3)."""
    (cx, sx), (cy, sy), (cz, sz) = (
        (np.cos(a), np.sin(a)) for a in np.radians([x_deg, y_deg, z_deg])
    )
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rx @ ry @ rz)


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field of zero mean and unit variance: a sum of plane waves.

    Parameters
    ----------
    vectors : ndarray, (m, 3)
        Wave vectors in rad/mm.
    phases : ndarray, (m,)
    """

    vectors: Array
    phases: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, shortest_mm: float, longest_mm: float) -> Waves:
        """Draw eight waves in random directions with lengths between two bounds."""
        directions = rng.normal(size=(8, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(shortest_mm, longest_mm, size=(8, 1))
        phases = rng.uniform(0, 2 * np.pi, size=8)
        vectors = 2 * np.pi * directions / lengths
        return cls(vectors.astype(np.float32), phases.astype(np.float32))

    def __call__(self, p: Array) -> Array:
        """Field at points (3, n), (n,)."""
        waves = np.cos(self.vectors @ p + self.phases[:, None])
        return np.asarray(waves.sum(axis=0) * np.float32(np.sqrt(2 / len(self.phases))))

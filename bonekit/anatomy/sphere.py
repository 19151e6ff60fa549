"""Spheres and evenly spread directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def directions(n: int) -> Float:
    """`n` unit vectors spread evenly over the sphere (Fibonacci lattice), (n, 3)."""
    i = np.arange(n) + 0.5
    polar, turn = np.arccos(1 - 2 * i / n), np.pi * (1 + 5**0.5) * i
    return np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1
    )


def robust_sphere(points: Float) -> tuple[Float, float, Float]:
    """Least-squares sphere, points (n, 3) reweighted ten times by the Cauchy function (1 mm).

    Returns centre, radius, and the points' distances from the sphere (positive outside).
    """
    weight = np.ones(len(points))
    system = np.column_stack([2 * points, np.ones(len(points))])
    square = (points**2).sum(axis=1)
    for _ in range(10):
        x = np.linalg.lstsq(system * weight[:, None], square * weight, rcond=None)[0]
        centre = x[:3]
        radius = float(np.sqrt(max(x[3] + centre @ centre, 0.0)))
        distance = np.linalg.norm(points - centre, axis=1) - radius
        weight = 1.0 / np.sqrt(1.0 + distance**2)
    return centre, radius, distance

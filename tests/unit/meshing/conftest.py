"""An ellipsoid of known volume with a cortex and a lesion that reaches its surface."""

from collections.abc import Callable

import numpy as np
import pytest

from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

CENTRE = np.array([3.0, -40.0, 120.0])
RADII = np.array([20.0, 14.0, 30.0])
TURN = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
THICK = (0.98, 0.98, 3.27)
AXES = {
    "cubic": ((1.0, 1.0, 1.0), np.eye(3)),
    "thick": (THICK, np.eye(3)),
    "flipped": (THICK, np.diag([-1.0, -1.0, 1.0])),
    "mirrored": (THICK, np.diag([-1.0, 1.0, 1.0])),
    "oblique": (THICK, TURN),
}
VOLUME_MM3 = 4 / 3 * np.pi * RADII.prod()


def ellipsoid(spacing: tuple[float, ...], axes: np.ndarray, lesion: bool = True) -> LabelMap:
    shape = tuple(int(80 / s) for s in spacing)
    origin = CENTRE - axes @ (np.array(spacing) * (np.array(shape) - 1) / 2)
    grid = Grid.of(shape, spacing, origin, axes)
    points = grid.points() - CENTRE
    radius = np.sqrt(((points / RADII) ** 2).sum(axis=-1))
    array = np.zeros(shape, dtype=np.uint8)
    array[radius < 1] = 1
    array[radius < 0.8] = 2
    if lesion:
        near = np.linalg.norm(points - np.array([13.0, 0.0, 4.0]), axis=-1) < 9
        array[near & (radius < 1)] = 3
    return LabelMap(array, grid, REGIONS)


@pytest.fixture(scope="session")
def bone() -> Callable[..., LabelMap]:
    return lambda axes="cubic", lesion=True: ellipsoid(*AXES[axes], lesion)

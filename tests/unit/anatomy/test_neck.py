"""How sure a neck's centre is: by the width of its section and its distance from the head."""

import numpy as np
import pytest

from bonekit.anatomy.neck import neck_landmark
from bonekit.anatomy.solid import Solid
from bonekit.image.volume import Grid

RADIUS_MM = 22.0
HEAD = np.array([30.0, 30.0, 30.0])


def ball_on_a_rod(width: float) -> Solid:
    """A head at (30, 30, 30) and a rod along x, `width` as wide."""
    grid = Grid.of((110, 60, 60), (1.0, 1.0, 1.0))
    away = grid.points() - HEAD
    beside = np.hypot(away[..., 1], away[..., 2])
    rod = (away[..., 0] > 0) & (beside < width * RADIUS_MM)
    return Solid(rod | (np.linalg.norm(away, axis=-1) < RADIUS_MM), grid, grid, 0.3)


@pytest.mark.parametrize(
    ("width", "reach", "low", "high"),
    [(0.7, 1.5, 0.79, 0.81), (0.35, 1.5, 0.2, 0.35), (0.2, 1.5, 0.0, 0.0), (0.7, 2.1, 0.39, 0.41)],
)
def test_confidence_follows_width_and_distance(
    width: float, reach: float, low: float, high: float
) -> None:
    neck = HEAD + np.array([reach * RADIUS_MM, 0.0, 0.0])
    found = neck_landmark(ball_on_a_rod(width), HEAD, RADIUS_MM, neck, head_confidence=0.8)
    assert low <= found.confidence <= high
    assert ("hardly a neck" in found.note) == (width == 0.35 or width == 0.2)
    assert found.uncertainty_mm is not None
    assert (found.uncertainty_mm > 1.0) == (found.confidence < 0.79)

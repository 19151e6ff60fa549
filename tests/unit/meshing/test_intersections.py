"""Triangles of one plane that overlap; crossings out of it are tested with the repairs."""

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.meshing.intersections import overlap_in_plane, self_intersections
from bonekit.meshing.repair import check_surface
from bonekit.meshing.surface import Surface

FLAT = [(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)]
TURN = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
OTHERS = {
    "inside": ([(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)], True),
    "star": ([(3.0, 3.0), (-1.0, 3.0), (3.0, -1.0)], True),
    "same": (FLAT, True),
    "corner within": ([(1.0, 1.0), (6.0, 5.0), (5.0, 6.0)], True),
    "common corner, over": ([(0.0, 0.0), (3.0, 1.0), (1.0, 3.0)], True),
    "common corner, beside": ([(0.0, 0.0), (-3.0, 1.0), (-1.0, -3.0)], False),
    "beside an edge": ([(1.0, 0.0), (3.0, 0.0), (2.0, -2.0)], False),
    "apart": ([(3.0, 3.0), (5.0, 3.0), (3.0, 5.0)], False),
}


def in_space(flat: list[tuple[float, float]], height: float = 0.0) -> np.ndarray:
    points = np.array([(*point, height) for point in flat])
    return np.asarray(points @ TURN.T + (30.0, -60.0, 900.0))


@pytest.mark.parametrize("name", OTHERS)
def test_overlaps_in_a_plane_are_found(name: str) -> None:
    other, want = OTHERS[name]
    for turned in (other, other[::-1]):
        pair = np.stack([in_space(FLAT), in_space(turned)])[None]
        assert overlap_in_plane(pair).tolist() == [want]
        assert overlap_in_plane(pair[:, ::-1]).tolist() == [want]
    above = np.stack([in_space(FLAT), in_space(other, 0.01)])[None]
    assert not overlap_in_plane(above).any()


def test_a_triangle_within_another_is_a_pair() -> None:
    """No edge of either goes through the other: both lie in the plane."""
    points = np.concatenate([in_space(FLAT), in_space(OTHERS["inside"][0])])
    pairs = self_intersections(points, np.array([(0, 1, 2), (3, 4, 5)]))
    assert pairs.tolist() == [[0, 1]]


def test_a_flat_overlap_is_refused_with_its_place() -> None:
    """Two flat pillows, of two triangles back to back, the small one within the large."""
    points = np.concatenate([in_space(FLAT), in_space(OTHERS["inside"][0])])
    two = np.array([(0, 1, 2), (0, 2, 1), (3, 4, 5), (3, 5, 4)])
    bad = Surface(points, two, np.ones(4, dtype=np.uint8), {1: "bone"})
    with pytest.raises(InputError, match=r"pairs of triangles cross.*near \(\d+\.\d, -\d+"):
        check_surface(bad)

import numpy as np
import pytest
import pyvista as pv

from bonekit.errors import InputError
from bonekit.meshing.rebuild import rebuild
from bonekit.meshing.repair import check_surface
from bonekit.meshing.surface import Surface


def two_balls() -> Surface:
    """Through each other: no repair."""
    parts = [pv.Icosphere(radius=20, center=(x, 0, 0), nsub=3).clean() for x in (0, 18)]
    n = parts[0].n_points
    triangles = np.concatenate([parts[0].regular_faces, parts[1].regular_faces + n]).astype(
        np.int64
    )
    points = np.concatenate([p.points for p in parts]).astype(np.float64)
    return Surface(points, triangles, np.ones(len(triangles), dtype=np.uint8), {1: "bone"})


def test_two_balls_become_one_body() -> None:
    pytest.importorskip("pytetwild")
    made, found = rebuild(two_balls(), 4.0, 0.4)
    check_surface(made)
    ball, h = 4 / 3 * np.pi * 20**3, 20 - 9.0
    union = 2 * ball - 2 * np.pi * h**2 * (20 - h / 3)
    assert made.volume_mm3 == pytest.approx(union, rel=0.015)
    assert found.largest_mm <= 0.4


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pytetwild", None)
    with pytest.raises(InputError, match=r"bonekit\[tetwild\]"):
        rebuild(two_balls(), 4.0, 0.4)
    with pytest.raises(InputError, match="positive"):
        rebuild(two_balls(), 0.0, 0.4)

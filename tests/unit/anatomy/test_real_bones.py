"""Landmarks of real bones: plausible places, and the side that the file's name tells."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.find import find_femur, find_vertebra, mask_of_surface
from bonekit.image.volume import Grid


@lru_cache
def femur(path: Path) -> FemurAnatomy:
    return find_femur(*filled(path))


def filled(path: Path) -> tuple[np.ndarray, Grid]:
    surface = pv.read(path).triangulate()
    triangles = np.asarray(surface.faces).reshape(-1, 4)[:, 1:]
    return mask_of_surface(np.asarray(surface.points, dtype=np.float64), triangles)


@pytest.mark.parametrize(
    ("name", "side", "anteversion"),
    [
        ("gfxmorph_femur", "left", (0, 25)),
        ("gfxmorph_femur_cortex", None, (0, 25)),  # its inner surface: no lesser trochanter
        ("libhip_m3_lfemur_mm", "left", None),
        ("libhip_m4_rfemur_mm", "right", None),
    ],
)
def test_surfaces_of_femora(data, name: str, side: str | None, anteversion) -> None:
    found = femur(data / "bone-meshes" / f"{name}.stl")
    if side is not None:
        assert found.side == side
        assert found.landmark("lesser_trochanter").confidence > 0.8
        # the lesser trochanter lies below the neck, behind and towards the middle
        lesser = found.lesser_trochanter_mm
        assert (found.head_centre_mm - lesser) @ found.shaft_axis > 30.0
        assert (lesser - found.shaft_point_mm) @ found.frame[:, 1] > 8.0
    assert 18.0 < found.head_radius_mm < 30.0
    assert 110.0 < found.neck_shaft_angle_deg < 140.0
    assert 30.0 < found.offset_mm < 60.0
    # adults: the greater trochanter's tip is about as high as the head's centre, beside it
    toward = found.greater_trochanter_mm - found.head_centre_mm
    assert -15.0 < toward @ found.shaft_axis < 25.0
    assert 35.0 < -toward @ found.medial < 80.0
    if anteversion is None:
        assert found.anteversion_deg is None
    else:
        assert anteversion[0] < found.anteversion_deg < anteversion[1]
        inner, outer = (found.landmark_mm(f"{n}_condyle") for n in ("medial", "lateral"))
        assert 35.0 < np.linalg.norm(inner - outer) < 65.0


def test_the_inner_and_the_outer_cortex_of_one_femur_have_one_head(data) -> None:
    """The same bone from two surfaces: 2.5 mm apart in radius, not in the middle."""
    one, two = (
        femur(data / "bone-meshes" / f"{name}.stl")
        for name in ("gfxmorph_femur", "gfxmorph_femur_cortex")
    )
    assert np.linalg.norm(one.head_centre_mm - two.head_centre_mm) < 0.5
    assert two.neck_shaft_angle_deg == pytest.approx(one.neck_shaft_angle_deg, abs=2.5)


def test_surface_of_a_vertebra(data) -> None:
    """Its file has the back in front (RAS): the arch tells, and left stays left."""
    mask, grid = filled(data / "bone-meshes" / "comodo_vertebra.stl")
    found = find_vertebra(mask, grid)
    assert found.anterior[1] > 0.9
    assert all(height > 15.0 for height in found.heights_mm)
    assert max(found.heights_mm) / min(found.heights_mm) < 1.25
    left, right = (found.landmark_mm(f"{side}_pedicle") for side in ("left", "right"))
    assert 20.0 < np.linalg.norm(left - right) < 45.0
    assert (left - right) @ found.frame[:, 0] > 20.0
    spine = found.landmark_mm("spinous_process") - found.body_centre_mm
    assert 50.0 < spine @ found.frame[:, 1] < 90.0

"""Strength of a synthetic femur in stance with virtual lytic lesions, by their size and site."""

from functools import cache

import bonekit
from bonekit.density import DensityImage
from bonekit.image import LabelMap
from bonekit.lesions import carve, femur_site
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom
from bonekit.segmentation.base import Segmentation

RADII_MM = (6.0, 9.0, 12.0)
SITES = {"inferior-medial": 0.0, "anterior": 90.0, "superior-lateral": 180.0, "posterior": 270.0}


@cache
def healthy() -> tuple[Segmentation, DensityImage]:
    """Make a healthy femur, coarse enough for a quick example."""
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1)
    made = femur_phantom(FemurParameters(side="right"), scanner=scanner, seed=3)
    mask = made.labels.mask("cortex", "trabecular").astype("u1")
    labels = LabelMap(mask, made.ct.grid, {1: "femur_right"})
    return bonekit.from_labels(made.ct, labels, "femur_right"), made.density


@cache
def strength(level: str = "neck", angle_deg: float = 0.0, radius_mm: float = 0.0) -> float:
    """Strength in N with a lesion on the surface of the bone; without one if it has no radius."""
    femur, ash = healthy()
    if radius_mm > 0:
        femur, ash = carve(femur, ash, femur_site(femur, level, angle_deg), radius_mm)
    problem = bonekit.set_up(bonekit.mesh(femur, 3.0), ash, femur)
    return bonekit.judge(problem, bonekit.solve(problem, rtol=1e-6)).strength_N


def left(angle_deg: float, radius_mm: float) -> float:
    """Share of the healthy bone's strength that a lesion of the neck leaves."""
    return strength("neck", angle_deg, radius_mm) / strength()


if __name__ == "__main__":
    print(f"healthy synthetic femur: {strength():.0f} N")
    for radius_mm in RADII_MM:
        print(f"inferior-medial neck, {radius_mm:g} mm: {left(0.0, radius_mm):.0%} of it left")
    for name, angle_deg in SITES.items():
        print(f"{name} neck, 10 mm: {left(angle_deg, 10.0):.0%} of it left")

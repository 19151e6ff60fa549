"""From HU to density: typed, calibrated, with its uncertainty. All densities are in g/cm3."""

from bonekit.density.conversions import CONVERSIONS, Conversion, conversion, convert, to_ash
from bonekit.density.kinds import DensityImage, DensityKind
from bonekit.density.line import (
    DEFAULT,
    Applied,
    Calibration,
    Covariance,
    apply,
    density_image,
    outside_range,
    sigma_points,
)

__all__ = [
    "CONVERSIONS",
    "DEFAULT",
    "Applied",
    "Calibration",
    "Conversion",
    "Covariance",
    "DensityImage",
    "DensityKind",
    "apply",
    "conversion",
    "convert",
    "density_image",
    "outside_range",
    "sigma_points",
    "to_ash",
]

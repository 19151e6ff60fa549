"""Synthetic patients: exact labels, exact density and a simulated CT."""

from bonekit.phantom.build import Phantom, femur_phantom, vertebra_phantom
from bonekit.phantom.files import write_phantom
from bonekit.phantom.parameters import (
    BodyParameters,
    FemurParameters,
    LesionParameters,
    ScannerParameters,
    VertebraParameters,
)
from bonekit.phantom.sampling import (
    FEMUR_SITES,
    VERTEBRA_SITES,
    random_femur,
    random_lesion,
    random_scanner,
    random_vertebra,
)

__all__ = [
    "FEMUR_SITES",
    "VERTEBRA_SITES",
    "BodyParameters",
    "FemurParameters",
    "LesionParameters",
    "Phantom",
    "ScannerParameters",
    "VertebraParameters",
    "femur_phantom",
    "random_femur",
    "random_lesion",
    "random_scanner",
    "random_vertebra",
    "vertebra_phantom",
    "write_phantom",
]

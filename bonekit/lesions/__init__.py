"""Lesions of a segmented bone: which there are, where, of what kind, and the bone without them."""

from bonekit.lesions.carve import carve
from bonekit.lesions.find import (
    HEALTHY,
    LESION,
    Lesion,
    LesionKind,
    find_lesions,
    lesion_map,
    numbers_at,
)
from bonekit.lesions.intact import Intact, intact
from bonekit.lesions.sites import LEVELS, femur_site

__all__ = [
    "HEALTHY",
    "LESION",
    "LEVELS",
    "Intact",
    "Lesion",
    "LesionKind",
    "carve",
    "femur_site",
    "find_lesions",
    "intact",
    "lesion_map",
    "numbers_at",
]

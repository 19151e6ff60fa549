"""Lesions of a segmented bone: which there are, where, of what kind, and the bone without them."""

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

__all__ = [
    "HEALTHY",
    "LESION",
    "Intact",
    "Lesion",
    "LesionKind",
    "find_lesions",
    "intact",
    "lesion_map",
    "numbers_at",
]

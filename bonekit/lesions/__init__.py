"""Lesions of a segmented bone: which there are, where, of what kind, and the bone without them."""

from bonekit.lesions.carve import carve
from bonekit.lesions.compare import compare_lesions
from bonekit.lesions.cortical import Cortical, cortical_involvement
from bonekit.lesions.describe import Described, describe, describe_level, destroyed_mm
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
from bonekit.lesions.location import Location, femur_regions, locate, vertebra_regions
from bonekit.lesions.mirels import Mirels, location_score, mirels
from bonekit.lesions.mirror import Mirrored, intact_from
from bonekit.lesions.sites import LEVELS, femur_site
from bonekit.lesions.vertebral import Vertebral, vertebral_involvement

__all__ = [
    "HEALTHY",
    "LESION",
    "LEVELS",
    "Cortical",
    "Described",
    "Intact",
    "Lesion",
    "LesionKind",
    "Location",
    "Mirels",
    "Mirrored",
    "Vertebral",
    "carve",
    "compare_lesions",
    "cortical_involvement",
    "describe",
    "describe_level",
    "destroyed_mm",
    "femur_regions",
    "femur_site",
    "find_lesions",
    "intact",
    "intact_from",
    "lesion_map",
    "locate",
    "location_score",
    "mirels",
    "numbers_at",
    "vertebra_regions",
    "vertebral_involvement",
]

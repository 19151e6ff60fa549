"""Coarse phantoms of femora as segmentations, made once."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from bonekit.anatomy.femur import femur_anatomy
from bonekit.density import DensityImage
from bonekit.phantom import FemurParameters, LesionParameters, ScannerParameters, femur_phantom
from bonekit.segmentation.base import Segmentation

SCANNER = ScannerParameters(spacing_mm=(1.5, 1.5, 2.0), supersampling=1, noise_hu=0.0)
Made = tuple[Segmentation, DensityImage]


@cache
def _femur(lesion: LesionParameters | None = None, side: str = "right") -> Made:
    made = femur_phantom(FemurParameters(side=side), lesion, scanner=SCANNER, seed=3)
    head = np.array(made.truth["head_centre_mm"])
    mask = made.labels.mask("cortex", "trabecular", "lesion")
    anatomy = femur_anatomy(mask, made.ct.grid, side, head, 23.5)
    return Segmentation(made.bone, made.labels, anatomy), made.density


@pytest.fixture(scope="session")
def femur() -> Callable[..., Made]:
    """Give a femur's exact labels and density, with the landmarks measured on its mask."""
    return _femur

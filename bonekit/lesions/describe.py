"""All that is known of each lesion of a bone besides its density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.density import DensityImage
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.lesions.cortical import Cortical, cortical_involvement
from bonekit.lesions.find import Lesion, lesion_map
from bonekit.lesions.intact import intact
from bonekit.lesions.location import Location, locate
from bonekit.lesions.mirels import Mirels, mirels
from bonekit.lesions.vertebral import Vertebral, vertebral_involvement
from bonekit.risk import Pain
from bonekit.segmentation.base import BONE_REGIONS, Segmentation


@dataclass(frozen=True)
class Described:
    """A lesion with its place in the bone.

    Parameters
    ----------
    lesion : Lesion
    location : Location
    cortical : Cortical or None
        None of a vertebra, and where lesions left no healthy bone to tell what was cortex.
    mirels : Mirels or None
        None where there is no score: see `mirels`, or the cortex is not known.
    vertebral : Vertebral or None
        None of a femur.
    """

    lesion: Lesion
    location: Location
    cortical: Cortical | None
    mirels: Mirels | None
    vertebral: Vertebral | None = None


def describe(
    segmentation: Segmentation,
    ash: DensityImage,
    lesions: Sequence[Lesion],
    pain: Pain | None = None,
) -> tuple[Described, ...]:
    """Tell where each lesion lies, what cortex it took, and what of Mirels' score is known.

    Parameters
    ----------
    segmentation : Segmentation
    ash : DensityImage
        Ash density on any grid that shows the lesions.
    lesions : sequence of Lesion
        Those of `find_lesions` in the labels on the grid of the density.
    pain : "mild", "moderate" or "functional", optional

    Raises
    ------
    InputError
        If the lesions are not those of the labels, or see `mirels`.
    """
    if not lesions:
        return ()
    labels = segmentation.labels.resample(ash.grid)
    numbers, anatomy = lesion_map(labels, lesions).array, segmentation.anatomy
    made = None
    if isinstance(anatomy, FemurAnatomy):
        try:
            made = intact(labels, ash)
        except InputError:  # too little healthy bone to fill them: the cortex stays unknown
            made = None
    found = []
    for lesion in lesions:
        mask = numbers == lesion.number
        location = locate(ash.grid.world(np.argwhere(mask)), anatomy)
        cortical = score = vertebral = None
        if made is not None and isinstance(anatomy, FemurAnatomy):
            cortical = cortical_involvement(mask, labels, made, anatomy)
            score = mirels(location.region, lesion.kind, cortical.width, pain)
        if isinstance(anatomy, VertebraAnatomy):
            vertebral = vertebral_involvement(mask, _bone(labels), ash.grid, anatomy)
        found.append(Described(lesion, location, cortical, score, vertebral))
    return tuple(found)


def describe_level(
    segmentation: Segmentation, ash: DensityImage, lesions: Sequence[Lesion]
) -> Vertebral | None:
    """Tell which parts of a vertebra all its lesions together took: what SINS asks of a level.

    Two lesions of one pedicle each are a bilateral involvement, and two of a twentieth of one
    pedicle reach the limit of a tenth, though neither does alone.

    Parameters
    ----------
    segmentation, ash, lesions
        See `describe`.

    Returns
    -------
    Vertebral or None
        None of a femur, and without lesions.
    """
    anatomy = segmentation.anatomy
    if not lesions or not isinstance(anatomy, VertebraAnatomy):
        return None
    labels = segmentation.labels.resample(ash.grid)
    taken = lesion_map(labels, lesions).array > 0
    return vertebral_involvement(taken, _bone(labels), ash.grid, anatomy)


def _bone(labels: LabelMap) -> NDArray[np.bool_]:
    return labels.mask(*(name for name in BONE_REGIONS if name in labels.names.values()))


def destroyed_mm(described: Sequence[Described]) -> float | None:
    """Longest axial length of cortex that a lytic or mixed lesion took, in mm.

    Returns
    -------
    float or None
        None where no such lesion is measured: no lesion, only blastic ones, or no femur.
    """
    lengths = [
        one.cortical.axial_mm
        for one in described
        if one.cortical is not None and one.lesion.kind != "blastic"
    ]
    return max(lengths, default=None)

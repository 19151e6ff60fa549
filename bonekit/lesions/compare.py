"""The kind of lesions by what the same place is like without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.lesions.find import (
    DESTROYED_SHARE,
    SCLEROTIC_ABOVE_G_CM3,
    SCLEROTIC_G_CM3,
    Lesion,
    core_of,
    kind_of,
    lesion_map,
)

NOISE_G_CM3 = 0.03  # of ash, about 40 HU: less than this is no loss, bonekit's choice


def compare_lesions(
    lesions: Sequence[Lesion], labels: LabelMap, ash: DensityImage, healthy: DensityImage
) -> tuple[Lesion, ...]:
    """Judge the kind of lesions voxel by voxel against the healthy bone of the same place.

    Destroyed is what is under 0.6 of the healthy density, by at least 0.03 g/cm3; sclerotic what is
    over 0.3 g/cm3 and 0.05 g/cm3 above it. The kind follows from the shares of both as in
    `find_lesions`, which knows no more than the bone around the lesion.

    Parameters
    ----------
    lesions : sequence of Lesion
    labels : LabelMap
        That they were found in.
    ash : DensityImage
        On the grid of the labels.
    healthy : DensityImage
        The bone without its lesions, on the same grid: of `bonekit.lesions.intact_from`, which
        brings it from the other side of the body.

    Returns
    -------
    tuple of Lesion
        With other kinds, shares and `Lesion.healthy_g_cm3`; the rest as it was.

    Raises
    ------
    InputError
        If a density is not of ash or on another grid, or the lesions are not those of the labels.
    """
    for density in (ash, healthy):
        density.require(DensityKind.ASH)
        if not density.grid.same_as(labels.grid):
            raise InputError("the labels and both densities must be on one grid")
    numbers = lesion_map(labels, lesions).array
    return tuple(_compared(lesion, numbers == lesion.number, ash, healthy) for lesion in lesions)


def _compared(
    lesion: Lesion, mask: NDArray[np.bool_], ash: DensityImage, healthy: DensityImage
) -> Lesion:
    core = core_of(mask, ash.spacing_mm)
    is_now, was = ash.array[core].astype(float), healthy.array[core].astype(float)
    low = np.minimum(DESTROYED_SHARE * was, was - NOISE_G_CM3)
    high = np.maximum(SCLEROTIC_G_CM3, was + SCLEROTIC_ABOVE_G_CM3)
    destroyed, sclerotic = float(np.mean(is_now < low)), float(np.mean(is_now > high))
    reference = float(np.median(was))
    return replace(
        lesion,
        kind=kind_of(destroyed, sclerotic, float(np.median(is_now)), reference),
        healthy_g_cm3=reference,
        destroyed=destroyed,
        sclerotic=sclerotic,
    )

"""Lesions of a segmented bone: which there are, and whether they are lytic, blastic or mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap

LesionKind = Literal["lytic", "blastic", "mixed"]
Mask = NDArray[np.bool_]
Float = NDArray[np.float64]

LESION, HEALTHY = "lesion", "trabecular"
# All of these are bonekit's choice, checked on phantoms of 5 to 14 mm radius. Ash densities: soft
# tissue and marrow stay under 0.15 g/cm3, healthy trabecular bone mostly under 0.35 g/cm3; what
# surrounds a lesion moves both, as the bundles of a strong femoral head are as dense as a sclerotic
# focus in a weak vertebra.
CORE_MM = 1.5  # nearer to the edge, blur mixes the lesion with what is around it
NEAR_MM, FAR_MM = 1.5, 8.0  # of the healthy bone around it
FEWEST = 30  # voxels, of the core and of the bone around it
DESTROYED_G_CM3, SCLEROTIC_G_CM3 = 0.15, 0.30
DESTROYED_SHARE, SCLEROTIC_ABOVE_G_CM3 = 0.6, 0.05  # of the median, above the 90th percentile
MIXED_SHARE = 0.12  # of the core that must be of either sort


@dataclass(frozen=True)
class Lesion:
    """One connected lesion.

    Parameters
    ----------
    number : int
        From 1, the largest first.
    kind : "lytic", "blastic" or "mixed"
    volume_ml : float
    centre_mm : tuple of float, (3,)
        Mean of its voxels, in the world.
    ash_g_cm3 : float
        Mean ash density.
    healthy_g_cm3 : float, optional
        Median ash density of the trabecular bone around it; None where there is none.
    destroyed, sclerotic : float
        Shares of its core that are less and more dense than healthy bone.
    """

    number: int
    kind: LesionKind
    volume_ml: float
    centre_mm: tuple[float, float, float]
    ash_g_cm3: float
    healthy_g_cm3: float | None
    destroyed: float
    sclerotic: float


def find_lesions(labels: LabelMap, density: DensityImage) -> tuple[Lesion, ...]:
    """Find the lesions of a segmented bone, the largest first, and tell their kind.

    A lesion is a piece of the label ``lesion`` that is connected over faces, edges and corners.
    Destroyed tissue is under 0.15 g/cm3 of ash or 0.6 of the median of the trabecular bone around
    the lesion; sclerotic tissue is over 0.3 g/cm3 and 0.05 g/cm3 above the 90th percentile of that
    bone. A lesion whose core holds at least 12 % of either is mixed, else the larger share decides;
    with less than 12 % of both, whether the median of the core is above that of the bone around.

    Parameters
    ----------
    labels : LabelMap
        With the names of `bonekit.segmentation.base.REGIONS`.
    density : DensityImage
        Ash density on the grid of the labels.

    Returns
    -------
    tuple of Lesion
        Empty where there is none.

    Raises
    ------
    InputError
        If the density is not ash density, or on another grid.
    """
    density.require(DensityKind.ASH)
    if not density.grid.same_as(labels.grid):
        raise InputError(
            "the labels and the density are on different grids; bring one to the other's with "
            "resample"
        )
    number = _numbered(labels)
    healthy = _mask(labels, HEALTHY)
    margin = np.ceil(FAR_MM / labels.spacing_mm).astype(int) + 1
    return tuple(
        _lesion(n, _widened(box, margin), number, healthy, density)
        for n, box in enumerate(ndimage.find_objects(number), start=1)
    )


def lesion_map(labels: LabelMap, lesions: Sequence[Lesion]) -> LabelMap:
    """Draw the numbers of the lesions.

    Parameters
    ----------
    labels : LabelMap
        That the lesions were found in.
    lesions : sequence of Lesion

    Returns
    -------
    LabelMap
        On the grid of `labels`, named such as ``lesion_1``.

    Raises
    ------
    InputError
        If the lesions are not those of the labels.
    """
    number = _numbered(labels)
    if number.max() != len(lesions):
        raise InputError(
            f"{len(lesions)} lesions given, the labels hold {number.max()}: give the labels that "
            "they were found in"
        )
    names = {lesion.number: f"{LESION}_{lesion.number}" for lesion in lesions}
    return LabelMap(number.astype(np.min_scalar_type(len(lesions))), labels.grid, names)


def numbers_at(points_mm: ArrayLike, numbers: LabelMap) -> NDArray[np.int64]:
    """Tell the number of the lesion nearest to each point, for elements of the lesion region.

    Parameters
    ----------
    points_mm : array_like, (n, 3)
        In the world, such as `VoxelMesh.centres_mm`.
    numbers : LabelMap
        Of `lesion_map`.

    Returns
    -------
    ndarray of int, (n,)
        0 where there is no lesion at all.
    """
    if not numbers.array.any():
        return np.zeros(len(np.asarray(points_mm)), dtype=np.int64)
    nearest = ndimage.distance_transform_edt(
        numbers.array == 0,
        sampling=numbers.spacing_mm.tolist(),
        return_distances=False,
        return_indices=True,
    )
    index = np.rint(numbers.grid.index(points_mm)).astype(np.int64)
    inside = tuple(np.clip(index, 0, np.array(numbers.shape) - 1).T)
    return np.asarray(numbers.array[tuple(axis[inside] for axis in nearest)], dtype=np.int64)


def _mask(labels: LabelMap, name: str) -> Mask:
    """Voxels of a label; none where the table does not have it."""
    return labels.mask(*(known for known in labels.names.values() if known == name))


def _numbered(labels: LabelMap) -> NDArray[np.int32]:
    """Lesions numbered by volume, ties by position, (ni, nj, nk)."""
    piece, n_pieces = ndimage.label(_mask(labels, LESION), structure=np.ones((3, 3, 3)))
    size = np.bincount(piece.ravel(), minlength=n_pieces + 1)[1:]
    number = np.zeros(n_pieces + 1, dtype=np.int32)
    number[1 + np.argsort(-size, kind="stable")] = np.arange(1, n_pieces + 1)
    return np.asarray(number[piece])


def _widened(box: tuple[slice, ...], margin: NDArray[np.int64]) -> tuple[slice, ...]:
    pairs = zip(box, margin, strict=True)
    return tuple(slice(max(b.start - m, 0), b.stop + m) for b, m in pairs)


def _lesion(
    n: int, box: tuple[slice, ...], number: NDArray[np.int32], healthy: Mask, density: DensityImage
) -> Lesion:
    lesion, ash = number[box] == n, density.array[box].astype(np.float64)
    around = _around(lesion, healthy[box], ash, density.grid.spacing_mm)
    core = ash[core_of(lesion, density.grid.spacing_mm)]
    destroyed, sclerotic = _shares(core, around)
    index = np.argwhere(lesion).mean(axis=0) + [part.start for part in box]
    healthy_g_cm3 = float(np.median(around)) if len(around) else None
    x, y, z = density.grid.world(index).tolist()
    return Lesion(
        n,
        kind_of(destroyed, sclerotic, float(np.median(core)), healthy_g_cm3),
        float(np.count_nonzero(lesion) * density.grid.voxel_mm3 / 1000.0),
        (x, y, z),
        float(ash[lesion].mean()),
        healthy_g_cm3,
        destroyed,
        sclerotic,
    )


def core_of(lesion: Mask, spacing_mm: Float) -> Mask:
    """Take the part deeper than `CORE_MM`; the deepest half where that is next to nothing."""
    depth = ndimage.distance_transform_edt(np.pad(lesion, 1), sampling=spacing_mm.tolist())
    depth = depth[1:-1, 1:-1, 1:-1]
    core = depth > CORE_MM
    if np.count_nonzero(core) < FEWEST:
        core = lesion & (depth >= np.median(depth[lesion]))
    return np.asarray(core)


def _around(lesion: Mask, healthy: Mask, ash: Float, spacing_mm: Float) -> Float:
    """Ash densities of the trabecular bone around a lesion; none where it is too little."""
    away = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm.tolist())
    found = ash[healthy & (away > NEAR_MM) & (away <= FAR_MM)]
    return found if len(found) >= FEWEST else np.empty(0)


def _shares(core: Float, around: Float) -> tuple[float, float]:
    low, high = DESTROYED_G_CM3, SCLEROTIC_G_CM3
    if len(around):
        low = max(low, DESTROYED_SHARE * float(np.median(around)))
        high = max(high, float(np.quantile(around, 0.9)) + SCLEROTIC_ABOVE_G_CM3)
    return float(np.mean(core < low)), float(np.mean(core > high))


def kind_of(destroyed: float, sclerotic: float, core: float, healthy: float | None) -> LesionKind:
    """Tell the kind by the shares of the core, and by its median beside that of healthy bone."""
    if min(destroyed, sclerotic) >= MIXED_SHARE:
        return "mixed"
    if max(destroyed, sclerotic) < MIXED_SHARE:
        limit = SCLEROTIC_G_CM3 if healthy is None else healthy
        return "blastic" if core > limit else "lytic"
    return "lytic" if destroyed >= sclerotic else "blastic"

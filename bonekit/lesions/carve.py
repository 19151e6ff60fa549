"""A virtual lytic lesion in a bone that has none there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.lesions.find import LESION
from bonekit.segmentation.base import BONE_REGIONS, REGIONS, Segmentation

LYTIC_G_CM3 = 0.05  # of ash: soft tissue with what is left of the trabeculae
EDGE_MM = 1.0  # narrower than what a clinical scan resolves


def carve(
    segmentation: Segmentation,
    ash: DensityImage,
    centre_mm: ArrayLike,
    radius_mm: float,
    *,
    lytic_g_cm3: float = LYTIC_G_CM3,
    edge_mm: float = EDGE_MM,
) -> tuple[Segmentation, DensityImage]:
    """Carve a lytic sphere into a bone, cortex included.

    The density falls to that of the lesion over a width of `edge_mm` around the sphere's surface;
    what was less dense than the lesion stays as it was. Neighbouring bones and metal stay. What
    blur carried out of the bone within the sphere goes as well.

    Parameters
    ----------
    segmentation : Segmentation
    ash : DensityImage
        Ash density on any grid.
    centre_mm : array_like, (3,)
        In the world; may lie outside the bone, such as on its surface.
    radius_mm : float
    lytic_g_cm3 : float
    edge_mm : float

    Returns
    -------
    Segmentation
        With the sphere's part of the bone labelled ``lesion``; all else, the anatomy as well, as
        it was before.
    DensityImage
        On its own grid.

    Raises
    ------
    InputError
        If the density is not that of ash, a number is out of range, or the sphere misses the bone.
    """
    ash.require(DensityKind.ASH)
    _check(radius_mm, lytic_g_cm3, edge_mm)
    labels = segmentation.labels
    inside = _distance(labels.grid.points(), centre_mm) < radius_mm
    taken = inside & labels.mask(*(n for n in labels.names.values() if n in BONE_REGIONS))
    if not taken.any():
        at = ", ".join(f"{x:.1f}" for x in np.asarray(centre_mm, dtype=float))
        raise InputError(
            f"a sphere of {radius_mm:g} mm at ({at}) mm holds no voxel of the bone: give a centre "
            "in the bone or on its surface (world LPS)"
        )
    names = dict(labels.names) | {v: n for v, n in REGIONS.items() if n == LESION}
    new = labels.array.copy()
    new[taken] = next(value for value, name in names.items() if name == LESION)
    carved = replace(labels, array=new, names=names)
    return replace(segmentation, labels=carved), _emptied(
        segmentation, ash, centre_mm, radius_mm, lytic_g_cm3, edge_mm
    )


def _check(radius_mm: float, lytic_g_cm3: float, edge_mm: float) -> None:
    for name, value, low, high in (
        ("radius_mm", radius_mm, 0.5, 60.0),
        ("lytic_g_cm3", lytic_g_cm3, 0.0, 0.5),
        ("edge_mm", edge_mm, 0.0, 10.0),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} must lie between {low:g} and {high:g}, got {value:g}")


def _emptied(
    segmentation: Segmentation,
    ash: DensityImage,
    centre_mm: ArrayLike,
    radius_mm: float,
    lytic_g_cm3: float,
    edge_mm: float,
) -> DensityImage:
    distance = _distance(ash.grid.points(), centre_mm)
    # a step would jump by whole voxels as the radius grows: at least the voxel's own width
    width = max(edge_mm, float(ash.spacing_mm.max()))
    share = np.clip((radius_mm - distance) / width + 0.5, 0.0, 1.0)
    labels = segmentation.labels
    others = [n for n in labels.names.values() if n not in BONE_REGIONS]
    share[labels.resample(ash.grid).mask(*others)] = 0.0
    less = np.minimum(lytic_g_cm3 - ash.array, 0.0)
    return ash.with_array((ash.array + share * less).astype(ash.array.dtype))


def _distance(points_mm: NDArray[np.float64], centre_mm: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(points_mm - np.asarray(centre_mm, dtype=float), axis=-1))

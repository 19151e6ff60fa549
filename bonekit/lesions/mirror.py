"""The bone without its lesions, after the other side of the body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.lesions.find import HEALTHY, LESION
from bonekit.lesions.intact import CORTEX, RIM_MM, Intact, intact
from bonekit.segmentation.base import Segmentation

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALLOWED_MM = 3.0  # bonekit's choice: a few voxels; a neck 6 mm longer is further off
QUANTILE = 0.9  # a wrong neck is a small part of the surface
CLEAR_MM = 4.0  # surface nearer than this to a lesion or an end of the bone is not compared
SURFACE_POINTS = 6000  # enough for six numbers
ROBUST_MM = 1.0  # larger distances pull less: osteophytes, posture of soft edges


@dataclass(frozen=True, eq=False)
class Mirrored:
    """A bone filled after the other side.

    Parameters
    ----------
    intact : Intact
    distance_mm : float
        Distance of both surfaces after registration that 90 % of the healthy surface keeps.
    share : float
        Of the filled voxels, those that come from the other side; the rest, where it has a lesion
        or no bone, is filled as by `bonekit.lesions.intact`.
    """

    intact: Intact
    distance_mm: float
    share: float


@dataclass(frozen=True, eq=False)
class _Fit:
    """Rigid fit of a bone onto the mirror image of the other."""

    own: tuple[Float, Float]  # origin and axes (left, posterior, superior) as columns
    other: tuple[Float, Float]

    def map(self, points_mm: Float, motion: Float) -> Float:
        """World points of the bone to the other's; motion: rotation vector, then shift in mm."""
        origin, axes = self.own
        local = (points_mm - origin) @ axes
        local = local @ Rotation.from_rotvec(motion[:3]).as_matrix().T + motion[3:]
        origin, axes = self.other
        return np.asarray((local * [-1.0, 1.0, 1.0]) @ axes.T + origin)


def intact_from(
    segmentation: Segmentation,
    ash: DensityImage,
    other: Segmentation,
    other_ash: DensityImage,
    *,
    rim_mm: float = RIM_MM,
    allowed_mm: float = ALLOWED_MM,
) -> Mirrored:
    """Fill the lesions of a bone by what is at the same place of its other side.

    The bone is laid upon the mirror image of the other by their anatomical frames and then rigidly,
    by least squares of the distances of its healthy surface from that of the other. A vertebra may
    be given as its own other side.

    Parameters
    ----------
    segmentation : Segmentation
    ash : DensityImage
        Ash density.
    other : Segmentation
        Of the contralateral bone.
    other_ash : DensityImage
    rim_mm : float
        How far round a lesion the density is taken for its blur.
    allowed_mm : float
        Largest distance that 90 % of the surface may keep.

    Returns
    -------
    Mirrored
        On the grid of `ash`.

    Raises
    ------
    InputError
        If the bones are of another kind, the surfaces lie apart, or a density is not of ash; see
        `intact` as well.
    """
    other_ash.require(DensityKind.ASH)
    if type(segmentation.anatomy) is not type(other.anatomy):
        raise InputError(
            f"{other.bone} is not the other side of {segmentation.bone}: give the same kind of bone"
        )
    labels = segmentation.labels.resample(ash.grid)
    made = intact(labels, ash, rim_mm)
    fit = _Fit(_frame(segmentation), _frame(other))
    motion, distance_mm = _registered(segmentation, other, fit)
    if distance_mm > allowed_mm:
        raise InputError(
            f"the surfaces of {segmentation.bone} and of the mirrored {other.bone} lie "
            f"{distance_mm:.1f} mm apart (90 % of them nearer), allowed {allowed_mm:g} mm: fill "
            "the lesions without the other side (bonekit.lesions.intact)"
        )
    index = np.argwhere(made.filled)
    there = fit.map(ash.grid.world(index), motion)
    cortex = _at(other.labels.mask(CORTEX), other.labels.grid, there, 0) > 0.5
    healthy = cortex | (_at(other.labels.mask(HEALTHY), other.labels.grid, there, 0) > 0.5)
    density = _at(other_ash.array, other_ash.grid, there, 1)
    return Mirrored(
        _refilled(made, labels, index[healthy].T, density[healthy], cortex[healthy]),
        distance_mm,
        float(healthy.mean()) if len(healthy) else 0.0,
    )


def _refilled(
    made: Intact, labels: LabelMap, at: NDArray[np.int64], density: Float, cortex: Mask
) -> Intact:
    """Put what the other side shows into a bone that is filled already."""
    array, region = made.density.array.copy(), made.labels.array.copy()
    place = tuple(at)
    array[place] = density
    was_lesion = labels.mask(LESION)[place]
    names = {name: value for value, name in labels.names.items()}
    new = np.where(cortex, names[CORTEX], names[HEALTHY])
    region[place] = np.where(was_lesion, new, region[place])
    return Intact(replace(made.labels, array=region), made.density.with_array(array), made.filled)


def _frame(segmentation: Segmentation) -> tuple[Float, Float]:
    """Origin and axes of a bone."""
    anatomy = segmentation.anatomy
    if isinstance(anatomy, FemurAnatomy):
        return anatomy.head_centre_mm, anatomy.frame
    return anatomy.body_centre_mm, anatomy.frame


def _registered(own: Segmentation, other: Segmentation, fit: _Fit) -> tuple[Float, float]:
    """Motion on top of the frames, and the distance of the surfaces in mm."""
    signed = _signed_distance(own)
    grid, theirs = own.labels.grid, _signed_distance(other)
    points = _surface(own, signed)
    points = points[_in_view(other, fit.map(points, np.zeros(6)))]
    if len(points) < 100:
        raise InputError(
            "hardly any healthy surface is in view on both sides: the bones can't be compared"
        )
    ours = _at(signed, grid, points, 1)

    def distances(motion: Float) -> Float:
        # voxels at the surface lie half a voxel inside, on both sides
        return _at(theirs, other.labels.grid, fit.map(points, motion), 1) - ours

    found = least_squares(
        distances, np.zeros(6), loss="soft_l1", f_scale=ROBUST_MM, x_scale=[0.02] * 3 + [1.0] * 3
    )
    return np.asarray(found.x), float(np.quantile(np.abs(distances(found.x)), QUANTILE))


def _signed_distance(segmentation: Segmentation) -> Float:
    """Distance from the surface of the bone in mm, negative inside, (ni, nj, nk)."""
    bone, step = segmentation.bone_mask, segmentation.labels.spacing_mm.tolist()
    outside = ndimage.distance_transform_edt(~bone, sampling=step)
    return np.asarray(outside - ndimage.distance_transform_edt(bone, sampling=step))


def _surface(segmentation: Segmentation, signed: Float) -> Float:
    """World points of the outermost voxels away from lesions and from the end of the bone."""
    labels = segmentation.labels
    outermost = (signed < 0) & (signed >= -1.01 * float(labels.spacing_mm.max()))
    lesion = labels.mask(*(name for name in labels.names.values() if name == LESION))
    if lesion.any():
        away = ndimage.distance_transform_edt(~lesion, sampling=labels.spacing_mm.tolist())
        outermost &= away > CLEAR_MM
    points = labels.grid.world(np.argwhere(outermost))
    points = points[_in_view(segmentation, points)]
    return points[:: max(len(points) // SURFACE_POINTS, 1)]


def _in_view(segmentation: Segmentation, points_mm: Float) -> Mask:
    """Points that are in the image and not at the cut end of a femur."""
    grid, anatomy = segmentation.labels.grid, segmentation.anatomy
    index = grid.index(points_mm)
    inside = ((index > 1.0) & (index < np.array(grid.shape) - 2.0)).all(axis=1)
    if isinstance(anatomy, FemurAnatomy):
        inside &= anatomy.height_mm(points_mm) > anatomy.distal_mm + CLEAR_MM
    return np.asarray(inside)


def _at(array: NDArray[Any], grid: Grid, points_mm: Float, order: Literal[0, 1]) -> Float:
    """Values of an image at world points; beyond its border those of the border."""
    sampled = ndimage.map_coordinates(
        array.astype(np.float64), grid.index(points_mm).T, order=order, mode="nearest"
    )
    return np.asarray(sampled)

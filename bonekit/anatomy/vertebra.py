"""Landmarks and frame of a vertebra, from its mask alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.landmark import Angle, Landmark, unit
from bonekit.anatomy.vertebra_body import (
    WHOLE_MM,
    core_of,
    endplates,
    extent,
    resampled,
    thickest,
    towards_canal,
)
from bonekit.anatomy.vertebra_parts import POINTS, heights, parts_of
from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

BODY_DEPTH_MM = (10.0, 50.0)  # thoracic to large lumbar; more means that the canal is filled
ARCH_MM = 4.0  # from the body's middle to that of the mask: less, and it has no arch
SLIVER = 0.2  # of the voxels on the image's border: five layers of them or fewer
CUT_SHARE = 0.25  # of an endplate on the image's border: cut; a tight crop touches only its rim


@dataclass(frozen=True, eq=False)
class VertebraAnatomy:
    """Where a vertebra's parts are; all points and vectors in world coordinates.

    Parameters
    ----------
    body_centre_mm : ndarray, (3,)
        Middle of the body: halfway between endplates and between front and posterior wall.
    superior_centre_mm, inferior_centre_mm : ndarray, (3,)
        Points of the endplates' planes over and under the middle of the body.
    superior_normal, inferior_normal : ndarray, (3,)
        Unit normals of the planes, both pointing out of the body.
    axis : ndarray, (3,)
        Unit vector headwards, halfway between the endplates' normals.
    anterior : ndarray, (3,)
        Unit vector from the arch to the body, square to `axis`.
    height_mm : float
        Distance of the endplates along `axis`.
    depth_mm, width_mm : float
        Front to posterior wall and left to right, at mid-height.
    superior_surface, inferior_surface : ndarray, (6,), optional
        The endplates as surfaces of second order, the middle of the bowl and of a wedge included:
        height over the body's centre in mm, ``c0 + c1 x + c2 y + c3 x2 + c4 xy + c5 y2`` of the
        coordinates left (x) and posterior (y) of `local`.
    level : str, optional
        Such as ``L3``; only a user or a label map knows it.
    landmarks : tuple of Landmark
        One for each name of `POINTS`, found or not.
    """

    body_centre_mm: Float
    superior_centre_mm: Float
    inferior_centre_mm: Float
    superior_normal: Float
    inferior_normal: Float
    axis: Float
    anterior: Float
    height_mm: float
    depth_mm: float
    width_mm: float
    superior_surface: Float | None = None
    inferior_surface: Float | None = None
    level: str | None = None
    landmarks: tuple[Landmark, ...] = ()

    def landmark(self, name: str) -> Landmark:
        """Landmark by its name of `POINTS`.

        Raises
        ------
        InputError
            If there is no landmark of that name.
        """
        for found in self.landmarks:
            if found.name == name:
                return found
        raise InputError(f"a vertebra has no landmark {name!r}; known: {', '.join(POINTS)}")

    def landmark_mm(self, name: str) -> Float | None:
        """Point of a landmark in the world, (3,); None where it was not found or not sought."""
        return next((found.point_mm for found in self.landmarks if found.name == name), None)

    @property
    def heights_mm(self) -> tuple[float, float, float] | None:
        """Anterior, middle and posterior height of the body, in its middle plane.

        Between the endplates' surfaces, `RIM` of the way to the front and to the posterior wall;
        None where the surfaces were not measured.
        """
        if self.superior_surface is None or self.inferior_surface is None:
            return None
        return heights(self.superior_surface, self.inferior_surface, self.depth_mm)

    @property
    def angles(self) -> tuple[Angle, ...]:
        """Angle of the endplates."""
        errors = [one.uncertainty_mm for one in self.landmarks if one.name.endswith("_endplate")]
        known = [error for error in errors if error is not None]
        # a plane whose height errs by e over a patch is turned by about 2 e over its depth
        error = float(np.degrees(2 * np.sqrt(2) * max(known) / self.depth_mm)) if known else None
        return (Angle("wedge", self.wedge_deg, error, "between the planes of the endplates"),)

    @property
    def frame(self) -> Float:
        """Bone axes as columns (left, posterior, superior), right-handed, (3, 3)."""
        return np.column_stack([np.cross(-self.anterior, self.axis), -self.anterior, self.axis])

    @property
    def wedge_deg(self) -> float:
        """Angle between the two endplates."""
        cosine = float(np.clip(-self.superior_normal @ self.inferior_normal, -1.0, 1.0))
        return float(np.degrees(np.arccos(cosine)))

    def local(self, points_mm: Float) -> Float:
        """Coordinates (left, posterior, superior) of points (..., 3) from the body's centre."""
        return np.asarray((points_mm - self.body_centre_mm) @ self.frame)


def body_region(points_mm: Float, anatomy: VertebraAnatomy, margin_mm: float = 2.0) -> Mask:
    """Tell which points lie in the body's part of space: in front of the canal and the pedicles.

    Parameters
    ----------
    points_mm : ndarray, (..., 3)
        World coordinates.
    anatomy : VertebraAnatomy
    margin_mm : float
        How far the body's rim may stand out over its mid-height size at the back; three times as
        much at the sides and in front, where osteophytes grow.

    Returns
    -------
    ndarray of bool, (...)
    """
    left, posterior, superior = np.moveaxis(anatomy.local(points_mm), -1, 0)
    rim = 3.0 * margin_mm
    return np.asarray(
        (posterior <= anatomy.depth_mm / 2 + margin_mm)
        & (posterior >= -anatomy.depth_mm / 2 - rim)
        & (np.abs(left) <= anatomy.width_mm / 2 + rim)
        & (np.abs(superior) <= anatomy.height_mm / 2 + rim)
    )


def vertebra_anatomy(mask: Mask, grid: Grid) -> VertebraAnatomy:
    """Find the body of a vertebra, its endplates and its axes.

    The body is what is left of the mask after everything thinner than 0.6 of its largest inscribed
    sphere is taken off (pedicles, arch, processes). Planes are fitted to the ends of the columns
    through it by least squares that drop outliers (osteophytes, Schmorl's nodes); the mean of their
    normals is the axis, along which the columns are drawn anew. Posterior is where the canal lies,
    or the arch if no slice shows the canal closed; for a mask of a body without arch it is the
    scan's posterior.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        One vertebra (or its body), in any orientation of the array; head up in the world to 45
        degrees.
    grid : Grid

    Raises
    ------
    InputError
        If the mask is empty, has no body, its canal is filled, or an endplate lies on the border
        of the image.
    """
    if mask.shape != grid.shape or not mask.any():
        raise InputError(f"vertebra mask of shape {mask.shape} on grid {grid.shape} has no voxel")
    _check_in_view(mask)
    centre = thickest(mask, grid)
    axes = _rough_axes(mask, grid, centre)
    for _ in range(4):
        found = _measured(mask, grid, centre, axes)
        centre, axes = found.body_centre_mm, found.frame
    _check_border(mask, grid, found)
    error_mm = float(grid.spacing_mm.max() / np.sqrt(12.0))
    share, local = resampled(mask, grid, found.body_centre_mm, found.frame, WHOLE_MM)
    parts = parts_of(share, local, found.depth_mm, found.width_mm, error_mm)
    upper, lower = parts.surfaces
    world = tuple(
        one
        if one.point_mm is None
        else replace(one, point_mm=found.body_centre_mm + found.frame @ one.point_mm)
        for one in parts.landmarks
    )
    return replace(found, superior_surface=upper, inferior_surface=lower, landmarks=world)


def _rough_axes(mask: Mask, grid: Grid, centre: Float) -> Float:
    """Return left, posterior, superior as columns: the world's, if the arch lies on its back side.

    Else, as in a world with other axes than LPS, the arch tells where the back is.
    """
    behind = grid.world(np.argwhere(mask)).mean(axis=0) - centre
    behind[2] = 0.0
    length = float(np.linalg.norm(behind))
    if length < ARCH_MM or behind[1] > length / 2:
        return np.eye(3)
    if behind[1] < -length / 2:
        return np.diag([-1.0, -1.0, 1.0])
    posterior, up = unit(behind), np.array([0.0, 0.0, 1.0])
    return np.column_stack([np.cross(posterior, up), posterior, up])


def _measured(mask: Mask, grid: Grid, centre: Float, axes: Float) -> VertebraAnatomy:
    """Measure the body in a frame that is nearly its own."""
    share, local = resampled(mask, grid, centre, axes)
    inside = share >= 0.5
    core = core_of(inside)
    middle = local[core].mean(axis=0)
    front, back = extent(share, local, middle, 1)
    right, left = extent(share, local, middle, 0)
    if not BODY_DEPTH_MM[0] <= back - front <= BODY_DEPTH_MM[1]:
        raise InputError(
            f"the body would be {back - front:.0f} mm deep; allowed {BODY_DEPTH_MM}. Is the spinal "
            "canal left open in the mask, and is the mask one vertebra?"
        )
    middle[:2] = (left + right) / 2, (front + back) / 2
    half = np.array([left - right, back - front]) / 2
    top, bottom = endplates(share, local, middle, half)
    axis = unit(np.array([-top[0], -top[1], 1.0])) + unit(np.array([-bottom[0], -bottom[1], 1.0]))
    up = axes @ unit(axis)
    upper, lower = (np.array([*middle[:2], p[2]]) for p in (top, bottom))
    posterior = towards_canal(inside, local, middle, back)
    posterior = np.array([0.0, 1.0, 0.0]) if posterior is None else axes @ posterior
    posterior = unit(posterior - (posterior @ up) * up)
    return VertebraAnatomy(
        body_centre_mm=centre + axes @ ((upper + lower) / 2),
        superior_centre_mm=centre + axes @ upper,
        inferior_centre_mm=centre + axes @ lower,
        superior_normal=axes @ unit(np.array([-top[0], -top[1], 1.0])),
        inferior_normal=-(axes @ unit(np.array([-bottom[0], -bottom[1], 1.0]))),
        axis=up,
        anterior=-posterior,
        height_mm=float((upper - lower) @ unit(axis)),
        depth_mm=float(back - front),
        width_mm=float(left - right),
    )


def _check_in_view(mask: Mask) -> None:
    """Refuse a sliver of a vertebra at the image's border."""
    inner = np.count_nonzero(mask[1:-1, 1:-1, 1:-1])
    share = 1.0 - inner / np.count_nonzero(mask)
    if share > SLIVER:
        raise InputError(
            f"the image's border cuts the vertebra: {share:.0%} of its voxels lie on it, so that "
            "only a sliver is in view. Use a scan that shows all of it, or leave this one out"
        )


def _check_border(mask: Mask, grid: Grid, found: VertebraAnatomy) -> None:
    """Refuse a body that the image's border cuts."""
    border = np.ones(grid.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    points = grid.world(np.argwhere(mask & border))
    touching = np.count_nonzero(body_region(points, found, margin_mm=0.0)) if len(points) else 0
    area = np.pi / 4 * found.depth_mm * found.width_mm
    share = touching * grid.voxel_mm3 ** (2 / 3) / area
    if share > CUT_SHARE:
        raise InputError(
            f"the image's border cuts the vertebral body (over {share:.0%} of an endplate): "
            "use a scan with both endplates in the field of view"
        )

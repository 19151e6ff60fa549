"""A femur or a vertebra from what there is of it: a mask of it, or its closed surface.

`find_femur` and `find_vertebra` refuse what is not one whole bone. They need no scan, so that bones
of other programs can be measured as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.feature import peak_local_max

from bonekit.anatomy.femur import SURE_SIDE, FemurAnatomy, Side, femur_anatomy, side_of
from bonekit.anatomy.neck import Ball, fit_ball
from bonekit.anatomy.solid import Solid, solid_of
from bonekit.anatomy.vertebra import VertebraAnatomy, vertebra_anatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

HEAD_MM = (17.0, 33.0)  # radii of femoral heads; adults 19 to 29, greater trochanters 15
ROUND = 0.72  # of a sphere's surface: heads have about 0.9, condyles a half
PAIRED = 0.9  # of the directions or their opposite: a shaft has 0.7, heads nearly all
APART_MM = 60.0  # between the heads of two hips: adults have 160, fused masks less
NEARLY = 0.9  # of the roundest, in share of its sphere
SECOND_BONE = 0.2  # of the mask in another piece: a second bone, or a broken one
SURFACE_MM = 1.0  # voxels that a surface is filled with
FEMUR_MM = (60.0, 600.0)  # largest extent of what is in view of it


def find_femur(
    mask: Mask, grid: Grid, side: Side | None = None, field: Grid | None = None
) -> FemurAnatomy:
    """Find head, neck, trochanters, shaft and condyles of a femur from its mask alone.

    Parameters
    ----------
    mask : ndarray of bool, (ni, nj, nk)
        One femur or its upper part, in any orientation of the array and of the bone.
    grid : Grid
    side : "left" or "right", optional
        Checked against the bone's own shape; by default what the shape tells.
    field : Grid, optional
        Field of view of the scan, where it is larger than `grid`: where its border cuts the bone,
        there is no surface.

    Returns
    -------
    FemurAnatomy

    Raises
    ------
    InputError
        If the mask is empty, holds two bones, has no femoral head or hardly anything else, if the
        side contradicts the bone's shape, or is neither given nor told by the shape.
    """
    solid = one_solid(mask, grid, field, "femur")
    head = head_of(solid)
    found = femur_anatomy(
        solid.mask, solid.grid, side or "left", head.centre_mm, head.radius_mm, solid.field
    )
    told, sure = side_of(found)
    if side is None:
        if told is None:
            raise InputError(
                "the side of the femur can't be told from its shape, as neither the lesser "
                "trochanter nor the condyles were found: name the side"
            )
        return replace(found, side=told)
    if told is not None and told != side and sure >= SURE_SIDE:
        raise InputError(
            f"the femur is given as {side}, but its shape is that of a {told} one: the side is "
            "wrong, or the image is mirrored"
        )
    return found


def find_vertebra(mask: Mask, grid: Grid) -> VertebraAnatomy:
    """Find body, endplates and posterior elements of a vertebra; see `vertebra_anatomy`."""
    return vertebra_anatomy(mask, grid)


def mask_of_surface(
    points_mm: Float, triangles: Int, spacing_mm: float = SURFACE_MM
) -> tuple[Mask, Grid]:
    """Fill a closed surface with voxels.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
        World.
    triangles : ndarray of int, (m, 3)
    spacing_mm : float

    Raises
    ------
    InputError
        If the surface has a border, encloses nothing, or is too large to be a bone in mm.
    """
    import pyvista as pv  # VTK takes a second to load

    faces = np.column_stack([np.full(len(triangles), 3), triangles])
    surface = pv.PolyData(np.asarray(points_mm, dtype=np.float64), faces.ravel()).clean()
    extent = np.ptp(np.asarray(surface.points), axis=0)
    if not FEMUR_MM[0] / 3 <= extent.max() <= FEMUR_MM[1]:
        raise InputError(
            f"the surface is {extent.max():.4g} mm long; allowed {FEMUR_MM[0] / 3:g} to "
            f"{FEMUR_MM[1]:g}: is it in mm?"
        )
    if surface.n_open_edges:
        raise InputError(
            f"the surface is not closed: {surface.n_open_edges} edges have one triangle. Close its "
            "holes first (`bonekit mesh` repairs surfaces)"
        )
    low = np.asarray(surface.points).min(axis=0) - 3 * spacing_mm
    size = np.ceil((extent + 6 * spacing_mm) / spacing_mm).astype(int) + 1
    grid = Grid.of((int(size[0]), int(size[1]), int(size[2])), spacing_mm, low)
    image = pv.ImageData(dimensions=grid.shape, spacing=(spacing_mm,) * 3, origin=tuple(low))
    filled = surface.voxelize_binary_mask(reference_volume=image)
    mask = np.asarray(filled.point_data["mask"]).reshape(grid.shape, order="F") > 0
    if not mask.any():
        raise InputError("the surface encloses nothing at 1 mm")
    return mask, grid


def one_solid(mask: Mask, grid: Grid, field: Grid | None, bone: str) -> Solid:
    """Return the bone of a mask that holds one bone, without crumbs.

    Raises
    ------
    InputError
        If the mask is empty, does not fit the grid, or falls into large pieces.
    """
    if mask.shape != grid.shape or not mask.any():
        raise InputError(f"{bone} mask of shape {mask.shape} on grid {grid.shape} has no voxel")
    solid = solid_of(mask, grid, field)
    named, n = ndi.label(solid.mask)
    size = np.sort(np.bincount(named.ravel())[1:])[::-1]
    if n > 1 and size[1] > SECOND_BONE * size.sum():
        ml = size[:2] * solid.grid.voxel_mm3 / 1000.0
        raise InputError(
            f"the mask of the {bone} holds two bones, of {ml[0]:.0f} and {ml[1]:.0f} ml, or one "
            "that is broken: give a mask of one bone"
        )
    kept = named == np.bincount(named.ravel())[1:].argmax() + 1
    return Solid(kept, solid.grid, solid.field, solid.error_mm)


def head_of(solid: Solid) -> Ball:
    """Find the femoral head: the place where a bone is most like a ball.

    Raises
    ------
    InputError
        If there is none, or there are two as far apart as those of two hips.
    """
    balls = heads_of(solid)
    if not balls:
        raise InputError(
            "no femoral head in the mask: nothing of it is round like a ball of "
            f"{HEAD_MM[0]:.0f} to {HEAD_MM[1]:.0f} mm radius. The head is outside the image, "
            "destroyed, or fused with the acetabulum; or this is no femur"
        )
    if len(balls) > 1:
        raise InputError("the mask holds two femoral heads: give a mask of one bone")
    return balls[0]


def heads_of(solid: Solid) -> list[Ball]:
    """Find what is round like a femoral head, the roundest first, each `APART_MM` from the others.

    Besides the roundest only what is nearly as round counts.
    """
    room = ndi.distance_transform_edt(
        np.pad(solid.mask, 1), sampling=float(solid.grid.spacing_mm[0])
    )[1:-1, 1:-1, 1:-1]
    places = peak_local_max(room, min_distance=4, threshold_abs=0.5 * HEAD_MM[0], exclude_border=0)
    balls = []
    for place in places[:40]:
        centre, radius = solid.grid.world(place), float(room[tuple(place)])
        ball = fit_ball(solid.outline_mm, centre, max(radius, HEAD_MM[0]), solid.error_mm)
        fits = HEAD_MM[0] <= ball.radius_mm <= HEAD_MM[1]
        if fits and ball.share >= ROUND and ball.paired >= PAIRED:
            balls.append(ball)
    balls.sort(key=lambda ball: -ball.share)
    kept: list[Ball] = []
    for ball in balls:
        apart = [np.linalg.norm(ball.centre_mm - one.centre_mm) > APART_MM for one in kept]
        if not kept or (all(apart) and ball.share > NEARLY * kept[0].share):
            kept.append(ball)
    return kept

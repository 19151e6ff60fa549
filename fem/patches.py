"""Patches of a mesh by anatomy: where load cases press, pull and hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, body_region
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ENDPLATE_MM2 = 300.0  # less of an endplate is not one; an adult's has 800 to 2000


def surface_nodes(mesh: VoxelMesh) -> Int:
    """Nodes on the outside of the mesh, (n,): those with fewer than eight elements."""
    count = np.bincount(mesh.elements.ravel(), minlength=mesh.n_nodes)
    return np.flatnonzero(count < 8)


def head_patch(
    mesh: VoxelMesh, anatomy: FemurAnatomy, field: Grid, pole: Float, cap_deg: float
) -> tuple[Int, Float]:
    """Surface nodes of the femoral head round a pole, and the cosines of their angles from it.

    Parameters
    ----------
    mesh : VoxelMesh
    anatomy : FemurAnatomy
    field : Grid
        Nodes at its border lie on a cut, not on the joint.
    pole : ndarray, (3,)
        World unit vector from the head's centre.
    cap_deg : float
        Half angle of the patch, seen from the head's centre.

    Returns
    -------
    nodes : ndarray of int, (n,)
    cosine : ndarray of float, (n,)

    Raises
    ------
    InputError
        If less than 30 % of the patch is in view, or on the bone: the direction misses it.
    """
    surface = surface_nodes(mesh)
    points = mesh.nodes_mm[surface]
    away = points - anatomy.head_centre_mm
    reach = np.linalg.norm(away, axis=1)
    cosine = away @ pole / np.maximum(reach, 1e-9)
    on_head = (reach > 0.75 * anatomy.head_radius_mm) & (reach < 1.25 * anatomy.head_radius_mm)
    index = field.index(points)
    cut = ((index < 0.5) | (index > np.array(field.shape) - 1.5)).any(axis=1)
    chosen = on_head & (cosine > np.cos(np.radians(cap_deg))) & ~cut
    expected = 2 * np.pi * anatomy.head_radius_mm**2 * (1 - np.cos(np.radians(cap_deg)))
    found = np.count_nonzero(chosen) * float(mesh.grid.spacing_mm[0]) ** 2
    if found < 0.3 * expected:
        _refuse_a_miss(mesh, anatomy, field, pole, cap_deg)
        raise InputError(
            f"only {found / 100:.1f} of {expected / 100:.1f} cm2 of the femoral head that should "
            "carry the load are in view: the head is cut, or was not separated from the acetabulum"
        )
    return surface[chosen], np.asarray(cosine[chosen])


def _refuse_a_miss(
    mesh: VoxelMesh, anatomy: FemurAnatomy, field: Grid, pole: Float, cap_deg: float
) -> None:
    """Say that a load misses the head where the scan shows all of it but no surface there.

    Raises
    ------
    InputError
    """
    away = np.degrees(np.arccos(np.clip(anatomy.neck_axis @ pole, -1.0, 1.0)))
    top = anatomy.head_centre_mm + (anatomy.head_radius_mm + 2.0) * pole
    seen = field.index(top)
    inside = bool(((seen > 0.5) & (seen < np.array(field.shape) - 1.5)).all())
    if inside and away < 60.0:
        raise InputError(
            f"the load direction misses the bone: it meets the head {away:.0f} degrees from the "
            f"neck's axis, where the neck is and no surface within {cap_deg:g} degrees. Allowed "
            "are directions onto the head's own surface: check the angles of the load"
        )


def through_the_centre(share: Float, away_mm: Float, direction: Float) -> Float:
    """Tilt a force that is spread over the head so that its line meets the head's centre.

    A ball joint passes no moment. Patches of nodes don't see to that: bricks have more nodes where
    the surface is oblique to them, and a patch ends with whole faces. Lines of action were up to
    0.7 mm off the centre, of a lever of 20 mm to the wall of the neck. Each node's share changes
    in proportion to itself, by a plane over the patch. Where that would pull at nodes, as over a
    head that is half out of view, the force stays where the patch is.

    Parameters
    ----------
    share : ndarray, (n,)
        Of each node, 0 or more.
    away_mm : ndarray, (n, 3)
        From the centre to the nodes.
    direction : ndarray, (3,)
        Of the force.

    Returns
    -------
    ndarray, (n,)
        Shares whose sum is 1.
    """
    share = share / share.sum()
    across = away_mm @ null_space(direction[None])
    middle = share @ across
    about = across - middle
    spread = about.T @ (about * share[:, None])
    tilted = share * (1.0 - about @ np.linalg.lstsq(spread, middle, rcond=None)[0])
    return np.asarray(tilted if tilted.min() >= 0 else share)


def distal_end(mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy, length_mm: float) -> Int:
    """Nodes of the shaft from its end up to a height above its lowest complete section, (n,).

    The height does not depend on the mesh: tetrahedra follow the end of the bone, bricks end at
    the section.
    """
    height = anatomy.height_mm(mesh.nodes_mm)
    lowest = max(float(height.min()), anatomy.distal_mm)
    # the tolerance keeps a layer of nodes together that lies at the limit
    return np.flatnonzero(height <= lowest + length_mm + 1e-6)


def endplate(mesh: VoxelMesh, anatomy: VertebraAnatomy, *, upper: bool, cap_mm: float) -> Int:
    """End nodes of the body's columns that lie near the endplate's plane, (n,).

    Parameters
    ----------
    mesh : VoxelMesh
        Its third axis runs up the vertebral body.
    anatomy : VertebraAnatomy
    upper : bool
    cap_mm : float
        How far from the plane the surface may dip and still be endplate.

    Raises
    ------
    InputError
        If less than 3 cm2 are found.
    """
    ijk = mesh.node_ijk
    sign = 1 if upper else -1
    body = np.flatnonzero(body_region(mesh.nodes_mm, anatomy))
    column = ijk[body, 0] * (ijk[:, 1].max() + 1) + ijk[body, 1]
    order = np.lexsort((sign * ijk[body, 2], column))
    last = np.append(np.flatnonzero(np.diff(column[order])), len(order) - 1)
    ends = body[order[last]]
    centre = anatomy.superior_centre_mm if upper else anatomy.inferior_centre_mm
    normal = anatomy.superior_normal if upper else anatomy.inferior_normal
    dip = np.abs((mesh.nodes_mm[ends] - centre) @ normal)
    chosen = ends[dip <= cap_mm]
    area = len(chosen) * float(mesh.grid.spacing_mm[0]) ** 2
    if area < ENDPLATE_MM2:
        name = "superior" if upper else "inferior"
        raise InputError(
            f"only {area / 100:.1f} cm2 of the {name} endplate were found on the mesh; an adult "
            "endplate has 8 to 20 cm2. Check that the vertebra is complete and not fractured"
        )
    return np.sort(chosen)


def cement_face(mesh: VoxelMesh, part: str, axis: int, *, upper: bool) -> tuple[Int, Float]:
    """Nodes of the flat outer face of a part of cement, and what share of its area each has.

    Parameters
    ----------
    mesh : VoxelMesh
    part : str
        One of the names of `bonekit.segmentation.base.PARTS`.
    axis : int
        Mesh axis that the face is square to.
    upper : bool
        Whether the face looks along that axis or against it.

    Returns
    -------
    nodes : ndarray of int, (n,)
    share : ndarray of float, (n,)

    Raises
    ------
    InputError
        If the mesh has no such part.
    """
    labels = [value for value, name in mesh.names.items() if name == part]
    own = mesh.elements[np.isin(mesh.element_region, labels)]
    if not len(own):
        raise InputError(
            f"the load case presses on cement, but the mesh has no {part}: mesh the bone by "
            "bonekit.fem.cement.loaded_mesh, or take cement_mm=0"
        )
    height = mesh.node_ijk[own, axis]
    outside = height.max() if upper else height.min()
    nodes, count = np.unique(own[height == outside], return_counts=True)
    return nodes, count / count.sum()


def trochanter_patch(
    points_mm: Float, anatomy: FemurAnatomy, outward: Float, depth_mm: float
) -> Int:
    """Which points of the surface lie on the greater trochanter next to a plane that touches it.

    Parameters
    ----------
    points_mm : ndarray, (n, 3)
        Of the surface.
    anatomy : FemurAnatomy
    outward : ndarray, (3,)
        World unit vector from the head's side to the trochanter's.
    depth_mm : float
        How far from the plane the surface may lie.

    Returns
    -------
    ndarray of int, (m,)

    Raises
    ------
    InputError
        If the bone does not reach over the shaft there: the trochanter is not in view.
    """
    reach = points_mm @ outward
    high = anatomy.height_mm(points_mm) > anatomy.flare_mm
    far = reach > float(anatomy.head_centre_mm @ outward) + 1.3 * anatomy.head_radius_mm
    if not (high & far).any():
        raise InputError(
            "the greater trochanter is not in view: no bone lies beside the head above the shaft"
        )
    outermost = float(reach[high & far].max())
    return np.flatnonzero(high & (reach >= outermost - depth_mm))

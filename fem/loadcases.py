"""Load cases: where a bone is held and how it is loaded, from its anatomy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, body_region
from bonekit.errors import InputError
from bonekit.fem.model import Constraint, Load
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LoadCase:
    """Constraints and loads with the words and numbers that define them.

    Parameters
    ----------
    name, description, source : str
    constraints : tuple of Constraint
    loads : tuple of Load
    parameters : mapping
    support : str
        The constraint whose reaction answers the load.
    direction : ndarray, (3,)
        World unit vector of the force on the bone.
    """

    name: str
    description: str
    source: str
    constraints: tuple[Constraint, ...]
    loads: tuple[Load, ...]
    parameters: Mapping[str, float]
    support: str
    direction: Float


def single_leg_stance(
    mesh: VoxelMesh,
    anatomy: FemurAnatomy,
    field: Grid,
    *,
    force_N: float = 1000.0,
    adduction_deg: float = 8.0,
    cap_deg: float = 40.0,
    fixed_mm: float = 10.0,
) -> LoadCase:
    """Press on the femoral head and hold the distal shaft, as in a single-leg stance.

    The force lies in the frontal plane of shaft axis and head centre, inclined to the shaft axis
    so that it points down and outwards. It is spread over the part of the head's surface round the
    force's line, in proportion to the cosine of the angle from it.

    Parameters
    ----------
    mesh : VoxelMesh
        Its axes are the femur's frame.
    anatomy : FemurAnatomy
    field : Grid
        Field of view of the scan: a cut surface there is not articular surface.
    force_N : float
    adduction_deg : float
        Angle of the force to the shaft axis; 8 degrees as in Schileo et al. (2014), up to 20 in
        Keyak's stance (both quoted from memory: unverified).
    cap_deg : float
        Half angle of the loaded part, seen from the head's centre.
    fixed_mm : float
        Length of the distal shaft whose nodes are held in all directions.

    Raises
    ------
    InputError
        If the loaded part of the head is not in view.
    """
    angle = np.radians(adduction_deg)
    direction = -np.cos(angle) * anatomy.shaft_axis - np.sin(angle) * anatomy.medial
    cap, weight = _cap(mesh, anatomy, field, -direction, cap_deg)
    in_mesh = mesh.grid.direction.T @ direction
    force = force_N * weight[:, None] * in_mesh
    height = anatomy.height_mm(mesh.nodes_mm)
    # the tolerance keeps a layer of nodes together that lies at the limit
    held = np.flatnonzero(height <= height.min() + fixed_mm + 1e-6)
    return LoadCase(
        "single_leg_stance",
        f"Force on the femoral head, {adduction_deg:g} degrees to the shaft axis in the frontal "
        f"plane, down and outwards; the distal {fixed_mm:g} mm of the shaft are held.",
        "after Schileo et al., J Biomech 2014, and Keyak et al. 1998 (their angles are quoted "
        "from memory: unverified)",
        (Constraint("distal_shaft", held),),
        (Load("femoral_head", cap, force),),
        {
            "force_N": force_N,
            "adduction_deg": adduction_deg,
            "cap_deg": cap_deg,
            "fixed_mm": fixed_mm,
        },
        "distal_shaft",
        direction,
    )


def _cap(
    mesh: VoxelMesh, anatomy: FemurAnatomy, field: Grid, pole: Float, cap_deg: float
) -> tuple[Int, Float]:
    """Surface nodes of the head round a pole, and their shares of the force (sum 1)."""
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
        raise InputError(
            f"only {found / 100:.1f} of {expected / 100:.1f} cm2 of the femoral head that should "
            "carry the load are in view: the head is cut, or was not separated from the acetabulum"
        )
    return surface[chosen], np.asarray(cosine[chosen] / cosine[chosen].sum())


def surface_nodes(mesh: VoxelMesh) -> Int:
    """Nodes on the outside of the mesh, (n,): those with fewer than eight elements."""
    count = np.bincount(mesh.elements.ravel(), minlength=mesh.n_nodes)
    return np.flatnonzero(count < 8)


def endplate_compression(
    mesh: VoxelMesh, anatomy: VertebraAnatomy, *, strain: float = 0.0068, cap_mm: float = 3.0
) -> LoadCase:
    """Shorten a vertebral body between its endplates.

    The lower endplate is held; the upper is moved down by `strain` times the body's height and
    free to slide, as between two layers of bone cement.

    Parameters
    ----------
    mesh : VoxelMesh
        Its third axis runs up the vertebral body.
    anatomy : VertebraAnatomy
    strain : float
    cap_mm : float
        How far from the fitted plane the surface may dip and still be endplate.

    Raises
    ------
    InputError
        If an endplate is not found on the mesh.
    """
    top = _endplate(mesh, anatomy, upper=True, cap_mm=cap_mm)
    bottom = _endplate(mesh, anatomy, upper=False, cap_mm=cap_mm)
    down = -strain * anatomy.height_mm
    return LoadCase(
        "endplate_compression",
        f"The inferior endplate is held, the superior one moved down by {100 * strain:g} % of the "
        f"body's height ({-down:.3f} mm), free to slide.",
        "boundary conditions of Crawford et al., Bone 2003",
        (
            Constraint("inferior_endplate", bottom),
            Constraint("superior_endplate", top, (2,), down),
        ),
        (),
        {"strain": strain, "height_mm": anatomy.height_mm, "cap_mm": cap_mm},
        "superior_endplate",
        np.asarray(-mesh.grid.direction[:, 2]),
    )


def _endplate(mesh: VoxelMesh, anatomy: VertebraAnatomy, *, upper: bool, cap_mm: float) -> Int:
    """End nodes of the body's columns that lie near the endplate's plane."""
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
    if area < 300.0:
        name = "superior" if upper else "inferior"
        raise InputError(
            f"only {area / 100:.1f} cm2 of the {name} endplate were found on the mesh; an adult "
            "endplate has 8 to 20 cm2. Check that the vertebra is complete and not fractured"
        )
    return np.sort(chosen)

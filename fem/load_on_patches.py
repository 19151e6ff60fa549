"""The load case of a run on any other mesh of the same bone, through its named patches.

`bonekit.fem.loadcases` loads bricks on the anatomical axes; here the same numbers become a step of
a deck on tetrahedra or bricks, with or without parts of bone cement.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.deck import FACES, Step
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.meshing.named_sets import NamedSet
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Patches = Mapping[str, NamedSet]
CLAMPED = "clamped"


def step_on_patches(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy | VertebraAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    """Load a mesh as a load case says.

    Stance: the force acts evenly on the flat face of the cup or, without one, over the head's
    patch as the cosine of the angle from its line; the distal shaft is held over the same length.
    Fall: the head's patch or the cup's face is moved along the force, the pad's face rests.
    Compression: the faces of the caps or, without these, of the endplates are held and moved.

    Parameters
    ----------
    load : LoadCase
        Of the same bone.
    mesh : VoxelMesh or TetMesh
    anatomy : FemurAnatomy or VertebraAnatomy
    patches : mapping of str to NamedSet
        Of `bonekit.meshing.named_sets.named_sets`.
    axes : ndarray, (3, 3)
        Columns: the axes in which the step's forces and displacements stand.

    Raises
    ------
    InputError
        If there is no such load case, or it needs a rigid cap or springs.
    """
    if isinstance(anatomy, FemurAnatomy) and load.name == "single_leg_stance":
        return _stance(load, mesh, anatomy, patches, axes)
    if isinstance(anatomy, VertebraAnatomy) and load.name == "endplate_compression":
        return _compression(load, mesh, patches)
    if isinstance(anatomy, FemurAnatomy) and load.name == "sideways_fall":
        return _fall(load, mesh, anatomy, patches, axes)
    raise InputError(
        f"load case {load.name!r} can't be put on another mesh; known: single_leg_stance and "
        "sideways_fall of a femur, endplate_compression of a vertebra. Leave the load out "
        "(--no-load), or export the run's own bricks"
    )


def _stance(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    head, distal = (load.parameters.get(k, v) for k, v in (("head", "spread"), ("distal", CLAMPED)))
    if head != "spread" or distal != CLAMPED:
        raise InputError(
            f"a stance with head {head!r} and distal {distal!r} needs rigid caps or springs, which "
            "decks don't hold; allowed: head spread, distal clamped. Leave the load out (--no-load)"
        )
    force = float(load.parameters["force_N"]) * (axes.T @ load.direction)
    held = _distal(load, mesh, anatomy)
    with_cup = "cup_face" in patches
    patch = patches["cup_face" if with_cup else "head_cap"]
    nodes, area = node_areas(mesh, patch)
    if not with_cup:
        away = mesh.nodes_mm[nodes] - anatomy.head_centre_mm
        area = area * np.maximum(away @ -load.direction, 0) / np.linalg.norm(away, axis=1)
    spread = np.outer(area / area.sum(), force)
    return Step(
        load.name, (Constraint("distal_shaft", held),), (Load("femoral_head", nodes, spread),)
    )


def _distal(load: LoadCase, mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy) -> Int:
    height = anatomy.height_mm(mesh.nodes_mm)
    return np.flatnonzero(height <= height.min() + float(load.parameters["fixed_mm"]) + 1e-6)


def _fall(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    """Press the head along the first axis against the pad, which rests on the ground."""
    distal = load.parameters["distal"]
    if distal not in (CLAMPED, "sliding") or "pad_face" not in patches:
        raise InputError(
            f"a sideways fall with distal {distal!r} {'and' if 'pad_face' in patches else 'and no'}"
            " pad can't be put on another mesh; needed: distal clamped or sliding (a hinge is a "
            "rigid cap, which decks don't hold) and a pad (--pad)"
        )
    head, _ = node_areas(mesh, patches["cup_face" if "cup_face" in patches else "head_cap"])
    ground, _ = node_areas(mesh, patches["pad_face"])
    travel = float(np.sign(axes[:, 0] @ load.direction)) * float(load.parameters["travel_mm"])
    return Step(
        load.name,
        (
            Constraint("femoral_head", head, (0,), travel),
            Constraint("greater_trochanter", ground, (0,)),
            Constraint(
                "distal_shaft",
                _distal(load, mesh, anatomy),
                (0, 1, 2) if distal == CLAMPED else (1, 2),
            ),
        ),
    )


def _compression(load: LoadCase, mesh: VoxelMesh | TetMesh, patches: Patches) -> Step:
    names = ("inferior_face", "superior_face")
    if "cap_superior_face" in patches:
        names = ("cap_inferior_face", "cap_superior_face")
    bottom, top = (node_areas(mesh, patches[name])[0] for name in names)
    down = -float(load.parameters["strain"]) * float(load.parameters["height_mm"])
    return Step(
        load.name,
        (
            Constraint("inferior_endplate", bottom),
            Constraint("superior_endplate", top, (2,), down),
        ),
    )


def node_areas(mesh: VoxelMesh | TetMesh, patch: NamedSet) -> tuple[Int, Float]:
    """Nodes of a patch, middle ones too, and the area that each stands for.

    The forces of an even traction on flat faces: a third of a triangle for each corner, or for
    each middle node of six; a quarter of a square.

    Returns
    -------
    nodes : ndarray of int, (n,)
        Ascending.
    area_mm2 : ndarray of float, (n,)
        Zero at the corners of ten-node tetrahedra.
    """
    cells = mesh.world_elements
    table = np.array(FACES[cells.shape[1]])
    rows = cells[patch.faces[:, 0][:, None], table[patch.faces[:, 1]]]
    n_corners = 4 if cells.shape[1] == 8 else 3
    x = mesh.nodes_mm[rows[:, :n_corners]]
    turned = np.cross(x - x[:, :1], np.roll(x, -1, axis=1) - x[:, :1]).sum(axis=1)
    face = np.linalg.norm(turned, axis=1) / 2
    carries = rows[:, 3:] if rows.shape[1] == 6 else rows
    share = np.repeat(face / carries.shape[1], carries.shape[1])
    area = np.bincount(carries.ravel(), share, minlength=mesh.n_nodes)
    nodes = np.unique(rows)
    return nodes, area[nodes]

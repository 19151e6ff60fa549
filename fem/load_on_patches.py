"""The load case of a run on any other mesh of the same bone, through its named patches.

`bonekit.fem.loadcases` loads bricks on the anatomical axes; here the same numbers become a step of
a deck on tetrahedra or bricks, with or without parts of bone cement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import RigidCap
from bonekit.fem.conforming_model import ElasticSupport
from bonekit.fem.deck import FACES
from bonekit.fem.deck_step import Step
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.fem.muscles import FORCES, MuscleLoad
from bonekit.fem.patches import distal_end, through_the_centre, trochanter_patch
from bonekit.fem.shaft import under_roller
from bonekit.meshing.named_sets import NamedSet, outside
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Patches = Mapping[str, NamedSet]
Held = tuple[tuple[Constraint, ...], tuple[ElasticSupport, ...], tuple[RigidCap, ...]]


def step_on_patches(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy | VertebraAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    """Load a mesh as a load case says.

    Stance: the force acts evenly on the flat face of the cup or, without one, over the head's
    patch as the cosine of the angle from its line; a rigid cup takes the same nodes. The distal
    shaft is held over the same length, by the same means. Muscles pull evenly at the surface
    round the same places.
    Fall: the head's patch or the cup's face is moved along the force; the pad's face rests or,
    without one, what lies as deep in the ground as in the load case.
    Compression: the faces of the caps or, without these, of the endplates are held and moved; a
    plate that bends or twists is rigid. Torsion: the same lengths of shaft are turned and held.
    Bending: rollers and supports take the surface nodes of the same bands, each roller half of the
    force. Named sets: the same sets, their forces spread evenly over the area.

    Parameters
    ----------
    load : LoadCase
        Of the same bone.
    mesh : VoxelMesh or TetMesh
    anatomy : FemurAnatomy or VertebraAnatomy
    patches : mapping of str to NamedSet
        Of `bonekit.meshing.named_sets.named_sets`.
    axes : ndarray, (3, 3)
        Columns: the axes in which the step's forces and displacements stand, and in which the load
        case's own caps have their components.

    Raises
    ------
    InputError
        If there is no such load case, or the mesh lacks what it needs.
    """
    if isinstance(anatomy, FemurAnatomy) and load.name == "single_leg_stance":
        return _stance(load, mesh, anatomy, patches, axes)
    if isinstance(anatomy, FemurAnatomy) and load.name in FORCES:
        return _muscles(load, mesh, anatomy, patches, axes)
    if isinstance(anatomy, FemurAnatomy) and load.name == "sideways_fall":
        return _fall(load, mesh, anatomy, patches, axes)
    if isinstance(anatomy, FemurAnatomy) and load.name == "shaft_torsion":
        return _torsion(load, mesh, anatomy, axes)
    if isinstance(anatomy, FemurAnatomy) and load.name == "four_point_bending":
        return _bending(load, mesh, anatomy, axes)
    if load.name == "named_sets":
        return _named(load, mesh, patches)
    if isinstance(anatomy, VertebraAnatomy) and load.name == "endplate_compression":
        return _compression(load, mesh, patches)
    if isinstance(anatomy, VertebraAnatomy) and load.name in ("forward_flexion", "combined"):
        return _plate(load, mesh, patches, axes)
    raise InputError(
        f"load case {load.name!r} can't be put on another mesh; known: single_leg_stance, "
        "walking, stair_climbing, sideways_fall, shaft_torsion and four_point_bending of a femur, "
        "endplate_compression, forward_flexion and combined of a vertebra, named_sets. Leave the "
        "load out (--no-load), or export the run's own bricks"
    )


def _stance(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    constraints, supports, caps = _held(load, mesh, anatomy, axes)
    patch = patches.get("cup_face", patches["head_cap"])
    nodes, area = node_areas(mesh, patch)
    if load.parameters.get("head", "spread") != "spread":
        caps = (_cap(load, "femoral_head", nodes, axes), *caps)
        return Step(load.name, constraints, (), supports, caps)
    force = float(load.parameters["force_N"]) * (axes.T @ load.direction)
    share = area / area.sum() if "cup_face" in patches else _cosine(mesh, anatomy, load, patch)
    spread = np.outer(share, force)
    return Step(load.name, constraints, (Load("femoral_head", nodes, spread),), supports, caps)


def _cosine(
    mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy, load: LoadCase, head: NamedSet
) -> Float:
    """Shares of the nodes of the head's patch in a force through its centre."""
    nodes, area = node_areas(mesh, head)
    away = mesh.nodes_mm[nodes] - anatomy.head_centre_mm
    cosine = np.maximum(away @ -load.direction, 0) / np.linalg.norm(away, axis=1)
    return through_the_centre(area * cosine, away, load.direction)


def _muscles(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    """Press on the head's patch, pull at the surface round the muscles' places."""
    own = {field.name for field in fields(MuscleLoad) if field.init}
    numbers: dict[str, Any] = {k: v for k, v in load.parameters.items() if k in own}
    muscles = MuscleLoad(**numbers)
    head, _ = node_areas(mesh, patches["head_cap"])
    contact = muscles.forces(anatomy)["hip_contact"] @ axes
    spread = np.outer(_cosine(mesh, anatomy, load, patches["head_cap"]), contact)
    surface, area = node_areas(mesh, outside(mesh))
    pulls = muscles.pulls(anatomy, surface, mesh.nodes_mm[surface], area, axes)
    held = Constraint("distal_shaft", distal_end(mesh, anatomy, float(load.parameters["fixed_mm"])))
    return Step(load.name, (held,), (Load("hip_contact", head, spread), *pulls))


def _held(load: LoadCase, mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy, axes: Float) -> Held:
    """Hold the distal shaft: clamped, on a joint or a hinge, on springs, or free along the load."""
    nodes = distal_end(mesh, anatomy, float(load.parameters["fixed_mm"]))
    distal = load.parameters.get("distal", "clamped")
    if distal == "pivot":
        return (), (), (_cap(load, "distal_shaft", nodes, axes),)
    if distal == "springs":
        share = float(load.parameters["spring_N_mm"]) / len(nodes)
        return (), (ElasticSupport("distal_shaft", nodes, share),), ()
    components = (1, 2) if distal == "sliding" else (0, 1, 2)
    return (Constraint("distal_shaft", nodes, components),), (), ()


def _cap(load: LoadCase, name: str, nodes: Int, axes: Float) -> RigidCap:
    """Put a rigid cap of the load case on other nodes, its pivot in the axes."""
    for cap in load.caps:
        if cap.name == name:
            return replace(cap, nodes=nodes, pivot_mm=cap.pivot_mm @ axes)
    raise InputError(
        f"load case {load.name} has no rigid cap {name!r} to put on another mesh; it has "
        f"{', '.join(cap.name for cap in load.caps) or 'none'}"
    )


def _fall(
    load: LoadCase,
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy,
    patches: Patches,
    axes: Float,
) -> Step:
    """Press the head along the first axis; the trochanter, or the pad on it, rests."""
    head, _ = node_areas(mesh, patches.get("cup_face", patches["head_cap"]))
    ground, _ = node_areas(mesh, patches.get("pad_face", outside(mesh)))
    if "pad_face" not in patches:
        depth = float(load.parameters["intrusion_mm"])
        rests = trochanter_patch(mesh.nodes_mm[ground], anatomy, load.direction, depth)
        ground = ground[rests]
    travel = float(np.sign(axes[:, 0] @ load.direction)) * float(load.parameters["travel_mm"])
    constraints, _, caps = _held(load, mesh, anatomy, axes)
    pressed = (
        Constraint("femoral_head", head, (0,), travel),
        Constraint("greater_trochanter", ground, (0,)),
    )
    return Step(load.name, (*pressed, *constraints), caps=caps)


def _torsion(load: LoadCase, mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy, axes: Float) -> Step:
    length = float(load.parameters["grip_mm"])
    height = anatomy.height_mm(mesh.nodes_mm)
    top = anatomy.flare_mm
    grip = np.flatnonzero((height >= top - length - 1e-6) & (height <= top + 1e-6))
    held = Constraint("distal_shaft", distal_end(mesh, anatomy, length))
    return Step(load.name, (held,), caps=(_cap(load, "upper_shaft", grip, axes),))


def _bending(load: LoadCase, mesh: VoxelMesh | TetMesh, anatomy: FemurAnatomy, axes: Float) -> Step:
    """Press two rollers against two supports at the ends of the shaft in view."""
    width, depth = (float(load.parameters[key]) for key in ("roller_mm", "intrusion_mm"))
    surface, area = node_areas(mesh, outside(mesh))
    points = mesh.nodes_mm[surface]
    height = anatomy.height_mm(points)
    ends = float(height.min()) + width / 2, anatomy.flare_mm - width / 2
    quarter = (ends[1] - ends[0]) / 4
    share, pressed = np.zeros(len(surface)), np.zeros(len(surface), dtype=bool)
    for at in (ends[0] + quarter, ends[1] - quarter):
        rows = under_roller("rollers", points, height - at, -load.direction, width, depth)
        share[rows] += area[rows] / area[rows].sum() / 2  # each roller bears half of the force
        pressed[rows] = True
    force = float(load.parameters["force_N"]) * (axes.T @ load.direction)
    rollers = Load("rollers", surface[pressed], np.outer(share[pressed], force))
    caps = []
    for name, at in zip(("lower_support", "upper_support"), ends, strict=True):
        rows = under_roller(name, points, height - at, load.direction, width, depth)
        caps.append(_cap(load, name, surface[rows], axes))
    return Step(load.name, (), (rollers,), caps=tuple(caps))


def _named(load: LoadCase, mesh: VoxelMesh | TetMesh, patches: Patches) -> Step:
    """Hold and load the sets that the load case names."""
    asked = {part.name for part in load.constraints} | {part.name for part in load.loads}
    missing = asked - set(patches)
    if missing:
        raise InputError(f"the mesh has no set {sorted(missing)[0]!r}; it has {', '.join(patches)}")
    held = tuple(
        replace(part, nodes=node_areas(mesh, patches[part.name])[0]) for part in load.constraints
    )
    loads = []
    for part in load.loads:
        nodes, area = node_areas(mesh, patches[part.name])
        spread = np.outer(area / area.sum(), part.force_N.sum(axis=0))
        loads.append(Load(part.name, nodes, spread))
    return Step(load.name, held, tuple(loads))


def _endplates(mesh: VoxelMesh | TetMesh, patches: Patches) -> tuple[Int, Int]:
    """Nodes of the inferior and the superior endplate, or of the caps on them."""
    names = ("inferior_face", "superior_face")
    if "cap_superior_face" in patches:
        names = ("cap_inferior_face", "cap_superior_face")
    bottom, top = (node_areas(mesh, patches[name])[0] for name in names)
    return bottom, top


def _compression(load: LoadCase, mesh: VoxelMesh | TetMesh, patches: Patches) -> Step:
    bottom, top = _endplates(mesh, patches)
    down = -float(load.parameters["strain"]) * float(load.parameters["height_mm"])
    return Step(
        load.name,
        (
            Constraint("inferior_endplate", bottom),
            Constraint("superior_endplate", top, (2,), down),
        ),
    )


def _plate(load: LoadCase, mesh: VoxelMesh | TetMesh, patches: Patches, axes: Float) -> Step:
    """Load the upper endplate through a rigid plate, the lower one held."""
    bottom, top = _endplates(mesh, patches)
    held = Constraint("inferior_endplate", bottom)
    return Step(load.name, (held,), caps=(_cap(load, "superior_endplate", top, axes),))


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

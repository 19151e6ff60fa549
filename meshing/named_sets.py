"""Sets of nodes and element faces by what they are on the bone, for loads and for decks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, body_region
from bonekit.errors import InputError
from bonekit.meshing.loading_parts import LoadingPart
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import PARTS

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Corners of the faces in the order of Abaqus (S1, S2, ...), counter-clockwise from outside.
TETRA = np.array([(0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)])
BRICK = np.array(
    [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
)


@dataclass(frozen=True, eq=False)
class NamedSet:
    """A patch of a mesh.

    Parameters
    ----------
    nodes : ndarray of int, (n,)
        Corners of the faces, ascending.
    faces : ndarray of int, (m, 2)
        Element and face of it, counted from 0 in the order of Abaqus.
    area_mm2 : float
    """

    nodes: Int
    faces: Int
    area_mm2: float


@dataclass(frozen=True, eq=False)
class _Skin:
    """Faces with elements of some regions on one side only."""

    corners: Int  # (f, 3 or 4)
    faces: Int  # (f, 2)
    centre_mm: Float
    vector_mm2: Float  # outward normal times area

    @property
    def area_mm2(self) -> Float:
        return np.asarray(np.linalg.norm(self.vector_mm2, axis=1))

    def along(self, axis: Float) -> Float:
        """Cosine of each face's outward normal with an axis, (f,)."""
        return np.asarray(self.vector_mm2 @ axis / self.area_mm2)

    def named(self, chosen: Mask) -> NamedSet:
        return NamedSet(
            np.unique(self.corners[chosen]),
            self.faces[chosen],
            float(self.area_mm2[chosen].sum()),
        )


def named_sets(
    mesh: VoxelMesh | TetMesh,
    anatomy: FemurAnatomy | VertebraAnatomy,
    parts: Sequence[LoadingPart] = (),
    *,
    cap_deg: float = 40.0,
    pole: Float | None = None,
    dip_mm: float = 3.0,
) -> dict[str, NamedSet]:
    """Find the patches of a mesh that carry a load or a support.

    Patches of the bone are those of the bone without its parts: under a part they are where it
    fits on.

    Parameters
    ----------
    mesh : VoxelMesh or TetMesh
    anatomy : FemurAnatomy or VertebraAnatomy
    parts : sequence of LoadingPart
        Those that the mesh holds.
    cap_deg : float
        Half angle of the loaded part of the head about its pole.
    pole : ndarray, (3,), optional
        World unit vector from the head's centre; by default the axis of the cup, or the shaft's.
    dip_mm : float
        How far from its plane an endplate may lie.

    Returns
    -------
    dict of str to NamedSet
        Femur: ``head_cap``, ``distal_face``. Vertebra: ``superior_face``, ``inferior_face``.
        Each part: ``<part>_face``, its flat outer face, and ``<part>_contact``, where it meets
        the bone.

    Raises
    ------
    InputError
        If a patch has no face, or the mesh lacks a part.
    """
    loading = [value for value, name in PARTS.items() if name != "cement"]
    added = np.isin(mesh.element_region, loading)
    bone = _skin(mesh, ~added)
    found = {}
    if isinstance(anatomy, FemurAnatomy):
        if pole is None:
            pole = next((part.axis for part in parts if part.name == "cup"), anatomy.shaft_axis)
        found["head_cap"] = bone.named(_head_cap(bone, anatomy, pole, cap_deg))
        found["distal_face"] = bone.named(_distal(bone, anatomy))
    else:
        for name, centre, normal in (
            ("superior_face", anatomy.superior_centre_mm, anatomy.superior_normal),
            ("inferior_face", anatomy.inferior_centre_mm, anatomy.inferior_normal),
        ):
            near = np.abs((bone.centre_mm - centre) @ normal) <= dip_mm
            outward = bone.along(normal) > 0.5
            found[name] = bone.named(near & outward & body_region(bone.centre_mm, anatomy))
    for part in parts:
        found |= _of_part(mesh, part, bone)
    empty = [name for name, patch in found.items() if not len(patch.faces)]
    if empty:
        raise InputError(
            f"no face of the mesh lies on {', '.join(empty)}: mesh, anatomy and parts don't belong "
            "together, or the bone is cut there"
        )
    return found


def outside(mesh: VoxelMesh | TetMesh) -> NamedSet:
    """Find all faces that belong to one element only."""
    skin = _skin(mesh, np.ones(mesh.n_elements, dtype=bool))
    return skin.named(np.ones(len(skin.faces), dtype=bool))


def interfaces(mesh: VoxelMesh | TetMesh) -> dict[str, NamedSet]:
    """Find the faces between each two regions that touch.

    Returns
    -------
    dict of str to NamedSet
        By the names of the two, as in ``trabecular_lesion``: the faces of the one with the lower
        label.
    """
    cells, region = mesh.world_elements, mesh.element_region
    table = BRICK if isinstance(mesh, VoxelMesh) else TETRA
    every = cells[:, table].reshape(-1, table.shape[1])
    key = np.sort(every, axis=1)
    order = np.lexsort(key.T[::-1])
    same = (key[order[1:]] == key[order[:-1]]).all(axis=1)
    pair = np.stack([order[:-1][same], order[1:][same]], axis=1)
    value = region[pair // len(table)]
    pair = np.where((value[:, 0] > value[:, 1])[:, None], pair[:, ::-1], pair)
    value = np.sort(value, axis=1)
    found = {}
    for low, high in np.unique(value[value[:, 0] != value[:, 1]], axis=0).tolist():
        own = np.sort(pair[(value == (low, high)).all(axis=1), 0])
        x = mesh.nodes_mm[every[own]]
        vector = np.cross(x - x[:, :1], np.roll(x, -1, axis=1) - x[:, :1]).sum(axis=1) / 2
        found["_".join(mesh.names.get(v, f"region{v}") for v in (low, high))] = NamedSet(
            np.unique(every[own]),
            np.stack([own // len(table), own % len(table)], axis=1),
            float(np.linalg.norm(vector, axis=1).sum()),
        )
    return found


def _skin(mesh: VoxelMesh | TetMesh, inside: Mask) -> _Skin:
    """Faces that belong to one of the chosen elements only."""
    cells = mesh.world_elements[inside]
    table = BRICK if isinstance(mesh, VoxelMesh) else TETRA
    every = cells[:, table].reshape(-1, table.shape[1])
    _, first, count = np.unique(
        np.sort(every, axis=1), axis=0, return_index=True, return_counts=True
    )
    own = np.sort(first[count == 1])
    corners = every[own]
    x = mesh.nodes_mm[corners]
    turns = np.roll(x, -1, axis=1)
    vector = np.cross(x - x[:, :1], turns - x[:, :1]).sum(axis=1) / 2
    element = np.flatnonzero(inside)[own // len(table)]
    return _Skin(corners, np.stack([element, own % len(table)], axis=1), x.mean(axis=1), vector)


def _head_cap(skin: _Skin, anatomy: FemurAnatomy, axis: Float, cap_deg: float) -> Mask:
    off = skin.centre_mm - anatomy.head_centre_mm
    reach = np.linalg.norm(off, axis=1)
    on_head = np.abs(reach / anatomy.head_radius_mm - 1) < 0.25
    return np.asarray(on_head & (off @ axis > np.cos(np.radians(cap_deg)) * reach))


def _distal(skin: _Skin, anatomy: FemurAnatomy) -> Mask:
    """Faces across the shaft at its end: within an edge length of the lowest."""
    height = anatomy.height_mm(skin.centre_mm)
    across = skin.along(-anatomy.shaft_axis) > 0.9
    edge = float(np.sqrt(np.median(skin.area_mm2)))
    lowest = height[across].min() if across.any() else np.inf
    return np.asarray(across & (height < lowest + edge))


def _of_part(mesh: VoxelMesh | TetMesh, part: LoadingPart, bone: _Skin) -> dict[str, NamedSet]:
    inside = mesh.element_region == part.label
    if not inside.any():
        present = ", ".join(str(value) for value in np.unique(mesh.element_region))
        raise InputError(
            f"the mesh has no element of the {part.name} (label {part.label}; present: {present}): "
            "name it in `regions` when meshing"
        )
    skin = _skin(mesh, inside)
    edge = float(np.sqrt(np.median(skin.area_mm2)))
    outer = np.abs((skin.centre_mm - part.face_mm) @ part.axis) < edge
    flat = skin.named(outer & (skin.along(part.axis) > 0.8))
    key = np.sort(bone.corners, axis=1)
    shared = _rows_in(np.sort(skin.corners, axis=1), key)
    return {f"{part.name}_face": flat, f"{part.name}_contact": skin.named(shared)}


def _rows_in(rows: Int, table: Int) -> Mask:
    """Which rows occur in a table."""
    _, number = np.unique(np.concatenate([table, rows]), axis=0, return_inverse=True)
    number = np.asarray(number).ravel()
    return np.isin(number[len(table) :], number[: len(table)])

"""Decks of a bone with its parts: regions, interfaces, named patches, cement, and a load step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.deck import Deck, Material
from bonekit.fem.decks import Bins, Hardening, bin_moduli, materials_of, region_sets
from bonekit.fem.load_on_patches import node_areas, step_on_patches
from bonekit.fem.loadcases import LoadCase
from bonekit.meshing.columns import LoadingPart
from bonekit.meshing.named_sets import interfaces, named_sets
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import PARTS

Float = NDArray[np.float64]

# Bone cement: 2 to 3 GPa and 0.3 are usual (unverified: quoted from memory).
PMMA = Material(2500.0, 0.3)


def loaded_deck(
    mesh: VoxelMesh | TetMesh,
    E_MPa: Float,
    nu: float,
    anatomy: FemurAnatomy | VertebraAnatomy,
    load: LoadCase,
    axes: Float,
    parts: Sequence[LoadingPart] = (),
    bins_MPa: float = 50.0,
    hardening: Hardening | None = None,
) -> tuple[Deck, Bins]:
    """Make a deck that another solver can run as it is.

    It has element sets of the regions (``R_``), surfaces and node sets of the named patches
    (``S_``, ``N_``), surfaces of the interfaces between regions (by both names, no prefix: one
    would be too long for Code_Aster), and one step.

    Parameters
    ----------
    mesh : VoxelMesh or TetMesh
    E_MPa : ndarray of float, (n_elements,)
        Of the bone; those of parts are not read, they are `PMMA`.
    nu : float
        Poisson's ratio of the bone.
    anatomy : FemurAnatomy or VertebraAnatomy
    load : LoadCase
        See `step_on_patches`.
    axes : ndarray, (3, 3)
        Right-handed, columns: coordinates, displacements and forces of the deck stand in these.
    parts : sequence of LoadingPart
        Those that the mesh holds.
    bins_MPa : float
        See `bin_moduli`; cement is a material of its own.
    hardening : callable, optional
        See `materials_of`; cement stays elastic.

    Returns
    -------
    deck : Deck
    bins : Bins
        Of all elements; cement, if there is any, is the last material.

    Raises
    ------
    InputError
        If the load case or a patch does not fit the mesh, see `named_sets`.
    """
    if E_MPa.shape != (mesh.n_elements,):
        raise InputError(f"{E_MPa.shape} moduli for {mesh.n_elements} elements")
    stance = isinstance(anatomy, FemurAnatomy)
    cap_deg = float(load.parameters.get("cap_deg", 40.0))
    patches = named_sets(
        mesh, anatomy, parts, cap_deg=cap_deg, pole=-load.direction if stance else None
    )
    step = step_on_patches(load, mesh, anatomy, patches, axes)
    nodes = {f"N_{name}": node_areas(mesh, patch)[0] for name, patch in patches.items()}
    surfaces = {f"S_{name}": patch.faces for name, patch in patches.items()}
    surfaces |= {name: patch.faces for name, patch in interfaces(mesh).items()}
    bins, materials = _materials(mesh, E_MPa, nu, bins_MPa, hardening)
    deck = Deck(
        mesh.nodes_mm @ axes,
        mesh.world_elements,
        bins.material,
        materials,
        nodes,
        region_sets(mesh),
        surfaces,
        (step,),
        (*_told(load, axes, parts), *_binned(bins, bins_MPa)),
    )
    return deck, bins


def _materials(
    mesh: VoxelMesh | TetMesh,
    E_MPa: Float,
    nu: float,
    bins_MPa: float,
    hardening: Hardening | None,
) -> tuple[Bins, tuple[Material, ...]]:
    """Bins of the bone, and cement as the last material."""
    bone = ~np.isin(mesh.element_region, list(PARTS))
    found = bin_moduli(E_MPa[bone], bins_MPa)
    materials = materials_of(found, nu, hardening)
    if bone.all():
        return found, materials
    material = np.full(mesh.n_elements, len(materials), dtype=np.int64)
    material[bone] = found.material
    moduli = np.append(found.E_MPa, PMMA.E_MPa)
    bins = Bins(material, moduli, found.largest_error, found.mean_error)
    return bins, (*materials, PMMA)


def _told(load: LoadCase, axes: Float, parts: Sequence[LoadingPart]) -> list[str]:
    out = [
        f"load case {load.name}: {load.description}",
        "coordinates, displacements and forces are along the axes of the load case;",
        "world (LPS) = D @ deck, with the rows of D:",
        *(" ".join(f"{x:+.9f}" for x in row) for row in axes),
    ]
    if parts:
        names = ", ".join(part.name for part in parts)
        out.append(
            f"parts of cement, E {PMMA.E_MPa:g} MPa, nu {PMMA.nu:g}, loaded and held at their flat "
            f"faces: {names}"
        )
    return out


def _binned(bins: Bins, bins_MPa: float) -> tuple[str, str]:
    return (
        f"moduli of bone within {bins_MPa:g} MPa share a material, which has their mean,",
        f"an error of {bins.largest_error:.3%} at most and {bins.mean_error:.3%} on average",
    )

"""Bone cement between a bone and what loads it, as in tests on cadaver bones.

The blocks are regions of the mesh: cups, pads and caps that fit the bone and are flat outside. They
carry no density, so that no law but their own applies to them, and no criterion judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bonekit.fem.compression import EndplateCompression, vertebra_only
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.laws import fixed_modulus
from bonekit.fem.loadcases import Anatomy, Loading
from bonekit.fem.patches import head_patch
from bonekit.fem.stance import SingleLegStance, femur_only
from bonekit.fem.tissue import Tissue
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.bone import bone_mesh
from bonekit.meshing.loading_parts import with_endplate_caps, with_head_cup, with_trochanter_pad
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import PARTS, Segmentation

# Poisson's ratio is that of the bone's elements; Ogo has 0.3 for both.
CEMENT = fixed_modulus(2500.0, "pmma", "bone cement as in Ogo and in the femur of parosol-py")


def loaded_mesh(
    segmentation: Segmentation,
    loading: Loading,
    edge_mm: float = 1.5,
    field: Grid | None = None,
) -> VoxelMesh:
    """Mesh a bone along the axes of a loading, with the cement that the loading asks for.

    Parameters
    ----------
    segmentation : Segmentation
    loading : Loading
    edge_mm : float
    field : Grid, optional
        Field of view of the scan; that of the labels by default.

    Raises
    ------
    InputError
        See `bone_mesh` and `cemented`.
    """
    mesh = bone_mesh(segmentation, edge_mm, loading.axes(segmentation.anatomy))
    return cemented(mesh, segmentation.anatomy, loading, field or segmentation.labels.grid)


def cemented(mesh: VoxelMesh, anatomy: Anatomy, loading: Loading, field: Grid) -> VoxelMesh:
    """Add the cement that a loading asks for by its `cement_mm`; none of it by default.

    Stance: a cup on the head. Sideways fall: a cup on the head and a pad on the trochanter.
    Compression: caps on both endplates.

    Parameters
    ----------
    mesh : VoxelMesh
        Of the bone alone, along the axes of the loading.
    anatomy : FemurAnatomy or VertebraAnatomy
    loading : Loading
    field : Grid
        Field of view of the scan.

    Raises
    ------
    InputError
        If the cement is thinner than an element, or the part of the bone for it is not in view.
    """
    labels = LabelMap(mesh.region, mesh.grid, dict(mesh.names))
    match loading:
        case SingleLegStance(cement_mm=thick) if thick:
            femur = femur_only(anatomy, loading.name)
            along = loading.direction(femur)
            head_patch(mesh, femur, field, -along, loading.cap_deg)  # refuses a head that is cut
            made = with_head_cup(labels, femur, thick, max(loading.cap_deg, 10.0), along)
        case SidewaysFall(cement_mm=thick) if thick:
            femur = femur_only(anatomy, loading.name)
            along = loading.direction(femur)
            head_patch(mesh, femur, field, -along, loading.cap_deg)
            made = with_head_cup(labels, femur, thick, max(loading.cap_deg, 10.0), along)
            made = with_trochanter_pad(made.labels, femur, thick, loading.intrusion_mm, -along)
        case EndplateCompression(cement_mm=thick) if thick:
            vertebra = vertebra_only(anatomy, loading.name)
            made = with_endplate_caps(labels, vertebra, thick, loading.cap_mm)
        case _:
            return mesh
    region = made.labels.array
    return replace(mesh, region=region, grid=made.labels.grid, names=dict(made.labels.names))


def with_cement(tissue: Tissue, names: Mapping[int, str]) -> Tissue:
    """Add the law of cement for those parts that a mesh names."""
    parts = {name: CEMENT for name in names.values() if name in PARTS.values()}
    return replace(tissue, regions={**tissue.regions, **parts})

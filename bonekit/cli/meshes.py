"""Commands about meshes: mesh, export."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bonekit.cli.app import Output, app
from bonekit.errors import InputError


@app.command
def mesh(
    labels: Path,
    /,
    *,
    out: Output,
    edge: float = 1.5,
    kind: Literal["voxel", "tetra", "surface"] | None = None,
) -> None:
    """Mesh a label map of `bonekit segment`, and measure the mesh.

    Parameters
    ----------
    labels
        Label map with the regions cortex, trabecular, lesion.
    out
        .vtu, .msh, .med for elements; .stl, .ply, .vtp, .obj for a surface.
    edge
        Edge length of the elements in mm.
    kind
        voxel: cubes; tetra: tetrahedra that conform to lesions; surface: closed triangles.
        By default surface for a surface format and voxel otherwise.
    """
    from bonekit.image import read_labels
    from bonekit.meshing.interchange import write_mesh
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.surface import surface, write_surface
    from bonekit.meshing.tetra import tetra_mesh
    from bonekit.meshing.voxelise import voxel_mesh

    surfaces = {".stl", ".ply", ".vtp", ".obj"}
    kind = kind or ("surface" if out.suffix in surfaces else "voxel")
    if (kind == "surface") != (out.suffix in surfaces):
        raise InputError(
            f"a {kind} mesh can't be written to {out.suffix or 'a name without suffix'}; allowed: "
            f"{'.stl .ply .vtp .obj' if kind == 'surface' else '.vtu .msh .med .xdmf'}"
        )
    bone = read_labels(labels)
    if kind == "surface":
        triangles = surface(bone)
        print(report(triangles, bone))
        check(report(triangles, bone))
        write_surface(triangles, out)
    else:
        elements = tetra_mesh(bone, edge) if kind == "tetra" else voxel_mesh(bone, edge)
        print(report(elements, bone))
        check(report(elements, bone))
        write_mesh(elements, out)
    print(out)


@app.command
def export(mesh: Path, out: Path, /, *, nu: float = 0.3, bins: float = 50.0) -> None:
    """Write the mesh of a run for another program, with its materials.

    Parameters
    ----------
    mesh
        mesh.vtu of a run folder.
    out
        .inp for CalculiX and Abaqus (elastic materials in bins); .msh for Gmsh; .med for
        Code_Aster; .vtu.
    nu
        Poisson's ratio written into .inp.
    bins
        Width in MPa of the bins of Young's modulus in .inp.
    """
    from bonekit.fem.decks import export_mesh
    from bonekit.meshing.interchange import read_mesh, write_mesh

    elements, cells, points = read_mesh(mesh)
    if out.suffix != ".inp":
        write_mesh(elements, out, cells, points)
    elif "E_MPa" not in cells:
        raise InputError(f"{mesh} has no field E_MPa: take mesh.vtu of a run folder")
    else:
        found = export_mesh(elements, cells["E_MPa"], nu, out, bins)
        print(f"{len(found.E_MPa)} materials")
    print(out)

"""Commands about meshes: mesh, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

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
def export(
    source: Path,
    out: Path,
    /,
    *,
    tetra: Annotated[bool, Parameter(negative=())] = False,
    edge: float = 3.0,
    order: Literal[1, 2] = 1,
    nu: float = 0.3,
    bins: float = 50.0,
) -> None:
    """Write a finished run for another solver: mesh, materials, sets, supports and load.

    Parameters
    ----------
    source
        Run folder; or a mesh.vtu of one, which is written without supports and load.
    out
        Deck: .inp (CalculiX, Abaqus), .cdb (Ansys), .feb (FEBio 4), .bdf (Nastran), .med with
        .comm (Code_Aster). Of a mesh.vtu also .msh (Gmsh), .vtu.
    tetra
        Mesh the bone anew with tetrahedra that conform to its regions, without load.
    edge
        Edge length of the tetrahedra in mm.
    order
        1: tetrahedra of 4 nodes; 2: of 10.
    nu
        Poisson's ratio, of a mesh.vtu; a run folder knows its own.
    bins
        Moduli within so many MPa share a material.
    """
    from bonekit.pipeline.exporting import export_run, export_tetrahedra

    if not source.is_dir():
        if tetra:
            raise InputError("--tetra needs a run folder: a mesh.vtu holds no labels")
        _export_mesh(source, out, nu, bins)
    elif tetra:
        mesh, _, found = export_tetrahedra(source, out, edge, order, bins)
        print(f"{mesh.n_elements} tetrahedra, {len(found.E_MPa)} materials")
    else:
        print(f"{len(export_run(source, out, bins).E_MPa)} materials")
    print(out)


def _export_mesh(mesh: Path, out: Path, nu: float, bins: float) -> None:
    from bonekit.fem.decks import WRITERS, export_mesh
    from bonekit.meshing.interchange import read_mesh, write_mesh

    elements, cells, points = read_mesh(mesh)
    if out.suffix.lower() not in WRITERS:
        write_mesh(elements, out, cells, points)
    elif "E_MPa" not in cells:
        raise InputError(f"{mesh} has no field E_MPa: take mesh.vtu of a run folder")
    else:
        print(f"{len(export_mesh(elements, cells['E_MPa'], nu, out, bins).E_MPa)} materials")


@app.command(name="map")
def map_(
    folder: Path,
    deck: Path,
    /,
    *,
    out: Output,
    set_: Annotated[str | None, Parameter(name="--set")] = None,
    bins: float = 50.0,
    largest: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Give the elements of your own deck the materials of a run; all else in it stays as it is.

    Parameters
    ----------
    folder
        A folder of `bonekit run`, of the same bone in the same frame (LPS, mm).
    deck
        .inp (CalculiX, Abaqus) or .cdb (Ansys), of tetrahedra or hexahedra.
    out
        The deck to write, in the same format.
    set_
        Only the elements of this set are bone; by default all solids.
    bins
        Moduli within so many MPa share a material.
    largest
        A material takes the largest modulus of its elements, as Bonemat does, and not the mean.
    """
    from bonekit.pipeline.exporting import map_onto

    mesh, found = map_onto(folder, deck, out, set_, bins, "max" if largest else "mean")
    print(
        f"{len(found.material)} of {mesh.n_elements} solids in {len(found.E_MPa)} materials, "
        f"binning moved moduli by {found.mean_error:.2%} on average, {found.largest_error:.2%} "
        "at most"
    )
    print(out)

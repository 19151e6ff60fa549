"""Commands about meshes: mesh, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app
from bonekit.errors import InputError

if TYPE_CHECKING:
    from bonekit.meshing.remeshing import Remeshed


@app.command
def mesh(
    source: Path,
    /,
    *,
    out: Output,
    edge: float | None = None,
    kind: Literal["voxel", "tetra", "surface"] | None = None,
    order: Literal[1, 2] = 1,
    fine: float | None = None,
    unit: Literal["mm", "cm", "m"] = "mm",
    plot: Path | None = None,
) -> None:
    """Mesh a label map, or repair and remesh a surface, and measure the result.

    Parameters
    ----------
    source
        Label map with the regions cortex, trabecular, lesion; or a surface: .stl, .ply, .obj, .vtp.
    out
        .vtu, .msh, .med for elements; .stl, .ply, .vtp, .obj for a surface.
    edge
        Edge length in mm: 1.5 by default, 3 for tetrahedra; a surface keeps its triangles.
    kind
        voxel: cubes; tetra: tetrahedra that conform to all regions; surface: closed triangles.
        By default surface for a surface format and voxel otherwise.
    order
        1: tetrahedra of 4 nodes; 2: of 10, with curved edges.
    fine
        Edge length of tetrahedra in lesions; by default 0.6 of the others.
    unit
        Of the coordinates of a surface that is read: the formats do not say.
    plot
        Picture of the shape of tetrahedra: .png.
    """
    from bonekit.meshing.surface import FORMATS

    surfaces = set(FORMATS)
    kind = kind or ("surface" if out.suffix in surfaces else "voxel")
    if (kind == "surface") != (out.suffix in surfaces):
        raise InputError(
            f"a {kind} mesh can't be written to {out.suffix or 'a name without suffix'}; allowed: "
            f"{'.stl .ply .vtp .obj' if kind == 'surface' else '.vtu .msh .med .xdmf'}"
        )
    if plot and (kind != "tetra" or plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise InputError(f"can't draw {plot}: only tetrahedra, as .png into a folder that exists")
    if source.suffix.lower() in surfaces:
        _mend(source, out, kind, edge, unit)
    elif kind == "surface":
        _surface(source, out, edge)
    else:
        _elements(source, out, kind, edge, order, fine, plot)
    print(out)


def _mend(source: Path, out: Path, kind: str, edge: float | None, unit: str) -> None:
    """Repair a surface, and bring its triangles to an edge length if one is given."""
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.remeshing import remesh
    from bonekit.meshing.repair import check_surface, repair
    from bonekit.meshing.surface import write_surface
    from bonekit.meshing.surface_reading import read_surface

    if kind != "surface":
        raise InputError(
            f"a surface has no regions to fill with {kind} elements: mesh a label map, or write a "
            "surface"
        )
    made, repairs = repair(read_surface(source, unit))  # type: ignore[arg-type]
    print(repairs)
    if edge is not None:
        made, changed = remesh(made, edge)
        print(_told(changed))
    check_surface(made)
    print(report(made))
    check(report(made))
    write_surface(made, out)


def _told(changed: Remeshed) -> str:
    low, median, high = changed.edge_mm
    return (
        f"remeshed: {changed.n_before} -> {changed.n_after} triangles, edges of {median:.2g} mm "
        f"({low:.2g} to {high:.2g}), up to {changed.largest_mm:.2g} mm off the first, volume "
        f"{changed.volume_change:+.2%}"
    )


def _surface(source: Path, out: Path, edge: float | None) -> None:
    from bonekit.image import read_labels
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.remeshing import remesh
    from bonekit.meshing.surface import surface, write_surface

    labels = read_labels(source)
    made = surface(labels)
    if edge is not None:
        made, changed = remesh(made, edge)
        print(_told(changed))
    print(report(made, labels))
    check(report(made, labels))
    write_surface(made, out)


def _elements(
    source: Path,
    out: Path,
    kind: str,
    edge: float | None,
    order: Literal[1, 2],
    fine: float | None,
    plot: Path | None,
) -> None:
    from bonekit.image import read_labels
    from bonekit.meshing.interchange import write_mesh
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.tetra import tetra_mesh
    from bonekit.meshing.voxelise import voxel_mesh

    labels = read_labels(source)
    if kind == "voxel":
        cubes = voxel_mesh(labels, edge or 1.5)
        print(report(cubes, labels))
        check(report(cubes, labels))
        write_mesh(cubes, out)
        return
    sizes = None if fine is None else {"lesion": fine}
    made = tetra_mesh(labels, edge or 3.0, fine_mm=sizes, order=order)
    print(report(made, labels))
    check(report(made, labels))
    write_mesh(made, out)
    if plot:
        from bonekit.figures.mesh_quality import mesh_quality_figure

        plot.write_bytes(mesh_quality_figure(made))
        print(plot)


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

"""Commands about decks for other solvers: export, map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app
from bonekit.cli.meshes import Flag, refuse_unused, wanted_parts
from bonekit.errors import InputError


@app.command
def export(
    source: Path,
    out: Path,
    /,
    *,
    tetra: Flag = False,
    edge: float = 3.0,
    order: Literal[1, 2] = 1,
    surface_voxels: float = 0.5,
    cup: Flag = False,
    caps: Flag = False,
    pad: Flag = False,
    load: str | None = None,
    distal: str | None = None,
    no_load: Flag = False,
    plastic: Flag = False,
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
        .comm (Code_Aster). Of a mesh.vtu, and with --tetra, also .msh (Gmsh), .vtu, .xdmf,
        with every element's own modulus.
    tetra
        Mesh the bone anew with tetrahedra that conform to its regions: the deck has element sets
        R_CORTEX and so on, surfaces S_ and node sets N_ named by anatomy, surfaces of interfaces
        such as CORTEX_LESION, and the supports and load of the run.
    edge
        Edge length of the tetrahedra in mm.
    order
        1: tetrahedra of 4 nodes; 2: of 10.
    surface_voxels
        How far tetrahedra may lie off the labels, at the 95th percentile of each region's surface,
        in voxels; more gives fewer elements.
    cup
        With --tetra: a cup of bone cement (E 2500 MPa, nu 0.3) on the femoral head; the force
        acts on its flat face.
    caps
        With --tetra: caps of bone cement on both endplates, held and moved at their flat faces.
    pad
        With --tetra: a pad of bone cement on the greater trochanter, which rests on the
        ground in a sideways fall.
    load
        With --tetra: the deck's load by name, single_leg_stance, walking, stair_climbing,
        sideways_fall, shaft_torsion, four_point_bending, endplate_compression, forward_flexion or
        combined; its numbers are those that the case states for it, or the defaults. Without a
        name it is the load of the run.
    distal
        With --load sideways_fall: pivot (a hinge), clamped or sliding; with --load
        single_leg_stance: clamped or springs, or pivot where the case guides the head.
    no_load
        Tetrahedra without supports and load, in world coordinates (LPS) and not along the axes of
        the load, which the head of the deck says.
    plastic
        With --tetra: bone yields (von Mises, no hardening) at the strength of its law.
    nu
        Poisson's ratio, of a mesh.vtu; a run folder knows its own.
    bins
        Moduli within so many MPa share a material.
    """
    from bonekit.pipeline.exporting import export_run, export_tetrahedra

    parts = wanted_parts(cup, caps, pad)
    given = {f"--{name}": True for name in parts} | {
        "--load": load is not None,
        "--distal": distal is not None,
        "--no-load": no_load,
        "--plastic": plastic,
    }
    if (no_load and load) or (distal and not load):
        raise InputError(
            "--distal goes with --load NAME, and --no-load without: say which load the deck carries"
        )
    refuse_unused("tetrahedra of a run (--tetra)", tetra and source.is_dir(), given)
    if not source.is_dir():
        if tetra:
            raise InputError("--tetra needs a run folder: a mesh.vtu holds no labels")
        _export_mesh(source, out, nu, bins)
    elif tetra:
        mesh, _, found = export_tetrahedra(
            source,
            out,
            edge,
            order,
            bins,
            parts,
            load=False if no_load else load or True,
            distal=distal,
            plastic=plastic,
            surface_voxels=surface_voxels,
        )
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
    largest: Flag = False,
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

"""The command that meshes: mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bonekit.cli.app import Output, app
from bonekit.errors import InputError

if TYPE_CHECKING:
    from bonekit.image.volume import LabelMap
    from bonekit.meshing.fitted_parts import Part
    from bonekit.meshing.remeshing import Remeshed

Flag = Annotated[bool, Parameter(negative=())]


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
    surface_voxels: float = 0.5,
    cup: Flag = False,
    caps: Flag = False,
    pad: Flag = False,
    coarsen: int | None = None,
    smooth_boundary: Flag = False,
    hole_mm: float | None = None,
    unit: Literal["mm", "cm", "m"] = "mm",
    plot: Path | None = None,
) -> None:
    """Mesh a label map, or repair and remesh a surface, and measure the result.

    Parameters
    ----------
    source
        Label map with the regions cortex, trabecular, lesion; the folder of a run, whose labels
        are taken; or a surface: .stl, .ply, .obj, .vtp.
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
    surface_voxels
        How far tetrahedra may lie off the labels, at the 95th percentile of each region's surface,
        in voxels: edges get as short as that needs, and a mesh that is further off is refused.
    cup
        Add a cup of bone cement that fits the femoral head, flat on top (label 20). Parts need
        the anatomy: give the folder of a run.
    caps
        Add caps of bone cement on both endplates of a vertebra, flat outside (labels 21, 22).
    pad
        Add a pad of bone cement on the greater trochanter, for a fall to the side (label 23).
    coarsen
        Join so many cubes along each edge to one, the fullest first: a mesh at the scale of the
        image, made coarse, keeps its volume. The field fill says how full each is.
    smooth_boundary
        Move the outer nodes of the cubes onto the bone's surface, as far as their shape allows.
    hole_mm
        Largest hole of a surface that is closed, by the diagonal of its box; 10 by default. Say
        the width of the shaft to close a bone that was cut.
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
    mended = source.suffix.lower() in surfaces
    refuse_unused(
        "kind voxel", kind == "voxel" and not mended,
        {"--coarsen": coarsen is not None, "--smooth-boundary": smooth_boundary},
    )  # fmt: skip
    refuse_unused("a surface that is read", mended, {"--hole-mm": hole_mm is not None})
    parts = wanted_parts(cup, caps, pad)
    named = {f"--{name}": True for name in parts}
    refuse_unused("elements of a run's bone", kind != "surface" and source.is_dir(), named)
    if mended:
        _mend(source, out, kind, edge, unit, hole_mm)
    elif kind == "surface":
        _surface(source, out, edge)
    elif kind == "voxel":
        size = 1.5 if edge is None else edge
        _bricks(_labels(source, parts), out, size, coarsen, smooth_boundary, bool(parts))
    else:
        sizes = 3.0 if edge is None else edge, fine, surface_voxels
        _tetrahedra(_labels(source, parts), out, sizes, order, plot)
    print(out)


def wanted_parts(cup: bool, caps: bool, pad: bool) -> list[Part]:
    """Names of the parts that were asked for."""
    wanted: dict[Part, bool] = {"cup": cup, "caps": caps, "pad": pad}
    return [name for name, chosen in wanted.items() if chosen]


def refuse_unused(what: str, fits: bool, given: dict[str, bool]) -> None:
    """Refuse options that would do nothing."""
    names = [name for name, there in given.items() if there]
    if names and not fits:
        raise InputError(f"{', '.join(names)} only for {what}: leave it out")


def _labels(source: Path, parts: list[Part]) -> LabelMap:
    """Labels of a file, or of a run with parts on its bone."""
    from bonekit.image import read_labels

    if not source.is_dir():
        return read_labels(source)
    from bonekit.pipeline.exporting import labels_with_parts

    return labels_with_parts(source, parts)


def _mend(
    source: Path, out: Path, kind: str, edge: float | None, unit: str, hole_mm: float | None
) -> None:
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
    given = read_surface(source, unit)  # type: ignore[arg-type]
    made, repairs = repair(given) if hole_mm is None else repair(given, hole_mm)
    print(repairs)
    if edge is not None:
        made, changed = remesh(made, edge)
        print(_told(changed))
    check_surface(made)
    told = report(made)
    print(told)
    check(told)
    write_surface(made, out)


def _told(changed: Remeshed) -> str:
    low, median, high = changed.edge_mm
    text = (
        f"remeshed: {changed.n_before} -> {changed.n_after} triangles, edges of {median:.2g} mm "
        f"({low:.2g} to {high:.2g}), up to {changed.largest_mm:.2g} mm off the first, volume "
        f"{changed.volume_change:+.2%}"
    )
    if changed.finer:
        text += f"; {changed.finer:.1%} of the area has shorter edges, where walls are thin"
    if changed.n_kept:
        text += f"; {changed.n_kept} small shells keep their triangles"
    return text


def _surface(source: Path, out: Path, edge: float | None) -> None:
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.remeshing import remesh
    from bonekit.meshing.surface import surface, write_surface

    labels = _labels(source, [])
    made = surface(labels)
    if edge is not None:
        made, changed = remesh(made, edge)
        print(_told(changed))
    told = report(made, labels)
    print(told)
    check(told)
    write_surface(made, out)


def _bricks(
    labels: LabelMap, out: Path, edge: float, coarsen_by: int | None, smooth: bool, turned: bool
) -> None:
    """Cubes along the world axes, or along the label map's so that parts stay flat."""
    import numpy as np

    from bonekit.meshing.coarsen import coarsen
    from bonekit.meshing.distance import bone_mask, distance_field
    from bonekit.meshing.interchange import write_mesh
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.smooth_bricks import smooth_boundary
    from bonekit.meshing.voxelise import voxel_mesh
    from bonekit.segmentation.base import BONE_REGIONS, PARTS

    regions = (*BONE_REGIONS, *PARTS.values())
    cubes = voxel_mesh(labels, edge, labels.grid.direction if turned else None, regions)
    fields = {}
    if coarsen_by is not None:
        joined = coarsen(cubes, np.ones(cubes.n_elements), coarsen_by)
        cubes, fields = joined.mesh, {"fill": joined.density_g_cm3}
        print(f"{joined.moved:.2%} of the volume came from cubes that were left out")
    told = report(cubes, labels)
    print(told)
    check(told)
    if not smooth:
        write_mesh(cubes, out, fields)
        return
    moved = smooth_boundary(cubes, distance_field(bone_mask(labels, regions), labels.grid, edge))
    print(
        f"outer nodes moved by up to {moved.largest_mm:.2f} mm, on average {moved.off_mm:.3f} mm "
        f"off the surface; smallest scaled Jacobian {moved.least_jacobian:.2f}"
    )
    write_mesh(moved, out, fields)


def _tetrahedra(
    labels: LabelMap,
    out: Path,
    sizes: tuple[float, float | None, float],
    order: Literal[1, 2],
    plot: Path | None,
) -> None:
    import numpy as np

    from bonekit.meshing.interchange import write_mesh
    from bonekit.meshing.quality import check, report
    from bonekit.meshing.tetra import tetra_mesh
    from bonekit.segmentation.base import BONE_REGIONS, PARTS

    edge, fine, voxels = sizes
    made = tetra_mesh(
        labels,
        edge,
        (*BONE_REGIONS, *PARTS.values()),
        fine_mm=None if fine is None else {"lesion": fine},
        order=order,
        surface_voxels=voxels,
    )
    told = report(made, labels)
    print(told)
    check(told)
    write_mesh(made, out)
    if plot:
        from bonekit.figures.mesh_quality import mesh_quality_figure

        added = np.isin(made.region, list(PARTS))
        at = made.centres_mm[added].mean(axis=0) if added.any() else None
        plot.write_bytes(mesh_quality_figure(made, at))
        print(plot)

"""Repair and remesh every closed surface and label map of the shared data, without a hand.

Surfaces of label maps are decimated within half a voxel, others within 0.2 mm. What is measured
is written after each surface; those that were not asked for keep what an earlier run found.
Seconds are those of the wall; on a machine with other work, `cpu_seconds` is what counts.

python benchmarks/surfaces.py --data ../shared/data --edge 1.5 --json results/surfaces.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.labels import read_labels
from bonekit.image.volume import LabelMap, from_sitk
from bonekit.meshing.decimation import decimate
from bonekit.meshing.remeshing import remesh
from bonekit.meshing.repair import check_surface, repair
from bonekit.meshing.shared_surfaces import region_surfaces
from bonekit.meshing.surface import Surface
from bonekit.meshing.surface_reading import read_surface
from bonekit.meshing.triangles import away

FILE_LIMIT_MM = 0.2  # for the decimation of surfaces from files, which have no voxels
VOXELS = 0.5  # the same for surfaces of label maps
PELVIS = {1: "pelvis", 2: "femur", 3: "sacrum"}
LEVELS = {21: "L2", 22: "L3", 23: "L4"}
Row = dict[str, Any]


def meshes(data: Path, only: tuple[str, ...]) -> Iterator[tuple[str, Surface, Row]]:
    """Surfaces from files, repaired; those in metres are refused first and then read as such."""
    for path in sorted((data / "bone-meshes").glob("*.[so][tb][lj]")):
        if not path.name.startswith(only):
            continue
        start = clocks()
        try:
            raw, unit = read_surface(path), "mm"
        except InputError:
            raw, unit = read_surface(path, "m"), "m"
        sound, done = repair(raw)
        took = since(start)
        largest, _ = away(sound.points_mm, sound.triangles, raw.points_mm, raw.triangles)
        yield path.name, sound, {
            "unit": unit,
            "repairs": str(done),
            "repair_mm": largest,
            "repair_volume": sound.volume_mm3 / raw.volume_mm3 - 1,
            "limit_mm": FILE_LIMIT_MM,
            **took,
        }  # fmt: skip


def labelled(data: Path, only: tuple[str, ...]) -> Iterator[tuple[str, Surface, Row]]:
    """Surfaces of label maps: each region of its own, all made at once."""
    if "ct-vertebra".startswith(only):
        labels = read_labels(data / "ct-vertebra" / "sub-ct_seg-vert_label-22_msk.nii.gz")
        yield from regions("ct-vertebra", LabelMap(labels.array, labels.grid, LEVELS))
    for patient in ("Pelvic-Ref-001", "Pelvic-Ref-002", "Pelvic-Ref-004"):
        if not patient.startswith(only):
            continue
        image = from_sitk(sitk.ReadImage(data / "pelvis-muscle-labels" / patient / "label.mhd"))
        yield from regions(patient, LabelMap(image.array, image.grid, PELVIS))


def regions(name: str, labels: LabelMap) -> Iterator[tuple[str, Surface, Row]]:
    """Surface of each region that a label map has."""
    start = clocks()
    made = region_surfaces(labels, tuple(labels.names.values()))
    took = since(start)
    assert made.smoothing is not None
    for region in made.names.values():
        yield f"{name} {region}", made.of(region), {
            "smoothing_voxels": made.smoothing.largest_voxels,
            "smoothing_mm": made.smoothing.largest_mm,
            "smoothing_volume": made.smoothing.volume_change[region],
            "filled_voxels": made.n_filled,
            "limit_mm": VOXELS * float(labels.spacing_mm.min()),
            **took,
        }  # fmt: skip


def row(name: str, surface: Surface, edge_mm: float, limit_mm: float) -> Row:
    """Measures of a surface, remeshed to an edge length and decimated within a distance."""
    out: Row = {"name": name, "triangles": len(surface.triangles), "watertight": sound(surface)}
    for what, function, number in (("remesh", remesh, edge_mm), ("decimate", decimate, limit_mm)):
        start = clocks()
        try:
            made, found = function(surface, number)
            out[what] = asdict(found) | {"watertight": sound(made)}
        except (InputError, MeshQualityError) as error:
            out[what] = {"refused": str(error)}
        out[what] |= since(start)
    return out


def clocks() -> tuple[float, float]:
    """Clock on the wall and that of the processor, in seconds."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> Row:
    """Seconds that passed on both clocks."""
    wall, cpu = clocks()
    return {"seconds": wall - start[0], "cpu_seconds": cpu - start[1]}


def sound(surface: Surface) -> bool | str:
    """Whether the surface bounds a solid, or why it doesn't."""
    try:
        check_surface(surface)
    except InputError as error:
        return str(error)
    return True


def main() -> None:
    """Write the table."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=here.parents[1] / "shared" / "data")
    parser.add_argument("--edge", type=float, default=1.5)
    parser.add_argument("--json", type=Path, default=here / "results" / "surfaces.json")
    parser.add_argument("--only", nargs="*", default=[""], help="how names begin")
    options = parser.parse_args()
    before = json.loads(options.json.read_text())["surfaces"] if options.json.exists() else []
    rows = {found["name"]: found for found in before}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for source in (meshes, labelled):
        for name, surface, made in source(options.data, tuple(options.only)):
            rows[name] = made | row(name, surface, options.edge, made["limit_mm"])
            print(json.dumps(rows[name]), flush=True)
            table = {"edge_mm": options.edge, "surfaces": list(rows.values())}
            options.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

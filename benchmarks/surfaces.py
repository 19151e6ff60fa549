"""Repair and remesh every closed surface and label map of the shared data, without a hand.

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

PELVIS = {1: "pelvis", 2: "femur", 3: "sacrum"}
LEVELS = {21: "L2", 22: "L3", 23: "L4"}
Row = dict[str, Any]


def meshes(data: Path) -> Iterator[tuple[str, Surface, Row]]:
    """Surfaces from files, repaired; those in metres are refused first and then read as such."""
    for path in sorted((data / "bone-meshes").glob("*.[so][tb][lj]")):
        start = time.perf_counter()
        try:
            raw, unit = read_surface(path), "mm"
        except InputError:
            raw, unit = read_surface(path, "m"), "m"
        sound, done = repair(raw)
        seconds = time.perf_counter() - start
        largest, _ = away(sound.points_mm, sound.triangles, raw.points_mm, raw.triangles)
        yield path.name, sound, {
            "unit": unit,
            "repairs": str(done),
            "repair_mm": largest,
            "repair_volume": sound.volume_mm3 / raw.volume_mm3 - 1,
            "seconds": seconds,
        }  # fmt: skip


def labelled(data: Path) -> Iterator[tuple[str, Surface, Row]]:
    """Surfaces of label maps: each region of its own, all made at once."""
    labels = read_labels(data / "ct-vertebra" / "sub-ct_seg-vert_label-22_msk.nii.gz")
    yield from regions("ct-vertebra", LabelMap(labels.array, labels.grid, LEVELS))
    for patient in ("Pelvic-Ref-001", "Pelvic-Ref-002", "Pelvic-Ref-004"):
        image = from_sitk(sitk.ReadImage(data / "pelvis-muscle-labels" / patient / "label.mhd"))
        yield from regions(patient, LabelMap(image.array, image.grid, PELVIS))


def regions(name: str, labels: LabelMap) -> Iterator[tuple[str, Surface, Row]]:
    """Surface of each region that a label map has."""
    start = time.perf_counter()
    made = region_surfaces(labels, tuple(labels.names.values()))
    seconds = time.perf_counter() - start
    assert made.smoothing is not None
    for region in made.names.values():
        yield f"{name} {region}", made.of(region), {
            "smoothing_voxels": made.smoothing.largest_voxels,
            "smoothing_mm": made.smoothing.largest_mm,
            "smoothing_volume": made.smoothing.volume_change[region],
            "filled_voxels": made.n_filled,
            "seconds": seconds,
        }  # fmt: skip


def row(name: str, surface: Surface, edge_mm: float) -> Row:
    """Measures of a surface, remeshed to an edge length and decimated to 0.2 mm."""
    out: Row = {"name": name, "triangles": len(surface.triangles), "watertight": sound(surface)}
    for what, function, number in (("remesh", remesh, edge_mm), ("decimate", decimate, 0.2)):
        start = time.perf_counter()
        try:
            made, found = function(surface, number)
            out[what] = asdict(found) | {"watertight": sound(made)}
        except (InputError, MeshQualityError) as error:
            out[what] = {"refused": str(error)}
        out[what]["seconds"] = time.perf_counter() - start
    return out


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
    options = parser.parse_args()
    rows = []
    for source in (meshes, labelled):
        for name, surface, made in source(options.data):
            rows.append(made | row(name, surface, options.edge))
            print(json.dumps(rows[-1]), flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"edge_mm": options.edge, "surfaces": rows}, indent=1)
    options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""Landmarks of every real femur and vertebra at hand: a table, and a picture of each to look at.

    python benchmarks/landmarks.py --data ../shared/data --out out/landmarks

CTs are segmented by the built-in method. `landmarks.json` holds angles, sizes and confidences.

    python benchmarks/landmarks.py --phantoms 6 --out out/landmarks

measures whole phantom femora of limbs flexed by 0, 30 and 60 degrees, each turned by up to 30
degrees about any axis, against their truth: the phantoms of the tests. `phantoms.json` holds the
largest error over all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

import bonekit
from bonekit.anatomy.femur import FemurAnatomy, side_of
from bonekit.anatomy.find import find_femur, find_vertebra, mask_of_surface
from bonekit.anatomy.landmark import between_deg
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.figures.anatomy import anatomy_drawing
from bonekit.image import read_labels
from bonekit.image.volume import Grid, LabelMap
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.segmentation.femur import anatomy_of, segment_femora

SURFACES = (
    "gfxmorph_femur",
    "gfxmorph_femur_cortex",
    "libhip_m3_lfemur_mm",
    "libhip_m4_rfemur_mm",
    "comodo_vertebra",
)
SCANS = (
    "ct-femur/STS_015_CT",
    "ct-femur/STS_040_CT",
    "ct-femur/STS_001_CT",
    "ct-femur/STS_011_CT",
    "ct-femur/STS_013_CT",
    "ct-pelvis-spine/example_ct",
)
TESTS = Path(__file__).resolve().parents[1] / "tests" / "unit" / "anatomy"
TRUE = {
    "head_centre": "head_centre_mm",
    "greater_trochanter": "greater_trochanter_tip_mm",
    "lesser_trochanter": "lesser_trochanter_tip_mm",
    "medial_condyle": "medial_condyle",
    "lateral_condyle": "lateral_condyle",
}
FLEXION_DEG = (0.0, 30.0, 60.0)
EDGE_MM = 2.0  # of the cubes in the pictures
Anatomy = FemurAnatomy | VertebraAnatomy
Found = tuple[str, np.ndarray, Grid, Anatomy]


def surfaces(folder: Path) -> Iterator[Found]:
    """Closed surfaces, filled."""
    for name in SURFACES:
        mesh = pv.read(folder / f"{name}.stl").triangulate()
        triangles = np.asarray(mesh.faces).reshape(-1, 4)[:, 1:]
        mask, grid = mask_of_surface(np.asarray(mesh.points, dtype=np.float64), triangles)
        find = find_vertebra if "vertebra" in name else find_femur
        yield name, mask, grid, find(mask, grid)


def femora(data: Path) -> Iterator[Found]:
    """Femora in CTs."""
    for name in SCANS:
        ct = bonekit.read(data / f"{name}.nii.gz").canonical()
        for femur in segment_femora(ct):
            label = f"{Path(name).name}_{femur.side}"
            yield label, femur.femur, femur.grid, anatomy_of(femur, ct.grid)


def vertebrae(data: Path) -> Iterator[Found]:
    """Vertebrae of label maps."""
    labels = read_labels(data / "ct-pelvis-spine" / "example_ct_labels_v1.nii.gz")
    for value, level in ((95, "T11"), (96, "T12"), *((87 + n, f"L{n}") for n in range(1, 6))):
        mask = np.asarray(labels.array == value)
        try:
            yield f"vertebra_{level}", mask, labels.grid, find_vertebra(mask, labels.grid)
        except InputError as error:
            print(f"vertebra_{level}: {error}")


def measured(anatomy: Anatomy) -> dict[str, Any]:
    """Plain numbers."""
    told: dict[str, Any] = {
        angle.name: None if angle.value_deg is None else round(angle.value_deg, 1)
        for angle in anatomy.angles
    }
    if isinstance(anatomy, FemurAnatomy):
        told |= {"side": anatomy.side, "side by shape": side_of(anatomy)[0]}
        told |= {"head radius mm": round(anatomy.head_radius_mm, 1)}
        told |= {"offset mm": round(anatomy.offset_mm, 1)}
    elif anatomy.heights_mm is not None:
        told["heights mm"] = [round(height, 1) for height in anatomy.heights_mm]
    told["confidence"] = {mark.name: round(mark.confidence, 2) for mark in anatomy.landmarks}
    return told


def missed(seed: int, flexion_deg: float) -> dict[str, float]:
    """Errors in mm and degrees of one whole phantom femur; NaN of what was not found."""
    sys.path.insert(0, str(TESTS))
    from bones import flexed_pose  # the phantoms with a knee are those of the tests

    bone = flexed_pose(seed, flexion_deg, knee=True)
    grid = bone.grid()
    found = find_femur(bone.mask(grid), grid)
    true, par = bone.landmarks(), bone.parameters
    points = {name: found.landmark_mm(name) for name in TRUE}
    error = {
        f"{name}_mm": np.nan if p is None else float(np.linalg.norm(p - true[TRUE[name]]))
        for name, p in points.items()
    }
    version = np.nan if found.anteversion_deg is None else found.anteversion_deg
    error["shaft_axis_deg"] = between_deg(found.shaft_axis, bone.direction([0, 0, 1]))
    error["neck_axis_deg"] = between_deg(-found.neck_axis, bone.direction(bone.shape.neck_axis))
    error["anteversion_deg"] = abs(version - par.anteversion_deg)
    error["wrong_side"] = float(found.side != par.side)
    return error


def phantoms(n: int, out: Path) -> None:
    """Largest errors of `n` phantoms in each flexion."""
    table = []
    for seed in range(n):
        for flexion_deg in FLEXION_DEG:
            table.append(missed(seed, flexion_deg))
            rounded = {name: round(error, 2) for name, error in table[-1].items()}
            print(seed, flexion_deg, json.dumps(rounded), flush=True)
    worst = {name: round(max(row[name] for row in table), 2) for name in table[0]}
    told = {"femora": len(table), "largest": worst}
    (out / "phantoms.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))


def main() -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the third-party data")
    parser.add_argument("--phantoms", type=int, help="so many phantoms instead")
    parser.add_argument("--out", type=Path, default=Path("out/landmarks"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.phantoms:
        phantoms(given.phantoms, given.out)
        return
    if given.data is None:
        parser.error("give --data or --phantoms")
    table = {}
    for source in (surfaces(given.data / "bone-meshes"), vertebrae(given.data), femora(given.data)):
        for name, mask, grid, anatomy in source:
            labels = LabelMap(mask.astype(np.uint8), grid, {1: "cortex"})
            mesh = voxel_mesh(labels, EDGE_MM, anatomy.frame)
            (given.out / f"{name}.png").write_bytes(anatomy_drawing(mesh, anatomy))
            table[name] = measured(anatomy)
            print(name, json.dumps(table[name]), flush=True)
    (given.out / "landmarks.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

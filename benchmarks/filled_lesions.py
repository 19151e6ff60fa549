"""What the counterfactual costs: strength of filled bones beside that of the bone without lesion.

Phantoms of one seed with and without a lesion; the lesion is filled by healthy bone around it of
the same depth, and for femora after the other side of the body as well (another seed: another
texture, another posture). Errors are those of the mean density of the filled part, and of the
strength.

    python benchmarks/filled_lesions.py --json benchmarks/results/filled_lesions.json
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import bonekit
from bonekit.anatomy.femur import femur_anatomy
from bonekit.anatomy.vertebra import vertebra_anatomy
from bonekit.lesions import Intact, intact, intact_from
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import Segmentation

SCANNER = ScannerParameters(spacing_mm=(1.2, 1.2, 1.5))
SIZES_MM = {"small": 9.0, "large": 14.0}
CASES = (
    ("femur", "neck", "lytic", (0.0, 0.0, 0.0)),
    ("femur", "neck", "lytic", (0.0, 0.0, -10.0)),
    ("femur", "neck", "blastic", (0.0, 0.0, 0.0)),
    ("femur", "subtrochanteric", "lytic", (-10.0, 0.0, 0.0)),
    ("femur", "subtrochanteric", "blastic", (0.0, 0.0, 0.0)),
    ("vertebra", "body", "lytic", (0.0, 0.0, 0.0)),
    ("vertebra", "body_anterior", "lytic", (0.0, 0.0, 0.0)),
    ("vertebra", "body", "blastic", (0.0, 0.0, 0.0)),
)


def make(bone: str, lesion: LesionParameters | None, seed: int, side: str = "right") -> Phantom:
    if bone == "vertebra":
        return vertebra_phantom(None, lesion, scanner=SCANNER, seed=seed)
    turned = {"flexion_deg": 8.0, "external_rotation_deg": 10.0} if side == "left" else {}
    return femur_phantom(FemurParameters(side=side, **turned), lesion, scanner=SCANNER, seed=seed)


def segmented(made: Phantom) -> Segmentation:
    """Exact labels with measured landmarks."""
    mask = made.labels.mask("cortex", "trabecular", "lesion")
    if made.bone.startswith("vertebra"):
        return Segmentation(made.bone, made.labels, vertebra_anatomy(mask, made.ct.grid))
    head = np.array(made.truth["head_centre_mm"])
    radius = made.truth["parameters"]["femur"]["head_radius_mm"]
    side = made.bone.rpartition("_")[2]
    anatomy = femur_anatomy(mask, made.ct.grid, side, head, radius)
    return Segmentation(made.bone, made.labels, anatomy)


def force(bone: Segmentation, density: bonekit.density.DensityImage, edge_mm: float) -> float:
    problem = bonekit.set_up(bonekit.mesh(bone, edge_mm), density, bone)
    return float(bonekit.judge(problem, bonekit.solve(problem, rtol=1e-6)).strength_N)


@cache
def healthy_of(bone: str, edge_mm: float) -> tuple[Phantom, float]:
    """Bone without lesion, and its strength."""
    made = make(bone, None, 3)
    return made, force(segmented(made), made.density, edge_mm)


@cache
def other_side() -> tuple[Segmentation, bonekit.density.DensityImage]:
    made = make("femur", None, 5, "left")
    return segmented(made), made.density


def error(made: Intact, ill: Segmentation, healthy: Phantom, whole_N: float, edge_mm: float) -> Any:
    bone = Segmentation(ill.bone, made.labels, ill.anatomy)
    was, now = (density.array[made.filled] for density in (healthy.density, made.density))
    return {
        "density": round(float(now.mean() / was.mean() - 1), 4),
        "density_rms_g_cm3": round(float(np.sqrt(np.mean((now - was) ** 2))), 4),
        "strength": round(force(bone, made.density, edge_mm) / whole_N - 1, 4),
    }


def case(
    bone: str, site: str, kind: str, offset_mm: tuple[float, ...], radius_mm: float, edge_mm: float
) -> dict[str, Any]:
    lesion = LesionParameters(kind=kind, site=site, offset_mm=offset_mm, radii_mm=(radius_mm,) * 3)
    healthy, whole_N = healthy_of(bone, edge_mm)
    made = make(bone, lesion, 3)
    ill = segmented(made)
    around = intact(made.labels, made.density)
    found: dict[str, Any] = {
        "bone": bone,
        "site": site,
        "offset_mm": offset_mm,
        "kind": kind,
        "radius_mm": radius_mm,
        "healthy_N": round(whole_N),
        "with_lesion": round(force(ill, made.density, edge_mm) / whole_N - 1, 4),
        "filled_from_around": error(around, ill, healthy, whole_N, edge_mm),
    }
    if bone == "femur":
        mirrored = intact_from(ill, made.density, *other_side())
        found["filled_from_the_other_side"] = error(mirrored.intact, ill, healthy, whole_N, edge_mm)
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge-mm", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = [
        case(*what, radius_mm, given.edge_mm) for radius_mm in SIZES_MM.values() for what in CASES
    ]
    if given.json:
        given.json.write_text(
            json.dumps({"edge_mm": given.edge_mm, "cases": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()

"""Bricks and tetrahedra of one femur under one load: both engines tend to one answer.

A synthetic femur in stance: the force spread over the head, the shaft clamped. Bricks go through
the voxel engine, tetrahedra of ten nodes through the conforming one; density, law, load, support
and criterion are the same, and the criterion weighs elements by their volume.

    python benchmarks/engines_on_a_femur.py --json benchmarks/results/engines_on_a_femur.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy.spatial import cKDTree

import bonekit
from bonekit.density import DensityImage
from bonekit.fem.conforming import solve_conforming
from bonekit.fem.conforming_model import ConformingModel
from bonekit.fem.load_on_patches import step_on_patches
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Model
from bonekit.fem.simulation import standard_law
from bonekit.fem.solve import solve
from bonekit.fem.strength import AWAY_MM, BONE_MPA, utilisation
from bonekit.fem.tissue import of_image
from bonekit.image import LabelMap
from bonekit.meshing.bone import bone_of
from bonekit.meshing.conserve import bone_image
from bonekit.meshing.named_sets import named_sets
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.tetra import tetra_mesh
from bonekit.meshing.voxel import VoxelMesh
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom
from bonekit.segmentation.base import Segmentation

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

BRICKS_MM = (4.0, 3.0, 2.0, 1.5, 1.0)
TETRAHEDRA_MM = (12.0, 8.0, 6.0)
SHARE = 0.01  # of the volume beyond the strain limits, see `bonekit.fem.strength.strain_limit`


def healthy(seed: int) -> tuple[Segmentation, DensityImage]:
    scanner = ScannerParameters(spacing_mm=(1.0, 1.0, 1.0))
    made = femur_phantom(FemurParameters(side="right"), scanner=scanner, seed=seed)
    mask = made.labels.mask("cortex", "trabecular").astype("u1")
    labels = LabelMap(mask, made.ct.grid, {1: "femur_right"})
    return bonekit.from_labels(made.ct, labels, "femur_right"), made.density


def answer(
    mesh: VoxelMesh | TetMesh, femur: Segmentation, ash: DensityImage, load: LoadCase
) -> dict[str, Any]:
    """Stiffness and strength of a mesh, by the engine that it is for."""
    law = standard_law(femur.bone)
    image = bone_image(ash, bone_of(femur), mesh)
    E = of_image(image, mesh)(np.arange(mesh.n_elements), law).E_MPa
    patches = named_sets(
        mesh, femur.anatomy, cap_deg=float(load.parameters["cap_deg"]), pole=-load.direction
    )
    bricks = isinstance(mesh, VoxelMesh)
    axes = mesh.grid.direction if isinstance(mesh, VoxelMesh) else np.eye(3)
    step = step_on_patches(load, mesh, femur.anatomy, patches, axes)
    if isinstance(mesh, VoxelMesh):
        found = solve(Model(mesh, E, 0.3, step.constraints, step.loads), 1e-7)
        volume = np.full(mesh.n_elements, mesh.grid.voxel_mm3)
    else:
        found = solve_conforming(ConformingModel(mesh, E, 0.3, step.constraints, step.loads), 1e-7)
        volume = mesh.volumes_mm3
    force = step.loads[0].force_N
    applied = float(np.linalg.norm(force.sum(axis=0)))
    moved = float((force * found.displacement_mm[step.loads[0].nodes]).sum()) / applied
    ends = np.concatenate([step.constraints[0].nodes, step.loads[0].nodes])
    away = cKDTree(mesh.nodes_mm[ends]).query(mesh.centres_mm)[0] > AWAY_MM
    judged = away & (E >= BONE_MPA)
    return {
        "elements": mesh.n_elements,
        "unknowns": 3 * mesh.n_nodes,
        "volume_mm3": float(volume.sum()),
        "stiffness_N_mm": applied / moved,
        "strength_N": applied / beyond(utilisation(found.strain)[judged], volume[judged]),
        "energy_balance": found.energy_balance,
        "engine": "voxel" if bricks else "conforming",
    }


def beyond(used: np.ndarray, volume: np.ndarray) -> float:
    """Utilisation that a share of the volume exceeds."""
    order = np.argsort(used)[::-1]
    return float(np.interp(SHARE * volume.sum(), np.cumsum(volume[order]), used[order]))


def study(seed: int, bricks_mm: list[float], tetrahedra_mm: list[float]) -> dict[str, Any]:
    femur, ash = healthy(seed)
    load = bonekit.set_up(bonekit.mesh(femur, max(bricks_mm)), ash, femur).load
    rows = []
    for edge in bricks_mm:
        rows.append({"edge_mm": edge, **answer(bonekit.mesh(femur, edge), femur, ash, load)})
        print(rows[-1], flush=True)
    for edge in tetrahedra_mm:  # the surface may be off by a twelfth of that in voxels of 1 mm
        mesh = tetra_mesh(femur.labels, edge, interfaces=(), order=2, surface_voxels=edge / 12)
        rows.append({"edge_mm": edge, **answer(mesh, femur, ash, load)})
        print(rows[-1], flush=True)
    return {"seed": seed, "rows": rows, "finest_apart": apart(rows)}


def apart(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Finest bricks over finest tetrahedra, less 1."""
    last = {row["engine"]: row for row in rows}
    return {
        key: last["voxel"][key] / last["conforming"][key] - 1
        for key in ("stiffness_N_mm", "strength_N")
    }


def draw(found: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, key, words in zip(
        axes, ("stiffness_N_mm", "strength_N"), ("Stiffness (N/mm)", "Strength (N)"), strict=True
    ):
        for engine, style in (("voxel", "s-"), ("conforming", "^-")):
            mine = [row for row in found["rows"] if row["engine"] == engine]
            label = {"voxel": "bricks", "conforming": "tetrahedra of ten nodes"}[engine]
            ax.plot([r["unknowns"] for r in mine], [r[key] for r in mine], style, label=label)
        highest = max(row[key] for row in found["rows"])
        ax.set(xlabel="Unknowns", ylabel=words, xscale="log", ylim=(0, 1.1 * highest))
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bricks", type=float, nargs="+", default=BRICKS_MM)
    parser.add_argument("--tetrahedra", type=float, nargs="+", default=TETRAHEDRA_MM)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = study(given.seed, list(given.bricks), list(given.tetrahedra))
    print(json.dumps(found["finest_apart"]))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
        draw(found, given.json.with_suffix(".png"))


if __name__ == "__main__":
    main()

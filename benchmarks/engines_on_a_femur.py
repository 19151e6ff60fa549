"""Bricks and tetrahedra of one femur under one load: both engines tend to one answer.

A synthetic femur in stance: the force spread over the head, the shaft clamped. Bricks go through
the voxel engine, tetrahedra of ten nodes through the conforming one; density, law, load, support
and criterion are the same, and the criterion weighs elements by their volume.

Where the lattice of bricks lies across the shaft is arbitrary, and decides how thin walls are cut
into steps: each size is solved at four places of the lattice, and their scatter is its error bar.

    python benchmarks/engines_on_a_femur.py --json benchmarks/results/engines_on_a_femur.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy import ndimage
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
from bonekit.meshing.voxelise import voxel_mesh
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom
from bonekit.segmentation.base import Segmentation

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

BRICKS_MM = (4.0, 3.0, 2.0, 1.5, 1.0)
TETRAHEDRA_MM = (12.0, 8.0, 6.0, 4.5)
PLACES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))  # of the lattice, in edges
SHARE = 0.01  # of the volume beyond the strain limits, see `bonekit.fem.strength.strain_limit`


def healthy(seed: int) -> tuple[Segmentation, DensityImage]:
    scanner = ScannerParameters(spacing_mm=(1.0, 1.0, 1.0))
    made = femur_phantom(FemurParameters(side="right"), scanner=scanner, seed=seed)
    mask = made.labels.mask("cortex", "trabecular").astype("u1")
    labels = LabelMap(mask, made.ct.grid, {1: "femur_right"})
    return bonekit.from_labels(made.ct, labels, "femur_right"), made.density


def bricks(femur: Segmentation, edge_mm: float, place: tuple[float, float]) -> VoxelMesh:
    """`bonekit.mesh` with its lattice moved across the shaft by parts of an edge."""
    anatomy = femur.anatomy
    moved = edge_mm * anatomy.frame[:, :2] @ np.array(place)
    cut = anatomy.shaft_point_mm + anatomy.distal_mm * anatomy.shaft_axis + moved
    mesh = voxel_mesh(femur.labels, edge_mm, anatomy.frame, corner_mm=cut, keep_regions=False)
    region = mesh.region.copy()
    below = anatomy.height_mm(mesh.centres_mm) < anatomy.distal_mm
    region[tuple(mesh.element_ijk[below].T)] = 0
    return replace(mesh, region=region)


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
    step = step_on_patches(load, mesh, femur.anatomy, patches, axes_of(mesh))
    (held,), (pressed,) = step.constraints, step.loads
    if isinstance(mesh, VoxelMesh):
        found = solve(Model(mesh, E, 0.3, (held,), (pressed,)), 1e-6)
        volume = np.full(mesh.n_elements, mesh.grid.voxel_mm3)
    else:
        found = solve_conforming(ConformingModel(mesh, E, 0.3, (held,), (pressed,)), 1e-6)
        volume = mesh.volumes_mm3
    force = pressed.force_N
    applied = float(np.linalg.norm(force.sum(axis=0)))
    moved = float((force * found.displacement_mm[pressed.nodes]).sum()) / applied
    ends = np.concatenate([held.nodes, pressed.nodes])
    away = cKDTree(mesh.nodes_mm[ends]).query(mesh.centres_mm)[0] > AWAY_MM
    judged = away & (E >= BONE_MPA)
    used = utilisation(found.strain)
    limit = beyond(used[judged], volume[judged])
    over = judged & (used > limit)
    return {
        "engine": "voxel" if isinstance(mesh, VoxelMesh) else "conforming",
        "elements": mesh.n_elements,
        "unknowns": 3 * mesh.n_nodes,
        "judged_mm3": round(float(volume[judged].sum())),
        "stiffness_N_mm": round(applied / moved, 2),
        "strength_N": round(applied / limit, 2),
        "E_beyond_MPa": round(float(np.median(E[over]))),
        "depth_beyond_mm": round(float(np.median(depth_mm(femur, mesh.centres_mm[over]))), 1),
        "energy_balance": found.energy_balance,
    }


def axes_of(mesh: VoxelMesh | TetMesh) -> np.ndarray:
    """Columns: the axes in which forces on the mesh stand."""
    return mesh.grid.direction if isinstance(mesh, VoxelMesh) else np.eye(3)


def depth_mm(femur: Segmentation, points_mm: np.ndarray) -> np.ndarray:
    """How far points lie under the surface of the bone."""
    grid = femur.labels.grid
    inside = ndimage.distance_transform_edt(femur.bone_mask, sampling=grid.spacing_mm)
    return np.asarray(ndimage.map_coordinates(inside, grid.index(points_mm).T, order=1))


def beyond(used: np.ndarray, volume: np.ndarray) -> float:
    """Utilisation that a share of the volume exceeds."""
    order = np.argsort(used)[::-1]
    return float(np.interp(SHARE * volume.sum(), np.cumsum(volume[order]), used[order]))


def study(
    seed: int, bricks_mm: list[float], tetrahedra_mm: list[float], path: Path | None
) -> dict[str, Any]:
    femur, ash = healthy(seed)
    load = bonekit.set_up(bonekit.mesh(femur, max(bricks_mm)), ash, femur).load
    found: dict[str, Any] = {"seed": seed, "rows": []}

    def keep(edge_mm: float, mesh: VoxelMesh | TetMesh, **where: Any) -> None:
        row = {"edge_mm": edge_mm, **where, **answer(mesh, femur, ash, load)}
        found["rows"].append(row)
        found["means"] = means(found["rows"])
        found["finest_apart"] = apart(found["means"])
        print(row, flush=True)
        if path:
            path.write_text(json.dumps(found, indent=1) + "\n")

    for edge in tetrahedra_mm:  # the surface may be off by a twelfth of that in voxels of 1 mm
        keep(edge, tetra_mesh(femur.labels, edge, interfaces=(), order=2, surface_voxels=edge / 12))
    for edge in bricks_mm:
        for place in PLACES:
            keep(edge, bricks(femur, edge, place), place=place)
    return found


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean of each size over the places of its lattice, and their standard deviation."""
    by_size = defaultdict(list)
    for row in rows:
        by_size[row["engine"], row["edge_mm"]].append(row)
    out = []
    for (engine, edge_mm), same in by_size.items():
        out.append({"engine": engine, "edge_mm": edge_mm, "meshes": len(same)})
        for key in ("unknowns", "stiffness_N_mm", "strength_N"):
            values = [row[key] for row in same]
            out[-1][key] = round(float(np.mean(values)), 1)
            if len(values) > 1:
                out[-1][f"{key}_sd"] = round(float(np.std(values, ddof=1)), 1)
    return out


def apart(mean: list[dict[str, Any]]) -> dict[str, float]:
    """Finest bricks over finest tetrahedra, less 1."""
    last = {row["engine"]: row for row in mean}
    if len(last) < 2:
        return {}
    return {
        key: round(last["voxel"][key] / last["conforming"][key] - 1, 4)
        for key in ("stiffness_N_mm", "strength_N")
    }


def draw(found: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for ax, key, words in zip(
        axes, ("stiffness_N_mm", "strength_N"), ("Stiffness (N/mm)", "Strength (N)"), strict=True
    ):
        for engine, style, label in (
            ("voxel", "s-", "bricks, mean of four lattices"),
            ("conforming", "^-", "tetrahedra of ten nodes"),
        ):
            mine = [row for row in found["means"] if row["engine"] == engine]
            x, y = ([row[k] for row in mine] for k in ("unknowns", key))
            ax.plot(x, y, style, label=label)
            for row in mine:
                ax.annotate(
                    f"{row['edge_mm']:g}",
                    (row["unknowns"], row[key]),
                    (3, 5 if engine == "voxel" else -11),
                    fontsize=8,
                    textcoords="offset points",
                )
        single = [row for row in found["rows"] if row["engine"] == "voxel"]
        ax.plot(
            [r["unknowns"] for r in single],
            [r[key] for r in single],
            "o",
            ms=3,
            alpha=0.5,
            color="C0",
            label="bricks, each lattice",
        )
        finest = y[-1]
        ax.axhspan(0.95 * finest, 1.05 * finest, color="0.9", zorder=0)
        ax.set(xlabel="Unknowns", ylabel=words, xscale="log", ylim=(0.85 * finest, 1.15 * finest))
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(frameon=False, fontsize=8, title="edge in mm at the points", title_fontsize=8)
    figure.suptitle("grey: within 5 % of the finest tetrahedra", fontsize=9)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bricks", type=float, nargs="+", default=BRICKS_MM)
    parser.add_argument("--tetrahedra", type=float, nargs="+", default=TETRAHEDRA_MM)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = study(given.seed, list(given.bricks), list(given.tetrahedra), given.json)
    print(json.dumps(found["finest_apart"]))
    if given.json:
        draw(found, given.json.with_suffix(".png"))


if __name__ == "__main__":
    main()

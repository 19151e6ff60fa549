"""Nonlinear strength of a femur by the edge of its bricks: what Keyak's regularisation does to it.

For each edge two laws: as published, for that edge (one element takes the deformation of the
specimen), and frozen at 3 mm, the edge of Keyak et al. And the moduli of the coarsest bricks, each
split into eight: the same bone on finer bricks, which tells the elements from what they are filled
with.

    python benchmarks/keyak_edges.py --json benchmarks/results/keyak_edges.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import bonekit
from bonekit.fem.failure import failure_load
from bonekit.fem.keyak_law import keyak_law
from bonekit.fem.laws import Law
from bonekit.fem.model import Load, Model
from bonekit.fem.peak import CORTEX, FEMUR_END_MM, density_of, under_a_force
from bonekit.fem.simulation import Problem
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh
from bonekit.phantom import FemurParameters, ScannerParameters, femur_phantom

EDGES_MM = (4.0, 3.0, 2.0)
FROZEN_MM = 3.0


def problems(edges_mm: list[float], seed: int) -> dict[float, Problem]:
    scanner = ScannerParameters(spacing_mm=(1.0, 1.0, 1.0))
    made = femur_phantom(FemurParameters(side="right"), scanner=scanner, seed=seed)
    femur = bonekit.segment(made.ct.canonical(), "femur_right")
    return {e: bonekit.set_up(bonekit.mesh(femur, e), made.density, femur) for e in edges_mm}


def strength(model: Model, law: Law, edge_mm: float) -> dict[str, float]:
    """Peak of a path for bricks regularised for an edge."""
    names = model.mesh.names
    cortical = np.isin(model.mesh.element_region, [v for v, n in names.items() if n == CORTEX])
    density = density_of(law, model.E_MPa)
    breaks = ~under_a_force(model)
    made = keyak_law(law, density, model.E_MPa, cortical, edge_mm, model.one_nu, breaks)
    found = failure_load(model, made, end_mm=FEMUR_END_MM, rtol=1e-3, tolerance=0.01)
    return {"strength_N": found.strength_N, "stiffness_N_mm": found.stiffness_N_mm}


def split(model: Model) -> Model:
    """The same bone with each brick in eight; forces of a node go to the nodes around it."""
    mesh = model.mesh
    region = mesh.region
    for axis in range(3):
        region = region.repeat(2, axis)
    fine = VoxelMesh(region, Grid.of(region.shape, mesh.grid.spacing_mm / 2), mesh.names)
    number = np.zeros(mesh.region.shape, dtype=int)
    number[tuple(mesh.element_ijk.T)] = np.arange(mesh.n_elements)
    E = model.E_MPa[number[tuple((fine.element_ijk // 2).T)]]
    lattice = np.full([n + 1 for n in region.shape], -1)
    lattice[tuple(fine.node_ijk.T)] = np.arange(fine.n_nodes)
    held = tuple(replace(c, nodes=_between(mesh, fine, c.nodes)) for c in model.constraints)
    loads = []
    for load in model.loads:
        total = np.zeros((fine.n_nodes, 3))
        for ijk, force in zip(2 * mesh.node_ijk[load.nodes], load.force_N, strict=True):
            around = ijk + np.array(list(itertools.product((-1, 0, 1), repeat=3)))
            inside = ((around >= 0) & (around < lattice.shape)).all(axis=1)
            nodes = lattice[tuple(around[inside].T)]
            weight = 0.5 ** np.abs(around - ijk)[inside].sum(axis=1) * (nodes >= 0)
            total[nodes] += np.outer(weight / weight.sum(), force)
        nodes = np.flatnonzero(total.any(axis=1))
        loads.append(Load(load.name, nodes, total[nodes]))
    return Model(fine, E, model.nu, held, tuple(loads))


def _between(mesh: VoxelMesh, fine: VoxelMesh, nodes: np.ndarray) -> np.ndarray:
    """Fine nodes all of whose coarse neighbours are among the nodes."""
    inside = np.zeros([n + 1 for n in mesh.region.shape], dtype=bool)
    inside[tuple(mesh.node_ijk[nodes].T)] = True
    low, high = fine.node_ijk // 2, (fine.node_ijk + 1) // 2
    corners = (np.where(c, high, low) for c in itertools.product((False, True), repeat=3))
    return np.flatnonzero(np.all([inside[tuple(c.T)] for c in corners], axis=0))


def study(edges_mm: list[float], seed: int) -> list[dict[str, Any]]:
    rows = []
    made = problems(edges_mm, seed)
    coarse = max(made)
    models = {str(e): (p.model, e) for e, p in made.items()}
    models[f"{coarse} split"] = (split(made[coarse].model), coarse / 2)
    law = made[coarse].assigned.parts[0].law
    for name, (model, edge) in models.items():
        for words, of_edge in (("published", edge), ("frozen at 3 mm", FROZEN_MM)):
            rows.append({"mesh": name, "law": words, **strength(model, law, of_edge)})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=float, nargs="+", default=EDGES_MM)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = study(list(given.edges), given.seed)
    if given.json:
        given.json.write_text(json.dumps({"seed": given.seed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

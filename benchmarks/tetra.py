"""Mesh real bones and phantoms with tetrahedra; measure quality, volume, distance and time.

The peers are fTetWild through pytetwild (Hu et al., ACM Trans Graph 2020;39:117) and gmsh
(Geuzaine and Remacle, Int J Numer Methods Eng 2009;79:1309-1331), where they are installed. Both
start from surfaces, which our own mesh of each bone gives them: fTetWild and "gmsh" fill the outer
one, without regions; "gmsh, regions" (by Delaunay) and "gmsh HXT, regions" keep all that bound
regions, as our mesh does. What it took to make those surfaces of a label map is not in their times.
gmsh may live in an interpreter of its own.

Our own time, from the label map to the checked mesh, is given by stage too. We have no stage that
fills a given surface: tetrahedra are there before the surface, cut out of a lattice ("cut") and
remeshed with their surfaces ("MMG"), so "cut" and "MMG" are what stands beside gmsh's time.

Distances are the 95th percentile of those between a region's surface in the mesh and the faces of
its voxels, both ways, in voxels along each axis: to the label map that is meshed, in which specks
too small for a surface have gone to the region about, and to the label map as it was given.
Seconds are those of the wall; on a machine with other work, `cpu_seconds` is what counts.

    python benchmarks/tetra.py ../shared/data --json benchmarks/results/tetra.json \\
        --gmsh-python ~/gmsh/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from tetra_cases import CASES, PARTS
from tetra_peers import DELAUNAY, HXT, by_gmsh, ftetwild, interfaces, outside, within

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import LabelMap
from bonekit.meshing import conforming, tetra
from bonekit.meshing.fidelity import distance_p95_voxels
from bonekit.meshing.prepare import prepared
from bonekit.meshing.quality import report
from bonekit.meshing.tetra import tetra_mesh

GMSH = {
    "gmsh": (outside, DELAUNAY),
    "gmsh, regions": (interfaces, DELAUNAY),
    "gmsh HXT, regions": (interfaces, HXT),
}
PEERS = (*GMSH, "fTetWild")
STAGES = {
    "shapes": (tetra, ("body_shape", "region_shapes", "bent")),
    "cut": (tetra, ("cut",)),
    "MMG": (conforming, ("remesh",)),
    "fit and mend": (conforming, ("fitted", "mended", "unpinched", "untangled")),
    "checks": (tetra, ("check_parts", "check_fidelity")),
}


@contextmanager
def stages() -> Iterator[dict[str, float]]:
    """Measure the CPU seconds of the stages of meshing."""
    spent = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function: Callable[..., Any], *given: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **options)
        finally:
            spent[stage] = round(spent[stage] + time.process_time() - start, 2)

    with ExitStack() as stack:
        for stage, (module, names) in STAGES.items():
            for name in names:
                function = partial(timed, stage, getattr(module, name))
                stack.enter_context(patch.object(module, name, function))
        yield spent


def ours(labels: LabelMap, edge_mm: float, regions: tuple[str, ...], order: int) -> dict[str, Any]:
    """Mesh with bonekit and measure, against the piece of the bone that is meshed."""
    start, cpu = time.perf_counter(), time.process_time()
    with stages() as spent:
        mesh = tetra_mesh(labels, edge_mm, regions, order=order)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    bone = _one_piece(labels, edge_mm, regions)
    meshed = prepared(labels, regions, regions, edge_mm).labels
    found = report(mesh, bone)
    return {
        "tetrahedra": mesh.n_elements,
        "nodes": mesh.n_nodes,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "stages_cpu_seconds": spent,
        "least_scaled_jacobian": found.scaled_jacobian[0],
        "median_scaled_jacobian": found.scaled_jacobian[1],
        "dihedral_deg": found.dihedral_deg,
        "volume_error": {
            name: found.region_volume_ml[name] / volume - 1
            for name, volume in found.label_volume_ml.items()
        },
        "distance_p95_voxels": {
            name: distance_p95_voxels(mesh, meshed, name) for name in found.label_volume_ml
        },
        "distance_p95_voxels_with_specks": {
            name: distance_p95_voxels(mesh, bone, name) for name in found.label_volume_ml
        },
        "open_edges": found.open_edges,
        "non_manifold_edges": found.non_manifold_edges,
        "n_straight": mesh.n_straight,
        "voxels_merged": mesh.n_merged,
        "voxels_removed": mesh.n_removed,
        "_mesh": mesh,
    }


def _one_piece(labels: LabelMap, edge_mm: float, regions: tuple[str, ...]) -> LabelMap:
    """The largest piece with its labels as they were, specks included."""
    ready = prepared(labels, regions, (), edge_mm)
    return ready.labels


def measure(
    name: str, data: Path, peers: list[str], gmsh: str | None, before: dict[str, Any]
) -> dict[str, Any]:
    """Mesh one bone, and its outer surface with the peers.

    What an earlier run found of a peer that is not run now is kept, and marked as such.
    """
    load, edge_mm = CASES[name]
    labels = load(data)
    regions = tuple(n for n in labels.names.values() if n in PARTS)
    row: dict[str, Any] = {
        "edge_mm": edge_mm,
        "voxel_mm": labels.spacing_mm.round(3).tolist(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    try:
        row["bonekit"] = ours(labels, edge_mm, regions, 1)
        mesh = row["bonekit"].pop("_mesh")
        row["bonekit"]["within_limits"] = within(row["bonekit"])
        for who in peers:
            if who == "fTetWild":
                row[who] = ftetwild(outside(mesh), edge_mm)
            elif gmsh:
                surfaces, algorithm = GMSH[who]
                row[who] = by_gmsh(surfaces(mesh), edge_mm, gmsh, algorithm)
        for who in PEERS:
            if who in before and who not in row:
                row[who] = before[who] | {"of_an_earlier_mesh": True}
                if "tetrahedra" in row[who]:
                    row[who]["within_limits"] = within(row[who])
        row["ahead"] = ahead(row)
    except (InputError, MeshQualityError) as error:
        row["refused"] = str(error)
    return row


def ahead(row: dict[str, Any]) -> dict[str, bool]:
    """Whether our mesh is at or ahead of the best peer, in each measure.

    In time there are two answers: against all of them, and against those that keep the regions.
    """
    us = row["bonekit"]
    them = {who: row[who] for who in PEERS if "tetrahedra" in row.get(who, {})}
    worst, middle = "least_scaled_jacobian", "median_scaled_jacobian"
    if not them:
        return {}
    out = {
        worst: us[worst] >= max(r[worst] for r in them.values()),
        middle: us[middle] >= max(r[middle] for r in them.values()),
        "least_dihedral": us["dihedral_deg"][0] >= max(r["dihedral_deg"][0] for r in them.values()),
        "largest_dihedral": us["dihedral_deg"][1]
        <= min(r["dihedral_deg"][1] for r in them.values()),
        "seconds": all(faster(us, r) for r in them.values()),
    }
    alike = [r for who, r in them.items() if "regions" in who]
    if alike:
        out["seconds_with_regions"] = all(faster(us, r) for r in alike)
        out["seconds_with_regions_within_limits"] = all(
            r["gated"] is None or faster(us, r["gated"]) for r in alike
        )
    return out


def faster(us: dict[str, Any], them: dict[str, Any]) -> bool:
    """Whether we took no longer, in CPU seconds if those are known."""
    key = "cpu_seconds" if "cpu_seconds" in them else "seconds"
    return bool(us[key] <= them[key])


def line(name: str, row: dict[str, Any]) -> str:
    """Lines of the table."""
    if "refused" in row:
        return f"{name:34s} refused: {row['refused'][:300]}"
    out = []
    for who in ("bonekit", *PEERS):
        if "failed" in row.get(who, {}):
            out.append(f"{name:32s} {who:17s} failed: {row[who]['failed'][:100]}")
        elif who in row:
            r = row[who]
            out.append(
                f"{name:32s} {who:17s} {r['tetrahedra']:7d} {r['seconds']:6.1f} s "
                f"({r.get('cpu_seconds', np.nan):6.1f} s CPU)  "
                f"J {r['least_scaled_jacobian']:.3f} / {r['median_scaled_jacobian']:.2f}  "
                f"{r['dihedral_deg'][0]:4.1f} .. {r['dihedral_deg'][1]:5.1f} deg"
                f"{'' if r.get('within_limits', True) else '  OUTSIDE THE LIMITS'}"
                f"{'' if r.get('surfaces_kept', True) else '  SURFACES NOT KEPT'}"
            )
    r = row["bonekit"]
    worst = max(abs(v) for v in r["volume_error"].values())
    far = max(r["distance_p95_voxels"].values())
    return "\n".join([f"{out[0]}  dV {worst:.2%}  p95 {far:.2f} voxels", *out[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, metavar="PEER")
    parser.add_argument("--gmsh-python", metavar="PYTHON", help="an interpreter that has gmsh")
    given = parser.parse_args()
    gmsh = given.gmsh_python or (sys.executable if find_spec("gmsh") else None)
    there = {"fTetWild"} if find_spec("pytetwild") else set()
    peers = [who for who in given.peers if who in (there | set(GMSH) if gmsh else there)]
    # Cases that were not asked for keep what an earlier run found.
    rows = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    for name in given.only:
        rows[name] = measure(name, given.data, peers, gmsh, rows.get(name, {}))
        print(line(name, rows[name]), flush=True)
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

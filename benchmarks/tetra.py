"""Mesh real bones and phantoms with tetrahedra; measure quality, volume, distance and time.

The peers are fTetWild through pytetwild (Hu et al., ACM Trans Graph 2020;39:117) and gmsh
(Geuzaine and Remacle, Int J Numer Methods Eng 2009;79:1309-1331), where they are installed. They
mesh one body without regions, so they get the outer surface of our own mesh of each bone; gmsh
keeps its triangles and fills it. gmsh may live in an interpreter of its own.

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
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tetra_cases import CASES, PARTS

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import LabelMap
from bonekit.meshing.elements import dihedral_angles, scaled_jacobian
from bonekit.meshing.fidelity import distance_p95_voxels
from bonekit.meshing.lattice import volumes
from bonekit.meshing.levelset import faces
from bonekit.meshing.prepare import prepared
from bonekit.meshing.quality import report
from bonekit.meshing.tetra import TetMesh, tetra_mesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
PEERS = ("gmsh", "fTetWild")


def ours(labels: LabelMap, edge_mm: float, regions: tuple[str, ...], order: int) -> dict[str, Any]:
    """Mesh with bonekit and measure, against the piece of the bone that is meshed."""
    start, cpu = time.perf_counter(), time.process_time()
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


def ftetwild(points: Float, triangles: Int, edge_mm: float) -> dict[str, Any]:
    """Mesh an outer surface with fTetWild."""
    import pytetwild

    start, cpu = time.perf_counter(), time.process_time()
    nodes, tetrahedra = pytetwild.tetrahedralize(
        points, triangles, edge_length_abs=edge_mm, epsilon=1e-3, quiet=True
    )[:2]
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return _peer(nodes, np.asarray(tetrahedra, dtype=np.int64), seconds, cpu)


def by_gmsh(points: Float, triangles: Int, edge_mm: float, python: str) -> dict[str, Any]:
    """Fill an outer surface with gmsh, in the interpreter that has it."""
    script = Path(__file__).with_name("tetra_gmsh.py")
    with TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "surface.npz", Path(scratch) / "tetrahedra.npz"
        np.savez(given, points=points, triangles=triangles, edge_mm=edge_mm)
        done = subprocess.run(
            [python, str(script), str(given), str(made)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return {"failed": (done.stderr.strip().splitlines() or ["without a word"])[-1]}
        with np.load(made) as found:
            row = _peer(
                found["nodes"],
                found["tetrahedra"],
                float(found["seconds"]),
                float(found["cpu_seconds"]),
            )
            return row | {"version": str(found["version"])}


def _peer(nodes: Float, tetrahedra: Int, seconds: float, cpu: float) -> dict[str, Any]:
    each = volumes(nodes, tetrahedra)
    turned = np.where((each < 0)[:, None], tetrahedra[:, [0, 1, 3, 2]], tetrahedra)
    quality, angles = scaled_jacobian(nodes, turned), dihedral_angles(nodes, turned)
    return {
        "tetrahedra": len(tetrahedra),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "least_scaled_jacobian": float(quality.min()),
        "median_scaled_jacobian": float(np.median(quality)),
        "dihedral_deg": (float(angles.min()), float(angles.max())),
        "volume_ml": float(np.abs(each).sum()) / 1000,
    }


def outside(mesh: TetMesh) -> tuple[Float, Int]:
    """Points and triangles of the outer surface of a mesh."""
    corners, of = faces(mesh.corners)
    used, number = np.unique(corners[of[:, 1] < 0], return_inverse=True)
    return mesh.nodes_mm[used], number.reshape(-1, 3)


def measure(
    name: str, data: Path, tetwild: bool, gmsh: str | None, before: dict[str, Any]
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
        surface = outside(mesh)
        if gmsh:
            row["gmsh"] = by_gmsh(*surface, edge_mm, gmsh)
        if tetwild:
            row["fTetWild"] = ftetwild(*surface, edge_mm)
        for who in PEERS:
            if who in before and who not in row:
                row[who] = before[who] | {"of_an_earlier_mesh": True}
        row["ahead"] = ahead(row)
    except (InputError, MeshQualityError) as error:
        row["refused"] = str(error)
    return row


def ahead(row: dict[str, Any]) -> dict[str, bool]:
    """Whether our mesh is at or ahead of the best peer, in each measure."""
    us = row["bonekit"]
    them = [row[who] for who in PEERS if "tetrahedra" in row.get(who, {})]
    worst = "least_scaled_jacobian"
    middle = "median_scaled_jacobian"
    if not them:
        return {}
    return {
        "least_scaled_jacobian": us[worst] >= max(r[worst] for r in them),
        "median_scaled_jacobian": us[middle] >= max(r[middle] for r in them),
        "least_dihedral": us["dihedral_deg"][0] >= max(r["dihedral_deg"][0] for r in them),
        "largest_dihedral": us["dihedral_deg"][1] <= min(r["dihedral_deg"][1] for r in them),
        "seconds": all(
            us[key] <= r[key]
            for r in them
            for key in (["cpu_seconds"] if "cpu_seconds" in r else ["seconds"])
        ),
    }


def line(name: str, row: dict[str, Any]) -> str:
    """Lines of the table."""
    if "refused" in row:
        return f"{name:34s} refused: {row['refused'][:300]}"
    out = []
    for who in ("bonekit", *PEERS):
        if "failed" in row.get(who, {}):
            out.append(f"{name:32s} {who:8s} failed: {row[who]['failed'][:100]}")
        elif who in row:
            r = row[who]
            out.append(
                f"{name:32s} {who:8s} {r['tetrahedra']:7d} {r['seconds']:6.1f} s "
                f"({r.get('cpu_seconds', np.nan):6.1f} s CPU)  "
                f"J {r['least_scaled_jacobian']:.3f} / {r['median_scaled_jacobian']:.2f}  "
                f"{r['dihedral_deg'][0]:4.1f} .. {r['dihedral_deg'][1]:5.1f} deg"
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
    parser.add_argument("--no-fTetWild", action="store_true")
    parser.add_argument("--gmsh-python", metavar="PYTHON", help="an interpreter that has gmsh")
    given = parser.parse_args()
    tetwild = not given.no_fTetWild and find_spec("pytetwild") is not None
    gmsh = given.gmsh_python or (sys.executable if find_spec("gmsh") else None)
    # Cases that were not asked for keep what an earlier run found.
    rows = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    for name in given.only:
        rows[name] = measure(name, given.data, tetwild, gmsh, rows.get(name, {}))
        print(line(name, rows[name]), flush=True)
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

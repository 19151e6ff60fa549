"""Mesh real bones and phantoms with tetrahedra; measure quality, volume, distance and time.

The peer is fTetWild through pytetwild (Hu et al., ACM Trans Graph 2020;39:117), where it is
installed. It meshes one body, so it gets the outer surface of our own mesh of each bone.

    python benchmarks/tetra.py ../shared/data --json benchmarks/results/tetra.json
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tetra_cases import CASES, PARTS

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import LabelMap
from bonekit.meshing.elements import dihedral_angles, scaled_jacobian
from bonekit.meshing.fidelity import surface_distances
from bonekit.meshing.lattice import volumes
from bonekit.meshing.levelset import faces
from bonekit.meshing.prepare import prepared
from bonekit.meshing.quality import report
from bonekit.meshing.tetra import TetMesh, tetra_mesh


def ours(labels: LabelMap, edge_mm: float, regions: tuple[str, ...], order: int) -> dict[str, Any]:
    """Mesh with bonekit and measure, against the piece of the bone that is meshed."""
    start = time.perf_counter()
    mesh = tetra_mesh(labels, edge_mm, regions, order=order)
    seconds = time.perf_counter() - start
    bone = _one_piece(labels, edge_mm, regions)
    found = report(mesh, bone)
    return {
        "tetrahedra": mesh.n_elements,
        "nodes": mesh.n_nodes,
        "seconds": round(seconds, 1),
        "least_scaled_jacobian": found.scaled_jacobian[0],
        "median_scaled_jacobian": found.scaled_jacobian[1],
        "dihedral_deg": found.dihedral_deg,
        "volume_error": {
            name: found.region_volume_ml[name] / volume - 1
            for name, volume in found.label_volume_ml.items()
        },
        "distance_p95_voxels": {
            name: float(np.percentile(surface_distances(mesh, bone, name, in_voxels=True), 95))
            for name in found.label_volume_ml
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


def ftetwild(mesh: TetMesh, edge_mm: float) -> dict[str, Any]:
    """Mesh the outer surface of one of our meshes with the peer."""
    import pytetwild

    corners, of = faces(mesh.corners)
    used, number = np.unique(corners[of[:, 1] < 0], return_inverse=True)
    points = mesh.nodes_mm[used]
    start = time.perf_counter()
    nodes, tetrahedra = pytetwild.tetrahedralize(
        points, number.reshape(-1, 3), edge_length_abs=edge_mm, epsilon=1e-3, quiet=True
    )[:2]
    seconds = time.perf_counter() - start
    tetrahedra = np.asarray(tetrahedra, dtype=np.int64)
    each = volumes(nodes, tetrahedra)
    quality = scaled_jacobian(
        nodes, np.where((each < 0)[:, None], tetrahedra[:, [0, 1, 3, 2]], tetrahedra)
    )
    angles = dihedral_angles(nodes, tetrahedra)
    return {
        "tetrahedra": len(tetrahedra),
        "seconds": round(seconds, 1),
        "least_scaled_jacobian": float(quality.min()),
        "median_scaled_jacobian": float(np.median(quality)),
        "dihedral_deg": (float(angles.min()), float(angles.max())),
        "volume_error_of_the_surface": float(np.abs(each).sum() / mesh.volumes_mm3.sum() - 1),
    }


def measure(name: str, data: Path, peer: bool) -> dict[str, Any]:
    """Mesh one bone, with four nodes, with ten, and with the peer."""
    load, edge_mm = CASES[name]
    labels = load(data)
    regions = tuple(n for n in labels.names.values() if n in PARTS)
    row: dict[str, Any] = {
        "edge_mm": edge_mm,
        "voxel_mm": labels.spacing_mm.round(3).tolist(),
    }
    try:
        row["bonekit"] = ours(labels, edge_mm, regions, 1)
        mesh = row["bonekit"].pop("_mesh")
        if peer:
            row["fTetWild"] = ftetwild(mesh, edge_mm)
    except (InputError, MeshQualityError) as error:
        row["refused"] = str(error)
    return row


def line(name: str, row: dict[str, Any]) -> str:
    """One line of the table."""
    if "refused" in row:
        return f"{name:34s} refused: {row['refused'][:100]}"
    out = []
    for who in ("bonekit", "fTetWild"):
        if who in row:
            r = row[who]
            out.append(
                f"{name:32s} {who:8s} {r['tetrahedra']:7d} {r['seconds']:6.1f} s  "
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
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    peer = not given.no_peer and find_spec("pytetwild") is not None
    # Cases that were not asked for keep what an earlier run found.
    rows = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    for name in given.only:
        rows[name] = measure(name, given.data, peer)
        print(line(name, rows[name]), flush=True)
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

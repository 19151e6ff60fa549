"""Time the deck writers on a million tetrahedra with 200 materials, beside meshio.

    python benchmarks/decks.py --json benchmarks/results/decks.json

Wall and processor seconds, the median of the repeats: on a machine that does other work the second
says what the writer takes. meshio writes .inp and .bdf without materials, sections and steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import meshio
import numpy as np
import pyvista as pv

from bonekit.fem.deck import Deck
from bonekit.fem.deck_step import Step
from bonekit.fem.decks import WRITERS, deck_of, write_deck
from bonekit.fem.model import Constraint, Load


def block(cells: int, n_materials: int) -> Deck:
    """A block of about `cells` tetrahedra, one face held and one loaded."""
    edge = round((cells / 5) ** (1 / 3)) + 1
    grid = pv.ImageData(dimensions=(edge, edge, edge)).to_tetrahedra(5, mixed=False)
    nodes = np.asarray(grid.points, dtype=np.float64)
    elements = np.asarray(grid.cells_dict[pv.CellType.TETRA], dtype=np.int64)
    a, b, c, d = np.moveaxis(nodes[elements], 1, 0)
    turned = np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) < 0
    elements[turned] = elements[turned][:, [0, 2, 1, 3]]
    E = np.random.default_rng(0).choice(np.linspace(50, 20_000, n_materials), len(elements))
    bottom, top = (np.flatnonzero(nodes[:, 2] == z) for z in (0, edge - 1))
    load = Load("head", top, np.tile([0.0, 3.0, -4.0], (top.size, 1)))
    steps = [Step("stance", (Constraint("shaft", bottom),), (load,))]
    lesion = np.flatnonzero(np.linalg.norm(nodes[elements[:, 0]] - edge / 2, axis=1) < edge / 4)
    return deck_of(nodes, elements, E, 0.3, 0.0, element_sets={"lesion": lesion}, steps=steps)[0]


def seconds(write: Callable[[], None], repeats: int) -> dict[str, float]:
    """Median wall and processor seconds of a call."""
    rows = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        write()
        rows.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = np.median(rows, axis=0).tolist()
    return {"s": round(wall, 2), "cpu_s": round(cpu, 2)}


def main() -> None:
    """Write each format several times and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--materials", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("decks.json"))
    options = parser.parse_args()
    deck = block(options.cells, options.materials)
    result: dict[str, object] = {"elements": len(deck.elements), "nodes": len(deck.nodes_mm)}
    result["materials"] = len(deck.materials)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in WRITERS:
            path = Path(folder) / f"deck{suffix}"
            took = seconds(partial(write_deck, deck, path), options.repeats)
            result[suffix] = took | {"MB": round(path.stat().st_size / 1e6, 1)}
        mesh = meshio.Mesh(deck.nodes_mm, [("tetra", deck.elements)])
        for suffix in (".inp", ".bdf"):
            out = Path(folder) / f"meshio{suffix}"
            result[f"meshio {suffix}"] = seconds(partial(meshio.write, out, mesh), 1)
    print(json.dumps(result, indent=2))
    options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

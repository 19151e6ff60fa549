"""The mesh of a model in dolfinx, and where its nodes and cells are: part of the child process."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import Any

import numpy as np

from bonekit.fem.dolfinx_compat import create_mesh, function_space, rows
from bonekit.fem.dolfinx_log import Failure

# Place of each basix node in VTK and Abaqus order, by the number of nodes of the element.
BASIX = {
    4: [0, 1, 2, 3],
    8: [0, 1, 3, 2, 4, 5, 7, 6],
    10: [0, 1, 2, 3, 9, 8, 5, 7, 6, 4],
}
EDGES = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]  # whose middles are nodes 4 to 9


class Body:
    """A mesh with its displacements, and where they are in the arrays of the model."""

    def __init__(self, comm: Any, model: dict[str, Any]) -> None:
        self.comm, cells = comm, model["cells"]
        kind = "hexahedron" if cells.shape[1] == 8 else "tetrahedron"
        degree = 2 if cells.shape[1] == 10 else 1
        curved = degree == 2 and is_curved(model["nodes"], cells)
        corners = cells if curved or degree == 1 else cells[:, :4]
        self.mesh = create_mesh(
            comm,
            share(comm, corners[:, BASIX[corners.shape[1]]]),
            share(comm, model["nodes"]),
            kind,
            degree if curved else 1,
            share(comm, destinations(model["nodes"], corners, comm.size)),
        )
        self.V = function_space(self.mesh, "Lagrange", degree, 3)
        self.owned = self.V.dofmap.index_map.size_local  # nodes; those of others come after
        used = np.zeros(len(model["nodes"]), dtype=bool)
        used[cells] = True
        if self.V.dofmap.index_map.size_global != used.sum():  # a body cut in two would solve, too
            raise Failure("error", "processes do not share the nodes between their cells")
        self.cell = np.asarray(self.mesh.topology.original_cell_index)
        dofs = rows(self.V.dofmap.list, cells.shape[1])
        self.node = np.zeros(self.owned + self.V.dofmap.index_map.num_ghosts, dtype=np.int64)
        self.node[dofs] = cells[self.cell][:, BASIX[cells.shape[1]]]
        # 2 x 2 x 2 points in bricks; one in tetrahedra of four nodes and four in those of ten, as
        # C3D10: exact for straight edges, and of the same order for curved ones (Ciarlet & Raviart
        # 1972: the rule must be exact for polynomials of twice the degree less two).
        self.quadrature = 3 if kind == "hexahedron" else 2 * (degree - 1)

    def cellwise(self, values: Any) -> Any:
        """Piecewise constant function of one value per cell of the model."""
        from dolfinx import fem

        W = function_space(self.mesh, "DG", 0)
        out = fem.Function(W)
        out.x.array[rows(W.dofmap.list, 1)[: len(self.cell), 0]] = values[self.cell]
        return out


def share(comm: Any, array: Any) -> Any:
    """Rows of an array that this process hands over."""
    bounds = [len(array) * r // comm.size for r in (comm.rank, comm.rank + 1)]
    kept = np.int64 if array.dtype.kind == "i" else np.float64
    return np.ascontiguousarray(array[bounds[0] : bounds[1]], dtype=kept)


def destinations(nodes: Any, cells: Any, parts: int) -> Any:
    """List the processes of each cell, (cells, 1 + parts): its owner, then those it touches or -1.

    dolfinx 0.5 finds the nodes that processes share by the cells that go to more than one, and
    drops these again.
    """
    owner = cut(nodes[cells[:, 0]], parts)[:, None]
    others = np.full((len(cells), parts), -1, dtype=np.int32)
    for part in range(parts if parts > 1 else 0):
        near = np.zeros(len(nodes), dtype=bool)
        near[cells[owner[:, 0] == part]] = True
        others[near[cells].any(axis=1) & (owner[:, 0] != part), part] = part
    return np.concatenate([owner, others], axis=1)


def cut(points: Any, parts: int) -> Any:
    """Cut points across their longest extent; the number of the part each is in.

    Parts are of equal size. The graph of neighbours, which dolfinx would cut, takes as long as
    the rest of making a mesh.
    """
    number = np.zeros(len(points), dtype=np.int32)
    if parts == 1:
        return number
    axis, few = np.argmax(np.ptp(points, axis=0)), parts // 2
    at = len(points) * few // parts
    order = np.argpartition(points[:, axis], at)
    number[order[:at]] = cut(points[order[:at]], few)
    number[order[at:]] = few + cut(points[order[at:]], parts - few)
    return number


def is_curved(nodes: Any, cells: Any) -> bool:
    """Whether a middle node lies off the middle of its edge."""
    a, b = np.array(EDGES).T
    for part in np.array_split(cells, max(1, len(cells) // 100_000)):
        ends = nodes[part[:, a]], nodes[part[:, b]]
        bow = np.abs(nodes[part[:, 4:]] - (ends[0] + ends[1]) / 2)
        if bow.max() > 1e-9 * np.abs(ends[0] - ends[1]).max():
            return True
    return False


def quadrature_rule(body: Body) -> dict[str, Any]:
    """Points and weights that the forms were integrated with, on the reference element."""
    import basix

    kind = getattr(basix.CellType, body.mesh.topology.cell_name())
    points, weights = basix.make_quadrature(kind, body.quadrature)
    return {"points": points, "weights": weights}

"""One way to call dolfinx 0.5 to 0.11, with PETSc or without: part of the child process.

Only meshes, spaces, forms and assembly are dolfinx's; what differs between versions is here.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np


@cache
def version() -> tuple[int, ...]:
    """Version of dolfinx, such as (0, 5)."""
    import dolfinx

    return tuple(int(part) for part in dolfinx.__version__.split(".")[:2])


@cache
def petsc() -> Any:
    """Import PETSc; None if dolfinx came without it, or it is switched off for a test."""
    if os.environ.get("BONEKIT_PETSC", "yes") == "no":
        return None
    try:
        from petsc4py import PETSc
    except ImportError:
        return None
    return PETSc


def create_mesh(comm: Any, cells: Any, nodes: Any, cell: str, degree: int, goes: Any) -> Any:
    """Mesh of nodes and of cells in basix order, each process with its part of the rows.

    ``goes`` names the processes that each of these cells goes to, its owner first, -1 for none;
    dolfinx from 0.6 on finds its own.
    """
    import ufl
    from dolfinx import mesh

    options: dict[str, Any] = {}
    if version() >= (0, 7):
        import basix.ufl

        domain = ufl.Mesh(basix.ufl.element("Lagrange", cell, degree, shape=(3,)))
        options["e" if version() >= (0, 8) else "domain"] = domain
    else:
        kind = ufl.Cell(cell, geometric_dimension=3)
        options["domain"] = ufl.Mesh(ufl.VectorElement("Lagrange", kind, degree))
    if version() < (0, 6):  # later versions have no ghosts unless asked
        options["ghost_mode"] = mesh.GhostMode.none
        options["partitioner"] = lambda *_: destinations(goes)
    return mesh.create_mesh(comm, cells, x=nodes, **options)


def destinations(goes: Any) -> Any:
    """Give the processes of cells as a partitioner of dolfinx does."""
    from dolfinx.cpp.graph import AdjacencyList_int32

    starts = np.concatenate([[0], np.cumsum((goes >= 0).sum(axis=1))])
    return AdjacencyList_int32(goes[goes >= 0].astype(np.int32), starts.astype(np.int32))


def function_space(mesh: Any, family: str, degree: int, components: int = 0) -> Any:
    """Space of scalars, or of vectors."""
    from dolfinx import fem

    if version() >= (0, 7):
        shape = (family, degree, (components,)) if components else (family, degree)
        return fem.functionspace(mesh, shape)
    make = fem.VectorFunctionSpace if components else fem.FunctionSpace
    return make(mesh, (family, degree))


def point_space(body: Any, shape: tuple[int, ...]) -> Any:
    """Space of values of a shape, (6,) or (6, 6), at the points of quadrature of a `Body`."""
    import ufl
    from dolfinx import fem

    degree, cell = body.quadrature, body.mesh.topology.cell_name()
    if version() >= (0, 8):
        import basix.ufl

        kind = basix.ufl.quadrature_element(cell, value_shape=shape, degree=degree)
        return fem.functionspace(body.mesh, kind)
    make = ufl.VectorElement if len(shape) == 1 else ufl.TensorElement
    keyword = {"dim": shape[0]} if len(shape) == 1 else {"shape": shape}
    kind = make("Quadrature", body.mesh.ufl_cell(), degree, quad_scheme="default", **keyword)
    return fem.FunctionSpace(body.mesh, kind)


def rows(table: Any, n: int) -> Any:
    """Node numbers of each cell, (cells, n), of a dofmap."""
    return (table if isinstance(table, np.ndarray) else np.asarray(table.array)).reshape(-1, n)


def assembled(form: Any, n: int) -> Any:
    """Vector of a form, the entries of this process."""
    from dolfinx import fem

    if petsc() is None:  # one process only: nothing to add up
        return np.array(fem.assemble_vector(form).array[:n])
    import dolfinx.fem.petsc as fem_petsc

    b = fem_petsc.assemble_vector(form)
    b.ghostUpdate(addv=petsc().InsertMode.ADD, mode=petsc().ScatterMode.REVERSE)
    out = np.array(b.array[:n])
    b.destroy()
    return out

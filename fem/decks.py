"""Decks for CalculiX and Abaqus: elements, binned materials, node sets, loads, one static step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.fem.model import Constraint, Load, Model
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ELEMENT_TYPES = {4: "C3D4", 8: "C3D8", 10: "C3D10"}
NUMBER = "%.12e"  # 19 characters at most: CalculiX reads 20
ROWS = 20_000  # formatted at a time


@dataclass(frozen=True, eq=False)
class Bins:
    """Elements grouped to materials by their modulus.

    Parameters
    ----------
    material : ndarray of int, (n_elements,)
        Number of the material of each element, from 0 for the stiffest.
    E_MPa : ndarray of float, (n_materials,)
        Mean modulus of the elements of each, falling.
    largest_error, mean_error : float
        Of an element's modulus in the deck, relative to its own.
    """

    material: Int
    E_MPa: Float
    largest_error: float
    mean_error: float


def bin_moduli(E_MPa: Float, gap_MPa: float) -> Bins:
    """Group moduli so that those of one material differ by `gap_MPa` at most.

    From the stiffest element down, as Bonemat does (Taddei et al., Med Eng Phys 2007;29:973-979),
    but with the mean of the group and not its maximum.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    gap_MPa : float
        0 gives one material for each different modulus.

    Raises
    ------
    InputError
        If a modulus is not a positive number or the gap is negative.
    """
    if not (np.isfinite(gap_MPa) and gap_MPa >= 0):
        raise InputError(f"the gap between materials must be 0 MPa or more, got {gap_MPa}")
    bad = ~(np.isfinite(E_MPa) & (E_MPa > 0))
    if bad.any():
        raise InputError(
            f"{np.count_nonzero(bad)} of {bad.size} moduli are not positive numbers "
            f"(first: element {bad.argmax()}, E = {E_MPa[bad.argmax()]} MPa)"
        )
    values, where = np.unique(-E_MPa, return_inverse=True)  # rising, so moduli fall
    starts = [0]
    while (following := int(np.searchsorted(values, values[starts[-1]] + gap_MPa, "right"))) < len(
        values
    ):
        starts.append(following)
    group = np.zeros(len(values), dtype=np.int64)
    group[starts[1:]] = 1
    material = np.cumsum(group)[where.ravel()]
    count = np.bincount(material)
    mean = np.bincount(material, weights=E_MPa) / count
    error = np.abs(mean[material] / E_MPa - 1)
    return Bins(material, mean, float(error.max()), float(error.mean()))


def write_calculix(
    nodes_mm: Float,
    elements: Int,
    E_MPa: Float,
    nu: float,
    path: Path | str,
    constraints: Sequence[Constraint] = (),
    loads: Sequence[Load] = (),
    bins_MPa: float = 50.0,
    element_sets: Mapping[str, Int] | None = None,
    comments: Sequence[str] = (),
) -> Bins:
    """Write a CalculiX (and Abaqus) input deck in mm, N and MPa.

    Numbers of nodes and elements in the deck are those of the arrays plus one. Each material has
    an element set, each constraint and load a node set by its name. Forces of several loads on a
    node are added up. Without constraints there is no step: mesh, sets and materials only. The
    step prints the displacement of all nodes (NALL) and the reactions of each constraint to the
    .dat file. The deck appears only when it is complete.

    Parameters
    ----------
    nodes_mm : ndarray of float, (n_nodes, 3)
        Along the axes of the constraints' components and of the forces.
    elements : ndarray of int, (n_elements, 4, 8 or 10)
        Node numbers from 0, in Abaqus order.
    E_MPa : ndarray of float, (n_elements,)
    nu : float
    path : path
    constraints : sequence of Constraint
    loads : sequence of Load
    bins_MPa : float
        Largest difference of moduli within a material.
    element_sets : mapping of str to ndarray of int, optional
        More element sets, such as regions.
    comments : sequence of str
        Lines for the head of the deck.

    Returns
    -------
    Bins
        Which material each element got, and the error that this makes.

    Raises
    ------
    InputError
        If arrays do not fit together, an element is inverted, or names clash.
    """
    _check(nodes_mm, elements, E_MPa, nu)
    bins = bin_moduli(E_MPa, bins_MPa)
    moduli = [NUMBER % value for value in bins.E_MPa]
    if len(set(moduli)) != len(moduli):
        raise InputError("two materials print the same modulus: take a larger bins_MPa")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="ascii", errors="replace", newline="\n") as file:
            file.writelines(f"** {line}\n" for line in _head(bins, bins_MPa, comments))
            _write_mesh(file, nodes_mm, elements)
            _write_materials(file, bins, moduli, nu)
            _write_sets(file, constraints, loads, element_sets or {})
            if constraints:
                _write_step(file, constraints, loads, len(nodes_mm))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return bins


def export_deck(model: Model, path: Path | str, bins_MPa: float = 50.0) -> Bins:
    """Write a model, its nodes along the mesh axes, in which constraints and forces are given.

    The head of the deck has the rotation from these axes to the world.
    """
    mesh = model.mesh
    direction = mesh.grid.direction
    rows = [" ".join(f"{x:+.9f}" for x in row) for row in direction]
    comments = [
        "Coordinates, displacements and forces are along the axes of the mesh.",
        "World (LPS) = D @ mesh, with the rows of D:",
        *rows,
    ]
    if np.linalg.det(direction) < 0:
        comments.append("D is left-handed: seen in these axes the bone is mirrored.")
    return write_calculix(
        mesh.nodes_mm @ direction,
        mesh.elements,
        model.E_MPa,
        model.nu,
        path,
        model.constraints,
        model.loads,
        bins_MPa,
        region_sets(mesh),
        comments,
    )


def export_mesh(
    mesh: VoxelMesh | TetMesh, E_MPa: Float, nu: float, path: Path | str, bins_MPa: float = 50.0
) -> Bins:
    """Write a mesh with its materials in world axes (LPS), without boundary conditions."""
    return write_calculix(
        mesh.nodes_mm,
        mesh.world_elements,
        E_MPa,
        nu,
        path,
        bins_MPa=bins_MPa,
        element_sets=region_sets(mesh),
        comments=["Coordinates are in world axes (LPS)."],
    )


def region_sets(mesh: VoxelMesh | TetMesh) -> dict[str, Int]:
    """Element numbers of each region by its name."""
    region = mesh.element_region
    present = np.unique(region).tolist()
    return {
        mesh.names.get(value, f"region_{value}"): np.flatnonzero(region == value)
        for value in present
    }


def _check(nodes: Float, elements: Int, E_MPa: Float, nu: float) -> None:
    if nodes.ndim != 2 or nodes.shape[1] != 3 or not np.isfinite(nodes).all():
        raise InputError(f"nodes must be (n, 3) and finite, got shape {nodes.shape}")
    if elements.ndim != 2 or elements.shape[1] not in ELEMENT_TYPES or not len(elements):
        raise InputError(f"elements must be (n, 4, 8 or 10) with n > 0, got {elements.shape}")
    if elements.min() < 0 or elements.max() >= len(nodes):
        raise InputError(f"an element names a node out of 0..{len(nodes) - 1}")
    if E_MPa.shape != (len(elements),):
        raise InputError(f"{E_MPa.shape} moduli for {len(elements)} elements")
    if not -1.0 < nu < 0.5:
        raise InputError(f"Poisson's ratio must lie between -1 and 0.5, got {nu}")
    corner = elements[:, [0, 1, 3, 4] if elements.shape[1] == 8 else [0, 1, 2, 3]]
    a, b, c, d = np.moveaxis(nodes[corner], 1, 0)
    inverted = np.einsum("ij,ij->i", b - a, np.cross(c - a, d - a)) <= 0
    if inverted.any():
        raise InputError(
            f"{np.count_nonzero(inverted)} of {len(elements)} elements are inverted or flat "
            f"(first: {inverted.argmax()}); of a left-handed grid take mesh.world_elements"
        )


def _head(bins: Bins, gap: float, comments: Sequence[str]) -> list[str]:
    return [
        f"bonekit {__version__}; mm, N, MPa",
        *comments,
        f"{len(bins.E_MPa)} materials: moduli within {gap:g} MPa take their mean,",
        f"an error of {bins.largest_error:.3%} at most and {bins.mean_error:.3%} on average.",
    ]


def _write_mesh(file: TextIO, nodes: Float, elements: Int) -> None:
    file.write("*NODE, NSET=NALL\n")
    numbered = np.column_stack([np.arange(1, len(nodes) + 1), nodes])
    _write_rows(file, f"%d,{NUMBER},{NUMBER},{NUMBER}\n", numbered)
    file.write(f"*ELEMENT, TYPE={ELEMENT_TYPES[elements.shape[1]]}, ELSET=EALL\n")
    rows = np.column_stack([np.arange(1, len(elements) + 1), elements + 1])
    _write_rows(file, ",".join(["%d"] * rows.shape[1]) + "\n", rows)


def _write_materials(file: TextIO, bins: Bins, moduli: list[str], nu: float) -> None:
    order = np.argsort(bins.material, kind="stable")
    ends = np.cumsum(np.bincount(bins.material))
    for number, (members, modulus) in enumerate(
        zip(np.split(order, ends[:-1]), moduli, strict=True), start=1
    ):
        _write_set(file, f"*ELSET, ELSET=MAT{number}", members)
        file.write(f"*MATERIAL, NAME=MAT{number}\n*ELASTIC\n{modulus},{NUMBER % nu}\n")
        file.write(f"*SOLID SECTION, ELSET=MAT{number}, MATERIAL=MAT{number}\n")


def _write_sets(
    file: TextIO,
    constraints: Sequence[Constraint],
    loads: Sequence[Load],
    element_sets: Mapping[str, Int],
) -> None:
    parts: tuple[Constraint | Load, ...] = (*constraints, *loads)
    names = [_name(part.name) for part in parts]
    if len(set(names)) != len(names) or "NALL" in names:
        raise InputError(f"names of node sets clash in the deck: {', '.join(names)}")
    for name, part in zip(names, parts, strict=True):
        _write_set(file, f"*NSET, NSET={name}", part.nodes)
    for name, members in element_sets.items():
        _write_set(file, f"*ELSET, ELSET=R_{_name(name)}", members)


def _write_step(
    file: TextIO, constraints: Sequence[Constraint], loads: Sequence[Load], n_nodes: int
) -> None:
    file.write("*STEP\n*STATIC\n*BOUNDARY\n")
    for part in constraints:
        held = np.broadcast_to(part.displacement_mm, (len(part.nodes), len(part.components)))
        for component, values in zip(part.components, held.T, strict=True):
            dof = component + 1
            rows = np.column_stack([part.nodes + 1, values])
            _write_rows(file, f"%d,{dof},{dof},{NUMBER}\n", rows)
    force = np.zeros((n_nodes, 3))
    for load in loads:
        np.add.at(force, load.nodes, load.force_N)
    node, axis = np.nonzero(force)
    if node.size:
        file.write("*CLOAD\n")
        _write_rows(
            file, f"%d,%d,{NUMBER}\n", np.column_stack([node + 1, axis + 1, force[node, axis]])
        )
    file.write("*NODE PRINT, NSET=NALL\nU\n")
    for part in constraints:
        file.write(f"*NODE PRINT, NSET={_name(part.name)}, TOTALS=YES\nRF\n")
    file.write("*NODE FILE\nU, RF\n*EL FILE\nS, E\n*END STEP\n")


def _write_rows(file: TextIO, row: str, values: NDArray[np.number]) -> None:
    """Format rows, a block of them at a time: the fastest that Python has."""
    for block in _blocks(values):
        file.write(row * len(block) % tuple(block.ravel().tolist()))


def _blocks(values: NDArray[np.number]) -> Iterator[NDArray[np.number]]:
    for start in range(0, len(values), ROWS):
        yield values[start : start + ROWS]


def _write_set(file: TextIO, keyword: str, members: Int) -> None:
    """Write a set, sixteen numbers a line, the most that is allowed."""
    numbers = (np.unique(members) + 1).tolist()
    file.write(keyword + "\n")
    for start in range(0, len(numbers), 16):
        file.write(",".join(map(str, numbers[start : start + 16])) + "\n")


def _name(name: str) -> str:
    """Make a set name that both solvers read: capitals, digits and underscores."""
    clean = re.sub(r"\W", "_", name.upper(), flags=re.ASCII)
    return clean if clean[:1].isalpha() else f"S_{clean}"

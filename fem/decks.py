"""Decks for other solvers: elements, binned materials, sets, surfaces, load steps.

`write_deck` writes a `Deck` by the suffix of the file; `deck_of` and `deck_of_model` make one of a
mesh and of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.deck import Deck, Material, check_mesh
from bonekit.fem.deck_ansys import write_ansys
from bonekit.fem.deck_aster import write_aster
from bonekit.fem.deck_calculix import NUMBER, write_calculix_deck
from bonekit.fem.deck_febio import write_febio
from bonekit.fem.deck_nastran import write_nastran
from bonekit.fem.deck_step import Step
from bonekit.fem.model import Constraint, Load, Model
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Representative = Literal["mean", "max"]
Hardening = Callable[[float], tuple[tuple[float, float], ...]]

WRITERS: Mapping[str, Callable[[Deck, Path | str], None]] = {
    ".inp": write_calculix_deck,
    ".cdb": write_ansys,
    ".feb": write_febio,
    ".bdf": write_nastran,
    ".med": write_aster,
}


@dataclass(frozen=True, eq=False)
class Bins:
    """Elements grouped to materials by their modulus.

    Parameters
    ----------
    material : ndarray of int, (n_elements,)
        Number of the material of each element, from 0 for the stiffest.
    E_MPa : ndarray of float, (n_materials,)
        Modulus of each, falling: the mean of its elements, or the largest.
    largest_error, mean_error : float
        Of an element's modulus in the deck, relative to its own.
    """

    material: Int
    E_MPa: Float
    largest_error: float
    mean_error: float


def bin_moduli(
    E_MPa: Float, gap_MPa: float, representative: Literal["mean", "max"] = "mean"
) -> Bins:
    """Group moduli so that those of one material differ by `gap_MPa` at most.

    From the stiffest element down, as Bonemat does (Taddei et al., Med Eng Phys 2007;29:973-979).
    Materials and moduli are numbered alike, from 0 and without gaps, and each modulus lies among
    those of its elements: a table that starts at another number than the materials, a defect of
    published code, makes each element one bin too stiff.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    gap_MPa : float
        0 gives one material for each different modulus.
    representative : {"mean", "max"}
        What of its elements a material takes: their mean, or the largest, as Bonemat does.

    Raises
    ------
    InputError
        If a modulus is not a positive number, the gap is negative, or `representative` is neither.
    """
    if representative not in ("mean", "max"):
        raise InputError(f"representative must be mean or max, got {representative!r}")
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
    if representative == "max":
        modulus = -values[starts]
    else:
        modulus = np.bincount(material, weights=E_MPa) / np.bincount(material)
    _check_bins(material, modulus, E_MPa, gap_MPa)
    error = np.abs(modulus[material] / E_MPa - 1)
    return Bins(material, modulus, float(error.max()), float(error.mean()))


def _check_bins(material: Int, modulus: Float, E_MPa: Float, gap_MPa: float) -> None:
    """Assert that materials and moduli belong to each other, one to one."""
    rounding = 1e-12 * float(E_MPa.max())
    used = np.bincount(material, minlength=len(modulus))
    assert len(used) == len(modulus), "an element of a material that isn't there"
    assert (used > 0).all(), "a material without elements"
    assert (np.diff(modulus) < 0).all(), "two materials share a modulus"
    off = np.abs(modulus[material] - E_MPa)
    assert (off <= gap_MPa + rounding).all(), "an element got the modulus of another material"


def write_deck(deck: Deck, path: Path | str) -> None:
    """Write a deck in the format of the suffix; it appears only when it is complete.

    Parameters
    ----------
    deck : Deck
    path : path
        .inp (CalculiX, Abaqus), .cdb (Ansys), .feb (FEBio 4), .bdf (Nastran), .med (Code_Aster,
        with its .comm beside it).

    Raises
    ------
    InputError
        If the suffix is none of these, or the format cannot hold what the deck says.
    """
    deck_writer(path)(deck, path)


def deck_writer(path: Path | str) -> Callable[[Deck, Path | str], None]:
    """Find the writer for a file; `write_deck` says which there are."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise InputError(f"can't write a deck as {Path(path).name!r}; known: {', '.join(WRITERS)}")
    return WRITERS[suffix]


def materials_of(bins: Bins, nu: float, hardening: Hardening | None = None) -> tuple[Material, ...]:
    """Materials of bins.

    Parameters
    ----------
    bins : Bins
    nu : float
    hardening : callable, optional
        From Young's modulus in MPa to a hardening table, see `Material`.

    Raises
    ------
    InputError
        If two would be the same in print.
    """
    moduli = bins.E_MPa.tolist()
    if len({NUMBER % E for E in moduli}) != len(moduli):
        raise InputError("two materials print the same modulus: take a larger bins_MPa")
    return tuple(Material(E, nu, hardening(E) if hardening else ()) for E in moduli)


def deck_of(
    nodes_mm: Float,
    elements: Int,
    E_MPa: Float,
    nu: float,
    bins_MPa: float = 50.0,
    *,
    representative: Representative = "mean",
    hardening: Hardening | None = None,
    node_sets: Mapping[str, Int] | None = None,
    element_sets: Mapping[str, Int] | None = None,
    surfaces: Mapping[str, Int] | None = None,
    steps: Sequence[Step] = (),
    comments: Sequence[str] = (),
) -> tuple[Deck, Bins]:
    """Bin moduli and make a deck; see `Deck` for the parameters.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    bins_MPa : float
        Largest difference of moduli within a material.
    representative : {"mean", "max"}
        See `bin_moduli`.
    hardening : callable, optional
        See `materials_of`.

    Returns
    -------
    deck : Deck
    bins : Bins
        Which material each element got, and the error that this makes.

    Raises
    ------
    InputError
        If arrays do not fit together, an element is inverted, or names clash.
    """
    check_mesh(nodes_mm, elements)
    if E_MPa.shape != (len(elements),):
        raise InputError(f"{E_MPa.shape} moduli for {len(elements)} elements")
    bins = bin_moduli(E_MPa, bins_MPa, representative)
    said = (
        f"moduli within {bins_MPa:g} MPa share a material, which has their {representative},",
        f"an error of {bins.largest_error:.3%} at most and {bins.mean_error:.3%} on average",
    )
    deck = Deck(
        nodes_mm,
        elements,
        bins.material,
        materials_of(bins, nu, hardening),
        node_sets or {},
        element_sets or {},
        surfaces or {},
        tuple(steps),
        (*comments, *said),
    )
    return deck, bins


def deck_of_model(
    model: Model, bins_MPa: float = 50.0, representative: Representative = "mean"
) -> tuple[Deck, Bins]:
    """Make a deck of a model, its nodes along the mesh axes, as are constraints and forces.

    The head has the rotation from these axes to the world.

    Raises
    ------
    InputError
        See `deck_of`.
    """
    mesh = model.mesh
    direction = mesh.grid.direction
    comments = [
        "coordinates, displacements and forces are along the axes of the mesh;",
        "world (LPS) = D @ mesh, with the rows of D:",
        *(" ".join(f"{x:+.9f}" for x in row) for row in direction),
    ]
    if np.linalg.det(direction) < 0:
        comments.append("D is left-handed: seen in these axes the bone is mirrored")
    return deck_of(
        mesh.nodes_mm @ direction,
        mesh.elements,
        model.E_MPa,
        model.one_nu,
        bins_MPa,
        representative=representative,
        element_sets=region_sets(mesh),
        steps=[on_axes(model, direction)],
        comments=comments,
    )


def on_axes(model: Model, axes: Float) -> Step:
    """Make one step of a model, the pivots of its caps in axes as its nodes."""
    caps = tuple(replace(cap, pivot_mm=cap.pivot_mm @ axes) for cap in model.caps)
    return Step("load", model.constraints, model.loads, model.supports, caps)


def deck_of_mesh(
    mesh: VoxelMesh | TetMesh,
    E_MPa: Float,
    nu: float,
    bins_MPa: float = 50.0,
    representative: Representative = "mean",
) -> tuple[Deck, Bins]:
    """Make a deck of a mesh in world axes (LPS), with element sets of its regions, no steps."""
    return deck_of(
        mesh.nodes_mm,
        mesh.world_elements,
        E_MPa,
        nu,
        bins_MPa,
        representative=representative,
        element_sets=region_sets(mesh),
        comments=["coordinates are in world axes (LPS)"],
    )


def write_calculix(
    nodes_mm: Float,
    elements: Int,
    E_MPa: Float,
    nu: float,
    path: Path | str,
    constraints: Sequence[Constraint] = (),
    loads: Sequence[Load] = (),
    bins_MPa: float = 50.0,
) -> Bins:
    """Write arrays as a CalculiX (and Abaqus) deck with one step; see `deck_of`."""
    steps = [Step("load", tuple(constraints), tuple(loads))] if constraints else []
    deck, bins = deck_of(nodes_mm, elements, E_MPa, nu, bins_MPa, steps=steps)
    write_calculix_deck(deck, path)
    return bins


def export_deck(model: Model, path: Path | str, bins_MPa: float = 50.0) -> Bins:
    """Write a model for the solver of the suffix, see `deck_of_model` and `write_deck`."""
    write = deck_writer(path)
    deck, bins = deck_of_model(model, bins_MPa)
    write(deck, path)
    return bins


def export_mesh(
    mesh: VoxelMesh | TetMesh, E_MPa: Float, nu: float, path: Path | str, bins_MPa: float = 50.0
) -> Bins:
    """Write a mesh with its materials, see `deck_of_mesh` and `write_deck`."""
    write = deck_writer(path)
    deck, bins = deck_of_mesh(mesh, E_MPa, nu, bins_MPa)
    write(deck, path)
    return bins


def region_sets(mesh: VoxelMesh | TetMesh) -> dict[str, Int]:
    """Element numbers of each region, by ``R_`` and its name."""
    region = mesh.element_region
    return {
        f"R_{mesh.names.get(value, f'region_{value}')}": np.flatnonzero(region == value)
        for value in np.unique(region).tolist()
    }

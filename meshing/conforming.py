"""Steps from shapes to tetrahedra: lattice, cuts, remeshing, fitting, mending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError, MeshQualityError
from bonekit.meshing.distance import DistanceField
from bonekit.meshing.elements import DIHEDRAL_DEG, LEAST_JACOBIAN, ROOM, fitness
from bonekit.meshing.lattice import Parts, lattice, refine
from bonekit.meshing.levelset import (
    boundary,
    compact,
    crowded_edges,
    interfaces,
    largest_piece,
    level,
    manifold,
    on_surfaces,
    snapped,
    split,
)
from bonekit.meshing.mend import mended
from bonekit.meshing.mmg import remesh
from bonekit.meshing.move import Fit, fitted, moved, projected
from bonekit.meshing.shapes import Shape
from bonekit.meshing.untangle import crossing, unpinched, untangled

Float = NDArray[np.float64]
Int = NDArray[np.int64]

OUTSIDE, REST = 1000, 1001  # references beside the label values
MOST_NAMED = 10
ADVICE = (
    "Take a shorter edge, more smoothing, or correct thin parts of the segmentation; a region can "
    "be left out of `interfaces`"
)


class PoorPlacesError(MeshQualityError):
    """A mesh that fails at some places, where shorter edges may help.

    Parameters
    ----------
    message : str
    places_mm : ndarray of float, (n, 3)
    """

    def __init__(self, message: str, places_mm: Float) -> None:
        super().__init__(message)
        self.places_mm = places_mm


@dataclass(frozen=True, eq=False)
class Cut:
    """Tetrahedra that follow shapes coarsely, before remeshing."""

    parts: Parts
    shapes: list[Shape]
    n_removed: int


def cut(shapes: Sequence[Shape], size: DistanceField, edge_mm: float) -> Cut:
    """Cut the body and its regions out of a graded lattice.

    Parameters
    ----------
    shapes : sequence of Shape
        The body and the regions in the order of their cuts.
    size : DistanceField
        Wanted edge length.
    edge_mm : float
        The longest.
    """
    body = shapes[0]
    nodes, tetrahedra = lattice(body.field, edge_mm)
    nodes, tetrahedra = refine(nodes, tetrahedra, size.at, body.at)
    parts: Parts = (nodes, tetrahedra, np.full(len(tetrahedra), OUTSIDE))
    parts, body = _cut_one(parts, [body], OUTSIDE, REST)
    if not (parts[2] == REST).any():
        raise InputError(f"no bone is left at an edge length of {edge_mm} mm: take a shorter one")
    nodes, tetrahedra, reference = manifold(parts, OUTSIDE, REST)
    tetrahedra = tetrahedra[reference == REST]
    kept, n_removed = largest_piece(tetrahedra)
    tetrahedra = tetrahedra[kept]
    parts = compact((nodes, tetrahedra, np.full(len(tetrahedra), REST)))
    done = [body]
    for shape in shapes[1:]:
        parts, shape = _cut_one(parts, [*done, shape], REST, shape.value)
        _check_kept(parts, shape)
        parts = manifold(parts, REST, shape.value)
        done.append(shape)
    return Cut(parts, done, n_removed)


def _check_kept(parts: Parts, shape: Shape) -> None:
    """Refuse a cut that leaves no element on one of its sides."""
    nodes, _, reference = parts
    for value, what, at in (
        (shape.value, f"the region of label {shape.value}", np.argmin),
        (REST, f"what the region of label {shape.value} leaves of the bone", np.argmax),
    ):
        if not (reference == value).any():
            where = ", ".join(f"{x:.1f}" for x in nodes[at(shape.at(nodes))])
            raise MeshQualityError(
                f"{what} near ({where}) mm is lost: it is thinner than elements can be. Take a "
                "shorter edge there (fine_mm), correct the segmentation, or leave the region out "
                "of `interfaces`"
            )


def _cut_one(parts: Parts, shapes: list[Shape], ref: int, inside: int) -> tuple[Parts, Shape]:
    """Cut one reference by the last shape, its level moved to hold its volume."""
    nodes, tetrahedra, reference = parts
    shape = shapes[-1]
    reach = 0.5 * float(shape.field.grid.spacing_mm.max())
    own = tetrahedra[reference == ref]
    shape = shape.moved(level(nodes, own, shape.at(nodes), shape.volume_mm3, reach))
    values = snapped(parts, shape.at(nodes), ref)
    nodes, values = _warped(parts, values, [*shapes[:-1], shape])
    return split((nodes, tetrahedra, reference), values, ref, inside), shape


def _warped(parts: Parts, values: Float, shapes: list[Shape]) -> tuple[Float, Float]:
    """Bring nodes that a cut was moved to onto its surface, along the surfaces they are on."""
    nodes, tetrahedra, reference = parts
    zero = values == 0
    on = np.zeros((len(nodes), len(shapes)), dtype=bool)
    if len(shapes) > 1:
        order = tuple(shape.value for shape in shapes[1:-1])
        corners, surface = interfaces(tetrahedra, reference, order)
        on = on_surfaces(len(nodes), corners, surface, len(shapes))
    on[:, -1] = True
    target = nodes.copy()
    most = float(shapes[0].field.grid.spacing_mm.max())
    target[zero] = projected(nodes[zero], on[zero], shapes, most)
    return moved(nodes, tetrahedra, target), values


HAUSDORFF_VOXELS = 0.5  # how far MMG may move surfaces, which are brought back afterwards


def remeshed(rough: Cut, size: DistanceField, voxel_mm: float) -> Fit:
    """Remesh for size and quality, fit to shapes and volumes, mend.

    Parameters
    ----------
    rough : Cut
    size : DistanceField
        Wanted edge length.
    voxel_mm : float
        Smallest spacing of the label map.

    Raises
    ------
    MeshQualityError
        If MMG gives up.
    """
    sizes = size.at(rough.parts[0]).astype(np.float64)
    parts = unpinched(remesh(rough.parts, sizes, HAUSDORFF_VOXELS * voxel_mm))
    none = np.zeros((len(parts[0]), len(rough.shapes)))
    fit = fitted(Fit(parts, rough.shapes, none), 5, voxel_mm, relax=0.3)
    fit = replace(fit, parts=mended(fit.parts, fit.shapes, voxel_mm))
    fit = fitted(fit, 6, voxel_mm)
    parts = mended(fit.parts, fit.shapes, voxel_mm)
    return replace(fit, parts=untangled(parts, tuple(shape.value for shape in fit.shapes[1:])))


def check_parts(parts: Parts, shapes: Sequence[Shape], names: Mapping[int, str]) -> None:
    """Refuse elements outside the limits, a boundary that meets itself, and lost regions.

    Raises
    ------
    MeshQualityError
        With the numbers of elements and where they are.
    """
    nodes, tetrahedra, reference = parts
    bad = np.flatnonzero(fitness(nodes, tetrahedra) < 1 / ROOM)
    if bad.size:
        raise PoorPlacesError(
            f"{bad.size} of {len(tetrahedra)} tetrahedra are outside the limits (scaled Jacobian "
            f"{LEAST_JACOBIAN}, dihedral angles {DIHEDRAL_DEG[0]:g} to {DIHEDRAL_DEG[1]:g} "
            f"degrees): {places(nodes, tetrahedra, bad)}. {ADVICE}",
            nodes[tetrahedra[bad]].mean(axis=1),
        )
    outer = boundary(tetrahedra)
    crowded = crowded_edges(outer)
    if len(crowded):
        where = ", ".join(f"{x:.1f}" for x in nodes[crowded[0]].mean(axis=0))
        raise PoorPlacesError(
            f"the boundary of the mesh touches itself at {len(crowded)} edges, the first near "
            f"({where}) mm: the bone has a part thinner than the elements. {ADVICE}",
            nodes[crowded].mean(axis=1),
        )
    across = crossing(nodes, outer)
    if len(across):
        where = ", ".join(f"{x:.1f}" for x in nodes[across[0]].mean(axis=0))
        raise PoorPlacesError(
            f"the boundary of the mesh crosses itself at {len(across)} triangles, the first near "
            f"({where}) mm: the bone has a gap narrower than the elements. {ADVICE}",
            nodes[across].mean(axis=1),
        )
    for shape in shapes[1:]:
        if not (reference == shape.value).any():
            raise MeshQualityError(
                f"region {names[shape.value]!r} ({shape.volume_mm3:.3g} mm3) has got no element. "
                f"{ADVICE}"
            )


def places(nodes: Float, tetrahedra: Int, which: Int) -> str:
    """Numbers and centres of the first elements of a list."""
    centre = nodes[tetrahedra[which[:MOST_NAMED], :4]].mean(axis=1)
    each = [
        f"{k} at ({x:.1f}, {y:.1f}, {z:.1f}) mm"
        for k, (x, y, z) in zip(which, centre, strict=False)
    ]
    return ", ".join(each) + (", ..." if len(which) > MOST_NAMED else "")

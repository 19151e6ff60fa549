"""Surfaces made elsewhere, made closed, outward and free of crossings, or refused by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.errors import InputError
from bonekit.meshing.holes import closed, loops, split_fans
from bonekit.meshing.intersections import self_intersections, thin_walls
from bonekit.meshing.shells import NoInsideError, outward
from bonekit.meshing.surface import Surface
from bonekit.meshing.triangles import (
    area_vectors,
    closest,
    components,
    edge_lengths,
    faces_per_edge,
    shells,
    volume,
)

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

SAME = 1e-6  # of the box's diagonal: points nearer than that are one
SPECK = 1e-3  # of the largest shell's volume: smaller shells are dropped
RINGS = (1, 1, 1, 2, 2, 2, 3, 4)  # of triangles cut out about what crosses, round after round
SPIKE = 0.01  # of the median edge: spikes thinner than that are cut off
SPIKES = 0.002  # of the triangles: as many as that without a thickness are spikes, more are a wall
CUT_VOLUME = 0.05  # most that cutting out crossings may change of a volume
WALL_MM = 0.01  # bone has no thinner walls


@dataclass(frozen=True)
class Repairs:
    """How much of a surface was mended; all counts are 0 for a sound one.

    Parameters
    ----------
    merged_points : int
        Points that lay on another.
    degenerate, duplicate : int
        Triangles with a node twice, and those there twice.
    flaps : int
        Triangles that hung on the surface by an edge.
    cut_out : int
        Triangles at crossings, spikes and edges of more than two, cut out and closed anew.
    holes : int
        Holes closed.
    flipped : int
        Triangles turned so that their normals point outward.
    specks : int
        Small shells dropped.
    """

    merged_points: int = 0
    degenerate: int = 0
    duplicate: int = 0
    flaps: int = 0
    cut_out: int = 0
    holes: int = 0
    flipped: int = 0
    specks: int = 0

    def __str__(self) -> str:
        """List what was done."""
        done = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(f"{n} {name}" for name, n in done.items() if n) or "nothing to repair"


def repair(surface: Surface, hole_mm: float = 10.0) -> tuple[Surface, Repairs]:
    """Make a surface closed, manifold, outward and free of crossings.

    Points at one place are merged; degenerate and double triangles and flaps dropped; triangles
    that cross others, meet at an edge of more than two, or are the sides of a spike without
    thickness are cut out with the ring about them; holes are closed by the smallest area, and
    normals turned outward (inward in cavities).

    Parameters
    ----------
    surface : Surface
    hole_mm : float
        Largest hole that is closed, by the diagonal of its box. Say the width of the shaft to
        close a bone that was cut.

    Returns
    -------
    Surface, Repairs

    Raises
    ------
    InputError
        With the place: a hole that is larger, a wall without thickness, a surface of one side
        only, or crossings that cutting out does not mend within a twentieth of the volume.
    """
    points, triangles = surface.points_mm, surface.triangles
    points, triangles, merged = _merged(points, triangles)
    triangles, degenerate, duplicate = _without_doubles(points, triangles)
    triangles, flaps = _without_flaps(triangles)
    points, triangles = split_fans(points, triangles)
    triangles = _outward(points, triangles)
    _check_holes(points, triangles, hole_mm)
    points, triangles, holes = closed(points, triangles)
    points, triangles, cut_out = _without_crossings(points, triangles)
    points, triangles, specks = _without_specks(points, triangles)
    triangles = _outward(points, triangles)
    done = Repairs(
        merged, degenerate, duplicate, flaps, cut_out, holes,
        _flipped(points, triangles, surface), specks,
    )  # fmt: skip
    _check_walls(points, triangles)
    if done == Repairs():
        return surface, done
    logger.info("surface repaired: %s", done)
    centre = points[triangles].mean(axis=1)
    under = surface.region[closest(centre, surface.points_mm, surface.triangles)[1]]
    return Surface(points, triangles, under, surface.names), done


def check_surface(surface: Surface) -> None:
    """Refuse a surface that bounds no solid.

    Raises
    ------
    InputError
        If it is open, non-manifold, crosses itself, its normals are not outward, or a wall has no
        thickness; with the place of the first.
    """
    points, triangles = surface.points_mm, surface.triangles
    found, _, count = faces_per_edge(triangles)
    for wrong, what in (
        (count == 1, "edges are open"),
        (count > 2, "edges have more than two triangles (non-manifold)"),
    ):
        if wrong.any():
            raise InputError(_fault(int(wrong.sum()), what, points[found[wrong][0]].mean(axis=0)))
    crossing = self_intersections(points, triangles)
    if len(crossing):
        where = points[triangles[crossing[0, 0]]].mean(axis=0)
        raise InputError(_fault(len(crossing), "pairs of triangles cross", where))
    turned = int((_outward(points, triangles) != triangles).any(axis=1).sum())
    if turned:
        where = points[triangles[(_outward(points, triangles) != triangles).any(axis=1)][0]]
        raise InputError(_fault(turned, "triangles have inverted normals", where.mean(axis=0)))
    _check_walls(points, triangles)


def _fault(n: int, what: str, where: Float) -> str:
    return f"the surface bounds no solid: {n} {what}, first near {_at(where)} mm. Repair it first"


def _at(where: Iterable[float]) -> str:
    return f"({', '.join(f'{x:.1f}' for x in where)})"


def _merged(points: Float, triangles: Int) -> tuple[Float, Int, int]:
    used, number = np.unique(triangles, return_inverse=True)
    points, triangles = points[used], np.asarray(number).reshape(-1, 3)
    near = SAME * float(np.linalg.norm(np.ptp(points, axis=0)))
    pairs = cKDTree(points).query_pairs(near, output_type="ndarray")
    same = components(len(points), pairs[:, 0], pairs[:, 1])
    _, first, node = np.unique(same, return_index=True, return_inverse=True)
    return points[first], np.asarray(node)[triangles], len(points) - len(first)


def _without_doubles(points: Float, triangles: Int) -> tuple[Int, int, int]:
    """Drop triangles with a node twice and all but one of those with the same nodes."""
    ordered = np.sort(triangles, axis=1)
    whole = (np.diff(ordered, axis=1) > 0).all(axis=1)
    triangles, ordered = triangles[whole], ordered[whole]
    if not len(triangles):
        raise InputError("every triangle of the surface is degenerate: nothing to repair")
    _, first, number, count = np.unique(
        ordered, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    double = count[np.asarray(number).ravel()] > 1
    _, edge, faces = faces_per_edge(triangles)
    rim = np.flatnonzero(double & (faces[edge] == 2).any(axis=1) & _partner(edge, faces, number))
    if len(rim):
        raise InputError(
            f"the surface has a wall without thickness: {np.sum(double)} triangles lie back to "
            f"back, first near {_at(points[triangles[rim[0]]].mean(axis=0))} mm. Give it a "
            "thickness or remove it"
        )
    return triangles[np.sort(first)], int((~whole).sum()), len(triangles) - len(first)


def _partner(edge: Int, faces: Int, number: Int) -> Mask:
    """Which triangles share an edge of two with their own double: the rim of a fin."""
    corner = np.flatnonzero(faces[edge.ravel()] == 2)
    order = corner[np.argsort(edge.ravel()[corner], kind="stable")]
    one, other = order[0::2] // 3, order[1::2] // 3
    own = np.asarray(number).ravel()
    out = np.zeros(len(edge), dtype=bool)
    same = own[one] == own[other]
    out[one[same]] = out[other[same]] = True
    return out


def _without_flaps(triangles: Int) -> tuple[Int, int]:
    """Drop, layer by layer, triangles with both an open and a crowded edge."""
    start = len(triangles)
    while True:
        _, number, count = faces_per_edge(triangles)
        each = count[number]
        flap = (each == 1).any(axis=1) & (each > 2).any(axis=1)
        if not flap.any() or flap.all():
            return triangles, start - len(triangles)
        triangles = triangles[~flap]


def _check_holes(points: Float, triangles: Int, hole_mm: float) -> None:
    holes = loops(triangles)
    size = [float(np.linalg.norm(np.ptp(points[hole], axis=0))) for hole in holes]
    if holes and max(size) > hole_mm:
        worst = holes[int(np.argmax(size))]
        raise InputError(
            f"the surface is open: {len(holes)} holes, the largest {max(size):.1f} mm wide at "
            f"{_at(points[worst].mean(axis=0))} mm; up to hole_mm={hole_mm:g} are closed. If the "
            f"bone was cut there, close it with hole_mm={np.ceil(max(size)):g}; if not, mend the "
            "file"
        )


def _without_crossings(points: Float, triangles: Int) -> tuple[Float, Int, int]:
    """Cut out what crosses, with the ring about it, and close it again, until nothing does."""
    total, old = 0, (points, triangles)
    for rings in RINGS:
        bad = _crossing(points, triangles)
        if not len(bad):
            if total:
                _check_cuts(points, triangles, old)
            return points, triangles, total
        where = points[triangles[bad[0]]].mean(axis=0)
        out: Mask = np.isin(np.arange(len(triangles)), bad)
        for _ in range(rings):
            touched = np.zeros(len(points), dtype=bool)
            touched[triangles[out]] = True
            out = np.asarray(touched[triangles].any(axis=1))
        if out.mean() > 0.5:
            break
        total += int(out.sum())
        points, triangles = split_fans(points, _large_pieces(points, triangles[~out]))
        points, triangles, _ = closed(points, triangles)
    raise InputError(
        f"the surface crosses itself: {len(bad)} triangles after cutting out {total}, first near "
        f"{_at(where)} mm. Mend the file, or rebuild it (bonekit.meshing.rebuild)"
    )


def _check_cuts(points: Float, triangles: Int, old: tuple[Float, Int]) -> None:
    """Refuse cuts that took away more than flaws: two bones through each other."""
    change = volume(points, _outward(points, triangles)) / volume(*old) - 1
    if abs(change) > CUT_VOLUME:
        where = old[0][old[1][_crossing(*old)[0]]].mean(axis=0)
        raise InputError(
            f"the surface crosses itself, first near {_at(where)} mm, and cutting out what crosses "
            f"changes its volume by {change:+.0%}; {CUT_VOLUME:.0%} are allowed. Take its bones "
            "apart, mend the file, or rebuild it (bonekit.meshing.rebuild)"
        )


def _crossing(points: Float, triangles: Int) -> Int:
    """Triangles that cross others, have an edge of more than two, or are the sides of a spike."""
    _, number, count = faces_per_edge(triangles)
    crowded = np.flatnonzero((count[number] > 2).any(axis=1))
    edge = float(np.median(edge_lengths(points, triangles)))
    thin = thin_walls(points, triangles, max(WALL_MM, SPIKE * edge))
    spikes = thin if len(thin) <= SPIKES * len(triangles) else thin[:0]  # the rest is a wall
    crossing = self_intersections(points, triangles).ravel()
    return np.unique(np.concatenate([crossing, crowded, spikes]))


def _large_pieces(points: Float, triangles: Int) -> Int:
    """Drop the scraps that cutting out leaves: pieces of less than a hundredth of the area."""
    piece = shells(triangles)
    count = np.bincount(piece)
    return triangles[count[piece] >= 0.01 * len(triangles)]


def _without_specks(points: Float, triangles: Int) -> tuple[Float, Int, int]:
    piece = shells(triangles)
    size = np.array([abs(volume(points, triangles[piece == p])) for p in range(piece.max() + 1)])
    kept = size >= SPECK * size.max()
    return points, triangles[kept[piece]], int((~kept).sum())


def _outward(points: Float, triangles: Int) -> Int:
    try:
        return outward(points, triangles)
    except NoInsideError as error:
        raise InputError(
            f"the surface has one side only (like a Moebius strip), near {_at(error.where_mm)} mm: "
            "it bounds no bone"
        ) from error


def _flipped(points: Float, triangles: Int, old: Surface) -> int:
    """Count the triangles that were there before with their normal the other way."""
    far, which = cKDTree(old.points_mm[old.triangles].mean(axis=1)).query(
        points[triangles].mean(axis=1)
    )
    same = far < SAME * float(np.linalg.norm(np.ptp(points, axis=0)))
    normal = area_vectors(points, triangles)
    return int((same & (np.einsum("ij,ij->i", normal, old.area_vectors_mm2[which]) < 0)).sum())


def _check_walls(points: Float, triangles: Int) -> None:
    thin = thin_walls(points, triangles, WALL_MM)
    if len(thin) and float(np.median(edge_lengths(points, triangles))) > 10 * WALL_MM:
        raise InputError(
            f"the surface has a wall thinner than {WALL_MM} mm: {len(thin)} triangles, first near "
            f"{_at(points[triangles[thin[0]]].mean(axis=0))} mm. Give it a thickness or remove it"
        )

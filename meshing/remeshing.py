"""Surfaces with triangles of one edge length.

By MMG (Dapogny, Dobrzynski and Frey, J Comput Phys 2014;262:358-378).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import mmgpy
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bonekit.errors import InputError, MeshQualityError
from bonekit.meshing.intersections import self_intersections, thin_walls
from bonekit.meshing.repair import WALL_MM
from bonekit.meshing.surface import Surface
from bonekit.meshing.triangles import (
    angles_deg,
    area_vectors,
    away,
    closest,
    distance,
    edge_lengths,
    faces_per_edge,
    inflated,
    shells,
    volume,
)

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_TRIANGLES = 5_000_000
LEAST_DEG = 15.0  # smallest angle that a node's return to the old surface may leave
ATTEMPTS = 5
HALVINGS = 2  # of those, with shorter edges; then the old triangles stay where it goes wrong
TORN = "is open or non-manifold"
LOCAL = 0.05  # of the places: where more are too far off, it is no matter of a few walls
SHELL_EDGES = 3.0  # shells with a smaller box, in edges, keep their triangles


@dataclass(frozen=True)
class Remeshed:
    """What remeshing did to a surface.

    Parameters
    ----------
    n_before, n_after : int
        Triangles.
    edge_mm : tuple of float, (3,)
        5th percentile, median and 95th percentile of the lengths of the edges.
    volume_change : float
        Relative.
    largest_mm, mean_mm : float
        Distance of old and new surface, both ways, at nodes and centres of triangles.
    least_angle_deg : float
    limit_mm : float
        What `largest_mm` must not exceed.
    finer : float
        Part of the area with edges shorter than asked for, where walls are thin.
    n_kept : int
        Triangles that stayed as they were: of small shells, such as cavities of a voxel, and of
        necks and walls that new ones would spoil.
    note : str
        Why there are no fewer triangles, if they should be.

    Raises
    ------
    MeshQualityError
        If the surfaces are further apart than the limit.
    """

    n_before: int
    n_after: int
    edge_mm: tuple[float, float, float]
    volume_change: float
    largest_mm: float
    mean_mm: float
    least_angle_deg: float
    limit_mm: float
    finer: float = 0.0
    n_kept: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if self.largest_mm > self.limit_mm:
            raise MeshQualityError(
                f"the new surface is up to {self.largest_mm:.2f} mm off the old one, allowed: "
                f"{self.limit_mm:.2f} mm. Take shorter edges, or allow more (limit_mm)"
            )


def remesh(
    surface: Surface, edge_mm: float, limit_mm: float | None = None
) -> tuple[Surface, Remeshed]:
    """Bring all triangles of a closed surface to an edge length; its volume stays.

    Where new triangles would cross or lie too far off, as at walls thinner than the edges, edges
    are halved, there only: `Remeshed.finer` says on how much of the surface. Where that does not
    do, at necks that new triangles would pinch off, and on shells too small for the edge length,
    such as cavities of a voxel, the old triangles stay: `Remeshed.n_kept`.

    Parameters
    ----------
    surface : Surface
        Sound: see `bonekit.meshing.repair.check_surface`.
    edge_mm : float
    limit_mm : float, optional
        How far old and new surface may be apart; by default the edge length, as edges and
        corners sharper than the triangles can't be kept.

    Returns
    -------
    Surface, Remeshed

    Raises
    ------
    InputError
        If the edge length is not positive, or makes too many triangles or hardly any.
    MeshQualityError
        With the place: if the result crosses or touches itself, is not closed, or is further off
        than `limit_mm`.
    """
    _check_edge(surface, edge_mm)
    limit = edge_mm if limit_mm is None else limit_mm
    big, small = split_small(surface, SHELL_EDGES * edge_mm)
    if not len(big):
        raise InputError(
            f"an edge length of {edge_mm} mm is too coarse: all {shells(small).max() + 1} shells "
            f"of the surface are smaller than {SHELL_EDGES * edge_mm:g} mm"
        )
    points, triangles, finer, n_kept = _uniform(surface.points_mm, big, small, edge_mm, limit)
    made = on_regions(surface, points, triangles)
    return made, measured(surface, made, limit, finer=finer, n_kept=len(small) + n_kept)


def split_small(surface: Surface, size_mm: float) -> tuple[Int, Int]:
    """Triangles of the shells whose box has a diagonal of `size_mm` or more, and the others."""
    piece = shells(surface.triangles)
    small = np.zeros(len(piece), dtype=bool)
    for k in range(piece.max() + 1):
        box = np.ptp(surface.points_mm[surface.triangles[piece == k]].reshape(-1, 3), axis=0)
        small |= (piece == k) & (float(np.linalg.norm(box)) < size_mm)
    return surface.triangles[~small], surface.triangles[small]


def _check_edge(surface: Surface, edge_mm: float) -> None:
    if not (np.isfinite(edge_mm) and edge_mm > 0):
        raise InputError(f"the edge length must be a positive number of mm, got {edge_mm}")
    estimate = surface.area_mm2 / (np.sqrt(3) / 4 * edge_mm**2)
    if estimate > MOST_TRIANGLES:
        least = edge_mm * np.sqrt(estimate / MOST_TRIANGLES)
        raise InputError(
            f"an edge length of {edge_mm} mm would make about {estimate / 1e6:.0f} million "
            f"triangles of {surface.area_mm2 / 100:.0f} cm2; at most {MOST_TRIANGLES // 10**6} "
            f"million are allowed. Take {least:.2g} mm or more"
        )
    if edge_mm > np.ptp(surface.points_mm, axis=0).min() / 2:
        raise InputError(
            f"an edge length of {edge_mm} mm is too coarse for a surface of "
            f"{' x '.join(f'{s:.1f}' for s in np.ptp(surface.points_mm, axis=0))} mm"
        )


def _uniform(
    old_points: Float, big: Int, small: Int, edge_mm: float, limit_mm: float
) -> tuple[Float, Int, float, int]:
    """Remesh until nothing crosses or is too far off, with shorter or old edges where it does.

    The third of what is returned is the part of the area where edges are shorter, the fourth how
    many triangles of `big` are as they were.
    """
    old, others = compact(old_points, big), (old_points, small)
    size, kept = np.full(len(old[0]), edge_mm), np.zeros(len(big), dtype=bool)
    for attempt in range(ATTEMPTS):
        points, triangles = _mmg(*old, edge_mm, size if size.min() < edge_mm else None, kept)
        points, wrong, what = _judged(points, triangles, old, others, limit_mm)
        if not len(wrong):
            finer = _finer_part(points, triangles, old[0], size < edge_mm)
            return *joined((points, triangles), compact(*others)), finer, int(kept.sum())
        if len(wrong) > LOCAL * (len(points) + len(triangles)):
            break
        logger.info("the new surface %s at %d places: mended there", what, len(wrong))
        if what == TORN or attempt >= HALVINGS:
            away_mm = cKDTree(wrong).query(old[0][old[1]].mean(axis=1))[0]
            kept |= away_mm < (attempt + 1) * edge_mm
        else:
            size = _finer(size, old[0], wrong)
    where = ", ".join(f"{x:.1f}" for x in wrong[0])
    raise MeshQualityError(
        f"the new surface {what} at {len(wrong)} places, first near ({where}) mm, with edges of "
        f"{size.min():.2g} mm there. Take another edge length, allow more (limit_mm), or repair "
        "the surface there (bonekit.meshing.repair)"
    )


def _judged(
    points: Float,
    triangles: Int,
    old: tuple[Float, Int],
    others: tuple[Float, Int],
    limit_mm: float,
) -> tuple[Float, Float, str]:
    """Bring new nodes back to the old surface; where it is wrong then, (n, 3), and what is."""
    wrong = _open_places(points, triangles)
    if len(wrong):
        return points, wrong, TORN
    points, wrong = _restored(points, triangles, *old, others)
    if len(wrong):
        return points, wrong, "crosses or touches itself"
    return points, _far(points, triangles, *old, limit_mm), f"is over {limit_mm:g} mm off"


def joined(*parts: tuple[Float, Int]) -> tuple[Float, Int]:
    """Points and triangles of all parts in one."""
    start = np.cumsum([0, *(len(points) for points, _ in parts)])
    every = [triangles + n for (_, triangles), n in zip(parts, start, strict=False)]
    return np.concatenate([points for points, _ in parts]), np.concatenate(every)


def compact(points: Float, triangles: Int) -> tuple[Float, Int]:
    """Only the points that the triangles use."""
    used, number = np.unique(triangles, return_inverse=True)
    return points[used], np.asarray(number, dtype=np.int64).reshape(-1, 3)


def on_regions(surface: Surface, points: Float, triangles: Int) -> Surface:
    """Give new triangles the regions of the old ones nearest to them."""
    centre = points[triangles].mean(axis=1)
    region = surface.region[closest(centre, surface.points_mm, surface.triangles)[1]]
    return Surface(points, triangles, region, surface.names)


def measured(
    old: Surface, new: Surface, limit_mm: float, *, finer: float = 0.0, n_kept: int = 0
) -> Remeshed:
    """Compare a new surface with the old one."""
    points, triangles = new.points_mm, new.triangles
    length = np.percentile(edge_lengths(points, triangles), [5, 50, 95])
    largest, mean = away(points, triangles, old.points_mm, old.triangles)
    return Remeshed(
        len(old.triangles),
        len(triangles),
        (float(length[0]), float(length[1]), float(length[2])),
        volume(points, triangles) / volume(old.points_mm, old.triangles) - 1,
        largest,
        mean,
        float(angles_deg(points, triangles).min()),
        limit_mm,
        finer,
        n_kept,
    )


def _open_places(points: Float, triangles: Int) -> Float:
    """Middles of edges that have not two triangles, (n, 3)."""
    found, _, count = faces_per_edge(triangles)
    return np.asarray(points[found[count != 2]].mean(axis=1))


def _far(
    points: Float, triangles: Int, old_points: Float, old_triangles: Int, limit_mm: float
) -> Float:
    """Places of either surface that are too far from the other, (n, 3)."""
    one, two = (points, triangles), (old_points, old_triangles)
    found = []
    for (x, t), other in ((one, two), (two, one)):
        places = np.concatenate([x, x[t].mean(axis=1)])
        found.append(places[distance(places, *other) > limit_mm])
    return np.concatenate(found)


def _restored(
    points: Float, triangles: Int, old_points: Float, old_triangles: Int, kept: tuple[Float, Int]
) -> tuple[Float, Float]:
    """Bring nodes back to the old surface and its volume, if that makes nothing cross or touch.

    Also where something does, (n, 3).
    """
    wanted = volume(old_points, old_triangles)
    returned = _returned(points, triangles, old_points, old_triangles)
    for start in (returned, points):
        tried = inflated(start, triangles, wanted)
        wrong = touching(*joined((tried, triangles), kept))
        if not len(wrong):
            break
    return tried, wrong


def touching(points: Float, triangles: Int) -> Float:
    """Where triangles cross or touch others, or walls have no thickness, (n, 3)."""
    thin = thin_walls(points, triangles, WALL_MM)
    bad = np.concatenate([self_intersections(points, triangles).ravel(), thin])
    return np.asarray(points[triangles[bad]].mean(axis=1))


def _finer(size: Float, points: Float, places: Float) -> Float:
    """Halve the edge length within two edges of places; `size` at points, (n,)."""
    return np.where(cKDTree(places).query(points)[0] < 2 * size, size / 2, size)


def _finer_part(points: Float, triangles: Int, old_points: Float, finer: Mask) -> float:
    """Part of the area that lies nearest to an old node with shorter edges."""
    area = np.linalg.norm(area_vectors(points, triangles), axis=1)
    nearest = cKDTree(old_points).query(points[triangles].mean(axis=1))[1]
    return float(area[finer[nearest]].sum() / area.sum())


def _mmg(
    points: Float,
    triangles: Int,
    edge_mm: float,
    size: Float | None = None,
    kept: Mask | None = None,
) -> tuple[Float, Int]:
    mesh = mmgpy.MmgMeshS()
    mesh.set_mesh_size(vertices=len(points), triangles=len(triangles))
    mesh.set_vertices(points)
    mesh.set_triangles(triangles.astype(np.int32))
    if kept is not None and kept.any():
        mesh.set_required_triangles(np.flatnonzero(kept).astype(np.int32))
    options: dict[str, Any] = {"hsiz": edge_mm}
    if size is not None:
        mesh.set_field("metric", size.reshape(-1, 1))
        options = {"hmin": size.min() / 2, "hmax": 1.3 * size.max()}
    try:
        # bones have no ridges to keep
        mesh.remesh(**(options | {"hausd": edge_mm / 2, "angle": 0, "verbose": -1}))
    except RuntimeError as error:
        raise MeshQualityError(
            f"MMG could not remesh {len(triangles)} triangles: {error}. Repair the surface first"
        ) from error
    made = np.array(mesh.get_triangles(), dtype=np.int64)
    return compact(np.array(mesh.get_vertices(), dtype=np.float64), made)


def _returned(points: Float, triangles: Int, old_points: Float, old_triangles: Int) -> Float:
    """Move nodes back to the old surface, except where a triangle would turn or go flat.

    MMG rounds the surface off between its nodes, which takes nodes away from flat triangles.
    """
    target = closest(points, old_points, old_triangles)[0]
    normal = area_vectors(points, triangles)
    before = angles_deg(points, triangles).min(axis=1)
    moved = np.ones(len(points), dtype=bool)
    for _ in range(20):
        tried = np.where(moved[:, None], target, points)
        turned = np.einsum("ij,ij->i", area_vectors(tried, triangles), normal) <= 0
        after = angles_deg(tried, triangles).min(axis=1)
        bad = turned | ((after < LEAST_DEG) & (after < before))
        bad &= moved[triangles].any(axis=1)
        if not bad.any():
            return tried
        moved[triangles[bad]] = False
    return points

"""Surfaces with triangles of one edge length, or with as few as a distance allows.

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
    edge_lengths,
    faces_per_edge,
    inflated,
    volume,
)

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_TRIANGLES = 5_000_000
GRADE = 1.6  # longest ratio of edges that meet, where triangles are as few as can be
LEAST_DEG = 15.0  # smallest angle that a node's return to the old surface may leave
ATTEMPTS = 4


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

    Where walls are thinner than the edges and the new triangles would cross, edges are shorter.

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
        If the result crosses or touches itself, is not closed, or is further off than `limit_mm`.
    """
    _check_edge(surface, edge_mm)
    limit = edge_mm if limit_mm is None else limit_mm
    return _made(surface, {"hsiz": edge_mm}, edge_mm / 2, limit, edge_mm=edge_mm)


def decimate(surface: Surface, limit_mm: float) -> tuple[Surface, Remeshed]:
    """Make a closed surface of as few triangles as a distance from it allows.

    Where these are no fewer, the surface comes back as it is.

    Parameters and errors are those of `remesh`.
    """
    if not (np.isfinite(limit_mm) and limit_mm > 0):
        raise InputError(f"limit_mm must be a positive number of mm, got {limit_mm}")
    size = float(np.ptp(surface.points_mm, axis=0).max())
    edge = float(np.median(edge_lengths(surface.points_mm, surface.triangles)))
    # half of the distance: MMG keeps to it between its own surfaces, not to the old triangles
    options = {"hmax": max(size / 4, edge), "hmin": 0.7 * edge, "hgrad": GRADE}
    return _made(surface, options, limit_mm / 2, limit_mm, most=len(surface.triangles))


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


def _made(
    surface: Surface,
    options: dict[str, Any],
    hausdorff_mm: float,
    limit_mm: float,
    edge_mm: float | None = None,
    most: int | None = None,
) -> tuple[Surface, Remeshed]:
    """Remesh, closer and closer until the new surface is near enough and doesn't cross itself."""
    old = surface.points_mm, surface.triangles
    size: Float | None = None  # at each node; without it the same everywhere
    for attempt in range(ATTEMPTS):
        points, triangles = _mmg(*old, {"hausd": hausdorff_mm / 2**attempt} | options, size)
        if most is not None and len(triangles) >= most:
            logger.info("%d triangles are as few as %.2f mm allow", most, limit_mm)
            return surface, _measured(surface, surface, 0.0, 0.0, limit_mm)
        if not _is_closed(triangles):
            continue
        points, bad = _restored(points, triangles, *old)
        largest, mean = away(points, triangles, *old)
        if not len(bad) and largest <= limit_mm:
            break
        logger.info("%d crossings, %.2f mm off: remeshed closer", len(bad), largest)
        if edge_mm and len(bad):
            size = np.full(len(old[0]), edge_mm) if size is None else size
            size = _finer(size, old[0], points[triangles[bad.ravel()]].mean(axis=1))
    _check_closed(triangles)
    if len(bad):
        where = ", ".join(f"{x:.1f}" for x in points[triangles[bad[0, 0]]].mean(axis=0))
        raise MeshQualityError(
            f"the new surface crosses or touches itself at {len(bad)} pairs of triangles, first "
            f"near ({where}) mm: take a shorter edge length there is room for"
        )
    region = surface.region[closest(points[triangles].mean(axis=1), *old)[1]]
    made = Surface(points, triangles, region, surface.names)
    return made, _measured(surface, made, largest, mean, limit_mm)


def _measured(
    old: Surface, new: Surface, largest_mm: float, mean_mm: float, limit_mm: float
) -> Remeshed:
    points, triangles = new.points_mm, new.triangles
    length = np.percentile(edge_lengths(points, triangles), [5, 50, 95])
    return Remeshed(
        len(old.triangles),
        len(triangles),
        (float(length[0]), float(length[1]), float(length[2])),
        volume(points, triangles) / volume(old.points_mm, old.triangles) - 1,
        largest_mm,
        mean_mm,
        float(angles_deg(points, triangles).min()),
        limit_mm,
    )


def _restored(
    points: Float, triangles: Int, old_points: Float, old_triangles: Int
) -> tuple[Float, Int]:
    """Bring nodes back to the old surface and its volume, if that makes nothing cross or touch."""
    wanted = volume(old_points, old_triangles)
    returned = _returned(points, triangles, old_points, old_triangles)
    for tried in (inflated(returned, triangles, wanted), inflated(points, triangles, wanted)):
        thin = thin_walls(tried, triangles, WALL_MM)
        bad = np.concatenate([self_intersections(tried, triangles), np.stack([thin, thin], axis=1)])
        if not len(bad):
            break
    return tried, bad


def _finer(size: Float, points: Float, places: Float) -> Float:
    """Halve the edge length about places where walls are thinner than it."""
    near = cKDTree(places).query(points)[0] < 4 * size.max()
    return np.where(near, size / 2, size)


def _mmg(
    points: Float, triangles: Int, options: dict[str, Any], size: Float | None = None
) -> tuple[Float, Int]:
    mesh = mmgpy.MmgMeshS()
    mesh.set_mesh_size(vertices=len(points), triangles=len(triangles))
    mesh.set_vertices(points)
    mesh.set_triangles(triangles.astype(np.int32))
    if size is not None:
        mesh.set_field("metric", size.reshape(-1, 1))
        options = {"hmin": size.min() / 2, "hmax": 1.3 * size.max(), "hausd": options["hausd"]}
    try:
        mesh.remesh(**(options | {"angle": 0, "verbose": -1}))  # bones have no ridges to keep
    except RuntimeError as error:
        raise MeshQualityError(
            f"MMG could not remesh {len(triangles)} triangles: {error}. Repair the surface first"
        ) from error
    made = np.array(mesh.get_triangles(), dtype=np.int64)
    used, number = np.unique(made, return_inverse=True)
    nodes = np.array(mesh.get_vertices(), dtype=np.float64)
    return nodes[used], np.asarray(number).reshape(-1, 3)


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


def _is_closed(triangles: Int) -> bool:
    return bool((faces_per_edge(triangles)[2] == 2).all())


def _check_closed(triangles: Int) -> None:
    count = faces_per_edge(triangles)[2]
    if (count != 2).any():
        raise MeshQualityError(
            f"{np.sum(count == 1)} edges of the new surface are open and {np.sum(count > 2)} "
            "non-manifold: repair the surface first (bonekit.meshing.repair)"
        )

"""Surfaces too damaged to repair, rebuilt by fTetWild (extra ``tetwild``)."""

from __future__ import annotations

from contextlib import chdir
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bonekit.errors import InputError, MeshQualityError
from bonekit.meshing.remeshing import Remeshed
from bonekit.meshing.shells import outward
from bonekit.meshing.surface import Surface
from bonekit.meshing.triangles import angles_deg, closest, edge_lengths, volume

FACES = np.array([(1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)])


def rebuild(surface: Surface, edge_mm: float, limit_mm: float) -> tuple[Surface, Remeshed]:
    """Fill the inside of any soup of triangles with tetrahedra and take their boundary.

    Crossings, holes and flaps don't matter: inside is where the surface winds round (Hu, Schneider,
    Wang, Zorin and Panozzo, ACM Trans Graph 2020;39:117).

    Parameters
    ----------
    surface : Surface
    edge_mm : float
        Wanted edge length.
    limit_mm : float
        How far the new surface may lie from the old one's triangles; what the old one has inside
        the bone is left out of the measure.

    Returns
    -------
    Surface, Remeshed
        The measured distance is that of the new surface from the old.

    Raises
    ------
    InputError
        If the extra is not installed, or a number is not positive.
    MeshQualityError
        If nothing is inside, or the new surface is further off than `limit_mm`.
    """
    if not (edge_mm > 0 and limit_mm > 0):
        raise InputError(f"edge_mm and limit_mm must be positive, got {edge_mm} and {limit_mm}")
    try:
        pytetwild: Any = import_module("pytetwild")
    except ImportError as error:
        raise InputError(
            "rebuilding surfaces needs pytetwild: install bonekit[tetwild], or pytetwild itself"
        ) from error
    old = surface.points_mm, surface.triangles
    diagonal = float(np.linalg.norm(np.ptp(surface.points_mm[surface.triangles.ravel()], axis=0)))
    with TemporaryDirectory() as scratch, chdir(scratch):  # it leaves a file where it runs
        nodes, tetrahedra = pytetwild.tetrahedralize(
            old[0],
            old[1].astype(np.int32),
            edge_length_abs=edge_mm,
            epsilon=limit_mm / 2 / diagonal,
            num_threads=1,
        )
    if not len(tetrahedra):
        raise MeshQualityError(
            f"the {len(old[1])} triangles have no inside: they bound no bone, even roughly"
        )
    every = np.asarray(tetrahedra, dtype=np.int64)[:, FACES].reshape(-1, 3)
    _, first, count = np.unique(
        np.sort(every, axis=1), axis=0, return_index=True, return_counts=True
    )
    used, number = np.unique(every[np.sort(first[count == 1])], return_inverse=True)
    points = np.asarray(nodes, dtype=np.float64)[used]
    triangles = outward(points, np.asarray(number).reshape(-1, 3))
    region = surface.region[closest(points[triangles].mean(axis=1), *old)[1]]
    length = np.percentile(edge_lengths(points, triangles), [5, 50, 95])
    there = closest(points, *old)[0]
    off = np.linalg.norm(there - points, axis=1)
    return Surface(points, triangles, region, surface.names), Remeshed(
        len(old[1]),
        len(triangles),
        (float(length[0]), float(length[1]), float(length[2])),
        volume(points, triangles) / volume(*old) - 1,
        float(off.max()),
        float(off.mean()),
        float(angles_deg(points, triangles).min()),
        limit_mm,
    )

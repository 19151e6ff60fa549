"""Remeshing with MMG, through mmgpy.

MMG: Dapogny, Dobrzynski and Frey, J Comput Phys 2014;262:358-378.
"""

from __future__ import annotations

from typing import Any

import mmgpy
import numpy as np
from numpy.typing import NDArray

from bonekit.errors import MeshQualityError
from bonekit.meshing.lattice import Parts
from bonekit.meshing.levelset import compact

Float = NDArray[np.float64]


def remesh(parts: Parts, size_mm: Float, hausdorff_mm: float, **options: Any) -> Parts:
    """Bring tetrahedra to an edge length at each node; faces between references stay faces.

    Parameters
    ----------
    parts : nodes, tetrahedra, references
    size_mm : ndarray of float, (n_nodes,)
    hausdorff_mm : float
        How far the surfaces may move.
    **options
        Of MMG.

    Raises
    ------
    MeshQualityError
        If MMG gives up.
    """
    mesh = _mmg(parts)
    mesh.set_field("metric", size_mm.reshape(-1, 1))
    given = {
        "hmin": 0.1 * float(size_mm.min()),
        "hmax": 1.2 * float(size_mm.max()),
        "hausd": hausdorff_mm,
        "hgrad": 1.6,
        "angle": 0,
        "verbose": -1,
    }
    try:
        mesh.remesh(**(given | options))
    except RuntimeError as error:
        raise MeshQualityError(
            f"MMG could not remesh {len(parts[1])} tetrahedra: {error}. Try another edge length"
        ) from error
    return compact(_parts(mesh))


def _mmg(parts: Parts) -> mmgpy.MmgMesh3D:
    nodes, tetrahedra, reference = parts
    mesh = mmgpy.MmgMesh3D()
    mesh.set_mesh_size(vertices=len(nodes), tetrahedra=len(tetrahedra))
    mesh.set_vertices(nodes)
    mesh.set_tetrahedra(tetrahedra.astype(np.int32), reference.astype(np.int64))
    return mesh


def _parts(mesh: mmgpy.MmgMesh3D) -> Parts:
    tetrahedra, reference = mesh.get_elements_with_refs()
    return (
        np.array(mesh.get_vertices(), dtype=np.float64),
        np.array(tetrahedra, dtype=np.int64),
        np.array(reference, dtype=np.int64),
    )

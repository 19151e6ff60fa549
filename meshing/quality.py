"""What a mesh is worth: its measures, and the check that stops a bad one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError, MeshQualityError
from bonekit.image.volume import LabelMap
from bonekit.meshing.elements import (
    DIHEDRAL_DEG,
    LEAST_JACOBIAN,
    aspect_ratio,
    dihedral_angles,
    scaled_jacobian,
)
from bonekit.meshing.fidelity import P95_VOXELS, allowed_error, distance_p95_voxels
from bonekit.meshing.levelset import FACES as TETRA_FACES
from bonekit.meshing.meshreport import MeshIssue, MeshReport
from bonekit.meshing.quadratic import least_ratio
from bonekit.meshing.surface import Surface
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

__all__ = [
    "HEX_FACES",
    "TETRA_FACES",
    "MeshIssue",
    "MeshReport",
    "boundary_faces",
    "check",
    "dihedral_angles",
    "report",
    "scaled_jacobian",
]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

FLAT = 1e-3  # scaled Jacobian up to which an element is of no use
VOLUME_TOLERANCE = 0.02  # relative volume error of the whole that is worth a remark
JACOBIAN_BINS = np.linspace(0, 1, 21)
DIHEDRAL_BINS = np.linspace(0, 180, 37)
HEX_FACES = np.array(
    [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
)


def report(mesh: Surface | TetMesh | VoxelMesh, labels: LabelMap | None = None) -> MeshReport:
    """Measure a mesh.

    Parameters
    ----------
    mesh : Surface, TetMesh or VoxelMesh
    labels : LabelMap, optional
        What it was made of, to compare volumes.
    """
    if isinstance(mesh, Surface):
        return _report_surface(mesh, labels)
    if isinstance(mesh, TetMesh):
        return _report_tetrahedra(mesh, labels)
    return _report_voxels(mesh, labels)


def check(report: MeshReport) -> None:
    """Refuse a mesh that is unfit for a simulation.

    Raises
    ------
    MeshQualityError
        With what is wrong and the first elements concerned.
    """
    errors = [issue for issue in report.issues if issue.severity == "error"]
    if errors:
        raise MeshQualityError(
            f"the mesh ({report.kind}, {report.n_elements} elements) is unfit: "
            + "; ".join(f"{e.message}{_which(e.elements)}" for e in errors)
            + ". Mesh again with another edge length or more smoothing"
        )


def boundary_faces(elements: Int, faces: Int) -> Int:
    """Faces that belong to one element only, (n_faces, nodes per face)."""
    every = elements[:, faces].reshape(-1, faces.shape[1])
    _, first, count = np.unique(
        np.sort(every, axis=1), axis=0, return_index=True, return_counts=True
    )
    return np.asarray(every[first[count == 1]])


def _report_surface(mesh: Surface, labels: LabelMap | None) -> MeshReport:
    x = mesh.points_mm[mesh.triangles]
    double_area = 2 * np.linalg.norm(mesh.area_vectors_mm2, axis=1)
    length = np.linalg.norm(x - np.roll(x, -1, axis=1), axis=-1)
    product = (length * np.roll(length, -1, axis=1)).max(axis=1)
    quality = 2 / np.sqrt(3) * double_area / np.maximum(product, 1e-300)
    open_edges, crowded, at = _edges(mesh.triangles)
    issues = _edge_issues(open_edges, crowded, at, "triangles")
    if mesh.volume_mm3 <= 0:
        issues.append(MeshIssue("error", "the normals point inward"))
    label = _label_volumes(labels, dict(mesh.names))
    issues += _volume_issues(mesh.volume_mm3 / 1000, label)
    return MeshReport(
        "surface",
        len(mesh.points_mm),
        len(mesh.triangles),
        mesh.volume_mm3 / 1000,
        {},
        label,
        (float(quality.min()), float(np.median(quality))),
        None,
        open_edges,
        crowded,
        tuple(issues),
    )


def _report_tetrahedra(mesh: TetMesh, labels: LabelMap | None) -> MeshReport:
    quality = scaled_jacobian(mesh.nodes_mm, mesh.corners)
    angles = dihedral_angles(mesh.nodes_mm, mesh.corners)
    aspect = aspect_ratio(mesh.nodes_mm, mesh.corners)
    open_edges, crowded, _ = _edges(boundary_faces(mesh.corners, TETRA_FACES))
    issues = _element_issues(quality, angles)
    if open_edges or crowded:
        issues.append(_pinched(open_edges, crowded))
    curved, spoilt = _curved(mesh)
    label = _label_volumes(labels, dict(mesh.names))
    region = _region_volumes(mesh.region, mesh.volumes_mm3, dict(mesh.names))
    volume = float(mesh.volumes_mm3.sum()) / 1000
    off = _distances(mesh, labels, [name for name in label if name in region])
    return MeshReport(
        "tetrahedra",
        mesh.n_nodes,
        mesh.n_elements,
        volume,
        region,
        label,
        (float(quality.min()), float(np.median(quality))),
        (float(angles.min()), float(angles.max())),
        open_edges,
        crowded,
        (
            *issues,
            *spoilt,
            *_volume_issues(volume, label),
            *_region_issues(region, label),
            *_surface_issues(off),
        ),
        (float(np.median(aspect)), float(aspect.max())),
        _counts(quality, JACOBIAN_BINS),
        _counts(angles, DIHEDRAL_BINS),
        curved,
        mesh.n_straight,
        mesh.n_removed,
        mesh.n_merged,
        off,
    )


def _distances(mesh: TetMesh, labels: LabelMap | None, names: list[str]) -> dict[str, float]:
    if labels is None:
        return {}
    return {name: distance_p95_voxels(mesh, labels, name) for name in names}


def _surface_issues(off: dict[str, float]) -> list[MeshIssue]:
    return [
        MeshIssue(
            "warning",
            f"the surface of region {name!r} is {value:.2f} voxels off the faces of its voxels at "
            f"the 95th percentile ({P95_VOXELS:g} allowed)",
        )
        for name, value in off.items()
        if value > P95_VOXELS
    ]


def _curved(mesh: TetMesh) -> tuple[float | None, list[MeshIssue]]:
    """Lowest Jacobian of ten-node elements, and those in which it is not positive."""
    if mesh.tetrahedra.shape[1] == 4:
        return None, []
    ratio = least_ratio(mesh.nodes_mm, mesh.tetrahedra)
    bad = np.flatnonzero(~(ratio > 0))
    message = f"{bad.size} elements whose curved edges may fold them"
    return float(ratio.min()), [MeshIssue("error", message, _first(bad))] if bad.size else []


def _counts(values: Float, bins: Float) -> tuple[int, ...]:
    return tuple(np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0].tolist())


def _report_voxels(mesh: VoxelMesh, labels: LabelMap | None) -> MeshReport:
    quads = boundary_faces(mesh.elements, HEX_FACES)
    open_edges, crowded, _ = _edges(quads)
    issues = []
    if open_edges or crowded:
        issues.append(_pinched(open_edges, crowded))
    label = _label_volumes(labels, dict(mesh.names))
    each = np.full(mesh.n_elements, mesh.grid.voxel_mm3)
    volume = float(each.sum()) / 1000
    return MeshReport(
        "voxels",
        mesh.n_nodes,
        mesh.n_elements,
        volume,
        _region_volumes(mesh.element_region, each, mesh.names),
        label,
        (1.0, 1.0),
        (90.0, 90.0),
        open_edges,
        crowded,
        (*issues, *_volume_issues(volume, label)),
    )


def _edges(faces: Int) -> tuple[int, int, Int]:
    """Count the edges with one face and with more than two; find the faces at the former."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    _, number, count = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    single = np.flatnonzero(count[number.ravel()] == 1) // faces.shape[1]
    return int((count == 1).sum()), int((count > 2).sum()), np.unique(single)


def _edge_issues(open_edges: int, crowded: int, at: Int, what: str) -> list[MeshIssue]:
    issues = []
    if open_edges:
        message = f"{open_edges} open edges"
        issues.append(MeshIssue("error", f"{message} at {at.size} {what}", _first(at)))
    if crowded:
        issues.append(MeshIssue("error", f"{crowded} edges with more than two {what}"))
    return issues


def _pinched(open_edges: int, crowded: int) -> MeshIssue:
    return MeshIssue(
        "warning",
        f"the boundary touches itself: {open_edges} open and {crowded} non-manifold edges",
    )


def _element_issues(quality: Float, angles: Float) -> list[MeshIssue]:
    issues = []
    inverted = np.flatnonzero(~(quality > FLAT))
    if inverted.size:
        message = f"{inverted.size} inverted or flat elements"
        issues.append(MeshIssue("error", message, _first(inverted)))
    slivers = np.flatnonzero((quality > FLAT) & (quality < LEAST_JACOBIAN))
    if slivers.size:
        message = f"{slivers.size} elements with a scaled Jacobian below {LEAST_JACOBIAN}"
        issues.append(MeshIssue("warning", message, _first(slivers)))
    low, high = DIHEDRAL_DEG
    sharp = np.flatnonzero((angles.min(axis=1) < low) | (angles.max(axis=1) > high))
    if sharp.size:
        message = f"{sharp.size} elements with angles beyond {low:g} to {high:g} degrees"
        issues.append(MeshIssue("warning", message, _first(sharp)))
    return issues


def _region_issues(region_ml: dict[str, float], label_ml: dict[str, float]) -> list[MeshIssue]:
    """Remark on regions whose volume is off, and refuse the loss of one."""
    issues = []
    for name, label in label_ml.items():
        volume = region_ml.get(name, 0.0)
        allowed = allowed_error(1000 * label)
        if not volume:
            issues.append(MeshIssue("error", f"region {name} ({label:.3g} ml) is lost"))
        elif abs(volume / label - 1) > allowed:
            issues.append(
                MeshIssue(
                    "warning",
                    f"region {name}: {volume:.3f} ml against {label:.3f} ml of the label map "
                    f"({volume / label - 1:+.1%}, {allowed:.0%} allowed)",
                )
            )
    return issues


def _volume_issues(volume_ml: float, label_ml: dict[str, float]) -> list[MeshIssue]:
    expected = sum(label_ml.values())
    if not expected or abs(volume_ml / expected - 1) <= VOLUME_TOLERANCE:
        return []
    return [
        MeshIssue(
            "warning",
            f"volume {volume_ml:.2f} ml against {expected:.2f} ml of the label map "
            f"({volume_ml / expected - 1:+.1%})",
        )
    ]


def _region_volumes(
    region: NDArray[np.uint8], each: Float, names: dict[int, str]
) -> dict[str, float]:
    total = np.bincount(region, weights=each, minlength=256) / 1000
    return {names.get(int(v), str(v)): float(total[v]) for v in np.unique(region)}


def _label_volumes(labels: LabelMap | None, names: dict[int, str]) -> dict[str, float]:
    if labels is None:
        return {}
    if not names:
        raise InputError("the mesh has no region names: its volumes can't be compared with labels")
    count = {name: np.count_nonzero(labels.mask(name)) for name in names.values()}
    return {name: float(n) * labels.grid.voxel_mm3 / 1000 for name, n in count.items() if n}


def _first(elements: Int) -> tuple[int, ...]:
    return tuple(elements[:20].tolist())


def _which(elements: tuple[int, ...]) -> str:
    return f" (elements {', '.join(map(str, elements))})" if elements else ""

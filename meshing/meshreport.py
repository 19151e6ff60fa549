"""The measures of a mesh, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class MeshIssue:
    """One thing wrong with a mesh.

    Parameters
    ----------
    severity : "error" or "warning"
        An error makes the mesh unfit for a simulation.
    message : str
    elements : tuple of int
        The elements concerned, 20 at most.
    """

    severity: Literal["error", "warning"]
    message: str
    elements: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class MeshReport:
    """Measures of a mesh.

    Parameters
    ----------
    kind : str
        ``"surface"``, ``"tetrahedra"`` or ``"voxels"``.
    n_nodes, n_elements : int
    volume_ml : float
    region_volume_ml : dict of str to float
        Empty for a surface.
    label_volume_ml : dict of str to float
        Of the label map, for the same regions; empty if none was given.
    scaled_jacobian : tuple of float, (smallest, median), or None
        1 for the regular element; of a triangle, the sine of its worst angle over that of 60
        degrees.
    dihedral_deg : tuple of float, (smallest, largest), or None
        Angles between the faces of an element.
    open_edges, non_manifold_edges : int
        Edges of the boundary with one face, and with more than two.
    issues : tuple of MeshIssue
    aspect : tuple of float, (median, largest), or None
        Longest edge over the smallest height, scaled to 1 for the regular tetrahedron.
    jacobian_counts : tuple of int, (20,)
        Elements in equal classes of the scaled Jacobian from 0 to 1; empty unless tetrahedra.
    dihedral_counts : tuple of int, (36,)
        Dihedral angles in classes of 5 degrees; empty unless tetrahedra.
    curved_ratio : float or None
        Of ten-node elements, a lower bound of the Jacobian anywhere in any of them, over that of
        the element with straight edges.
    n_straight, n_removed, n_merged : int
        As in `TetMesh`.
    distance_p95_voxels : dict of str to float
        95th percentile of the distances between each region's surface and the faces of its voxels
        in the label map, both ways, in voxels; empty unless tetrahedra and a label map.
    """

    kind: str
    n_nodes: int
    n_elements: int
    volume_ml: float
    region_volume_ml: dict[str, float]
    label_volume_ml: dict[str, float]
    scaled_jacobian: tuple[float, float] | None
    dihedral_deg: tuple[float, float] | None
    open_edges: int
    non_manifold_edges: int
    issues: tuple[MeshIssue, ...]
    aspect: tuple[float, float] | None = None
    jacobian_counts: tuple[int, ...] = ()
    dihedral_counts: tuple[int, ...] = ()
    curved_ratio: float | None = None
    n_straight: int = 0
    n_removed: int = 0
    n_merged: int = 0
    distance_p95_voxels: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.kind}: {self.n_elements} elements, {self.n_nodes} nodes, "
            f"{self.volume_ml:.2f} ml"
        ]
        for name, volume in self.region_volume_ml.items():
            label = self.label_volume_ml.get(name)
            versus = f" (label {label:.3f} ml, {volume / label:.1%})" if label else ""
            off = self.distance_p95_voxels.get(name)
            surface = (
                "" if off is None else f", surface {off:.2f} voxels off the faces of its voxels"
            )
            lines.append(f"  {name}: {volume:.3f} ml{versus}{surface}")
        if self.scaled_jacobian is not None:
            low, median = self.scaled_jacobian
            lines.append(f"  scaled Jacobian: smallest {low:.3f}, median {median:.3f}")
        if self.dihedral_deg is not None:
            least, most = self.dihedral_deg
            lines.append(f"  dihedral angles: {least:.1f} to {most:.1f} degrees")
        if self.aspect is not None:
            lines.append(f"  aspect: median {self.aspect[0]:.2f}, largest {self.aspect[1]:.2f}")
        if self.curved_ratio is not None:
            lines.append(
                f"  curved elements: Jacobian at least {self.curved_ratio:.2f} of the straight "
                f"one's; {self.n_straight} kept straight"
            )
        if self.n_removed or self.n_merged:
            lines.append(
                f"  voxels: {self.n_removed} apart from the bone left out, {self.n_merged} in "
                "specks given to the region about"
            )
        lines.append(f"  edges: {self.open_edges} open, {self.non_manifold_edges} non-manifold")
        lines += [f"  {issue.severity}: {issue.message}" for issue in self.issues]
        return "\n".join(lines)

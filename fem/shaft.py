"""Torsion and four-point bending of the shaft of a femur."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import Component, RigidCap
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.fem.patches import distal_end, surface_nodes
from bonekit.fem.stance import femur_only
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Three = tuple[Component, Component, Component]

LEAST_MM = 40.0  # of shaft in view to twist or to bend


@dataclass(frozen=True)
class ShaftTorsion:
    """Twist the shaft: its upper end turns as one piece about the shaft axis.

    Parameters
    ----------
    moment_Nmm : float
        Of the linear solution, positive turns the front to the left; the strength does not depend
        on its size.
    grip_mm : float
        Length of shaft that is gripped at the upper end, just below the trochanters, and held at
        the lower.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    moment_Nmm: float = 10_000.0
    grip_mm: float = 10.0

    name: str = field(default="shaft_torsion", init=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.moment_Nmm) and self.moment_Nmm) or not 0 < self.grip_mm <= 50:
            raise InputError(
                "moment_Nmm must not be 0 and grip_mm lie between 0 and 50, got "
                f"{self.moment_Nmm} and {self.grip_mm}"
            )

    def axes(self, anatomy: Anatomy) -> Float:
        """Bone axes."""
        return femur_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a femur; see `Loading.on`."""
        femur = femur_only(anatomy, self.name)
        low, high = shaft_in_view(mesh, femur)
        height = femur.height_mm(mesh.nodes_mm)
        grip = np.flatnonzero((height >= high - self.grip_mm - 1e-6) & (height <= high + 1e-6))
        pivot = femur.shaft_point_mm + high * femur.shaft_axis
        turned = RigidCap("upper_shaft", grip, pivot, moment_Nmm=(0.0, 0.0, self.moment_Nmm))
        return LoadCase(
            self.name,
            f"The upper {self.grip_mm:g} mm of the shaft turn as one piece about the shaft axis, "
            f"the lowest {self.grip_mm:g} mm are held; {high - low:.0f} mm of shaft are in view.",
            "a shaft in torsion as tested by Spruijt et al. 2006 (as listed in PMC7292864); the "
            "grips are bonekit's",
            {k: v for k, v in vars(self).items() if k != "name"} | {"shaft_mm": high - low},
            "upper_shaft",
            "distal_shaft",
            np.sign(self.moment_Nmm) * femur.shaft_axis,
            (Constraint("distal_shaft", distal_end(mesh, femur, self.grip_mm)),),
            caps=(turned,),
            measure="moment",
        )


@dataclass(frozen=True)
class FourPointBending:
    """Bend the shaft between two rollers and two supports.

    The middle half of the span bears a constant moment, force over two times a quarter of it.

    Parameters
    ----------
    force_N : float
        Of both rollers together; the strength does not depend on it.
    toward : {"anterior", "posterior", "medial", "lateral"}
        The side of the shaft that is stretched: the supports lie there.
    roller_mm : float
        Length of shaft under each roller and over each support.
    intrusion_mm : float
        How deep they reach, along the force, from the outermost point of the shaft.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    force_N: float = 1000.0
    toward: Literal["anterior", "posterior", "medial", "lateral"] = "anterior"
    roller_mm: float = 8.0
    intrusion_mm: float = 4.0

    name: str = field(default="four_point_bending", init=False)

    def __post_init__(self) -> None:
        if self.toward not in ("anterior", "posterior", "medial", "lateral"):
            raise InputError(
                f"toward is one of anterior, posterior, medial, lateral, got {self.toward!r}"
            )
        if (
            not self.force_N > 0
            or not 1 <= self.roller_mm <= 30
            or not 1 <= self.intrusion_mm <= 15
        ):
            raise InputError(
                "force_N must be positive, roller_mm lie between 1 and 30 and intrusion_mm between "
                f"1 and 15, got {self.force_N}, {self.roller_mm} and {self.intrusion_mm}"
            )

    def axes(self, anatomy: Anatomy) -> Float:
        """Bone axes."""
        return femur_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a femur; see `Loading.on`."""
        femur = femur_only(anatomy, self.name)
        low, high = shaft_in_view(mesh, femur)
        span = high - low - self.roller_mm
        outer = (low + self.roller_mm / 2, high - self.roller_mm / 2)
        inner = (outer[0] + span / 4, outer[1] - span / 4)
        toward = self._toward(femur)
        below = self._patch("lower_support", mesh, femur, outer[0], toward)
        above = self._patch("upper_support", mesh, femur, outer[1], toward)
        pressed = [self._patch("rollers", mesh, femur, at, -toward) for at in inner]
        rollers = np.unique(np.concatenate(pressed))
        force = self.force_N * (mesh.grid.direction.T @ toward)
        return LoadCase(
            self.name,
            f"Four-point bending of {span:.0f} mm of shaft, its {self.toward} side stretched: "
            f"supports at the ends, rollers a quarter of the span from them. Where the force is F "
            f"the middle half bears a moment of {span / 8:.1f} mm times F.",
            "four-point bending as tested by Keyak et al. 2005 (as listed in PMC7292864); span and "
            "rollers are bonekit's",
            {k: v for k, v in vars(self).items() if k != "name"}
            | {"span_mm": span, "moment_arm_mm": span / 8},
            "rollers",
            "lower_support",
            toward,
            loads=(Load("rollers", rollers, np.tile(force / len(rollers), (len(rollers), 1))),),
            caps=(
                # on ball joints, which let the shaft bend; only spin and drift are stopped
                _on_a_joint("lower_support", mesh, below, (0.0, 0.0, 0.0), (None, None, 0.0)),
                _on_a_joint("upper_support", mesh, above, (0.0, 0.0, None), (None, None, None)),
            ),
        )

    def _toward(self, anatomy: FemurAnatomy) -> Float:
        ways = {"medial": anatomy.medial, "posterior": anatomy.frame[:, 1]}
        ways |= {"lateral": -ways["medial"], "anterior": -ways["posterior"]}
        return np.asarray(ways[self.toward])

    def _patch(
        self, name: str, mesh: VoxelMesh, anatomy: FemurAnatomy, height_mm: float, outward: Float
    ) -> Int:
        """Surface nodes under a roller or support."""
        surface = surface_nodes(mesh)
        points = mesh.nodes_mm[surface]
        off = anatomy.height_mm(points) - height_mm
        rows = under_roller(name, points, off, outward, self.roller_mm, self.intrusion_mm)
        return np.asarray(surface[rows])


def under_roller(
    name: str, points_mm: Float, off_mm: Float, outward: Float, roller_mm: float, depth_mm: float
) -> Int:
    """Find the nodes of a band of the shaft next to its outermost point.

    Parameters
    ----------
    name : str
        Of the roller or support.
    points_mm : ndarray, (n, 3)
        Of the surface.
    off_mm : ndarray, (n,)
        How far above the middle of the band the points are, along the shaft.
    outward : ndarray, (3,)
        From the shaft to the roller.
    roller_mm, depth_mm : float
        Width of the band, and how far its nodes may lie below the outermost one.

    Returns
    -------
    ndarray of int
        Rows of `points_mm`.

    Raises
    ------
    InputError
        If there are not three that span a plane, as in a mesh too coarse for the band.
    """
    band = np.abs(off_mm) <= roller_mm / 2 + 1e-6
    reach = points_mm @ outward
    rows = np.flatnonzero(band & (reach >= reach[band].max(initial=-np.inf) - depth_mm))
    own = points_mm[rows]
    if np.linalg.matrix_rank(own - own[:1], tol=1e-6) < 2:
        raise InputError(
            f"four_point_bending: the mesh has {len(rows)} surface nodes under the {name}, on "
            f"{roller_mm:g} mm of shaft within {depth_mm:g} mm of its outermost point; at least "
            f"three that span a plane are needed. Take edges of {roller_mm / 2:g} mm or less, or "
            "longer rollers (roller_mm)"
        )
    return rows


def _on_a_joint(name: str, mesh: VoxelMesh, nodes: Int, shift: Three, turn: Three) -> RigidCap:
    """Support that turns about the middle of its patch."""
    return RigidCap(name, nodes, mesh.nodes_mm[nodes].mean(axis=0), shift, turn)


def shaft_in_view(mesh: VoxelMesh, anatomy: FemurAnatomy) -> tuple[float, float]:
    """Heights of both ends of the shaft below the trochanters, along the shaft axis in mm.

    Raises
    ------
    InputError
        If it is too short to be twisted or bent.
    """
    low = float(anatomy.height_mm(mesh.nodes_mm).min())
    if anatomy.flare_mm - low < LEAST_MM:
        raise InputError(
            f"only {max(anatomy.flare_mm - low, 0.0):.0f} mm of shaft are in view below the "
            f"trochanters; {LEAST_MM:.0f} mm are needed to twist or to bend it"
        )
    return low, anatomy.flare_mm

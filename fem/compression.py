"""Compression of a vertebral body between its endplates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint
from bonekit.fem.patches import cement_face, endplate
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class EndplateCompression:
    """Shorten a vertebral body between its endplates.

    The lower endplate is held; the upper is moved down by `strain` times the body's height and
    free to slide, as between two layers of bone cement.

    Parameters
    ----------
    strain : float
        Shortening over the height; 0.0068 is where Crawford's strength is read, 0.019 where Costa
        et al. (2019) end.
    cap_mm : float
        How far from the fitted plane the surface may dip and still be endplate.
    cement_mm : float
        Thickness of caps of bone cement on both endplates, 0 for none: their flat outer faces are
        held and moved; see `bonekit.fem.cement`.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    strain: float = 0.0068
    cap_mm: float = 3.0
    cement_mm: float = 0.0

    name: str = field(default="endplate_compression", init=False)

    def __post_init__(self) -> None:
        if not 0 < self.strain <= 0.05 or not 0 < self.cap_mm <= 10:
            raise InputError(
                "strain must lie between 0 and 0.05 and cap_mm between 0 and 10, got "
                f"{self.strain} and {self.cap_mm}"
            )
        if not 0 <= self.cement_mm <= 30:
            raise InputError(f"cement_mm must lie between 0 and 30, got {self.cement_mm}")

    def axes(self, anatomy: Anatomy) -> Float:
        """Axes of the vertebral body."""
        return vertebra_only(anatomy, self.name).frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a vertebra; see `Loading.on`."""
        vertebra = vertebra_only(anatomy, self.name)
        top, bottom = (self._pressed(mesh, vertebra, upper=upper) for upper in (True, False))
        down = -self.strain * vertebra.height_mm
        return LoadCase(
            self.name,
            f"The inferior endplate is held, the superior one moved down by "
            f"{100 * self.strain:g} % of the body's height ({-down:.3f} mm), free to slide"
            f"{f'; caps of bone cement {self.cement_mm:g} mm thick' if self.cement_mm else ''}.",
            "boundary conditions of Crawford et al., Bone 2003",
            {
                "strain": self.strain,
                "height_mm": vertebra.height_mm,
                "cap_mm": self.cap_mm,
                "cement_mm": self.cement_mm,
            },
            "superior_endplate",
            "superior_endplate",
            np.asarray(-mesh.grid.direction[:, 2]),
            (
                Constraint("inferior_endplate", bottom),
                Constraint("superior_endplate", top, (2,), down),
            ),
        )

    def _pressed(self, mesh: VoxelMesh, anatomy: VertebraAnatomy, *, upper: bool) -> Int:
        if not self.cement_mm:
            return endplate(mesh, anatomy, upper=upper, cap_mm=self.cap_mm)
        return cement_face(mesh, "cap_superior" if upper else "cap_inferior", 2, upper=upper)[0]


def vertebra_only(anatomy: Anatomy, name: str) -> VertebraAnatomy:
    """Refuse another bone than a vertebra.

    Raises
    ------
    InputError
    """
    if not isinstance(anatomy, VertebraAnatomy):
        raise InputError(f"load case {name} is for a vertebra, not for a femur")
    return anatomy

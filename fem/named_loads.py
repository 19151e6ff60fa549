"""Loads and supports of one's own on named sets of a bone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.loadcases import Anatomy, LoadCase
from bonekit.fem.model import Constraint, Load
from bonekit.image.volume import Grid
from bonekit.meshing.named_sets import NamedSet, named_sets
from bonekit.meshing.voxel import VoxelMesh

Float = NDArray[np.float64]

AXES = ("left", "posterior", "superior")
Held = tuple[str, tuple[str, ...], float]
Loaded = tuple[str, tuple[float, float, float]]


@dataclass(frozen=True)
class NamedLoad:
    """Hold, move and load a bone at named sets, along its anatomical axes.

    Parameters
    ----------
    held : tuple of (name, components, displacement_mm)
        Sets of `bonekit.meshing.named_sets`, with the axes (left, posterior, superior) along which
        they are held at a displacement.
    loaded : tuple of (name, force_N)
        Sets with the force (left, posterior, superior) that is spread over their nodes.

    Raises
    ------
    InputError
        If nothing loads the bone, or an axis has no such name.
    """

    held: tuple[Held, ...]
    loaded: tuple[Loaded, ...] = ()

    name: str = field(default="named_sets", init=False)

    def __post_init__(self) -> None:
        wrong = [axis for _, axes, _ in self.held for axis in axes if axis not in AXES]
        if wrong:
            raise InputError(f"axes are {', '.join(AXES)}, not {wrong[0]!r}")
        moved = [name for name, axes, shift in self.held if shift and axes]
        forced = [name for name, force in self.loaded if any(force)]
        if not moved and not forced:
            raise InputError(
                "nothing loads the bone: give a force to a set, or a displacement other than 0"
            )

    def axes(self, anatomy: Anatomy) -> Float:
        """Bone axes."""
        return anatomy.frame

    def on(self, mesh: VoxelMesh, anatomy: Anatomy, field: Grid) -> LoadCase:
        """Load a bone; see `Loading.on`."""
        sets = named_sets(mesh, anatomy)
        constraints = tuple(
            Constraint(
                name, _one(sets, name).nodes, tuple(AXES.index(axis) for axis in axes), shift
            )
            for name, axes, shift in self.held
        )
        loads = tuple(_spread(name, _one(sets, name), np.array(f)) for name, f in self.loaded)
        acting, along = self._acting()
        return LoadCase(
            self.name,
            "Loads and supports on named sets, as given by the user.",
            "given by the user",
            self._words(),
            acting,
            self.held[0][0],
            np.asarray(mesh.grid.direction @ along),
            constraints,
            loads,
        )

    def _acting(self) -> tuple[str, Float]:
        """Choose the set whose force the strength is: the first that is loaded, or else moved."""
        for name, force in self.loaded:
            if any(force):
                return name, np.array(force) / np.linalg.norm(force)
        name, axes, shift = next(one for one in self.held if one[2] and one[1])
        along = np.zeros(3)
        along[[AXES.index(axis) for axis in axes]] = np.sign(shift)
        return name, along / np.linalg.norm(along)

    def _words(self) -> dict[str, float | str]:
        held = {f"{n}_held": f"{', '.join(axes)} at {shift:g} mm" for n, axes, shift in self.held}
        loaded = {
            f"{n}_loaded": ", ".join(f"{x:g}" for x in force) + " N" for n, force in self.loaded
        }
        return {**held, **loaded}


def _one(sets: Mapping[str, NamedSet], name: str) -> NamedSet:
    if name not in sets:
        raise InputError(f"the bone has no set {name!r}; it has {', '.join(sets)}")
    return sets[name]


def _spread(name: str, patch: NamedSet, force_N: Float) -> Load:
    share = np.tile(force_N / len(patch.nodes), (len(patch.nodes), 1))
    return Load(name, patch.nodes, share)

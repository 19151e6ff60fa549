"""Bones as functions of space, and how they are painted into a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bonekit.phantom.shapes import Array

CORTEX, TRABECULAR, LESION, OTHER_BONE = 1, 2, 3, 10  # values of segmentation.base.REGIONS
Sphere = tuple[NDArray[np.float64], float]


class Bone(Protocol):
    """A bone in its own frame; points are (3, n) in mm, densities ash g/cm3."""

    def surface(self, p: Array) -> Array:
        """Signed distance to the outer surface, negative inside."""
        ...

    def cortex_mm(self, p: Array) -> Array:
        """Cortical thickness that holds near these points."""
        ...

    def cortical(self, p: Array) -> Array:
        """Density of the cortex."""
        ...

    def trabecular(self, p: Array) -> Array:
        """Density of the inside: spongiosa and marrow canal."""
        ...


@dataclass(frozen=True, eq=False)
class Materials:
    """What is at the points of a scene.

    Parameters
    ----------
    region : ndarray of uint8, (n,)
        0 for everything that is not bone, else a value of `segmentation.base.REGIONS`.
    density : ndarray, (n,)
        Ash density in g/cm3; 0 outside bone.
    hu : ndarray, (n,)
        HU of what is not bone; bone shows the HU of its density.
    """

    region: NDArray[np.uint8]
    density: Array
    hu: Array

    @classmethod
    def soft(cls, hu: Array) -> Materials:
        """Only soft tissue (and air) with these HU."""
        return cls(np.zeros(hu.size, np.uint8), np.zeros(hu.size, np.float32), hu)


def fill(bone: Bone, p: Array, surface: Array) -> tuple[NDArray[np.uint8], Array]:
    """Regions and densities at points (3, n) inside a bone whose `surface` there is (n,).

    The cortex is all that lies less deep than the cortical thickness.
    """
    cortex = -surface < bone.cortex_mm(p)
    region = np.where(cortex, CORTEX, TRABECULAR).astype(np.uint8)
    density = np.empty(cortex.size, np.float32)
    density[cortex] = bone.cortical(p[:, cortex])
    density[~cortex] = bone.trabecular(p[:, ~cortex])
    return region, density


def enclosing_box(spheres: list[Sphere], margin_mm: float) -> NDArray[np.float64]:
    """Corners (2, 3) of the axis-aligned box around spheres."""
    centres = np.array([centre for centre, _ in spheres])
    radii = np.array([radius for _, radius in spheres])[:, None] + margin_mm
    return np.stack([(centres - radii).min(axis=0), (centres + radii).max(axis=0)])


def inside(p: Array, corners: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the points (3, n) that lie in a box: their indices."""
    low, high = corners.astype(np.float32)
    within = np.ones(p.shape[1], bool)
    for axis in range(3):
        within &= (p[axis] > low[axis]) & (p[axis] < high[axis])
    return np.flatnonzero(within)

"""How much of a vertebra a lesion took: wall of the body, posterior wall, pedicles, arch.

The items of the Spinal Instability Neoplastic Score (SINS, Fisher et al., Spine 2010;35:E1221; its
points as listed in Lee et al., PMC7819788, and on pacs.de) that an image of one vertebra shows:
the share of the body that is involved (over a half without collapse: 1 point) and the
posterolateral involvement (one side 1 point, both 3). The score itself also needs level, pain,
alignment and collapse, and is a surgeon's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.lesions.location import vertebra_regions

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]
Posterolateral = Literal["none", "unilateral", "bilateral"]

WALL_MM = 2.5  # of the body's outermost bone: cortex, with the blur of a CT
SECTOR_DEG = 10.0  # about 4 mm of arc of a lumbar body
HALF = 0.5  # of a sector's wall that the lesion must hold
INVOLVED = 0.1  # of a pedicle or of one side of the arch; SINS gives no measure, this is bonekit's
MIDDLE = 0.25  # of the body's width to each side, between the pedicles: the posterior wall
SPINOUS_MM = 5.0  # from the middle plane: the spinous process is of no side


@dataclass(frozen=True, eq=False)
class Vertebral:
    """Share of the parts of a vertebra that a lesion takes, 0 to 1 each.

    Parameters
    ----------
    body : float
        Of the body's volume.
    levels_mm : ndarray, (n,)
        Heights along the body's axis over its middle, of sections one voxel apart.
    wall : ndarray, (n,)
        Share of the circumference of the body's wall, at each level, over which the lesion holds
        at least half of the outermost 2.5 mm of bone. The way to the arch, where a body has no
        wall, is part of the circumference.
    posterior_wall : float
        Share of the wall towards the canal, between the pedicles.
    left_pedicle, right_pedicle : float or None
        Of the pedicle's volume; None where there is none in the labels.
    left_arch, right_arch : float or None
        Of the rest of the posterior elements, but the spinous process: laminae, facets,
        transverse processes.
    """

    body: float
    levels_mm: Float
    wall: Float
    posterior_wall: float
    left_pedicle: float | None
    right_pedicle: float | None
    left_arch: float | None
    right_arch: float | None

    @property
    def circumference(self) -> float:
        """Largest share of the wall's circumference at any level."""
        return float(self.wall.max(initial=0.0))

    @property
    def posterolateral(self) -> Posterolateral:
        """Item of SINS: sides of which a tenth of the pedicle or of the arch is taken."""
        sides = ((self.left_pedicle, self.left_arch), (self.right_pedicle, self.right_arch))
        n = sum(max(part or 0.0 for part in side) >= INVOLVED for side in sides)
        names: tuple[Posterolateral, ...] = ("none", "unilateral", "bilateral")
        return names[n]


def vertebral_involvement(
    lesion: Mask, bone: Mask, grid: Grid, anatomy: VertebraAnatomy
) -> Vertebral:
    """Measure which parts of a vertebra a lesion took.

    Parameters
    ----------
    lesion : ndarray of bool, (ni, nj, nk)
        One lesion, or all of them: SINS asks of a level, not of a lesion.
    bone : ndarray of bool, (ni, nj, nk)
        The vertebra with its lesions: bone was where they are.
    grid : Grid
    anatomy : VertebraAnatomy

    Raises
    ------
    InputError
        If the lesion lies outside the bone.
    """
    if (lesion & ~bone).any():
        raise InputError(
            f"{np.count_nonzero(lesion & ~bone)} voxels of the lesion lie outside the vertebra: "
            "give the bone with its lesions as `bone`"
        )
    index = np.argwhere(bone)
    points, gone = grid.world(index), lesion[tuple(index.T)]
    regions = vertebra_regions(points, anatomy)
    local = anatomy.local(points)
    arch, body = regions["posterior_elements"], regions["body"]
    body &= np.abs(local[:, 2]) < anatomy.height_mm / 2
    step = float(grid.spacing_mm.max())
    levels, wall = _wall(local[body], gone[body], step)
    return Vertebral(
        body=_share(gone, body) or 0.0,
        levels_mm=levels,
        wall=wall,
        posterior_wall=_posterior_wall(local[body], gone[body], anatomy.width_mm, step),
        left_pedicle=_share(gone, regions["left_pedicle"]),
        right_pedicle=_share(gone, regions["right_pedicle"]),
        left_arch=_share(gone, arch & (local[:, 0] > SPINOUS_MM)),
        right_arch=_share(gone, arch & (local[:, 0] < -SPINOUS_MM)),
    )


def _share(gone: Mask, part: Mask) -> float | None:
    return float(gone[part].mean()) if part.any() else None


def _wall(local: Float, gone: Mask, step_mm: float) -> tuple[Float, Float]:
    """Heights of sections, and the share of their sectors whose outermost bone is gone."""
    if not len(local):
        return np.zeros(0), np.zeros(0)
    level = np.floor((local[:, 2] - local[:, 2].min()) / step_mm).astype(np.int64)
    n_levels, n_sectors = int(level.max()) + 1, round(360.0 / SECTOR_DEG)
    angle = np.degrees(np.arctan2(local[:, 1], local[:, 0]))
    cell = level * n_sectors + np.floor(angle / SECTOR_DEG).astype(np.int64) % n_sectors
    lost = _outermost(cell, np.hypot(local[:, 0], local[:, 1]), gone, n_levels * n_sectors)
    heights = local[:, 2].min() + (np.arange(n_levels) + 0.5) * step_mm
    return heights, (lost >= HALF).reshape(n_levels, n_sectors).mean(axis=1)


def _posterior_wall(local: Float, gone: Mask, width_mm: float, step_mm: float) -> float:
    """Share of the columns from front to back whose rearmost bone is gone."""
    middle = np.abs(local[:, 0]) < MIDDLE * width_mm
    if not middle.any():
        return 0.0
    across = np.floor(local[middle][:, [0, 2]] / step_mm).astype(np.int64)
    _, column = np.unique(across, axis=0, return_inverse=True)
    n = int(column.max()) + 1
    lost = _outermost(column.ravel(), local[middle, 1], gone[middle], n)
    return float((lost >= HALF).mean())


def _outermost(cell: Index, reach: Float, gone: Mask, n: int) -> Float:
    """Share that is gone of what lies within the wall's thickness of each cell's furthest bone."""
    furthest = np.full(n, -np.inf)
    np.maximum.at(furthest, cell, reach)
    outer = reach > furthest[cell] - WALL_MM
    there = np.bincount(cell[outer], minlength=n)
    lost = np.bincount(cell[outer], gone[outer].astype(float), minlength=n)
    return np.asarray(lost / np.maximum(there, 1))

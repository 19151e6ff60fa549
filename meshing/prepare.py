"""Label maps made fit for tetrahedra: one piece, no specks, or refused by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.meshing.distance import Mask, bone_mask, place
from bonekit.meshing.shapes import cropped, nearest_label
from bonekit.meshing.sizing import MOST_TETRAHEDRA, PER_CUBE
from bonekit.meshing.voxelise import check_edge

logger = logging.getLogger(__name__)

LEAST_VOXELS = 8  # of a region that is cut out
LARGE = 0.01  # part of the bone above which a piece is not dropped where it touches the rest
SPECK = 0.25  # volume over the cubed edge length up to which a piece of a region is merged


@dataclass(frozen=True, eq=False)
class Prepared:
    """A bone ready to be meshed.

    Parameters
    ----------
    labels : LabelMap
        The bone alone, in one piece, with a margin of background.
    order : list of int
        Labels that are present: those to cut out, in this order, then the others.
    volume_mm3 : mapping of int to float
        Of those that are cut out, specks included.
    n_removed, n_merged : int
        Voxels of pieces apart from the bone, and of specks that changed their region.
    """

    labels: LabelMap
    order: list[int]
    volume_mm3: Mapping[int, float]
    n_removed: int
    n_merged: int

    @property
    def left(self) -> list[int]:
        """Labels that are not cut out."""
        return self.order[len(self.volume_mm3) :]


def prepared(
    labels: LabelMap, regions: Sequence[str], interfaces: Sequence[str], edge_mm: float
) -> Prepared:
    """Keep the largest piece of the bone, and merge specks of regions into what is about them.

    Raises
    ------
    InputError
        If the bone or a region to cut out is missing or too small, or if a large part of it
        hangs on by an edge or a corner only.
    """
    whole = bone_mask(labels, tuple(regions))
    check_edge(edge_mm, whole, labels.grid, PER_CUBE, MOST_TETRAHEDRA)
    mask = _largest_piece(whole, labels)
    bone = cropped(labels, mask, 2 * edge_mm)
    present = [labels.label(name) for name in regions[::-1] if name in labels.names.values()]
    _check_regions(present, labels, whole, mask)
    present = [value for value in present if (bone.array == value).any()]
    wanted = [value for value in present if labels.names[value] in interfaces]
    merged, n_merged = _without_specks(bone, wanted, present, edge_mm)
    for value in wanted:
        _check_size(merged.array == value, bone, labels.names[value])
    order = wanted + [value for value in present if value not in wanted]
    n_removed = int(np.count_nonzero(whole) - np.count_nonzero(mask))
    if n_removed:
        logger.warning("%d voxels hang apart from the bone and are not meshed", n_removed)
    cut = order[: min(len(wanted), len(order) - 1)]
    volume = {v: np.count_nonzero(bone.array == v) * bone.grid.voxel_mm3 for v in cut}
    return Prepared(merged, order, volume, n_removed, n_merged)


def _largest_piece(mask: Mask, labels: LabelMap) -> Mask:
    """Voxels of the largest piece that is joined by faces."""
    piece, n = ndimage.label(mask)
    count = np.bincount(piece.ravel(), minlength=n + 1)
    count[0] = 0
    kept = np.asarray(piece == count.argmax())
    if n > 1:
        near = ndimage.binary_dilation(kept, np.ones((3, 3, 3), dtype=bool))
        for other in np.unique(piece[near & ~kept & mask]):
            _check_touch(count[other] / count.sum(), piece, int(other), near, labels)
    return kept


def _check_touch(
    part: float, piece: NDArray[np.integer], other: int, near: Mask, labels: LabelMap
) -> None:
    if part < LARGE:
        return
    where = labels.grid.world(np.argwhere((piece == other) & near)[0])
    raise InputError(
        f"a part of the bone ({part:.0%} of it) touches the rest only at an edge or a corner of a "
        f"voxel, near ({', '.join(f'{x:.1f}' for x in where)}) mm: that is no joint a mesh can "
        "have. Close the gap in the segmentation or remove the part"
    )


def _check_regions(values: Sequence[int], labels: LabelMap, whole: Mask, kept: Mask) -> None:
    """Refuse a region that is dropped whole with a piece apart."""
    for value in values:
        here = labels.array == value
        if here.any() and not (here & kept).any():
            where = labels.grid.world(np.argwhere(here & whole)[0])
            raise InputError(
                f"region {labels.names[value]!r} hangs apart from the bone, near "
                f"({', '.join(f'{x:.1f}' for x in where)}) mm: no face of a voxel joins them. "
                "Correct the segmentation, or leave the region out of `regions`"
            )


def _check_size(here: Mask, bone: LabelMap, name: str) -> None:
    count = int(np.count_nonzero(here))
    if count < LEAST_VOXELS:
        where = f" near {place(here, bone.grid)}" if count else ""
        raise InputError(
            f"region {name!r} has {count} voxel{'s' * (count != 1)}{where}; at least "
            f"{LEAST_VOXELS} are needed to give it a surface. Correct the segmentation, or leave "
            "the region out of `interfaces` or `regions`"
        )


def _without_specks(
    labels: LabelMap, wanted: Sequence[int], present: Sequence[int], edge_mm: float
) -> tuple[LabelMap, int]:
    """Give pieces of regions that are too small to mesh to the region about them."""
    specks = np.zeros(labels.shape, dtype=bool)
    for value in wanted:
        piece, n = ndimage.label(labels.array == value)
        count = np.bincount(piece.ravel(), minlength=n + 1)
        count[0] = 0
        small = count * labels.grid.voxel_mm3 < SPECK * edge_mm**3
        small[0] = small[count.argmax()] = False
        specks |= small[piece]
    n_merged = int(np.count_nonzero(specks))
    if not n_merged:
        return labels, 0
    logger.warning("%d voxels in specks of regions are given to the region about", n_merged)
    clear = labels.with_array(np.where(specks, 0, labels.array))
    about = nearest_label(clear, list(present))
    array = np.where(specks, about, labels.array).astype(labels.array.dtype)
    return labels.with_array(array), n_merged

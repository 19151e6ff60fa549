"""HU of a rod, read from its core, where partial volume does not reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.axes import Lines
from bonekit.calibration.discs import CORE
from bonekit.calibration.slabs import HIGHEST_HU, Slabs, border_mm, near, polar
from bonekit.errors import CalibrationError
from bonekit.image.volume import Image

AIR_HU = -700
INSIDE = 0.85  # of the radius: no air shows there, unless the rod is cut
LEAST_SLICES = 0.5  # share of the slices that must show a rod whole and alike
FOREIGN = 0.03  # share of a slice's core that may be unlike the rod, as noise is
SECTORS = 12
FAINT_HU = 25.0  # a rod this near to its surroundings is measured right without an edge of its own

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Rod:
    """One rod.

    Parameters
    ----------
    centre_mm, axis : tuple of float, (3,)
        World point in the middle of the scan, and unit vector towards the head.
    diameter_mm : float
        As given, or measured at half contrast.
    mean_HU : float
        Of the core without outliers.
    std_HU : float
        Of its voxels.
    sem_HU : float
        Standard error of the mean, from the scatter between slices: voxels of a slice share noise.
    n_voxels : int
    n_slices : int
        That were measured.
    n_dropped : int
        Slices left out: cut by the field of view, with a bubble or a gap, or of another HU.
    seen : bool
        False where the rod can't be told from its surroundings: then its place is that which the
        pitch of the others gives it.
    """

    centre_mm: tuple[float, float, float]
    axis: tuple[float, float, float]
    diameter_mm: float
    mean_HU: float
    std_HU: float
    sem_HU: float
    n_voxels: int
    n_slices: int = 0
    n_dropped: int = 0
    seen: bool = True


def measure(image: Image, lines: Lines, n: int, seen: bool = True) -> Rod:
    """Read the HU of a rod.

    Parameters
    ----------
    image : Image
        In HU, canonical.
    lines : Lines
    n : int
        Which of the rods.
    seen : bool

    Raises
    ------
    CalibrationError
        If less than half of the slices show the rod whole and alike, or if it is saturated.
    """
    who = f"rod {n + 1} from the patient's {lines.side.first}"
    whole = whole_slices(image, lines, n)
    _check_whole(who, whole)
    core = CORE * lines.diameter_mm / 2
    around = [(k, *near(image, lines.at(k)[n], k, core)) for k in np.flatnonzero(whole).tolist()]
    slices = [values[off <= core] for _, values, off in around]
    _check_saturation(who, slices)
    kept = _typical(slices)
    if len(kept) < LEAST_SLICES * len(slices):
        raise CalibrationError(
            f"{who} is not uniform along its length: {len(slices) - len(kept)} of {len(slices)} "
            "slices hold air, a gap or other HU; at most half may. Crop the scan to where the rods "
            "are whole"
        )
    return _rod(image, lines, n, kept, seen)


def whole_slices(image: Image, lines: Lines, n: int) -> NDArray[np.bool_]:
    """Which slices show a rod whole: within the border, and without air in it, (nk,)."""
    radius = lines.diameter_mm / 2
    whole = np.zeros(image.shape[2], dtype=bool)
    for k in range(image.shape[2]):
        place = lines.at(k)[n]
        if border_mm(image.grid, place) >= radius:
            values, off = near(image, place, k, INSIDE * radius)
            whole[k] = np.mean(values[off <= INSIDE * radius] < AIR_HU) <= FOREIGN
    return whole


def _check_whole(who: str, whole: NDArray[np.bool_]) -> None:
    if whole.mean() < LEAST_SLICES:
        cut = np.flatnonzero(~whole)
        raise CalibrationError(
            f"{who} is cut by the field of view or by air in {cut.size} of {whole.size} slices, "
            f"the first of them {cut[0]}; at least half must show it whole. Reconstruct the scan "
            "with a larger field of view, or crop those slices"
        )


def _check_saturation(who: str, slices: Sequence[Float]) -> None:
    saturated = int(sum((values >= HIGHEST_HU).sum() for values in slices))
    if saturated:
        raise CalibrationError(
            f"{who} is saturated: {saturated} voxels of its core show {HIGHEST_HU} HU or more. "
            "Read the scan with its extended HU scale"
        )


def _rod(image: Image, lines: Lines, n: int, slices: Sequence[Float], seen: bool) -> Rod:
    means = np.array([values.mean() for values in slices])
    voxels = np.concatenate(slices)
    middle = (image.shape[2] - 1) / 2
    ends = [
        image.grid.world([*(lines.at(k)[n] / image.spacing_mm[:2]), k])
        for k in (middle, middle + 1)
    ]
    axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    sem = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else voxels.std()
    return Rod(
        centre_mm=(float(ends[0][0]), float(ends[0][1]), float(ends[0][2])),
        axis=(float(axis[0]), float(axis[1]), float(axis[2])),
        diameter_mm=lines.diameter_mm,
        mean_HU=float(voxels.mean()),
        std_HU=float(voxels.std()),
        sem_HU=float(sem),
        n_voxels=int(voxels.size),
        n_slices=len(slices),
        n_dropped=image.shape[2] - len(slices),
        seen=seen,
    )


def _typical(slices: Sequence[Float]) -> list[Float]:
    """Leave out slices that are unlike the others, and voxels that don't belong to the rod.

    A bubble or an edge of a gap changes part of a slice, so that slices with more than a few
    foreign voxels go as a whole: the voxels around those are foreign in part.
    """
    voxels = np.concatenate(slices)
    centre, reach = _reach(voxels)
    alike = [values for values in slices if _foreign(values, centre, reach) <= FOREIGN]
    if not alike:
        return []
    middle, far = _reach(np.array([values.mean() for values in alike]))
    kept = [values for values in alike if abs(values.mean() - middle) <= far]
    return [values[np.abs(values - centre) <= reach] for values in kept]


def _reach(values: Float) -> tuple[float, float]:
    """Median, and how far from it a value may lie: four robust standard deviations and 3 HU."""
    centre = float(np.median(values))
    return centre, float(4 * 1.4826 * np.median(np.abs(values - centre)) + 3)


def _foreign(values: Float, centre: float, reach: float) -> float:
    """Share of the values out of reach; a single one is taken for noise."""
    count = int((np.abs(values - centre) > reach).sum())
    return count / values.size if count > 1 else 0.0


def check_surroundings(slabs: Slabs, lines: Lines, n: int) -> None:
    """Refuse a rod that has no edge of its own towards a third of its surroundings.

    Raises
    ------
    CalibrationError
        If so, unless it hardly differs from all that is around it.
    """
    inside = [
        m
        for m, k in enumerate(slabs.slices)
        if border_mm(slabs.grid, lines.at(k)[n]) >= lines.diameter_mm / 2
    ]
    contrast = np.median([_contrast(slabs, lines, n, m) for m in inside], axis=0)
    strength = float(np.abs(np.median(contrast)))
    away = contrast * np.sign(np.median(contrast)) < 0.25 * strength
    if 3 * away.sum() >= SECTORS and np.abs(contrast).max() > FAINT_HU:
        raise CalibrationError(
            f"rod {n + 1} from the patient's {lines.side.first} touches or overlaps the body or "
            "the table: a third of its surroundings can't be told from it. Its HU can't be trusted"
        )


def _contrast(slabs: Slabs, lines: Lines, n: int, m: int) -> Float:
    """HU around a rod less those in it, by sector, in one slab, (SECTORS,)."""
    radius, plane = lines.diameter_mm / 2, slabs.planes[m]
    x, y, off = polar(plane, slabs.spacing_mm, lines.at(slabs.slices[m])[n])
    inside = float(np.median(plane[off <= CORE * radius]))
    ring = (off > 1.05 * radius + 0.5 * max(slabs.spacing_mm)) & (off < 1.35 * radius)
    turn = np.arctan2(y, x)[ring] / (2 * np.pi) + 0.5
    sector = (turn * SECTORS).astype(int) % SECTORS
    total = np.bincount(sector, plane[ring] - inside, minlength=SECTORS)
    return np.asarray(total / np.maximum(np.bincount(sector, minlength=SECTORS), 1))

"""Lesions counted piece by piece: detection by the MSSEG-2 rule, panoptic quality, candidates.

The rule of the MSSEG-2 challenge (Commowick et al., 2021), expressed anew from its description:
a reference lesion is found if more than `COVERED` of it is predicted, and if none of the predicted
lesions that explain `EXPLAINED` of that overlap (the largest first) has more than `OUTSIDE` of its
own volume outside all reference lesions. A predicted lesion is right by the same test the other
way round. F1 is the harmonic mean of both shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonekit.segmentation.evaluation.overlap import Mask, Values

Int = NDArray[np.integer]
COVERED = 0.10
EXPLAINED = 0.65
OUTSIDE = 0.70
HIT_IOU = 0.1  # of a suspected and a reference lesion; candidates reach beyond the lesion
SAME_IOU = 0.5  # of panoptic quality (Kirillov et al., CVPR 2019): pairs are then unique


def pieces(mask: Mask, voxel_mm3: float, least_mm3: float) -> Int:
    """Give numbers from 1 to the pieces of a mask that share faces, and drop small ones.

    A piece counts from ``floor(least_mm3 / voxel_mm3) + 1`` voxels on, as in MSSEG-2.
    """
    numbered, _ = ndimage.label(mask)
    sizes = np.bincount(numbered.ravel())
    kept = sizes > np.floor(least_mm3 / voxel_mm3)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[numbered]


def table(reference: Int, prediction: Int) -> Int:
    """Voxels that piece i of the reference and piece j of the prediction share, 0 is outside."""
    rows, columns = int(reference.max(initial=0)) + 1, int(prediction.max(initial=0)) + 1
    any_piece = (reference > 0) | (prediction > 0)
    both = reference[any_piece].astype(np.int64) * columns + prediction[any_piece]
    shared = np.bincount(both, minlength=rows * columns).reshape(rows, columns)
    shared[0, 0] = reference.size - both.size
    return shared


def found(overlaps: Int) -> Mask:
    """Say which row pieces (from 1) are found, from the table of shared voxels."""
    return np.array([_is_found(overlaps, i) for i in range(1, len(overlaps))], bool)


def _is_found(overlaps: Int, i: int) -> bool:
    row = overlaps[i, 1:]
    covered = row.sum()
    if covered <= COVERED * overlaps[i].sum():
        return False
    order = np.argsort(-row, kind="stable")
    before = np.cumsum(row[order]) - row[order]
    explaining = order[(before < EXPLAINED * covered) & (row[order] > 0)] + 1
    outside = overlaps[0, explaining] / overlaps[:, explaining].sum(axis=0)
    return bool((outside <= OUTSIDE).all())


def detection(reference: Int, prediction: Int, voxel_mm3: float) -> Values:
    """Score predicted against reference pieces.

    Parameters
    ----------
    reference, prediction : ndarray of int, (ni, nj, nk)
        Numbered by `pieces`.
    voxel_mm3 : float

    Returns
    -------
    dict
        ``n_reference``, ``n_predicted``, ``n_found``, ``n_false`` and ``false_ml`` (predicted
        pieces that are not right); ``sensitivity``, ``ppv`` and ``f1`` by the MSSEG-2 rule;
        ``pq``, ``sq`` and ``rq``. Without a reference lesion there is nothing to find:
        ``sensitivity`` and ``f1`` are nan and the false lesions tell, as in MSSEG-2; ``pq`` is 1
        without false lesions, else 0. ``ppv`` is nan where nothing is predicted.
    """
    overlaps = table(reference, prediction)
    rows, columns = found(overlaps), found(overlaps.T)
    sizes = overlaps.sum(axis=0)[1:]
    values = {
        "n_reference": float(rows.size),
        "n_predicted": float(columns.size),
        "n_found": float(rows.sum()),
        "n_false": float((~columns).sum()),
        "false_ml": float(sizes[~columns].sum() * voxel_mm3 / 1000),
        "sensitivity": float(rows.mean()) if rows.size else np.nan,
        "ppv": float(columns.mean()) if columns.size else np.nan,
    }
    return values | {"f1": _f1(rows, columns)} | _panoptic(overlaps)


def _f1(rows: Mask, columns: Mask) -> float:
    if not rows.size:
        return np.nan
    if not rows.any() or not columns.any():
        return 0.0
    return float(2 / (1 / rows.mean() + 1 / columns.mean()))


def _panoptic(overlaps: Int) -> Values:
    """Panoptic quality: recognition times segmentation."""
    rows, columns = overlaps.shape[0] - 1, overlaps.shape[1] - 1
    if not rows and not columns:
        return {"pq": 1.0, "sq": 1.0, "rq": 1.0}
    iou = _iou(overlaps)
    same = iou[iou > SAME_IOU]
    rq = 2 * same.size / (rows + columns)
    sq = float(same.mean()) if same.size else 0.0
    return {"pq": sq * rq, "sq": sq, "rq": rq}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Suspected lesions of one subject.

    Parameters
    ----------
    score : ndarray, (n,)
        Largest probability in each.
    hit : ndarray of int, (n,)
        Reference lesion, from 1, with the largest intersection over union; 0 if that is less than
        `HIT_IOU`.
    n_reference : int
    """

    score: NDArray[np.float64]
    hit: Int
    n_reference: int


def candidates(
    probability: NDArray[np.floating],
    reference: Int,
    voxel_mm3: float,
    least_mm3: float,
    above: float,
) -> Candidates:
    """Take the pieces of a lesion probability above a threshold as candidates."""
    numbered = pieces(probability > above, voxel_mm3, least_mm3)
    count = int(numbered.max(initial=0))
    score = ndimage.maximum(probability, numbered, range(1, count + 1)) if count else []
    iou = _iou(table(reference, numbered))
    best = iou.argmax(axis=0) if iou.shape[0] else np.zeros(count, np.int64)
    hit = [int(i) + 1 if iou.size and iou[i, j] >= HIT_IOU else 0 for j, i in enumerate(best)]
    return Candidates(
        np.asarray(score, np.float64), np.array(hit, np.int64), int(reference.max(initial=0))
    )


def _iou(overlaps: Int) -> NDArray[np.float64]:
    """Intersection over union of every row piece with every column piece."""
    rows, columns = overlaps.sum(axis=1)[1:], overlaps.sum(axis=0)[1:]
    common = overlaps[1:, 1:]
    return np.asarray(common / np.maximum(rows[:, None] + columns[None, :] - common, 1))


@dataclass(frozen=True, eq=False)
class Froc:
    """Free-response operating characteristic over all subjects.

    Parameters
    ----------
    threshold, false_per_subject, sensitivity : ndarray, (m,)
        From the largest threshold down.
    """

    threshold: NDArray[np.float64]
    false_per_subject: NDArray[np.float64]
    sensitivity: NDArray[np.float64]

    def at(self, false_per_subject: float) -> float:
        """Best sensitivity with at most so many false lesions per subject."""
        reached = self.sensitivity[self.false_per_subject <= false_per_subject]
        return float(reached.max(initial=0.0))


def froc(subjects: list[Candidates]) -> Froc | None:
    """Pool the candidates of subjects; None without a reference lesion.

    Of several candidates in one lesion the best counts; the others are neither true nor false
    (as in CAMELYON16, see `monai.metrics.froc`).
    """
    lesions = sum(one.n_reference for one in subjects)
    if not lesions:
        return None
    false = np.concatenate([one.score[one.hit == 0] for one in subjects])
    true = np.concatenate([_best(one) for one in subjects])
    threshold = np.unique(np.concatenate([false, true]))[::-1]
    return Froc(
        threshold,
        (false[None] >= threshold[:, None]).sum(axis=1) / len(subjects),
        (true[None] >= threshold[:, None]).sum(axis=1) / lesions,
    )


def _best(one: Candidates) -> NDArray[np.float64]:
    """Score of the best candidate of each lesion that has one."""
    hits = np.unique(one.hit[one.hit > 0])
    return np.array([one.score[one.hit == lesion].max() for lesion in hits])

"""Overlap, surface distance and volume of one predicted region against its reference.

Empty regions, per metric; with both empty the prediction is right, with one empty as wrong as can
be (missing values aggregate as the worst: Maier-Hein et al., Metrics reloaded, Nature Methods
21:195, 2024; unverified: quoted from memory):

=====================  ==========  ==================  ==================
metric                 both empty  only the reference  only the prediction
=====================  ==========  ==================  ==================
dice                   1           0                   0
nsd                    1           0                   0
hd95_mm                0           image diagonal      image diagonal
volume_error_ml        0           as counted          as counted
volume_error_percent   0           nan                 -100
=====================  ==========  ==================  ==================
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]
Values = dict[str, float]


def overlap(reference: Mask, prediction: Mask, spacing_mm: Float, tolerance_mm: float) -> Values:
    """Compare two masks.

    Surfaces are those between voxels, each element with its area, so that neither the size of a
    voxel nor the choice of boundary voxels matters (Nikolov et al., J. Med. Internet Res.
    23:e26151, 2021; MONAI's ``use_subvoxels``).

    Parameters
    ----------
    reference, prediction : ndarray of bool, (ni, nj, nk)
    spacing_mm : ndarray, (3,)
    tolerance_mm : float
        Of the normalised surface distance.

    Returns
    -------
    dict
        ``dice``; ``nsd``, the share of both surfaces within the tolerance of the other;
        ``hd95_mm``, the larger of the two 95th percentiles of the surfaces' distances;
        ``volume_reference_ml``, ``volume_prediction_ml``, ``volume_error_ml`` (prediction less
        reference) and ``volume_error_percent``. Empty masks: see the module.
    """
    sizes = np.array([reference.sum(), prediction.sum()])
    ml = sizes * float(np.prod(spacing_mm)) / 1000
    values = {
        "volume_reference_ml": float(ml[0]),
        "volume_prediction_ml": float(ml[1]),
        "volume_error_ml": float(ml[1] - ml[0]),
    }
    if not sizes.any():
        return values | {"volume_error_percent": 0.0, "dice": 1.0, "nsd": 1.0, "hd95_mm": 0.0}
    percent = 100 * (ml[1] / ml[0] - 1) if ml[0] else np.nan
    common = (reference & prediction).sum()
    values |= {"volume_error_percent": float(percent), "dice": float(2 * common / sizes.sum())}
    if not sizes.all():
        diagonal = float(np.linalg.norm(np.array(reference.shape) * spacing_mm))
        return values | {"nsd": 0.0, "hd95_mm": diagonal}
    return values | _surfaces(reference, prediction, spacing_mm, tolerance_mm)


def _surfaces(reference: Mask, prediction: Mask, spacing_mm: Float, tolerance_mm: float) -> Values:
    box = around(reference | prediction, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of its own argument
        (edges_p, edges_r), distances, areas = get_edge_surface_distance(
            torch.from_numpy(np.pad(prediction[box], 1)),
            torch.from_numpy(np.pad(reference[box], 1)),
            spacing=[float(s) for s in spacing_mm],
            use_subvoxels=True,
            symmetric=True,
        )
    weights = [
        area[edges].double().numpy() for area, edges in zip(areas, (edges_p, edges_r), strict=True)
    ]
    near = [np.asarray(one.double()) for one in distances]
    reach = tolerance_mm * (1 + 1e-6)  # distances are float32
    within = sum(w[d <= reach].sum() for w, d in zip(weights, near, strict=True))
    share = float(within / sum(w.sum() for w in weights))
    worst = max(_percentile(d, w, 0.95) for d, w in zip(near, weights, strict=True))
    return {"nsd": share, "hd95_mm": worst}


def _percentile(values: Float, weights: Float, share: float) -> float:
    """Smallest value that a share of the weights does not exceed."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, share * cumulated[-1])])


def around(mask: Mask, margin: int) -> tuple[slice, ...]:
    """Box that holds a mask and some voxels more, as far as the array goes."""
    box = []
    for axis in range(mask.ndim):
        index = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(max(int(index[0]) - margin, 0), int(index[-1]) + margin + 1))
    return tuple(box)

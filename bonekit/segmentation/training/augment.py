"""Random changes of patches, by nnU-Net's table.

Isensee et al., Nature Methods 18:203 (2021), and the public nnU-Net v2: probabilities and ranges
are in the constants. Magnetic resonance gets a bias field on top of it; optional channels are
left out now and then. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import ceil, radians, sqrt
from typing import Any

import numpy as np
import torch
from monai.networks.layers.spatial_transforms import AffineTransform
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandBiasField,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandScaleIntensityFixedMean,
)
from monai.transforms.spatial.array import RandSimulateLowResolution
from monai.utils.type_conversion import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

from bonekit.segmentation.task import Modality, Task

Float = NDArray[np.float64]

SPATIAL = 0.2  # probability of a rotation, and of a change of scale
TURN_DEG, TURN_FLAT_DEG = 30.0, 180.0  # the latter around the thin axis of a flat patch
FLAT = 3.0  # ratio of sides from which a patch is flat
SCALE = (0.7, 1.4)
NOISE_STD = sqrt(0.1)
BIAS = (0.0, 0.3)  # of the coefficients; MONAI's field is exp of a polynomial of degree 3


def random_matrix(rng: np.random.Generator, patch: Sequence[int]) -> Float | None:
    """Draw a rotation and a scale.

    Parameters
    ----------
    rng : Generator
    patch : sequence of int
        Voxels of the patch.

    Returns
    -------
    ndarray of float, (d, d), or None for no change
        Takes places in the patch, from its middle, to places in the image.
    """
    turned, scaled = rng.random(2) < SPATIAL
    if not (turned or scaled):
        return None
    matrix = np.eye(len(patch))
    if turned:
        matrix = _rotation(rng, patch)
    return matrix * rng.uniform(*SCALE) if scaled else matrix


def _rotation(rng: np.random.Generator, patch: Sequence[int]) -> Float:
    """Turn in each plane of axes; in a flat patch only around its thin axis, but freely."""
    dims = len(patch)
    thin = int(np.argmin(patch))
    flat = dims == 3 and max(patch) / min(patch) > FLAT
    matrix = np.eye(dims)
    for a in range(dims):
        for b in range(a + 1, dims):
            if flat and thin in (a, b):
                continue
            reach = radians(TURN_FLAT_DEG if flat else TURN_DEG)
            angle = rng.uniform(-reach, reach)
            turn = np.eye(dims)
            turn[[a, b], [a, b]] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ turn
    return matrix


def room_for(matrix: Float, patch: Sequence[int]) -> tuple[int, ...]:
    """Return the voxels of the image that a turned and scaled patch needs."""
    reach = np.abs(matrix) @ np.asarray(patch)
    # the parity of the patch, so that both have the same middle
    return tuple(ceil(r) + 2 + (ceil(r) - p) % 2 for r, p in zip(reach, patch, strict=True))


def warp(image: Tensor, labels: Tensor, matrix: Float, patch: Sequence[int]) -> tuple[Tensor, ...]:
    """Resample an image (C, *room) and its labels (1, *room) to a patch."""
    dims, sizes = len(patch), np.asarray(image.shape[1:])
    theta = torch.eye(dims + 1)
    # in units of half the picture: pixel i of n lies at (2 i + 1) / n - 1
    theta[:dims, :dims] = torch.from_numpy(matrix * np.asarray(patch) / sizes[:, None])

    def resample(values: Tensor, mode: str) -> Tensor:
        transform = AffineTransform(
            tuple(patch), normalized=True, mode=mode, padding_mode="border", align_corners=False
        )
        out: Tensor = transform(values[None].float(), theta)[0]
        return out

    return resample(image, "bilinear"), resample(labels, "nearest").to(labels.dtype)


def mirror(
    rng: np.random.Generator, image: Tensor, labels: Tensor, axes: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Flip both along each of some spatial axes with a probability of one half."""
    chosen = [1 + a for a in axes if rng.random() < 0.5]
    return (image.flip(chosen), labels.flip(chosen)) if chosen else (image, labels)


def mirrored_axes(task: Task, axis: int | None) -> tuple[int, ...]:
    """Return the axes of a patch that the task lets be mirrored.

    Parameters
    ----------
    task : Task
    axis : int, optional
        Across the slice; None for a volume.
    """
    kept = [a for a in range(3) if a != axis]
    return tuple(kept.index(a) for a in task.mirror if a in kept)


def change_values(rng: np.random.Generator, image: Tensor, task: Task) -> Tensor:
    """Change the values of an image (C, *spatial), each channel for itself."""
    changed = []
    for channel, values in zip(task.channels, image[:, None], strict=True):
        for share, make in _intensity(channel.modality, image.ndim - 1):
            if rng.random() < share:  # drawn here: most are left out, and MONAI is slow to say so
                transform = make(prob=1.0)
                transform.set_random_state(seed=int(rng.integers(2**31)))
                values = convert_to_tensor(transform(values), track_meta=False)
        changed.append(values)
    return torch.cat(changed)


@lru_cache
def _intensity(modality: Modality, dims: int) -> tuple[tuple[float, Callable[..., Any]], ...]:
    """Return how often each change is made, and its maker.

    Each patch has its own, since they hold state and threads must not share it.
    """
    sigma: dict[str, Any] = {f"sigma_{axis}": (0.5, 1.0) for axis in "xyz"}
    upsample = "bilinear" if dims == 2 else "trilinear"
    gamma = partial(RandAdjustContrast, gamma=(0.7, 1.5), retain_stats=True)
    factors = (-0.25, 0.25)
    changes: list[tuple[float, Callable[..., Any]]] = [
        (0.1, partial(RandGaussianNoise, std=NOISE_STD, sample_std=True)),
        (0.2, partial(RandGaussianSmooth, **sigma)),
        (0.15, partial(RandScaleIntensity, factors=factors)),
        (0.15, partial(RandScaleIntensityFixedMean, factors=factors, preserve_range=True)),
        (0.25, partial(RandSimulateLowResolution, upsample_mode=upsample, zoom_range=(0.5, 1.0))),
        (0.1, partial(gamma, invert_image=True)),
        (0.3, gamma),
    ]
    if modality == "mri":
        changes.append((0.2, partial(RandBiasField, coeff_range=BIAS)))
    return tuple(changes)


def drop_channels(rng: np.random.Generator, image: Tensor, task: Task, share: float) -> Tensor:
    """Set optional channels to zero now and then, as preparation does with absent ones."""
    dropped = [c.optional and rng.random() < share for c in task.channels]
    if not any(dropped):
        return image
    if all(dropped):
        dropped[int(rng.integers(len(dropped)))] = False
    kept = torch.tensor([not d for d in dropped])
    return image * kept.reshape(-1, *[1] * (image.ndim - 1))

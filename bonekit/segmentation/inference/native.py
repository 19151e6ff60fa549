"""From slabs of probabilities on the network's grid to labels on the grid of the files.

Each native slice is interpolated, decided and written on its own: there is never a volume of
floating-point numbers for all outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bonekit.image import Grid
from bonekit.segmentation.inference.fusion import calibrate, uncertainty
from bonekit.segmentation.inference.sampling import Sampler
from bonekit.segmentation.inference.source import Source, turned
from bonekit.segmentation.task import Task

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Outputs:
    """Arrays on the grid of the files, filled slice by slice.

    Parameters
    ----------
    labels, entropy : ndarray of uint8, (ni, nj, nk)
    samples : ndarray of uint8, (samples, ni, nj, nk)
    probabilities : ndarray of float32, (outputs, ni, nj, nk), optional
    """

    labels: Array
    entropy: Array
    samples: Array
    probabilities: Array | None = None

    @classmethod
    def empty(cls, grid: Grid, task: Task, samples: int, probabilities: bool) -> Outputs:
        """Make arrays of background, certain of it."""

        def zeros(lead: tuple[int, ...], kind: type[np.generic]) -> Array:
            # The third axis slowest: a slice lies in one piece, in memory and in a file.
            return np.zeros((*lead, *grid.shape[::-1]), dtype=kind).swapaxes(-1, -3)

        made = zeros((len(task.outputs),), np.float32) if probabilities else None
        if made is not None and task.exclusive:
            made[0] = 1.0
        return cls(zeros((), np.uint8), zeros((), np.uint8), zeros((samples,), np.uint8), made)


@dataclass(frozen=True, eq=False)
class Decision:
    """How probabilities become labels: the task's outputs, calibrated, and drawn from."""

    task: Task
    temperature: float = 1.0
    sampler: Sampler | None = None


@dataclass(frozen=True, eq=False)
class Upsampling:
    """Linear interpolation along one axis: ``(1 - part) * p[low] + part * p[high]``."""

    low: torch.Tensor
    high: torch.Tensor
    part: torch.Tensor

    def __call__(self, found: torch.Tensor, dim: int) -> torch.Tensor:
        """Interpolate a dimension of an array."""
        if len(self.low) == found.shape[dim] and not bool(self.part.any()):
            return found
        shape = [1] * found.ndim
        shape[dim] = -1
        low, high = found.index_select(dim, self.low), found.index_select(dim, self.high)
        return torch.lerp(low, high, self.part.view(shape).expand_as(low))


def upsampling(source: Source, axis: int) -> Upsampling:
    """Interpolation from the network's grid to the native voxels, the edge going on."""
    n, last = source.cropped.shape[axis], source.grid.shape[axis] - 1
    index = np.zeros((n, 3))
    index[:, axis] = np.arange(n)
    place = source.grid.index(source.cropped.world(index))[:, axis]
    place = np.clip(np.round(place, 6), 0, last)  # a rounding error is no fraction of a voxel
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, last)
    part = (place - low).astype(np.float32)
    high[part == 0] = low[part == 0]
    return Upsampling(*map(torch.from_numpy, (low, high, part)))


def write_slabs(
    found: Iterable[torch.Tensor],
    source: Source,
    decision: Decision,
    outputs: Outputs,
    *,
    thickness: int,
    first: int = 0,
) -> Iterator[int]:
    """Write probabilities to the native grid as they come.

    Parameters
    ----------
    found : iterable of Tensor, each (slices, outputs, ni, nj)
        Slabs of the network's grid from slab ``max(first - 1, 0)`` on: a native slice may lie
        between two slabs.
    decision : Decision
    outputs : Outputs
        Filled.
    thickness : int
        Slices of a slab, but the last.
    first : int
        Slab of which the native slices are the first to be written.

    Yields
    ------
    int
        Number of each slab whose native slices are written.
    """
    x, y, z = (upsampling(source, axis) for axis in range(3))
    carry: torch.Tensor | None = None
    place = _Place.of(outputs, source)
    for number, slab in enumerate(found, start=max(first - 1, 0)):
        start = number * thickness
        if carry is not None:
            slab, start = torch.cat([carry, slab]), start - 1
        carry = slab[-1:].clone()
        if number < first:
            continue
        for k in torch.nonzero(z.high // thickness == number).ravel().tolist():
            low, high = slab[int(z.low[k]) - start], slab[int(z.high[k]) - start]
            fine = y(x(torch.lerp(low, high, float(z.part[k])), 1), 2)
            _write(place, k, fine, decision)
        yield number


@dataclass(frozen=True, eq=False)
class _Place:
    """Views of the outputs: canonical, where the image is not zero."""

    labels: Array
    entropy: Array
    samples: Array
    probabilities: Array | None

    @classmethod
    def of(cls, outputs: Outputs, source: Source) -> _Place:
        def view(array: Array) -> Array:
            return turned(array, source.native)[(..., *source.box)]

        found = outputs.probabilities
        return cls(
            view(outputs.labels),
            view(outputs.entropy),
            view(outputs.samples),
            None if found is None else view(found),
        )


def _write(place: _Place, k: int, fine: torch.Tensor, decision: Decision) -> None:
    """Decide one native slice, (outputs, ni, nj)."""
    task = decision.task
    place.labels[:, :, k] = decide(fine, task).numpy()
    honest = calibrate(fine[None], decision.temperature, exclusive=task.exclusive)
    unsure = uncertainty(honest, exclusive=task.exclusive)[0]
    place.entropy[:, :, k] = (255 * unsure).round().to(torch.uint8).numpy()
    if place.probabilities is not None:
        place.probabilities[:, :, :, k] = honest[0].numpy()
    if decision.sampler is not None:
        for n, sample in enumerate(decision.sampler.draw(honest[0], k)):
            place.samples[n, :, :, k] = decide(sample, task).numpy()


def decide(found: torch.Tensor, task: Task) -> torch.Tensor:
    """Labels of probabilities, (outputs, ni, nj) -> (ni, nj) of uint8.

    The likeliest label; where outputs overlap, the last in `Task.region_order` above one half.
    """
    if task.exclusive:
        return found.max(0).indices.to(torch.uint8)  # `argmax` gives the same, six times slower
    made = torch.zeros(found.shape[1:], dtype=torch.uint8)
    for region, label in zip(found, task.region_order or (), strict=True):
        made[region > 0.5] = task.labels[label]
    return made

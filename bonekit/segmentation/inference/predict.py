"""One call from the images of a subject to labels on their own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from bonekit.errors import InputError
from bonekit.image import Image, LabelMap
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.inference.clean import clean
from bonekit.segmentation.inference.ensemble import (
    activate,
    device_of,
    ensemble,
    load_networks,
)
from bonekit.segmentation.inference.fusion import fuse
from bonekit.segmentation.inference.native import Decision, Outputs, write_slabs
from bonekit.segmentation.inference.sampling import Sampler, sampler
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.inference.source import Reader, Source, open_source
from bonekit.segmentation.inference.stream import slab_count, slabs
from bonekit.segmentation.inference.tiles import Tiling, Triple, tiling
from bonekit.segmentation.inference.verdict import Verdict, judge
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.task import SLICED, Task, View

Networks = tuple[nn.Module, ...]
SLICES_OF_A_TILE = 8  # a slice is smaller than a tile: more go through together


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one subject, on the grid of its files.

    Parameters
    ----------
    labels : LabelMap
    entropy : Image
        Of uint8: 0 is certain, 255 is the largest entropy there is, ``ln K``.
    verdict : Verdict
        Quality control.
    probabilities : ndarray of float32, (outputs, ni, nj, nk), optional
        Calibrated; on the axes of the files.
    samples : tuple of LabelMap
        Draws from the probabilities.
    """

    labels: LabelMap
    entropy: Image
    verdict: Verdict
    probabilities: NDArray[Any] | None = None
    samples: tuple[LabelMap, ...] = ()


def predict(
    model: Model,
    images: Subject | Sequence[Image | None],
    settings: PredictSettings | None = None,
) -> Prediction:
    """Segment one subject.

    Parameters
    ----------
    model : Model
    images : Subject, or sequence of Image or None
        One for each channel of the task, in its order; None for an absent optional one.
    settings : PredictSettings, optional

    Raises
    ------
    InputError
        If images don't fit the task, are much thinner than the network's patch, or are DICOM
        images for a model trained on synthetic ones; if weights don't fit the network.
    """
    chosen = settings or PredictSettings()
    networks = load_networks(model, device_of(chosen))
    source = open_source(model, images)
    outputs = Outputs.empty(source.native, model.task, chosen.samples, chosen.probabilities)
    for _ in run(model, networks, source, chosen, outputs):
        pass
    return finish(model, source, outputs)


def run(
    model: Model,
    networks: Networks,
    source: Source,
    settings: PredictSettings,
    outputs: Outputs,
    first: int = 0,
) -> Iterator[int]:
    """Fill outputs slab by slab, and give the number of each slab that is done."""
    task = model.task
    thickness = slab_slices(source, task, settings)
    begin = max(first - 1, 0)  # native slices may lie between two slabs
    views = [
        _view(view, model, networks, source, settings, thickness, begin)
        for view in chosen_views(task, settings)
    ]
    rule = settings.fusion or task.fusion
    fused = (fuse(found, rule, exclusive=task.exclusive) for found in zip(*views, strict=True))
    draws = _sampler(source, task, settings)
    yield from write_slabs(
        fused,
        source,
        Decision(task, model.temperature, draws),
        outputs,
        thickness=thickness,
        first=first,
    )


def finish(model: Model, source: Source, outputs: Outputs) -> Prediction:
    """Post-process, judge, and give names."""
    task, grid = model.task, source.native
    for array in (outputs.labels, *outputs.samples):
        clean(array, task, grid.voxel_mm3)
    verdict = judge(model, source, outputs.labels, outputs.entropy)
    names = {value: name for name, value in task.labels.items() if value}
    return Prediction(
        labels=LabelMap(outputs.labels, grid, names),
        entropy=Image(outputs.entropy, grid),
        verdict=verdict,
        probabilities=outputs.probabilities,
        samples=tuple(LabelMap(array, grid, names) for array in outputs.samples),
    )


def slab_slices(source: Source, task: Task, settings: PredictSettings) -> int:
    """Slices of the network's grid that are finished together."""
    slice_bytes = 4 * len(task.outputs) * source.grid.shape[0] * source.grid.shape[1]
    return max(1, min(source.grid.shape[2], int(settings.slab_MB * 1e6 / slice_bytes)))


def slabs_of(source: Source, task: Task, settings: PredictSettings) -> int:
    """Return the number of slabs of a prediction."""
    return slab_count(source.grid.shape[2], slab_slices(source, task, settings))


def chosen_views(task: Task, settings: PredictSettings) -> tuple[View, ...]:
    """Return the views to predict.

    Raises
    ------
    InputError
        If the settings ask for a view that the network was not made for.
    """
    views = settings.views or task.views
    if unknown := [v for v in views if v not in task.views]:
        raise InputError(
            f"view {', '.join(unknown)} was not trained: the task {task.name} has "
            f"{', '.join(task.views)}; choose among these"
        )
    if len(set(views)) < len(views):
        raise InputError(f"views {', '.join(views)}: each may be named once")
    return views


def _view(
    view: View,
    model: Model,
    networks: Networks,
    source: Source,
    settings: PredictSettings,
    thickness: int,
    first: int,
) -> Iterator[torch.Tensor]:
    axis = SLICED.get(view)
    tiles = tiles_of(source.grid.shape, model, axis, settings)
    found = slabs(
        Reader(source, ahead=min(thickness, 16)),
        tiles,
        ensemble(networks, model.task, axis, settings, model.plan),
        len(model.task.outputs),
        thickness=thickness,
        batch=settings.batch if axis is None else settings.batch * SLICES_OF_A_TILE,
        first=first,
    )
    if model.plan.average == "probabilities":
        return found
    return (activate(slab, model.task) for slab in found)


def tiles_of(shape: Triple, model: Model, axis: int | None, settings: PredictSettings) -> Tiling:
    """Cover a grid with patches of the plan, or by one tile over all of it (of a slice)."""
    patch = list(shape) if settings.whole else list(model.plan.patch)
    if axis is not None and settings.whole:
        patch[axis] = 1
    elif axis is not None:
        patch.insert(axis, 1)
    return tiling(shape, (patch[0], patch[1], patch[2]), settings.overlap)


def _sampler(source: Source, task: Task, settings: PredictSettings) -> Sampler | None:
    if settings.samples == 0:
        return None
    return sampler(
        source.cropped,
        len(task.outputs),
        samples=settings.samples,
        correlation_mm=settings.correlation_mm,
        seed=settings.seed,
        exclusive=task.exclusive,
    )

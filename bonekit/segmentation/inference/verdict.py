"""Quality control of a prediction: is the image like those of the training, is the result whole.

The limits are this project's own and were not fitted to patients: they ask for a look, no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from bonekit.segmentation.base import Finding
from bonekit.segmentation.inference.clean import Box, extents, piece_sizes
from bonekit.segmentation.inference.source import Source, turned
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.task import Task

Array = NDArray[Any]
FAR = 1.0  # standard deviations of the training data between the two distributions
UNSURE = 0.6  # mean entropy at borders, of its largest value
VAGUE = 0.2  # the same away from borders, within labels
PIECE = 0.05  # of a label outside of its largest piece


@dataclass(frozen=True)
class Verdict:
    """Findings and the measures behind them.

    Parameters
    ----------
    findings : tuple of Finding
    measures : mapping of str to float
        ``bone_volume_ml``, ``bone_components``, ``bone_holes``, ``bone_border_mm2`` (at the edge
        of the image), ``ct_distance``, ``border_entropy``, ``inner_entropy`` and so on.
    """

    findings: tuple[Finding, ...]
    measures: Mapping[str, float]

    @property
    def sound(self) -> bool:
        """Whether nothing asks for a look."""
        return all(f.severity == "note" for f in self.findings)


def judge(model: Model, source: Source, labels: Array, entropy: Array) -> Verdict:
    """Judge a prediction.

    Parameters
    ----------
    model : Model
    source : Source
    labels, entropy : ndarray of uint8, (ni, nj, nk)
        On the grid of the files.
    """
    measures: dict[str, float] = {}
    findings: list[Finding] = []
    for found, numbers in (
        *_topologies(model.task, source, labels),
        *_intensities(model, source, labels),
        _entropies(labels, entropy),
    ):
        findings += found
        measures |= numbers
    return Verdict(tuple(findings), measures)


Part = tuple[list[Finding], dict[str, float]]


def _topologies(task: Task, source: Source, labels: Array) -> Iterator[Part]:
    boxes = extents(labels, len(task.labels) - 1)
    for name, value in task.labels.items():
        if value:
            scattered = name in task.metrics.lesions
            yield _topology(name, value, boxes[value - 1], source, labels, scattered=scattered)


def _topology(
    name: str, value: int, box: Box | None, source: Source, labels: Array, *, scattered: bool
) -> Part:
    """Volume, pieces, holes and contact with the edge of the image of one label."""
    if box is None:
        absent = f"{name} was not found in the image"
        finding = Finding("note" if scattered else "warning", "absent", absent)
        return [finding], {f"{name}_volume_ml": 0.0}
    part = labels[box].T  # the fast order
    pieces, count = ndi.label(part == value)
    sizes = piece_sizes(pieces, count)[1:]
    del pieces
    rest = 1.0 - float(sizes.max() / sizes.sum())
    holes = int(ndi.label(np.pad(part == 0, 1, constant_values=True))[1]) - 1
    cut_mm2 = _cut_mm2(labels, value, source)
    measures = {
        f"{name}_volume_ml": float(sizes.sum()) * source.native.voxel_mm3 / 1000.0,
        f"{name}_components": float(count),
        f"{name}_holes": float(holes),
        f"{name}_border_mm2": cut_mm2,
    }
    findings = []
    if rest > PIECE and not scattered:
        text = f"{name} falls into {count} pieces; {100 * rest:.0f} % lie outside of the largest"
        findings.append(Finding("warning", "pieces", f"{text}. Look at the labels"))
    if holes:
        text = f"{name} encloses {holes} pockets of background; fill_holes closes them"
        findings.append(Finding("note", "holes", text))
    if cut_mm2 > 0:
        text = f"{name} meets the edge of the image over {cut_mm2:.0f} mm2: it may go on outside"
        findings.append(Finding("note", "cut", text))
    return findings, measures


def _cut_mm2(labels: Array, value: int, source: Source) -> float:
    """Area of a label on the six faces of the image."""
    spacing = source.native.spacing_mm
    area = 0.0
    for axis in range(3):
        faces = {0, labels.shape[axis] - 1}
        slices = np.moveaxis(labels, axis, 0)  # a view; `take` would copy the whole
        pixels = sum(int(np.count_nonzero(slices[n] == value)) for n in faces)
        area += pixels * float(np.prod(np.delete(spacing, axis)))
    return area


def _intensities(model: Model, source: Source, labels: Array) -> Iterator[Part]:
    """Compare the values inside of all labels with those of the training data."""
    view = turned(labels, source.native)[source.box]
    for channel, known, one in zip(
        model.task.channels, model.plan.statistics, source.channels, strict=True
    ):
        if one is None or channel.normalisation == "zscore":
            continue  # arbitrary units
        mean, std, count = _moments(one.image.array, view)
        if count == 0:
            continue
        # Distance of two normal distributions (Frechet, 1957) in deviations of the training data.
        distance = float(np.hypot(mean - known.mean, std - known.std)) / max(known.std, 1e-8)
        findings = []
        if distance > FAR:
            text = (
                f"{channel.name} inside of the labels is {mean:.0f} +- {std:.0f}, in the training "
                f"data {known.mean:.0f} +- {known.std:.0f}: another protocol, another anatomy, or "
                "wrong labels. Don't trust the result without looking at it"
            )
            findings.append(Finding("warning", "unlike-training", text))
        yield findings, {f"{channel.name}_distance": distance}


def _moments(image: Array, labels: Array) -> tuple[float, float, int]:
    """Mean and deviation of an image where labels are, slice by slice."""
    count, total, squares = 0, 0.0, 0.0
    for k in range(image.shape[2]):
        values = image[:, :, k][labels[:, :, k] > 0].astype(np.float64)
        count += values.size
        total += float(values.sum())
        squares += float(values @ values)
    if count == 0:
        return 0.0, 0.0, 0
    mean = total / count
    return float(mean), float(np.sqrt(max(squares / count - mean**2, 0.0))), count


def _entropies(labels: Array, entropy: Array) -> Part:
    """Mean entropy one voxel either side of borders between labels, and inside of labels."""
    sums, counts = np.zeros(2), np.zeros(2)
    for k in range(labels.shape[2]):
        edge = _edge(labels, k)
        for n, mask in enumerate((edge, (labels[:, :, k] > 0) & ~edge)):
            values = entropy[:, :, k][mask]
            sums[n], counts[n] = sums[n] + values.sum(dtype=np.float64), counts[n] + values.size
    border, inner = (float(v) for v in sums / np.maximum(counts, 1) / 255.0)
    findings = []
    for value, limit, where in ((border, UNSURE, "at borders"), (inner, VAGUE, "within labels")):
        if value > limit:
            text = f"the entropy {where} is {value:.2f} of its largest value (usual: < {limit})"
            findings.append(Finding("warning", "unsure", f"{text}: the network guesses"))
    return findings, {"border_entropy": border, "inner_entropy": inner}


def _edge(labels: Array, k: int) -> NDArray[np.bool_]:
    """Voxels of a slice that share a face with another label."""
    here = labels[:, :, k]
    made = np.zeros(here.shape, dtype=bool)
    for axis in range(2):
        first, second = np.swapaxes(here, 0, axis), np.swapaxes(made, 0, axis)
        differs = first[1:] != first[:-1]
        second[1:] |= differs
        second[:-1] |= differs
    for other in (k - 1, k + 1):
        if 0 <= other < labels.shape[2]:
            made |= here != labels[:, :, other]
    return made

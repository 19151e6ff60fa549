"""From the fingerprint of a data set to a plan, by nnU-Net's rules.

Source of the rules and of all constants that no other source stands at: nnU-Net 2.8.1, default
planner (Isensee et al., Nature Methods 18:203, 2021). Ours are the processor's budget and the
plans for slices of several views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.segmentation.planning.fingerprint import Fingerprint
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.planning.topology import LEAST_EDGE, Topology, feature_elements, topology
from bonekit.segmentation.task import SLICED, Task, View

ANISOTROPIC = 3.0  # spacing of thick slices over that of their pixels
START_EDGE = {3: 256, 2: 2048}  # of a first patch, larger than any that fits
REFERENCE_ELEMENTS = {3: 560e6, 2: 85e6}  # of feature maps in REFERENCE_GB
REFERENCE_GB = 8.0
REFERENCE_BATCH = {3: 2, 2: 12}
LEAST_BATCH = 2
MOST_OF_DATASET = 0.05  # voxels in one batch
BASE_FEATURES = 32
MOST_FEATURES = {3: 320, 2: 512}
LOW_RESOLUTION = 0.25  # a patch of less than this of the median volume asks for a cascade
COARSER = 1.03
NONZERO = 0.75  # cropping that leaves less takes z-scores inside the nonzero voxels
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Budget:
    """What a network may cost."""

    memory_GB: float
    base_features: int
    most_features: int


def budget(memory_GB: float | Literal["cpu"], dims: int) -> Budget:
    """Return the budget of a graphics card, or one that trains on two processor cores.

    On a processor time is short before memory is: a quarter of the channels (in two dimensions
    half) and 0.25 GB of feature maps, our choice.
    """
    if memory_GB == "cpu":
        return Budget(0.25, *((8, 64) if dims == 3 else (16, 128)))
    if not memory_GB > 0:
        raise InputError(f"memory {memory_GB} GB; allowed: a positive number, or 'cpu'")
    return Budget(memory_GB, BASE_FEATURES, MOST_FEATURES[dims])


def make_plan(
    fingerprint: Fingerprint, task: Task, memory_GB: float | Literal["cpu"] = 8.0
) -> Plan:
    """Decide spacing, patch, stages and batch.

    Parameters
    ----------
    fingerprint : Fingerprint
    task : Task
        A fixed `spacing_mm` is kept; for planes the plan is of slices.
    memory_GB : float, or "cpu"
        Of the graphics card.

    Returns
    -------
    Plan
        With `low_resolution` where a patch in three dimensions sees too little of a volume.

    Raises
    ------
    InputError
        If the fingerprint is of other channels than the task's.
    """
    if len(fingerprint.statistics) != len(task.channels):
        raise InputError(
            f"the fingerprint has {len(fingerprint.statistics)} channels, the task {task.name} "
            f"{len(task.channels)}: take the fingerprint of this task"
        )
    spacing = task.spacing_mm or target_spacing(fingerprint)
    if task.spacing_mm is None and len(task.views) > 1:
        spacing = _isotropic(spacing)
    shape = median_shape(fingerprint, spacing)
    maker = _Maker(fingerprint, task, budget(memory_GB, task.dims))
    full = maker.plan(spacing, shape)
    if task.dims == 2:
        return full
    return full.model_copy(update={"low_resolution": _low_resolution(maker, full, shape)})


def target_spacing(fingerprint: Fingerprint) -> Spacing:
    """Median spacing; where slices are thick and few, their 10th percentile."""
    spacings = np.array(fingerprint.spacings_mm)[:, ::-1]  # slices first, as nnU-Net reads files
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(np.array(fingerprint.shapes)[:, ::-1], 50, axis=0)
    worst = int(target.argmax())
    others = np.delete(target, worst).max()
    few = size[worst] * ANISOTROPIC < np.delete(size, worst).min()
    if target[worst] > ANISOTROPIC * others and few:
        finer = float(np.percentile(spacings[:, worst], 10))
        target[worst] = finer if finer >= others else others + 1e-5
    return float(target[2]), float(target[1]), float(target[0])


def median_shape(fingerprint: Fingerprint, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Median of the shapes at a spacing, (3,); halves where the number of volumes is even."""
    extents = np.array(fingerprint.shapes) * np.array(fingerprint.spacings_mm)
    return np.asarray(np.median(np.rint(extents / np.array(spacing_mm)), axis=0))


def fit_patch(
    spacing_mm: Sequence[float], shape: Sequence[float], outputs: int, costs: Budget
) -> tuple[Topology, int]:
    """Shrink a patch until its network fits; the axis that sees most of the volume gives first.

    Returns
    -------
    Topology
    int
        Elements of its feature maps.
    """
    dims = len(spacing_mm)
    aspect = 1.0 / np.array(spacing_mm, dtype=np.float64)
    start = np.rint(aspect * (START_EDGE[dims] ** dims / aspect.prod()) ** (1 / dims))
    made = topology(spacing_mm, np.ceil(np.minimum(start, shape)).astype(int).tolist())
    most = REFERENCE_ELEMENTS[dims] * costs.memory_GB / REFERENCE_GB * REFERENCE_BATCH[dims] / 2
    while (cost := feature_elements(made, _features(made, costs), outputs)) > most:
        axis = int(np.argsort(np.array(made.patch) / np.array(shape))[-1])
        smaller = list(made.patch)
        smaller[axis] -= made.divisor[axis]
        if smaller[axis] < 2 * LEAST_EDGE:
            raise InputError(
                f"no network fits into {costs.memory_GB} GB: a patch of {made.patch} voxels is too "
                "large already. Allow more memory, or a coarser spacing in the task"
            )
        step = topology(spacing_mm, smaller).divisor[axis]  # not to skip a size that is valid too
        smaller[axis] = made.patch[axis] - step
        made = topology(spacing_mm, smaller)
    return made, cost


def _features(shape: Topology, costs: Budget) -> tuple[int, ...]:
    stages = range(len(shape.strides))
    return tuple(min(costs.most_features, costs.base_features * 2**i) for i in stages)


def _isotropic(spacing_mm: Spacing) -> Spacing:
    """Cubes of the middle spacing: one network of slices sees all planes alike."""
    middle = sorted(spacing_mm)[1]
    return middle, middle, middle


@dataclass(frozen=True)
class _Maker:
    """Plans of one data set and budget at different spacings."""

    fingerprint: Fingerprint
    task: Task
    costs: Budget

    def plan(self, spacing: Spacing, shape: NDArray[np.float64]) -> Plan:
        """Plan at a spacing (3,) and the median shape there (3,)."""
        order = _order(spacing) if self.task.dims == 3 else [1, 0]
        edges, sizes = (
            (list(spacing), shape) if self.task.dims == 3 else self._slice(spacing, shape)
        )
        made, cost = fit_patch(
            [edges[a] for a in order],
            [float(sizes[a]) for a in order],
            len(self.task.outputs),
            self.costs,
        )
        back = np.argsort(order)
        return Plan(
            spacing_mm=spacing,
            median_shape=(round(shape[0]), round(shape[1]), round(shape[2])),
            patch=_permuted(made.patch, back),
            batch=self._batch(made, cost, float(shape.prod())),
            features=_features(made, self.costs),
            kernels=tuple(_permuted(k, back) for k in made.kernels),
            strides=tuple(_permuted(s, back) for s in made.strides),
            statistics=self.fingerprint.statistics,
            inside_nonzero=self.fingerprint.kept < NONZERO,
            memory_GB=self.costs.memory_GB,
        )

    def _batch(self, made: Topology, cost: int, voxels: float) -> int:
        """As many patches as fit, not more than a twentieth of the data set, at least two."""
        dims = len(made.patch)
        reference = REFERENCE_ELEMENTS[dims] * self.costs.memory_GB / REFERENCE_GB
        fitting = round(reference / cost * REFERENCE_BATCH[dims])
        all_voxels = voxels * len(self.fingerprint.shapes)
        return max(
            min(fitting, round(all_voxels * MOST_OF_DATASET / prod(made.patch))), LEAST_BATCH
        )

    def _slice(
        self, spacing: Spacing, shape: NDArray[np.float64]
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Spacing and shape of a slice: the median over the views."""
        kept = [_in_plane(view) for view in self.task.views]
        sizes = np.median([[shape[a], shape[b]] for a, b in kept], axis=0)
        edges = np.median([[spacing[a], spacing[b]] for a, b in kept], axis=0)
        return [float(e) for e in edges], np.asarray(sizes)


def _in_plane(view: View) -> tuple[int, int]:
    """Axes that a slice of a view has."""
    first, second = (axis for axis in range(3) if axis != SLICED[view])
    return first, second


def _order(spacing: Spacing) -> list[int]:
    """Axes as nnU-Net sees them, so that ties end alike: thick slices first, then from the last."""
    order = [2, 1, 0]
    worst = int(np.argmax([spacing[a] for a in order]))
    return [order[worst], *order[:worst], *order[worst + 1 :]]


def _permuted(steps: tuple[int, ...], order: NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(int(steps[a]) for a in order)


def _low_resolution(maker: _Maker, full: Plan, shape: NDArray[np.float64]) -> Plan | None:
    """Plan of the first network of a cascade, at a spacing where a patch sees a quarter."""
    finest = np.array(full.spacing_mm)
    spacing, plan, voxels = finest.copy(), full, float(shape.prod())
    while prod(plan.patch) / voxels < LOW_RESOLUTION:
        coarse = spacing.max() / spacing > 2
        spacing = np.where(coarse if coarse.any() else True, spacing * COARSER, spacing)
        exact = finest / spacing * shape
        voxels = float(exact.prod())
        plan = maker.plan((float(spacing[0]), float(spacing[1]), float(spacing[2])), np.rint(exact))
    return None if plan is full or shape.prod() / voxels < 2 else plan

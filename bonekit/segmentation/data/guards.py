"""What stops a data set before hours are spent on it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

import numpy as np

from bonekit.errors import InputError
from bonekit.image import Grid, Image, LabelMap, check_hu, read, read_labels
from bonekit.segmentation.data.prepare import check_channels, check_labels
from bonekit.segmentation.data.resample import target_grid
from bonekit.segmentation.data.subjects import Dataset, Subject
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import SLICED, Channel, Task

logger = logging.getLogger(__name__)
THINNEST = 0.5  # of a patch: less of it than this would be image, the rest padding (our choice)


def check(
    dataset: Dataset, plan: Plan | None = None, progress: Callable[[int], None] | None = None
) -> None:
    """Read every subject and refuse the data set if one is wrong.

    Looked at: channels (missing, on another grid or turned), values (not in HU, outside of the
    channel's range, not finite, all equal), labels (another grid, unknown numbers, nothing there
    in a task whose labels are not all lesions), two subjects of the same images, and, with a plan,
    volumes less than half as thick as the patch.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan, optional
    progress : callable, optional
        Called with the number of subjects done.

    Raises
    ------
    InputError
        One line for each finding of all subjects.
    """
    if plan is not None and plan.orientation != "LPS":
        raise InputError(
            f"the plan is of an imported model whose network sees axes to {plan.orientation}, and "
            "training takes LPS: plan again (bonekit seg plan)"
        )
    found: list[str] = []
    seen: dict[str, str] = {}
    for number, subject in enumerate(dataset.subjects):
        found += _findings(subject, dataset.task, plan, seen)
        if progress is not None:
            progress(number + 1)
    names = [s.name for s in dataset.subjects]
    doubled = sorted({name for name in names if names.count(name) > 1})
    found += [f"{name} occurs more than once: rename or remove one" for name in doubled]
    if not names:
        found = ["there is no subject"]
    if found:
        raise InputError(f"{len(found)} findings stop this data set:\n" + "\n".join(found))


def check_values(image: Image, channel: Channel, name: str) -> None:
    """Refuse an image whose values a channel can't have.

    Raises
    ------
    InputError
        For a CT what `bonekit.image.check_hu` says; else for values that are not finite, all equal
        or outside of the channel's range.
    """
    where = f"{name}, channel {channel.name}"
    if channel.modality == "ct":
        try:
            check_hu(image)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    low, high = float(image.array.min()), float(image.array.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f"{where}: NaN or infinite values; replace them by the background")
    if low == high:
        raise InputError(f"{where}: all voxels are {low:g}; is the file empty, or another one?")
    if channel.values is not None and (low < channel.values[0] or high > channel.values[1]):
        raise InputError(
            f"{where}: values from {low:g} to {high:g}; the task allows {channel.values[0]:g} to "
            f"{channel.values[1]:g}. Is it another image, or in another unit?"
        )


def check_thickness(grid: Grid, task: Task, plan: Plan, name: str) -> None:
    """Refuse a volume that would be mostly padding in a patch; log one that is padded a little.

    Raises
    ------
    InputError
        If along an axis (of all views, where there are several) less than half of the patch is
        image.
    """
    shape = target_grid(grid, plan.spacing_mm).shape
    pieces = [[shape[a] for a in range(3) if a != SLICED.get(view)] for view in task.views]
    shares = [min(n / edge for n, edge in zip(piece, plan.patch, strict=True)) for piece in pieces]
    if max(shares) < THINNEST:
        raise InputError(
            f"{name}: {'x'.join(map(str, shape))} voxels at the plan's spacing are thinner than "
            f"half of the patch {'x'.join(map(str, plan.patch))}. Leave it out, crop the others "
            "alike, or plan again with less memory"
        )
    if max(shares) < 1:
        logger.info("%s is thinner than the patch and will be padded", name)


def _findings(subject: Subject, task: Task, plan: Plan | None, seen: dict[str, str]) -> list[str]:
    """All that is wrong with one subject, in words; `seen` holds the images of those before."""
    try:
        images = [None if path is None else read(path) for path in subject.images]
        labels = None
        if subject.labels is not None:
            labels = read_labels(subject.labels, {v: k for k, v in task.labels.items() if v})
        grid = check_channels(images, task, subject.name)
    except InputError as error:
        message = str(error)
        return [message if message.startswith(subject.name) else f"{subject.name}: {message}"]
    found: list[str] = []
    for channel, image in zip(task.channels, images, strict=True):
        if image is not None:
            found += _said(check_values, image, channel, subject.name)
    if labels is not None:
        found += _said(_check_content, labels, grid, task, subject.name)
    if plan is not None:
        canonical = next(i for i in images if i is not None).canonical().grid
        found += _said(check_thickness, canonical, task, plan, subject.name)
    twin = seen.setdefault(_digest(images), subject.name)
    if twin != subject.name:
        found.append(
            f"{subject.name} has the same images as {twin}: in two folds, a model would be judged "
            "on what it was trained on. Remove one"
        )
    return found


def _said(step: Callable[..., None], *arguments: object) -> list[str]:
    """Return what a check complains of."""
    try:
        step(*arguments)
    except InputError as error:
        return [str(error)]
    return []


def _check_content(labels: LabelMap, grid: Grid, task: Task, name: str) -> None:
    """Labels of the task; empty ones only where a scan without a lesion is a case too."""
    check_labels(labels, grid, task, name)
    lesions_only = set(task.labels) - {"background"} <= set(task.metrics.lesions)
    if not labels.array.any() and not lesions_only:
        raise InputError(f"{name}: the labels are empty; draw them, or leave the subject out")


def _digest(images: Sequence[Image | None]) -> str:
    made = hashlib.blake2b(digest_size=16)
    for image in images:
        made.update(b"-" if image is None else np.ascontiguousarray(image.array).tobytes())
    return made.hexdigest()

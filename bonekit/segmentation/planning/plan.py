"""The shape of a network for one data set: everything that is decided before training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bonekit.part import Part

Steps = tuple[int, ...]
Positive = Annotated[float, Field(gt=0)]


class Statistics(Part):
    """Values of one channel inside the foreground of the whole data set."""

    mean: float
    std: float
    low: float  # 0.5 percentile
    high: float  # 99.5 percentile


class Plan(Part):
    """What a network of a task looks like for one data set.

    Axes are those of the canonical image, for slices the two that a slice has (see `Task.views`);
    there `patch`, `kernels` and `strides` have two numbers each.
    """

    spacing_mm: tuple[Positive, Positive, Positive]
    median_shape: tuple[int, int, int]  # voxels at that spacing
    patch: Steps
    batch: int = Field(ge=1)
    features: Steps  # channels of each stage
    kernels: tuple[Steps, ...]  # of each stage
    strides: tuple[Steps, ...]  # of each stage; the first is 1
    statistics: tuple[Statistics, ...]  # of each channel
    inside_nonzero: bool = False  # z-scores are taken where the image is not zero
    memory_GB: Positive = 8.0
    low_resolution: Plan | None = None  # first network of a cascade

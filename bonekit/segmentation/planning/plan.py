"""The shape of a network for one data set: everything that is decided before training."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bonekit.part import Part

Steps = tuple[int, ...]
Positive = Annotated[float, Field(gt=0)]


class Statistics(Part):
    """Values of one channel inside the foreground of the whole data set."""

    mean: float
    std: float
    low: float = Field(description="0.5 percentile.")
    high: float = Field(description="99.5 percentile.")


class Plan(Part):
    """What a network of a task looks like for one data set.

    Axes are those of the canonical image, for slices the two that a slice has (see `Task.views`);
    there `patch`, `kernels` and `strides` have two numbers each.
    """

    spacing_mm: tuple[Positive, Positive, Positive]
    median_shape: tuple[int, int, int] = Field(description="Voxels at that spacing.")
    patch: Steps
    batch: int = Field(ge=1)
    features: Steps = Field(description="Channels of each stage.")
    kernels: tuple[Steps, ...] = Field(description="Of each stage.")
    strides: tuple[Steps, ...] = Field(description="Of each stage; the first is 1.")
    statistics: tuple[Statistics, ...] = Field(description="Of each channel.")
    inside_nonzero: bool = Field(
        default=False, description="Z-scores are taken where the image is not zero."
    )
    memory_GB: Positive = 8.0
    orientation: str = Field(
        default="LPS",
        pattern="^[LR][PA][SI]$",
        description="Where the axes that the network sees point to; another than LPS is that of an "
        "imported model, whose images are turned for it.",
    )
    average: Literal["probabilities", "logits"] = Field(
        default="probabilities",
        description="What of tiles, mirror images and folds is averaged; logits in nnU-Net, whose "
        "imported models keep to that.",
    )
    low_resolution: Plan | None = Field(
        default=None, description="Of the first network of a cascade."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        """Refuse stages that don't fit together, as a hand-written plan may have."""
        if not len(self.features) == len(self.kernels) == len(self.strides) > 0:
            raise ValueError("features, kernels and strides must have one entry for each stage")
        dims = len(self.patch)
        if dims not in (2, 3) or any(len(s) != dims for s in (*self.kernels, *self.strides)):
            raise ValueError("patch, kernels and strides must have two or three numbers each")
        if self.strides[0] != (1,) * dims:
            raise ValueError("the first stage has strides of 1")
        products = [prod(steps) for steps in zip(*self.strides, strict=True)]
        if any(n < 1 or n % d for n, d in zip(self.patch, products, strict=True)):
            raise ValueError(f"patch {self.patch} must be a multiple of all strides, {products}")
        return self

"""What is to be segmented, in one file: channels, labels, network, views, loss, metrics.

A task is the only description that planning, training, prediction and evaluation read. Axes are
those of the canonical image (`bonekit.image.Image.canonical`): first to the left, second to the
back, third to the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bonekit.part import Part

Modality = Literal["ct", "mri", "ultrasound", "map"]
Normalisation = Literal["ct", "zscore", "rescale", "none"]
Network = Literal["dynunet", "vnet", "segresnet", "mednext", "ahnet", "unext", "gelan"]
Norm = Literal["instance", "batch", "group"]
View = Literal["volume", "sagittal", "coronal", "axial"]
Loss = Literal["dice_ce", "dice_focal", "tversky", "unified_focal"]
Fusion = Literal["mean", "log_pool", "entropy", "majority"]

SLICED: Mapping[View, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # axis across the slices
Positive = Annotated[float, Field(gt=0)]


class Channel(Part):
    """One image of a subject.

    ``ct`` normalisation, of images in a unit, clips to the foreground's 0.5 and 99.5 percentile in
    the data set and takes its mean and deviation; ``zscore`` takes those of each image;
    ``rescale`` maps `values` to 0..1 (nnU-Net: Isensee et al., Nature Methods 18:203, 2021).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    modality: Modality
    normalisation: Normalisation
    values: tuple[float, float] | None = Field(
        default=None, description="Raw values outside of these stop the work."
    )
    optional: bool = Field(
        default=False,
        description="May be absent; left out now and then in training, so that it may.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        """Refuse a normalisation that the channel can't have."""
        if self.values is not None and not self.values[0] < self.values[1]:
            raise ValueError(f"values must rise, found {list(self.values)}")
        if self.normalisation == "rescale" and self.values is None:
            raise ValueError("rescale needs the values that become 0 and 1")
        if self.normalisation == "ct" and self.modality not in ("ct", "map"):
            raise ValueError("ct normalisation is for modality ct and map: others have no unit")
        return self


class Clean(Part):
    """What is done to a predicted label, in this order."""

    label: str
    keep_largest: bool = False
    fill_holes: bool = False
    least_ml: float = Field(default=0.0, ge=0, description="Smaller pieces are taken away.")


class Metrics(Part):
    """How predictions of the task are judged."""

    tolerance_mm: Positive = Field(default=1.0, description="Of the normalised surface distance.")
    lesions: tuple[str, ...] = Field(
        default=(), description="Labels that are counted piece by piece."
    )
    least_lesion_mm3: float = Field(
        default=3.0, ge=0, description="Smaller pieces don't count (3 mm3: MSSEG-2)."
    )


class Task(Part):
    """What is to be segmented: the one description of data, network, loss and metrics."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    channels: tuple[Channel, ...] = Field(min_length=1)
    labels: dict[str, int] = Field(
        description="`background: 0` and whole numbers from 1 without a gap."
    )
    regions: dict[str, tuple[str, ...]] | None = Field(
        default=None,
        description="Overlapping outputs, each the union of labels; the network then gives one "
        "sigmoid for each.",
    )
    region_order: tuple[str, ...] | None = Field(
        default=None,
        description="The label that is written for each region; where regions overlap the last "
        "one is on top.",
    )
    spacing_mm: tuple[Positive, Positive, Positive] | None = Field(
        default=None, description="To the left, back and head; by default planned from the data."
    )
    network: Network = "dynunet"
    norm: Norm = "instance"
    views: tuple[View, ...] = Field(
        default=("volume",),
        description="`volume` for a network in three dimensions; one or more planes for one "
        "network of slices that all planes share.",
    )
    fusion: Fusion = Field(default="entropy", description="How the views are put together.")
    loss: Loss = "dice_ce"
    mirror: tuple[Literal[0, 1, 2], ...] = Field(
        default=(0, 1, 2),
        description="Axes that may be mirrored: 0 left to right, 1 front to back, 2 foot to head.",
    )
    clean: tuple[Clean, ...] = ()
    metrics: Metrics = Metrics()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        """Refuse names and numbers that contradict each other."""
        _check_labels(self.labels)
        if len({c.name for c in self.channels}) < len(self.channels):
            raise ValueError("two channels have the same name")
        if len(set(self.views)) < len(self.views) or not self.views:
            raise ValueError("views must name each view once, and at least one")
        if "volume" in self.views and len(self.views) > 1:
            raise ValueError("views are either 'volume' or planes: these are two networks")
        named = [c.label for c in self.clean] + list(self.metrics.lesions)
        named += [one for region in (self.regions or {}).values() for one in region]
        named += list(self.region_order or ())
        if unknown := sorted(set(named) - set(self.labels)):
            raise ValueError(f"{', '.join(unknown)}: not among the labels {', '.join(self.labels)}")
        if "background" in named:
            raise ValueError("background is what is left: no region, no clean-up, no lesion")
        if (self.regions is None) != (self.region_order is None):
            raise ValueError("regions need region_order, and region_order regions")
        if self.regions is not None:
            _check_regions(self.regions, self.region_order or (), self.labels)
        return self

    @property
    def dims(self) -> Literal[2, 3]:
        """Dimensions of the network."""
        return 3 if "volume" in self.views else 2

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's output channels: all labels, or the regions."""
        if self.regions is not None:
            return tuple(self.regions)
        return tuple(sorted(self.labels, key=self.labels.__getitem__))

    def numbers(self, output: str) -> tuple[int, ...]:
        """Numbers of the labels that make an output."""
        names = (output,) if self.regions is None else self.regions[output]
        return tuple(self.labels[name] for name in names)

    @property
    def exclusive(self) -> bool:
        """Whether outputs exclude each other (softmax) or overlap (sigmoid)."""
        return self.regions is None


def _check_regions(
    regions: Mapping[str, tuple[str, ...]], order: tuple[str, ...], labels: Mapping[str, int]
) -> None:
    """Ask for regions from which the labels can be written again."""
    if len(regions) != len(order):
        raise ValueError("region_order must name one label per region")
    for (name, parts), label in zip(regions.items(), order, strict=True):
        if label not in parts:
            raise ValueError(f"region {name} is written as {label}, which is no part of it")
    if lost := set(labels) - {"background"} - set(order):
        raise ValueError(f"region_order never writes {', '.join(sorted(lost))}")


def _check_labels(labels: Mapping[str, int]) -> None:
    """Ask for background 0 and numbers without a gap."""
    if labels.get("background") != 0:
        raise ValueError("labels must hold 'background: 0'")
    if sorted(labels.values()) != list(range(len(labels))) or len(labels) < 2:
        raise ValueError(
            f"labels must be 0, 1, 2 ... without a gap, found {sorted(labels.values())}"
        )

"""What may be chosen when a model predicts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bonekit.part import Part
from bonekit.segmentation.task import Fusion, View

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class PredictSettings(Part):
    """How a model predicts; the defaults suit a laptop.

    Parameters
    ----------
    overlap : float
        Of neighbouring tiles (nnU-Net takes 0.5).
    whole : bool
        One tile over the whole volume (or slice): for small images and enough memory.
    views : tuple of View, optional
        Some of the planes that a network of slices was trained on; by default all of the task's.
    fusion : Fusion, optional
        How planes are joined; by default as the task says.
    mirror : bool
        Average over mirrored images, along the axes that the task allows.
    dropout : int
        Passes with dropout switched on to average over (Monte-Carlo dropout); 0 is one without.
    samples : int
        Label maps drawn from the probabilities, for the uncertainty of what is computed next.
    correlation_mm : float
        Length over which drawn label maps err in the same direction.
    probabilities : bool
        Keep those of every output on the native grid (float32: needs memory).
    batch : int
        Tiles that go through the network together.
    slab_MB : float
        Memory of the slices that are finished together, for each view.
    """

    overlap: float = Field(default=0.5, ge=0, le=0.9)
    whole: bool = False
    views: tuple[View, ...] | None = None
    fusion: Fusion | None = None
    mirror: bool = False
    dropout: Count = 0
    samples: Count = 0
    correlation_mm: Positive = 5.0
    probabilities: bool = False
    batch: int = Field(default=2, ge=1)
    slab_MB: Positive = 64.0
    seed: Count = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"

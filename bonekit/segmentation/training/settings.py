"""How a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bonekit.part import Part

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

# What may differ between the start of a training and its continuation: none of it changes what
# is learned, but `minutes`, which is there to cut a training short.
FREE = ("minutes", "device", "workers", "save_seconds")


class TrainSettings(Part):
    """How a network is trained. The defaults are nnU-Net's, 1000 epochs of 250 steps.

    Parameters
    ----------
    steps : int
        Updates of the weights.
    batch : int, optional
        Patches of a step, over all processes; by default the plan's.
    learning_rate : float, optional
        By default 0.01 for SGD and 0.001 for AdamW. It falls to zero as
        ``(1 - progress) ** 0.9``.
    optimiser : {'auto', 'sgd', 'adamw'}
        ``auto``: AdamW for unext, mednext and gelan, SGD with Nesterov momentum 0.99 for others.
    ema : float
        Decay of the running mean of the weights, which is what a model keeps; 0 for none.
    every : int
        Steps of a round: after each, validation, history and picture.
    validation_batches : int
        Batches of validation, the same in each round.
    patience : int, optional
        Rounds without a better Dice after which training stops; by default it doesn't.
    minutes : float, optional
        Time limit over all continuations. The learning rate then falls with time too, so that
        two trainings with a limit are not bit by bit the same.
    lesion_share : float, optional
        Of patches around a lesion (`Task.metrics`); by default 2/3 for slices, 1/3 for volumes.
    foreground_share : float
        Of other patches around a voxel of a random label.
    channel_dropout : float
        How often an optional channel is left out; one channel always stays.
    workers : int
        Threads that make batches; 0 makes them between the steps.
    save_seconds : float
        Between states that a killed training is taken up from.
    """

    steps: Count = 250_000
    batch: Count | None = None
    learning_rate: Positive | None = None
    optimiser: Literal["auto", "sgd", "adamw"] = "auto"
    weight_decay: Annotated[float, Field(ge=0)] = 3e-5
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    every: Count = 250
    validation_batches: Count = 10
    patience: Count | None = None
    minutes: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 12345
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = True
    deterministic: bool = False
    augment: bool = True
    lesion_share: Share | None = None
    foreground_share: Share = 1 / 3
    channel_dropout: Share = 0.25
    workers: Annotated[int, Field(ge=0)] = 0
    save_seconds: Annotated[float, Field(ge=0)] = 300.0

"""What a training must not lose when it is killed, and how it comes back."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task
from bonekit.segmentation.training.machine import Machine
from bonekit.segmentation.training.settings import FREE, TrainSettings

STATE = "training.state"  # torch.save of plain tensors and numbers, read with weights_only
Weights = dict[str, Tensor]


@dataclass
class Progress:
    """Where a training is. The only object here that changes.

    Parameters
    ----------
    step : int
        Updates made.
    seconds : float
        Spent, over all continuations.
    mean : dict of str to Tensor
        Running mean of the weights.
    best : dict of str to Tensor, optional
        The mean of the round with the best Dice in validation.
    best_dice : float
    best_step : int
    losses : list of float
        Since the last round.
    history : list of dict
        One row for each round.
    stopped : str
        Why training ended; empty while it goes on.
    """

    mean: Weights
    step: int = 0
    seconds: float = 0.0
    best: Weights | None = None
    best_dice: float = -1.0
    best_step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


def key(task: Task, plan: Plan, settings: TrainSettings, subjects: Sequence[str]) -> str:
    """Hash of all that a training must have in common with its continuation."""
    fixed = settings.model_dump(mode="json", exclude=set(FREE))
    parts = [task.model_dump(mode="json"), plan.model_dump(mode="json"), fixed, list(subjects)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(folder: Path, made_of: str, machine: Machine, progress: Progress) -> None:
    """Write the state; one that is there is replaced when the new one is whole.

    Raises
    ------
    InputError
        If it can't be written, for example on a full disk. The earlier state is still there.
    """
    content = {
        "key": made_of,
        "network": machine.network.state_dict(),
        "optimiser": machine.optimiser.state_dict(),
        "scaler": machine.scaler.state_dict(),
        "progress": vars(progress),
    }
    try:
        with replacing(folder / STATE) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch gives the latter on a full disk
        raise InputError(
            f"the state of the training can't be written to {folder} at step {progress.step}: "
            f"{error}. Free space and run the same command again: it goes on from the last state"
        ) from error


def load(folder: Path, made_of: str, machine: Machine, device: torch.device) -> Progress | None:
    """Bring back the state of a killed training.

    Returns
    -------
    Progress, or None if the folder holds no state.

    Raises
    ------
    InputError
        If the state is of a training with another task, plan, setting or subject, or damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} can't be read ({error}); delete it to start the training again"
        ) from error
    if content["key"] != made_of:
        raise InputError(
            f"{path} is of a training with another task, plan, settings or subjects. Go on with "
            f"the same ones (free are {', '.join(FREE)}), or take an empty folder"
        )
    try:
        machine.network.load_state_dict(content["network"])
        machine.optimiser.load_state_dict(content["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{path} is of an earlier version of bonekit, whose networks were built otherwise "
            f"({error}). Finish the training with that version, or delete it to start again"
        ) from error
    machine.scaler.load_state_dict(content["scaler"])
    return Progress(**{**content["progress"], "stopped": ""})  # settings may now allow more

"""The network of a training and its optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.networks import Network, build
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.weights import take_weights

ADAMW = ("unext", "mednext", "gelan")


@dataclass(frozen=True, eq=False)
class Machine:
    """What is trained, and with what.

    Parameters
    ----------
    network : Network
    optimiser : Optimizer
    scaler : GradScaler
        Of half precision; does nothing on a CPU.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def make_machine(
    task: Task,
    plan: Plan,
    settings: TrainSettings,
    device: torch.device,
    start: str | Path | None = None,
) -> Machine:
    """Build a network, with random weights by the seed or those of a model, and its optimiser.

    Raises
    ------
    InputError
        If the model can't be loaded or its weights don't fit.
    """
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.deterministic = settings.deterministic
    torch.backends.cudnn.benchmark = not settings.deterministic
    network = build(task, plan, auxiliary=True)
    if start is not None:
        model = load_model(start, allow_demo=True)
        take_weights(network, model.weights[0], str(start))
    network.to(device)
    half = settings.amp and device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    return Machine(network, _optimiser(network, task, settings), scaler)


def _optimiser(network: Network, task: Task, settings: TrainSettings) -> torch.optim.Optimizer:
    by_network = "adamw" if task.network in ADAMW else "sgd"
    kind = by_network if settings.optimiser == "auto" else settings.optimiser
    rate = settings.learning_rate or (1e-3 if kind == "adamw" else 1e-2)
    groups = [{"params": list(network.parameters()), "lr": rate, "initial_lr": rate}]
    decay = settings.weight_decay
    if kind == "adamw":
        return torch.optim.AdamW(groups, rate, weight_decay=decay)
    return torch.optim.SGD(groups, rate, momentum=0.99, nesterov=True, weight_decay=decay)

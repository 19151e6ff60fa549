"""Probabilities (or logits) of tiles: folds, mirror images and dropout passes, averaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, combinations

import torch
from torch import nn

from bonekit.errors import InputError
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.models.folder import Model
from bonekit.segmentation.networks import build
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The networks of a model and how often each looks at a tile.

    Parameters
    ----------
    networks : tuple of Module
        One for each fold.
    axis : int, optional
        Across the slices, for networks of two dimensions.
    mirrored : tuple of tuples of int
        Axes of the image to mirror, in every combination to average over.
    dropout : int
        Passes with dropout; 0 is one pass without.
    """

    networks: tuple[nn.Module, ...]
    task: Task
    axis: int | None
    mirrored: tuple[tuple[int, ...], ...]
    dropout: int
    seed: int
    device: torch.device
    logits: bool = False  # averaged in the place of probabilities

    @torch.inference_mode()
    def __call__(self, tiles: torch.Tensor, number: int) -> torch.Tensor:
        """Mean of tiles, (batch, channels, ti, tj, tk) -> (batch, outputs, ...)."""
        tiles = tiles.to(self.device)
        total = torch.zeros((len(tiles), len(self.task.outputs), *tiles.shape[2:]))
        passes = 0
        for fold, network in enumerate(self.networks):
            for draw in range(max(self.dropout, 1)):
                # Own numbers for every batch: a resumed prediction draws the same.
                with _dropout(network, self.dropout, hash((self.seed, number, fold, draw))):
                    for axes in self.mirrored:
                        total += self._once(network, tiles, axes).cpu()
                        passes += 1
        return total / passes

    def _once(self, network: nn.Module, tiles: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        dims = [2 + axis for axis in axes]
        turned = tiles.flip(dims) if dims else tiles
        if self.axis is None:
            logits = network(turned)
        else:
            logits = network(turned.squeeze(2 + self.axis)).unsqueeze(2 + self.axis)
        found = logits.float() if self.logits else activate(logits.float(), self.task)
        back: torch.Tensor = found.flip(dims) if dims else found
        return back


def activate(logits: torch.Tensor, task: Task) -> torch.Tensor:
    """Probabilities of logits, (n, outputs, ...)."""
    return logits.softmax(1) if task.exclusive else logits.sigmoid()


def load_networks(model: Model, device: torch.device) -> tuple[nn.Module, ...]:
    """Build the network of each fold and give it its weights.

    Raises
    ------
    InputError
        If the weights are not those of the network that task and plan describe.
    """
    networks = []
    for state in model.weights:
        with torch.random.fork_rng(devices=[]):  # its first weights are random, then replaced
            network = build(model.task, model.plan)
        try:
            network.load_state_dict(dict(state), strict=True)
        except RuntimeError as error:
            raise InputError(
                f"the weights in {model.path or 'this model'} do not fit the network "
                f"{model.task.network!r} of its task and plan: {str(error)[:300]}. "
                "Use the files of one model together"
            ) from error
        networks.append(network.to(device).eval())
    return tuple(networks)


def ensemble(
    networks: tuple[nn.Module, ...],
    task: Task,
    axis: int | None,
    settings: PredictSettings,
    plan: Plan,
) -> Ensemble:
    """Compose the passes of one view.

    Raises
    ------
    InputError
        If dropout is asked of a network that has none.
    """
    if settings.dropout and not any(_layers(network) for network in networks):
        raise InputError(
            f"dropout={settings.dropout}, but the network {task.network!r} has no dropout layer; "
            "use mirror, several folds, or train with dropout"
        )
    axes = [a for a in task.mirror if a != axis] if settings.mirror else []
    every = chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1))
    turned = {
        a
        for a, (one, usual) in enumerate(zip(plan.orientation, "LPS", strict=True))
        if one != usual
    }
    passes = tuple(tuple(sorted(turned ^ set(flips))) for flips in every)
    device = device_of(settings)
    logits = plan.average == "logits"
    return Ensemble(networks, task, axis, passes, settings.dropout, settings.seed, device, logits)


def device_of(settings: PredictSettings) -> torch.device:
    """Device to compute on.

    Raises
    ------
    InputError
        If a GPU is asked for and there is none.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but torch finds no GPU; use 'auto' or 'cpu'")
    wanted = "cuda" if settings.device == "auto" and torch.cuda.is_available() else settings.device
    return torch.device("cpu" if wanted == "auto" else wanted)


def _layers(network: nn.Module) -> list[nn.Module]:
    found = [m for m in network.modules() if isinstance(m, DROPOUTS)]
    return [m for m in found if getattr(m, "p", 0.0) > 0.0]


@contextmanager
def _dropout(network: nn.Module, passes: int, seed: int) -> Iterator[None]:
    """Switch dropout on and draw from a seed, then put everything back."""
    if not passes:
        yield
        return
    layers = _layers(network)
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed % 2**63)
        try:
            for layer in layers:
                layer.train()
            yield
        finally:
            for layer in layers:
                layer.eval()

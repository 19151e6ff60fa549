"""The loop of a training: step, round, state."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bonekit.errors import ConvergenceError, InputError
from bonekit.figures.learning import learning_curves
from bonekit.image.writing import replacing
from bonekit.segmentation.data.prepare import Prepared
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task
from bonekit.segmentation.training import state
from bonekit.segmentation.training.batches import Batch, Source, batches
from bonekit.segmentation.training.losses import make_loss
from bonekit.segmentation.training.machine import Machine
from bonekit.segmentation.training.processes import Place
from bonekit.segmentation.training.sampling import make_pool
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.state import Progress
from bonekit.segmentation.training.validate import validate
from bonekit.segmentation.training.weights import update_mean

Report = Callable[[int, int, float], None]  # step, steps, loss
CLIP = 12.0  # largest norm of a gradient, as in nnU-Net
POWER = 0.9  # of the falling learning rate, as in nnU-Net
GAIN = 1e-4  # of Dice that counts as better


@dataclass(eq=False)
class Run:
    """One training.

    Parameters
    ----------
    task : Task
    plan : Plan
    settings : TrainSettings
    here : Place
    machine : Machine
    now : Progress
    folder : Path
    made_of : str
        `state.key` of the training.
    """

    task: Task
    plan: Plan
    settings: TrainSettings
    here: Place
    machine: Machine
    now: Progress
    folder: Path
    made_of: str

    def __post_init__(self) -> None:
        self.loss = make_loss(self.task)
        self.network = self.here.wrap(self.machine.network)
        self.saved = self.now.step

    def source(self, subjects: Sequence[Prepared]) -> Source:
        """Return where batches come from."""
        network, settings, here = self.machine.network, self.settings, self.here
        batch = settings.batch or self.plan.batch
        if batch < here.processes:
            raise InputError(
                f"{here.processes} processes share batches of {batch} patches: set `batch` to at "
                "least one for each"
            )
        pool = make_pool(subjects, self.task, settings.seed)
        patch = network.fit(self.plan.patch)
        return Source(pool, self.task, patch, batch, settings, here.rank, here.processes)

    def loop(self, training: Source, validation: Source | None, report: Report | None) -> None:
        """Train until the steps, the time or the patience are used up."""
        now, settings = self.now, self.settings
        begun = time.monotonic() - now.seconds
        written = time.monotonic()
        with closing(batches(training, now.step)) as coming:
            while not self._over():
                now.seconds = self.here.agree(time.monotonic() - begun)
                loss = self._step(next(coming))
                now.step += 1
                now.losses.append(loss)
                update_mean(now.mean, self.machine.network, settings.ema, now.step)
                if report is not None and self.here.first:
                    report(now.step, settings.steps, loss)
                if now.step % settings.every == 0 or now.step == settings.steps:
                    self._round(validation)
                    self._save()
                    written = time.monotonic()
                elif time.monotonic() - written > settings.save_seconds:
                    self._save()
                    written = time.monotonic()
        if now.losses:  # the time ran out within a round
            self._round(validation)
        self._save()

    def _over(self) -> bool:
        now, settings = self.now, self.settings
        waited = (now.step - now.best_step) // settings.every
        if now.stopped:
            return True
        if now.step >= settings.steps:
            now.stopped = "all steps were made"
        elif settings.minutes is not None and now.seconds >= 60 * settings.minutes:
            now.stopped = "the time was used up"
        elif settings.patience is not None and now.best and waited >= settings.patience:
            now.stopped = f"no better Dice for {settings.patience} rounds"
        return bool(now.stopped)

    def _step(self, batch: Batch) -> float:
        """Update the weights once; nothing is changed where loss or gradient are not finite."""
        machine, device = self.machine, self.here.device
        torch.manual_seed(self.settings.seed + 1_000_003 * (self.now.step + 1) + self.here.rank)
        self._set_rate()
        self._check("the image", batch.images.sum(), batch)
        self.network.train()
        with torch.autocast(device.type, enabled=machine.scaler.is_enabled()):
            logits = self.network(batch.images.to(device))
        loss: Tensor = self.loss(logits, batch.labels.to(device))
        self._check("the loss", loss, batch)
        machine.optimiser.zero_grad(set_to_none=True)
        machine.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        machine.scaler.unscale_(machine.optimiser)
        norm = nn.utils.clip_grad_norm_(machine.network.parameters(), CLIP)
        if not machine.scaler.is_enabled():  # the scaler leaves such steps out by itself
            self._check("the gradient", norm, batch)
        machine.scaler.step(machine.optimiser)
        machine.scaler.update()
        return loss.item()

    def _check(self, what: str, value: Tensor, batch: Batch) -> None:
        if torch.isfinite(value):
            return
        kept = f"the state of step {self.saved} is" if self.saved else "no state was written"
        raise ConvergenceError(
            f"step {self.now.step + 1}: {what} is {value.item()} on patches of "
            f"{', '.join(sorted(set(batch.subjects)))}; {kept} in {self.folder}. Look at these "
            "images for NaN and wild values, or take a lower learning rate in another folder"
        )

    def _set_rate(self) -> None:
        now, settings = self.now, self.settings
        done = now.step / settings.steps
        if settings.minutes is not None:
            done = max(done, now.seconds / (60 * settings.minutes))
        for group in self.machine.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * max(1 - done, 0.0) ** POWER

    def _round(self, validation: Source | None) -> None:
        """Validate, note the round, keep the best weights."""
        now = self.now
        row: dict[str, Any] = {
            "step": now.step,
            "seconds": round(now.seconds, 1),
            "learning_rate": self.machine.optimiser.param_groups[0]["lr"],
            "loss": math.fsum(now.losses) / len(now.losses),
        }
        dice = -1.0
        if validation is not None and self.here.first:
            scores = validate(self.task, self.plan, now.mean, validation, self.here.device)
            known = [d for d in scores.dice.values() if d is not None]
            dice = sum(known) / len(known) if known else 0.0
            row |= {"validation_loss": scores.loss, "dice": dict(scores.dice), "mean_dice": dice}
        dice = self.here.agree(dice)
        if validation is not None and dice > now.best_dice + GAIN:
            now.best_dice, now.best_step = dice, now.step
            now.best = {name: value.clone() for name, value in now.mean.items()}
        now.losses.clear()
        now.history.append(row)
        self._show()

    def _save(self) -> None:
        if self.here.first:
            state.save(self.folder, self.made_of, self.machine, self.now)
        self.saved = self.now.step

    def _show(self) -> None:
        """Write history and picture."""
        if not self.here.first:
            return
        with replacing(self.folder / "history.jsonl") as temporary:
            text = "".join(json.dumps(row) + "\n" for row in self.now.history)
            temporary.write_text(text, encoding="utf-8")
        with replacing(self.folder / "curves.png") as temporary:
            temporary.write_bytes(learning_curves(self.now.history))

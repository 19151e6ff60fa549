"""A trained model on disk: weights, task, plan and card, each with its hash.

``model.json`` seals a folder: it is written last and holds the SHA-256 of every other file.
Weights are safetensors, which can't run code when they are loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

import safetensors
import torch
import yaml
from pydantic import BaseModel, Field, ValidationError
from safetensors.torch import load_file, save_file

from bonekit import __version__
from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.part import Part
from bonekit.segmentation.models.card import SYNTHETIC, Card, render
from bonekit.segmentation.planning.plan import Plan
from bonekit.segmentation.task import Task

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=Part)
Weights = Mapping[str, torch.Tensor]
SEAL = "model.json"
PICKLES = ("*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.model", "*.bin")


class Seal(Part):
    """Content of ``model.json``."""

    sha256: dict[str, str]  # name of a file -> its hash
    versions: dict[str, str]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    card: Card


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, ready to predict.

    Parameters
    ----------
    task : Task
    plan : Plan
    weights : tuple of mappings of str to Tensor
        State of the network of each fold.
    temperature : float
        Calibrated probabilities are ``softmax(log(p) / temperature)``.
    card : Card
    path : Path, optional
        The folder it came from.
    allow_demo : bool
        Whether weights trained on synthetic images may predict a DICOM image.
    """

    task: Task
    plan: Plan
    weights: tuple[Weights, ...]
    card: Card
    temperature: float = 1.0
    path: Path | None = None
    allow_demo: bool = False


def save_model(
    folder: str | Path,
    task: Task,
    plan: Plan,
    weights: Weights | Sequence[Weights],
    card: Card,
    *,
    temperature: float = 1.0,
) -> Path:
    """Write a model; what a folder held of an earlier one is replaced.

    Parameters
    ----------
    folder : str or Path
        Made if absent; other files in it are left.
    weights : state dict, or a sequence of state dicts
        One: ``weights.safetensors``; several: ``weights_fold0.safetensors`` and so on.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If there are no weights or some are not finite.
    """
    states = (weights,) if isinstance(weights, Mapping) else tuple(weights)
    names = _weight_names(len(states))
    for state, name in zip(states, names, strict=True):
        _check_finite(state, name)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / SEAL).unlink(missing_ok=True)  # a folder without its seal does not load
    for old in target.glob("weights*.safetensors"):
        old.unlink()
    _write(target / "task.yaml", yaml.safe_dump(_content(task), sort_keys=False))
    _write(target / "plan.json", json.dumps(_content(plan), indent=1))
    _write(target / "card.md", render(card, task))
    for state, name in zip(states, names, strict=True):
        _write_weights(target / name, state, task)
    files = ("task.yaml", "plan.json", "card.md", *names)
    seal = Seal(
        sha256={name: sha256(target / name) for name in files},
        versions={"bonekit": __version__, "torch": torch.__version__, **_system()},
        temperature=temperature,
        card=card,
    )
    _write(target / SEAL, json.dumps(_content(seal), indent=1))
    return target


def load_model(folder: str | Path, *, allow_demo: bool = False) -> Model:
    """Read a model and check every file against its hash.

    Parameters
    ----------
    folder : str or Path
    allow_demo : bool
        Let weights trained on synthetic images predict DICOM images all the same.

    Raises
    ------
    InputError
        If a file is missing, changed, belongs to another task, or is no safetensors file.
    """
    source = Path(folder)
    seal = _seal(source)
    for name, known in seal.sha256.items():
        _check_file(source / name, known)
    task, plan = read_task(source / "task.yaml"), read_plan(source / "plan.json")
    names = sorted((n for n in seal.sha256 if n.endswith(".safetensors")), key=_fold)
    if not names:
        raise InputError(f"{source / SEAL} names no weights; train or export the model again")
    if seal.card.synthetic:
        _say_once(str(source.resolve()))
    return Model(
        task=task,
        plan=plan,
        weights=tuple(_read_weights(source / name, task) for name in names),
        card=seal.card,
        temperature=seal.temperature,
        path=source,
        allow_demo=allow_demo,
    )


def set_temperature(folder: str | Path, temperature: float) -> Path:
    """Note a calibration (`inference.temperature.fit`) in the folder of a model."""
    return _reseal(folder, {"temperature": temperature})


def set_card(folder: str | Path, card: Card) -> Path:
    """Give a model another card, for example with the metrics of its evaluation."""
    source = Path(folder)
    seal = _seal(source)
    task = read_task(source / "task.yaml")
    _write(source / "card.md", render(card, task))
    hashes = {**seal.sha256, "card.md": sha256(source / "card.md")}
    return _reseal(folder, {"card": card, "sha256": hashes})


def fingerprint(model: Model) -> str:
    """Hash of all that decides what a model predicts: task, plan, weights, temperature."""
    digest = hashlib.sha256()
    for part in (model.task, model.plan):
        digest.update(json.dumps(_content(part), sort_keys=True).encode())
    digest.update(repr(model.temperature).encode())
    for state in model.weights:
        for name in sorted(state):
            digest.update(name.encode())
            flat = state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


def read_task(path: Path) -> Task:
    """Read ``task.yaml`` of a model."""
    return _parse(Task, path)


def read_plan(path: Path) -> Plan:
    """Read ``plan.json`` of a model."""
    return _parse(Plan, path)


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(part: BaseModel) -> dict[str, object]:
    return part.model_dump(mode="json", exclude_none=True)


def _weight_names(folds: int) -> tuple[str, ...]:
    if folds == 0:
        raise InputError("a model needs the weights of at least one fold")
    if folds == 1:
        return ("weights.safetensors",)
    return tuple(f"weights_fold{fold}.safetensors" for fold in range(folds))


def _fold(name: str) -> tuple[int, str]:
    return len(name), name  # fold 10 after fold 9


def _system() -> dict[str, str]:
    return {"python": platform.python_version(), "platform": platform.platform()}


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_weights(path: Path, state: Weights, task: Task) -> None:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with replacing(path) as temporary:
        # One entry only: safetensors writes several in no fixed order, and the hash would differ.
        save_file(tensors, temporary, metadata={"task": _task_key(task)})


def _task_key(task: Task) -> str:
    text = json.dumps(_content(task), sort_keys=True)
    return f"{task.name} {hashlib.sha256(text.encode()).hexdigest()}"


def _read_weights(path: Path, task: Task) -> Weights:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("task", "unknown")
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is no safetensors file ({error}). Pickled weights are never loaded, because "
            "they can run code: export the state dict with safetensors.torch.save_file"
        ) from error
    if found != _task_key(task):
        raise InputError(
            f"{path} holds weights of another task: {found.split(' ')[0]!r} (or another version "
            f"of it), where task.yaml describes {task.name!r}. Put the files of one model together"
        )
    return tensors


def _check_finite(state: Weights, name: str) -> None:
    bad = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise InputError(
            f"{name}: {len(bad)} tensors hold NaN or infinity, first {bad[0]}; allowed are finite "
            "weights. Training diverged: take an earlier state or a lower learning rate"
        )


def _seal(source: Path) -> Seal:
    path = source / SEAL
    if path.is_file():
        return _parse(Seal, path)
    if not source.is_dir():
        raise InputError(f"no model folder at {source}")
    pickles = sorted(p.name for pattern in PICKLES for p in source.glob(pattern))
    if pickles:
        raise InputError(
            f"{source} holds pickled weights ({', '.join(pickles)}), which can run code when they "
            "are loaded; bonekit loads safetensors only. Convert results of nnU-Net with "
            "`bonekit seg import`, other weights with safetensors.torch.save_file and "
            "bonekit.segmentation.models.folder.save_model"
        )
    raise InputError(
        f"{source} is no finished model: {SEAL} is missing. Copy the whole folder, or let the "
        "training finish"
    )


def _check_file(path: Path, known: str) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing; copy the whole model folder")
    found = sha256(path)
    if found != known:
        raise InputError(
            f"{path} was changed or damaged: its SHA-256 is {found[:12]}..., {SEAL} says "
            f"{known[:12]}... Copy the model again from its source"
        )


def _parse(kind: type[P], path: Path) -> P:
    try:
        return kind.model_validate_json(json.dumps(yaml.safe_load(path.read_bytes())))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as {kind.__name__.lower()}: {error}") from error


def _reseal(folder: str | Path, update: dict[str, object]) -> Path:
    source = Path(folder)
    seal = _seal(source)
    try:
        changed = Seal.model_validate({**dict(seal), **update})
    except ValidationError as error:
        raise InputError(f"{source / SEAL}: {error}") from error
    _write(source / SEAL, json.dumps(_content(changed), indent=1))
    return source


@cache
def _say_once(path: str) -> None:
    logger.warning("%s: %s", path, SYNTHETIC)

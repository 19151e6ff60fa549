"""Training, prediction and evaluation, killed by SIGKILL: run again, the result is the same.

Each is killed in a process of its own, where no handler and no `finally` runs, at places where it
hurts: within a step, a slab, a subject, and while a file is being written.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bonekit.image import Grid, Image, LabelMap, write
from bonekit.segmentation.data.subjects import Subject
from bonekit.segmentation.evaluation import Pair, write_report
from bonekit.segmentation.evaluation.report import plain
from bonekit.segmentation.inference import PredictSettings
from bonekit.segmentation.models.card import Card
from bonekit.segmentation.models.folder import load_model
from bonekit.segmentation.planning.plan import Plan, Statistics
from bonekit.segmentation.task import Channel, Metrics, Task
from bonekit.segmentation.training.settings import TrainSettings
from bonekit.segmentation.training.train import train

# modules, where packages give functions of the same names their places
evaluation = import_module("bonekit.segmentation.evaluation.evaluate")
files = import_module("bonekit.segmentation.inference.files")
native = import_module("bonekit.segmentation.inference.native")
loop = import_module("bonekit.segmentation.training.loop")

GRID = Grid.of((16, 16, 16), (1.0, 1.0, 1.0))
TASK = Task(
    name="toy",
    description="Boxes",
    channels=(Channel(name="ct", modality="ct", normalisation="ct"),),
    labels={"background": 0, "bone": 1, "lesion": 2},
    norm="batch",
    views=("axial", "coronal"),
    metrics=Metrics(lesions=("lesion",), least_lesion_mm3=1.0),
)
PLAN = Plan(
    spacing_mm=(1.0, 1.0, 1.0),
    median_shape=(16, 16, 16),
    patch=(16, 16),
    batch=4,
    features=(4, 8, 8),
    kernels=((3, 3),) * 3,
    strides=((1, 1), (2, 2), (2, 2)),
    statistics=(Statistics(mean=300.0, std=250.0, low=-100.0, high=1000.0),),
)
TRAINING = TrainSettings(steps=9, every=5, save_seconds=0, validation_batches=1, device="cpu")
PREDICTION = PredictSettings(slab_MB=0.012, samples=1, probabilities=True, device="cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Bright boxes with a dark one in each."""
    folder, made = tmp_path_factory.mktemp("data"), []
    for number in range(4):
        rng = np.random.default_rng(number)
        a, b, c = rng.integers(2, 5, 3)
        labels = np.zeros(GRID.shape, dtype=np.uint8)
        labels[a : a + 9, b : b + 9, c : c + 9] = 1
        labels[a + 2 : a + 6, b + 2 : b + 6, c + 2 : c + 6] = 2
        hu = np.choose(labels, (-50, 800, 200)) + rng.integers(-40, 40, GRID.shape)
        image, truth = folder / f"ct{number}.nii.gz", folder / f"labels{number}.nii.gz"
        write(Image(hu.astype(np.int16), GRID), image)
        write(LabelMap(labels, GRID), truth)
        made.append(Subject(f"case{number}", (image,), truth))
    return made


def killed(work: Callable[[], object], owner: Any, name: str, call: int, written: int = 0) -> None:
    """Run something in a process that SIGKILL ends at the n-th call of a function.

    The function is not called; with `written`, the file it was to write gets so many bytes.
    """
    child = os.fork()
    if child == 0:
        usual, calls = getattr(owner, name), 0

        def dies(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < call:
                return usual(*args, **more)
            for path in (a for a in args if isinstance(a, Path) and written):
                path.write_bytes(b"\x00" * written)
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            setattr(owner, name, dies)
            work()
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """Content of the files of a folder that are in place."""
    found = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return {p.name: p.read_bytes() for p in found}


def learn(folder: Path, subjects: list[Subject], seen: list[int] | None = None) -> Path:
    card = Card(training_data="boxes", synthetic=False)
    steps = [] if seen is None else seen
    return train(
        subjects[:3], subjects[3:], TASK, PLAN, folder, TRAINING, card=card,
        progress=lambda step, *_: steps.append(step),
    )  # fmt: skip


def history(folder: Path) -> list[dict[str, Any]]:
    rows = (folder / "history.jsonl").read_text().splitlines()
    return [{**json.loads(row), "seconds": 0} for row in rows]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, subjects: list[Subject]) -> Path:
    torch.set_num_threads(1)
    return learn(tmp_path_factory.mktemp("model"), subjects)


@pytest.mark.parametrize(
    ("owner", "name", "call", "written", "first"),
    [
        (loop, "update_mean", 7, 0, 7),  # within step 7
        (torch, "save", 6, 1000, 6),  # while the state of step 6 is written
        (np, "save", 3, 100, 1),  # while the third subject is prepared
    ],
)
def test_training(
    owner: Any, name: str, call: int, written: int, first: int,
    model: Path, subjects: list[Subject], tmp_path: Path,
) -> None:  # fmt: skip
    killed(lambda: learn(tmp_path, subjects), owner, name, call, written)
    assert not (tmp_path / "model.json").exists()
    steps: list[int] = []
    learn(tmp_path, subjects, steps)
    assert steps == list(range(first, 10))
    name = "weights.safetensors"
    assert (tmp_path / name).read_bytes() == (model / name).read_bytes()
    assert history(tmp_path) == history(model)


@pytest.fixture(scope="module")
def predictions(
    tmp_path_factory: pytest.TempPathFactory, model: Path, subjects: list[Subject]
) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("predictions")
    files.to_files(load_model(model), subjects[2:], folder, PREDICTION)
    return folder


@pytest.mark.parametrize(
    ("owner", "name", "call", "written", "slabs"),
    [
        (native, "_write", 7, 0, 10),  # within the third of six slabs of the first subject
        (files, "_note", 4, 0, 10),  # that slab is on the disk and not yet noted
        (files, "write", 2, 300, 6),  # all its slabs are done, the entropy is being written
        (files, "write_json", 16, 0, 0),  # the report of the second subject
    ],
)
def test_prediction(
    owner: Any, name: str, call: int, written: int, slabs: int,
    model: Path, predictions: Path, subjects: list[Subject], tmp_path: Path,
) -> None:  # fmt: skip
    chosen, done = load_model(model), []

    def again(*_: object) -> None:
        files.to_files(chosen, subjects[2:], tmp_path, PREDICTION, lambda *s: done.append(s))

    killed(again, owner, name, call, written)
    assert contents(tmp_path) != contents(predictions)
    again()
    assert len(done) == slabs
    assert contents(tmp_path) == contents(predictions)
    assert not list(tmp_path.glob(".*.partial"))


def judge(subjects: list[Subject], folder: Path, report: bool) -> dict[str, Any]:
    """Compare the labels of each subject with its neighbour's: nothing is perfect."""
    pairs = [
        Pair(one.name, one.labels, other.labels, {"scanner": "AB"[n % 2]})
        for n, (one, other) in enumerate(zip(subjects, subjects[1:] + subjects[:1], strict=True))
        if one.labels is not None and other.labels is not None
    ]
    found = evaluation.evaluate(pairs, TASK, folder=folder)
    if report:
        write_report(found, folder)
    return plain(found)


@pytest.mark.parametrize(
    ("owner", "name", "call", "written", "measured", "report"),
    [
        (evaluation, "score", 3, 0, 2, False),  # the third subject
        (Path, "write_text", 2, 40, 3, False),  # while the score of the second is written
        (Path, "write_text", 6, 40, 0, True),  # while the report is written
    ],
)
def test_evaluation(
    owner: Any, name: str, call: int, written: int, measured: int, report: bool,
    subjects: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = judge(subjects, whole, report)
    killed(lambda: judge(subjects, broken, report), owner, name, call, written)
    scored: list[str] = []
    usual = evaluation.score
    monkeypatch.setattr(evaluation, "score", lambda p, *a: scored.append(p.name) or usual(p, *a))
    assert judge(subjects, broken, report) == expected
    assert len(scored) == measured
    assert contents(broken) == contents(whole)
    assert contents(broken / "scores") == contents(whole / "scores")
